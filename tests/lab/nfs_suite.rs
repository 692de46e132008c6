//! pynfs, a public suite of tests of NFSv4.1 and later servers: what Debian's own server passes with the same kernel, a
//! share of a pool passes as well. Its tests of a server that reboots find a takeover instead.
//!
//! It is brought for the run and not part of the project: a checkout in which `python3 setup.py build` was run, named by
//! the variable `PYNFS`.
//!
//! ```text
//! PYNFS=/path/to/pynfs cargo test -p orthrus-tests --test lab -- --ignored pynfs
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use orthrus_image::Workspace;
use orthrus_qemu::Lab;
use orthrus_qemu::agent_link::Output;
use orthrus_qemu::config;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_tests::steps::{LIMIT, bare_disks, make_tank};
use orthrus_tests::{Bench, DEAD_MS, lab_options};
use serde_json::Value;

use crate::outcomes::{Outcome, Outcomes, compare, counts};

/// Tests that may end worse than on the plain server, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Of a server that reboots, with one client and with a hundred. A thousand (the names that end in c) are more than an
/// emulated head can let back in within its period of grace.
const REBOOTS: [&str; 8] = [
    "REBT1", "REBT2a", "REBT2b", "REBT3a", "REBT3b", "REBT4a", "REBT4b", "REBT5",
];

/// The suite waits for the end of leases again and again; a takeover with a hundred clients needs a longer one.
const SHORT_LEASE_S: u32 = 10;
const LONG_LEASE_S: u32 = 30;

fn pool(lease_s: u32) -> String {
    format!(
        "
[[pool]]
name = \"tank\"
home = \"a\"
address = \"10.77.0.10/24\"
[pool.nfs]
lease_s = {lease_s}
[[pool.nfs.share]]
volume = \"home\"
clients = \"10.77.0.0/24\"
squash = \"none\"
"
    )
}

const OURS: &str = "10.77.0.10:/home";

