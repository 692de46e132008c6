//! Snapshot, reports and configuration joined: what `status`, `pools`, `links` and `disks` show.

use orthrus_hb::{Failure, HeadId, Health, Hearing, LinkId, Liveness, PoolState, Rest};
use serde::Serialize;

use super::report::{LOOK_LIMIT, ORDER_LIMIT};
use super::{LedgerStatus, PoolSnapshot, Report, Snapshot, Usage};
use crate::config::Config;
use crate::ledger::LedgerReport;

/// What a status is made from.
pub struct Sources<'a> {
    /// The configuration, and which head this is; `None` while there is no valid one.
    pub config: Option<(&'a Config, HeadId)>,
    /// Why there is none.
    pub config_error: Option<&'a str>,
    /// The core's view.
    pub snapshot: &'a Snapshot,
    /// The workers' views, in the order of the configuration.
    pub reports: &'a [Report],
    /// The pools' ledgers, likewise.
    pub ledgers: &'a [LedgerReport],
    /// The hardware watchdog.
    pub watchdog: Option<WatchdogStatus>,
    /// Seconds since boot.
    pub uptime_s: u64,
    /// What this head takes of its machine.
    pub usage: Usage,
}

/// Everything about this head.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// This head; `None` without a valid configuration.
    pub head: Option<String>,
    /// The cluster.
    pub cluster: Option<String>,
    /// Version of the firmware.
    pub version: &'static str,
    /// Seconds since boot.
    pub uptime_s: u64,
    /// Any single failure would be survived right now, as far as this head knows.
    pub redundant: bool,
    /// Why not, and what to do. Never empty when `redundant` is false.
    pub problems: Vec<Problem>,
    /// What to know though nothing is wrong.
    pub notes: Vec<String>,
    /// The peer's name.
    pub peer: Option<String>,
    /// `alive`, `alive, links lost`, `dead` or `unheard`.
    pub peer_state: &'static str,
    /// The links.
    pub links: Vec<LinkStatus>,
    /// The pools.
    pub pools: Vec<PoolStatus>,
    /// The hardware watchdog.
    pub watchdog: Option<WatchdogStatus>,
    /// Memory and processes.
    pub usage: Usage,
}

/// Something that costs redundancy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub todo: String,
}

/// One link.
#[derive(Clone, Debug, Serialize)]
pub struct LinkStatus {
    /// `serial` or `ether`.
    pub name: &'static str,
    /// `up`, `one-way` (the peer does not hear us), `silent` or `unheard`.
    pub state: &'static str,
    /// How long it has been silent, in milliseconds.
    pub silence_ms: Option<u64>,
    /// How late what it carries is, as far as the other link tells, in milliseconds.
    pub late_ms: u64,
    /// Frames that counted since boot.
    pub accepted: u32,
    /// Frames that did not.
    pub rejected: u32,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its state on this head.
    pub state: &'static str,
    /// The claim held or attempted here, else the greatest known.
    pub epoch: u32,
    /// Clients are answered by this head.
    pub answers: bool,
    /// The head that serves it, as far as this head knows.
    pub owner: Option<String>,
    /// The head that it prefers.
    pub home: String,
    /// Its state at the peer; `halting` where that is about to halt, and rests until then.
    pub peer_state: Option<&'static str>,
    /// What a head could not serve it with, beside what the report says: a sentence each.
    pub broken: Vec<String>,
    /// Why it is not served here, and what ends that.
    pub why: Option<String>,
    /// Its service addresses.
    pub addresses: Vec<String>,
    /// Its iSCSI targets.
    pub targets: Vec<String>,
    /// Its ledger.
    pub ledger: LedgerStatus,
    /// Disks, volumes, words.
    #[serde(flatten)]
    pub report: Report,
}

/// The hardware watchdog.
#[derive(Clone, Debug, Serialize)]
pub struct WatchdogStatus {
    /// What its driver calls itself.
    pub identity: String,
    /// Time without a feed after which it resets the machine.
    pub timeout_s: u32,
    /// It is the kernel's own timer, which dies with the kernel.
    pub is_software: bool,
}

