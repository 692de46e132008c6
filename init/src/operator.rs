//! What the commands of the consoles do. It reads what the heartbeat thread and the workers publish,
//! and posts requests; it changes nothing by itself.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use orthrus_hb::{Accepted, Command as HeadCommand, HeadId, PoolId, PoolState, Refusal};
use serde_json::json;
use tracing::{error, warn};

use crate::config::Config;
use crate::console::{Command, Operator, Rehearsal, Reply, Request};
use crate::inbox::{Handle, Input};
use crate::ledger::Ledger;
use crate::status::{ORDER_LIMIT, Report, Snapshot, Sources, Status, Usage, WatchdogStatus};
use crate::sync::lock;
use crate::worker::{Orders, PoolOrder};
use crate::{clock, disk, halt, volume};

/// How long whoever asks for an orderly halt is kept waiting for it. Longer than a release may take. A pool that is being claimed or
/// imported is let go only after that, which may take minutes: the halt goes on without its asker then, and is never
/// given up. There is no way back for a head that retired, so one that stayed up would be none that its peer could
/// rely on. Each step has a limit of its own, past which the head resets: it ends in any case.
const HALT_PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks whether every pool was let go.
const HALT_LOOK: Duration = Duration::from_millis(50);

/// What exists once there is a valid configuration.
pub struct Running {
    /// The configuration.
    pub config: Arc<Config>,
    /// Which head this is.
    pub me: HeadId,
    /// The way to the heartbeat thread.
    pub handle: Handle,
    /// The core's view.
    pub snapshot: Arc<Mutex<Snapshot>>,
    /// The workers' views, in the order of the configuration.
    pub reports: Vec<Arc<Mutex<Report>>>,
    /// The ways to the workers, in the order of the configuration.
    pub orders: Vec<Orders>,
    /// The pools' ledgers, in the order of the configuration.
    pub ledgers: Vec<Arc<Ledger>>,
    /// The hardware watchdog.
    pub watchdog: Option<WatchdogStatus>,
}

/// The operator's side of this head. The consoles have it from early in the boot on.
#[derive(Default)]
pub struct Desk {
    running: OnceLock<Running>,
    problem: OnceLock<String>,
    /// This head is on its way down, and what was said last that it shall do in the end.
    halting: Arc<Mutex<Option<Halt>>>,
}

impl Desk {
    /// The head runs.
    pub fn run_with(&self, running: Running) {
        // Boot gets here once.
        let _ = self.running.set(running);
    }

    /// There is no valid configuration; the head waits at its console.
    pub fn fail_with(&self, problem: String) {
        let _ = self.problem.set(problem);
    }

    /// Everything about this head.
    fn status(&self) -> Status {
        let running = self.running.get();
        let snapshot =
            running.map_or_else(Snapshot::default, |running| lock(&running.snapshot).clone());
        let reports: Vec<Report> = running
            .iter()
            .flat_map(|running| running.reports.iter().map(|report| lock(report).clone()))
            .collect();
        let ledgers: Vec<_> = running
            .iter()
            .flat_map(|running| running.ledgers.iter())
            .map(|ledger| ledger.report(clock::now()))
            .collect();
        Status::of(&Sources {
            config: running.map(|running| (&*running.config, running.me)),
            config_error: self.problem.get().map(String::as_str),
            snapshot: &snapshot,
            reports: &reports,
            ledgers: &ledgers,
            watchdog: running.and_then(|running| running.watchdog.clone()),
            uptime_s: clock::now().as_secs(),
            usage: Usage::measure(),
        })
    }

    /// Lets go of every pool, then halts: as was said last, if it is said again meanwhile. Whoever asked gets an answer when that
    /// takes long.
    pub fn halt(&self, what: Halt) -> Reply {
        let before = lock(&self.halting).replace(what);
        match before {
            None => warn!("{what:?}: this head lets go of its pools and takes nothing more"),
            Some(before) => warn!("{what:?} instead of {before:?}: this head is on its way down"),
        }
        let Some(running) = self.running.get() else {
            return halt_as_said(&self.halting);
        };
        running.handle.post(Input::Retire);
        let snapshot = running.snapshot.clone();
        if before.is_none() {
            see_through(snapshot.clone(), self.halting.clone());
        }
        if at_rest_within(&snapshot, HALT_PATIENCE) {
            return halt_as_said(&self.halting);
        }
        let names = running.config.pools.iter().map(|pool| pool.name.as_str());
        let text = goes_on(what, names, &lock(&snapshot));
        warn!("{text}");
        let reply = json!({ "halting": what.name(), "goes_on": text });
        Reply::done(text, reply)
    }

