//! The owner's watch: reads the reservations back several times a second, each disk in a thread of its own.
//!
//! A loss resets the head at once, from the thread that saw it: the heartbeat thread may be the very part
//! that hangs, and until its watchdog fires this head's kernel would answer clients with errors. The
//! heartbeat thread looks as well ([`Watch::lost`], which never waits and never allocates). A disk that
//! cannot be read is not a lost one: a broken disk is a matter for RAID and `status`, and its writes fail
//! by themselves. The watch never registers again.
//!
//! Each path to a disk has a thread of its own: a disk is seen while any of its paths shows it, and a loss is a loss by whichever.
//! A path without a part in the claim is only read by: what it shows of a loss counts, and that it answers does not, since no client's
//! write goes by it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use orthrus_hb::{Epoch, Key};

use super::reservations::{ReadError, Seen, WRITE_EXCLUSIVE_REGISTRANTS_ONLY, WriteRefused};
use super::stranger::WAY_OUT;
use super::{Member, PATH_LIMIT, Route};
use crate::disk::{DiskId, ends};
use crate::sync::lock;

/// How often each disk is read back.
const INTERVAL: Duration = Duration::from_millis(200);

/// How often the arbiter is: a rival registers there first, and gives us [`super::NOTICE`] to be gone before it
/// takes anything away.
pub const ARBITER_INTERVAL: Duration = Duration::from_millis(50);

/// How often the watch also writes, a block that nobody else writes over with its own contents ([`spare_block`]): a target that binds
/// registrations to a session goes on to show our key after a reconnect, and refuses our writes. It does so at once when the kernel counts a
/// failed command, which may have been a client's write that met a conflict: one is enough to reset.
///
/// Rejected: SYNCHRONIZE CACHE, which writes nothing. The kernel's target goes by the direction of a command's data and lets
/// everybody flush (`core_scsi3_pr_seq_non_holder`): an owner whose sessions had been renewed served conflicts to its clients.
///
/// [`spare_block`]: crate::array::spare_block
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long no disk at all may answer before that is the way to them, and says nothing of one of them. A healthy disk answers in
/// milliseconds, and many that are slow at once are a path that is.
pub const ALL_SILENT: Duration = Duration::from_secs(3);

/// The fence is lost: reset at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{disk}: {why}")]
pub struct Lost {
    /// The kernel's name of the disk.
    pub disk: String,
    /// What was found there.
    pub why: Why,
}

/// What shows that the fence is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Our key is not registered.
    #[error("our registration is gone")]
    NotRegistered,
    /// Somebody else holds the reservation.
    #[error("reserved by {0:#018x}")]
    HeldBy(u64),
    /// Nobody holds it.
    #[error("our reservation is gone")]
    NotReserved,
    /// The reservation has another type.
    #[error("reservation has type {0}")]
    Kind(u8),
    /// A head of our cluster registered for a newer claim.
    #[error("newer key {0} is registered beside ours")]
    NewerKey(Key),
    /// A command was answered by a reservation conflict.
    #[error("{0}")]
    Write(WriteRefused),
}

/// A registrant that should not be there, while the fence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// An older key of our cluster: it is removed.
    #[error("older key {0} is registered beside ours")]
    OlderKey(Key),
    /// A stranger's key: it may write to the disk, and is not removed.
    #[error(
        "a stranger's key {0:#018x} is registered beside ours: it may write, and keeps the other head from taking over"
    )]
    Stranger(u64),
}

impl Alarm {
    /// What ends it.
    pub fn way_out(self) -> &'static str {
        match self {
            Alarm::OlderKey(_) => {
                "it is removed by itself; if it stays, `handover` makes the next claim remove it"
            }
            Alarm::Stranger(_) => WAY_OUT,
        }
    }
}

