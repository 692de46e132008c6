//! Persistent reservations: survey, claim, release, watch.
//!
//! Nothing that belongs to a pool may be written before [`Fence::claim`] returned `Ok`, and not a byte
//! after a reservation is lost: the owner's [`Watch`] says so, and the heartbeat thread resets.
//! Here is the procedure of DESIGN section 5 over a trait ([`Reservations`]); the real disk is in
//! [`scsi`] and [`nvme`], and the tests run the same code on a shelf in memory.
//!
//! Read in this order: [`reservations`] (the words), [`steps`] (what to do next on one disk, pure),
//! [`claim`] (the whole shelf), [`routes`] (a disk by several paths), `leftover` (whose writes are waited for, pure), [`release`], [`watch`].
//!
//! What is found on a disk, and what becomes of it:
//!
//! | found | outcome |
//! |---|---|
//! | nobody | registered and reserved |
//! | key of the peer that is dead, or off by the operator's word | notice on the arbiter, then PREEMPT AND ABORT |
//! | key of the peer that says it holds nothing | PREEMPT AND ABORT |
//! | key of the peer, never heard since boot | left alone; the pool rests until the peer is heard or the operator says so |
//! | key of this head's earlier boot, on this path | replaced |
//! | the same, on a path that is gone | PREEMPT AND ABORT |
//! | the same, where the target refuses that (see ISID below) | no claim; told, with what ends it |
//! | key as new as the claim's | the arbiter decides: the second lets go |
//! | reservation of another type under a key of ours | released or preempted, then ours |
//! | nothing, though the ledger says that a head holds it | claimed like a free one, and told (`forgotten`) |
//! | reservation for all registrants, a stranger's key, an older RESERVE | left alone and named, with the way out |
//! | no answer | the claim ends within its limit, is undone elsewhere, and the late thread lets its disk go; what an earlier boot had reserved stays so where the peer may have writes under way |
//! | no PREEMPT AND ABORT, or no proper answer to it | PREEMPT, and [`COMMAND_LIFETIME`] is waited out |
//! | our key, and yet a write is refused | no claim |
//! | a path that does not answer, beside one that does | the claim does without it |
//!
//! Decisions:
//! - The caller names the members (all PVs of the volume group); a claim never makes do with fewer.
//! - Commands are repeated until the read-back shows what was wanted; their statuses are hints.
//! - Each disk has its own thread with a limit, since one call on a dead disk can block for half a
//!   minute and more. A thread that comes back after its claim was given up lets its disk go again.
//! - Registering is write access, so a claim first opens every member exclusively: that fails as long as any
//!   mount, array or device-mapper device of the pool exists in this kernel.
//! - A release takes every key off, so that the standby can read and not write, unless the core cannot say that the peer is done
//!   ([`Job::peer_is_done`](orthrus_hb::Job::peer_is_done)): then nothing but the reservation keeps from the disks what a peer that
//!   hangs has in its adapter, and it stays, with nothing of the pool in this kernel. So the last epoch is also in the ledger, where there is one, and a tag of the volume
//!   group (`volume::write::stamp`): two heads that were both off go on from there.
//! - The kernel's target takes a session of the reservation's own initiator port with another ISID for one that is not
//!   registered, whatever it registered (`core_scsi3_pr_seq_non_holder`, `isid_mismatch`). An initiator that makes up a new
//!   ISID for each session (libiscsi in QEMU; open-iscsi does not) can therefore not remove the key of its own earlier
//!   boot there: the claim fails with *PREEMPT has no effect*, and the peer, which can, takes the pool; `status` says so. SAS has no ISIDs.
//! - Rejected: to leave a key registered after every release, as a stamp. Whoever is registered may write.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orthrus_hb::{Authority, ClusterId, Epoch, HeadId, Key};

use crate::disk::{self, Disk, DiskId, DiskPath, parallel};

mod answers;
pub mod claim;
pub mod forgotten;
pub mod lease;
mod leftover;
pub mod nvme;
mod outcome;
mod proof;
pub mod release;
mod report;
pub mod reservations;
pub mod routes;
pub mod scsi;
#[cfg(test)]
pub(crate) mod shelf;
pub mod steps;
pub mod stranger;
pub mod survey;
mod take;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

