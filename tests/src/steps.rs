//! Steps that several tests take.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use orthrus_image::Workspace;
use orthrus_qemu::demo::wait_writes_after;
use orthrus_qemu::io::IoReport;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_qemu::{Lab, config};
use serde_json::Value;

use crate::{Bench, DEAD_MS, lab_options};

/// Bound of a boot, a takeover, a login: several times what a machine with both cores busy needs.
pub const LIMIT: Duration = Duration::from_secs(240);

/// What most pools of tests have of the network.
pub const ADDRESS: &str = "address = \"10.77.0.10/24\"";

/// A pool that offers all of its volumes to the client by iSCSI: what it has of the network, and what else it offers, line by line.
pub fn tank(network: &str, more: &str) -> String {
    format!(
        "
[[pool]]
name = \"tank\"
home = \"a\"
{network}
[pool.iscsi]
iqn = \"iqn.2026-01.org.orthrus:tank\"
clients = [\"iqn.1993-08.org.debian:01:client\"]
luns = \"all\"
{more}"
    )
}

/// Writes that must have been acknowledged before and after something is broken.
const WRITES: u64 = 100;

/// Disks with nothing on them, made anew, in a folder of this name.
///
/// # Errors
/// The host's.
pub fn bare_disks(name: &str, count: usize, bytes: u64) -> Result<Vec<PathBuf>> {
    let dir = Workspace::here()?.root().join("target/tmp").join(name);
    fs::create_dir_all(&dir)?;
    let files: Vec<PathBuf> = (0..count)
        .map(|index| dir.join(format!("disk{index}.raw")))
        .collect();
    for file in &files {
        File::create(file)?.set_len(bytes)?;
    }
    Ok(files)
}

/// Runs a test on a lab of its own: such disks, two heads that answer, and a configuration with these pools.
///
/// # Errors
/// The test's, with what the consoles said.
pub fn with_bare_disks(
    bench: &Bench,
    shelf: ShelfKind,
    disks: Vec<PathBuf>,
    pools: &str,
    test: impl FnOnce(&Lab) -> Result<()>,
) -> Result<()> {
    let config = config::generate(&[], &config::secret()?, DEAD_MS) + pools;
    with_configuration(bench, shelf, disks, config, test)
}

/// The same with a configuration that is given whole.
///
/// # Errors
/// As [`with_bare_disks`].
pub fn with_configuration(
    bench: &Bench,
    shelf: ShelfKind,
    disks: Vec<PathBuf>,
    config: String,
    test: impl FnOnce(&Lab) -> Result<()>,
) -> Result<()> {
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(disks),
            config: Some(config),
            ready: Ready::Answering,
            ..lab_options()
        },
        test,
    )
}

/// Starts the checked writer, and waits until it has written for a while.
///
/// # Errors
/// The lab's.
pub fn start_writing(lab: &Lab) -> Result<()> {
    lab.io_start(&IoOptions::default())?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, WRITES)
}

/// Waits until so many more writes were acknowledged.
///
/// # Errors
/// None came for too long.
pub fn wait_for_writes(lab: &Lab, more: u64) -> Result<()> {
    lab.wait_for_writes(more, LIMIT)
}

/// Waits until the client writes again after `unix_ms`, and for a while longer; then stops it and
/// checks every acknowledged block, through the present owner and on the raw disks. Prints the
/// longest gap since `unix_ms`.
///
/// # Errors
/// An error that the client saw, or a block that is lost.
pub fn resume_and_verify(lab: &Lab, what: &str, unix_ms: u64) -> Result<()> {
    wait_writes_after(lab, unix_ms)?;
    wait_for_writes(lab, WRITES)?;
    let report = lab.io_stop()?;
    check(lab, what, &report, unix_ms)
}

