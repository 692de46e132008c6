//! Looks at a lab while it suffers: who serves, by the heads' own word and by what passes on the cables.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::clock::{time_of_day, unix_ms};
use crate::headview;
use crate::names::Head;
use crate::request::LabStatus;
use crate::vm::Power;
use crate::{Lab, progress};

/// How often it looks.
const POLL: Duration = Duration::from_millis(250);
/// Both heads say that they serve and answer clients, in so many looks in a row: a head that was stopped answers once more in the
/// moment before it resets itself. One that nobody hears and that sees no disk may call itself the owner, and keeps silent.
const BOTH_SERVE_LOOKS: u32 = 2;

/// What was seen since it began.
pub struct Watch<'a> {
    lab: &'a Lab,
    pool: String,
    claims: u64,
    foreign: u64,
    revived: Vec<String>,
    consoles: [usize; 2],
    both_serve: u32,
    /// Moments at which there were two owners.
    pub doubles: Vec<String>,
    /// How things were at the last look.
    pub last: LabStatus,
}

impl<'a> Watch<'a> {
    /// Begins.
    ///
    /// # Errors
    /// The lab's.
    pub fn begin(lab: &'a Lab) -> anyhow::Result<Self> {
        let last = lab.status()?;
        let pool = last.pools.first().context("no pool")?.pool.name.clone();
        Ok(Self {
            lab,
            pool,
            claims: claims(&last),
            foreign: foreign(&last),
            revived: revived(&last),
            consoles: Head::BOTH.map(|head| console(&last, head).len()),
            both_serve: 0,
            doubles: Vec::new(),
            last,
        })
    }

    /// Something is about to break: what is counted is what changes from here on. What is never right is held against the heads from
    /// the beginning on.
    pub fn strike(&mut self) {
        self.claims = claims(&self.last);
    }

    /// Looks once.
    ///
    /// # Errors
    /// The lab's.
    pub fn look(&mut self) -> anyhow::Result<&LabStatus> {
        self.last = self.lab.status()?;
        let serving = Head::BOTH.map(|head| self.answers(head));
        if serving == [true, true] {
            self.both_serve += 1;
            if self.both_serve == BOTH_SERVE_LOOKS {
                let at = time_of_day(unix_ms());
                self.doubles.push(format!("{at} both heads serve"));
            }
        } else {
            self.both_serve = 0;
        }
        Ok(&self.last)
    }

    /// Looks until something holds; false if it does not in time.
    ///
    /// # Errors
    /// The lab's.
    pub fn until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            self.look()?;
            if holds(self) {
                return Ok(true);
            }
            if began.elapsed() >= limit {
                return Ok(false);
            }
            thread::sleep(POLL);
        }
    }

    /// What a head says about the pool; `None` if it does not answer.
    pub fn state(&self, head: Head) -> Option<String> {
        self.view(head).map(|view| view.state)
    }

    /// Whether a head says that it serves the pool, and answers its clients.
    fn answers(&self, head: Head) -> bool {
        let view = self.view(head);
        view.is_some_and(|view| view.state == "serving" && view.answers)
    }

    fn view(&self, head: Head) -> Option<headview::PoolView> {
        let report = self.last.heads[head.index()].report.as_ref()?;
        let mut views = headview::pools(report).into_iter();
        views.find(|view| view.name == self.pool)
    }

    /// Whether a head says that it serves the pool.
    pub fn serves(&self, head: Head) -> bool {
        self.state(head).as_deref() == Some("serving")
    }

    /// The head that serves, if one does and the other stands by.
    pub fn at_rest(&self) -> Option<Head> {
        let owner = Head::BOTH.into_iter().find(|&head| self.serves(head))?;
        (self.state(owner.peer()).as_deref() == Some("standby")).then_some(owner)
    }

    /// Whether a head's machine is off.
    pub fn is_any_off(&self) -> bool {
        self.last.heads.iter().any(|head| head.power == Power::Off)
    }

    /// Whether each head hears the other, on each cable.
    pub fn hear_each_other(&self) -> bool {
        self.last.heads.iter().all(|head| {
            let report = head.report.as_ref();
            report.is_some_and(headview::hears_all)
        })
    }

    /// Whether a head says that the box is not redundant, in a problem with these words.
    pub fn says(&self, head: Head, words: &str) -> bool {
        let report = self.last.heads[head.index()].report.as_ref();
        report.is_some_and(|report| {
            let problems = headview::problems(report);
            problems.iter().any(|problem| problem.contains(words))
        })
    }

    /// How often the disks changed hands since the strike.
    pub fn takeovers(&self) -> u64 {
        claims(&self.last).saturating_sub(self.claims)
    }

    /// How the disks changed hands lately.
    pub fn changes(&self) -> String {
        let disks = self.last.shelf.seen.iter();
        let disks = disks.map(|(lun, disk)| format!("LUN {lun}: {}", disk.changes.join("; ")));
        disks.collect::<Vec<_>>().join("\n      ")
    }

    /// What is against there being one owner, by what the target answered: foreign writes, and disks that
    /// another head than this one holds or is registered on.
    pub fn against(&self, owner: Head) -> Vec<String> {
        let mut against = self.doubles.clone();
        let foreign = foreign(&self.last) - self.foreign;
        if foreign > 0 {
            let disks = self.last.shelf.seen.values();
            let examples: Vec<&str> = disks
                .flat_map(|disk| disk.foreign.iter().map(String::as_str))
                .collect();
            against.push(format!("{foreign} foreign writes: {}", examples.join("; ")));
        }
        for (lun, disk) in &self.last.shelf.seen {
            if disk.holder != Some(owner) || disk.registered != [owner] {
                against.push(format!(
                    "head {owner} serves, and LUN {lun} is held by {:?} and {:?} are registered",
                    disk.holder, disk.registered
                ));
            }
        }
        against
    }

    /// Keys that the shelf forgot and that were registered again since it began.
    pub fn revived(&self) -> Vec<String> {
        let mut keys = revived(&self.last);
        keys.retain(|key| !self.revived.contains(key));
        keys
    }

    /// Whether a head's console said this since it began.
    pub fn said(&self, head: Head, words: &str) -> bool {
        let console = console(&self.last, head);
        let since = console.get(self.consoles[head.index()]..);
        String::from_utf8_lossy(since.unwrap_or_default()).contains(words)
    }

    /// One line about everything.
    pub fn summary(&self) -> String {
        progress::summary(&self.last)
    }
}

fn claims(status: &LabStatus) -> u64 {
    let disks = status.shelf.seen.values();
    disks.map(|disk| disk.claims).max().unwrap_or(0)
}

fn foreign(status: &LabStatus) -> u64 {
    let disks = status.shelf.seen.values();
    disks.map(|disk| disk.foreign_writes).sum()
}

fn revived(status: &LabStatus) -> Vec<String> {
    let disks = status.shelf.seen.iter();
    let keys = disks.flat_map(|(lun, disk)| {
        let keys = disk.revived.iter();
        keys.map(move |key| format!("LUN {lun}: {key}"))
    });
    keys.collect()
}

fn console(status: &LabStatus, head: Head) -> Vec<u8> {
    std::fs::read(&status.heads[head.index()].console_log).unwrap_or_default()
}
