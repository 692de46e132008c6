//! Whose writes may still be under way on a disk that was just taken, and for how long. Pure.
//!
//! A write that a disk has accepted is not stopped by a reservation that comes later. Aborted writes are gone; all
//! others die out within [`super::COMMAND_LIFETIME`]. It is waited for where a former owner must be assumed and
//! nothing says that its writes have ended:
//!
//! | on the disk, before the claim | peer says it holds nothing | peer unheard since boot | peer dead, or off by the operator's word |
//! |---|---|---|---|
//! | the peer's key | removed as stale | no claim | waited for, unless PREEMPT AND ABORT succeeded |
//! | only ours, of an earlier boot or claim | what is left of the time since this boot | the same | the same |
//! | no key | nothing: it let go | waited for, if the disk forgets keys without power | waited for |
//!
//! - A key that is there vouches for the disk: it lost no power since, and no claim of the other head went through.
//! - No key on a disk that keeps them was taken away by a command: whoever held it let go, after its last write. On
//!   one that forgets, the power may have gone under an owner that hangs, writes on and is not heard. So a head that
//!   boots alone in front of such a shelf pays ten seconds; two that hear each other never do.
//! - A peer that says it holds nothing has let go, or has booted since: a boot takes most of that time, and the reset before
//!   it ended the sessions over which its writes came.
//! - Our own earlier boot ended in a reset at the latest when this one began, which is a limit for the age of its
//!   writes that costs nothing to know. (A new registration of the same path aborts nothing.)
//! - After a PREEMPT without a known abort it is waited for in every case: that the key was stale is somebody's word,
//!   and a write outlives the reset of the one who sent it.
//!
//! Rejected: PRGENERATION, which begins at zero with each power-on. A claim that failed and was undone has
//! moved it on, and the next one would not wait.

use std::time::Duration;

use orthrus_hb::{Authority, Key};

use super::ClaimRequest;
use super::outcome::Note;
use super::survey::DiskSurvey;
use super::take::Taken;

/// How long to wait before what was taken is written to; `before` is what the disk showed before it was.
pub(super) fn wait(before: &DiskSurvey, taken: &Taken, request: &ClaimRequest) -> Duration {
    let lifetime = request.command_lifetime;
    if taken.unaborted {
        return lifetime;
    }
    let aborted = |head| {
        let mut notes = taken.notes.iter();
        notes.any(|note| matches!(note, Note::Aborted { victim, .. } if victim.head == head))
    };
    let keys: Vec<Key> = before.keys(request.cluster).collect();
    let shown = |head| keys.iter().any(|key| key.head == head);
    let (me, peer) = (request.head, request.head.peer());
    let unknown = match request.authority {
        Authority::PeerYields | Authority::PeerLetGo => false,
        Authority::Free => keys.is_empty() && before.forgets(),
        Authority::PeerDead | Authority::Operator => !aborted(peer) && (shown(peer) || !shown(me)),
    };
    match (unknown, shown(me) && !aborted(me)) {
        (true, _) => lifetime,
        (false, true) => lifetime.saturating_sub(request.up),
        (false, false) => Duration::ZERO,
    }
}