/// The check alone, for a writer that was stopped.
///
/// # Errors
/// As [`resume_and_verify`].
pub fn check(lab: &Lab, what: &str, report: &IoReport, unix_ms: u64) -> Result<()> {
    let gap = report.longest_since(unix_ms).ms as f64 / 1000.0;
    let verified = lab.verify_all()?;
    println!(
        "    {what}: longest gap {gap:.2} s, {} writes acknowledged, {} errors, {verified} blocks verified",
        report.writes, report.errors
    );
    ensure!(
        report.errors == 0,
        "the client saw {} errors, such as: {}",
        report.errors,
        report.first_errors.join("; ")
    );
    ensure!(
        verified > 0 && verified == report.blocks,
        "not every block was verified"
    );
    Ok(())
}

/// Orders the owner to hand a pool over, once that can be asked: a peer that has just booted stands by a moment before
/// the owner hears so.
///
/// # Errors
/// The peer did not stand by, or the owner refuses.
pub fn hand_over(lab: &Lab, owner: Head, pool: &str) -> Result<()> {
    lab.wait_for(&format!("{} ready {pool}", owner.peer()), LIMIT)?;
    lab.tell_ok(owner, &format!("handover {pool}"))?;
    Ok(())
}

/// Starts a head that is off, hands the pool over to it from its peer, and waits until it serves.
///
/// # Errors
/// The lab's, or what [`hand_over`] says.
pub fn boot_and_hand_over(lab: &Lab, to: Head, pool: &str) -> Result<()> {
    lab.boot(to)?;
    lab.wait_for(&format!("{to} standby"), LIMIT)?;
    hand_over(lab, to.peer(), pool)?;
    lab.wait_for(&format!("{to} serves"), LIMIT)?;
    Ok(())
}

/// Where a head's console log ends now, for [`wait_console`].
///
/// # Errors
/// The lab's.
pub fn console_end(lab: &Lab, head: Head) -> Result<usize> {
    let path = &lab.status()?.heads[head.index()].console_log;
    Ok(std::fs::read(path).map_or(0, |bytes| bytes.len()))
}

/// Waits until a head's console says something after the byte `from`.
///
/// # Errors
/// It did not within [`LIMIT`].
pub fn wait_console(lab: &Lab, head: Head, from: usize, words: &str) -> Result<()> {
    let path = lab.status()?.heads[head.index()].console_log.clone();
    let said = || {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let new = bytes.get(from..).unwrap_or_default();
        Ok(String::from_utf8_lossy(new).contains(words))
    };
    until(
        said,
        &format!("the console of head {head} never said {words:?}"),
    )
}

/// What a shell command says on the client.
///
/// # Errors
/// It failed, in its own words.
pub fn said(lab: &Lab, script: &str) -> Result<String> {
    let output = lab.client(&["sh", "-c", script])?;
    ensure!(output.status == 0, "{script}: {}", output.stderr);
    Ok(output.stdout.trim().to_owned())
}

