//! One round: something breaks under checked I/O, is watched, mended, and everything is checked.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::fault::{Fault, long_enough, mend};
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

/// What a head says in the moment in which it resets because its fence is gone.
const RESETS: &str = "resetting now: lost the reservations of";

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
    fn takeovers(&self) -> (u64, u64) {
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

/// What came of a round.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Which head served before, and which after.
    pub served: Option<(Head, Head)>,
    /// How often the disks changed hands.
    pub takeovers: u64,
    /// Those among them that nothing demanded: they may be of what broke, or of the host's own stall.
    pub undemanded: u64,
    /// Longest time without an acknowledged write.
    pub stall_ms: u64,
    /// Errors that the client saw.
    pub errors: u64,
    /// The first of them.
    pub first_errors: Vec<String>,
    /// Acknowledged blocks that were found, through the owner and on the raw disks.
    pub blocks: u64,
    /// Those that were not.
    pub lost: Vec<String>,
    /// What shows that there were two owners.
    pub doubles: Vec<String>,
    /// What did not come as it must.
    pub missed: Vec<String>,
    /// The host itself stalled so long that what was missed, or moved without being asked to, says nothing.
    pub host_stall_ms: Option<u64>,
}

impl Outcome {
    /// Whether nothing is wrong, or nothing that the host's own stall does not excuse.
    pub fn is_good(&self) -> bool {
        !self.is_broken() && (self.missed.is_empty() || self.host_stall_ms.is_some())
    }

    /// Whether a promise was broken that no stall of the host excuses.
    pub fn is_broken(&self) -> bool {
        !self.lost.is_empty() || !self.doubles.is_empty()
    }

    /// Whether it says nothing: as the host stalled something was missed, or the pool moved where nothing demanded it.
    pub fn is_inconclusive(&self) -> bool {
        let says_nothing = !self.missed.is_empty() || self.undemanded > 0;
        self.is_good() && self.host_stall_ms.is_some() && says_nothing
    }

    /// All that is wrong, in words.
    pub fn complaints(&self) -> Vec<String> {
        let doubles = self
            .doubles
            .iter()
            .map(|what| format!("two owners: {what}"));
        let lost = self.lost.iter().take(5).map(|what| format!("lost: {what}"));
        doubles.chain(lost).chain(self.missed.clone()).collect()
    }
}

/// Plays a round on a whole lab, and leaves it whole. `dead` is the silence that counts as death.
///
/// # Errors
/// The lab's own, and a box that does not come back to one owner and one standby when all is mended.
pub fn play(lab: &Lab, plan: &Plan, dead: Duration) -> anyhow::Result<Outcome> {
    let mut watch = Watch::begin(lab)?;
    watch.until(LIMIT, is_whole)?;
    let owner = watch
        .at_rest()
        .context("the box is not whole to begin with")?;
    readmit(lab, &mut watch)?;
    lab.io_start(&IoOptions::default())?;
    lab.wait_for_writes(WRITES, LIMIT)?;
    let struck = unix_ms();
    let mut outcome = Outcome::default();
    match plan {
        Plan::Row(row) => {
            for fault in row.faults {
                fault.strike(lab, owner)?;
            }
            suffer(&mut watch, row, owner, dead, &mut outcome.missed)?;
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
    let stall = watch.host_stall(dead / 2);
    outcome.host_stall_ms = stall.map(|late| late.as_millis() as u64);
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
    missed: &mut Vec<String>,
) -> anyhow::Result<()> {
    let other = owner.peer();
    let came = match row.expect {
        Expect::Moves => watch.until(MOVE_LIMIT, |watch| watch.serves(other))?,
        Expect::OneServes => watch.until(MOVE_LIMIT, |watch| watch.at_rest().is_some())?,
        Expect::Stays | Expect::Waits | Expect::Open => true,
    };
    if !came {
        missed.push(format!(
            "{:?} did not come: {}",
            row.expect,
            watch.summary()
        ));
    }
    for (who, words) in row.says {
        for head in who.heads(owner) {
            if !watch.until(MOVE_LIMIT, |watch| watch.says(head, words))? {
                missed.push(format!("head {head} never says {words:?}"));
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
            wrong.get_or_insert_with(|| watch.summary());
        }
        false
    })?;
    missed.extend(wrong.map(|how| format!("{:?} did not last: {how}", row.expect)));
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
    outcome.takeovers = watch.takeovers();
    outcome.undemanded = outcome.takeovers.saturating_sub(plan.takeovers().0);
    if let Plan::Row(row) = plan {
        let (least, most) = plan.takeovers();
        if outcome.takeovers > most || outcome.takeovers < least {
            let (seen, name) = (outcome.takeovers, row.name);
            outcome.missed.push(format!(
                "{name}: the disks changed hands {seen} times, and should {least} to {most} times\n      {}",
                watch.changes()
            ));
        }
        if row.forgets {
            outcome.missed.extend(forgotten(watch, owner)?);
        }
        if row.expect == Expect::Stays && now != owner {
            outcome.missed.push(format!("head {now} serves now"));
        }
        if row.no_errors && report.errors > 0 {
            outcome.missed.push(format!(
                "the client saw {} errors, such as: {}",
                report.errors,
                report.first_errors.join("; ")
            ));
        }
    }
    Ok(())
}

/// What an owner did wrong whose shelf forgot its reservations.
fn forgotten(watch: &mut Watch<'_>, owner: Head) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    if !watch.until(MOVE_LIMIT, |watch| watch.said(owner, RESETS))? {
        wrong.push(format!(
            "head {owner} has not reset: it never said {RESETS:?}"
        ));
    }
    let again = watch.revived();
    if !again.is_empty() {
        let keys = again.join("; ");
        wrong.push(format!("what the shelf forgot is registered again: {keys}"));
    }
    Ok(wrong)
}
