//! Survey, claim and release of a pool whose disks have no reservations: by a lease in its ledger.

use std::collections::BTreeSet;

use orthrus_hb::{Authority, Done, Epoch, Holder, Key};

use super::Worker;
use super::claim::{Claim, stamped_epoch};
use super::error::JobError;
use crate::clock;
use crate::fence::Fence;
use crate::fence::lease::{self, Claimant, LeaseError, RealWorld};
use crate::ledger::Slots;
use crate::sync::lock;
use crate::volume::VolumeGroup;

/// A lease that is held: where it is let go.
pub struct Lease {
    slots: Slots,
    claimant: Claimant,
}

/// What the operator must know of such a pool.
const NOTE: &str = "the disks have no reservations: the pool is held by a lease in its ledger, a takeover waits for \
     lease, watchdog and the longest I/O of the former owner together, and a head that is a virtual machine must not \
     be paused and resumed";

impl Worker {
    /// Who holds it, by its ledger alone.
    pub(super) fn survey_lease(&mut self, group: &VolumeGroup) -> Result<Done, JobError> {
        if self.lease_terms.is_none() {
            return Err(lease::LeaseError::NoWatchdog.into());
        }
        let slots = self.ledger.slots(group)?;
        let peer = slots.newest(self.me.peer())?;
        // Read whole as well: no key remembers an epoch here, and one that was not read would be given out again.
        let own = slots.newest(self.me)?;
        let records = peer.iter().chain(&own).map(|record| record.epoch);
        let recorded = records.max().unwrap_or(Epoch::NONE);
        lock(&self.report).notes = vec![NOTE.to_owned()];
        let held = peer.filter(|record| record.state.may_hold());
        Ok(Done::Surveyed {
            greatest: recorded.max(stamped_epoch(group)),
            holder: held.map_or(Holder::Nobody, |record| Holder::Peer(record.epoch)),
        })
    }

    /// Claims it by a lease. The members are held exclusively meanwhile, as by a claim of reservations.
    pub(super) fn take_lease(
        &mut self,
        epoch: Epoch,
        (authority, covers): (Authority, Epoch),
        group: VolumeGroup,
        fence: Fence,
    ) -> Result<Done, JobError> {
        let slots = self.ledger.slots(&group)?;
        let claimant = Claimant {
            head: self.me,
            incarnation: self.ledger.incarnation(),
            epoch,
            authority,
            covers,
            lease: self.lease_terms,
            failed: self.lease_failed,
        };
        let holds = fence.hold()?;
        let world = RealWorld {
            slots: &slots,
            peer: self.me.peer(),
        };
        let claimed = lease::claim(&claimant, &world);
        if claimed.as_ref().is_err_and(LeaseError::has_written) {
            self.lease_failed = Some(clock::now());
        }
        let (lease, submitted) = claimed?;
        drop(holds);
        let key = Key {
            cluster: self.config.cluster_id,
            head: self.me,
            epoch,
        };
        self.claim = Some(Claim {
            fence,
            lease: Some(Lease { slots, claimant }),
            key,
            group: group.clone(),
            marked: false,
            behind: None,
            paths: None,
            rebuilt: BTreeSet::new(),
            unsure: group.lacking_mirrors(),
            compared: BTreeSet::new(),
            lost_snapshots: BTreeSet::new(),
            has_preempted: false,
            thrown_out: Vec::new(),
        });
        self.settle_claim(&group, true, Done::Leased { lease, submitted })
    }
}

impl Lease {
    /// Says on every copy that nothing is held any more; the peer need not wait then.
    pub(super) fn let_go(&self) -> Result<(), JobError> {
        Ok(self.slots.write(&self.claimant.let_go())?)
    }
}
