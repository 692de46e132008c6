//! What a claim does next on one disk, from what was just read there. Pure: it sends nothing.
//!
//! The claim alternates between reading the disk and one such step until there is nothing left to do.
//! So a command that was answered wrongly, took effect twice or not at all only costs another round.
//!
//! ```text
//! not registered ──► Register ──► no holder ──► Reserve ──► ours, alone ──► Done
//!                                 │                           ▲   │
//!                                 └─ older holder ─► Preempt ─┘   └─ older registrant ─► Preempt
//! ```

use orthrus_hb::{Authority, Epoch, Key};

use super::reservations::{Holder, Seen, WRITE_EXCLUSIVE_REGISTRANTS_ONLY};
use super::stranger::{self, Stranger};

/// What a step may rely on.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    /// The key of this claim; its epoch is greater than all that were seen before it.
    pub key: Key,
    /// What entitles it to remove the peer's keys.
    pub authority: Authority,
    /// The greatest epoch of a key that this covers.
    pub covers: Epoch,
    /// Whether this is the disk where races are decided.
    pub arbiter: bool,
}

impl Claimant {
    /// Whether this key of the peer may be removed.
    fn may_remove(&self, key: Key) -> bool {
        self.authority.covers_peer() && key.epoch <= self.covers
    }
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Register the key of this claim, whatever this path had registered before.
    Register,
    /// Nobody holds the disk: reserve it.
    Reserve,
    /// We hold it with another type.
    Release {
        /// SPC's number of that type.
        kind: u8,
    },
    /// Remove this key.
    Preempt {
        /// The key.
        victim: Key,
    },
    /// The loser of the race is about to let go: look again in a moment.
    BackOff {
        /// The loser's key.
        loser: Key,
    },
    /// Ours, and ours alone.
    Done,
    /// The claim is over.
    Stop(Stop),
}

/// Why a claim ends on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody who is no head of this cluster.
    Stranger(Stranger),
    /// The peer's, and nothing entitles us to take it.
    Peer(Epoch),
    /// Somebody claimed at the same time and was first.
    LostRace(Epoch),
    /// Our registration was there and is gone: somebody removed it.
    Overtaken,
}

/// The next step of `claimant` on a disk that looks as `seen`; `registered` once its key was seen there.
pub fn next(claimant: &Claimant, seen: &Seen, registered: bool) -> Next {
    let Claimant { key, .. } = *claimant;
    let ours = |number: u64| Key::from_bits(number, key.cluster);
    if let Some(stranger) = stranger::find(seen, key.cluster) {
        return Next::Stop(Stop::Stranger(stranger));
    }
    let holder = seen
        .holder
        .and_then(|Holder { key: number, kind }| Some((ours(number)?, kind)));
    let keys = seen.keys.iter().filter_map(|number| ours(*number));
    let others: Vec<Key> = keys.filter(|other| *other != key).collect();

    // Before anything is sent: who may not be touched.
    let mut present = others
        .iter()
        .copied()
        .chain(holder.map(|(holder, _)| holder));
    if let Some(newer) = present.find(|other| *other != key && other.epoch > key.epoch) {
        return Next::Stop(Stop::LostRace(newer.epoch));
    }
    if let Some((holder, _)) = holder
        && holder != key
    {
        if holder.epoch == key.epoch {
            return Next::Stop(Stop::LostRace(holder.epoch));
        }
        if holder.head != key.head && !claimant.may_remove(holder) {
            return Next::Stop(Stop::Peer(holder.epoch));
        }
    }

    if !seen.keys.contains(&key.to_bits()) {
        return match registered {
            true => Next::Stop(Stop::Overtaken),
            false => Next::Register,
        };
    }
    match holder {
        None => Next::Reserve,
        Some((holder, _)) if holder != key => Next::Preempt { victim: holder },
        Some((_, kind)) if kind != WRITE_EXCLUSIVE_REGISTRANTS_ONLY => Next::Release { kind },
        Some(_) => match others.first() {
            None => Next::Done,
            Some(other) => remove(claimant, *other),
        },
    }
}

