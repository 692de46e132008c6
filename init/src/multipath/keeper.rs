//! The keeper of a pool's paths, while it is held: makes the devices that join them, and changes the path of a disk when
//! the one in use fails.
//!
//! Its thread never waits on a disk. What does, the change of a path, has a thread of its own for each disk.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use orthrus_hb::Key;
use tracing::{error, info, warn};

use super::decision::{self, Next, Since, View};
use super::device::{Device, PathsError};
use crate::disk::{Disk, DiskId};
use crate::fence::routes::{ChangeError, use_alone};
use crate::fence::{Member, Route};
use crate::sync::lock;
use crate::sys::dm::Control;

/// How often the kernel is asked whether a path failed. Clients wait as long when one does.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often while a path is on trial, and for how long of it: under load there are only moments in which nothing is under way, and
/// until one is seen a lost path is an error to clients.
const CLOSE_INTERVAL: Duration = Duration::from_millis(10);
const CLOSE_LOOKS: Duration = Duration::from_secs(10);

/// The kernel's own limit for that, should nobody be there to end it: longer than the kernel tries a command on a path that
/// hangs, since until then no other path is used.
const KERNEL_LIMIT_S: u32 = 120;
const KERNEL_LIMIT: &str = "/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs";

/// What a console shows of a path of a disk that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The kernel's name of it.
    pub name: String,
    /// What it is for, or why it is for nothing.
    pub state: PathState,
}

/// See [`PathReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Commands go there.
    InUse,
    /// It is registered, and answers.
    Spare,
    /// It is registered, and does not answer.
    Silent,
    /// It has no part in the claim.
    Out(String),
}

/// A disk whose paths are joined.
struct Joined {
    /// Who it is on both heads.
    id: DiskId,
    device: Device,
    routes: Vec<Arc<Route>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The path in use, by place.
    used: usize,
    /// Since when there is none.
    idle_since: Option<Instant>,
    /// Since when, of that, nothing is under way.
    quiet_since: Option<Instant>,
    /// Since when the path in use does not answer our own questions, or by errors, while a spare does.
    failing_since: Option<Instant>,
    /// I/O without a path fails, since then: it was given up, or the path in use has yet to show that it works.
    trial_since: Option<Instant>,
    /// Its path is being changed.
    changing: bool,
    /// The kernel does not say how its paths are: said once.
    mute: bool,
}

struct Shared {
    pool: String,
    key: Key,
    disks: Mutex<Vec<Arc<Joined>>>,
}

/// The paths of the disks of one claim. To be closed before the reservations go; when it is dropped, the thread alone ends.
pub struct Keeper {
    shared: Arc<Shared>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Joins the paths of those members that were claimed by several. Only under their claim.
    ///
    /// # Errors
    /// The first device that could not be made. There is none then.
    pub fn open(
        pool: &str,
        key: Key,
        members: &[Member],
        disks: &[Disk],
    ) -> Result<Option<Keeper>, PathsError> {
        let mut keeper = Keeper {
            shared: Arc::new(Shared {
                pool: pool.to_owned(),
                key,
                disks: Mutex::default(),
            }),
            stop: None,
            thread: None,
        };
        for member in members {
            let Some(disk) = disks.iter().find(|disk| disk.id == member.id) else {
                continue;
            };
            if let Err(error) = keeper.shared.join(member, disk) {
                if let Err(stays) = keeper.close() {
                    error!(pool, "{stays}");
                }
                return Err(error);
            }
        }
        if lock(&keeper.shared.disks).is_empty() {
            return Ok(None);
        }
        if let Err(error) = std::fs::write(KERNEL_LIMIT, KERNEL_LIMIT_S.to_string()) {
            warn!(pool, %error, "{KERNEL_LIMIT}");
        }
        let (stop, stopped) = mpsc::channel();
        let shared = keeper.shared.clone();
        let spawned = thread::Builder::new()
            .name(format!("paths {pool}"))
            .spawn(move || shared.run(&stopped));
        match spawned {
            Ok(thread) => (keeper.stop, keeper.thread) = (Some(stop), Some(thread)),
            Err(source) => {
                let stays = keeper.close();
                return Err(stays.err().unwrap_or(PathsError {
                    disk: pool.to_owned(),
                    step: "start a thread",
                    source,
                }));
            }
        }
        Ok(Some(keeper))
    }

