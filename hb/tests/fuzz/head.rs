//! Frames, and whatever else a head can be told, into a live head. An input is a script: a byte names a step, those
//! behind it are its arguments. The peer is the script's: it has the secret, its frames are well numbered, and what
//! is in them is anything.
//!
//! What must hold whatever comes:
//!
//! - nothing panics, and no loop over outputs goes on without end;
//! - a frame that is refused changes no pool, no state of the peer, and asks for nothing;
//! - epochs never go back, and no claim uses a number that was used or seen before (I5);
//! - no claim while the living peer says that it may hold the pool, and none by right of a death while it lives (I4);
//! - everything that is sent decodes, and a serial beat fits its line;
//! - nothing follows a reset.

use embassy_time::{Duration, Instant};
use orthrus_hb::ledger::{self, Lease};
use orthrus_hb::wire::{
    self, Body, Frame, FrameError, Lag, PoolBeat, SERIAL_BEAT_MAX_BYTES, TAG_BYTES, VERSION, Wish,
};
use orthrus_hb::{
    Action, Authority, ClusterId, Command, Config, Done, Epoch, FRAME_MAX_BYTES, Failure, Fault,
    Head, HeadId, Health, Holder, Incarnation, Job, LinkId, Liveness, MESSAGE_MAX_BYTES, Outcome,
    PoolConfig, PoolId, PoolState, Rest, Sight, Ticket, Timing, Work,
};

use crate::frame::SECRET;
use crate::input::Input;
use crate::ledger as record;
use crate::seen::Seen;
use crate::tag;

const POOLS: usize = 2;
const BEAT: Duration = Duration::from_millis(100);
const ME: Incarnation = Incarnation([7; 8]);

/// More outputs than one input can cause.
const OUTPUTS_MAX: usize = 64;

const STATES: [PoolState; 6] = [
    PoolState::Standby,
    PoolState::Claiming,
    PoolState::Importing,
    PoolState::Serving,
    PoolState::Releasing,
    PoolState::Faulted,
];

/// Numbers of the steps, for scripts that are written by hand.
pub mod step {
    pub const BEATS: u8 = 0;
    pub const TALK: u8 = 1;
    pub const SAY: u8 = 2;
    pub const BODY: u8 = 3;
    pub const CONTENT: u8 = 4;
    pub const JUNK: u8 = 5;
    pub const REPLAY: u8 = 6;
    pub const OUTCOME: u8 = 7;
    pub const COMMAND: u8 = 8;
    pub const MESSAGE: u8 = 9;
    pub const FRAGMENT: u8 = 10;
    pub const RECEIVED: u8 = 11;
    pub const FENCE_LOST: u8 = 12;
    pub const GAP: u8 = 13;
    pub const PEER_BOOTS: u8 = 14;
    pub const RETIRE: u8 = 15;
    pub const LEDGER: u8 = 16;
    pub const NO_LEDGER: u8 = 17;
    pub const HEALTH: u8 = 18;
    pub const RECORDED: u8 = 19;
    pub const STEPS: u8 = 20;
}

/// What a refused frame must not change.
type Snapshot = (
    [(PoolState, Epoch, Option<Rest>, Option<Fault>); POOLS],
    Liveness,
    Option<Incarnation>,
    Option<[u8; 4]>,
    [Option<PoolBeat>; POOLS],
);

struct Script<'a> {
    input: Input<'a>,
    head: Head,
    now: Instant,
    peer: Incarnation,
    words: [PoolBeat; POOLS],
    sequence: [u64; LinkId::ALL.len()],
    /// Our last sequence number that the peer heard.
    heard: [u64; LinkId::ALL.len()],
    last_good: Option<(LinkId, Vec<u8>)>,
    jobs: Vec<Job>,
    /// Greatest epoch claimed, or told by a survey, by pool.
    greatest: [Epoch; POOLS],
    epochs: [Epoch; POOLS],
    /// Number of the last record for the ledger, by pool.
    records: [u64; POOLS],
    reset: bool,
}

pub fn run(input: &[u8], seen: &mut Seen) {
    let mut script = Script::new(Input(input));
    while !script.input.is_empty() && !script.reset {
        script.step(seen);
    }
}