/// What one read-back says about our claim.
pub fn judge(seen: &Seen, key: Key) -> Result<Option<Alarm>, Why> {
    let number = key.to_bits();
    if !seen.keys.contains(&number) {
        return Err(Why::NotRegistered);
    }
    match seen.holder {
        None => return Err(Why::NotReserved),
        Some(holder) if holder.key != number => return Err(Why::HeldBy(holder.key)),
        Some(holder) if holder.kind != WRITE_EXCLUSIVE_REGISTRANTS_ONLY => {
            return Err(Why::Kind(holder.kind));
        }
        Some(_) => {}
    }
    let mut alarm = None;
    for other in seen.keys.iter().filter(|other| **other != number) {
        match Key::from_bits(*other, key.cluster) {
            // An equal epoch is a rival of the same race, which lost it: as stale as an older one.
            Some(other) if other.epoch > key.epoch => return Err(Why::NewerKey(other)),
            Some(other) => alarm = Some(Alarm::OlderKey(other)),
            None => alarm = alarm.or(Some(Alarm::Stranger(*other))),
        }
    }
    Ok(alarm)
}

/// A pool's watch over its reservations, while it has one. The worker puts it there after the claim
/// and takes it out before it lets go; the heartbeat thread only looks.
pub type WatchSlot = Arc<Mutex<Option<(Epoch, Watch)>>>;

/// What a watch does when it finds a loss; it is not called any more once the watch was dropped.
pub type OnLoss = Arc<dyn Fn(&Lost) + Send + Sync>;

/// A running watch; it ends when dropped.
pub struct Watch {
    shared: Arc<Shared>,
    stops: Vec<mpsc::Sender<()>>,
}

struct Shared {
    key: Key,
    started: Instant,
    lost: OnceLock<Lost>,
    /// A thread could not be started or has ended: nobody looks at its disk.
    blind: AtomicBool,
    /// The watch was dropped: from here on it is ourselves who take the key away.
    over: AtomicBool,
    /// When the first disk answered again after none did, in milliseconds after `started`.
    returned_ms: AtomicU64,
    on_loss: OnLoss,
    disks: Vec<DiskState>,
}

struct DiskState {
    /// The disk; one of several paths may be meant.
    id: DiskId,
    /// What it is called in messages.
    name: String,
    /// When the disk was read back last by this path while it had a part in the claim, in milliseconds after `started`.
    read_ms: AtomicU64,
    /// The last look was answered by an error, or by a path that has no part in the claim.
    failed: AtomicBool,
    /// What was found beside our key then. Never locked by the heartbeat thread.
    alarm: Mutex<Option<Alarm>>,
    /// The way to it. Its turn is never waited for by the heartbeat thread.
    route: Arc<Route>,
}

impl Watch {
    pub(super) fn start(members: &[Member], key: Key, on_loss: OnLoss) -> Watch {
        let paths = paths(members);
        let shared = Arc::new(Shared::of(&paths, key, on_loss));
        let mut stops = Vec::new();
        for (index, (place, _, route)) in paths.into_iter().enumerate() {
            let (stop, stopped) = mpsc::channel();
            let shared = shared.clone();
            let name = format!("watch {}", route.name);
            let blind = shared.clone();
            // The members stand in order, the arbiter first.
            let interval = match place {
                0 => ARBITER_INTERVAL,
                _ => INTERVAL,
            };
            let spawned = thread::Builder::new()
                .name(name)
                .spawn(move || look(&shared, index, &route, interval, &stopped));
            if spawned.is_err() {
                blind.blind.store(true, Ordering::SeqCst);
            }
            stops.push(stop);
        }
        Watch { shared, stops }
    }

    /// What was lost, as soon as a disk showed it. Does not wait, lock or allocate.
    pub fn lost(&self) -> Option<&Lost> {
        self.shared.lost.get()
    }

    /// A watching thread is missing, so that a loss could go unseen: as bad as a loss.
    pub fn is_blind(&self) -> bool {
        self.shared.blind.load(Ordering::SeqCst)
    }

