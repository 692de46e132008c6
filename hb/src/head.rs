//! One head: the whole of the core behind four kinds of method.
//!
//! - `handle_*`: something happened. Frames ([`Head::handle_frame`]), outcomes of jobs
//!   ([`Head::handle_outcome`]), a lost reservation ([`Head::handle_fence_lost`]), a read of a pool's
//!   ledger ([`Head::handle_ledger`]), what of this head is broken ([`Head::handle_health`]), an operator
//!   ([`Head::handle_command`]), the deadline ([`Head::handle_timeout`]).
//! - `poll_*`: what follows from it. Actions first ([`Head::poll_action`]): a reset among them is done
//!   at once. Then frames are sent ([`Head::poll_transmit`]), and only then are the jobs handed to
//!   their workers: the peer relies on hearing of a claim before a key of it is on a disk. Then
//!   records for the pools' ledgers ([`Head::poll_record`]), messages of the peer ([`Head::poll_message`]), events for the log ([`Head::poll_event`]), and
//!   when to call [`Head::handle_timeout`] ([`Head::poll_timeout`]).
//! - commands, which answer at once whether they were accepted.
//! - getters, which change nothing.
//!
//! The caller hands in every frame that is waiting before it calls [`Head::handle_timeout`]: only
//! then is a link's silence the peer's and not the caller's. `now` never goes back.
//!
//! Here is what goes in and what is decided from it; in `hear` and `speak` the frames of the peer and to it, in `outlook` what
//! is known when something is decided, in `event` what the log is told.

mod event;
mod fingerprint;
mod hear;
mod outlook;
mod speak;

pub use event::Event;

use event::Events;
use speak::Due;

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::action::{Action, Outcome, ResetReason};
use crate::command::{Accepted, Command, Refusal};
use crate::config::{Config, MAX_POOLS, PoolId};
use crate::fences::Fences;
use crate::ledger::Record;
use crate::link::LinkId;
use crate::message::{Inbox, Outbox};
use crate::peer::Peer;
use crate::pool::{Pool, Wanted};
use crate::sight::{Ledger, Sight};
use crate::told::Told;
use crate::wire::{FrameError, Incarnation};
use crate::{Epoch, Health};

/// Room for all that one input can cause: a job a pool, and a reset.
const ACTIONS_MAX: usize = 2 * MAX_POOLS;

/// One head.
#[derive(Clone)]
pub struct Head {
    config: Config,
    me: Incarnation,
    booted: Instant,
    peer: Peer,
    pools: heapless::Vec<Pool, MAX_POOLS>,
    /// By pool.
    ledgers: [Ledger; MAX_POOLS],
    fences: Fences,
    /// By link: how far the peer was told this head's account of fences in its present boot; `None` before it acknowledged
    /// any frame there.
    told_fences: [Option<Told>; LinkId::ALL.len()],
    /// And the number of its first frame that it is known to have sent after it had heard it.
    fences_heard: Option<u64>,
    /// Number of the frame that told the peer's account last; zero before the first.
    fences_learnt: u64,
    /// One of the two tells of a fence, or did in this boot of the peer: it is told on serial, then and thereafter, so that whoever
    /// was readmitted hears of it.
    counts_fences: bool,
    actions: Deque<Action, ACTIONS_MAX>,
    outbox: Outbox,
    inbox: Inbox,
    due: [Due; LinkId::ALL.len()],
    /// The pool that the next serial beat speaks of, if none is in `unsaid`; behind the last one it is the turn of the fences.
    rotation: usize,
    /// By pool: serial does not know yet what it became.
    unsaid: [bool; MAX_POOLS],
    next_beat: Instant,
    last_input: Instant,
    last_timeout: Instant,
    /// It lets go of everything, to halt.
    retiring: bool,
    /// A reset was asked for; nothing else is.
    resetting: bool,
    events: Events,
}

