//! Thin volumes and their snapshots, made and unmade while the pool is served.
//!
//! ```text
//! make:     metadata with a message ─► read again ─► the thin pool is told, device ─► LUN ─► metadata without it
//! restore:  LUNs ─► devices ─► metadata with a message ─► read again ─► the thin pool is told, device ─► LUN ─► metadata without it
//! ```
//!
//! A thin pool's own metadata and the group's are two writes. Between them stands a message in the group's, which whoever
//! activates the pool next makes good (`volume::active`); it is taken out before the next change, which the kernel would
//! not be told of otherwise.

use tracing::warn;

use super::Worker;
use super::change::ChangeError;
use crate::volume::LogicalVolume;
use crate::volume::edit::VolumeOrder;
use crate::volume::group::SegmentKind;

impl Worker {
    /// Gives the origin of a thin snapshot what the snapshot has. Its clients lose it for that time: what they remember of
    /// its contents is not what it has then.
    pub(super) fn restore(
        &mut self,
        name: &str,
        order: &VolumeOrder,
    ) -> Result<String, ChangeError> {
        let origin = self
            .thin_origin(name)
            .ok_or_else(|| ChangeError::NoOrigin(name.to_owned()))?;
        self.give_back(&origin, name, order, |_| Ok(()))?;
        self.settle()?;
        Ok(format!("{origin} has what {name} had, which is no more"))
    }

    /// The volume that a thin one is a snapshot of.
    fn thin_origin(&self, name: &str) -> Option<String> {
        let group = self.group().ok()?;
        let volume = group.lvs.iter().find(|volume| volume.name == name)?;
        let origin = volume
            .segments
            .iter()
            .find_map(|segment| match &segment.kind {
                SegmentKind::Thin(thin) => thin.origin,
                _ => None,
            })?;
        Some(group.lvs.get(origin)?.name.clone())
    }

    /// Takes the messages out of the metadata that thin pools have had.
    pub(super) fn settle(&mut self) -> Result<(), ChangeError> {
        let waits = |volume: &LogicalVolume| {
            volume.segments.iter().any(|segment| {
                matches!(&segment.kind, SegmentKind::ThinPool(pool) if !pool.messages.is_empty())
            })
        };
        if !self.group()?.lvs.iter().any(waits) {
            return Ok(());
        }
        let author = self.author("orthrus: thin pools are told".to_owned());
        let written = self
            .host
            .edit(self.group()?, &author, &|edit| edit.settle_all());
        self.written(written)?;
        let group = self.read_group().map_err(Box::new)?;
        if let Some(claim) = &mut self.claim {
            claim.group = group;
        }
        Ok(())
    }

    /// A thin volume that was written down and cannot be used goes again, if its pool was not told of it; else it is
    /// there, and the next import, or change, goes on with it.
    pub(super) fn take_back_thin(&mut self, name: &str) {
        let undone = (|| {
            let group = self.read_group().map_err(Box::new)?;
            let pool = group
                .lvs
                .iter()
                .find(|volume| volume.name == name)
                .and_then(|volume| volume.segments.first())
                .and_then(|segment| match &segment.kind {
                    SegmentKind::Thin(thin) => group.lvs.get(thin.pool),
                    _ => None,
                });
            let Some(pool) = pool else { return Ok(()) };
            let wanted = pool
                .segments
                .iter()
                .find_map(|segment| match &segment.kind {
                    SegmentKind::ThinPool(pool) => Some(pool.transaction_id),
                    _ => None,
                });
            let made = self.host.pool_transaction(&group, &pool.name)?;
            if made.is_none() || made >= wanted {
                return Ok(());
            }
            let author = self.author(format!("orthrus: undo of making {name}"));
            let written = self
                .host
                .edit(&group, &author, &|edit| edit.abandon_thin(name));
            self.written(written)?;
            self.follow()
        })();
        if let Err(error) = undone {
            let error: ChangeError = error;
            warn!(
                pool = self.pool().name,
                "undo of making volume {name}: {error}"
            );
        }
    }
}
