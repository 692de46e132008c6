//! The heartbeat thread: the cables, the core and the watchdog, and nothing that can wait.
//!
//! It never touches a disk, never takes a lock that another thread may hold for long (it tries, and
//! goes on), and allocates nothing after its start. What must be waited for is done by workers,
//! which post [`Input`]s here. It alone feeds the hardware watchdog: a head whose heartbeat is stuck
//! is reset by it.

use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::{
    Action, Event, FRAME_MAX_BYTES, Head, Hearing, Job, LinkId, Liveness, MAX_POOLS, PoolId,
    ResetReason,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{error, info, warn};

use crate::clock;
use crate::fence::WatchSlot;
use crate::halt::Reset;
use crate::inbox::{Input, Inputs, Message};
use crate::ledger::{Ledger, News};
use crate::link::Cable;
use crate::net::Gate;
use crate::status::Snapshot;
use crate::watchdog::Watchdog;

/// Frames taken from one cable before the other things get their turn: a cable that babbles must
/// not keep the head from its deadline.
const FRAMES_MAX: usize = 64;

/// How long no disk of a pool may have been read back before its clients get no more answers. A path that comes back
/// may be a new one, whose writes meet conflicts: what they are answered by must not reach a client before the watch
/// has seen it, and reset. The watch looks twenty times in this time; one slow disk among others holds nobody up.
const SHELF_UNSEEN: Duration = Duration::from_secs(1);

/// What the heartbeat thread owns.
pub struct Reactor {
    /// The core.
    pub head: Head,
    /// The cables, by [`LinkId::index`]; `None` for one that could not be opened.
    pub cables: [Option<Box<dyn Cable>>; LinkId::ALL.len()],
    /// Jobs for the pools' workers, by pool.
    pub workers: Vec<SyncSender<Job>>,
    /// The pools' watches over their reservations, by pool.
    pub watches: Vec<WatchSlot>,
    /// The pools' ledgers, by pool.
    pub ledgers: Vec<Arc<Ledger>>,
    /// By pool: the last record that the core was told to be on its ledger.
    pub recorded: [u64; MAX_POOLS],
    /// The gates before the pools' service addresses, by pool; `None` where there is none.
    pub gates: Vec<Option<Gate>>,
    /// By pool: its clients are kept without answers, because none of its disks is seen. To say so once.
    pub unseen: [bool; MAX_POOLS],
    /// The hardware watchdog, if there is one.
    pub watchdog: Option<Watchdog>,
    /// The way out.
    pub reset: Reset,
    /// What consoles read.
    pub snapshot: Arc<Mutex<Snapshot>>,
    /// The peer's last message.
    pub mailbox: Arc<Mutex<Message>>,
    /// The pools' names, for the log.
    pub names: Vec<String>,
    /// What a watch found, for the last line before a reset.
    pub lost: heapless::String<96>,
}

impl Reactor {
    /// Runs for ever.
    pub fn run(mut self, inputs: &Inputs) -> ! {
        let mut frame = [0; FRAME_MAX_BYTES];
        loop {
            self.drain_cables(&mut frame);
            self.drain_inputs(inputs);
            self.look_at_watches();
            self.look_at_ledgers();
            let now = clock::now();
            self.keep_time(now);
            self.perform(now, &mut frame);
            self.publish();
            self.wait(inputs);
        }
    }

    fn drain_cables(&mut self, buffer: &mut [u8]) {
        for link in LinkId::ALL {
            for _ in 0..FRAMES_MAX {
                let Some(cable) = &mut self.cables[link.index()] else {
                    break;
                };
                match cable.receive(buffer) {
                    Ok(Some(length)) => {
                        // The core counts what it rejects; a line for each would drown the log.
                        let _ = self
                            .head
                            .handle_frame(link, &buffer[..length], clock::now());
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.lose(link, &error);
                        break;
                    }
                }
            }
        }
    }

    fn drain_inputs(&mut self, inputs: &Inputs) {
        inputs.clear_wake();
        while let Some(input) = inputs.next() {
            let now = clock::now();
            match input {
                Input::Outcome(outcome) => self.head.handle_outcome(&outcome, now),
                Input::Command(command, answer) => {
                    let answered = self.head.handle_command(command, now);
                    let _ = answer.try_send(answered); // the asker may have gone
                }
                Input::Health(pool, health) => self.head.handle_health(pool, health, now),
                Input::Message(message) => {
                    self.head.send_message(&message);
                }
                Input::Retire => self.head.retire(now),
                Input::Hang => {
                    warn!("rehearsal: the heartbeat thread stops here");
                    loop {
                        std::thread::park();
                    }
                }
            }
        }
    }

    /// A slot that is locked is being changed by its worker; the next look is at most a beat away.
    fn look_at_watches(&mut self) {
        for (index, slot) in self.watches.iter().enumerate() {
            let Ok(slot) = slot.try_lock() else { continue };
            let Some((epoch, watch)) = &*slot else {
                continue;
            };
            let lost = watch.lost();
            // Where nobody looks any more a loss would go unseen.
            if lost.is_some() || watch.is_blind() {
                self.lost.clear();
                // What does not fit is cut: the beginning names the disk.
                let _ = match lost {
                    Some(lost) => write!(self.lost, "{lost}"),
                    None => self
                        .lost
                        .push_str("nobody watches them")
                        .map_err(|_| fmt::Error),
                };
                self.head
                    .handle_fence_lost(PoolId(index as u8), *epoch, clock::now());
            }
        }
    }

    fn look_at_ledgers(&mut self) {
        for (index, ledger) in self.ledgers.iter().enumerate() {
            let pool = PoolId(index as u8);
            match ledger.news() {
                Some(News::Sight(sight)) => self.head.handle_ledger(pool, &sight, clock::now()),
                Some(News::NoLedger) => self.head.handle_no_ledger(pool, clock::now()),
                None => {}
            }
            if let Some(sequence) = ledger.recorded()
                && let Some(told) = self.recorded.get_mut(index)
                && *told != sequence
            {
                *told = sequence;
                self.head.handle_recorded(pool, sequence, clock::now());
            }
        }
    }

    /// What is due. The watchdog is fed with it and by nothing else, and not by a head one of whose leases is over: should it not
    /// get as far as to reset itself, this is what ends it.
    fn keep_time(&mut self, now: Instant) {
        if now >= self.head.poll_timeout() {
            self.head.handle_timeout(now);
            if self.head.may_feed_watchdog(now) {
                self.feed_watchdog();
            }
        }
    }

    fn feed_watchdog(&mut self) {
        if let Some(watchdog) = &self.watchdog
            && let Err(error) = watchdog.feed()
        {
            error!(%error, "the watchdog cannot be fed");
        }
    }

    /// For as long as the peer must be patient with us. Only after the core found no gap in our own running: after one
    /// somebody else may answer for the addresses.
    fn hold_gates(&mut self, now: Instant) {
        let end = now + self.head.config().timing.dead;
        for index in 0..self.head.pools().len() {
            let answers = self.answers(index);
            if let Some(Some(gate)) = self.gates.get(index)
                && answers
            {
                gate.hold_until(end);
            }
            self.say_unseen(index, answers);
        }
    }

    fn say_unseen(&mut self, pool: usize, answers: bool) {
        let states = self.head.pools();
        let is_held = states.get(pool).is_some_and(|pool| pool.state().answers());
        let (Some(before), Some(name)) = (self.unseen.get_mut(pool), self.names.get(pool)) else {
            return;
        };
        match (std::mem::replace(before, is_held && !answers), answers) {
            (false, false) if is_held => {
                warn!(
                    pool = name,
                    "none of its disks is seen: its clients are not answered"
                );
            }
            (true, true) => info!(
                pool = name,
                "its disks are seen again: its clients are answered"
            ),
            _ => {}
        }
    }

    /// Whether clients of a pool are to be answered.
    fn answers(&self, pool: usize) -> bool {
        let state = self.head.pools().get(pool).map(|pool| pool.state());
        state.is_some_and(|state| state.answers()) && self.sees_disks(pool)
    }

    /// A pool that is held by a lease has no watch: the lease is what ends it.
    fn sees_disks(&self, pool: usize) -> bool {
        // A slot that is locked is being changed by its worker: as before, for the moment.
        match self.watches.get(pool).map(|slot| slot.try_lock()) {
            Some(Ok(slot)) => slot
                .as_ref()
                .is_none_or(|(_, watch)| watch.sees_disks(SHELF_UNSEEN)),
            None | Some(Err(_)) => true,
        }
    }

    /// Actions first, a reset at once; then the gates; then frames; and jobs last, so that the peer has been told of
    /// a claim before a worker begins it.
    fn perform(&mut self, now: Instant, buffer: &mut [u8]) {
        let mut jobs = heapless::Vec::<Job, { 2 * MAX_POOLS }>::new();
        while let Some(action) = self.head.poll_action() {
            match action {
                Action::Reset(reason) => self.reset_now(reason),
                Action::Run(job) => {
                    // As large as the core's own queue.
                    let _ = jobs.push(job);
                }
            }
        }
        self.hold_gates(now);
        for link in LinkId::ALL {
            while let Some(length) = self.head.poll_transmit(link, now, buffer) {
                let Some(cable) = &mut self.cables[link.index()] else {
                    continue;
                };
                if let Err(error) = cable.send(&buffer[..length]) {
                    self.lose(link, &error);
                }
            }
        }
        for job in jobs {
            let sent = self
                .workers
                .get(job.pool.index())
                .map(|worker| worker.try_send(job));
            match sent {
                Some(Ok(())) => {}
                // A pool has one job at a time, so there is room unless a worker is gone.
                None | Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => {
                    self.reset.reset_now("a pool's worker is gone");
                }
            }
        }
        for (index, ledger) in self.ledgers.iter().enumerate() {
            let pool = PoolId(index as u8);
            ledger.offer(now, || self.head.poll_record(pool, now));
        }
        // The lock first: a message is given once, and one that is not taken in is not sent again.
        if let Ok(mut mailbox) = self.mailbox.try_lock()
            && let Some(message) = self.head.poll_message()
            && let Ok(message) = Message::from_slice(message)
        {
            *mailbox = message;
        }
        while let Some(event) = self.head.poll_event() {
            self.tell(event);
        }
    }

    /// A device that fails is reported once and not tried again: the link then counts as silent.
    /// A cable that is merely pulled is no error of its device.
    fn lose(&mut self, link: LinkId, error: &io::Error) {
        error!(link = link.name(), %error, "the link's device failed; not used until the next boot");
        self.cables[link.index()] = None;
    }

    fn reset_now(&self, reason: ResetReason) -> ! {
        let (why, pool) = match reason {
            ResetReason::FenceLost(pool) => ("lost the reservations of", Some(pool)),
            ResetReason::OwnGap => ("did not run for too long while holding a pool", None),
            ResetReason::Replaced(pool) => ("the peer serves, under a newer epoch,", Some(pool)),
            ResetReason::ClaimStuck(pool) => ("stuck in the claim of", Some(pool)),
            ResetReason::ImportStuck(pool) => ("stuck in the import of", Some(pool)),
            ResetReason::ReleaseStuck(pool) => ("stuck in the release of", Some(pool)),
            ResetReason::LeaseLost(pool) => ("no renewal in time of the lease on", Some(pool)),
        };
        let mut text = heapless::String::<160>::new();
        let name = pool
            .and_then(|pool| self.names.get(pool.index()))
            .map_or("", String::as_str);
        let _ = write!(text, "{why} {name} {}", self.lost);
        self.reset.reset_now(text.trim_end());
    }

    fn tell(&self, event: Event) {
        match event {
            Event::Pool {
                pool,
                from,
                to,
                epoch,
            } => {
                let pool = self.names.get(pool.index()).map_or("?", String::as_str);
                info!(pool, epoch = epoch.0, "{} -> {}", from.name(), to.name());
            }
            Event::PeerBooted => info!("the peer is heard, in a new boot of it"),
            Event::Peer(Liveness::Dead) => warn!("the peer is silent on every link"),
            Event::Peer(Liveness::LinksLost) => {
                warn!(
                    "every cable is silent and the peer's ledger ticks: it lives, nothing is moved"
                );
            }
            Event::Ledger { pool, state } => {
                let pool = self.names.get(pool.index()).map_or("?", String::as_str);
                info!(pool, "the peer's ledger: {}", state.name());
            }
            Event::Peer(Liveness::Alive) => info!("the peer is alive"),
            Event::Peer(Liveness::Unheard) => {}
            Event::Link { link, hearing } => match hearing {
                Hearing::Up => info!("link {} is up", link.name()),
                Hearing::Late => warn!(
                    "link {} delivers frames that are too late to vouch for the peer: a buffer in the line?",
                    link.name()
                ),
                Hearing::Silent | Hearing::Unheard => warn!("link {} is silent", link.name()),
            },
            Event::Late(late) => {
                warn!(
                    "the heartbeat ran {} ms late; not counted as silence",
                    late.as_millis()
                );
            }
        }
    }

    fn publish(&self) {
        // A console that is just reading gets the next one.
        if let Ok(mut snapshot) = self.snapshot.try_lock() {
            snapshot.take(&self.head, |pool| self.answers(pool));
        }
    }

    fn wait(&self, inputs: &Inputs) {
        let mut fds = heapless::Vec::<PollFd<'_>, 3>::new();
        let all = self.cables.iter().flatten().map(|cable| cable.fd());
        for fd in all.chain([inputs.wake()]) {
            push(&mut fds, fd);
        }
        let left = self
            .head
            .poll_timeout()
            .saturating_duration_since(clock::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: (left.as_micros() % 1_000_000) as i64 * 1000,
        };
        // EINTR and the like only make the loop look once more.
        let _ = poll(&mut fds, Some(&timeout));
    }
}

fn push<'a>(fds: &mut heapless::Vec<PollFd<'a>, 3>, fd: BorrowedFd<'a>) {
    // Two cables and the queue: it fits.
    let _ = fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
}

#[cfg(test)]
mod tests;
