//! The breaker of a fence loop: a head that was fenced three times within ten minutes is given nothing until it is
//! readmitted, waits longer for a silent peer than one that is trusted, and still takes over from a dead one.
//!
//! The pool has no ledger: the cables alone tell whether the peer lives, which is where such loops come from.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::headview::problems;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::Options;
use orthrus_tests::steps::{LIMIT, hand_over, pool_field, resume_and_verify, start_writing, until};
use orthrus_tests::{Bench, lab_options};

/// Fences that bar a head.
const FENCES: usize = 3;

/// `barred_dead`: silence in which a barred head takes nothing from a peer that may be alive.
const BARRED_DEAD: Duration = Duration::from_secs(10);

/// Times that the cables are cut, should the machine that runs the test stall.
const TRIES: usize = 3;

pub fn bars_and_still_takes_over(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.alone(
        &Options {
            shelf,
            ledger: false,
            ..lab_options()
        },
        run,
    )
}

fn run(lab: &Lab) -> Result<()> {
    let barred = lab.owner(None)?;
    let peer = barred.peer();
    let pool = lab.status()?.pools[0].pool.name.clone();
    lab.wait_for(&format!("{peer} standby"), LIMIT)?;
    for fence in 1..=FENCES {
        lab.crash(barred)?;
        lab.wait_for(&format!("{peer} serves"), LIMIT)?;
        lab.boot(barred)?;
        lab.wait_for(&format!("{barred} standby"), LIMIT)?;
        if fence < FENCES {
            hand_over(lab, peer, &pool)?;
            lab.wait_for(&format!("{barred} serves"), LIMIT)?;
            lab.wait_for(&format!("{peer} standby"), LIMIT)?;
        }
    }
    for head in Head::BOTH {
        until(|| says_barred(lab, head, barred), "nobody is barred")?;
    }
    is_given_nothing(lab, peer, &pool)?;
    start_writing(lab)?;
    takes_nothing_from_the_living(lab, barred)?;

    let crashed = unix_ms();
    lab.crash(peer)?;
    lab.wait_for(&format!("{barred} serves"), LIMIT)?;
    resume_and_verify(lab, "crash of the owner, whose peer is barred", crashed)?;

    // The peer forgot everything, and hears of it.
    lab.boot(peer)?;
    lab.wait_for(&format!("{peer} standby"), LIMIT)?;
    until(
        || says_barred(lab, peer, barred),
        "the fences are forgotten",
    )?;
    hand_over(lab, barred, &pool)?;
    lab.wait_for(&format!("{peer} serves"), LIMIT)?;
    lab.wait_for(&format!("{barred} standby"), LIMIT)?;
    is_given_nothing(lab, peer, &pool)?;
    lab.tell_ok(peer, "readmit")?;
    for head in Head::BOTH {
        let trusted = || Ok(!says_barred(lab, head, barred)?);
        until(trusted, "the head is barred though it was readmitted")?;
    }
    hand_over(lab, peer, &pool)?;
    lab.wait_for(&format!("{barred} serves"), LIMIT)?;
    lab.wait_for(&format!("{peer} standby"), LIMIT)?;
    Ok(())
}

/// Its peer hands nothing over to it.
fn is_given_nothing(lab: &Lab, owner: Head, pool: &str) -> Result<()> {
    let answer = lab.tell(owner, &format!("handover {pool}"))?;
    ensure!(
        answer.code != 0 && answer.text.contains("readmit"),
        "the pool is handed over to a head that is barred: {}",
        answer.text
    );
    ensure!(lab.owner(None)? == owner, "the pool moved all the same");
    Ok(())
}

/// Both cables are cut for longer than a trusted head would wait, and joined before this one would have waited enough.
fn takes_nothing_from_the_living(lab: &Lab, barred: Head) -> Result<()> {
    let owner = lab.owner(None)?;
    let epoch = pool_field(lab, owner, "epoch")?;
    for _ in 0..TRIES {
        let cut = Instant::now();
        lab.cut(Cut::silent(Cable::Serial))?;
        lab.cut(Cut::silent(Cable::Ether))?;
        let waits = || -> Result<bool> {
            Ok(lab
                .tell_ok(barred, "status")?
                .contains("fenced three times"))
        };
        // A trusted head would take it in the moment in which this one says why it does not.
        while !waits()? && cut.elapsed() < BARRED_DEAD {
            thread::sleep(Duration::from_millis(100));
        }
        let told = waits()?;
        lab.join(Cable::Serial)?;
        lab.join(Cable::Ether)?;
        let cut_for = cut.elapsed();
        lab.wait_for("any serves", LIMIT)?;
        let moved = pool_field(lab, owner, "epoch")? != epoch || lab.owner(None)? != owner;
        match (moved, told) {
            (false, true) => {
                println!("    cables cut for {cut_for:.1?}: a barred head waits");
                return Ok(());
            }
            _ if cut_for >= BARRED_DEAD => {
                println!(
                    "    INCONCLUSIVE: the cables were cut for {cut_for:.1?}, as this machine stalled"
                );
                ensure!(
                    !moved,
                    "and the pool moved, which leaves nothing to try again"
                );
            }
            (true, _) => bail!("a barred head took the pool after {cut_for:.1?} of silence"),
            (false, false) => bail!("it never said why it waits"),
        }
    }
    bail!("the machine stalled each of {TRIES} times")
}

fn says_barred(lab: &Lab, head: Head, barred: Head) -> Result<bool> {
    let said = problems(&lab.tell_json(head, "status")?);
    let words = format!("head {barred} was fenced {FENCES} times");
    Ok(said.iter().any(|problem| problem.contains(&words)))
}