    /// Removes the devices. Only when nothing stands on them any more; before the reservations go. Idempotent.
    ///
    /// # Errors
    /// The first that is still there.
    pub fn close(&mut self) -> Result<(), PathsError> {
        self.end();
        let mut disks = lock(&self.shared.disks);
        while let Some(disk) = disks.last() {
            disk.device.remove()?;
            disks.pop();
        }
        Ok(())
    }

    /// Removes the device of one disk, which leaves the pool.
    ///
    /// # Errors
    /// It is still there.
    pub fn close_one(&self, id: &DiskId) -> Result<(), PathsError> {
        let mut disks = lock(&self.shared.disks);
        if let Some(place) = disks.iter().position(|disk| disk.id == *id) {
            disks[place].device.remove()?;
            disks.remove(place);
        }
        Ok(())
    }

    /// What became of the paths of a disk; `None` when they are not joined.
    pub fn report(&self, id: &DiskId) -> Option<Vec<PathReport>> {
        let disks = lock(&self.shared.disks);
        let disk = disks.iter().find(|disk| disk.id == *id)?;
        let state = lock(&disk.state);
        let is_idle = state.idle_since.is_some();
        let routes = disk.routes.iter().enumerate();
        let reports = routes.map(|(place, route)| PathReport {
            name: route.name.clone(),
            state: match route.why_out() {
                Some(why) => PathState::Out(why.to_owned()),
                None if route.is_failing() => PathState::Silent,
                None if place == state.used && !is_idle => PathState::InUse,
                None => PathState::Spare,
            },
        });
        Some(reports.collect())
    }

    fn end(&mut self) {
        // Told by the end of the channel.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!(pool = self.shared.pool, "the keeper of its paths panicked");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn join(&self, member: &Member, disk: &Disk) -> Result<(), PathsError> {
        let routes = member.routes.iter().filter(|route| route.is_in_use());
        let routes: Vec<Arc<Route>> = routes.cloned().collect();
        // What was claimed by one path is used by that, as it always was.
        if routes.len() < 2 {
            return Ok(());
        }
        let numbers: Vec<(u32, u32)> = routes.iter().map(|route| route.number).collect();
        let device = Device::of(&member.name, &member.id);
        device.make(disk, &numbers)?;
        let joined = Joined {
            id: member.id.clone(),
            device,
            routes,
            state: Mutex::default(),
        };
        lock(&self.disks).push(Arc::new(joined));
        Ok(())
    }

