//! The pool's disks: SCSI-3 persistent reservations, *write exclusive, registrants only*.
//!
//! Each head has one nexus, so a registration is a head's, and its key the epoch of the claim it was made for.
//! What a write needs is all that is asked of the data side: whether the disk would accept it.

use orthrus_hb::Epoch;

/// Disks of the pool; the first is the arbiter.
pub const DISKS: usize = 2;

/// One disk.
#[derive(Clone, Copy, Hash)]
pub struct Disk {
    /// By head: the epoch of its key, when it is registered.
    pub keys: [Option<Epoch>; 2],
    /// The head that holds the reservation.
    pub holder: Option<usize>,
    /// The epoch in the metadata.
    pub stamp: Epoch,
}

impl Disk {
    pub const EMPTY: Disk = Disk {
        keys: [None; 2],
        holder: None,
        stamp: Epoch::NONE,
    };

    pub fn may_write(&self, who: usize) -> bool {
        self.holder.is_none() || self.keys[who].is_some()
    }

    pub fn is_held_by(&self, who: usize, epoch: Epoch) -> bool {
        self.holder == Some(who) && self.keys[who] == Some(epoch)
    }

    pub fn greatest(&self) -> Epoch {
        let keys = self.keys.iter().flatten().max().copied();
        keys.unwrap_or(Epoch::NONE).max(self.stamp)
    }

    /// PREEMPT AND ABORT of the other head's key: its registration goes, and what it reserved is ours.
    pub fn preempt(&mut self, who: usize) {
        self.keys[1 - who] = None;
        if self.holder == Some(1 - who) {
            self.holder = Some(who);
        }
    }

    /// RELEASE if held, then the key goes. Of another claim's key nothing is touched.
    pub fn let_go(&mut self, who: usize, epoch: Epoch) {
        if self.keys[who] == Some(epoch) {
            self.keys[who] = None;
            self.holder = self.holder.filter(|holder| *holder != who);
        }
    }
}