pub use forgotten::Forgotten;
pub use nvme::Identity;
use outcome::LOOK_AFTER_IT;
pub use outcome::{ClaimError, Claimed, Note};
pub use reservations::{Reservations, Seen};
pub use routes::{Route, Routes};
pub use stranger::Stranger;
pub use survey::{DiskSurvey, Survey};
pub use watch::{ALL_SILENT, Alarm, Lost, OnLoss, Watch, WatchSlot};

/// How long a target may still carry out a write that it accepted before a PREEMPT, when it could not be told
/// to abort it.
///
/// No standard bounds this. Drives made for shelves give up their own error recovery after some 7 s,
/// because controllers drop a drive that is silent for 8 to 10; a write that is accepted is done or failed by
/// then. Commands that were still on the wire do not count: they meet the reservation when they arrive.
/// The price is paid on targets without PREEMPT AND ABORT, when the owner did not let go, and where nothing tells that a former
/// owner's writes have ended: see `leftover`.
pub const COMMAND_LIFETIME: Duration = Duration::from_secs(10);

/// How long a claim that takes the pool from a silent peer leaves it its reservation after our newer key
/// stands beside it: a notice.
///
/// A peer that is silent and yet runs (its heartbeat hangs, the cables are cut) reads its reservations every
/// [`watch::ARBITER_INTERVAL`], finds the key and resets. Had it been preempted at once, its kernel would in that time have
/// passed the conflict on to clients, as an error: nothing in the kernel can be told to keep it. `target_core_iblock` makes
/// `BLK_STS_RESV_CONFLICT` a status of its own and answers it, initiators do not try such a command again,
/// `dm-multipath` holds back only what `blk_path_error` calls a path's error, which a conflict is not, and
/// `dm-mirror` holds failed writes back only behind two legs and a log of regions. Four times the interval: once to wait
/// for the next look, once for its commands, once for the last line on a serial console, once to spare. Each takeover
/// from a silent peer costs its clients as much.
///
/// Rejected: to announce the service address before the preemption, which also silences the old owner. If the claim
/// then fails, a pool that was served is not any more.
///
/// A peer whose whole user space hangs while its kernel serves on, or that is stopped and goes on after the preemption,
/// sees no notice: the gate before its addresses (`net::gate`) keeps its answers from its clients. What neither covers is
/// a peer that cannot read the arbiter and still serves from other disks, until its watch or its watchdog ends it.
pub const NOTICE: Duration = Duration::from_millis(200);

/// More members than this are not claimed: each has a thread of its own while a claim runs.
pub const MAX_MEMBERS: usize = 128;

/// One disk of a pool, with the way to its reservations.
#[derive(Clone)]
pub struct Member {
    /// What the kernel called it when it was claimed, for messages and for nothing else: of several paths one may have been away
    /// then, and its name is another disk's by now.
    pub name: String,
    /// Who it is on both heads; the smallest is the arbiter.
    pub id: DiskId,
    /// Its reservations, by all of its paths.
    pub path: Arc<dyn Reservations>,
    /// The paths; one, where there are no several.
    pub routes: Vec<Arc<Route>>,
}

impl Member {
    /// A disk with these paths, of which there is at least one.
    pub fn new(name: String, id: DiskId, routes: Vec<Route>) -> Member {
        Member::with_pause(name, id, routes, Arc::new(std::thread::sleep))
    }

    /// The same, with a way to wait.
    pub fn with_pause(
        name: String,
        id: DiskId,
        routes: Vec<Route>,
        pause: Arc<dyn Fn(Duration) + Send + Sync>,
    ) -> Member {
        let routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        let path: Arc<dyn Reservations> = match &routes[..] {
            [only] => only.path.clone(),
            _ => Arc::new(Routes::new(id.clone(), routes.clone(), pause)),
        };
        Member {
            name,
            id,
            path,
            routes,
        }
    }
}

/// All members of one pool, the arbiter first.
pub struct Fence {
    members: Vec<Member>,
    /// Waits; a test lets virtual time pass instead.
    pause: Arc<dyn Fn(Duration) + Send + Sync>,
    /// How long a step over all disks may take.
    limit: Duration,
}

/// How long a step over all disks may take. A healthy disk answers in milliseconds; the kernel tries a dead
/// one for half a minute and more, and waiting for it would only delay saying so.
const DISKS_LIMIT: Duration = Duration::from_secs(20);

