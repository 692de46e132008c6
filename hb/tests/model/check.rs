//! What must hold in every state, and what it takes to know.
//!
//! - I1: no disk accepts a write of a former owner once a later claim has completed; a claim completes only
//!   when every disk is the claimant's; a head that lost its fence, or has a gap of its own in which it may
//!   have lost it, does not run on.
//! - I4: nobody preempts a living owner without the right to, which is what was heard of it; each fault leads
//!   to at most one takeover; a head that was fenced again and again waits longer before it takes from a living
//!   owner; an owner ticks in the ledger as long as it holds its claim; a claim of what is free removes no key.
//! - I3: a head says that its peer lives by the ledger only once it saw a record there change: one may be years old; and
//!   by the cables only for as long as what comes is newer than all before; an owner that is worse off holds on while its
//!   peer does not hear it.
//! - I5: a claim's epoch is greater than that of every claim before it; a head's own never goes back, nor what it
//!   goes by of its peer's words.

use orthrus_hb::ledger::Record;
use orthrus_hb::{
    Authority, Epoch, Head, Incarnation, LedgerState, Liveness, PoolId, PoolState, Rest, Work,
};

use crate::machine::Machine;
use crate::shelf::{DISKS, Disk};
use crate::timing::{BARRED_DEAD, DEAD, FENCES, LEDGER_DEAD, LOSS_LIMIT};
use crate::worker::Deed;

/// The last claim that completed.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Held {
    pub who: usize,
    pub epoch: Epoch,
    /// It was let go in order.
    pub released: bool,
}

/// More claims than the faults of any root explain.
const EPOCH_MAX: u32 = 12;

#[derive(Clone, Hash)]
pub struct Checks {
    pub held: Option<Held>,
    /// Faults that have not led to a takeover.
    pub faults: i8,
    /// Anything struck at all.
    pub struck: bool,
    /// Who made the pool, where it was not there from the beginning.
    pub made: Option<usize>,
    /// By head: the greatest epoch in a beat that it took in, in this boot.
    pub told: [Epoch; 2],
    /// By head: beats of its running since it last took in a frame newer than all before, up to `DEAD`.
    /// `BARRED_DEAD` once it was fenced often.
    pub silent: [u8; 2],
    /// By head: the newest frame that it took in tells of the fences, and of no pool.
    pub untold: [bool; 2],
    /// By head: the newest boot of its peer that it believed in, in this boot of its own.
    boots: [u8; 2],
    /// By head: how often it was fenced, up to `FENCES`. Nothing here takes as long as a fence counts.
    fenced: [u8; 2],
    /// By head: whether it saw a record of its peer in this boot, and how many reads since then have shown no
    /// newer one, up to `LEDGER_DEAD`.
    pub unchanged: [Option<u8>; 2],
    /// The same as of the read before, on which what was decided before the last one rests.
    before: [Option<u8>; 2],
    /// By head: the record that it saw last had followed another one of the same boot of its peer.
    followed: [bool; 2],
    /// By head: beats of its running since its fence was lost.
    lost: [u8; 2],
    /// By head: its pool's epoch when it last ran.
    epochs: [Epoch; 2],
    pub violation: Option<&'static str>,
}

impl Checks {
    pub fn new(held: Option<Held>, faults: i8) -> Checks {
        Checks {
            held,
            faults,
            struck: false,
            made: None,
            told: [Epoch::NONE; 2],
            silent: [DEAD as u8; 2],
            untold: [false; 2],
            boots: [0; 2],
            fenced: [0; 2],
            unchanged: [None; 2],
            before: [None; 2],
            followed: [false; 2],
            lost: [0; 2],
            epochs: [Epoch::NONE; 2],
            violation: None,
        }
    }

    fn require(&mut self, holds: bool, what: &'static str) {
        if !holds {
            self.violation.get_or_insert(what);
        }
    }

    pub fn booted(&mut self, who: usize) {
        self.told[who] = Epoch::NONE;
        self.silent[who] = DEAD as u8;
        self.untold[who] = false;
        self.boots[who] = 0;
        self.unchanged[who] = None;
        self.before[who] = None;
        self.followed[who] = false;
        self.ended(who);
    }

    pub fn ended(&mut self, who: usize) {
        self.lost[who] = 0;
        self.epochs[who] = Epoch::NONE;
    }

    /// A beat of running begins; the frames that waited were taken in, and their greatest epoch is this. `newest`: one
    /// of them is newer than all before it.
    pub fn heard(&mut self, who: usize, epoch: Epoch, newest: bool) {
        self.told[who] = self.told[who].max(epoch);
        match newest {
            true => self.silent[who] = 0,
            false => {
                let most = if self.is_barred(who) {
                    BARRED_DEAD
                } else {
                    DEAD
                };
                self.silent[who] = (self.silent[who] + 1).min(most as u8);
            }
        }
    }

