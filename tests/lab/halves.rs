//! Two heads see a half of a mirror each. Either half is enough to go on with, and so is not enough to claim: a pool is
//! taken whole, or by a head that reads in it that an owner wrote off the rest.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::headview;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::{
    LIMIT, console_end, resume_and_verify, start_writing, until, wait_console, wait_for_writes,
};
use orthrus_tests::{Bench, lab_options};

/// Which disk each head lacks.
const LACKS: [(Head, usize); 2] = [(Head::A, 0), (Head::B, 1)];

/// Why a head with a half serves nothing.
const WHY: &str = "a disk is missing: physical volume";

pub fn never_both(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let pool = Pool::mirrored()?;
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(pool.disks.clone()),
            heads: Vec::new(),
            ready: Ready::Started,
            ..lab_options()
        },
        run,
    )
}

fn run(lab: &Lab) -> Result<()> {
    let before = lab.digest(None)?;
    neither_claims(lab)?;
    ensure!(lab.digest(None)? == before, "something was written");

    // One is whole again, and then is left with the half that the other lacks.
    lab.crash(Head::A)?;
    lab.boot(Head::A)?;
    lab.wait_for("a serves tank", LIMIT)?;
    until(|| says(lab, Head::B, WHY), "b does not say what it lacks")?;
    lab.login()?;
    start_writing(lab)?;
    let from = console_end(lab, Head::A)?;
    let (_, seen_by_b) = LACKS[Head::A.index()];
    lab.unplug(Head::A, seen_by_b)?;
    wait_console(lab, Head::A, from, "marked as missing")?;
    ensure!(
        lab.owner(None)? == Head::A,
        "it moved to a head with no more"
    );
    wait_for_writes(lab, 200)?;
    stale_is_not_served(lab)
}

/// Both boot with all cables cut, and when they hear each other nothing is better.
fn neither_claims(lab: &Lab) -> Result<()> {
    for cable in [Cable::Serial, Cable::Ether] {
        lab.cut(Cut::silent(cable))?;
    }
    lab.boot_all(&Head::BOTH.map(Machine::from))?;
    for (head, disk) in LACKS {
        // A machine that was just switched on is asked again until it answers, long before its head has waited for its peer.
        until(
            || Ok(lab.unplug(head, disk).is_ok()),
            "a disk stays plugged",
        )?;
        // Whatever it saw until then; what is unplugged stays so until the machine is switched off.
        lab.reset(head)?;
    }
    for head in Head::BOTH {
        lab.wait_for(&format!("{head} faulted tank"), LIMIT)?;
        until(|| says(lab, head, WHY), "a head does not say what it lacks")?;
    }
    for cable in [Cable::Serial, Cable::Ether] {
        lab.join(cable)?;
    }
    let consoles = [console_end(lab, Head::A)?, console_end(lab, Head::B)?];
    for head in Head::BOTH {
        let hears = || Ok(headview::hears_all(&lab.tell_json(head, "status")?));
        until(hears, "a head does not hear the other one")?;
    }
    // They try again, now that they know of each other.
    for (head, from) in Head::BOTH.into_iter().zip(consoles) {
        wait_console(lab, head, from, "-> faulted")?;
        ensure!(
            says(lab, head, WHY)?,
            "head {head} does not say what it lacks"
        );
    }
    nobody_touched_them(lab)
}

/// The owner dies that wrote to the other half alone.
fn stale_is_not_served(lab: &Lab) -> Result<()> {
    let from = console_end(lab, Head::B)?;
    let struck = unix_ms();
    lab.crash(Head::A)?;
    // It knows that it should, and tries.
    wait_console(lab, Head::B, from, "the peer is silent on every link")?;
    lab.wait_for("b faulted tank", LIMIT)?;
    until(|| says(lab, Head::B, WHY), "b does not say what it lacks")?;
    // Not even when it is told to: that the peer is off makes what is here no newer.
    let again = console_end(lab, Head::B)?;
    lab.tell(Head::B, "takeover tank --yes")?;
    wait_console(lab, Head::B, again, "-> faulted")?;
    ensure!(says(lab, Head::B, WHY)?, "b does not say what it lacks");
    is_held_by(lab, Head::A)?;

    // What ends it: the half that was written to.
    lab.boot(Head::A)?;
    lab.wait_for("a serves tank", LIMIT)?;
    resume_and_verify(lab, "the owner of the newer half dead for a while", struck)?;
    is_held_by(lab, Head::A)
}

/// No disk was ever claimed, nor registered on: who may not claim has no business with its reservations, and half a claim that is left
/// behind would be seen by nobody who reads no keys.
fn nobody_touched_them(lab: &Lab) -> Result<()> {
    for (lun, disk) in lab.status()?.shelf.seen {
        ensure!(
            disk.orders == 0 && disk.holder.is_none() && disk.registered.is_empty(),
            "LUN {lun}: {} changes of its reservations, held by {:?}, registered: {:?}: {}",
            disk.orders,
            disk.holder,
            disk.registered,
            disk.changes.join("; ")
        );
    }
    Ok(())
}

/// No disk is another head's than this one, by the target's own answers.
fn is_held_by(lab: &Lab, head: Head) -> Result<()> {
    for (lun, disk) in lab.status()?.shelf.seen {
        let free = disk.holder.is_none() && disk.registered.is_empty();
        ensure!(
            free || disk.holder == Some(head),
            "LUN {lun} is held by {:?}: {}",
            disk.holder,
            disk.changes.join("; ")
        );
    }
    Ok(())
}

fn says(lab: &Lab, head: Head, words: &str) -> Result<bool> {
    let problems = headview::problems(&lab.tell_json(head, "status")?);
    Ok(problems.iter().any(|problem| problem.contains(words)))
}
