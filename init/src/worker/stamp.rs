//! What the owner writes into the group's metadata before it activates anything: the cluster's system ID and the epoch.
//!
//! The first bytes that an owner writes: the claim was read back, its watch runs, and the metadata were read after it. A claim that finds
//! everything there already, on every disk, writes nothing.
//!
//! Decisions:
//! - It is the first step of an import and not the last one of a claim. A lease counts for the core only when the claim has
//!   ended; until then a write that hangs and goes on would be stopped by nobody.
//! - What cannot be stamped is served all the same, and `status` names it. Keys and ledger still carry the
//!   epoch, and a full metadata area or a bad sector is no reason to stop clients. Only a reservation conflict ends the
//!   import: it means that this head is fenced.

use orthrus_hb::Epoch;
use tracing::{info, warn};

use super::Worker;
use super::error::JobError;
use crate::clock;
use crate::fence::reservations::WriteRefused;
use crate::fence::{Lost, watch::Why};
use crate::sync::lock;
use crate::volume::system_id;
use crate::volume::write::stamp::{Stamp, Stamped};
use crate::volume::write::{Author, WriteError};

impl Worker {
    /// Stamps the claimed group, and brings what is known of it in line with what was written.
    pub(super) fn stamp(&mut self, epoch: Epoch) -> Result<(), JobError> {
        let author = self.author(format!("orthrus: claim under epoch {epoch}"));
        let Some(claim) = &mut self.claim else {
            return Err(JobError::NotClaimed(epoch));
        };
        let stamp = Stamp {
            system_id: system_id(&self.config.cluster),
            epoch,
            parity_in_use: !claim.group.lacking_parity().is_empty(),
            author,
        };
        let outcome = self.host.stamp(&claim.group, &stamp);
        match outcome {
            Ok(None) => {}
            Ok(Some(Stamped { metadata, written })) => {
                claim.group.seqno = written.seqno;
                claim.group.system_id = metadata.text("system_id").map(str::to_owned);
                claim.group.tags = metadata.tags().map(str::to_owned).collect();
                let (seqno, disks) = (written.seqno, written.disks);
                let pool = self.pool().name.as_str();
                info!(
                    pool,
                    epoch = epoch.0,
                    "the metadata of {disks} disks have the epoch, seqno {seqno}"
                );
                for failure in &written.failures {
                    let what = format!("{failure}: its copy of the metadata is behind");
                    self.note_metadata(what);
                }
            }
            Err(WriteError::Fenced(failure)) => {
                self.fenced(&failure.disk);
                return Err(WriteError::Fenced(failure).into());
            }
            Err(error) => self.note_metadata(format!("epoch {epoch} is not stamped: {error}")),
        }
        Ok(())
    }

    /// Who writes metadata here, and what for.
    pub(super) fn author(&self, description: String) -> Author {
        Author {
            host: self.config.head(self.me).name.clone(),
            // Zero where the clock was never set.
            time: clock::unix_ms().map_or(0, |ms| ms / 1000),
            description,
        }
    }

    /// A write of metadata met a reservation conflict. As the watch does: nothing more of ours may reach a disk.
    pub(super) fn fenced(&self, disk: &str) {
        (self.on_loss)(&Lost {
            disk: disk.to_owned(),
            why: Why::Write(WriteRefused::Conflict),
        });
    }

    pub(super) fn note_metadata(&self, what: String) {
        let mut report = lock(&self.report);
        if !report.notes.contains(&what) {
            warn!(pool = self.pool().name, "{what}");
            report.notes.push(what);
        }
    }
}
