//! Who is registered on which disk, and who holds it: looks, and touches nothing.

use orthrus_hb::{ClusterId, Epoch, HeadId, Key};

use super::Fence;
use super::reservations::{Capabilities, ReadError, Seen};
use super::stranger::{self, Stranger};
use crate::disk::{DiskId, parallel};

/// What each member said, the arbiter first.
#[derive(Clone, Debug)]
pub struct Survey {
    /// One entry a member.
    pub disks: Vec<DiskSurvey>,
}

/// What one disk said.
#[derive(Clone, Debug)]
pub struct DiskSurvey {
    /// The kernel's name of the disk.
    pub name: String,
    /// Its identity.
    pub id: DiskId,
    /// Its registrations and reservation.
    pub seen: Result<Seen, ReadError>,
    /// Whether it keeps them without power; `None` when it does not say.
    pub capabilities: Option<Capabilities>,
}

impl Fence {
    /// Asks all members at once.
    pub fn survey(&self) -> Survey {
        let answers = parallel::each(&self.members, self.limit, |member| {
            (member.path.read(), member.path.capabilities())
        });
        let disks = self.members.iter().zip(answers).map(|(member, answer)| {
            let (seen, capabilities) =
                answer.unwrap_or((Err(ReadError::TimedOut(self.limit)), None));
            DiskSurvey {
                name: member.name.clone(),
                id: member.id.clone(),
                seen,
                capabilities,
            }
        });
        Survey {
            disks: disks.collect(),
        }
    }
}

impl DiskSurvey {
    /// Each number that is registered or reserves; the holder's stands here twice.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let seen = self.seen.as_ref().ok();
        let registered = seen.into_iter().flat_map(|seen| seen.keys.iter().copied());
        registered.chain(seen.and_then(|seen| Some(seen.holder?.key)))
    }

    /// The cluster's keys on it.
    pub(super) fn keys(&self, cluster: ClusterId) -> impl Iterator<Item = Key> {
        self.numbers()
            .filter_map(move |number| Key::from_bits(number, cluster))
    }

    /// It forgets its reservations when the power goes, by its own word or for want of one.
    pub(super) fn forgets(&self) -> bool {
        self.capabilities.is_none_or(|c| !c.persist_capable)
    }
}

impl Survey {
    /// The cluster's keys, with the disk's name.
    pub fn keys(&self, cluster: ClusterId) -> impl Iterator<Item = (&str, Key)> {
        let disks = self.disks.iter();
        disks.flat_map(move |disk| disk.keys(cluster).map(|key| (disk.name.as_str(), key)))
    }

    /// The first who is no head of the cluster, with the disk's name.
    pub fn stranger(&self, cluster: ClusterId) -> Option<(&str, Stranger)> {
        self.disks.iter().find_map(|disk| {
            let stranger = stranger::find(disk.seen.as_ref().ok()?, cluster)?;
            Some((disk.name.as_str(), stranger))
        })
    }

    /// The greatest epoch of the cluster's keys, either head's.
    pub fn greatest_epoch(&self, cluster: ClusterId) -> Epoch {
        let epochs = self.keys(cluster).map(|(_, key)| key.epoch);
        epochs.max().unwrap_or(Epoch::NONE)
    }

    /// The newest key of one head.
    pub fn newest_of(&self, cluster: ClusterId, head: HeadId) -> Option<(&str, Key)> {
        self.keys(cluster)
            .filter(|(_, key)| key.head == head)
            .max_by_key(|(_, key)| key.epoch)
    }

    /// Whether every disk says that it has no reservations: what is then left is a lease.
    pub fn has_none(&self) -> bool {
        let mut disks = self.disks.iter();
        disks.all(|disk| disk.seen == Err(ReadError::Unsupported))
    }

    /// The first disk that could not be read, and why.
    pub fn failure(&self) -> Option<(&str, &ReadError)> {
        self.disks
            .iter()
            .find_map(|disk| Some((disk.name.as_str(), disk.seen.as_ref().err()?)))
    }

    /// What [`Survey::forgetful`] says can be told from other notes by this.
    pub const NO_PTPL: &str = "(no PTPL)";

    /// Which disks forget their reservations when the power goes, by their own word, and what that means.
    pub fn forgetful(&self) -> Option<String> {
        let disks = self.disks.iter().filter(|disk| disk.forgets());
        let names: Vec<&str> = disks.map(|disk| disk.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} forget their reservations when the shelf loses power {}: the owner then resets, \
                 whoever boots first takes the pool, and a head that boots alone waits {} s more",
                names.join(", "),
                Self::NO_PTPL,
                super::COMMAND_LIFETIME.as_secs()
            )
        })
    }
}
