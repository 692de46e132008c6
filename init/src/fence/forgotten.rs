//! How a head that comes later knows that a shelf forgot its reservations. The owner under which that happens resets and can
//! write it down nowhere: it holds nothing any more.
//!
//! A disk itself keeps no trace: it looks as if nobody had ever registered. But
//!
//! - PRGENERATION begins at zero with each power-on and grows with each registration, so zero means that since then nobody
//!   came, and nobody left either;
//! - an owner writes into the ledger that it lets go before it takes a key off. So a newest record that says *importing*
//!   or *serving* is of a claim that held all members, and as a rule was not let go.
//!
//! Both together mean, most likely, that the registrations went with the power. This serves for words alone, and where there
//! is a reason to doubt nothing is said: of a pool without a ledger, whose stamp is the same after an orderly release; of a claim
//! or a release that was under way, which may have had a part of the disks only; where a key or the stamp is of a newer epoch than
//! the record, so that the record is not the last that happened.
//!
//! What it cannot know, and why the words say no more than *most likely*, is how the registrations went when what took them left
//! no trace that is still there:
//!
//! - an import that fails before the ledger says more is undone, and the last record may stay *importing*;
//! - a claim that fails and is let go writes no record and no stamp. The newest record is then the one of the owner whose keys it
//!   removed. PRGENERATION tells, until the power goes;
//! - somebody took the registrations away by hand, and the power went afterwards.

use orthrus_hb::ledger::Record;
use orthrus_hb::{ClusterId, Epoch, PoolState};

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
    /// The members that seem to have forgotten the last owner. `stamped` is the epoch that the metadata have; `last` reads the newest
    /// record of the ledger, and is asked only if a disk looks so.
    pub fn forgotten(
        &self,
        survey: &Survey,
        (cluster, stamped): (ClusterId, Epoch),
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
        let again = self.survey();
        let known = [survey, &again].map(|survey| survey.greatest_epoch(cluster));
        if known.into_iter().any(|epoch| epoch > record.epoch) || stamped > record.epoch {
            return None;
        }
        let blank = again
            .disks
            .into_iter()
            .filter(is_blank)
            .map(|disk| disk.name);
        let disks: Vec<String> = blank.collect();
        (!disks.is_empty()).then_some(Forgotten { disks, record })
    }
}

/// Nobody is registered, and nobody was since its power came on.
fn is_blank(disk: &DiskSurvey) -> bool {
    let seen = disk.seen.as_ref();
    seen.is_ok_and(|seen| seen.keys.is_empty() && seen.holder.is_none() && seen.generation == 0)
}
