//! What of this head is broken, as far as each pool is concerned: told to the core, which tells the peer, so that
//! the better head serves.
//!
//! Looks at what others find out (the watch over the reservations, the workers' looks, the port's carrier) and never
//! at a disk itself: it must say that the shelf is gone just when whoever asks the shelf is stuck.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::{HeadId, Health, PoolId};
use tracing::{info, warn};

use crate::clock;
use crate::config::Config;
use crate::fence::{ALL_SILENT, WatchSlot};
use crate::inbox::{Handle, Input};
use crate::ledger::Ledger;
use crate::net::{Gateways, Mac, Raising};
use crate::status::{LOOK_LIMIT, Report};
use crate::sync::lock;
use crate::worker::LOOK_INTERVAL;

/// How often it looks: well within what the core waits before it acts on what is broken.
const INTERVAL: Duration = Duration::from_millis(500);

/// The same of an owner of a pool without a ledger. Its peer finds out what it sees itself by a look at the disks now and then, and must
/// have found out by the time that the owner lets go: where both are equally broken nothing moves.
const ALL_SILENT_WITHOUT_LEDGER: Duration =
    ALL_SILENT.saturating_add(Duration::from_millis(LOOK_INTERVAL.as_millis()));

/// How long one disk may not answer. Its own error recovery takes some seconds and is no broken path: one slow disk
/// must not move a pool.
const ONE_SILENT: Duration = Duration::from_secs(15);

/// How a note begins that says why there is no port.
const PORT: &str = "this head's port for service addresses cannot be used, whatever its cables";

/// Where the findings of others are.
pub struct Sources {
    /// The configuration.
    pub config: Arc<Config>,
    /// This head.
    pub me: HeadId,
    /// Whether the routers to the clients' other networks answer.
    pub gateways: Arc<Gateways>,
    /// By pool: the watch over its reservations, while it is held here.
    pub watches: Vec<WatchSlot>,
    /// By pool: what its worker found.
    pub reports: Vec<Arc<Mutex<Report>>>,
    /// By pool: its ledger, which a standby reads ten times a second.
    pub ledgers: Vec<Arc<Ledger>>,
}

/// Starts the thread that tells the core.
///
/// # Errors
/// The errno of starting a thread.
pub fn start(sources: Sources, handle: Handle) -> std::io::Result<()> {
    thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || {
            let mut told = vec![Health::default(); sources.reports.len()];
            let mut without_link = Vec::new();
            let mut raising = Raising::default();
            loop {
                thread::sleep(INTERVAL);
                sources.raise_port(&mut raising);
                let has_carrier = sources.has_carrier();
                sources.say_cards(&mut without_link);
                for (index, told) in told.iter_mut().enumerate() {
                    let shelf = sources.shelf_is_broken(index, clock::now());
                    let network = !has_carrier || sources.is_beyond_reach(index);
                    let health = Health { shelf, network };
                    if health != *told {
                        *told = health;
                        sources.say(index, health);
                        handle.post(Input::Health(PoolId(index as u8), health));
                    }
                }
            }
        })
        .map(drop)
}

impl Sources {
    /// Makes the port that could not be made before. Why not stands in each pool's report: it is no matter of cables.
    fn raise_port(&self, raising: &mut Raising) {
        let data = &self.config.head(self.me).data;
        raising.look(data.wanting(), clock::now(), || {
            let opened = data.open();
            opened.map(drop).map_err(|error| error.to_string())
        });
        self.report_port(raising.failed());
    }

    fn report_port(&self, failed: Option<&str>) {
        let note = failed.map(|why| format!("{PORT}: {why}"));
        for report in &self.reports {
            let notes = &mut lock(report).notes;
            notes.retain(|known| !known.starts_with(PORT) || Some(known) == note.as_ref());
            if let Some(note) = note.as_ref().filter(|note| !notes.contains(note)) {
                notes.push(note.clone());
            }
        }
    }