/// How long a path may take to answer, where there is another one. It answers from memory; a disk that is busy with its own error
/// recovery does not, and then none of its paths does.
const PATH_LIMIT: Duration = Duration::from_secs(3);

/// The reservations of a disk by the path with this name.
fn open_path(
    name: &str,
    node: &Path,
    block: u32,
    identity: Identity,
) -> std::io::Result<Arc<dyn Reservations>> {
    Ok(match nvme::is_nvme(name) {
        true => Arc::new(nvme::Namespace::open(node, block, identity)?),
        false => Arc::new(scsi::Scsi::open(name, node, block)?),
    })
}

/// The paths to a disk that answer; of one where none does, all that can be opened, so that it is said why.
fn open_member(disk: &Disk, identity: Identity) -> std::io::Result<Vec<Route>> {
    if disk.paths.is_empty() {
        let opened = open_path(&disk.name, &disk.path, disk.logical_block, identity)?;
        let route = Route::new(disk.name.clone(), disk.number, opened);
        return Ok(vec![route]);
    }
    let block = disk.logical_block;
    let open = move |path: &DiskPath| -> std::io::Result<(bool, Route)> {
        let opened = open_path(&path.name, &path.node(), block, identity)?;
        let answers = opened.read().is_ok();
        let route = Route::new(path.name.clone(), path.number, opened);
        Ok((answers, route))
    };
    let heard = |path: &&DiskPath| !disk::paths::is_silent(path);
    let mut paths: Vec<DiskPath> = disk.paths.iter().filter(heard).cloned().collect();
    if paths.is_empty() {
        paths.clone_from(&disk.paths);
    }
    let mut opened = parallel::each(&paths, PATH_LIMIT, open);
    if !opened.iter().flatten().any(Result::is_ok) {
        opened = parallel::each(&paths, DISKS_LIMIT - 2 * PATH_LIMIT, open);
    }
    let mut failure = no_answer();
    let mut routes = Vec::new();
    for outcome in opened.into_iter().flatten() {
        match outcome {
            Ok(route) => routes.push(route),
            Err(error) => failure = error,
        }
    }
    let some_answer = routes.iter().any(|(answers, _)| *answers);
    let routes = routes.into_iter();
    let routes = routes.filter(|(answers, _)| *answers || !some_answer);
    let routes: Vec<Route> = routes.map(|(_, route)| route).collect();
    match routes.is_empty() {
        true => Err(failure),
        false => Ok(routes),
    }
}

/// Of a disk whose device could not be opened in the time for it.
pub(crate) fn no_answer() -> std::io::Error {
    let within = format!("no answer within {} s", DISKS_LIMIT.as_secs());
    std::io::Error::new(std::io::ErrorKind::TimedOut, within)
}

