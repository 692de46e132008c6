//! A disk dies, and some time later its owner: the pool is served without both, and a new disk is put in.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::config;
use orthrus_qemu::control::Answer;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, check, disk_ids, hand_over, pool_field, start_writing, until,
    wait_console, wait_for_writes,
};
use orthrus_tests::{Bench, DEAD_MS, lab_options};

use crate::change::answered;
use crate::volumes::holds;

/// It has a copy of the ledger, and an image of most volumes.
const DISK: usize = 1;

pub fn disk_and_owner(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let pool = Pool::redundant()?;
    let spare = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spare.raw");
    File::create(&spare)?.set_len(1 << 30)?;
    let mut disks = pool.disks.clone();
    disks.push(spare);
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(disks),
            // There is parity, which lacks an image and is not let go of.
            config: Some(configuration(&pool)?.replace(ADDRESS, DIRTY)),
            ..lab_options()
        },
        |lab| dies(lab, &pool),
    )
}

/// Where a pool's part of the configuration goes on.
const ADDRESS: &str = "\naddress = ";
const DIRTY: &str = "\ndirty_degraded = true\naddress = ";

fn configuration(pool: &Pool) -> Result<String> {
    Ok(config::generate(&pool.disks, &config::secret()?, DEAD_MS))
}

/// Parity that lacks an image, and a head that dies: nobody computes the image's data from it, until that is allowed.
pub fn unsure_parity(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let pool = Pool::redundant()?;
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(pool.disks.clone()),
            config: Some(configuration(&pool)?),
            ..lab_options()
        },
        |lab| is_refused(lab, &pool),
    )
}

fn is_refused(lab: &Lab, pool: &Pool) -> Result<()> {
    let first = lab.owner(None)?;
    let second = first.peer();
    holds(lab, pool, first).context("as lvm2 made it")?;
    for head in Head::BOTH {
        lab.unplug(head, DISK)?;
    }
    wait_console(lab, first, 0, "marked as missing")?;
    // In order it moves, and back.
    lab.wait_for(&format!("{second} standby"), LIMIT)?;
    hand_over(lab, first, "tank")?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    holds(lab, pool, second).context("without the disk")?;
    lab.wait_for(&format!("{first} standby"), LIMIT)?;
    lab.crash(second)?;
    lab.wait_for(&format!("{first} faulted tank"), LIMIT)?;
    let before = lab.digest(None)?;
    let status = lab.tell_ok(first, "status")?;
    for word in ["an image of its RAID is missing", "dirty_degraded = true"] {
        ensure!(status.contains(word), "{word} is not in status:\n{status}");
    }
    // The one that had it knows no more of it.
    lab.boot_all(&[Machine::from(second)])?;
    lab.wait_for(&format!("{second} faulted tank"), LIMIT)?;
    ensure!(lab.digest(None)? == before, "something was written");
    Ok(())
}

/// A disk was lost while nobody held the pool: an operator must say that it is.
pub fn while_nobody_held(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.clear()?;
    let pool = Pool::redundant()?;
    let mut disks = pool.disks.clone();
    disks.remove(DISK);
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(disks),
            ready: Ready::Answering,
            ..lab_options()
        },
        |lab| is_given_up(lab, &pool),
    )
}

fn is_given_up(lab: &Lab, pool: &Pool) -> Result<()> {
    for head in Head::BOTH {
        lab.wait_for(&format!("{head} faulted tank"), LIMIT)?;
    }
    let before = lab.digest(None)?;
    let status = lab.tell_ok(Head::A, "status")?;
    let (_, rest) = status
        .split_once("`disk lost tank ")
        .with_context(|| format!("status does not say what ends it:\n{status}"))?;
    let id = rest.split('`').next().unwrap_or_default();
    let wrong = "disk lost tank sda --yes";
    answered(lab, Head::A, wrong, "no physical volume of the pool that")?;
    let unasked = lab.tell(Head::A, &format!("disk lost tank {id}"))?;
    ensure!(unasked.code != 0, "not asked: {}", unasked.text);
    ensure!(lab.digest(None)? == before, "something was written");
    lab.tell_ok(Head::A, &format!("disk lost tank {id} --yes"))?;
    lab.wait_for("a serves tank", LIMIT)?;
    wait_console(lab, Head::A, 0, "lost by the operator's word, and marked")?;
    holds(lab, pool, Head::A).context("without the disk")?;
    // The peer was told nothing, and reads it.
    lab.wait_for("b standby", LIMIT)?;
    hand_over(lab, Head::A, "tank")?;
    lab.wait_for("b serves tank", LIMIT)?;
    holds(lab, pool, Head::B).context("without the disk, on the other head")
}

