//! I3: whether all is well, and whether a pool is served that could be.

use orthrus_hb::{HeadId, Hearing, LedgerState, LinkId, Liveness, PoolId, PoolState, Rest};

use crate::worker::Stage;
use crate::world::World;

impl World {
    /// What keeps all from being well: both heads run and hear each other by both cables, each pool is served on one of
    /// them and the other stands by.
    pub fn problem(&self) -> Option<String> {
        for (who, machine) in self.machines.iter().enumerate() {
            let Some(head) = machine.head.as_ref().filter(|_| machine.beats()) else {
                return Some(format!("{who} does not run"));
            };
            if head.liveness() != Liveness::Alive {
                return Some(format!("{who} does not hear its peer"));
            }
            for link in LinkId::ALL {
                let (hearing, _) = head.link_works(link);
                if hearing != Hearing::Up {
                    return Some(format!("{who} hears of {link:?} that it is {hearing:?}"));
                }
            }
        }
        // Heads of the release before do not tell that a cable is behind.
        if self
            .paths
            .iter()
            .flatten()
            .any(|path| path.is_behind(self.now))
        {
            return Some("a serial line is behind".to_owned());
        }
        if self.disks.iter().any(|disk| disk.behind_until > self.now) {
            return Some("a disk is behind".to_owned());
        }
        for pool in 0..self.clients.len() {
            let states = [0, 1].map(|who| {
                let head = self.machines[who].head.as_ref().expect("it runs");
                (head.pools()[pool].state(), head.pools()[pool].rest())
            });
            let serving = (PoolState::Serving, None);
            let waiting = (PoolState::Standby, Some(Rest::PeerHolds));
            if states != [serving, waiting] && states != [waiting, serving] {
                return Some(format!("pool {pool}: {states:?}"));
            }
            let standby = usize::from(states[0] == serving);
            let head = self.machines[standby].head.as_ref().expect("it runs");
            let ledger = head.ledger(PoolId(pool as u8));
            if !self.copies[pool].is_empty() && ledger != LedgerState::Ticking {
                return Some(format!(
                    "pool {pool}: {standby} sees a ledger that is {ledger:?}"
                ));
            }
        }
        None
    }

    /// Why a pool that a healthy head could serve is not served, unless `status` has a listed reason.
    pub fn unserved(&self, pool: usize) -> Option<String> {
        if self.bare[pool] {
            return None;
        }
        let sees = |who: usize| {
            let mut disks = self.disks_of(pool);
            disks.all(|disk| {
                let disk = &self.disks[disk];
                disk.answers_now(who, self.now) && disk.slow == 0
            })
        };
        let healthy = |who: usize| {
            let machine = &self.machines[who];
            let troubled = machine.workers.get(pool).is_none_or(|worker| {
                worker.trouble.is_some() || matches!(worker.stage, Stage::Hung)
            });
            let fit = sees(who) && self.can_lease(who);
            machine.beats() && fit && !troubled && !machine.retiring
        };
        let state = |who: usize| {
            let head = self.machines[who].head.as_ref()?;
            Some((head.pools()[pool].state(), head.pools()[pool].rest()))
        };
        let fit = |who: usize| sees(who) && self.carrier[who];
        let able = [0, 1]
            .into_iter()
            .find(|&who| healthy(who) && self.carrier[who])?;
        let served = |who: usize| self.serves(who, pool) && fit(who);
        if served(0) || served(1) {
            return None;
        }
        let lost = self.machines[able].head.as_ref()?.liveness() == Liveness::LinksLost;
        let other = &self.machines[1 - able];
        let deaf = other
            .head
            .as_ref()
            .is_some_and(|head| head.liveness() != Liveness::Alive && other.beats());
        // A claim that its maker did not live to end is in no ledger. It was in beats before it began, but cables lose
        // frames here, and are cut.
        let told = |epoch| {
            let held = self.checks.held[pool];
            held.is_some_and(|held| held.recorded && held.epoch >= epoch)
        };
        match state(able)? {
            // Reasons of the closed list. This one ends with the peer's word, or when it dies.
            (_, Some(Rest::PeerHolds)) if lost => None,
            // This one with `barred_dead`, as is looked at elsewhere.
            (_, Some(Rest::Barred)) => None,
            // The same for an owner that hears nobody: whom should it let go for?
            (_, Some(Rest::PeerHolds | Rest::HeldByDeafPeer(_))) if deaf => None,
            // Of a peer of the release before nothing is acknowledged then: it says that it cannot be heard.
            (_, Some(Rest::PeerHolds | Rest::HeldByDeafPeer(_)))
                if self.elder.is_some() && !self.some_link_is_whole() =>
            {
                None
            }
            // And this one with the peer's word; or with its silence in the ledger, if that tells of the claim.
            (_, Some(Rest::HeldByUnheardPeer(epoch))) if !told(epoch) => None,
            rest => Some(format!(
                "pool {pool}: {able} could serve it and is {rest:?}, its peer {:?}",
                state(1 - able)
            )),
        }
    }

    /// Whether some cable carries frames both ways.
    fn some_link_is_whole(&self) -> bool {
        LinkId::ALL
            .iter()
            .any(|link| self.paths.iter().all(|paths| !paths[link.index()].cut))
    }

    /// A short account of the world, for a failure.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{:?}, {} pools, {} disks",
            self.director.manner,
            self.homes.len(),
            self.disks.len()
        );
        let home = |home: &HeadId| usize::from(*home == HeadId::Second);
        let homes: Vec<usize> = self.homes.iter().map(home).collect();
        text += &format!(
            ", homes {homes:?}, renews sessions: {}, of the release before: {:?}",
            self.renews_sessions, self.elder
        );
        for (who, machine) in self.machines.iter().enumerate() {
            let Some(head) = &machine.head else {
                text += &format!("\n  {who}: off");
                continue;
            };
            text += &format!("\n  {who}: {:?} {:?}", machine.halt, head.liveness());
            for (pool, worker) in head.pools().iter().zip(&machine.workers) {
                let (state, rest, epoch) = (pool.state(), pool.rest(), pool.epoch());
                text += &format!(
                    "; {state:?} {rest:?} {epoch}, worker {:?} {:?}",
                    worker.stage, worker.job
                );
            }
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let keys: Vec<String> = disk
                .registrants
                .iter()
                .map(|(n, k)| format!("{k:x}@{n}"))
                .collect();
            text += &format!(
                "\n  disk {index}: keys {keys:?} holder {:?}, ledger: {}",
                disk.holder,
                disk.region.is_some()
            );
        }
        text
    }
}
