//! One round: something breaks under checked I/O, is watched, mended, and everything is checked.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::fault::{Fault, long_enough, mend};
use super::outcome::Outcome;
use super::rows::{Expect, Row};
use super::watch::Watch;
use crate::Lab;
use crate::clock::unix_ms;
use crate::io::IoReport;
use crate::names::Head;
use crate::request::IoOptions;

/// Bound of a boot, a takeover, a login: several times what a machine with both cores busy needs.
const LIMIT: Duration = Duration::from_secs(240);
/// Bound of a takeover alone, and of what a status must say.
const MOVE_LIMIT: Duration = Duration::from_secs(90);
/// Writes that must be acknowledged before something breaks and after it was mended.
const WRITES: u64 = 60;

/// Bound of mending: a machine whose disks have just come back does not answer at once.
const MEND_LIMIT: Duration = Duration::from_secs(60);
/// How often a box is mended before it counts as stuck.
const MENDS: u32 = 3;

/// What a head says in the moment in which it resets, and why when its fence is gone.
const RESETS: &str = "resetting now: ";
const UNFENCED: &str = "lost the reservations of";

/// What breaks, and what must come of it.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A row of the matrix, until what must come of it has come.
    Row(Row),
    /// These, each this much after the one before, left alone for a time: no more is asked than of any round.
    Loose {
        /// Fault and delay.
        faults: Vec<(Fault, Duration)>,
        /// How long they last.
        lasts: Duration,
    },
}

impl Plan {
    /// How often the disks must change hands at least, and may at most.
    pub fn takeovers(&self) -> (u64, u64) {
        match self {
            Self::Row(row) => match row.expect {
                Expect::Stays => (0, 0),
                Expect::Moves => (1, 1),
                // Whose reservations are forgotten has lost the pool, to whichever head claims it.
                Expect::Open if row.forgets => (1, 1),
                Expect::OneServes | Expect::Waits | Expect::Open => (0, 1),
            },
            Self::Loose { .. } => (0, u64::MAX),
        }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Row(row) => f.write_str(row.name),
            Self::Loose { faults, lasts } => {
                for (index, (fault, delay)) in faults.iter().enumerate() {
                    if index > 0 {
                        write!(f, " +{:.1} s ", delay.as_secs_f64())?;
                    }
                    write!(f, "{fault}")?;
                }
                write!(f, ", {:.1} s", lasts.as_secs_f64())
            }
        }
    }
}

/// Plays a round on a whole lab, and leaves it whole. `dead` is the silence that counts as death.
///
/// # Errors
/// The lab's own, and a box that does not come back to one owner and one standby when all is mended.
pub fn play(lab: &Lab, plan: &Plan, dead: Duration) -> anyhow::Result<Outcome> {
    let mut watch = Watch::begin(lab)?;
    watch.until(LIMIT, is_whole)?;
    readmit(lab, &mut watch)?;
    lab.io_start(&IoOptions::default())?;
    lab.wait_for_writes(WRITES, LIMIT)?;
    watch.until(LIMIT, is_whole)?;
    let owner = watch
        .at_rest()
        .context("the box is not whole to begin with")?;
    watch.strike();
    let struck = unix_ms();
    let mut outcome = Outcome::default();
    match plan {
        Plan::Row(row) => {
            for fault in row.faults {
                fault.strike(lab, owner)?;
            }
            suffer(&mut watch, row, owner, dead, &mut outcome)?;
        }
        Plan::Loose { faults, lasts } => {
            for (fault, delay) in faults {
                thread::sleep(*delay);
                // A machine whose disks are away may not even be told that its cable is pulled.
                if fault.is_possible(owner, watch.look()?)
                    && let Err(error) = fault.strike(lab, owner)
                {
                    eprintln!("lab: {fault} did not strike: {error:#}");
                }
            }
            watch.until(*lasts, |_| false)?;
        }
    }
    recover(lab, &mut watch)?;
    lab.wait_for_writes(WRITES, LIMIT)
        .context("after all was mended")?;
    let report = lab.io_stop()?;
    outcome.stall_ms = report.longest_since(struck).ms;
    outcome.errors = report.errors;
    outcome.first_errors = report.first_errors.clone();
    let (read, raw) = (lab.verify()?, lab.verify_raw()?);
    outcome.blocks = read.blocks.min(raw.blocks);
    outcome.lost = [read.lost, raw.lost].concat();
    watch.until(LIMIT, |watch| watch.at_rest().is_some())?;
    settle(&mut watch, plan, owner, &report, &mut outcome)?;
    let stalls = &watch.look()?.stalls;
    let at_least_ms = (dead / 2).as_millis() as u64;
    outcome.judge(stalls, (struck, unix_ms()), at_least_ms);
    Ok(outcome)
}