impl Status {
    /// The pools' ledgers.
    pub fn ledgers(&self) -> Vec<&LedgerStatus> {
        self.pools.iter().map(|pool| &pool.ledger).collect()
    }

    /// Joins what is known.
    pub fn of(sources: &Sources<'_>) -> Status {
        let names = sources.config.map(|(config, me)| Names::of(config, me));
        let pools = sources
            .config
            .map_or(Vec::new(), |(config, _)| pools(sources, config));
        let mut status = Status {
            head: names.as_ref().map(|names| names.me.clone()),
            cluster: sources.config.map(|(config, _)| config.cluster.clone()),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: sources.uptime_s,
            redundant: true,
            problems: Vec::new(),
            notes: pools
                .iter()
                .flat_map(|pool| pool.report.notes.clone())
                .collect(),
            peer: names.map(|names| names.peer),
            peer_state: match sources.snapshot.liveness {
                Liveness::Alive => "alive",
                Liveness::LinksLost => "alive, links lost",
                Liveness::Dead => "dead",
                Liveness::Unheard => "unheard",
            },
            links: links(sources.snapshot),
            pools,
            watchdog: sources.watchdog.clone(),
            usage: sources.usage,
        };
        status.judge(sources);
        status
    }

    /// Heads that are about to halt, which takes as long as what they are at: the operator who said so may be gone by then.
    fn way_down(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let (true, Some(me)) = (snapshot.is_retiring, &self.head) {
            let rests = [PoolState::Standby, PoolState::Faulted].map(PoolState::name);
            let pools = self.pools.iter();
            let held: Vec<String> = pools
                .filter(|pool| !rests.contains(&pool.state))
                .map(|pool| format!("{} ({})", pool.name, pool.state))
                .collect();
            let what = match held.is_empty() {
                true => format!("this head, {me}, is on its way down: it takes nothing more"),
                false => format!(
                    "this head, {me}, is on its way down: it takes nothing more, and halts when it has let go of {}",
                    held.join(", ")
                ),
            };
            problems.push(Problem {
                what,
                todo: "wait: each step that is under way has a limit, past which this head resets; there is no way back but its next boot"
                    .to_owned(),
            });
        }
        if let (true, Some(peer)) = (snapshot.peer_retires, &self.peer) {
            problems.push(Problem {
                what: format!("head {peer} is on its way down: it takes nothing more"),
                todo: "wait for its next boot, or switch it on again after a `poweroff`".to_owned(),
            });
        }
        problems
    }