fn dies(lab: &Lab, pool: &Pool) -> Result<()> {
    let first = lab.owner(None)?;
    holds(lab, pool, first).context("as lvm2 made it")?;
    start_writing(lab)?;
    let struck = unix_ms();
    for head in Head::BOTH {
        lab.unplug(head, DISK)?;
    }
    wait_console(lab, first, 0, "marked as missing")?;
    ensure!(lab.owner(None)? == first, "a dead disk moved the pool");
    let volumes = pool_field(lab, first, "volumes")?;
    let degraded = |name: &str| {
        let mut all = volumes.as_array().into_iter().flatten();
        all.any(|volume| volume["name"] == name && volume["degraded"] == true)
    };
    ensure!(degraded("a") && degraded("raid6"), "{volumes:#}");
    let refused = lab.tell(first, "volume create tank/zvol 8M")?;
    ensure!(refused.text.contains("a disk was lost"), "{}", refused.text);
    wait_for_writes(lab, 100)?;

    let second = first.peer();
    // A standby that sees no more than the owner is as fit as that.
    lab.wait_for(&format!("{second} standby"), LIMIT)?;
    lab.crash(first)?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    wait_for_writes(lab, 100)?;
    let report = lab.io_stop()?;
    check(lab, "a disk and its owner dead", &report, struck)?;
    holds(lab, pool, second).context("without the disk")?;
    // It sees the disk again, and what is on that is old.
    boot_and_hand_over(lab, first, "tank")?;
    holds(lab, pool, first).context("after the disk came back")?;
    replace(lab, first)?;
    // What was on it is on the new one: another disk may go.
    lab.unplug(first, 0)?;
    holds(lab, pool, first).context("from the new disk")
}

/// A new disk takes the place of the lost one, and the kernel makes it equal.
fn replace(lab: &Lab, owner: Head) -> Result<()> {
    let members = disk_ids(&pool_field(lab, owner, "disks")?);
    let mut others = disk_ids(&lab.tell_json(owner, "disks")?["disks"]);
    others.retain(|id| !members.contains(id));
    ensure!(others.len() == 2, "{others:?} beside {members:?}");
    // The one that came back is not bare.
    // After the crash parity is made equal first.
    let mut said = Vec::new();
    let is_done_waiting = || -> Result<bool> {
        let asked = others.iter();
        let asked = asked.map(|id| lab.tell(owner, &format!("disk replace tank {id} --yes")));
        said = asked.collect::<Result<_>>()?;
        let mut texts = said.iter().map(|answer: &Answer| &answer.text);
        Ok(!texts.any(|text| text.contains("being made equal")))
    };
    until(is_done_waiting, "parity is not made equal after the crash")?;
    let refused = said.iter().filter(|answer| answer.text.contains("LVM"));
    ensure!(refused.count() == 1, "{said:?}");
    let done = said.iter().filter(|answer| answer.code == 0);
    ensure!(done.count() == 1, "{said:?}");
    let begun = Instant::now();
    loop {
        let volumes = pool_field(lab, owner, "volumes")?;
        let mut all = volumes.as_array().context("no volumes")?.iter();
        if all.all(|volume| volume["degraded"] == false && volume["resync"].is_null()) {
            break;
        }
        ensure!(begun.elapsed() < LIMIT, "not made equal: {volumes:#}");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    for name in ["a", "raid5", "raid6", "raid10", "orthrus_state"] {
        wait_console(lab, owner, 0, &format!("volume {name} is rebuilt"))?;
    }
    Ok(())
}
