//! Looking at the disks, choosing what to take, and letting go: `init/src/worker/claim.rs` and `fence/claim.rs`.

use orthrus_hb::{Authority, Done, Epoch, Failure, Holder, Job, Key, Work};

use crate::event::Event;
use crate::region::Region;
use crate::shelf::Seen;
use crate::watch::Watch;
use crate::world::World;

use super::{Stage, claims, covers};

impl World {
    pub(super) fn let_go(&mut self, who: usize, pool: usize, claiming: bool) {
        let head = self.machines[who].id.number();
        let ours = |(_, key): &(_, u64)| (key >> 32) as u8 == head;
        if !self
            .disks_of(pool)
            .any(|disk| self.disks[disk].registrants.iter().any(ours))
        {
            self.checks.released(pool, who);
        }
        let worker = &mut self.machines[who].workers[pool];
        match worker.failure.take() {
            Some(why) if claiming => {
                worker.claim = None;
                self.finish(who, pool, Err(why));
            }
            Some(why) => self.finish(who, pool, Err(why)),
            None => {
                worker.claim = None;
                worker.found = false;
                self.finish(who, pool, Ok(Done::Released));
            }
        }
    }

    /// The reservations are what keeps the peer's writes from the disks, and stay.
    pub(super) fn leave_reserved(&mut self, who: usize, pool: usize) {
        self.trace(|| format!("{who} pool {pool}: leaves it reserved"));
        let worker = &mut self.machines[who].workers[pool];
        worker.claim = None;
        let failure = worker.failure.take();
        self.finish(who, pool, failure.map_or(Ok(Done::Released), Err));
    }

    /// The key under which a disk stays reserved for this head when the claim under way fails: that which an earlier boot had,
    /// unless the peer says that it holds nothing, or the claim was lost to it.
    pub(super) fn keeps(&self, who: usize, pool: usize, disk: usize) -> Option<Key> {
        let worker = &self.machines[who].workers[pool];
        let job = worker.job.filter(|job| !job.peer_is_done)?;
        let is_lost = matches!(worker.failure, Some(Failure::HeldByPeer(_)));
        if is_lost || !matches!(job.work, Work::Claim { .. }) {
            return None;
        }
        let (me, first) = (self.machines[who].id, self.disks_of(pool).next()?);
        worker.leftovers.key_of(disk - first, me, self.cluster)
    }

    pub(super) fn undo(&mut self, who: usize, pool: usize, why: Failure) {
        self.trace(|| format!("{who} pool {pool}: claim fails: {why:?}"));
        let worker = &mut self.machines[who].workers[pool];
        worker.failure = Some(why);
        if matches!(why, Failure::HeldByPeer(_)) {
            let orphans = worker.orphans.iter_mut();
            orphans.for_each(|orphan| orphan.keeps = None);
        }
        self.begin(who, pool, Stage::LetGoOthers);
    }

    pub(super) fn keys<'a>(&'a self, seen: &'a [Seen]) -> impl Iterator<Item = Option<Key>> + 'a {
        seen.iter()
            .flat_map(|disk| disk.keys.iter().chain(&disk.holder))
            .map(|bits| Key::from_bits(*bits, self.cluster))
    }

    /// The greatest epoch in the metadata of the disks.
    pub fn stamped(&self, pool: usize) -> Epoch {
        let stamps = self.disks_of(pool).map(|disk| self.disks[disk].stamp);
        stamps.max().unwrap_or(Epoch::NONE)
    }

    /// `stamped`: the greatest epoch in the metadata.
    pub(super) fn surveyed(
        &self,
        who: usize,
        seen: &[Seen],
        stamped: Epoch,
    ) -> Result<Done, Failure> {
        if self.keys(seen).any(|key| key.is_none()) {
            return Err(Failure::Stranger);
        }
        let keys = || self.keys(seen).flatten();
        let peer = self.machines[who].id.peer();
        let held = keys()
            .filter(|key| key.head == peer)
            .map(|key| key.epoch)
            .max();
        Ok(Done::Surveyed {
            greatest: keys()
                .map(|key| key.epoch)
                .max()
                .unwrap_or(stamped)
                .max(stamped),
            holder: held.map_or(Holder::Nobody, Holder::Peer),
        })
    }