/// Mends until the box is whole. More than once: a machine that was starting while its disks were away may give
/// up only later.
fn recover(lab: &Lab, watch: &mut Watch<'_>) -> anyhow::Result<()> {
    for _ in 0..MENDS {
        let began = Instant::now();
        while let Err(error) = mend(lab) {
            if began.elapsed() > MEND_LIMIT {
                return Err(error.context("mending"));
            }
            watch.look()?;
            thread::sleep(Duration::from_millis(500));
        }
        watch.until(LIMIT, |watch| is_whole(watch) || watch.is_any_off())?;
        if is_whole(watch) {
            return Ok(());
        }
        if !watch.is_any_off() {
            break;
        }
    }
    anyhow::bail!("not whole again though all is mended: {}", watch.summary())
}

/// Forgets how often each head was fenced, and waits until neither is trusted less.
fn readmit(lab: &Lab, watch: &mut Watch<'_>) -> anyhow::Result<()> {
    lab.readmit()?;
    let trusted = |watch: &Watch<'_>| {
        let trusted_less = |head: &Head| watch.says(*head, "is trusted less");
        !Head::BOTH.iter().any(trusted_less)
    };
    anyhow::ensure!(
        watch.until(MOVE_LIMIT, trusted)?,
        "`readmit` has no effect: {}",
        watch.summary()
    );
    Ok(())
}

fn is_whole(watch: &Watch<'_>) -> bool {
    watch.at_rest().is_some() && watch.hear_each_other()
}

/// While it lasts.
fn suffer(
    watch: &mut Watch<'_>,
    row: &Row,
    owner: Head,
    dead: Duration,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let other = owner.peer();
    let came = match row.expect {
        Expect::Moves => watch.until(MOVE_LIMIT, |watch| watch.serves(other))?,
        Expect::OneServes => watch.until(MOVE_LIMIT, |watch| watch.at_rest().is_some())?,
        Expect::Stays | Expect::Waits | Expect::Open => true,
    };
    if !came {
        let how = watch.summary();
        outcome.miss(unix_ms(), format!("{:?} did not come: {how}", row.expect));
    }
    for (who, words) in row.says {
        for head in who.heads(owner) {
            if !watch.until(MOVE_LIMIT, |watch| watch.says(head, words))? {
                outcome.miss(unix_ms(), format!("head {head} never says {words:?}"));
            }
        }
    }
    // Whatever it is must last.
    let mut wrong = None;
    watch.until(long_enough(dead), |watch| {
        let right = match row.expect {
            Expect::Stays => !watch.serves(other),
            Expect::Moves => watch.serves(other),
            Expect::OneServes => watch.at_rest().is_some(),
            Expect::Waits | Expect::Open => true,
        };
        if !right {
            wrong.get_or_insert_with(|| (unix_ms(), watch.summary()));
        }
        false
    })?;
    if let Some((when, how)) = wrong {
        outcome.miss(when, format!("{:?} did not last: {how}", row.expect));
    }
    Ok(())
}

/// When it is over.
fn settle(
    watch: &mut Watch<'_>,
    plan: &Plan,
    owner: Head,
    report: &IoReport,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let now = watch.at_rest().context("not at rest any more")?;
    // Who else is registered is seen when the owner reads it back, a few times a second.
    watch.until(MOVE_LIMIT, |watch| watch.against(now).is_empty())?;
    outcome.doubles = watch.against(now);
    outcome.served = Some((owner, now));
    let over = unix_ms();
    outcome.count(plan, watch.takeovers(), over, &watch.changes());
    if let Plan::Row(row) = plan {
        if row.forgets {
            forgotten(watch, owner, outcome)?;
        }
        if row.expect == Expect::Stays && now != owner {
            outcome.miss(over, format!("head {now} serves now"));
        }
        if row.no_errors && report.errors > 0 {
            let examples = report.first_errors.join("; ");
            let errors = report.errors;
            outcome.miss(
                over,
                format!("the client saw {errors} errors, such as: {examples}"),
            );
        }
    }
    Ok(())
}

/// What an owner did wrong whose shelf forgot its reservations.
fn forgotten(watch: &mut Watch<'_>, owner: Head, outcome: &mut Outcome) -> anyhow::Result<()> {
    let why = format!("{RESETS}{UNFENCED}");
    if !watch.until(MOVE_LIMIT, |watch| watch.said(owner, &why))? {
        // One that the host stopped for as long resets for that, before it looks at its reservations.
        if watch.said(owner, RESETS) {
            outcome.miss(
                unix_ms(),
                format!("head {owner} has reset and never said {why:?}"),
            );
        } else {
            let never = format!("head {owner} has not reset: it never said {RESETS:?}");
            outcome.unfenced.push(never);
        }
    }
    let again = watch.revived();
    if !again.is_empty() {
        let keys = again.join("; ");
        let revived = format!("what the shelf forgot is registered again: {keys}");
        outcome.unfenced.push(revived);
    }
    Ok(())
}