/// We hold the disk, and `other`, which is not newer, is registered beside us.
fn remove(claimant: &Claimant, other: Key) -> Next {
    let own = claimant.key;
    let same_claim = other.epoch == own.epoch;
    if same_claim && !claimant.arbiter {
        // It can be here only if it holds the arbiter, which therefore is no longer ours.
        return Next::Stop(Stop::LostRace(other.epoch));
    }
    if other.head == own.head || claimant.may_remove(other) {
        return Next::Preempt { victim: other };
    }
    // Without authority over the peer: it raced us, or it died between two commands.
    Next::BackOff { loser: other }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{ClusterId, HeadId};

    use super::*;

    fn key(head: HeadId, epoch: u32) -> Key {
        let cluster = ClusterId::from_name("lab");
        let epoch = Epoch(epoch);
        Key {
            cluster,
            head,
            epoch,
        }
    }

    const A: HeadId = HeadId::First;
    const B: HeadId = HeadId::Second;

    fn decide(authority: Authority, arbiter: bool, keys: &[Key], holder: Option<Key>) -> Next {
        let claimant = Claimant {
            key: key(A, 5),
            authority,
            covers: Epoch(u32::MAX),
            arbiter,
        };
        let seen = Seen {
            generation: 0,
            keys: keys.iter().map(|key| key.to_bits()).collect(),
            holder: holder.map(|holder| Holder {
                key: holder.to_bits(),
                kind: WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
            }),
        };
        next(&claimant, &seen, false)
    }

    #[test]
    fn nothing_is_registered_on_a_peers_disk_without_authority() {
        let peer = key(B, 4);
        let next = decide(Authority::Free, true, &[peer], Some(peer));
        assert_eq!(next, Next::Stop(Stop::Peer(Epoch(4))));
    }

    #[test]
    fn no_authority_preempts_a_claim_as_new_as_ours() {
        for authority in [Authority::PeerDead, Authority::Operator] {
            for epoch in [5, 6] {
                let peer = key(B, epoch);
                let next = decide(authority, true, &[key(A, 5), peer], Some(peer));
                assert_eq!(next, Next::Stop(Stop::LostRace(Epoch(epoch))));
            }
        }
    }

    #[test]
    fn a_newer_registrant_beside_us_ends_the_claim_even_before_it_holds() {
        let next = decide(
            Authority::PeerDead,
            true,
            &[key(A, 5), key(B, 6)],
            Some(key(A, 5)),
        );
        assert_eq!(next, Next::Stop(Stop::LostRace(Epoch(6))));
    }

    #[test]
    fn the_winner_at_the_arbiter_removes_the_loser_only_with_authority() {
        let seen = [key(A, 5), key(B, 5)];
        let loser = key(B, 5);
        assert_eq!(
            decide(Authority::PeerDead, true, &seen, Some(key(A, 5))),
            Next::Preempt { victim: loser }
        );
        assert_eq!(
            decide(Authority::Free, true, &seen, Some(key(A, 5))),
            Next::BackOff { loser }
        );
    }

    #[test]
    fn an_equal_epoch_beyond_the_arbiter_means_that_the_arbiter_is_lost() {
        let seen = [key(A, 5), key(B, 5)];
        let next = decide(Authority::PeerDead, false, &seen, Some(key(A, 5)));
        assert_eq!(next, Next::Stop(Stop::LostRace(Epoch(5))));
    }

    #[test]
    fn a_key_that_is_newer_than_what_the_right_covers_is_left_alone() {
        for (held, newer) in [(3, false), (4, true)] {
            let claimant = Claimant {
                key: key(A, 5),
                authority: Authority::PeerDead,
                covers: Epoch(3),
                arbiter: true,
            };
            let (own, peer) = (key(A, 5), key(B, held));
            let seen = |holder: Key| Seen {
                generation: 0,
                keys: vec![own.to_bits(), peer.to_bits()],
                holder: Some(Holder {
                    key: holder.to_bits(),
                    kind: WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
                }),
            };
            let victim = peer;
            let (of_a_holder, of_a_registrant) = match newer {
                true => (
                    Next::Stop(Stop::Peer(Epoch(held))),
                    Next::BackOff { loser: peer },
                ),
                false => (Next::Preempt { victim }, Next::Preempt { victim }),
            };
            assert_eq!(next(&claimant, &seen(peer), true), of_a_holder);
            assert_eq!(next(&claimant, &seen(own), true), of_a_registrant);
        }
    }

    #[test]
    fn another_type_is_let_go_before_ours_is_taken() {
        let claimant = Claimant {
            key: key(A, 5),
            authority: Authority::Free,
            covers: Epoch::NONE,
            arbiter: true,
        };
        let own = key(A, 5).to_bits();
        let seen = Seen {
            generation: 0,
            keys: vec![own],
            holder: Some(Holder { key: own, kind: 1 }),
        };
        assert_eq!(next(&claimant, &seen, true), Next::Release { kind: 1 });
    }

    #[test]
    fn a_reservation_for_all_registrants_is_a_strangers_even_among_our_own_keys() {
        let claimant = Claimant {
            key: key(A, 5),
            authority: Authority::Operator,
            covers: Epoch(u32::MAX),
            arbiter: true,
        };
        let seen = Seen {
            generation: 0,
            keys: vec![key(B, 1).to_bits()],
            holder: Some(Holder { key: 0, kind: 7 }),
        };
        assert_eq!(
            next(&claimant, &seen, false),
            Next::Stop(Stop::Stranger(Stranger::AllRegistrants { kind: 7 }))
        );
    }
}