    fn judge(&mut self, sources: &Sources<'_>) {
        let mut problems = Vec::new();
        problems.extend(self.way_down(sources.snapshot));
        let mut say = |what: String, todo: &str| {
            problems.push(Problem {
                what,
                todo: todo.to_owned(),
            });
        };
        if let Some(error) = sources.config_error {
            say(
                format!("no valid configuration: {error}"),
                "mend orthrus.toml and reboot",
            );
        } else if let Some(peer) = &self.peer {
            if sources.snapshot.liveness == Liveness::LinksLost {
                say(
                    format!("every cable to head {peer} is silent and its ledger ticks: it lives"),
                    "check the cables; nothing moves before one of them works",
                );
            } else if sources.snapshot.liveness != Liveness::Alive {
                let what = format!("head {peer} is {} on every link", self.peer_state);
                say(
                    what,
                    "check its power, its console and both heartbeat cables",
                );
            } else {
                for link in self.links.iter().filter(|link| link.state != "up") {
                    let what = format!("link {} is {}", link.name, link.state);
                    let advice = match link.state {
                        "late" => {
                            "take the buffer out of the line: while it is there, this link is no help when the other is cut"
                        }
                        _ => "check the cable",
                    };
                    say(what, advice);
                }
            }
            if sources.snapshot.digest_differs {
                say(
                    "the heads have different configurations".into(),
                    "copy one file to both heads",
                );
            }
        }
        let barred = sources.config.iter().flat_map(|(config, _)| {
            let names = |(id, count): &(HeadId, usize)| (config.head(*id).name.clone(), *count);
            sources.snapshot.barred.iter().map(names)
        });
        for (name, count) in barred {
            say(
                format!(
                    "head {name} was fenced {count} times within ten minutes and is trusted less"
                ),
                "find out why (cables, power, `log`), then say `readmit` on the other head",
            );
        }
        let unwatched = match &self.watchdog {
            Some(dog) if !dog.is_software => None,
            Some(_) => Some(
                "no hardware watchdog, only the kernel's own: a head whose kernel hangs is not reset",
            ),
            None => Some("no hardware watchdog: a hung head is not reset"),
        };
        if let Some(what) = unwatched.filter(|_| self.head.is_some()) {
            say(what.into(), "enable it in the BIOS");
        }
        for pool in &self.pools {
            let (troubles, notes) = pool.ledger.judge();
            problems.extend(troubles);
            self.notes.extend(notes);
            let merges = pool.report.volumes.iter();
            self.notes.extend(merges.filter_map(|volume| {
                let merge = volume.merge.as_ref()?;
                Some(format!(
                    "pool {}: {} gets back what snapshot {} had: {} % are copied",
                    pool.name, volume.name, merge.snapshot, merge.percent
                ))
            }));
            self.notes.extend(pool.report.ungated.as_ref().map(|why| {
                format!(
                    "pool {}: should this head hang while it serves, its kernel goes on to answer clients until the \
                     watchdog resets it: {why}",
                    pool.name
                )
            }));
        }
        let mut say = |what: String, todo: &str| {
            problems.push(Problem {
                what,
                todo: todo.to_owned(),
            });
        };
        for pool in &self.pools {
            let name = &pool.name;
            for alarm in &pool.report.alarms {
                say(format!("pool {name}: {}", alarm.what), &alarm.todo);
            }
            if pool.state == PoolState::Serving.name() && !pool.answers {
                say(
                    format!(
                        "pool {name}: clients are not answered: no disk of it has been read back for a second, and its peer may have \
                         taken it over"
                    ),
                    "check power and cables of the shelf; they are answered again as soon as a disk says that this head still holds it, \
                     and this head resets when one says that it does not",
                );
            }
            if let Some(busy) = &pool.report.busy {
                let took_s = self.uptime_s.saturating_sub(busy.since_s);
                if took_s >= ORDER_LIMIT.as_secs() {
                    say(
                        format!(
                            "pool {name}: its worker has been at `{}` for {took_s} s, and a handover waits for that",
                            busy.what
                        ),
                        "see `log`; if it does not end, `handover`: what then does not let go in time ends in a reset of this head, and \
                         the other one takes the pool",
                    );
                }
            }
            if let Some(took_s) = pool.stuck_look_s(self.uptime_s) {
                say(
                    format!(
                        "pool {name}: a look of its worker at its disks has not ended for {took_s} s, so that it would not let go either: \
                         this head counts as one that does not see them"
                    ),
                    "see `log` and check the power and the cables of the disks; a standby that sees them takes the pool by itself, and what \
                     does not let go in time ends in a reset of this head; without a standby, `reboot` when its clients can wait",
                );
            }
            for gateway in &pool.report.silent_gateways {
                say(
                    format!("pool {name}: the gateway {gateway} does not answer"),
                    "check the cable, the switch and the router; if it does not answer ARP or neighbour discovery from hosts without \
                     an address, `gateway_watch = false`",
                );
            }
            let degraded = pool.report.volumes.iter().filter(|volume| volume.degraded);
            let degraded: Vec<&str> = degraded.map(|volume| volume.name.as_str()).collect();
            if !degraded.is_empty() {
                say(
                    format!(
                        "pool {name}: served without a disk: {}",
                        degraded.join(", ")
                    ),
                    "`disk replace POOL DISK` puts a new disk in; the next one that fails may be one too many",
                );
            }
            let arrays = pool.report.arrays.iter().filter(|array| array.missing > 0);
            let arrays: Vec<&str> = arrays.map(|array| array.name.as_str()).collect();
            if !arrays.is_empty() {
                say(
                    format!(
                        "pool {name}: MD arrays lack a member: {}",
                        arrays.join(", ")
                    ),
                    "wait if it is made equal; else mdadm --add on another host, while neither head holds the pool: the next disk that fails may be one too many",
                );
            }
            let resyncs = pool.report.volumes.iter().filter_map(|volume| {
                let percent = volume.resync?;
                Some(format!("{} ({percent} %)", volume.name))
            });
            let of_arrays = pool.report.arrays.iter().filter_map(|array| {
                let percent = array.resync?;
                Some(format!("array {} ({percent} %)", array.name))
            });
            let resyncs: Vec<String> = resyncs.chain(of_arrays).collect();
            if !resyncs.is_empty() {
                say(
                    format!("pool {name}: disks are made equal: {}", resyncs.join(", ")),
                    "wait: until then the loss of a disk may be one too many",
                );
            }
            let state = pool.report.state_volume.as_ref();
            let broken = state.and_then(|state| Some((state.is_open, state.problem.as_ref()?)));
            match broken {
                Some((false, problem)) => say(
                    format!("pool {name}: its state volume is not used: {problem}"),
                    "see `pools`; a volume orthrus_state that is empty is made anew by the next import",
                ),
                Some((true, problem)) => say(
                    format!("pool {name}: its state volume cannot be written: {problem}"),
                    "`handover`: it is checked where the pool is imported; until then clients' locks and reservations may not outlive a takeover",
                ),
                None => {}
            }
            for lost in &pool.report.lost_reservations {
                say(
                    format!("pool {name}: clients' persistent reservations are lost: {lost}"),
                    "let those clients register again; see `pools` for the state volume",
                );
            }
            for held in &pool.report.luns_held {
                say(
                    format!("pool {name}: {held}"),
                    "`handover`, if the other head may be able to read it; else `serve_without_reservations = true` in the pool's part of the \
                     configuration on both heads, after its clients were stopped: nobody who was shut out by a reservation is then",
                );
            }
            for withheld in &pool.report.luns_withheld {
                say(
                    format!("pool {name}: {withheld}"),
                    "make the volume (`volume create`), or change the LUN or take it out in the configuration on both heads",
                );
            }
            for withheld in &pool.report.namespaces_withheld {
                say(format!("pool {name}: {withheld}"), "see `pools`");
            }
            for share in &pool.report.shares {
                if let Some(why) = &share.withheld {
                    say(
                        format!("pool {name}: share {} is not offered: {why}", share.name),
                        "see `pools`",
                    );
                }
            }
            let clients = pool.report.share_clients.as_ref();
            if let Some(problem) = clients.and_then(|clients| clients.problem.as_ref()) {
                say(
                    format!(
                        "pool {name}: NFS clients would lose their locks in a takeover: {problem}"
                    ),
                    "see `pools`: the state volume must be writable",
                );
            }
            for what in &pool.broken {
                say(format!("pool {name}: {what}"), "check that head's cables");
            }
            if pool.owner.is_none() {
                let why = pool.why.as_deref().unwrap_or("it is on its way");
                say(format!("pool {name} is not served: {why}"), "see `pools`");
            } else if pool.state == "faulted" || pool.peer_state == Some("faulted") {
                let why = pool.report.problem.as_deref().unwrap_or("see its console");
                say(
                    format!("pool {name} can be served by one head only: {why}"),
                    "see `pools`",
                );
            } else if let Some(unready) = &pool.report.unready {
                say(
                    format!("this head is not fit to serve pool {name}: {unready}"),
                    "see `pools` and `disks`",
                );
            }
        }
        self.redundant = problems.is_empty();
        self.problems = problems;
    }
}