    /// `claim::choose_key` of the fence.
    pub(super) fn choose_key(&mut self, who: usize, pool: usize, job: &Job, seen: &[Seen]) {
        let Some(authority) = claims(job) else {
            return;
        };
        let peer = self.machines[who].id.peer();
        let may_remove = |key: Key| authority.covers_peer() && key.epoch <= covers(job);
        let peers = |key: &Option<Key>| key.is_some_and(|key| key.head == peer && !may_remove(key));
        let refused = if self.keys(seen).any(|key| key.is_none()) {
            Some(Failure::Stranger)
        } else if let Some(Some(held)) = self.keys(seen).find(peers) {
            Some(Failure::HeldByPeer(held.epoch))
        } else {
            let all = self.keys(seen).flatten().map(|key| key.epoch);
            all.into_iter()
                .find(|epoch| *epoch >= job.epoch)
                .map(Failure::HeldByPeer)
        };
        if let Some(why) = refused {
            return self.finish(who, pool, Err(why));
        }
        self.machines[who].workers[pool].leftovers.look(seen);
        self.begin(who, pool, Stage::Arbiter);
    }

    /// The pool is on the disks.
    pub(super) fn made(&mut self, who: usize, pool: usize) {
        self.trace(|| format!("{who} pool {pool}: made"));
        if !std::mem::replace(&mut self.bare[pool], false) {
            self.checks
                .fail(format!("I1: {who} makes pool {pool} once more"));
        }
        self.made += 1;
    }

    /// What made a pool of the disks is gone: whoever makes one of them again begins anew.
    pub(super) fn unmade(&mut self, who: usize, pool: usize) {
        self.trace(|| format!("{who} pool {pool}: destroyed"));
        self.bare[pool] = true;
        self.checks.unmade(pool);
        for copy in self.copies[pool].clone() {
            self.disks[copy].region = Some(Box::new(Region::new()));
        }
        for disk in self.disks_of(pool) {
            self.disks[disk].stamp = Epoch::NONE;
        }
    }

    /// The claim is through, by whatever means; `found`: something of the peer's was still there.
    pub fn held(&mut self, who: usize, pool: usize, epoch: Epoch, found: bool) {
        self.trace(|| format!("{who} pool {pool}: claimed under {epoch}"));
        let worker = &mut self.machines[who].workers[pool];
        worker.claim = Some(epoch);
        let (attempt, job) = (worker.attempt, worker.job);
        self.checks
            .claimed(pool, who, (epoch, attempt), &self.machines, self.now);
        let by_death = job.is_some_and(|job| {
            matches!(
                job.work,
                Work::Claim {
                    authority: Authority::PeerDead,
                    ..
                }
            )
        });
        if by_death {
            self.checks.breaker.fenced(who, found, self.now);
        }
    }

    /// All disks are ours by read-back.
    pub(super) fn claimed(&mut self, who: usize, pool: usize, epoch: Epoch) {
        let boot = self.machines[who].boot;
        let peer = self.machines[who].id.peer();
        let leftovers = &self.machines[who].workers[pool].leftovers;
        let found = leftovers.showed(peer, self.cluster);
        self.held(who, pool, epoch, found);
        self.ids += 1;
        let serial = self.ids;
        let read = vec![self.now; self.disks_of(pool).len()];
        let worker = &mut self.machines[who].workers[pool];
        worker.watch = Some(Watch {
            epoch,
            serial,
            lost: false,
            round: 0,
            read,
        });
        self.at(
            self.now + 1,
            Event::Look {
                who,
                boot,
                pool,
                serial,
            },
        );
    }
}
