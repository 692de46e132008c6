//! A frame that its cable holds back, and hands over when much has happened since: while its sender lives, or when it
//! died, or booted anew, or when the receiver did.
//!
//! A cable keeps the order of what it carries, so what is sent on it meanwhile waits behind it, and is lost here. What
//! it would have told in the meantime the other cable tells, unless it is cut as well. Not a fault that explains a
//! takeover.

use std::sync::Arc;

use orthrus_hb::LinkId;

use crate::choice::Choice;
use crate::machine::Frame;
use crate::world::World;

/// A frame in a cable.
#[derive(Clone)]
pub struct Late {
    pub to: usize,
    pub link: LinkId,
    pub frame: Arc<Frame>,
}

impl World {
    /// What can be held back now.
    pub fn holds(&self, into: &mut Vec<Choice>) {
        for (who, machine) in self.machines.iter().enumerate() {
            for link in LinkId::ALL {
                if machine.inbox[link.index()].is_empty() {
                    continue;
                }
                into.push(Choice::Hold(who, link));
                if !machine.inbox[1 - link.index()].is_empty() {
                    into.push(Choice::HoldAlone(who, link));
                }
            }
        }
    }

    pub fn hold(&mut self, who: usize, link: LinkId) {
        self.budget.lates -= 1;
        let waiting = std::mem::take(&mut self.machines[who].inbox[link.index()]);
        let frame = waiting.into_iter().next();
        self.late = frame.map(|frame| Late {
            to: who,
            link,
            frame,
        });
    }

    pub fn deliver(&mut self) {
        if let Some(Late { to, link, frame }) = self.late.take() {
            self.machines[to].inbox[link.index()].push_back(frame);
        }
    }

    /// Whether a cable carries what this head sends now.
    pub fn is_carried(&self, who: usize, link: LinkId) -> bool {
        let held = self
            .late
            .as_ref()
            .is_some_and(|late| late.to == 1 - who && late.link == link);
        self.carries[who][link.index()] && !held
    }
}