    /// The boot of its peer that a head believes in.
    pub fn believes(&mut self, who: usize, boot: Option<Incarnation>) {
        // They are numbered in their last byte.
        let Some(Incarnation([.., boot])) = boot else {
            return;
        };
        self.require(
            boot >= self.boots[who],
            "I5: a boot of the peer is believed in again that another one has followed",
        );
        self.boots[who] = boot;
    }

    fn is_barred(&self, who: usize) -> bool {
        self.fenced[who] == FENCES
    }

    /// A read of the ledger completed.
    pub fn read(&mut self, who: usize, before: Option<Record>, record: Option<Record>) {
        let Some(record) = record else { return };
        let changed = before.is_none_or(|before| {
            (before.incarnation, before.sequence) != (record.incarnation, record.sequence)
        });
        // An older one is no news: a claim by lease that was given up may show again.
        let order = |record: Record| (record.epoch, record.sequence);
        if before.is_none_or(|before| order(record) > order(before)) {
            self.followed[who] =
                before.is_some_and(|before| before.incarnation == record.incarnation);
        }
        self.before[who] = self.unchanged[who];
        let unchanged = self.unchanged[who].unwrap_or(0) + 1;
        self.unchanged[who] = Some(match changed {
            true => 0,
            false => unchanged.min(LEDGER_DEAD as u8),
        });
        self.told[who] = self.told[who].max(record.epoch);
    }

    /// A head that held something ran again after a gap, and goes on.
    pub fn ran_on_after_gap(&mut self) {
        self.require(
            false,
            "I1: a head runs on after a gap in which it may have been replaced",
        );
    }

    /// Something forged was brought before a head.
    pub fn forged(&mut self, counts: bool) {
        self.require(
            !counts,
            "I5: a frame or a record counts that is old, forged or of another place",
        );
    }

    /// An outcome came that had come before.
    pub fn repeated(&mut self, counts: bool) {
        self.require(
            !counts,
            "I5: an outcome that nobody waits for moves the pool",
        );
    }

    /// A job is handed to a worker.
    pub fn job(&mut self, who: usize, work: &Work, machines: &[Machine; 2], disks: &[Disk; DISKS]) {
        if let Work::Claim {
            authority: Authority::PeerDead,
            ..
        } = work
        {
            let peer = &machines[1 - who];
            let owner = peer.beats()
                && peer.worker.claim.is_some()
                && disks.iter().any(|disk| disk.keys[1 - who].is_some());
            // One beat less than it counts: its own beat may come first or last.
            let speaks = u32::from(self.silent[who]) < DEAD - 1;
            // An outcome is taken in before the ledger is looked at.
            let shows = |reads: Option<u8>| reads.is_some_and(|n| u32::from(n) < LEDGER_DEAD - 1);
            let ticks = shows(self.unchanged[who]) && shows(self.before[who]);
            self.require(
                !(owner && (speaks || ticks)),
                "I4: a living owner that can be heard, or seen in the ledger, is claimed from as if it were dead",
            );
            let waits = self.is_barred(who) && self.unchanged[who].is_none();
            let short = u32::from(self.silent[who]) < BARRED_DEAD - 1;
            self.require(
                !(owner && waits && short),
                "I4: a head that was fenced again and again claims from a living owner as soon as any other",
            );
        }
    }