impl PoolStatus {
    /// For how long a look of the worker of a pool that is served here has been under way, if that is too long.
    fn stuck_look_s(&self, uptime_s: u64) -> Option<u64> {
        let since = self.report.looking_since?;
        let took_s = uptime_s.saturating_sub(since.as_secs());
        let is_stuck = self.state == PoolState::Serving.name() && took_s >= LOOK_LIMIT.as_secs();
        is_stuck.then_some(took_s)
    }
}

struct Names {
    me: String,
    peer: String,
}

impl Names {
    fn of(config: &Config, me: HeadId) -> Names {
        Names {
            me: config.head(me).name.clone(),
            peer: config.head(me.peer()).name.clone(),
        }
    }
}

fn links(snapshot: &Snapshot) -> Vec<LinkStatus> {
    LinkId::ALL
        .iter()
        .zip(&snapshot.links)
        .map(|(id, link)| LinkStatus {
            name: id.name(),
            state: match (link.hearing, link.heard) {
                (Hearing::Up, false) => "one-way",
                (hearing, _) => hearing.name(),
            },
            silence_ms: link.silence_ms,
            late_ms: link.late_ms,
            accepted: link.accepted,
            rejected: link.rejected,
        })
        .collect()
}

fn pools(sources: &Sources<'_>, config: &Config) -> Vec<PoolStatus> {
    let Some((_, me)) = sources.config else {
        return Vec::new();
    };
    let names = Names::of(config, me);
    let parts = config
        .pools
        .iter()
        .zip(&sources.snapshot.pools)
        .zip(sources.reports)
        .zip(sources.ledgers);
    parts
        .map(|(((pool, state), report), ledger)| {
            let owner = match (state.state, state.peer) {
                (PoolState::Serving, _) => Some(names.me.clone()),
                (_, Some((PoolState::Serving, _))) => Some(names.peer.clone()),
                _ => None,
            };
            let why = state
                .rest
                .map(|rest| why_resting(rest, &names, &pool.name))
                .or_else(|| state.fault.map(|fault| why_faulted(fault, report)));
            PoolStatus {
                name: pool.name.clone(),
                state: state.state.name(),
                epoch: state.epoch.0,
                answers: state.answers,
                owner,
                home: config.head(pool.home).name.clone(),
                peer_state: state.peer.map(|(state, _)| match state {
                    PoolState::Faulted if sources.snapshot.peer_retires => "halting",
                    state => state.name(),
                }),
                broken: broken(state, report, &names),
                why,
                addresses: pool.addresses.iter().map(ToString::to_string).collect(),
                targets: pool
                    .targets
                    .iter()
                    .map(|target| target.iqn.clone())
                    .collect(),
                ledger: LedgerStatus::of(&pool.name, state.ledger, ledger.clone()),
                report: report.clone(),
            }
        })
        .collect()
}

