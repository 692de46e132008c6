//! Thin pools and the volumes in them (`lib/thin/thin.c`, `lib/metadata/thin_manip.c` of lvm2).
//!
//! What is to be made in the pool itself is a message in its segment, with the transaction number one up: whoever activates the pool
//! sends it to the kernel when the pool's own number is one behind, and then takes it out of the text
//! ([`Edit::settle_thin`]). So a crash between the two is made good by the next activation.
//!
//! A pool that grows gets more of both, of room for data and for metadata: how many of the latter a chunk takes depends on its snapshots,
//! and a pool whose metadata have run full takes no more of them before it is repaired (`maybe_resize_metadata_dev` of dm-thin.c).

use super::super::text::{Section, Value};
use super::space::Space;
use super::tree::{self, text, value};
use super::{Edit, EditError, Layout};

/// The smallest chunk and lvm2's default: 64 KiB, in sectors.
const CHUNK: u64 = 128;
/// Bytes of metadata for each chunk of data, as lvm2 reckons.
const META_EACH: u64 = 64;
/// lvm2 makes chunks larger before metadata get larger than this.
const META_WANTED: u64 = 128 << 20;
const META_LEAST: u64 = 2 << 20;
/// The most that lvm2 gives the kernel in any case, in sectors (`DM_THIN_MAX_METADATA_SIZE`): a bit less than 16 GiB.
const META_MOST: u64 = 255 * (1 << 14) * 8 - 256 * 1024;
/// Device numbers of a pool have 24 bits.
const MOST_DEVICE: u64 = (1 << 24) - 1;

/// How large a pool becomes, and how it lies on the members.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// Extents for data.
    pub extents: u64,
    /// Of the data.
    pub data: Layout,
    /// Of the metadata.
    pub metadata: Layout,
}

/// Extents of the metadata of a pool with so many extents of data, in chunks of so many sectors.
fn meta_extents(extents: u64, chunk: u64, extent: u64) -> u64 {
    let chunks = extents.saturating_mul(extent) / chunk;
    let bytes = chunks.saturating_mul(META_EACH).max(META_LEAST);
    bytes.div_ceil(extent.saturating_mul(512))
}