impl<'a> Script<'a> {
    fn new(mut input: Input<'a>) -> Script<'a> {
        let me = input.pick(&[HeadId::First, HeadId::Second]);
        let now = Instant::from_secs(1000);
        let home = [HeadId::First, HeadId::Second];
        let config = Config {
            cluster: ClusterId::from_name("test"),
            me,
            secret: SECRET,
            digest: 1,
            timing: Timing::default(),
            pools: home.map(|home| PoolConfig { home }).into_iter().collect(),
        };
        let word = |pool| PoolBeat {
            pool,
            state: PoolState::Standby,
            epoch: Epoch::NONE,
            wish: Wish::None,
            health: Health::default(),
        };
        Script {
            input,
            head: Head::new(config, ME, now),
            now,
            peer: Incarnation([9, 0, 0, 0, 0, 0, 0, 0]),
            words: [word(0), word(1)],
            sequence: [0; LinkId::ALL.len()],
            heard: [0; LinkId::ALL.len()],
            last_good: None,
            jobs: Vec::new(),
            greatest: [Epoch::NONE; POOLS],
            epochs: [Epoch::NONE; POOLS],
            records: [0; POOLS],
            reset: false,
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        let number = self.input.byte() % step::STEPS;
        let before = self.states();
        let told = self.perform(number, seen);
        self.outputs(seen);
        for (from, to) in before.into_iter().zip(self.states()) {
            if from != to {
                seen.note(format_args!(
                    "{told} moves {} to {}",
                    from.name(),
                    to.name()
                ));
            }
        }
        let [one, other] = [0, 1].map(|index| {
            let pool = &self.head.pools()[index];
            let rest = match pool.rest() {
                None => "",
                Some(Rest::HeldByUnheardPeer(_)) => " though held",
                Some(Rest::Offered) => " and offers",
                Some(Rest::PeerHolds) => " behind the peer",
                Some(_) => " and waits",
            };
            (pool.state().name(), rest)
        });
        let alive = self.head.liveness();
        seen.step(
            told,
            format_args!("{}{} {}{} {alive:?}", one.0, one.1, other.0, other.1),
        );
    }

    fn states(&self) -> [PoolState; POOLS] {
        [0, 1].map(|index: usize| self.head.pools()[index].state())
    }

    /// One step; says what came of it.
    fn perform(&mut self, number: u8, seen: &mut Seen) -> &'static str {
        match number {
            step::BEATS => {
                self.pass(false, seen);
                "beats"
            }
            step::TALK => {
                self.pass(true, seen);
                "talk"
            }
            step::SAY => {
                let pool = self.input.byte() % POOLS as u8;
                self.words[usize::from(pool)] = PoolBeat {
                    pool: self.input.pick(&[pool, pool, pool, 8, 255]),
                    state: self.input.pick(&STATES),
                    epoch: self.epoch(),
                    wish: self.input.pick(&[Wish::None, Wish::Offer, Wish::Request]),
                    health: Health::default(),
                };
                "say"
            }
            step::BODY => {
                let link = self.link();
                let body = self.input.bytes();
                let mut content = self.header(link);
                content.extend_from_slice(body);
                self.frame(link, &content, seen)
            }
            step::CONTENT => {
                let link = self.link();
                let content = self.input.bytes().to_vec();
                self.frame(link, &content, seen)
            }
            step::JUNK => {
                let link = self.link();
                let junk = self.input.bytes();
                assert!(
                    self.hand_in(link, junk).is_err(),
                    "a frame without a tag counts"
                );
                "junk"
            }
            step::REPLAY => {
                if let Some((link, bytes)) = self.last_good.clone() {
                    assert!(self.hand_in(link, &bytes).is_err(), "a frame counts twice");
                }
                "replay"
            }
            step::OUTCOME => self.outcome(),
            step::COMMAND => {
                let pool = PoolId(self.input.pick(&[0, 1, 2, 255]));
                let command = self.input.pick(&[
                    Command::Handover,
                    Command::Takeover,
                    Command::Giveback,
                    Command::Make,
                    Command::Destroy,
                ]);
                match self.head.handle_command(command(pool), self.now) {
                    Ok(_) => "accepted",
                    Err(_) => "refused",
                }
            }
            step::MESSAGE => {
                let message = vec![7; usize::from(self.input.short()) % (MESSAGE_MAX_BYTES + 8)];
                let taken = self.head.send_message(&message);
                assert_eq!(taken, message.len() <= MESSAGE_MAX_BYTES);
                "message"
            }
            step::FRAGMENT => {
                let link = self.link();
                let (message, total, offset) =
                    (self.input.short(), self.input.short(), self.input.short());
                let data = self.input.bytes();
                let body = Body::Fragment {
                    message,
                    total,
                    offset,
                    data,
                };
                self.say(link, body, seen)
            }
            step::RECEIVED => {
                let link = self.link();
                let (message, have) = (self.input.short(), self.input.short());
                self.say(link, Body::Received { message, have }, seen)
            }
            step::FENCE_LOST => {
                let pool = PoolId(self.input.pick(&[0, 1, 2]));
                let epoch = self.epoch();
                self.head.handle_fence_lost(pool, epoch, self.now);
                "fence lost"
            }
            step::GAP => {
                self.now += Duration::from_millis(50) * u32::from(self.input.byte());
                "gap"
            }
            step::PEER_BOOTS => {
                self.peer.0[1] = self.peer.0[1].wrapping_add(1);
                self.sequence = [0; LinkId::ALL.len()];
                "peer boots"
            }
            step::LEDGER => {
                let pool = PoolId(self.input.pick(&[0, 1, 2]));
                let peer = ledger::decode(
                    &record::block(self.input.bytes()),
                    &record::place(),
                    &SECRET,
                );
                // The firmware picks the peer's out of what it read.
                let peer = peer.ok().filter(|record| record.head != self.head.me());
                let begun = self.now - Duration::from_millis(10) * u32::from(self.input.byte());
                self.head
                    .handle_ledger(pool, &Sight { peer, begun }, self.now);
                "ledger read"
            }
            step::NO_LEDGER => {
                let pool = PoolId(self.input.pick(&[0, 1, 2]));
                self.head.handle_no_ledger(pool, self.now);
                "no ledger"
            }
            step::HEALTH => {
                let pool = PoolId(self.input.pick(&[0, 1, 2]));
                let bits = self.input.byte();
                let health = Health {
                    shelf: bits & 1 != 0,
                    network: bits & 2 != 0,
                };
                self.head.handle_health(pool, health, self.now);
                "health"
            }
            step::RECORDED => {
                let pool = PoolId(self.input.pick(&[0, 1, 2]));
                let back = u64::from(self.input.byte());
                let last = self.records.get(pool.index()).copied().unwrap_or_default();
                self.head
                    .handle_recorded(pool, last.saturating_sub(back), self.now);
                "recorded"
            }
            _ => {
                self.head.retire(self.now);
                "retire"
            }
        }
    }

    fn link(&mut self) -> LinkId {
        self.input.pick(&LinkId::ALL)
    }

    fn epoch(&mut self) -> Epoch {
        match self.input.byte() {
            255 => Epoch(u32::MAX),
            254 => Epoch(u32::MAX - 1),
            number => Epoch(u32::from(number)),
        }
    }

    /// Beats pass, in which the peer speaks or does not.
    fn pass(&mut self, talking: bool, seen: &mut Seen) {
        for _ in 0..=self.input.byte() {
            if self.reset {
                return;
            }
            self.now += BEAT;
            if talking {
                for link in LinkId::ALL {
                    let digest = 1_u32.to_be_bytes();
                    let pools = self.words.into_iter().collect();
                    self.say(link, Body::Beat { digest, pools }, seen);
                }
            }
            self.head.handle_timeout(self.now);
            self.outputs(seen);
        }
    }

    /// A frame of the peer, well formed.
    fn say(&mut self, link: LinkId, body: Body<'_>, seen: &mut Seen) -> &'static str {
        let frame = self.envelope(link, body);
        let content = plain(&frame);
        self.frame(link, &content, seen)
    }

    /// Its first boot, and every other one, is of a release of today, those between of the one before.
    fn version(&self) -> u8 {
        VERSION - self.peer.0[1] % 2
    }

    fn envelope<'b>(&mut self, link: LinkId, body: Body<'b>) -> Frame<'b> {
        let last = match self.version() {
            VERSION => self.sequence.into_iter().max().unwrap_or_default(),
            _ => self.sequence[link.index()],
        };
        self.sequence[link.index()] = last + 1;
        let (acknowledged, lag) = match self.version() {
            VERSION => Lag::of(self.heard),
            _ => (self.heard[link.index()], Lag::of([0, 0]).1),
        };
        let [_, cluster @ ..] = ClusterId::from_name("test").bits().to_be_bytes();
        Frame {
            version: self.version(),
            cluster,
            sender: self.head.me().peer(),
            incarnation: self.peer,
            echo: Some(ME),
            sequence: self.sequence[link.index()],
            acknowledged,
            body,
            fences: None,
            takes_fences: false,
            lag: (self.version() == VERSION).then_some(lag),
        }
    }

