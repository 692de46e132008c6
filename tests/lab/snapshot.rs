//! Snapshots with a store of their own: made, kept and removed under writes to their origins, and moved with the pool.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, pool_field, resume_and_verify, start_writing, until, wait_for_writes,
};

use crate::change::{MIB, answered, fill, holds, offered, start_of};

/// Names that sort behind all volumes of the lab's pool, in this order.
const MIRROR: &str = "zmirror";
const OF_MIRROR: &str = "zmirror-before";
const OF_WRITTEN: &str = "zvol0-before";
const LATER: &str = "zz-later";
/// Of the mirror as well, and before the first one.
const OTHER: &str = "zmirror-also";

pub fn with_stores(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let before = offered(lab, first)?;
        let lun = before.len() as u64;
        // To vol0, which is linear.
        start_writing(lab)?;
        let create = format!("volume create tank/{MIRROR} 40M --raid raid1");
        lab.tell_ok(first, &create)?;
        let old = fill(lab, lun).context("the client fills the mirror")?;
        for command in [
            format!("snapshot create tank/{MIRROR} {OF_MIRROR} 40M"),
            format!("snapshot create tank/vol0 {OF_WRITTEN} 64M"),
        ] {
            lab.tell_ok(first, &command)?;
        }
        let mut with = before.clone();
        with.push((MIRROR.to_owned(), lun, 40 * MIB));
        with.push((OF_MIRROR.to_owned(), lun + 1, 40 * MIB));
        with.push((OF_WRITTEN.to_owned(), lun + 2, before[0].2));
        ensure!(offered(lab, first)? == with, "after they were made");
        let written = start_of(lab, lun + 2).context("the snapshot of what is written")?;
        let new = fill(lab, lun).context("the client fills the mirror anew")?;
        holds(lab, lun + 1, 40 * MIB, &old).context("the mirror's snapshot")?;
        // One more of an origin that has one.
        lab.tell_ok(first, &format!("snapshot create tank/{MIRROR} {LATER} 40M"))?;
        with.push((LATER.to_owned(), lun + 3, 40 * MIB));
        let newest = fill(lab, lun).context("the client fills the mirror once more")?;
        let all_hold = |lab: &Lab, when: &str| -> Result<()> {
            holds(lab, lun, 40 * MIB, &newest).with_context(|| format!("the mirror {when}"))?;
            holds(lab, lun + 1, 40 * MIB, &old).with_context(|| format!("its first {when}"))?;
            holds(lab, lun + 3, 40 * MIB, &new).with_context(|| format!("its later {when}"))?;
            let found = start_of(lab, lun + 2)?;
            ensure!(found == written, "the snapshot of vol0 changed {when}");
            Ok(())
        };
        wait_for_writes(lab, 50)?;
        all_hold(lab, "beside writes")?;
        for (command, why) in [
            (format!("volume remove tank/{MIRROR} --yes"), "is used by"),
            (format!("volume grow tank/{MIRROR} 48M"), "is used by"),
        ] {
            answered(lab, first, &command, why)?;
        }

        let struck = unix_ms();
        lab.crash(first)?;
        let second = first.peer();
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        resume_and_verify(lab, "a crash with snapshots", struck)?;
        ensure!(offered(lab, second)? == with, "after a crash of the owner");
        all_hold(lab, "after a crash of the owner")?;

        start_writing(lab)?;
        let struck = unix_ms();
        for name in [LATER, OF_WRITTEN, OF_MIRROR] {
            lab.tell_ok(second, &format!("snapshot remove tank/{name} --yes"))?;
            with.pop();
            ensure!(offered(lab, second)? == with, "after {name} was removed");
        }
        holds(lab, lun, 40 * MIB, &newest).context("without snapshots")?;
        lab.tell_ok(second, &format!("volume grow tank/{MIRROR} 48M"))?;
        let last = fill(lab, lun).context("the client fills it without snapshots")?;
        boot_and_hand_over(lab, first, "tank")?;
        resume_and_verify(lab, "snapshots removed, and a handover", struck)?;
        holds(lab, lun, 48 * MIB, &last).context("after a handover")?;
        lab.tell_ok(first, &format!("volume remove tank/{MIRROR} --yes"))?;
        ensure!(
            offered(lab, first)? == before,
            "after all of it was removed"
        );
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        Ok(())
    })
}

/// A snapshot is given back to its origin: its owner dies right after it said so, another one goes on with what the kernel had not
/// copied yet, and ends it.
pub fn is_given_back(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        let before = offered(lab, first)?;
        let lun = before.len() as u64;
        start_writing(lab)?;
        lab.tell_ok(
            first,
            &format!("volume create tank/{MIRROR} 40M --raid raid1"),
        )?;
        let mut with = before.clone();
        with.push((MIRROR.to_owned(), lun, 40 * MIB));
        let old = fill(lab, lun).context("the client fills the mirror")?;
        for name in [OTHER, OF_MIRROR] {
            lab.tell_ok(first, &format!("snapshot create tank/{MIRROR} {name} 40M"))?;
        }
        fill(lab, lun).context("the client fills the mirror anew")?;
        wait_for_writes(lab, 50)?;

        let struck = unix_ms();
        lab.tell_ok(first, &format!("snapshot restore tank/{OF_MIRROR} --yes"))?;
        lab.crash(first)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        let left = percent(lab, second)?;
        println!("    the next owner found {left:?} % of it copied, from its own first look on");
        with.push((OTHER.to_owned(), lun + 1, 40 * MIB));
        ensure!(
            offered(lab, second)? == with,
            "after a crash right after it"
        );
        holds(lab, lun, 40 * MIB, &old).context("the mirror after a crash")?;
        resume_and_verify(lab, "a snapshot is given back, and a crash", struck)?;
        until(
            || Ok(percent(lab, second)?.is_none()),
            "the merge comes to no end",
        )?;
        holds(lab, lun, 40 * MIB, &old).context("the mirror after the merge")?;
        holds(lab, lun + 1, 40 * MIB, &old).context("its other snapshot after the merge")?;

        // What was merged is no more, and its room is free.
        lab.tell_ok(second, &format!("snapshot remove tank/{OTHER} --yes"))?;
        with.pop();
        lab.tell_ok(second, &format!("volume grow tank/{MIRROR} 48M"))?;
        with[before.len()].2 = 48 * MIB;
        let new = fill(lab, lun).context("the client fills it after the merge")?;
        boot_and_hand_over(lab, first, "tank")?;
        ensure!(offered(lab, first)? == with, "after a handover");
        holds(lab, lun, 48 * MIB, &new).context("after a handover")?;
        lab.tell_ok(first, &format!("volume remove tank/{MIRROR} --yes"))?;
        ensure!(
            offered(lab, first)? == before,
            "after all of it was removed"
        );
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        Ok(())
    })
}

/// How far the merge into the mirror is, by what its owner says; `None` when there is none.
fn percent(lab: &Lab, owner: Head) -> Result<Option<u64>> {
    let volumes = pool_field(lab, owner, "volumes")?;
    let mut volumes = volumes.as_array().context("no volumes")?.iter();
    let mirror = volumes.find(|volume| volume["name"] == MIRROR);
    let merge = &mirror.context("no mirror")?["merge"];
    Ok(merge["percent"].as_u64())
}