    /// A port that cannot be found or asked serves nobody either.
    fn has_carrier(&self) -> bool {
        let port = self.config.head(self.me).data.find();
        port.is_ok_and(|port| port.carrier)
    }

    /// Whether a pool's gateways are silent to this head, which its report tells one by one. One that answers is a way to clients.
    fn is_beyond_reach(&self, index: usize) -> bool {
        let pool = &self.config.pools[index];
        let silent = match pool.gateway_watch {
            true => self.gateways.silent(&pool.gateways),
            // Another pool may watch the same.
            false => Vec::new(),
        };
        let is_beyond = !silent.is_empty() && silent.len() == pool.gateways.len();
        lock(&self.reports[index]).silent_gateways = silent;
        is_beyond
    }

    /// Of a bond: which cards have no link. The others carry, and the operator should know before they do not.
    fn say_cards(&self, before: &mut Vec<Mac>) {
        let data = &self.config.head(self.me).data;
        if data.bond.is_none() {
            return;
        }
        let Ok(now) = data.without_link() else {
            return;
        };
        for mac in now.iter().filter(|mac| !before.contains(mac)) {
            warn!("the card {mac} of the data port has no link; the bond goes on with the others");
        }
        for mac in before.iter().filter(|mac| !now.contains(mac)) {
            info!("the card {mac} of the data port has a link again");
        }
        *before = now;
    }

    fn shelf_is_broken(&self, index: usize, now: Instant) -> bool {
        let (looking_since, is_unready, is_imported) = {
            let report = lock(&self.reports[index]);
            let is_imported = report.state_volume.is_some();
            (report.looking_since, report.unready.is_some(), is_imported)
        };
        let is_stuck = |limit| lasts(looking_since, limit, now);
        if let Some((_, watch)) = &*lock(&self.watches[index]) {
            // Its disks may answer the watch, and its worker could still not let go of the pool. An order of the operator is no look,
            // and takes as long as it takes.
            let limit = match self.ledgers[index].has_copies() {
                true => ALL_SILENT,
                false => ALL_SILENT_WITHOUT_LEDGER,
            };
            return is_stuck(LOOK_LIMIT)
                || shelf_is_silent(watch.oldest().map(|(_, age)| age), watch.freshest(), limit);
        }
        let limit = match is_imported {
            // Held by a lease: what its worker does is an owner's, and one disk that is slow with it moves nothing.
            true => LOOK_LIMIT,
            // The first to notice: a standby must know of its own path by the time that the owner lets go for want of one.
            false => ALL_SILENT,
        };
        is_stuck(limit) || self.ledgers[index].fell_silent(now) || is_unready
    }

    fn say(&self, index: usize, health: Health) {
        let pool = self.config.pools[index].name.as_str();
        match health {
            Health {
                shelf: false,
                network: false,
            } => {
                info!(pool, "this head has all that it needs to serve the pool");
            }
            Health { shelf, network } => {
                let disks = if shelf {
                    " does not see the pool's disks"
                } else {
                    ""
                };
                let port = if network {
                    " has no way to the clients"
                } else {
                    ""
                };
                let and = if shelf && network { ", and" } else { "" };
                warn!(pool, "this head{disks}{and}{port}");
            }
        }
    }
}

/// Whether a look that began then is under way for so long.
fn lasts(since: Option<Instant>, limit: Duration, now: Instant) -> bool {
    let took = since.map(|since| now.saturating_duration_since(since));
    took.is_some_and(|took| u128::from(took.as_millis()) >= limit.as_millis())
}