    /// Something that the worker of a pool does.
    fn order(&self, pool: &str, order: &PoolOrder) -> Reply {
        let Some(running) = self.running.get() else {
            return self.not_running();
        };
        let pools = running.config.pools.iter().zip(&running.orders);
        let mut named = pools.filter(|(one, _)| one.name == pool);
        let Some((_, orders)) = named.next() else {
            return no_pool(pool, &running.config);
        };
        match orders.give(order, ORDER_LIMIT) {
            Ok(said) => Reply::done(
                format!("{pool}: {said}"),
                json!({ "pool": pool, "done": said }),
            ),
            Err(why) => Reply::refused(format!("{pool}: {why}")),
        }
    }

    fn command(&self, name: &str, make: fn(PoolId) -> HeadCommand) -> Reply {
        let Some(running) = self.running.get() else {
            return self.not_running();
        };
        let pools = &running.config.pools;
        let Some(index) = pools.iter().position(|pool| pool.name == name) else {
            return no_pool(name, &running.config);
        };
        // The configuration is limited to fewer pools than a u8 counts.
        answer(name, running.handle.command(make(PoolId(index as u8))))
    }

    /// What both heads wrote into the flight records, of one pool or of all. From the disks, as they are now.
    fn flight_record(&self, pool: Option<&str>) -> Reply {
        let Some(running) = self.running.get() else {
            return self.not_running();
        };
        let pools = &running.config.pools;
        if let Some(name) = pool
            && pools.iter().all(|pool| pool.name != name)
        {
            return no_pool(name, &running.config);
        }
        let wanted = pools
            .iter()
            .filter(|one| pool.is_none_or(|name| one.name == name));
        let disks: Vec<_> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let found = volume::read_groups(&disks);
        let cluster = &running.config.cluster;
        let of_pools = wanted.filter_map(|pool| found.find(&pool.vg, cluster));
        let groups: Vec<_> = of_pools.collect();
        // They differ in where they write, and all read alike.
        let Some(ledger) = running.ledgers.first() else {
            return Reply::refused("no pool is configured");
        };
        let history = ledger.history(&groups);
        let name = |head| running.config.head(head).name.clone();
        Reply::done(history.text(name), history.json(name))
    }

    fn rehearse(&self, rehearsal: &Rehearsal) -> Reply {
        let Some(running) = self.running.get() else {
            return self.not_running();
        };
        match rehearsal {
            Rehearsal::Hang => {
                if let Some(why) = stays_hung(running.watchdog.as_ref()) {
                    return Reply::refused(why);
                }
                running.handle.post(Input::Hang);
                let text = "the heartbeat of this head stops";
                Reply::done(text, json!({ "rehearsing": "hang" }))
            }
            Rehearsal::HangKernel => hang_kernel(running.watchdog.as_ref()),
            Rehearsal::HangWorker { pool } => self.order(pool, &PoolOrder::Hang),
        }
    }

    fn readmit(&self) -> Reply {
        let Some(running) = self.running.get() else {
            return self.not_running();
        };
        match running.handle.command(HeadCommand::Readmit) {
            Ok(_) => {
                let text = "the fences of the peer are forgotten, and it is trusted";
                Reply::done(text, json!({ "readmitted": true }))
            }
            Err(refusal) => Reply::refused(refusal),
        }
    }

    fn not_running(&self) -> Reply {
        match self.problem.get() {
            Some(problem) => Reply::refused(format!("no valid configuration: {problem}")),
            None => Reply::refused("this head is still booting"),
        }
    }
}