/// Why the members of a pool cannot be fenced at all.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// A pool without disks.
    #[error(
        "there is no disk to fence: the metadata call every member missing; connect the disks and take them back (vgextend \
         --restoremissing on a host with lvm2)"
    )]
    NoMembers,
    /// Too many.
    #[error(
        "{0} member disks, and at most {MAX_MEMBERS} can be fenced: vgsplit on a host with lvm2 makes two pools of it, vgreduce takes out \
         disks on which nothing is"
    )]
    TooMany(usize),
    /// Two disks with one identity, which are not paths to one disk: the heads could not agree which is which.
    #[error(
        "{one} and {other} are the same disk {id}, and no paths to one: pull one of them out, or give it an identity of its own (VPD page \
         0x83) where the shelf or the target makes it up"
    )]
    Duplicate {
        /// One name.
        one: String,
        /// The other.
        other: String,
        /// The identity that both have.
        id: DiskId,
    },
    /// The device node could not be opened.
    #[error("{disk}: cannot be opened: {source}; {}", LOOK_AFTER_IT)]
    Open {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Who claims, and by what right.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest {
    /// The cluster; keys of others are strangers'.
    pub cluster: ClusterId,
    /// This head.
    pub head: HeadId,
    /// The epoch of the claim, as the core chose it after a survey and told the peer. A key as new as
    /// this, which appeared since, is a rival's.
    pub epoch: Epoch,
    /// What entitles us to remove the peer's keys.
    pub authority: Authority,
    /// The greatest epoch of a key that this covers: a newer one was registered since, by a peer that lives.
    pub covers: Epoch,
    /// Usually [`COMMAND_LIFETIME`].
    pub command_lifetime: Duration,
    /// What an earlier boot of this head has reserved stays reserved, should the claim fail: of the peer writes may be under way.
    pub keeps: bool,
    /// How long ago this head booted: no command of an earlier boot of it is younger.
    pub up: Duration,
}

impl Fence {
    /// Opens the members of a pool: *all* disks that its metadata names, by all paths that answer, as this head.
    pub fn open(disks: &[Disk], identity: Identity) -> Result<Fence, FenceError> {
        // The kernel lets nobody open a disk while it recovers the path to it.
        let open = move |disk: &Disk| open_member(disk, identity);
        let opened = parallel::each(disks, DISKS_LIMIT, open);
        let mut members = Vec::new();
        for (disk, opened) in disks.iter().zip(opened) {
            let opened = opened.unwrap_or_else(|| Err(no_answer()));
            let routes = opened.map_err(|source| FenceError::Open {
                disk: disk.name.clone(),
                source,
            })?;
            members.push(Member::new(disk.name.clone(), disk.id.clone(), routes));
        }
        Fence::new(members, Arc::new(std::thread::sleep))
    }

    /// Of members that are open, with a way to wait.
    pub fn new(
        mut members: Vec<Member>,
        pause: Arc<dyn Fn(Duration) + Send + Sync>,
    ) -> Result<Fence, FenceError> {
        if members.is_empty() {
            return Err(FenceError::NoMembers);
        }
        if members.len() > MAX_MEMBERS {
            return Err(FenceError::TooMany(members.len()));
        }
        members.sort_by(|a, b| a.id.cmp(&b.id));
        for pair in members.windows(2) {
            if let [one, other] = pair
                && one.id == other.id
            {
                return Err(FenceError::Duplicate {
                    one: one.name.clone(),
                    other: other.name.clone(),
                    id: one.id.clone(),
                });
            }
        }
        Ok(Fence {
            members,
            pause,
            limit: DISKS_LIMIT,
        })
    }

    /// The members, the arbiter first.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The same without these disks; `None` when nothing is left.
    pub fn without(&self, disks: &[DiskId]) -> Option<Fence> {
        let left = self
            .members
            .iter()
            .filter(|member| !disks.contains(&member.id));
        let members: Vec<Member> = left.cloned().collect();
        (!members.is_empty()).then(|| Fence {
            members,
            pause: self.pause.clone(),
            limit: self.limit,
        })
    }

    /// Only this disk.
    pub fn only(&self, disk: &DiskId) -> Option<Fence> {
        let others = self.members.iter().map(|member| member.id.clone());
        let others: Vec<DiskId> = others.filter(|id| id != disk).collect();
        self.without(&others)
    }

    /// What these disks were called when they were claimed, for messages; one that is no member by its identity.
    pub fn names_of(&self, disks: &[DiskId]) -> String {
        let name = |id: &DiskId| {
            let member = self.members.iter().find(|member| member.id == *id);
            member.map_or_else(|| id.to_string(), |member| member.name.clone())
        };
        disks.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// The members of both.
    ///
    /// # Errors
    /// One is among both, or they are too many.
    pub fn with(&self, other: Fence) -> Result<Fence, FenceError> {
        let members = self.members.iter().cloned().chain(other.members);
        Fence::new(members.collect(), self.pause.clone())
    }

    /// The members among `disks`, after they were claimed: from here on they are used by paths that are registered, until they are
    /// released.
    pub fn pin(&self, disks: &[Disk]) -> Vec<Disk> {
        let pinned = disks.iter().filter_map(|disk| {
            let member = self.members.iter().find(|member| member.id == disk.id)?;
            let registered = member.routes.iter().filter(|route| route.is_in_use());
            let registered: Vec<String> = registered.map(|route| route.name.clone()).collect();
            Some(disk::paths::pin(disk, &registered))
        });
        pinned.collect()
    }

    /// The claim goes on without these: what keeps them to their paths ends.
    pub fn unpin(&self, disks: &[DiskId]) {
        let gone = |member: &&Member| disks.contains(&member.id);
        for member in self.members.iter().filter(gone) {
            disk::paths::unpin(&member.id);
        }
    }

    /// Starts to watch a claim; see [`Watch`].
    pub fn watch(&self, key: Key, on_loss: OnLoss) -> Watch {
        Watch::start(&self.members, key, on_loss)
    }
}