    /// How old the newest read-back is, of whichever disk; `None` without disks.
    pub fn freshest(&self) -> Option<Duration> {
        self.shared.freshest(self.shared.now())
    }

    /// Whether some disk was read back within that time, and its last look did not fail. Does not wait, lock or
    /// allocate.
    pub fn sees_disks(&self, within: Duration) -> bool {
        let now = self.shared.now();
        self.shared.disks.iter().any(|disk| {
            let read = Duration::from_millis(disk.read_ms.load(Ordering::SeqCst));
            !disk.failed.load(Ordering::SeqCst) && now.saturating_sub(read) < within
        })
    }

    /// Who is registered beside us, by disk.
    pub fn alarms(&self) -> Vec<(&str, Alarm)> {
        let disks = self.shared.disks.iter();
        let found = disks.filter_map(|disk| Some((disk.name.as_str(), (*lock(&disk.alarm))?)));
        let mut alarms: Vec<(&str, Alarm)> = found.collect();
        // Two paths see the same.
        alarms.dedup();
        alarms
    }

    /// The disks that were not read back for so long: they may hang.
    pub fn silent(&self, limit: Duration) -> Vec<DiskId> {
        self.shared.silent(self.shared.now(), limit)
    }

    /// The disks that were not read back for so long though others were. Time in which none was does not count against one: after a
    /// loss of the shelf's power they come back one after the other.
    pub fn lost_for(&self, limit: Duration) -> Vec<DiskId> {
        self.shared.lost_for(self.shared.now(), limit)
    }

    /// The disk whose last read-back is the oldest, by name, and how old it is.
    pub fn oldest(&self) -> Option<(&str, Duration)> {
        let ages = self.shared.ages(self.shared.now());
        let oldest = ages.into_iter().max_by_key(|(_, age)| *age);
        oldest.map(|(disk, age)| (disk.name.as_str(), age))
    }
}