impl Head {
    /// A head that just booted. `incarnation` must be random.
    pub fn new(config: Config, incarnation: Incarnation, now: Instant) -> Head {
        let mut pools = heapless::Vec::new();
        for (index, pool) in config.pools.iter().enumerate() {
            // Same capacity on both sides.
            let _ = pools.push(Pool::new(PoolId(index as u8), pool.home, now));
        }
        Head {
            me: incarnation,
            booted: now,
            peer: Peer::new(),
            pools,
            ledgers: [Ledger::default(); MAX_POOLS],
            fences: Fences::default(),
            told_fences: [None; LinkId::ALL.len()],
            fences_heard: None,
            fences_learnt: 0,
            counts_fences: false,
            actions: Deque::new(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            due: [Due {
                beat: true,
                ..Due::default()
            }; LinkId::ALL.len()],
            rotation: 0,
            unsaid: [false; MAX_POOLS],
            next_beat: now,
            last_input: now,
            last_timeout: now,
            retiring: false,
            resetting: false,
            events: Events::new(),
            config,
        }
    }

    // Inputs.

    /// A frame arrived on a link.
    ///
    /// # Errors
    /// Why it does not count. Nothing but counters and, for an incarnation that has not heard us
    /// yet, our echo depends on such a frame.
    pub fn handle_frame(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), FrameError> {
        self.notice_gap(now);
        let result = self.take_frame(link, bytes, now);
        self.settle(now);
        result
    }

    /// A job ended.
    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Instant) {
        self.notice_gap(now);
        let view = self.view(outcome.pool, now);
        let Some(pool) = self.pools.get_mut(outcome.pool.index()) else {
            return;
        };
        let wanted = pool.handle_outcome(outcome, &view);
        if pool.take_fenced() {
            let age = Duration::from_ticks(0);
            self.fences.note(self.config.me.peer(), age, now);
        }
        self.want(wanted);
        self.settle(now);
    }

    /// A watcher read a reservation back and it is not ours any more, or a write met a conflict.
    pub fn handle_fence_lost(&mut self, pool: PoolId, epoch: Epoch, now: Instant) {
        self.notice_gap(now);
        let lost = self
            .pools
            .get(pool.index())
            .and_then(|pool| pool.fence_lost(epoch));
        self.want(lost.map(Wanted::Reset));
    }

    /// A read of a copy of a pool's ledger completed.
    pub fn handle_ledger(&mut self, pool: PoolId, sight: &Sight, now: Instant) {
        self.notice_gap(now);
        if let Some(ledger) = self.ledgers.get_mut(pool.index()) {
            ledger.see(sight, self.config.timing.ledger_dead, now);
        }
        self.settle(now);
    }

    /// A pool has no ledger, as its metadata say.
    pub fn handle_no_ledger(&mut self, pool: PoolId, now: Instant) {
        self.notice_gap(now);
        if let Some(ledger) = self.ledgers.get_mut(pool.index()) {
            ledger.vanish();
        }
        self.settle(now);
    }

    /// A record of [`Head::poll_record`] is on a copy of the ledger.
    pub fn handle_recorded(&mut self, pool: PoolId, sequence: u64, now: Instant) {
        self.notice_gap(now);
        if let Some(pool) = self.pools.get_mut(pool.index()) {
            pool.recorded(sequence);
        }
        self.settle(now);
    }

    /// What of this head is broken, as far as a pool is concerned.
    pub fn handle_health(&mut self, pool: PoolId, health: Health, now: Instant) {
        self.notice_gap(now);
        let Some(pool) = self.pools.get_mut(pool.index()) else {
            return;
        };
        if pool.health() != health {
            pool.set_health(health);
            // The peer's next decision may depend on it.
            self.due.iter_mut().for_each(|due| due.beat = true);
        }
        self.settle(now);
    }

    /// An operator asks for something.
    ///
    /// # Errors
    /// Why it is not done. Nothing changed.
    pub fn handle_command(&mut self, command: Command, now: Instant) -> Result<Accepted, Refusal> {
        self.notice_gap(now);
        let id = match command {
            Command::Handover(id)
            | Command::Takeover(id)
            | Command::Giveback(id)
            | Command::Make(id)
            | Command::Destroy(id) => id,
            Command::Readmit => return self.readmit(now),
        };
        if self.retiring {
            return Err(Refusal::Retiring);
        }
        let view = self.view(id, now);
        let pool = self.pools.get_mut(id.index()).ok_or(Refusal::UnknownPool)?;
        let (accepted, wanted) = match command {
            Command::Handover(_) => pool.handover(&view).map(|(a, wanted)| (a, Some(wanted))),
            Command::Takeover(_) => pool.takeover(&view),
            Command::Giveback(_) => pool.giveback(&view),
            Command::Make(_) => pool.make(&view),
            Command::Destroy(_) => pool.destroy(&view).map(|(a, wanted)| (a, Some(wanted))),
            Command::Readmit => Err(Refusal::NotFenced),
        }?;
        self.want(wanted);
        self.settle(now);
        Ok(accepted)
    }

