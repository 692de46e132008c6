//! Each rule of fencing, by name, on a shelf in memory; a file for each kind of rule. Here is what they share.

mod abort;
mod forgotten;
mod keys;
mod notice;
mod race;
mod read_back;
mod routes;
mod undo;
mod watch;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orthrus_hb::{Authority, ClusterId, Epoch, HeadId, Key};

use super::reservations::{Answer, Holder, Seen, Trouble};
use super::shelf::{Command, Gate, Shelf, State};
use super::watch::{Alarm, Lost, Why, judge};
use super::{COMMAND_LIFETIME, ClaimError, ClaimRequest, Claimed, Fence, NOTICE, Note, Stranger};
use crate::Step;

/// How long what must happen is waited for: only a broken fence waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// The paths of the two heads.
const A: u32 = 1;
const B: u32 = 2;

fn key(nexus: u32, epoch: u32) -> Key {
    Key {
        cluster: ClusterId::from_name("lab"),
        head: if nexus == A {
            HeadId::First
        } else {
            HeadId::Second
        },
        epoch: Epoch(epoch),
    }
}

fn bits(nexus: u32, epoch: u32) -> u64 {
    key(nexus, epoch).to_bits()
}

/// With the epoch that the core would choose: one more than the greatest on the shelf.
fn request(shelf: &Shelf, nexus: u32, authority: Authority) -> ClaimRequest {
    let cluster = key(nexus, 0).cluster;
    let greatest = shelf.fence(nexus).survey().greatest_epoch(cluster);
    ClaimRequest {
        cluster,
        head: key(nexus, 0).head,
        epoch: greatest.next().unwrap(),
        authority,
        covers: greatest,
        keeps: !matches!(authority, Authority::PeerLetGo | Authority::PeerYields),
        command_lifetime: COMMAND_LIFETIME,
        up: COMMAND_LIFETIME,
    }
}

fn claim(shelf: &Shelf, nexus: u32, authority: Authority) -> Result<Claimed, ClaimError> {
    shelf.fence(nexus).claim(&request(shelf, nexus, authority))
}

/// A shelf of three that head A owns with epoch 4, and was writing to.
fn owned_by_a() -> Shelf {
    let shelf = Shelf::new(3);
    for mut disk in shelf.all() {
        disk.owned_by(A, bits(A, 4));
    }
    shelf
}

/// What every claim that succeeded must have brought about.
fn assert_fenced(shelf: &Shelf, owner: u32, claimed: &Claimed) {
    for disk in shelf.all() {
        assert_eq!(disk.keys(), [claimed.key.to_bits()]);
        assert_eq!(disk.holder, Some((owner, 5)));
        assert!(disk.may_write(owner));
        assert!(!disk.may_write(if owner == A { B } else { A }));
        let former: Vec<_> = disk.under_way.iter().filter(|n| **n != owner).collect();
        assert!(former.is_empty(), "a former owner's write can still land");
    }
}

/// Not one command that changes anything was sent by this head.
fn assert_untouched(shelf: &Shelf, nexus: u32) {
    for disk in shelf.all() {
        assert!(disk.log.iter().all(|(n, _)| *n != nexus), "{:?}", disk.log);
        assert!(!disk.written.contains(&nexus));
    }
}

fn assert_let_go(shelf: &Shelf, nexus: u32) {
    for disk in shelf.all() {
        assert_eq!(disk.key_of(nexus), None);
    }
}

pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}