    fn run(self: Arc<Shared>, stopped: &mpsc::Receiver<()>) {
        let mut control = None;
        let mut interval = INTERVAL;
        while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
            if control.is_none() {
                control = Control::open().ok();
            }
            let Some(control) = &control else { continue };
            let disks = lock(&self.disks).clone();
            interval = INTERVAL;
            let idle = disks.iter().map(|disk| lock(&disk.state).idle_since);
            let lost = idle.max().flatten();
            for disk in &disks {
                self.look(control, disk, lost);
                let trial = lock(&disk.state).trial_since;
                if trial.is_some_and(|since| since.elapsed() < CLOSE_LOOKS) {
                    interval = CLOSE_INTERVAL;
                }
            }
        }
    }

    /// Looks at a disk; one of the pool has lost its last path at `lost`, the last that did.
    fn look(self: &Arc<Shared>, control: &Control, disk: &Arc<Joined>, lost: Option<Instant>) {
        let mut state = lock(&disk.state);
        if state.changing {
            return;
        }
        let views = match views(control, disk, state.idle_since) {
            Ok(views) => views,
            Err(error) => {
                if !std::mem::replace(&mut state.mute, true) {
                    error!(pool = self.pool, "{error}");
                }
                return;
            }
        };
        let now = Instant::now();
        let idle_since = *state.idle_since.get_or_insert(now);
        let idle = now - idle_since;
        let lost =
            now.saturating_duration_since(lost.map_or(idle_since, |lost| lost.max(idle_since)));
        let (pool, name) = (&self.pool, &disk.device.disk);
        // A disk at its own error recovery answers by no path.
        let is_failing = views.get(state.used).is_some_and(|path| !path.answers)
            && decision::spare(state.used, &views).is_some();
        state.failing_since = state.failing_since.or(Some(now)).filter(|_| is_failing);
        let failing = state
            .failing_since
            .map_or(Duration::ZERO, |since| now - since);
        let trial = state.trial_since.map(|since| now - since);
        let is_quiet = views
            .iter()
            .all(|path| !path.is_active && path.under_way == 0);
        state.quiet_since = state.quiet_since.or(Some(now)).filter(|_| is_quiet);
        let quiet = state
            .quiet_since
            .map_or(Duration::ZERO, |since| now - since);
        let since = Since {
            idle,
            lost,
            failing,
            quiet,
            trial,
        };
        let next = decision::next(state.used, &views, since);
        match next {
            Next::Nothing => state.idle_since = None,
            Next::Wait => {}
            Next::Fail => {
                state.idle_since = None;
                let number = disk.routes[state.used].number;
                if let Err(error) = disk.device.tell("fail_path", Some(number)) {
                    error!(pool, "{error}");
                }
            }
            Next::GoOn | Next::Change { .. } => {
                let to = match next {
                    Next::Change { to } => to,
                    _ => state.used,
                };
                let (shared, joined) = (self.clone(), disk.clone());
                let spawned = thread::Builder::new()
                    .name(format!("path {name}"))
                    .spawn(move || shared.change(&joined, to));
                match spawned {
                    Ok(_) => state.changing = true,
                    Err(error) => error!(pool, %error, "{name}: its path cannot be changed"),
                }
            }
            Next::GiveUp if state.trial_since.is_some() => {}
            Next::GiveUp => {
                error!(pool, "{name}: no path is left, its I/O fails");
                match disk.device.tell("fail_if_no_path", None) {
                    Ok(()) => state.trial_since = Some(now),
                    Err(error) => error!(pool, "{error}"),
                }
            }
            Next::HoldBack => {
                state.idle_since = None;
                match disk.device.tell("queue_if_no_path", None) {
                    Ok(()) => {
                        state.trial_since = None;
                        let path = &disk.routes[state.used].name;
                        info!(
                            pool,
                            "{name}: path {path} works: should it fail, I/O waits again"
                        );
                    }
                    Err(error) => error!(pool, "{error}"),
                }
            }
        }
    }

    /// Uses another path, or the same one again.
    fn change(&self, disk: &Joined, to: usize) {
        let (pool, name) = (&self.pool, &disk.device.disk);
        let route = &disk.routes[to];
        let failed = |error: ChangeError| PathsError {
            disk: name.clone(),
            step: "change the path",
            source: std::io::Error::other(error),
        };
        // Of the one that was in use nothing is fenced: the others are spares, and nothing of theirs is under way.
        let alone = match to == lock(&disk.state).used {
            true => Ok(()),
            false => {
                use_alone(&disk.id, &disk.routes, to, self.key, &thread::sleep).map_err(failed)
            }
        };
        let changed = alone.and_then(|()| {
            let mut state = lock(&disk.state);
            try_out(route.number, |what, number| disk.device.tell(what, number))?;
            state.trial_since = Some(Instant::now());
            (state.used, state.idle_since) = (to, None);
            Ok(())
        });
        match changed {
            Ok(()) => warn!(
                pool,
                "{name}: a path failed, goes on by path {}", route.name
            ),
            Err(error) => warn!(pool, path = route.name, "{error}"),
        }
        lock(&disk.state).changing = false;
    }
}

/// Sends I/O by a path which is the last one. When it is the disk that fails, it fails by this one as well, and whoever stands
/// above must learn of it. In this order: what is held back would fail before it met the path.
fn try_out<E>(
    number: (u32, u32),
    mut tell: impl FnMut(&'static str, Option<(u32, u32)>) -> Result<(), E>,
) -> Result<(), E> {
    tell("reinstate_path", Some(number))?;
    tell("fail_if_no_path", None)
}

fn views(
    control: &Control,
    disk: &Joined,
    idle_since: Option<Instant>,
) -> Result<Vec<View>, PathsError> {
    let status = disk.device.status(control)?;
    let views = disk.routes.iter().map(|route| {
        let path = status.iter().find(|path| path.number == route.number);
        View {
            is_active: path.is_some_and(|path| path.is_active),
            under_way: path.map_or(0, |path| path.under_way),
            is_registered: route.is_in_use(),
            answers: !route.is_failing(),
            answered: idle_since.is_some_and(|at| route.has_answered_since(at)),
        }
    });
    Ok(views.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_back_meets_the_path_before_it_may_fail() {
        let mut told = Vec::new();
        let done: Result<(), ()> = try_out((8, 0), |what, number| {
            told.push((what, number));
            Ok(())
        });
        assert_eq!(done, Ok(()));
        let expected = [("reinstate_path", Some((8, 0))), ("fail_if_no_path", None)];
        assert_eq!(told, expected);
    }
}