    /// The deadline of [`Head::poll_timeout`] has come, and every waiting frame was handed in.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.notice_gap(now);
        let elapsed = now.saturating_duration_since(self.last_timeout);
        self.last_timeout = now;
        // Time in which we did not run says nothing about the peer: frames may have been dropped
        // for want of a reader. Two beats are let pass as ordinary lateness.
        let beat = self.config.timing.beat;
        let on_time = elapsed <= beat * 2;
        // Worth a line when it comes near to what would be taken for a death.
        if elapsed >= self.config.timing.dead / 2 {
            self.events.tell(Event::Late(elapsed));
        }
        self.peer.pass(if on_time { elapsed } else { beat });
        if now >= self.next_beat {
            // Not `next_beat + beat`: after a late run that would send a burst.
            self.next_beat = now + beat;
            for due in &mut self.due {
                due.beat = true;
                due.fragment = true;
            }
        }
        self.settle(now);
    }

    /// This head is about to halt: it offers every pool to the peer and claims nothing more. What is being taken or imported is let
    /// go as soon as that has ended, each of which has its limit. There is no way back but a boot. See [`Head::is_at_rest`].
    pub fn retire(&mut self, now: Instant) {
        self.notice_gap(now);
        self.retiring = true;
        // Nobody must hand anything to it from now on.
        self.unsaid[..self.pools.len()].fill(true);
        self.due.iter_mut().for_each(|due| due.beat = true);
        self.settle(now);
    }

    // Outputs.

    /// What must be done now, in this order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A record to write to the ledger of a pool that this head holds, when one is due. To be asked for every
    /// pool after every input; a record replaces one that still waits to be written.
    pub fn poll_record(&mut self, pool: PoolId, now: Instant) -> Option<Record> {
        let interval = self.config.timing.ledger_beat;
        let (head, incarnation) = (self.config.me, self.me);
        let pool = self.pools.get_mut(pool.index())?;
        pool.record(head, incarnation, interval, now)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// When to call [`Head::handle_timeout`]. All deadlines of the core are looked at once a beat,
    /// so this is the next beat.
    pub fn poll_timeout(&self) -> Instant {
        self.next_beat
    }

    // Inner workings.

    /// A gap in our own running: while it lasted the peer may have replaced us, and what our
    /// workers wait to write must not be written.
    fn notice_gap(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_input);
        self.last_input = now;
        if gap >= self.config.timing.dead && self.pools.iter().any(|pool| pool.held().is_some()) {
            self.want(Some(Wanted::Reset(ResetReason::OwnGap)));
        }
    }

    fn pool_ids(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..self.pools.len()).map(|index| PoolId(index as u8))
    }

    fn readmit(&mut self, now: Instant) -> Result<Accepted, Refusal> {
        let peer = self.config.me.peer();
        if self.fences.count(peer, now) == 0 {
            return Err(Refusal::NotFenced);
        }
        self.fences.forget(peer);
        self.due.iter_mut().for_each(|due| due.beat = true);
        Ok(Accepted::Readmitted)
    }

    fn want(&mut self, wanted: Option<Wanted>) {
        let action = match wanted {
            None => return,
            // Whatever else is decided: this head ends here, for the first reason it had.
            Some(_) if self.resetting => return,
            Some(Wanted::Run(job)) => Action::Run(job),
            Some(Wanted::Reset(reason)) => {
                self.resetting = true;
                self.actions.clear();
                Action::Reset(reason)
            }
        };
        // A pool has one job at a time and jobs are taken after every input: it fits.
        let _ = self.actions.push_back(action);
    }

    /// Lets every pool decide, then tells what changed.
    fn settle(&mut self, now: Instant) {
        for index in 0..self.pools.len() {
            let view = self.view(PoolId(index as u8), now);
            let wanted = self.pools[index].decide(&view);
            self.want(wanted);
        }
        self.tell_changes();
    }
}