/// Of an owner: the ages of the oldest and of the newest read-back, and how old the newest may be.
fn shelf_is_silent(oldest: Option<Duration>, freshest: Option<Duration>, all: Duration) -> bool {
    oldest.is_some_and(|age| age >= ONE_SILENT) || freshest.is_some_and(|age| age >= all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::ledger::Keeper;
    use crate::status::{self, Busy};
    use crate::worker::tests::{CONFIG, watched};

    /// One pool, of which nothing is known yet.
    fn sources() -> Sources {
        let config = Arc::new(Config::parse(CONFIG).unwrap());
        let keeper = Keeper {
            me: HeadId::First,
            incarnation: orthrus_hb::Incarnation([1; 8]),
            cluster: config.cluster_id,
            secret: config.secret.clone(),
        };
        let port = config.head(HeadId::First).data.clone();
        Sources {
            me: HeadId::First,
            gateways: Gateways::watch(port, Vec::new()).unwrap(),
            watches: vec![WatchSlot::default()],
            reports: vec![Arc::default()],
            ledgers: vec![Arc::new(Ledger::new("tank", keeper, Arc::new(|| ())))],
            config,
        }
    }

    #[test]
    fn a_look_of_an_owner_that_does_not_end_is_a_broken_shelf_and_an_order_is_none() {
        let sources = sources();
        let begun = Instant::from_secs(100);
        let broken = |after: Duration| {
            let after = embassy_time::Duration::from_millis(after.as_millis() as u64);
            sources.shelf_is_broken(0, begun + after)
        };
        lock(&sources.reports[0]).looking_since = Some(begun);
        assert!(broken(ALL_SILENT), "of a standby");
        lock(&sources.reports[0]).state_volume = Some(status::State::default());
        assert!(!broken(ALL_SILENT) && broken(LOOK_LIMIT), "of a lease");
        let shelf = Shelf::new(1);
        // The disk answers the watch all the while.
        *lock(&sources.watches[0]) = Some(watched(&shelf));
        assert!(!broken(ALL_SILENT));
        assert!(!broken(LOOK_LIMIT - Duration::from_millis(1)));
        assert!(broken(LOOK_LIMIT));
        let mut report = lock(&sources.reports[0]);
        report.looking_since = None;
        report.busy = Some(Busy {
            what: "disk add sdc".to_owned(),
            since_s: begun.as_secs(),
        });
        drop(report);
        assert!(!broken(10 * LOOK_LIMIT));
    }

    #[test]
    fn why_there_is_no_port_is_said_once_and_as_long_as_it_is_so() {
        let sources = sources();
        let notes = || lock(&sources.reports[0]).notes.clone();
        lock(&sources.reports[0]).notes.push("another".to_owned());
        for why in ["MTU", "MTU", "card"] {
            sources.report_port(Some(why));
            assert_eq!(notes(), ["another".to_owned(), format!("{PORT}: {why}")]);
        }
        sources.report_port(None);
        assert_eq!(notes(), ["another"]);
    }

    #[test]
    fn one_slow_disk_is_no_broken_shelf_and_all_of_them_are() {
        let ages = |oldest: u64, freshest: u64| {
            shelf_is_silent(
                Some(Duration::from_secs(oldest)),
                Some(Duration::from_secs(freshest)),
                ALL_SILENT,
            )
        };
        assert!(!ages(10, 0));
        assert!(ages(4, 4));
        assert!(ages(15, 0));
        assert!(!shelf_is_silent(None, None, ALL_SILENT));
    }

    #[test]
    fn an_owner_without_a_ledger_lets_go_of_a_silent_shelf_after_its_peer_had_to_notice() {
        let age = ALL_SILENT + Duration::from_secs(1);
        assert!(shelf_is_silent(Some(age), Some(age), ALL_SILENT));
        assert!(!shelf_is_silent(
            Some(age),
            Some(age),
            ALL_SILENT_WITHOUT_LEDGER
        ));
        // A look that began just before, its own limit, and what passes until it is told.
        let noticed = Duration::from_millis(LOOK_INTERVAL.as_millis()) + ALL_SILENT + 2 * INTERVAL;
        let settles =
            Duration::from_millis(orthrus_hb::Timing::default().health_settle.as_millis());
        assert!(ALL_SILENT_WITHOUT_LEDGER + settles > noticed);
    }
}