impl Shared {
    fn of(paths: &[(usize, &Member, Arc<Route>)], key: Key, on_loss: OnLoss) -> Shared {
        let disks = paths.iter().map(|(_, member, route)| DiskState {
            id: member.id.clone(),
            name: member.name.clone(),
            read_ms: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            alarm: Mutex::default(),
            route: route.clone(),
        });
        Shared {
            key,
            started: Instant::now(),
            lost: OnceLock::new(),
            blind: AtomicBool::new(false),
            over: AtomicBool::new(false),
            returned_ms: AtomicU64::new(0),
            on_loss,
            disks: disks.collect(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A disk was read back by this path, which has a part in the claim.
    fn note_read(&self, index: usize, now: Duration) {
        let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let newest = self.freshest(now);
        if newest.is_some_and(|age| age >= ALL_SILENT) {
            self.returned_ms.store(ms, Ordering::SeqCst);
        }
        self.disks[index].read_ms.store(ms, Ordering::SeqCst);
    }

    fn freshest(&self, now: Duration) -> Option<Duration> {
        let disks = self.disks.iter();
        let read = disks
            .map(|disk| disk.read_ms.load(Ordering::SeqCst))
            .max()?;
        Some(now.saturating_sub(Duration::from_millis(read)))
    }

    fn lost_for(&self, now: Duration, limit: Duration) -> Vec<DiskId> {
        let returned = Duration::from_millis(self.returned_ms.load(Ordering::SeqCst));
        if now.saturating_sub(returned) <= limit {
            return Vec::new();
        }
        self.silent(now, limit)
    }

    fn silent(&self, now: Duration, limit: Duration) -> Vec<DiskId> {
        let ages = self.ages(now).into_iter();
        let silent = ages.filter(|(_, age)| *age > limit);
        silent.map(|(disk, _)| disk.id.clone()).collect()
    }

    /// How old the last read-back of each disk is, by whichever path.
    fn ages(&self, now: Duration) -> Vec<(&DiskState, Duration)> {
        let mut ages: Vec<(&DiskState, Duration)> = Vec::new();
        for disk in &self.disks {
            let read = Duration::from_millis(disk.read_ms.load(Ordering::SeqCst));
            let age = now.saturating_sub(read);
            // The paths of a disk stand together.
            match ages.last_mut() {
                Some((last, newest)) if last.id == disk.id => *newest = age.min(*newest),
                _ => ages.push((disk, age)),
            }
        }
        ages
    }
}

/// The paths of all members, each with its member's place.
fn paths(members: &[Member]) -> Vec<(usize, &Member, Arc<Route>)> {
    let members = members.iter().enumerate();
    let paths = members.flat_map(|(place, member)| {
        let routes = member.routes.iter();
        routes.map(move |route| (place, member, route.clone()))
    });
    paths.collect()
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for stop in &self.stops {
            // A thread that is gone needs no telling.
            let _ = stop.send(());
        }
        // The key may go once nothing of ours is on its way. By the only path of a disk, one that does not end is for the limit of
        // a release; of several paths one that hangs is fenced by another one, which aborts it.
        let disks = &self.shared.disks;
        let begun = Instant::now();
        for disk in disks {
            let several = disks.iter().filter(|one| one.id == disk.id).count() > 1;
            let left = PATH_LIMIT.saturating_sub(begun.elapsed());
            drop(disk.route.turn(several.then_some(left)));
        }
    }
}

/// The thread of one path.
fn look(
    shared: &Shared,
    index: usize,
    route: &Route,
    interval: Duration,
    stopped: &mpsc::Receiver<()>,
) {
    let disk = &shared.disks[index];
    let mut probing = Probing::default();
    loop {
        let turn = route.turn(None);
        let asked = Instant::now();
        let looked = look_once(shared, &disk.id, route, &mut probing);
        drop(turn);
        let failed = matches!(looked, Err(Look::Unreadable));
        let is_used = route.is_in_use();
        disk.failed.store(failed || !is_used, Ordering::SeqCst);
        match failed {
            true => route.note_failure(),
            false => route.note_answer(asked),
        }
        match looked {
            Ok(alarm) => {
                if is_used {
                    shared.note_read(index, shared.now());
                }
                let said = std::mem::replace(&mut *lock(&disk.alarm), alarm);
                if said != alarm
                    && let Some(alarm) = alarm
                {
                    tracing::error!(disk = %disk.name, "{alarm}");
                }
            }
            Err(Look::Lost(why)) => {
                let disk = disk.name.clone();
                // The first loss is the one that counts.
                let lost = shared.lost.get_or_init(|| Lost { disk, why });
                // What was read before the watch was dropped was not our own doing.
                if !shared.over.load(Ordering::SeqCst) {
                    (shared.on_loss)(lost);
                }
                return;
            }
            Err(Look::Unreadable) => {}
        }
        // Dropped with the watch, or told: either way nobody asks any more.
        if stopped.recv_timeout(interval) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// When the next probe of a disk is due.
#[derive(Default)]
struct Probing {
    at: Option<Instant>,
    failures: Option<u64>,
}

impl Probing {
    fn is_due(&mut self, now: Instant, failures: Option<u64>) -> bool {
        let failed = self.failures.is_some() && failures != self.failures;
        self.failures = failures;
        let due = self.at.is_none_or(|at| now >= at + PROBE_INTERVAL);
        if failed || due {
            self.at = Some(now);
        }
        failed || due
    }

    /// A probe was sent. One that the disk does not know counts as a failure too, and is no reason for the next.
    fn done(&mut self, failures: Option<u64>) {
        self.failures = failures;
    }
}

enum Look {
    Lost(Why),
    Unreadable,
}

/// One look at one disk, in its path's turn: the read-back, and now and then the probe. Whether that is due is asked after the read: one
/// that took long may have waited for a session that was renewed, and says nothing without it.
fn look_once(
    shared: &Shared,
    disk: &DiskId,
    route: &Route,
    probing: &mut Probing,
) -> Result<Option<Alarm>, Look> {
    let key = shared.key;
    let seen = route.path.read().map_err(|error| match error {
        // Somebody took the disk by other means.
        ReadError::Reserved => Look::Lost(Why::Write(WriteRefused::Conflict)),
        // There was one of ours in its place.
        ReadError::SharedIdentifier => Look::Lost(Why::NotRegistered),
        _ => Look::Unreadable,
    })?;
    let alarm = judge(&seen, key).map_err(Look::Lost)?;
    if let Some(Alarm::OlderKey(older)) = alarm
        && route.is_in_use()
    {
        // Whether it worked shows in the next round.
        route.path.preempt(key.to_bits(), older.to_bits(), true);
        route.path.preempt(key.to_bits(), older.to_bits(), false);
    }
    // Whoever writes there now learns the same by that.
    let Some(_rewrite) = ends::rewrite(disk) else {
        return Ok(alarm);
    };
    let due = probing.is_due(Instant::now(), route.path.failures());
    if due && route.is_in_use() && !shared.over.load(Ordering::SeqCst) {
        let proved = route.path.probe_write();
        probing.done(route.path.failures());
        // Not of a path whose registration we took away ourselves meanwhile.
        if let Err(refused @ WriteRefused::Conflict) = proved
            && route.is_in_use()
        {
            return Err(Look::Lost(Why::Write(refused)));
        }
    }
    Ok(alarm)
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{ClusterId, HeadId};

    use super::*;
    use crate::fence::shelf::Shelf;

    #[test]
    fn a_disk_that_comes_back_after_the_others_is_not_lost_for_the_time_without_the_shelf() {
        let shelf = Shelf::new(3);
        let fence = shelf.fence(0);
        let key = Key {
            cluster: ClusterId::from_name("lab"),
            head: HeadId::First,
            epoch: Epoch(1),
        };
        let paths = paths(fence.members());
        let shared = Shared::of(&paths, key, Arc::new(|_| ()));
        let (second, limit) = (Duration::from_secs(1), Duration::from_secs(30));
        let read = |index, at| shared.note_read(index, at * second);
        let silent = |at| shared.lost_for(at * second, limit);
        for at in 0..10 {
            (0..3).for_each(|index| read(index, at));
        }
        // The shelf is without power from here on, and one disk takes long to spin up.
        read(0, 60);
        assert!(silent(61).is_empty());
        // It may hang all the while: whoever would wait for it must know.
        assert_eq!(shared.silent(61 * second, limit).len(), 2);
        read(1, 61);
        for at in 62..91 {
            (0..2).for_each(|index| read(index, at));
            assert!(silent(at).is_empty(), "{at}");
        }
        (0..2).for_each(|index| read(index, 91));
        assert_eq!(silent(91), [Shelf::id(2)]);
        read(2, 92);
        assert!(silent(92).is_empty());
    }

    #[test]
    fn one_failed_command_is_reason_enough_to_probe_at_once() {
        let mut probing = Probing::default();
        let now = Instant::now();
        let soon = now + ARBITER_INTERVAL;
        assert!(probing.is_due(now, Some(7)));
        assert!(!probing.is_due(soon, Some(7)));
        assert!(probing.is_due(soon, Some(8)));
        assert!(!probing.is_due(soon, Some(8)));
        assert!(probing.is_due(soon + PROBE_INTERVAL, Some(8)));
        probing.done(Some(9));
        assert!(!probing.is_due(soon + PROBE_INTERVAL, Some(9)));
        let mut uncounted = Probing::default();
        assert!(uncounted.is_due(now, None));
        assert!(!uncounted.is_due(soon, None));
        assert!(uncounted.is_due(now + PROBE_INTERVAL, None));
    }
}