fn broken(state: &PoolSnapshot, report: &Report, names: &Names) -> Vec<String> {
    let here = Health {
        // The report says more.
        shelf: state.health.shelf && report.unready.is_none(),
        ..state.health
    };
    let mut broken = Vec::new();
    for (head, health) in [(&names.me, here), (&names.peer, state.peer_health)] {
        if health.shelf {
            broken.push(format!("head {head} does not see its disks"));
        }
        if health.network {
            broken.push(format!("head {head} has no way to its clients"));
        }
    }
    broken
}

fn why_resting(rest: Rest, names: &Names, pool: &str) -> String {
    let peer = &names.peer;
    match rest {
        Rest::AwaitingPeer => format!("waiting to hear head {peer} before anything is claimed"),
        Rest::PeerHolds => format!("head {peer} holds it"),
        Rest::AwaitingHome => format!("its home head {peer} may have it first"),
        Rest::Offered => format!("offered to head {peer}"),
        Rest::HeldByUnheardPeer(epoch) => format!(
            "reserved by head {peer} under epoch {epoch}, and {peer} cannot be heard; \
             it ends when {peer} is heard, or with `takeover {pool}` if {peer} is really off"
        ),
        Rest::HeldByDeafPeer(epoch) => format!(
            "reserved by head {peer} under epoch {epoch}; {peer} says that it holds nothing, but hears nothing of this \
             head; it ends when a cable carries to {peer} again, or with `takeover {pool}` if nothing of the pool is \
             in use on {peer}"
        ),
        Rest::AwaitingLedger => format!(
            "head {peer} is silent on every cable, and the ledger on the shelf does not tell yet whether it lives; \
             it ends when the ledger can be read, or with `takeover {pool}` if {peer} is really off"
        ),
        Rest::Barred => format!(
            "head {peer} is silent on every cable, and this head was fenced three times within ten minutes, so it \
             waits longer; it ends when {peer} is heard, after ten seconds of silence (four times `dead_ms`, if that is more), or with `takeover {pool}`"
        ),
    }
}