/// What the core said to a command for a pool.
fn answer(name: &str, said: Result<Accepted, Refusal>) -> Reply {
    match said {
        Ok(accepted) => {
            let text = match accepted {
                Accepted::Releasing => "letting go; the peer takes it over. Watch `pools`",
                Accepted::AskedPeer => "the peer was asked to let go. Watch `pools`",
                Accepted::Claiming => "claiming it here. Watch `pools`",
                Accepted::Readmitted => "the peer is trusted again",
            };
            Reply::done(
                format!("{name}: {text}"),
                json!({ "pool": name, "accepted": text }),
            )
        }
        Err(refusal @ Refusal::AlreadyThere) => {
            let text = format!("{name}: {refusal}");
            Reply::done(text.clone(), json!({ "pool": name, "accepted": text }))
        }
        Err(refusal) => Reply::refused(format!("{name}: {refusal}")),
    }
}

/// How to halt.
#[derive(Clone, Copy, Debug)]
pub enum Halt {
    /// And start again.
    Reboot,
    /// And stay off.
    Poweroff,
}

impl Halt {
    /// As it is typed.
    fn name(self) -> &'static str {
        match self {
            Halt::Reboot => "reboot",
            Halt::Poweroff => "poweroff",
        }
    }
}

/// Waits for as long as it takes until every pool was let go, then halts, whoever still waits for that.
fn see_through(snapshot: Arc<Mutex<Snapshot>>, halting: Arc<Mutex<Option<Halt>>>) {
    let halt = move || {
        while !at_rest_within(&snapshot, HALT_PATIENCE) {}
        halt_as_said(&halting);
    };
    let spawned = std::thread::Builder::new().name("halt".to_owned());
    if let Err(error) = spawned.spawn(halt) {
        error!(%error, "nobody sees the halt through: say it again when no pool is held here");
    }
}

/// Whether nothing of any pool is held here within this time.
fn at_rest_within(snapshot: &Mutex<Snapshot>, patience: Duration) -> bool {
    let begun = Instant::now();
    while !lock(snapshot).at_rest {
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(HALT_LOOK);
    }
    true
}

/// Halts, as was said last. Of several who come here the first one does it, and the others wait for their end.
fn halt_as_said(halting: &Mutex<Option<Halt>>) -> Reply {
    let halting = lock(halting);
    let what = halting.unwrap_or(Halt::Reboot);
    warn!("halting: {what:?}");
    let done = match what {
        Halt::Reboot => halt::reboot(),
        Halt::Poweroff => halt::poweroff(),
    };
    match done {
        Ok(never) => match never {},
        Err(error) => {
            error!(%error, "cannot halt");
            Reply::refused(error)
        }
    }
}

/// What an operator is answered whose halt takes long: it goes on, and what it waits for.
fn goes_on<'a>(what: Halt, names: impl Iterator<Item = &'a str>, snapshot: &Snapshot) -> String {
    let pools = names.zip(&snapshot.pools);
    let held =
        pools.filter(|(_, pool)| !matches!(pool.state, PoolState::Standby | PoolState::Faulted));
    let held: Vec<String> = held
        .map(|(name, pool)| format!("{name} ({})", pool.state.name()))
        .collect();
    format!(
        "{} goes on: this head halts as soon as it has let go of {}. It takes nothing more, and there is no way back but its next \
         boot; a step that takes longer than it may ends in a reset",
        what.name(),
        held.join(", ")
    )
}

impl Operator for Desk {
    fn run(&self, request: &Request) -> Reply {
        match &request.command {
            Command::Status => {
                let status = self.status();
                Reply::done(status.summary(), json!(status))
            }
            Command::Pools => {
                let status = self.status();
                Reply::done(status.pools_text(), json!({ "pools": status.pools }))
            }
            Command::Links => {
                let status = self.status();
                Reply::done(
                    status.links_text(),
                    json!({ "links": status.links, "ledgers": status.ledgers() }),
                )
            }
            Command::Disks => disks(),
            Command::FlightRecord { pool } => self.flight_record(pool.as_deref()),
            Command::Handover { pool } => self.command(pool, HeadCommand::Handover),
            Command::Takeover { pool } => self.command(pool, HeadCommand::Takeover),
            Command::Giveback { pool } => self.command(pool, HeadCommand::Giveback),
            Command::Order { pool, order } => self.order(pool, order),
            Command::Locate { disk, on } => locate(disk, *on),
            Command::Readmit => self.readmit(),
            Command::Rehearse(rehearsal) => self.rehearse(rehearsal),
            Command::Reboot => self.halt(Halt::Reboot),
            Command::Poweroff => self.halt(Halt::Poweroff),
            // Answered by the console itself.
            Command::Log { .. } | Command::Help => Reply::refused("not a command of the operator"),
        }
    }

