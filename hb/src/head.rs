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

mod fingerprint;

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::action::{Action, Outcome, ResetReason};
use crate::command::{Accepted, Command, Refusal};
use crate::config::{Config, MAX_POOLS, PoolId, Timing};
use crate::fences::Fences;
use crate::ledger::Record;
use crate::link::LinkId;
use crate::message::{Inbox, Outbox, Piece};
use crate::peer::{Liveness, Peer, Word};
use crate::pool::{Pool, View, Wanted};
use crate::sight::{Ledger, LedgerState, Sight};
use crate::told::Told;
use crate::wire::{
    self, Body, FRAGMENT_MAX_BYTES, Frame, FrameError, Incarnation, PoolBeat, PoolState,
};
use crate::{Epoch, HeadId, Health};

/// Data bytes of a fragment on serial: with header and tag about 13 ms of the line, once a beat.
const SERIAL_FRAGMENT_BYTES: usize = 96;

/// Beats that may be unacknowledged before we say that the peer does not hear us on a link: its
/// acknowledgement is itself a beat old when it arrives.
const UNHEARD_WINDOW: u32 = 10;

/// Room for all that one input can cause: a job a pool, and a reset.
const ACTIONS_MAX: usize = 2 * MAX_POOLS;

/// Something worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pool changed its state on this head.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Before.
        from: PoolState,
        /// After.
        to: PoolState,
        /// The epoch it is in.
        epoch: Epoch,
    },
    /// A boot of the peer was heard for the first time.
    PeerBooted,
    /// The peer's liveness changed.
    Peer(Liveness),
    /// What a pool's ledger says of the peer changed.
    Ledger {
        /// The pool.
        pool: PoolId,
        /// What it says now.
        state: LedgerState,
    },
    /// A link fell silent or speaks again.
    Link {
        /// The link.
        link: LinkId,
        /// Whether the peer is heard on it.
        up: bool,
    },
    /// This head was late to run; the time is not counted as the peer's silence.
    Late(Duration),
}

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
    /// How far the peer was told this head's account of fences in its present boot; `None` before it acknowledged
    /// any frame on Ethernet, where that is told.
    told_fences: Option<Told>,
    actions: Deque<Action, ACTIONS_MAX>,
    events: Deque<Event, 32>,
    outbox: Outbox,
    inbox: Inbox,
    due: [Due; LinkId::ALL.len()],
    /// The pool that the next serial beat speaks of.
    rotation: usize,
    next_beat: Instant,
    last_input: Instant,
    last_timeout: Instant,
    /// It lets go of everything, to halt.
    retiring: bool,
    /// A reset was asked for; nothing else is.
    resetting: bool,
    // What the last events said, to find changes.
    told_liveness: Liveness,
    told_links: [bool; LinkId::ALL.len()],
    told_pools: [PoolState; MAX_POOLS],
    told_ledgers: [LedgerState; MAX_POOLS],
}