    pub fn deed(&mut self, who: usize, deed: Deed, peer: &Machine, disks: &[Disk; DISKS]) {
        match deed {
            Deed::Preempts { victim, authority } => {
                let holds = peer.pool().is_some_and(|pool| {
                    let holding = [
                        PoolState::Importing,
                        PoolState::Serving,
                        PoolState::Releasing,
                    ];
                    holding.contains(&pool.state()) && pool.epoch() == victim
                });
                let right = match authority {
                    Authority::Operator => true,
                    Authority::PeerDead => victim <= self.told[who],
                    Authority::Free | Authority::PeerLetGo | Authority::PeerYields => false,
                };
                self.require(
                    right || !holds,
                    "I4: a key of a living owner is removed without the right to",
                );
                // The look found none, so it is of a claim that began after that.
                let of_what_is_free = matches!(authority, Authority::Free | Authority::PeerLetGo);
                self.require(
                    !of_what_is_free,
                    "I4: a claim of what is free removes a key of the peer",
                );
            }
            Deed::Claimed(epoch) => {
                let ours = disks.iter().all(|disk| disk.is_held_by(who, epoch));
                self.require(
                    ours,
                    "I1: a claim is complete though a disk is not the claimant's",
                );
                if let Some(held) = self.held {
                    self.require(epoch > held.epoch, "I5: an epoch is used again");
                    if held.who != who && !held.released {
                        self.faults -= 1;
                        let fenced = &mut self.fenced[held.who];
                        *fenced = (*fenced + 1).min(FENCES);
                        self.require(
                            self.faults >= 0,
                            "I4: one fault has led to a second takeover",
                        );
                    }
                }
                self.require(epoch.0 <= EPOCH_MAX, "I3: it is claimed again and again");
                let released = false;
                self.held = Some(Held {
                    who,
                    epoch,
                    released,
                });
            }
            Deed::Made => {
                self.require(self.made.is_none(), "I1: a pool is made twice");
                self.made = Some(who);
            }
            Deed::Unmade => self.made = None,
            Deed::Released => {
                if let Some(held) = self.held.as_mut().filter(|held| held.who == who) {
                    held.released = disks.iter().all(|disk| disk.keys[who].is_none());
                }
            }
        }
    }

    /// A head has run whose pool has a ledger. What the standby may rely on is that whoever holds a claim ticks from
    /// its completion on, however long the import takes.
    pub fn must_tick(
        &mut self,
        who: usize,
        machine: &Machine,
        ticked: bool,
        disks: &[Disk; DISKS],
    ) {
        let claim = machine.worker.claim;
        let writes = claim.is_some() && disks[0].may_write(who);
        self.require(
            ticked || !writes,
            "I4: an owner that holds its claim does not tick in the ledger",
        );
    }

    /// A head has run that nobody hears, nor did for as long as it takes to know; nobody ordered anything.
    pub fn holds_on(&mut self, machine: &Machine) {
        let state = machine.pool().map(|pool| pool.state());
        self.require(
            state != Some(PoolState::Releasing),
            "I3: an owner lets go to a peer that does not hear it",
        );
    }

    /// A head has run.
    pub fn ran(&mut self, who: usize, machine: &Machine, disks: &[Disk; DISKS]) {
        let Some(pool) = machine.pool() else { return };
        let claim = machine.worker.claim;
        let head = machine.head.as_ref();
        let ticks = head.is_some_and(|head| head.ledger(PoolId(0)) == LedgerState::Ticking);
        self.require(
            self.followed[who] || !ticks,
            "I3: a head says that its peer lives by a record that it never saw change",
        );
        let alive = head.is_some_and(|head| head.liveness() == Liveness::Alive);
        self.require(
            !alive || u32::from(self.silent[who]) < DEAD,
            "I3: a head says that its peer lives by a frame that was held back",
        );
        // Every other frame here tells of the pool.
        let is_last = |head: &Head| Some(head.said(PoolId(0))) >= head.peer().received();
        self.require(
            self.untold[who] || head.is_none_or(|head| is_last(head)),
            "I5: an older word of the peer takes the place of a newer one",
        );
        self.require(
            pool.epoch() >= self.epochs[who],
            "I5: a head's epoch goes back",
        );
        self.epochs[who] = pool.epoch();
        self.require(
            pool.rest() != Some(Rest::Offered) || claim.is_none(),
            "I1: a head offers what it still holds",
        );
        self.require(
            pool.state() != PoolState::Serving || claim == Some(pool.epoch()),
            "I1: a head serves without its claim",
        );
        let lost = machine.worker.active
            && claim.is_some_and(|epoch| disks.iter().any(|disk| !disk.is_held_by(who, epoch)));
        self.lost[who] = if lost { self.lost[who] + 1 } else { 0 };
        self.require(
            self.lost[who] <= LOSS_LIMIT,
            "I1: a head runs on without its fence",
        );
    }

    /// A head has run whose claim rests on a lease.
    pub fn leased(&mut self, active: bool, holds: bool) {
        self.require(holds || !active, "I1: a head whose lease is over goes on");
    }

    /// Looked at after everything, and once the last claim was let go as well: disks that nobody holds take whatever comes,
    /// and the head from which they were claimed may have had writes under way all the time. `plain`: the disks have no
    /// reservations.
    pub fn state(&mut self, machines: &[Machine; 2], disks: &[Disk; DISKS], plain: bool) {
        let Some(held) = self.held else { return };
        let former = 1 - held.who;
        let writes = machines[former].head.is_some() && machines[former].worker.active;
        let accepted = plain || disks.iter().any(|disk| disk.may_write(former));
        self.require(
            !(writes && accepted),
            "I1: a disk accepts a former owner's write",
        );
    }
}