    fn head(&self) -> Option<String> {
        self.running
            .get()
            .map(|running| running.config.head(running.me).name.clone())
    }

    fn pools(&self) -> Vec<String> {
        let pools = self
            .running
            .get()
            .map(|running| running.config.pools.iter());
        pools
            .into_iter()
            .flatten()
            .map(|pool| pool.name.clone())
            .collect()
    }
}

/// Why a head whose heartbeat hangs would stay so, if it would. Its kernel runs on, so that a watchdog in software does.
fn stays_hung(watchdog: Option<&WatchdogStatus>) -> Option<&'static str> {
    let why = "no watchdog is armed: nothing would reset this head; enable it in the BIOS";
    watchdog.is_none().then_some(why)
}

/// Whether something ends a kernel that hangs.
fn would_be_reset(watchdog: Option<&WatchdogStatus>) -> bool {
    watchdog.is_some_and(|dog| !dog.is_software)
}

fn hang_kernel(watchdog: Option<&WatchdogStatus>) -> Reply {
    if !would_be_reset(watchdog) {
        return Reply::refused(
            "no hardware watchdog: nothing would reset this head; enable it in the BIOS",
        );
    }
    let begun = halt::Crash::prepare()
        .map_err(|error| error.to_string())
        .and_then(|crash| crash.begin().map_err(|error| error.to_string()));
    match begun {
        Ok(()) => {
            let text = "the kernel of this head stops";
            Reply::done(text, json!({ "rehearsing": "hang kernel" }))
        }
        Err(why) => Reply::refused(why),
    }
}

fn no_pool(name: &str, config: &Config) -> Reply {
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    Reply::refused(format!("no pool {name:?}; there are: {}", names.join(", ")))
}

/// `disk locate`: the lamp at the slot of a disk, by name or identity.
fn locate(wanted: &str, on: bool) -> Reply {
    let seen: Vec<disk::Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
    let mut meant = seen
        .iter()
        .filter(|disk| disk.name == wanted || disk.id.to_string() == wanted);
    let Some(disk) = meant.next() else {
        let names: Vec<&str> = seen.iter().map(|disk| disk.name.as_str()).collect();
        let names = names.join(", ");
        return Reply::refused(format!("no disk {wanted:?} is seen; there are: {names}"));
    };
    match disk::locate::locate(Path::new("/sys/block"), &disk.name, on) {
        Ok(slot) => {
            let state = if on { "on" } else { "off" };
            Reply::done(
                format!("{}: the lamp of slot {slot} is {state}", disk.name),
                json!({ "disk": disk.name, "slot": slot, "locate": on }),
            )
        }
        Err(error) => Reply::refused(error),
    }
}