/// What a link still has to send.
#[derive(Clone, Copy, Default, Hash)]
struct Due {
    beat: bool,
    fragment: bool,
    received: Option<(u16, u16)>,
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
            told_fences: None,
            actions: Deque::new(),
            events: Deque::new(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            due: [Due {
                beat: true,
                ..Due::default()
            }; LinkId::ALL.len()],
            rotation: 0,
            next_beat: now,
            last_input: now,
            last_timeout: now,
            retiring: false,
            resetting: false,
            told_liveness: Liveness::Unheard,
            told_links: [false; LinkId::ALL.len()],
            told_pools: [PoolState::Standby; MAX_POOLS],
            told_ledgers: [LedgerState::Unread; MAX_POOLS],
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
        let view = self.view(id, now);
        let pool = self.pools.get_mut(id.index()).ok_or(Refusal::UnknownPool)?;
        let (accepted, wanted) = match command {
            Command::Handover(_) => pool.handover(&view).map(|(a, wanted)| (a, Some(wanted))),
            Command::Takeover(_) => pool.takeover(&view),
            Command::Giveback(_) => pool.giveback(&view),
            Command::Make(_) => pool.make(&view),
            Command::Destroy(_) => pool.destroy(&view).map(|(a, wanted)| (a, Some(wanted))),
            Command::Readmit => Err(Refusal::NotBarred),
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
            self.tell(Event::Late(elapsed));
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

    /// This head is about to halt: it offers every pool to the peer and claims nothing more. See
    /// [`Head::is_at_rest`].
    pub fn retire(&mut self, now: Instant) {
        self.notice_gap(now);
        self.retiring = true;
        self.settle(now);
    }

    /// Sends a message to the peer, in place of one that is still under way. `false` when it is
    /// longer than [`crate::MESSAGE_MAX_BYTES`].
    pub fn send_message(&mut self, bytes: &[u8]) -> bool {
        let taken = self.outbox.put(bytes);
        self.due.iter_mut().for_each(|due| due.fragment = taken);
        taken
    }

    // Outputs.

    /// What must be done now, in this order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A frame to send on a link: its bytes are in `buffer`, of at least
    /// [`wire::FRAME_MAX_BYTES`]. To be called for each link until it returns `None`.
    pub fn poll_transmit(
        &mut self,
        link: LinkId,
        now: Instant,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let due = self.due[link.index()];
        let rotation = self.rotation;
        let ages = self.fences.ages(now);
        let speak =
            |sequence: u32, body: Body<'_>, peer: &Peer, config: &Config, buffer: &mut [u8]| {
                let [_, cluster @ ..] = config.cluster.bits().to_be_bytes();
                let (acknowledged, lag) = peer.acknowledged(link, config.timing.dead, now);
                let frame = Frame {
                    version: wire::VERSION,
                    cluster,
                    sender: config.me,
                    incarnation: self.me,
                    echo: peer.echo(config.timing.dead, now),
                    sequence,
                    acknowledged,
                    body,
                    fences: (link == LinkId::Ether).then_some(ages),
                    lag,
                };
                wire::encode(&frame, link, &config.secret, buffer).ok()
            };
        let sequence = self.peer.next_number();
        let length = if due.beat {
            self.due[link.index()].beat = false;
            let told = match link {
                LinkId::Serial => {
                    self.rotation = (rotation + 1) % self.pools.len().max(1);
                    self.pools.get_mut(rotation..=rotation).unwrap_or_default()
                }
                LinkId::Ether => {
                    if let Some(told) = &mut self.told_fences {
                        told.say(sequence);
                    }
                    self.pools.as_mut_slice()
                }
            };
            let mut pools = heapless::Vec::new();
            for pool in told {
                pool.said(link, sequence);
                let _ = pools.push(pool.beat()); // same capacity
            }
            let digest = self.config.digest.to_be_bytes();
            speak(
                sequence,
                Body::Beat { digest, pools },
                &self.peer,
                &self.config,
                buffer,
            )
        } else if let Some((message, have)) = due.received {
            self.due[link.index()].received = None;
            let body = Body::Received { message, have };
            speak(sequence, body, &self.peer, &self.config, buffer)
        } else if due.fragment {
            self.due[link.index()].fragment = false;
            let max = self.fragment_bytes(link)?;
            let Piece {
                message,
                total,
                offset,
                data,
            } = self.outbox.piece(max)?;
            let body = Body::Fragment {
                message,
                total,
                offset,
                data,
            };
            speak(sequence, body, &self.peer, &self.config, buffer)
        } else {
            None
        }?;
        self.peer.links[link.index()].send(sequence);
        Some(length)
    }

    /// A record to write to the ledger of a pool that this head holds, when one is due. To be asked for every
    /// pool after every input; a record replaces one that still waits to be written.
    pub fn poll_record(&mut self, pool: PoolId, now: Instant) -> Option<Record> {
        let interval = self.config.timing.ledger_beat;
        let (head, incarnation) = (self.config.me, self.me);
        let pool = self.pools.get_mut(pool.index())?;
        pool.record(head, incarnation, interval, now)
    }

    /// A message of the peer, once, when it has arrived whole.
    pub fn poll_message(&mut self) -> Option<&[u8]> {
        self.inbox.take()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Head::handle_timeout`]. All deadlines of the core are looked at once a beat,
    /// so this is the next beat.
    pub fn poll_timeout(&self) -> Instant {
        self.next_beat
    }

    // Getters.

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The pools, in the order of the configuration.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The peer, as heard.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the peer is alive, as of the last input.
    pub fn liveness(&self) -> Liveness {
        match self.peer.liveness(self.config.timing.dead) {
            Liveness::Alive => Liveness::Alive,
            // A tick on the disks of any pool is its heartbeat's.
            _ if self
                .pool_ids()
                .any(|pool| self.ledger(pool) == LedgerState::Ticking) =>
            {
                Liveness::LinksLost
            }
            silent => silent,
        }
    }

    /// What the ledger of a pool says of the peer, as of the last input.
    pub fn ledger(&self, pool: PoolId) -> LedgerState {
        let Timing {
            ledger_dead,
            ledger_unread,
            ..
        } = self.config.timing;
        let ledger = self.ledgers.get(pool.index());
        ledger.map_or(LedgerState::None, |ledger| {
            ledger.state(ledger_dead, ledger_unread, self.last_input)
        })
    }

    /// Whether the hardware watchdog may be fed: every lease that this head holds is renewed.
    pub fn may_feed_watchdog(&self, now: Instant) -> bool {
        self.pools.iter().all(|pool| pool.may_feed(now))
    }

    /// What the peer says of a pool, by cable or by the ledger, while it lives; as of the last input.
    pub fn word(&self, pool: PoolId) -> Option<PoolBeat> {
        self.living_word(pool).map(|word| word.beat)
    }

    fn living_word(&self, pool: PoolId) -> Option<Word> {
        match self.liveness() {
            Liveness::Alive => self.peer.word(pool.index()),
            Liveness::LinksLost if self.ledger(pool) == LedgerState::Ticking => {
                let ledger = self.ledgers.get(pool.index());
                let beat = ledger.and_then(|ledger| ledger.beat(pool));
                beat.map(Word::of_ledger)
            }
            Liveness::LinksLost | Liveness::Dead | Liveness::Unheard => None,
        }
    }

    /// How often a head was fenced within the last ten minutes, and whether it is barred for that.
    pub fn fences(&self, head: HeadId) -> (usize, bool) {
        let now = self.last_input;
        (
            self.fences.count(head, now),
            self.fences.is_barred(head, now),
        )
    }

    /// Whether a link carries frames of the peer to us, and ours to it: the one is known without the other.
    pub fn link_works(&self, link: LinkId) -> (bool, bool) {
        let link = self.peer.link(link);
        let up = link.is_up(self.config.timing.dead);
        (up, link.is_heard(UNHEARD_WINDOW))
    }

    /// Whether this head retired, and nothing of any pool is held here, nor on its way here.
    pub fn is_at_rest(&self) -> bool {
        self.retiring && self.pools.iter().all(Pool::is_at_rest)
    }

    /// Whether the peer runs another configuration file.
    pub fn digest_differs(&self) -> bool {
        self.peer
            .digest()
            .is_some_and(|theirs| theirs != self.config.digest.to_be_bytes())
    }

    /// This head's place in the configuration.
    pub fn me(&self) -> HeadId {
        self.config.me
    }

    // Inner workings.

    fn take_frame(&mut self, link: LinkId, bytes: &[u8], now: Instant) -> Result<(), FrameError> {
        let frame = match wire::decode(bytes, link, &self.config.secret) {
            Ok(frame) => frame,
            Err(error) => {
                let state = &mut self.peer.links[link.index()];
                state.rejected = state.rejected.wrapping_add(1);
                return Err(error);
            }
        };
        let [_, cluster @ ..] = self.config.cluster.bits().to_be_bytes();
        if frame.cluster != cluster || frame.sender != self.config.me.peer() {
            return Err(FrameError::Sender);
        }
        let dead = self.config.timing.dead;
        if self.peer.accept(&frame, link, self.me, dead, now)? {
            self.tell(Event::PeerBooted);
            self.told_fences = None;
            self.outbox.restart();
            self.inbox.restart();
        }
        if let Some(ages) = &frame.fences {
            let ether = self.peer.link(LinkId::Ether);
            // Counted from the first frame that it heard, which may have been sent long after this head heard it, and
            // may be none that tells of fences.
            if ether.acknowledged > 0 {
                self.told_fences.get_or_insert_default();
            }
            let heard = ether.acknowledged;
            let news = self.told_fences.is_none_or(|told| !told.is_heard(heard));
            self.fences.learn(ages, self.config.me, news, now);
        }
        match frame.body {
            Body::Beat { .. } => {}
            Body::Fragment {
                message,
                total,
                offset,
                data,
            } => {
                let piece = Piece {
                    message,
                    total,
                    offset,
                    data,
                };
                self.due[link.index()].received = self.inbox.put(&piece);
            }
            Body::Received { message, have } => {
                self.due[link.index()].fragment |= self.outbox.received(message, have);
            }
        }
        Ok(())
    }

    /// Fragments go over Ethernet while it works: serial is kept for beats.
    fn fragment_bytes(&self, link: LinkId) -> Option<usize> {
        let dead = self.config.timing.dead;
        match link {
            LinkId::Ether => Some(FRAGMENT_MAX_BYTES),
            LinkId::Serial if self.peer.link(LinkId::Ether).is_up(dead) => None,
            LinkId::Serial => Some(SERIAL_FRAGMENT_BYTES),
        }
    }

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
        if !self.fences.is_barred(peer, now) {
            return Err(Refusal::NotBarred);
        }
        self.fences.forget(peer);
        self.due.iter_mut().for_each(|due| due.beat = true);
        Ok(Accepted::Readmitted)
    }

    fn view(&self, pool: PoolId, now: Instant) -> View {
        let Timing { barred_dead, .. } = self.config.timing;
        let (liveness, ledger) = (self.liveness(), self.ledger(pool));
        let own = self.ledgers.get(pool.index());
        View {
            now,
            booted: self.booted,
            me: self.config.me,
            timing: self.config.timing,
            retiring: self.retiring,
            liveness,
            is_heard: LinkId::ALL.into_iter().any(|link| self.link_works(link).1),
            ledger,
            record: own.and_then(Ledger::newest),
            barred: self.fences.is_barred(self.config.me, now)
                && ledger != LedgerState::Silent
                && self.peer.silence() < barred_dead,
            peer_barred: self.fences.is_barred(self.config.me.peer(), now),
            yields: self.yields(),
            word: self.living_word(pool),
            last_word: self.peer.word(pool.index()),
            digest_differs: self.digest_differs(),
            mark: self.peer.next_number(),
        }
    }

    /// Both heads hold pools and cannot hear each other: the first one goes first.
    fn yields(&self) -> bool {
        let Timing {
            dead, duel_wait, ..
        } = self.config.timing;
        self.config.me == HeadId::Second
            && self.pools.iter().any(|pool| pool.held().is_some())
            && self.peer.silence() < dead + duel_wait
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
        let liveness = self.liveness();
        if liveness != self.told_liveness {
            self.told_liveness = liveness;
            self.tell(Event::Peer(liveness));
        }
        for pool in self.pool_ids() {
            let state = self.ledger(pool);
            if state != self.told_ledgers[pool.index()] {
                self.told_ledgers[pool.index()] = state;
                self.tell(Event::Ledger { pool, state });
            }
        }
        for link in LinkId::ALL {
            let up = self.peer.link(link).is_up(self.config.timing.dead);
            if up != self.told_links[link.index()] {
                self.told_links[link.index()] = up;
                self.tell(Event::Link { link, up });
            }
        }
        for index in 0..self.pools.len() {
            let pool = &self.pools[index];
            let (from, to, epoch) = (self.told_pools[index], pool.state(), pool.epoch());
            if from != to {
                self.told_pools[index] = to;
                self.tell(Event::Pool {
                    pool: PoolId(index as u8),
                    from,
                    to,
                    epoch,
                });
                // Say it now: the peer's next decision may depend on it.
                self.rotation = index;
                self.due.iter_mut().for_each(|due| due.beat = true);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        // The log is not worth more than the work: with nobody reading, the newest is dropped.
        let _ = self.events.push_back(event);
    }
}