    /// Everything of a frame before its body.
    fn header(&mut self, link: LinkId) -> Vec<u8> {
        let body = Body::Received {
            message: 0,
            have: 0,
        };
        let frame = Frame {
            lag: None,
            ..self.envelope(link, body)
        };
        let mut content = plain(&frame);
        content.truncate(content.len() - 3);
        content
    }

    /// Hands in a content with the right tag.
    fn frame(&mut self, link: LinkId, content: &[u8], seen: &mut Seen) -> &'static str {
        let bytes = tag::sealed(content, link, &SECRET);
        match self.hand_in(link, &bytes) {
            Ok(()) => {
                self.last_good = Some((link, bytes));
                "frame"
            }
            Err(error) => {
                match error {
                    FrameError::Version(_) => seen.note(format_args!("other version")),
                    error => seen.note(format_args!("{error}")),
                }
                "refused frame"
            }
        }
    }

    /// Hands in bytes, and holds the head to it that a refused frame changes nothing.
    fn hand_in(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), FrameError> {
        // Whatever this moment brings about by itself is behind us after this.
        let mut before = self.snapshot();
        for _ in 0..OUTPUTS_MAX {
            let _ = self.head.handle_frame(link, &[], self.now);
            let after = self.snapshot();
            if std::mem::replace(&mut before, after) == after {
                break;
            }
        }
        let actions = self.actions();
        let result = self.head.handle_frame(link, bytes, self.now);
        if result.is_err() {
            assert_eq!(self.snapshot(), before, "a refused frame has an effect");
            assert_eq!(
                self.actions(),
                [],
                "a refused frame sets something in motion"
            );
            assert_eq!(self.head.poll_message(), None);
        }
        for action in actions {
            self.act(action);
        }
        result
    }

    fn snapshot(&self) -> Snapshot {
        let (head, peer) = (&self.head, self.head.peer());
        (
            core::array::from_fn(|index| {
                let pool = &head.pools()[index];
                (pool.state(), pool.epoch(), pool.rest(), pool.fault())
            }),
            head.liveness(),
            peer.incarnation(),
            peer.digest(),
            core::array::from_fn(|pool| peer.word(pool).map(|word| word.beat)),
        )
    }

    /// The end of the job that is waited for longest, or of one that never was.
    fn outcome(&mut self) -> &'static str {
        let kind = self.input.byte() % 12;
        let epoch = self.epoch();
        let job = match self.jobs.is_empty() {
            true => return "no job",
            false => self.jobs.remove(0),
        };
        let mut outcome = Outcome {
            pool: job.pool,
            ticket: job.ticket,
            epoch: job.epoch,
            result: Err(Failure::Device),
        };
        let (told, result) = match (kind, job.work) {
            (0..=3, Work::Survey | Work::Inspect) => {
                let holder = match kind {
                    0 => Holder::Nobody,
                    1 | 2 => Holder::Peer(epoch),
                    _ => Holder::Stranger,
                };
                let greatest = &mut self.greatest[job.pool.index()];
                *greatest = (*greatest).max(epoch);
                (
                    "surveyed",
                    Ok(Done::Surveyed {
                        greatest: epoch,
                        holder,
                    }),
                )
            }
            (3, Work::Claim { .. }) => {
                let lease = Lease {
                    lease_ms: 1000,
                    watchdog_ms: 1000,
                    io_ms: 1000,
                    watchdog_armed: true,
                };
                (
                    "leased",
                    Ok(Done::Leased {
                        lease,
                        submitted: self.now,
                    }),
                )
            }
            (0..=2, Work::Claim { .. } | Work::Make) => ("claimed", Ok(Done::Claimed)),
            (0..=3, Work::Import) => ("imported", Ok(Done::Imported)),
            (0..=3, Work::Release | Work::Destroy) => ("released", Ok(Done::Released)),
            (4, _) => ("held by peer", Err(Failure::HeldByPeer(epoch))),
            (5, _) => ("stranger", Err(Failure::Stranger)),
            (6, _) => ("failed", Err(Failure::Refused)),
            (7, _) => ("failed", Err(Failure::Device)),
            (8, _) => ("senseless", Ok(Done::Claimed)),
            // Of another life.
            _ => {
                outcome.ticket = Ticket(job.ticket.0.wrapping_add(u32::from(kind)));
                self.jobs.insert(0, job);
                let before = self.snapshot();
                self.head.handle_outcome(&outcome, self.now);
                if self.actions_is_empty() {
                    assert_eq!(
                        self.snapshot().0.map(|pool| pool.1),
                        before.0.map(|pool| pool.1)
                    );
                }
                return "another outcome";
            }
        };
        outcome.result = result;
        self.head.handle_outcome(&outcome, self.now);
        told
    }

    fn actions_is_empty(&mut self) -> bool {
        let actions = self.actions();
        let none = actions.is_empty();
        for action in actions {
            self.act(action);
        }
        none
    }

    fn actions(&mut self) -> Vec<Action> {
        let actions: Vec<Action> = core::iter::from_fn(|| self.head.poll_action())
            .take(OUTPUTS_MAX)
            .collect();
        assert!(actions.len() < OUTPUTS_MAX, "actions without end");
        actions
    }

    fn act(&mut self, action: Action) {
        assert!(!self.reset, "{action:?} after a reset");
        let Action::Run(job) = action else {
            self.reset = true;
            return;
        };
        let authority = match job.work {
            Work::Claim { authority, .. } => Some(authority),
            Work::Make => Some(Authority::Free),
            _ => None,
        };
        if let Some(authority) = authority {
            let index = job.pool.index();
            let greatest = &mut self.greatest[index];
            assert!(job.epoch > *greatest, "I5: {job:?} after {greatest}");
            *greatest = job.epoch;
            let word = self.head.word(job.pool);
            assert!(
                !word.is_some_and(|word| word.state.may_hold()),
                "I4: {job:?} against {word:?}"
            );
            let alive = matches!(self.head.liveness(), Liveness::Alive | Liveness::LinksLost);
            assert!(
                !(alive && authority == Authority::PeerDead),
                "I4: {job:?} of a living peer"
            );
        }
        self.jobs.push(job);
    }

    /// Takes everything that the head puts out.
    fn outputs(&mut self, seen: &mut Seen) {
        for action in self.actions() {
            match action {
                Action::Run(job) => seen.note(format_args!("runs {:?}", job.work)),
                Action::Reset(reason) => seen.note(format_args!("resets by {reason:?}")),
            }
            self.act(action);
        }
        for (index, pool) in self.head.pools().iter().enumerate() {
            assert!(
                pool.epoch() >= self.epochs[index],
                "I5: pool {index} goes back to {}",
                pool.epoch()
            );
            self.epochs[index] = pool.epoch();
        }
        for link in LinkId::ALL {
            let mut buffer = [0; FRAME_MAX_BYTES];
            for count in 0.. {
                assert!(count < OUTPUTS_MAX, "frames without end");
                let Some(length) = self.head.poll_transmit(link, self.now, &mut buffer) else {
                    break;
                };
                let frame = wire::decode(&buffer[..length], link, &SECRET).unwrap();
                self.heard[link.index()] = frame.sequence;
                if link == LinkId::Serial && matches!(frame.body, Body::Beat { .. } | Body::Fences)
                {
                    assert!(length <= SERIAL_BEAT_MAX_BYTES, "{frame:?}");
                }
            }
        }
        for index in 0..POOLS {
            if let Some(record) = self.head.poll_record(PoolId(index as u8), self.now) {
                assert!(record.sequence > self.records[index], "{record:?} again");
                self.records[index] = record.sequence;
                let pool = &self.head.pools()[index];
                assert_eq!((record.state, record.epoch), (pool.state(), pool.epoch()));
                assert!(
                    pool.state().may_hold(),
                    "a record of a pool that is not held: {record:?}"
                );
                seen.note(format_args!("records {}", record.state.name()));
            }
        }
        if !self.head.may_feed_watchdog(self.now) {
            seen.note(format_args!("starves the watchdog"));
        }
        if let Some(message) = self.head.poll_message() {
            assert!(message.len() <= MESSAGE_MAX_BYTES);
            seen.note(format_args!(
                "message of about {}",
                message.len().next_power_of_two()
            ));
            assert_eq!(self.head.poll_message(), None, "a message comes twice");
        }
        let events = core::iter::from_fn(|| self.head.poll_event()).take(OUTPUTS_MAX);
        assert!(events.count() < OUTPUTS_MAX, "events without end");
    }
}

/// The content of a frame, without its tag.
pub fn plain(frame: &Frame<'_>) -> Vec<u8> {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let length = wire::encode(frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
    buffer[..length - TAG_BYTES].to_vec()
}
