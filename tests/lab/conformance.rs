//! `iscsi-test-cu`, of those who wrote the initiator library: what the kernel's target passes when it is set up by hand, a
//! LUN of the pool passes as well. The same program, kernel and machine run against both. `cargo labs` takes the
//! families that clusters of clients rest on; all of it, held against the plain target, takes minutes and an
//! `--ignored iscsi_test_cu`.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::config::{CLIENT_IQN, RIVAL_CHAP, RIVAL_IQN};
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;

use crate::change::offered;
use crate::outcomes::{Outcome, Outcomes, compare};

const PLAIN_IQN: &str = "iqn.2026-01.org.example:plain";
/// Of the LUN that is written over. Sorts behind all volumes of the lab's pool, so that it changes no LUN's number.
const VOLUME: &str = "zconformance";
/// The same, thin: unmapping needs it where the shelf's disks unmap nothing.
const THIN: &str = "zthin";
const POOL: &str = "zthinpool";

/// Tests that may end worse than on the plain target, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "Unmap.Simple",
        "the volume is linear, on disks that unmap nothing; the thin one passes",
    ),
    ("Unmap.VPD", "as above"),
    ("Unmap.ZeroBlocks", "as above"),
];

/// Suites that must run whole on ours: reservations are what clusters of clients rest on.
const WHOLE: &[&str] = &[
    "PrinReadKeys",
    "PrinServiceactionRange",
    "PrinReportCapabilities",
    "ProutRegister",
    "ProutReserve",
    "ProutClear",
    "ProutPreempt",
];

/// What else runs each time, on a thin volume.
const OTHERS: [&str; 4] = ["CompareAndWrite", "WriteSame10", "WriteSame16", "Unmap"];
/// Of these some tests ask for what this disk is not.
const MAY_SKIP: [&str; 2] = ["CompareAndWrite.", "WriteSame1"];
const MUST_RUN: [&str; 4] = [
    "CompareAndWrite.Simple",
    "CompareAndWrite.Miscompare",
    "WriteSame10.Simple",
    "WriteSame16.Simple",
];

/// All of it, on both.
pub fn as_on_plain_lio(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        client(lab, &plain_target())?;
        let plain = run(lab, "ALL", &format!("iscsi://127.0.0.1/{PLAIN_IQN}/0"))?;
        client(lab, &without_plain_target())?;
        ensure!(plain.len() > 200, "only {} tests ran", plain.len());
        let create = [format!("volume create tank/{VOLUME} 256M")];
        let ours = with_volumes(lab, &create, &[VOLUME], |url| run(lab, "ALL", url))?;
        compare("iscsi-test-cu", &plain, &ours, EXCEPTIONS)?;
        ran_whole(&ours)
    })
}

/// Persistent reservations, compare-and-write; unmapping on a thin volume.
pub fn families(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let create = [
            format!("volume thin-pool tank/{POOL} 64M"),
            format!("volume create tank/{THIN} 256M --thin {POOL}"),
        ];
        let ours = with_volumes(lab, &create, &[THIN, POOL], |url| {
            let mut ours = Outcomes::new();
            for suite in WHOLE.iter().chain(&OTHERS) {
                let of = run(lab, &format!("SCSI.{suite}"), url)?;
                ensure!(!of.is_empty(), "no test of {suite} ran");
                ours.extend(of);
            }
            Ok(ours)
        })?;
        // Some tests ask for a kind of disk that none of these is; reservations and unmapping are skipped on none.
        let may_skip = |name: &str| {
            !MUST_RUN.contains(&name) && MAY_SKIP.iter().any(|suite| name.starts_with(suite))
        };
        for name in MUST_RUN {
            ensure!(ours.contains_key(name), "{name} did not run");
        }
        let worse: Vec<_> = ours
            .iter()
            .filter(|(name, outcome)| match outcome {
                Outcome::Passed => false,
                Outcome::Skipped => !may_skip(name),
                Outcome::Failed => true,
            })
            .collect();
        ensure!(worse.is_empty(), "{worse:?}");
        let passed = ours.values().filter(|&&of| of == Outcome::Passed).count();
        println!(
            "iscsi-test-cu: {passed} of {} tests of the families passed",
            ours.len()
        );
        Ok(())
    })
}

/// Runs something on the LUN of the first of the volumes that are made for it; nothing of them stays.
fn with_volumes<T>(
    lab: &Lab,
    create: &[String],
    names: &[&str],
    run: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let owner = lab.owner(None)?;
    let pool = lab.status()?.pools[0].pool.clone();
    let iqn = pool.iqn.context("no target")?;
    let [(user, password), _] = RIVAL_CHAP;
    let before = offered(lab, owner)?;
    for command in create {
        lab.tell_ok(owner, command)?;
    }
    let with = offered(lab, owner)?;
    let lun = with
        .iter()
        .find_map(|(name, lun, _)| (name == names[0]).then_some(lun))
        .with_context(|| format!("{} is no LUN: {with:?}", names[0]))?;
    let outcome = run(&format!(
        "iscsi://{user}%{password}@{}/{iqn}/{lun}",
        pool.address
    ))?;
    for name in names {
        lab.tell_ok(owner, &format!("volume remove tank/{name} --yes"))?;
    }
    ensure!(offered(lab, owner)? == before, "something is left");
    Ok(outcome)
}