impl Edit<'_> {
    /// Adds a thin pool, and the spare for the repair of its metadata where there is none as large.
    ///
    /// # Errors
    /// The name, the size or the space.
    pub fn create_pool(&mut self, name: &str, size: PoolSize) -> Result<(), EditError> {
        self.check_name(name)?;
        let extent = self.extent_sectors()?;
        let sectors = size.extents.saturating_mul(extent);
        let mut chunk = CHUNK;
        while (sectors / chunk).saturating_mul(META_EACH) > META_WANTED && chunk < 2 << 20 {
            chunk *= 2;
        }
        let meta = meta_extents(size.extents, chunk, extent);
        let mut space = Space::of(&self.metadata, &[])?;
        let (data_part, meta_part) = (format!("{name}_tdata"), format!("{name}_tmeta"));
        self.spare(&mut space, meta)?;
        // The kernel formats metadata whose first block is zero, as that of every new volume is.
        self.build(&mut space, &meta_part, false, meta, size.metadata)?;
        let extents = self.build(&mut space, &data_part, false, size.extents, size.data)?;
        let segment = tree::section([
            ("start_extent", value(0)),
            ("extent_count", value(extents)),
            ("type", text("thin-pool")),
            ("metadata", text(meta_part)),
            ("pool", text(data_part)),
            ("transaction_id", value(0)),
            ("chunk_size", value(chunk)),
            ("discards", text("passdown")),
            ("zero_new_blocks", value(1)),
        ]);
        self.add_volume(name, true, vec![segment]);
        Ok(())
    }

    /// Adds so many extents to a pool, and to its metadata what they take, a quarter at least: whoever is told that these run full
    /// gets room for more of them.
    pub(super) fn append_pool(
        &mut self,
        space: &mut Space,
        name: &str,
        segment: &Section,
        more: u64,
    ) -> Result<(), EditError> {
        let part = |key| tree::word(segment, key).map(str::to_owned);
        let (Some(data), Some(meta), Some(chunk)) = (
            part("pool"),
            part("metadata"),
            tree::number(segment, "chunk_size").filter(|chunk| *chunk > 0),
        ) else {
            return Err(EditError::Malformed("a thin pool lacks a part of it"));
        };
        self.append(space, &data, more)?;
        let length = tree::extents(self.volume(&data)?);
        self.lengthen(name, length)?;
        let extent = self.extent_sectors()?;
        let has = tree::extents(self.volume(&meta)?);
        let wanted = meta_extents(length, chunk, extent).max(has + has.div_ceil(4));
        let wanted = wanted.min(META_MOST / extent);
        if wanted <= has {
            return Ok(());
        }
        self.append(space, &meta, wanted - has)?;
        let has = tree::extents(self.volume(&meta)?);
        let is_spare = |(name, _): (&str, _)| name.ends_with("_pmspare");
        // lvm2 can be told to do without one.
        let has_spare = self.metadata.volumes().any(is_spare);
        match has_spare {
            true => self.spare(space, has),
            false => Ok(()),
        }
    }

    fn spare(&mut self, space: &mut Space, extents: u64) -> Result<(), EditError> {
        let mut spares = self
            .metadata
            .volumes()
            .filter(|(name, _)| name.ends_with("_pmspare"));
        match spares.next() {
            Some((name, volume)) => {
                let (name, has) = (name.to_owned(), tree::extents(volume));
                drop(spares);
                if has < extents {
                    self.append(space, &name, extents - has)?;
                }
            }
            None => {
                drop(spares);
                self.build(space, "lvol0_pmspare", false, extents, Layout::Linear)?;
            }
        }
        Ok(())
    }

    /// Adds a volume of so many extents to a pool; none of them is taken yet.
    ///
    /// # Errors
    /// The name, the size, or no such pool.
    pub fn create_thin(&mut self, pool: &str, name: &str, extents: u64) -> Result<(), EditError> {
        self.thin(pool, name, extents, None)
    }

    /// Adds a snapshot of a thin volume to the volume's own pool.
    ///
    /// # Errors
    /// The name, or no such thin volume.
    pub fn snapshot_thin(&mut self, origin: &str, name: &str) -> Result<(), EditError> {
        let volume = self.volume(origin)?;
        let extents = tree::extents(volume);
        let pool = tree::segments(volume).find_map(|segment| tree::word(segment, "thin_pool"));
        let Some(pool) = pool.map(str::to_owned) else {
            return Err(self.wrong_kind(origin));
        };
        self.thin(&pool, name, extents, Some(origin))
    }

    fn thin(
        &mut self,
        pool: &str,
        name: &str,
        extents: u64,
        origin: Option<&str>,
    ) -> Result<(), EditError> {
        self.check_name(name)?;
        if extents == 0 || extents > u64::from(u32::MAX) {
            return Err(EditError::Size(format!("{extents} extents are no size")));
        }
        let taken = self
            .metadata
            .volumes()
            .flat_map(|(_, volume)| tree::segments(volume));
        let taken = taken.filter(|segment| tree::word(segment, "thin_pool") == Some(pool));
        let taken = taken.filter_map(|segment| tree::number(segment, "device_id"));
        let device = taken.max().unwrap_or(0) + 1;
        if device > MOST_DEVICE {
            return Err(EditError::Size(
                "the pool has used up its device numbers".to_owned(),
            ));
        }
        let transaction = self.pool_transaction(pool)?;
        let mut segment = tree::section([
            ("start_extent", value(0)),
            ("extent_count", value(extents)),
            ("type", text("thin")),
            ("thin_pool", text(pool)),
            ("transaction_id", value(transaction)),
            ("device_id", value(device)),
        ]);
        if let Some(origin) = origin {
            segment.insert("origin".to_owned(), text(origin));
        }
        self.message(pool, "create", text(name))?;
        self.add_volume(name, true, vec![segment]);
        Ok(())
    }

    /// Gives a thin volume what a snapshot of it has; the snapshot is no more then. What lvm2 ends with after a merge: the
    /// origin keeps its name and identity, and takes the snapshot's number in the pool.
    ///
    /// # Errors
    /// No such snapshot, or its origin is gone.
    pub fn restore_thin(&mut self, snapshot: &str) -> Result<(), EditError> {
        let in_use = |why: &str| {
            Err(EditError::InUse {
                lv: snapshot.to_owned(),
                why: why.to_owned(),
            })
        };
        let segment = tree::segments(self.volume(snapshot)?).next();
        let segment = segment.filter(|segment| tree::word(segment, "type") == Some("thin"));
        let Some(segment) = segment.cloned() else {
            return Err(self.wrong_kind(snapshot));
        };
        let Some(origin) = tree::word(&segment, "origin").map(str::to_owned) else {
            return in_use("is a snapshot of nothing that is there");
        };
        let Some(pool) = self.pool_of(snapshot) else {
            return Err(self.wrong_kind(snapshot));
        };
        for name in [snapshot, &origin] {
            let users = self.users(name);
            // Its pool names a volume as long as a message waits.
            if users.contains(&pool) {
                return in_use("or its origin is not made yet: activate its pool first");
            }
            // A snapshot names its origin.
            if !users.iter().all(|user| self.pool_of(user).is_some()) {
                return in_use("or its origin is used by another one");
            }
        }
        let taken = ["extent_count", "transaction_id", "device_id"];
        let volume = self.volume_mut(&origin)?;
        let target = tree::section_mut(volume, "segment1")
            .ok_or(EditError::Malformed("a thin volume has no segment"))?;
        let former = tree::number(target, "device_id")
            .ok_or(EditError::Malformed("a thin volume has no number"))?;
        for key in taken {
            if let Some(value) = segment.get(key) {
                target.insert(key.to_owned(), value.clone());
            }
        }
        target.shift_remove("origin");
        self.orphan(&origin);
        self.orphan(snapshot);
        self.drop_volumes(&[snapshot.to_owned()]);
        self.message(&pool, "delete", value(former))
    }

    /// Takes a thin volume back that the kernel was not told of: the transaction as well.
    ///
    /// # Errors
    /// More than that waits.
    pub fn abandon_thin(&mut self, name: &str) -> Result<(), EditError> {
        let Some(pool) = self.pool_of(name) else {
            return Err(self.wrong_kind(name));
        };
        let transaction = self.pool_transaction(&pool)?;
        let segment = self.pool_segment(&pool)?;
        let is_message = |key: &String| key.starts_with("message");
        let messages: Vec<&Section> = segment
            .iter()
            .filter_map(|(key, value)| match value {
                Value::Section(message) if is_message(key) => Some(message),
                _ => None,
            })
            .collect();
        match messages[..] {
            [message] if tree::word(message, "create") == Some(name) => {}
            _ => return Err(EditError::Malformed("a thin pool has other messages")),
        }
        segment.retain(|key, _| !is_message(key));
        segment.insert("transaction_id".to_owned(), value(transaction - 1));
        self.drop_volumes(&[name.to_owned()]);
        Ok(())
    }

    /// The thin pools that have messages, which the kernel has had when they are active.
    pub fn settle_all(&mut self) -> Result<(), EditError> {
        let waits = |volume: &Section| {
            tree::segments(volume).any(|s| s.keys().any(|key| key.starts_with("message")))
        };
        let pools = self
            .metadata
            .volumes()
            .filter(|(_, volume)| tree::kind(volume) == Some("thin-pool") && waits(volume));
        let pools: Vec<String> = pools.map(|(name, _)| name.to_owned()).collect();
        pools.iter().try_for_each(|pool| self.settle_thin(pool))
    }

    /// Puts a message into a pool's segment; the first one begins a transaction.
    pub(super) fn message(&mut self, pool: &str, key: &str, what: Value) -> Result<(), EditError> {
        let transaction = self.pool_transaction(pool)?;
        let segment = self.pool_segment(pool)?;
        let messages = segment
            .keys()
            .filter(|key| key.starts_with("message"))
            .count();
        if messages == 0 {
            segment.insert("transaction_id".to_owned(), value(transaction + 1));
        }
        let message = tree::section([(key, what)]);
        segment.insert(format!("message{}", messages + 1), Value::Section(message));
        Ok(())
    }

    /// The kernel has done what a pool's messages say.
    ///
    /// # Errors
    /// No such pool.
    pub fn settle_thin(&mut self, pool: &str) -> Result<(), EditError> {
        let segment = self.pool_segment(pool)?;
        segment.retain(|key, _| !key.starts_with("message"));
        Ok(())
    }

    fn pool_transaction(&mut self, pool: &str) -> Result<u64, EditError> {
        let segment = self.pool_segment(pool)?;
        tree::number(segment, "transaction_id").ok_or(EditError::Malformed(
            "a thin pool has no transaction number",
        ))
    }

    fn pool_segment(&mut self, pool: &str) -> Result<&mut Section, EditError> {
        if tree::kind(self.volume(pool)?) != Some("thin-pool") {
            return Err(self.wrong_kind(pool));
        }
        let volume = self.volume_mut(pool)?;
        tree::section_mut(volume, "segment1")
            .ok_or(EditError::Malformed("a thin pool has no segment"))
    }

    /// A volume is not of the kind that is wanted.
    pub(super) fn wrong_kind(&self, lv: &str) -> EditError {
        let volume = self.volume(lv).ok();
        EditError::Kind {
            lv: lv.to_owned(),
            kind: volume.and_then(tree::kind).unwrap_or("several").to_owned(),
        }
    }
}