/// `disks`: all that this head sees, whoever uses them.
fn disks() -> Reply {
    let (mut text, mut list) = (String::new(), Vec::new());
    for disk in disk::scan() {
        match disk {
            Ok(disk) => {
                let cache = disk.write_cache;
                text += &format!(
                    "{:<8} {:>8} MiB  {} {}  {}  write cache: {cache}\n",
                    disk.name,
                    disk.bytes >> 20,
                    disk.vendor.trim(),
                    disk.model.trim(),
                    disk.id,
                );
                for path in &disk.paths {
                    let answers = match disk::paths::is_silent(path) {
                        true => "does not answer",
                        false => "answers",
                    };
                    text += &format!("  path {}: {answers}\n", path.name);
                }
                let paths: Vec<&str> = disk.paths.iter().map(|path| path.name.as_str()).collect();
                list.push(json!({
                    "paths": paths,
                    "name": disk.name, "id": disk.id.to_string(), "bytes": disk.bytes,
                    "vendor": disk.vendor, "model": disk.model,
                    "logical_block": disk.logical_block, "write_cache": cache.to_string(),
                }));
            }
            Err(error) => {
                text += &format!("{error}\n");
                list.push(json!({ "error": error.to_string() }));
            }
        }
    }
    if text.is_empty() {
        text.push_str("no disk is seen\n");
    }
    Reply::done(text, json!({ "disks": list }))
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{Epoch, Health, LedgerState};

    use super::*;
    use crate::console::DONE;
    use crate::status::PoolSnapshot;
    use crate::worker::lines::cases;

    #[test]
    fn each_refusal_of_the_core_is_answered_with_what_ends_it() {
        let cases = cases! { Refusal:
            Refusal::UnknownPool => [Refusal::UnknownPool => ["no such pool", "see `pools`"]],
            Refusal::AlreadyThere => [Refusal::AlreadyThere => ["the pool is there already"]],
            Refusal::NotServing => [
                Refusal::NotServing => ["this head does not serve the pool", "say it on the head that does"],
            ],
            Refusal::Busy => [Refusal::Busy => ["the pool is changing hands", "see `pools`"]],
            Refusal::PeerHolds => [Refusal::PeerHolds => ["the peer serves the pool", "on its console"]],
            Refusal::PeerNotHeard => [
                Refusal::PeerNotHeard => ["the peer is not heard on any link", "its power and both cables"],
            ],
            Refusal::PeerNotReady => [
                Refusal::PeerNotReady => ["the peer does not stand by", "`pools` on its console says why"],
            ],
            Refusal::PeerLessFit => [Refusal::PeerLessFit => ["the peer is less fit", "see `status`"]],
            Refusal::LinksLost => [Refusal::LinksLost => ["every cable is silent", "mend a cable"]],
            Refusal::PeerBarred => [Refusal::PeerBarred => ["the peer was fenced again and again", "`readmit`"]],
            Refusal::Barred => [Refusal::Barred => ["this head was fenced again and again", "`readmit` on the peer's console"]],
            Refusal::Retiring => [
                Refusal::Retiring => ["on its way down", "on the peer's console", "after the next boot"],
            ],
            Refusal::NotFenced => [Refusal::NotFenced => ["the peer was not fenced lately", "nothing to forget"]],
        };
        for (refusal, words) in cases {
            let reply = answer("tank", Err(refusal));
            assert_eq!(
                reply.code == DONE,
                refusal == Refusal::AlreadyThere,
                "{refusal:?}"
            );
            for word in words.iter().map(String::as_str).chain(["tank: "]) {
                assert!(
                    reply.text.contains(word),
                    "{word:?} is not in: {}",
                    reply.text
                );
            }
        }
    }

    /// What ends it is `halt_as_said`, which nobody tries here: whoever runs this as root would lose the machine.
    #[test]
    fn a_halt_that_takes_long_says_what_it_waits_for_and_that_it_goes_on() {
        let pool = |state| PoolSnapshot {
            state,
            epoch: Epoch(3),
            rest: None,
            fault: None,
            peer: None,
            ledger: LedgerState::None,
            health: Health::default(),
            peer_health: Health::default(),
            answers: false,
        };
        let states = [
            PoolState::Claiming,
            PoolState::Standby,
            PoolState::Releasing,
        ];
        let mut snapshot = Snapshot {
            pools: states.into_iter().map(pool).collect(),
            ..Snapshot::default()
        };
        let said = goes_on(
            Halt::Reboot,
            ["tank", "well", "pond"].into_iter(),
            &snapshot,
        );
        let begin = "reboot goes on: this head halts as soon as it has let go of tank (claiming), pond (releasing). ";
        assert!(said.starts_with(begin), "{said}");
        assert!(said.contains("takes nothing more"), "{said}");
        // An asker waits, and no longer than that.
        let shared = Mutex::new(snapshot.clone());
        assert!(!at_rest_within(&shared, Duration::from_millis(1)));
        snapshot.at_rest = true;
        *lock(&shared) = snapshot;
        assert!(at_rest_within(&shared, Duration::from_millis(1)));
    }

    /// Not by `hang_kernel`: with an error in it, whoever runs this as root would lose the machine.
    #[test]
    fn only_a_hardware_watchdog_resets_a_kernel_that_hangs() {
        let watchdog = |is_software| WatchdogStatus {
            identity: "test".to_owned(),
            timeout_s: 10,
            is_software,
        };
        assert!(!would_be_reset(None));
        assert!(!would_be_reset(Some(&watchdog(true))));
        assert!(would_be_reset(Some(&watchdog(false))));
        // Of a heartbeat that hangs any does.
        assert!(stays_hung(None).is_some());
        assert_eq!(stays_hung(Some(&watchdog(true))), None);
    }
}
