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
use crate::fence::WatchSlot;
use crate::inbox::{Handle, Input};
use crate::ledger::Ledger;
use crate::net::{Gateways, Mac};
use crate::status::Report;
use crate::sync::lock;

/// How often it looks: well within what the core waits before it acts on what is broken.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long no disk of a pool may answer before the path to the shelf counts as broken. A healthy disk answers in
/// milliseconds, and many that are slow at once are a path that is.
const ALL_SILENT: Duration = Duration::from_secs(3);

/// How long one disk may not answer. Its own error recovery takes some seconds and is no broken path: one slow disk
/// must not move a pool.
const ONE_SILENT: Duration = Duration::from_secs(15);

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
            loop {
                thread::sleep(INTERVAL);
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
        if let Some((_, watch)) = &*lock(&self.watches[index]) {
            return shelf_is_silent(watch.oldest().map(|(_, age)| age), watch.freshest());
        }
        let report = lock(&self.reports[index]);
        let stuck = report.looking_since.is_some_and(|since| {
            now.saturating_duration_since(since).as_millis() >= ALL_SILENT.as_millis() as u64
        });
        // The first to notice: a standby must know of its own path by the time that the owner lets go for want of one.
        let silent = self.ledgers[index].fell_silent(now);
        stuck || silent || report.unready.is_some()
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

/// Of an owner: the ages of the oldest and of the newest read-back.
fn shelf_is_silent(oldest: Option<Duration>, freshest: Option<Duration>) -> bool {
    oldest.is_some_and(|age| age >= ONE_SILENT) || freshest.is_some_and(|age| age >= ALL_SILENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_disk_is_no_broken_shelf_and_all_of_them_are() {
        let ages = |oldest: u64, freshest: u64| {
            shelf_is_silent(
                Some(Duration::from_secs(oldest)),
                Some(Duration::from_secs(freshest)),
            )
        };
        assert!(!ages(10, 0));
        assert!(ages(4, 4));
        assert!(ages(15, 0));
        assert!(!shelf_is_silent(None, None));
    }
}
