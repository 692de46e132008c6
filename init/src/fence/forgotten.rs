//! How a head that comes later knows that a shelf forgot its reservations. The owner under which that happens resets and can
//! write it down nowhere: it holds nothing any more.
//!
//! A disk itself keeps no trace: it looks as if nobody had ever registered. But
//!
//! - PRGENERATION begins at zero with each power-on and grows with each registration, so zero means that since then nobody
//!   came, and nobody left either;
//! - an owner writes into the ledger that it lets go before it takes a key off. So a newest record that says *importing*
//!   or *serving* is of a claim that held all members, and was never let go.
//!
//! Both together mean that the registrations went with the power. This serves for words alone, and whatever is not sure is
//! not said: of a pool without a ledger, whose stamp is the same after an orderly release; of a claim or a release that was
//! under way, which may have had a part of the disks only; once another claim was tried since, failed, and was undone.

use orthrus_hb::PoolState;
use orthrus_hb::ledger::Record;

use super::survey::DiskSurvey;
use super::{Fence, Survey};

/// Disks that lost their reservations with their power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The kernel's names of them.
    pub disks: Vec<String>,
    /// The last word of who held them.
    pub record: Record,
}

impl Fence {
    /// The members that forgot the last owner; `last` reads the newest record of the ledger, and is asked only if a disk looks so.
    pub fn forgotten(
        &self,
        survey: &Survey,
        last: impl FnOnce() -> Option<Record>,
    ) -> Option<Forgotten> {
        if !survey.disks.iter().any(is_blank) {
            return None;
        }
        let record = last()?;
        if !matches!(record.state, PoolState::Importing | PoolState::Serving) {
            return None;
        }
        // Again after the record: the peer may have claimed the disks, and said so, since the first look.
        let disks = self.survey().disks.into_iter();
        let blank = disks.filter(is_blank).map(|disk| disk.name);
        let disks: Vec<String> = blank.collect();
        (!disks.is_empty()).then_some(Forgotten { disks, record })
    }
}

/// Nobody is registered, and nobody was since its power came on.
fn is_blank(disk: &DiskSurvey) -> bool {
    let seen = disk.seen.as_ref();
    seen.is_ok_and(|seen| seen.keys.is_empty() && seen.holder.is_none() && seen.generation == 0)
}