/// The same share as an administrator of Debian would make it, with the same times. On the disk that is in no group: each
/// machine has names of its own for them.
const PLAIN: &str = "
set -e
for d in /sys/block/sd*; do
  dd if=/dev/${d##*/} bs=4k count=1 iflag=direct status=none | grep -q LABELONE || disk=/dev/${d##*/}
done
mkfs.ext4 -q $disk
mount -t tmpfs root /srv # the machine's own root is none that can be exported
mkdir -p /srv/home
mount $disk /srv/home
modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 15 >/proc/fs/nfsd/nfsv4gracetime
mkdir -p /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
exportfs -o rw,no_root_squash,insecure,no_subtree_check,fsid=0 '*:/srv'
exportfs -o rw,no_root_squash,insecure,no_subtree_check '*:/srv/home'
rpc.mountd -N 3
rpc.nfsd -N 3 -V 4.1 -V 4.2 8
echo Y >/proc/fs/nfsd/v4_end_grace
cat /proc/fs/nfsd/threads
";
const THEIRS: &str = "10.77.0.99:/home";

/// All but the tests of a server that reboots, on both.
pub fn as_on_plain_nfsd(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    with_share(bench, shelf, SHORT_LEASE_S, true, |lab, suite| {
        let made = lab.neighbour(&["sh", "-c", PLAIN])?;
        let (status, stdout, stderr) = (made.status, made.stdout.trim(), made.stderr.trim());
        ensure!(
            status == 0 && stdout == "8",
            "the plain server: {stdout} {stderr}"
        );
        let plain = suite.run(lab, THEIRS, &[], &["all"])?;
        let ours = suite.run(lab, OURS, &[], &["all"])?;
        ensure!(ours.len() > 150, "only {} tests ran", ours.len());
        compare("pynfs", &plain, &ours, EXCEPTIONS)
    })
}

/// The tests of a server that reboots: each time, its head is switched off.
pub fn reboots_are_takeovers(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    with_share(bench, shelf, LONG_LEASE_S, false, |lab, suite| {
        let asked = suite.dir.join("reboot");
        let helper = suite.dir.join("helper");
        fs::write(
            &helper,
            format!(
                "touch {0}; while [ -e {0} ]; do sleep 0.1; done\n",
                asked.display()
            ),
        )?;
        let helper = format!("--serverhelper=sh {}", helper.display());
        let ours = thread::scope(|scope| {
            let running = scope.spawn(|| suite.run(lab, OURS, &[&helper], &REBOOTS));
            let mut takeovers = 0;
            while !running.is_finished() {
                if asked.exists() {
                    take_over(lab)?;
                    takeovers += 1;
                    fs::remove_file(&asked)?;
                }
                thread::sleep(Duration::from_millis(100));
            }
            let ours = running.join().map_err(|_| anyhow::anyhow!("a panic"))??;
            println!("pynfs in {takeovers} takeovers: {}", counts(&ours));
            ensure!(takeovers > 0, "it never asked for a reboot");
            Ok(ours)
        })?;
        for name in REBOOTS {
            let outcome = ours.get(name).context(name)?;
            ensure!(*outcome == Outcome::Passed, "{name}: {outcome:?}");
        }
        Ok(())
    })
}

/// The owner is switched off as soon as the other head stands by, and the share is there again afterwards.
fn take_over(lab: &Lab) -> Result<()> {
    let owner = lab.owner(Some("tank"))?;
    let standby = owner.peer();
    lab.wait_for(&format!("{standby} ready tank"), LIMIT)?;
    lab.crash(owner)?;
    lab.wait_for(&format!("{standby} serves tank"), LIMIT)?;
    lab.boot_all(&[Machine::from(owner)])
}

/// A lab with the share, and the suite.
fn with_share(
    bench: &Bench,
    shelf: ShelfKind,
    lease_s: u32,
    neighbour: bool,
    test: impl FnOnce(&Lab, &Suite) -> Result<()>,
) -> Result<()> {
    let suite = Suite::find()?;
    let options = Options {
        shelf,
        disks: Disks::Copies(bare_disks("nfs-suite", 4, 512 << 20)?),
        config: Some(config::generate(&[], &config::secret()?, DEAD_MS) + &pool(lease_s)),
        neighbour,
        ready: Ready::Answering,
        ..lab_options()
    };
    bench.alone(&options, |lab| {
        make_tank(lab, 3)?;
        lab.tell_ok(Head::A, "volume create tank/home 256M --fs ext4")?;
        lab.wait_for("client up", LIMIT)?;
        test(lab, &suite)
    })
}

/// The checkout of the suite.
struct Suite {
    source: PathBuf,
    /// For what the runs leave.
    dir: PathBuf,
}

impl Suite {
    fn find() -> Result<Suite> {
        let source = std::env::var_os("PYNFS").map(PathBuf::from).context(
            "PYNFS names no checkout of pynfs in which `python3 setup.py build` was run",
        )?;
        let built = source.join("nfs4.1/xdrdef/nfs4_const.py");
        ensure!(
            built.exists(),
            "{} is not there: run `python3 setup.py build` in it",
            built.display()
        );
        let dir = Workspace::here()?.root().join("target/tmp/nfs-suite");
        fs::create_dir_all(&dir)?;
        let source = source.canonicalize()?;
        Ok(Suite { source, dir })
    }

    /// Runs tests on a share, by name.
    fn run(&self, lab: &Lab, share: &str, options: &[&str], tests: &[&str]) -> Result<Outcomes> {
        let report = format!("{}-{share}.json", tests[0]);
        let report = self.dir.join(report.replace(['/', ':'], "_"));
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let (report_option, source) = (format!("--json={}", report.display()), &self.source);
        let path = [".", "nfs4.1", "xdr"].map(|part| source.join(part).display().to_string());
        let mut command = vec!["env", "-C"];
        let (folder, modules) = (
            source.join("nfs4.1").display().to_string(),
            format!("PYTHONPATH={}", path.join(":")),
        );
        command.extend([&folder, &modules, "python3", "testserver.py", share]);
        command.extend(["--maketree", "--minorversion=2", &report_option]);
        command.extend(options.iter().chain(tests));
        let output = lab.exec(&command)?;
        read(&report, &output)
    }
}

fn read(report: &Path, output: &Output) -> Result<Outcomes> {
    let text = fs::read_to_string(report).with_context(|| {
        let said = [output.stdout.as_str(), output.stderr.as_str()].concat();
        let end: Vec<_> = said.lines().rev().take(20).collect();
        let end: Vec<_> = end.into_iter().rev().collect();
        format!("pynfs ended with {}: {}", output.status, end.join("\n"))
    })?;
    let report: Value = serde_json::from_str(&text)?;
    let Some(cases) = report["testcase"].as_array() else {
        bail!("no test ran: {report}");
    };
    cases
        .iter()
        .map(|case| {
            let name = case["code"].as_str().context("a test without a code")?;
            let outcome = if !case["failure"].is_null() {
                println!("{name}: {}", case["failure"]["message"]);
                Outcome::Failed
            } else if !case["skipped"].is_null() {
                Outcome::Skipped
            } else {
                Outcome::Passed
            };
            Ok((name.to_owned(), outcome))
        })
        .collect()
}