/// Waits until something holds.
///
/// # Errors
/// `why`, when it did not within [`LIMIT`].
pub fn until(mut holds: impl FnMut() -> Result<bool>, why: &str) -> Result<()> {
    let begun = Instant::now();
    while !holds()? {
        ensure!(begun.elapsed() < LIMIT, "{why}");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// One field of a pool in a head's status.
///
/// # Errors
/// The head does not answer, or knows no pool.
pub fn pool_field(lab: &Lab, head: Head, field: &str) -> Result<Value> {
    let status = lab.tell_json(head, "status --json")?;
    let pool = status["pools"].get(0);
    match pool {
        Some(pool) => Ok(pool[field].clone()),
        None => bail!("head {head} knows no pool: {status}"),
    }
}

/// The identities in a list of disks that a head gave, in the shelf's order: what each head calls a disk is the order in
/// which its own kernel found them.
pub fn disk_ids(list: &Value) -> Vec<String> {
    let ids = list.as_array().into_iter().flatten();
    let mut ids: Vec<String> = ids
        .filter_map(|disk| disk["id"].as_str().map(str::to_owned))
        .collect();
    ids.sort_unstable();
    ids
}

/// The same of all disks of the shelf, once a head sees so many.
///
/// # Errors
/// It never did, or sees more.
pub fn disks_seen(lab: &Lab, head: Head, count: usize) -> Result<Vec<String>> {
    let seen = || Ok::<_, anyhow::Error>(disk_ids(&lab.tell_json(head, "disks")?["disks"]));
    let why = format!("head {head} never saw {count} disks");
    until(|| Ok(seen()?.len() >= count), &why)?;
    let ids = seen()?;
    ensure!(ids.len() == count, "head {head} sees {ids:?}");
    Ok(ids)
}

/// Makes the pool `tank` on head a, of the first `count` of the shelf's disks.
///
/// # Errors
/// The head's.
pub fn make_tank(lab: &Lab, count: usize) -> Result<()> {
    // It has looked for the pool, and so has all disks.
    lab.wait_for("a faulted tank", LIMIT)?;
    let ids = disk_ids(&lab.tell_json(Head::A, "disks")?["disks"]);
    let Some(ids) = ids.get(..count) else {
        bail!("{count} disks are needed, and head a sees {ids:?}");
    };
    lab.tell_ok(
        Head::A,
        &format!("pool create tank {} --yes", ids.join(" ")),
    )?;
    lab.wait_for("a serves tank", LIMIT)?;
    Ok(())
}

/// fio in the client: writes a file at random and then reads all of it back, each block with its checksum. Slow enough to be at it
/// while something is broken.
pub struct CheckedFile {
    place: String,
}

/// Blocks of 4 KiB that it writes, and how many in a second.
const CHECKED_BLOCKS: u64 = 1024;
const CHECKED_RATE: u64 = 60;

impl CheckedFile {
    /// Starts it in a directory of the client's, and waits until the file is there.
    ///
    /// # Errors
    /// The client's.
    pub fn start(lab: &Lab, place: &str) -> Result<CheckedFile> {
        let kib = CHECKED_BLOCKS * 4;
        said(
            lab,
            &format!(
                "rm -f /run/checked.*
                 (fio --name=checked --filename={place}/fio --rw=randwrite --bs=4k --size={kib}k --ioengine=libaio \
                 --iodepth=4 --direct=1 --rate_iops={CHECKED_RATE} --verify=crc32c --verify_fatal=1 --do_verify=1 \
                 --output-format=json --output=/run/checked.json; echo $? > /run/checked.status) >/run/checked.said 2>&1 &"
            ),
        )?;
        until(
            || Ok(lab.client(&["test", "-s", &format!("{place}/fio")])?.status == 0),
            "fio never makes its file",
        )?;
        Ok(CheckedFile {
            place: place.to_owned(),
        })
    }

    /// It has not come to its end yet: to be asked after a strike, before what was struck is whole again.
    ///
    /// # Errors
    /// It has, and saw nothing of it.
    pub fn is_at_it(&self, lab: &Lab) -> Result<()> {
        let ended = lab.client(&["test", "-e", "/run/checked.status"])?.status == 0;
        ensure!(!ended, "fio was through before anything was broken");
        Ok(())
    }

    /// Waits for its end: every block was written and read back as it was written, without an error. Removes the file.
    ///
    /// # Errors
    /// What it found instead.
    pub fn is_whole(self, lab: &Lab) -> Result<()> {
        until(
            || Ok(lab.client(&["test", "-e", "/run/checked.status"])?.status == 0),
            "fio comes to no end",
        )?;
        let status = said(lab, "cat /run/checked.status")?;
        let report = said(lab, "cat /run/checked.said /run/checked.json")?;
        ensure!(status == "0", "fio ended with {status}: {report}");
        let json = report.find('{').map_or("", |at| &report[at..]);
        let job = &serde_json::from_str::<Value>(json)?["jobs"][0];
        let blocks = ["read", "write"].map(|way| job[way]["total_ios"].as_u64());
        ensure!(
            job["error"] == 0 && blocks == [Some(CHECKED_BLOCKS); 2],
            "fio read and wrote {blocks:?} blocks: {job}"
        );
        said(lab, &format!("rm {}/fio", self.place))?;
        println!(
            "    fio in {}: {CHECKED_BLOCKS} blocks read back as they were written",
            self.place
        );
        Ok(())
    }
}