/// The suites that must run whole on ours, did.
fn ran_whole(ours: &Outcomes) -> Result<()> {
    let mut worse = String::new();
    for suite in WHOLE {
        let of: Vec<_> = ours
            .iter()
            .filter(|(name, _)| name.split('.').next() == Some(suite))
            .collect();
        ensure!(!of.is_empty(), "no test of {suite} ran");
        for (name, &outcome) in of {
            if outcome != Outcome::Passed {
                let _ = write!(worse, "\n{name} must pass: {outcome:?}");
            }
        }
    }
    ensure!(worse.is_empty(), "{}", worse.trim());
    Ok(())
}

fn client(lab: &Lab, script: &str) -> Result<String> {
    let output = lab.client(&["sh", "-ec", script])?;
    if output.status != 0 {
        bail!("{script}: {} {}", output.stdout, output.stderr);
    }
    Ok(output.stdout)
}

fn run(lab: &Lab, tests: &str, url: &str) -> Result<Outcomes> {
    // Its status says that tests failed, which the plain target's do.
    let said = client(
        lab,
        &format!("iscsi-test-cu -d -i {CLIENT_IQN} -I {RIVAL_IQN} -t {tests} '{url}' 2>&1 || true"),
    )?;
    let outcomes = read(&said);
    ensure!(
        said.contains("Run Summary") && !outcomes.is_empty(),
        "iscsi-test-cu did not run to its end: {}",
        said.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    );
    Ok(outcomes)
}

/// What it prints: suites, tests, and between a test's name and its outcome whatever the test has to say.
fn read(said: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let (mut suite, mut test, mut is_skipped) = ("", None, false);
    for line in said.lines() {
        let mut rest = line.trim();
        if let Some(name) = rest.strip_prefix("Suite: ") {
            suite = name.trim();
            continue;
        }
        if let Some((name, after)) = rest
            .strip_prefix("Test: ")
            .and_then(|line| line.split_once(" ..."))
        {
            test = Some(format!("{suite}.{name}"));
            is_skipped = false;
            rest = after.trim();
        }
        is_skipped |= rest.contains("[SKIPPED]");
        let outcome = if rest.starts_with("FAILED") {
            Outcome::Failed
        } else if !rest.starts_with("passed") {
            continue;
        } else if is_skipped {
            Outcome::Skipped
        } else {
            Outcome::Passed
        };
        if let Some(name) = test.take() {
            outcomes.insert(name, outcome);
        }
    }
    outcomes
}

/// The kernel's target as one sets it up by hand, on a file in the client's memory.
fn plain_target() -> String {
    format!(
        "for m in loop target_core_mod target_core_iblock iscsi_target_mod; do modprobe $m; done
         mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
         mkdir -p /var/target/pr /var/target/alua
         truncate -s 256M /run/plain.raw
         cd /sys/kernel/config/target
         store=core/iblock_0/plain
         mkdir -p $store
         echo udev_path=$(losetup -f --show /run/plain.raw) > $store/control
         echo 1 > $store/enable
         echo 0123456789abcdef > $store/wwn/vpd_unit_serial
         tpg=iscsi/{PLAIN_IQN}/tpgt_1
         mkdir -p $tpg
         echo 0 > $tpg/attrib/authentication
         mkdir -p $tpg/np/127.0.0.1:3260 $tpg/lun/lun_0
         ln -s $PWD/$store $tpg/lun/lun_0/store
         for name in {CLIENT_IQN} {RIVAL_IQN}; do
           mkdir -p $tpg/acls/$name/lun_0
           ln -s $PWD/$tpg/lun/lun_0 $tpg/acls/$name/lun_0/lun
         done
         echo 1 > $tpg/enable"
    )
}

fn without_plain_target() -> String {
    format!(
        "cd /sys/kernel/config/target
         tpg=iscsi/{PLAIN_IQN}/tpgt_1
         echo 0 > $tpg/enable
         rm $tpg/acls/*/lun_0/lun
         rmdir $tpg/acls/*/lun_0 $tpg/acls/*
         rm $tpg/lun/lun_0/store
         rmdir $tpg/lun/lun_0 $tpg/np/127.0.0.1:3260 $tpg iscsi/{PLAIN_IQN} core/iblock_0/plain core/iblock_0
         losetup -D
         rm /run/plain.raw"
    )
}
