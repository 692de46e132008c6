//! The message channel between two heads whose frames get lost, late, doubled and played back, as a script says.
//!
//! Whatever comes out was put in, not before it; and once nothing is lost any more the last message arrives.

use embassy_time::{Duration, Instant};
use orthrus_hb::{
    ClusterId, Config, FRAME_MAX_BYTES, Head, HeadId, Incarnation, LinkId, MESSAGE_MAX_BYTES,
    Timing,
};

use crate::frame::SECRET;
use crate::input::Input;
use crate::seen::Seen;

/// Time after which everything has arrived: 3072 bytes in pieces of 96, a piece a beat.
const SETTLED_BEATS: u32 = 60;

/// Frames under way on one link; more are lost.
const UNDER_WAY_MAX: usize = 16;

struct End {
    head: Head,
    boots: u8,
    /// How many messages were put in at this end.
    put: u8,
    /// Those of them since its boot.
    since_boot: bool,
    /// The number of the last one that came out at the other end.
    out: Option<u8>,
}

struct Channel {
    ends: [End; 2],
    now: Instant,
    /// By sender and link.
    under_way: [[Vec<Vec<u8>>; LinkId::ALL.len()]; 2],
}

pub fn run(input: &[u8], seen: &mut Seen) {
    let mut channel = Channel::new();
    let mut input = Input(input);
    while !input.is_empty() {
        channel.step(&mut input, seen);
    }
    for _ in 0..SETTLED_BEATS {
        channel.beat();
        channel.deliver(seen);
    }
    for (who, end) in channel.ends.iter().enumerate() {
        if end.since_boot {
            assert_eq!(
                end.out,
                Some(end.put),
                "the last message of {who} never arrived"
            );
        }
    }
}

fn message(number: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![number; length.clamp(2, MESSAGE_MAX_BYTES)];
    // The last byte tells a message that was put together from two.
    *bytes.last_mut().unwrap() = !number;
    bytes
}

fn boot(who: usize, boots: u8, now: Instant) -> Head {
    let config = Config {
        cluster: ClusterId::from_name("test"),
        me: [HeadId::First, HeadId::Second][who],
        secret: SECRET,
        digest: 1,
        timing: Timing::default(),
        pools: heapless::Vec::new(),
    };
    Head::new(
        config,
        Incarnation([who as u8, boots, 0, 0, 0, 0, 0, 1]),
        now,
    )
}

impl Channel {
    fn new() -> Channel {
        let now = Instant::from_secs(1000);
        let end = |who| End {
            head: boot(who, 0, now),
            boots: 0,
            put: 0,
            since_boot: false,
            out: None,
        };
        Channel {
            ends: [end(0), end(1)],
            now,
            under_way: Default::default(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>, seen: &mut Seen) {
        let who = usize::from(input.byte() & 1);
        let link = input.pick(&LinkId::ALL);
        match input.byte() % 7 {
            0 => {
                let end = &mut self.ends[who];
                if end.put < 250 {
                    end.put += 1;
                    end.since_boot = true;
                    let length = usize::from(input.short()) % (MESSAGE_MAX_BYTES + 1);
                    assert!(end.head.send_message(&message(end.put, length)));
                    seen.note(format_args!("put about {}", length.next_power_of_two()));
                }
            }
            1 => self.beat(),
            2 => self.deliver(seen),
            3 => {
                let frames = &mut self.under_way[who][link.index()];
                if !frames.is_empty() {
                    frames.remove(0);
                    seen.note(format_args!("lost on {}", link.name()));
                }
            }
            4 => {
                let frames = &mut self.under_way[who][link.index()];
                if let Some(frame) = frames.first().cloned() {
                    frames.push(frame);
                    seen.note(format_args!("doubled on {}", link.name()));
                }
            }
            5 => {
                self.under_way[who][link.index()].reverse();
                seen.note(format_args!("turned round on {}", link.name()));
            }
            _ => {
                let end = &mut self.ends[who];
                end.boots = end.boots.wrapping_add(1);
                end.head = boot(who, end.boots, self.now);
                (end.since_boot, end.out) = (false, None);
                // It forgot what it was told, and may be told it again.
                self.ends[1 - who].out = None;
                // A boot takes longer than a cable holds a frame.
                self.under_way[who] = Default::default();
                seen.note(format_args!("boots"));
            }
        }
    }

    /// Both heads run, and say what they have to say.
    fn beat(&mut self) {
        self.now += Duration::from_millis(100);
        for end in &mut self.ends {
            end.head.handle_timeout(self.now);
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        for (who, end) in self.ends.iter_mut().enumerate() {
            for link in LinkId::ALL {
                let mut buffer = [0; FRAME_MAX_BYTES];
                while let Some(length) = end.head.poll_transmit(link, self.now, &mut buffer) {
                    let frames = &mut self.under_way[who][link.index()];
                    if frames.len() < UNDER_WAY_MAX {
                        frames.push(buffer[..length].to_vec());
                    }
                }
            }
        }
    }

    fn deliver(&mut self, seen: &mut Seen) {
        for who in [0, 1] {
            for link in LinkId::ALL {
                for frame in std::mem::take(&mut self.under_way[who][link.index()]) {
                    let to = &mut self.ends[1 - who].head;
                    if let Err(error) = to.handle_frame(link, &frame, self.now) {
                        seen.note(format_args!("{error}"));
                    }
                    if let Some(bytes) = to.poll_message() {
                        let bytes = bytes.to_vec();
                        self.arrived(who, &bytes, seen);
                    }
                }
            }
        }
        self.transmit();
    }

    fn arrived(&mut self, from: usize, bytes: &[u8], seen: &mut Seen) {
        let end = &mut self.ends[from];
        let number = bytes[0];
        assert_eq!(
            bytes,
            message(number, bytes.len()),
            "a message that was never put in"
        );
        assert!(number <= end.put);
        assert!(
            end.out.is_none_or(|out| out < number),
            "{number} after {:?}",
            end.out
        );
        end.out = Some(number);
        seen.note(format_args!(
            "arrived about {}",
            bytes.len().next_power_of_two()
        ));
    }
}