/// What a faulted head does next: while the peer serves it does not try, and stands by again after a pause.
const AGAIN: &str = "tried again, or stood by for, within a minute; `takeover` tries at once";

fn why_faulted(fault: Failure, report: &Report) -> String {
    let kind = match fault {
        Failure::HeldByPeer(epoch) => format!("held by the peer under epoch {epoch}"),
        Failure::Stranger => "a stranger holds its disks".to_owned(),
        Failure::Refused => "it cannot be served as it is".to_owned(),
        Failure::Device => "a step failed".to_owned(),
    };
    match &report.problem {
        Some(problem) => format!("{kind}: {problem}; {AGAIN}"),
        None => format!("{kind}; {AGAIN}"),
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{Epoch, LedgerState};

    use super::*;
    use crate::status::snapshot::{LinkSnapshot, PoolSnapshot};

    /// Both links up, the peer serves the only pool, this head stands by for it.
    fn standby(report: Report, watchdog: Option<WatchdogStatus>) -> Status {
        standby_for(pool_at_standby(), report, watchdog)
    }

    fn pool_at_standby() -> PoolSnapshot {
        PoolSnapshot {
            answers: false,
            state: PoolState::Standby,
            epoch: Epoch(3),
            rest: Some(Rest::PeerHolds),
            fault: None,
            peer: Some((PoolState::Serving, Epoch(3))),
            ledger: LedgerState::None,
            health: Health::default(),
            peer_health: Health::default(),
        }
    }

    fn standby_for(pool: PoolSnapshot, report: Report, watchdog: Option<WatchdogStatus>) -> Status {
        let snapshot = Snapshot {
            pools: heapless::Vec::from_slice(&[pool]).unwrap(),
            ..Snapshot::default()
        };
        status_of(snapshot, report, watchdog)
    }

    /// Both links up.
    fn status_of(snapshot: Snapshot, report: Report, watchdog: Option<WatchdogStatus>) -> Status {
        let config = Config::parse(crate::worker::tests::CONFIG).unwrap();
        let link = LinkSnapshot {
            hearing: Hearing::Up,
            heard: true,
            ..LinkSnapshot::default()
        };
        let snapshot = Snapshot {
            liveness: Liveness::Alive,
            links: [link; LinkId::ALL.len()],
            ..snapshot
        };
        Status::of(&Sources {
            config: Some((&config, HeadId::Second)),
            config_error: None,
            snapshot: &snapshot,
            reports: &[report],
            ledgers: &[LedgerReport::default()],
            watchdog,
            uptime_s: 60,
            usage: Usage::default(),
        })
    }

    fn watchdog(is_software: bool) -> Option<WatchdogStatus> {
        Some(WatchdogStatus {
            identity: "test".into(),
            timeout_s: 10,
            is_software,
        })
    }

    #[test]
    fn a_standby_that_could_not_serve_is_no_redundancy() {
        let status = standby(Report::default(), watchdog(false));
        assert!(status.redundant, "{:?}", status.problems);
        let report = Report {
            unready: Some("a disk is missing".into()),
            ..Report::default()
        };
        let status = standby(report, watchdog(false));
        assert!(!status.redundant);
        assert!(status.problems[0].what.contains("a disk is missing"));
    }

    #[test]
    fn what_a_head_without_a_hardware_watchdog_lacks_is_said() {
        let said = |watchdog| {
            let problems = standby(Report::default(), watchdog).problems;
            problems
                .into_iter()
                .map(|one| one.what)
                .find(|what| what.contains("watchdog"))
        };
        assert_eq!(said(watchdog(false)), None);
        assert!(
            said(watchdog(true))
                .unwrap()
                .contains("a head whose kernel hangs")
        );
        assert!(said(None).unwrap().ends_with("a hung head is not reset"));
    }

    #[test]
    fn a_head_on_its_way_down_is_no_redundancy_on_either_head() {
        let told = |is_retiring, state, peer| {
            let pool = PoolSnapshot {
                state,
                answers: state == PoolState::Serving,
                peer: Some((peer, Epoch(3))),
                ..pool_at_standby()
            };
            let snapshot = Snapshot {
                pools: heapless::Vec::from_slice(&[pool]).unwrap(),
                is_retiring,
                peer_retires: !is_retiring,
                ..Snapshot::default()
            };
            let status = status_of(snapshot, Report::default(), watchdog(false));
            assert!(!status.redundant);
            status
        };
        let status = told(true, PoolState::Importing, PoolState::Standby);
        let said = &status.problems[0].what;
        let what = "this head, b, is on its way down: it takes nothing more, and halts when it has let go of tank (importing)";
        assert_eq!(said, what);
        let status = told(true, PoolState::Standby, PoolState::Serving);
        let said = &status.problems[0].what;
        assert_eq!(
            said,
            "this head, b, is on its way down: it takes nothing more"
        );
        assert!(status.summary().contains(said), "{}", status.summary());
        // The peer, which has nothing that failed.
        let status = told(false, PoolState::Serving, PoolState::Faulted);
        let said: Vec<&str> = status.problems.iter().map(|p| p.what.as_str()).collect();
        assert_eq!(said, ["head a is on its way down: it takes nothing more"]);
        assert_eq!(status.pools[0].peer_state, Some("halting"));
    }

    #[test]
    fn a_volume_that_lacks_a_disk_is_no_redundancy() {
        let volume = |name: &str, degraded| super::super::Volume {
            name: name.into(),
            device: "/dev/dm-0".into(),
            bytes: 1 << 30,
            lun: None,
            target: None,
            namespace: None,
            serial: None,
            degraded,
            resync: None,
            merge: None,
        };
        let report = Report {
            volumes: vec![volume("vol0", false), volume("vol1", true)],
            ..Report::default()
        };
        let status = standby(report, watchdog(false));
        assert!(!status.redundant);
        let said = &status.problems[0].what;
        assert!(said.ends_with("served without a disk: vol1"), "{said}");
        assert!(status.pools_text().contains("/dev/dm-0, DEGRADED"));
        // That one of them gets something back is no problem, and told.
        let mut merging = volume("vol0", false);
        merging.merge = Some(super::super::Merge {
            snapshot: "before".to_owned(),
            percent: 40,
        });
        let status = standby(
            Report {
                volumes: vec![merging],
                ..Report::default()
            },
            watchdog(false),
        );
        assert!(status.redundant, "{:?}", status.problems);
        let said = "vol0 gets back what snapshot before had: 40 % are copied";
        assert!(status.summary().contains(said), "{}", status.summary());
        let listed = "/dev/dm-0, gets back what snapshot before had: 40 %";
        assert!(status.pools_text().contains(listed));
    }

    #[test]
    fn a_lun_that_is_held_back_for_its_reservations_is_said_with_the_way_out() {
        let report = Report {
            luns_held: vec!["LUN 0 of iqn is not offered".into()],
            ..Report::default()
        };
        let status = standby(report, watchdog(false));
        let problem = &status.problems[0];
        assert_eq!(problem.what, "pool tank: LUN 0 of iqn is not offered");
        assert!(
            problem.todo.contains("serve_without_reservations = true"),
            "{}",
            problem.todo
        );
    }

    #[test]
    fn what_either_head_could_not_serve_with_is_no_redundancy() {
        let bad = Health {
            network: true,
            shelf: false,
        };
        let mut pool = pool_at_standby();
        (pool.health, pool.peer_health) = (bad, bad);
        let status = standby_for(pool, Report::default(), watchdog(false));
        let said: Vec<&str> = status.problems.iter().map(|p| p.what.as_str()).collect();
        assert!(!status.redundant);
        for head in ["head a", "head b"] {
            let told = format!("{head} has no way to its clients");
            assert!(said.iter().any(|what| what.contains(&told)), "{said:?}");
        }
    }

    #[test]
    fn an_order_that_takes_longer_than_its_operator_waits_is_no_redundancy() {
        // `standby` has been up for 60 s.
        let busy_for = |took_s| Report {
            busy: Some(super::super::Busy {
                what: "volume create vol0".into(),
                since_s: 60 - took_s,
            }),
            ..Report::default()
        };
        let status = standby(busy_for(ORDER_LIMIT.as_secs() - 1), watchdog(false));
        assert!(status.redundant, "{:?}", status.problems);
        let status = standby(busy_for(ORDER_LIMIT.as_secs()), watchdog(false));
        assert!(!status.redundant);
        let said = &status.problems[0].what;
        assert!(
            said.starts_with("pool tank: its worker has been at `volume create vol0` for 60 s"),
            "{said}"
        );
        let pools = status.pools_text();
        assert!(
            pools.contains("at work: `volume create vol0`, for 60 s"),
            "{pools}"
        );
    }

    #[test]
    fn an_owner_that_keeps_silent_says_so() {
        let serving = |answers| {
            let pool = PoolSnapshot {
                state: PoolState::Serving,
                rest: None,
                peer: Some((PoolState::Standby, Epoch(3))),
                answers,
                ..pool_at_standby()
            };
            standby_for(pool, Report::default(), watchdog(false))
        };
        assert!(serving(true).redundant);
        let status = serving(false);
        assert!(!status.redundant && !status.pools[0].answers);
        let said = &status.problems[0];
        assert!(
            said.what.contains("clients are not answered"),
            "{}",
            said.what
        );
        assert!(said.todo.contains("answered again"), "{}", said.todo);
    }

    #[test]
    fn a_look_of_an_owner_that_does_not_end_is_told_with_what_ends_it() {
        let looking_for = |took_s, state| {
            let pool = PoolSnapshot {
                state,
                rest: None,
                peer: Some((PoolState::Standby, Epoch(3))),
                answers: true,
                ..pool_at_standby()
            };
            let report = Report {
                looking_since: Some(embassy_time::Instant::from_secs(60 - took_s)),
                ..Report::default()
            };
            standby_for(pool, report, watchdog(false))
        };
        let status = looking_for(LOOK_LIMIT.as_secs() - 1, PoolState::Serving);
        assert!(status.redundant, "{:?}", status.problems);
        let status = looking_for(LOOK_LIMIT.as_secs(), PoolState::Serving);
        let said = &status.problems[0];
        let what = "pool tank: a look of its worker at its disks has not ended for 60 s";
        assert!(said.what.starts_with(what), "{}", said.what);
        for word in ["cables", "takes the pool", "reset", "reboot"] {
            assert!(said.todo.contains(word), "{}", said.todo);
        }
        // Who does not serve says so by its health alone, and much sooner.
        let status = looking_for(LOOK_LIMIT.as_secs(), PoolState::Standby);
        let mut said = status.problems.iter().map(|problem| &problem.what);
        assert!(said.all(|what| !what.contains("look of its worker")));
    }

    #[test]
    fn a_gateway_that_does_not_answer_is_no_redundancy() {
        let report = Report {
            silent_gateways: vec!["10.77.0.1".parse().unwrap()],
            ..Report::default()
        };
        let status = standby(report, watchdog(false));
        assert!(!status.redundant);
        let said = &status.problems[0].what;
        assert_eq!(said, "pool tank: the gateway 10.77.0.1 does not answer");
    }

    #[test]
    fn a_watchdog_that_dies_with_the_kernel_is_none() {
        for dog in [None, watchdog(true)] {
            let status = standby(Report::default(), dog);
            assert!(!status.redundant);
            assert!(status.problems[0].what.contains("watchdog"));
        }
    }
}
