//! What heads tell each other beside their beats: each message of one boot of a head reaches one boot of the other at most once, none
//! after a newer one, and the newest one reaches it when cables work. One that a newer one replaced may be lost.

use orthrus_hb::{Incarnation, MESSAGE_MAX_BYTES};

use crate::clock::{SECOND, Time};
use crate::world::World;

/// How long a message may be under way when all is well.
const UNDER_WAY: Time = 5 * SECOND;

/// What one head said and heard.
#[derive(Default)]
pub struct Messages {
    /// By each of its boots.
    said: Vec<(Incarnation, Vec<Said>)>,
    /// By the peer's boot: how many of its messages are over for this boot, heard or replaced by one that was.
    heard: Vec<(Incarnation, usize)>,
}

struct Said {
    at: Time,
    bytes: Vec<u8>,
}

impl Messages {
    /// A new boot has heard nothing. What an earlier one said may still be under way.
    pub fn booted(&mut self, incarnation: Incarnation) {
        self.heard.clear();
        self.said.push((incarnation, Vec::new()));
    }

    fn of(&self, incarnation: Incarnation) -> &[Said] {
        let mut boots = self.said.iter();
        boots
            .find(|(boot, _)| *boot == incarnation)
            .map_or(&[], |(_, said)| said)
    }

    fn over(&mut self, incarnation: Incarnation) -> &mut usize {
        let at = self.heard.iter().position(|(boot, _)| *boot == incarnation);
        let at = at.unwrap_or_else(|| {
            self.heard.push((incarnation, 0));
            self.heard.len() - 1
        });
        &mut self.heard[at].1
    }
}

impl World {
    /// It tells the peer something, as it does of its clients.
    pub fn say(&mut self, who: usize) {
        let now = self.now;
        let machine = &mut self.machines[who];
        if !machine.beats() {
            return;
        }
        let length = self.rng.index(MESSAGE_MAX_BYTES + 1);
        let first = self.rng.bits() as u8;
        let bytes: Vec<u8> = (0..length).map(|i| first.wrapping_add(i as u8)).collect();
        if let (Some(head), Some((_, said))) =
            (machine.head.as_mut(), machine.messages.said.last_mut())
        {
            assert!(head.send_message(&bytes), "no longer than the limit");
            said.push(Said { at: now, bytes });
        }
    }

    /// A message arrived.
    pub fn hear(&mut self, who: usize, message: &[u8]) {
        let head = self.machines[who].head.as_ref();
        let Some(of) = head.and_then(|head| head.peer().incarnation()) else {
            return self.checks.fail(format!("{who} has a message of nobody"));
        };
        let over = *self.machines[who].messages.over(of);
        let said = self.machines[1 - who].messages.of(of);
        let next = said[over..].iter().position(|said| said.bytes == message);
        let Some(next) = next else {
            let before = said[..over].iter().any(|said| said.bytes == message);
            let what = match before {
                true => "that it has heard, or a newer one before it",
                false => "that was never sent",
            };
            let length = message.len();
            let what = format!("{who} hears a message of {length} bytes {what}");
            return self.checks.fail(what);
        };
        *self.machines[who].messages.over(of) = over + next + 1;
    }

    /// All has been well for long.
    pub fn newest_messages_were_heard(&mut self) {
        for who in [0, 1] {
            let sender = &self.machines[who];
            let of = sender.incarnation;
            let said = sender.messages.of(of);
            let (count, newest) = (said.len(), said.last().map(|said| said.at));
            let over = *self.machines[1 - who].messages.over(of);
            if newest.is_some_and(|at| at + UNDER_WAY < self.now) && over < count {
                self.checks
                    .fail(format!("the newest message of {who} is never heard"));
            }
        }
    }
}
