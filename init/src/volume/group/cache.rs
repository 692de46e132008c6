//! Volumes with a cache (`lib/cache_segtype/cache.c`): on a pool of two volumes, or on one volume with two stretches.

use super::entries::{Entries, Names};
use super::error::{GroupError, nonsense};
use crate::volume::text::Value;
use crate::volume::uuid::Uuid;

/// Sectors of a block of a cache, least and most.
const CHUNK_SECTORS: std::ops::RangeInclusive<u32> = 64..=2_097_152;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// When it is on the origin too.
    Writethrough,
    /// When it is in the cache.
    Writeback,
    /// The cache is not used, and kept right.
    Passthrough,
}

/// How a cache works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Sectors of a block.
    pub chunk_sectors: u32,
    /// When a write counts as done.
    pub mode: CacheMode,
    /// Format 2 of the cache's metadata.
    pub is_format2: bool,
    /// What decides which blocks are cached.
    pub policy: String,
    /// Its settings, in the order of the metadata.
    pub settings: Vec<(String, u64)>,
}

/// Data and metadata of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePool {
    /// The volume with the data.
    pub data: usize,
    /// The volume with the metadata.
    pub metadata: usize,
    /// How it works; `None` for a pool that was never used and has no size of blocks.
    pub settings: Option<CacheSettings>,
}

/// A volume with a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The cache pool, or the volume with both stretches.
    pub pool: usize,
    /// What is cached.
    pub origin: usize,
    /// It is being emptied.
    pub is_cleaning: bool,
    /// The stretches of the one volume, where it is one.
    pub volume: Option<CacheVolume>,
}

/// Two stretches of one volume, in sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheVolume {
    /// Start and length of the metadata.
    pub metadata: (u64, u64),
    /// Start and length of the data.
    pub data: (u64, u64),
    /// Identity of the device with the metadata; the volume's own without one.
    pub metadata_id: Option<Uuid>,
    /// Identity of the device with the data; the volume's own without one.
    pub data_id: Option<Uuid>,
    /// How it works.
    pub settings: CacheSettings,
}

impl CacheSettings {
    fn parse(entries: &Entries<'_>) -> Result<CacheSettings, GroupError> {
        let chunk_sectors = entries.small("chunk_size")?;
        if !CHUNK_SECTORS.contains(&chunk_sectors) {
            return Err(entries.missing("chunk_size", "possible size of a block"));
        }
        let mode = match entries.optional_text("cache_mode") {
            // lvm2's CACHE_MODE_WHEN_MISSING.
            _ if !entries.has("cache_mode") => CacheMode::Writethrough,
            Some("writethrough") => CacheMode::Writethrough,
            Some("writeback") => CacheMode::Writeback,
            Some("passthrough") => CacheMode::Passthrough,
            _ => return Err(entries.missing("cache_mode", "word that is known")),
        };
        let is_format2 = match entries.optional_number("metadata_format")? {
            None | Some(1) => false,
            Some(2) => true,
            Some(_) => return Err(entries.missing("metadata_format", "format that is known")),
        };
        // lvm2's CACHE_POLICY_WHEN_MISSING. The word goes to the kernel.
        let policy = match entries.has("policy") {
            true => entries.text("policy")?,
            false => "mq",
        };
        if !is_word(policy) {
            return Err(entries.missing("policy", "word"));
        }
        Ok(CacheSettings {
            chunk_sectors,
            mode,
            is_format2,
            policy: policy.to_owned(),
            settings: settings(entries)?,
        })
    }
}

fn settings(entries: &Entries<'_>) -> Result<Vec<(String, u64)>, GroupError> {
    let section = match entries.section.get("policy_settings") {
        None => return Ok(Vec::new()),
        Some(Value::Section(section)) => section,
        Some(_) => return Err(entries.missing("policy_settings", "section")),
    };
    let setting = |(name, value): (&String, &Value)| match value {
        Value::Number(number) if is_word(name) => {
            Some((name.clone(), u64::try_from(*number).ok()?))
        }
        _ => None,
    };
    let settings: Option<Vec<_>> = section.iter().map(setting).collect();
    settings.ok_or_else(|| entries.missing("policy_settings", "list of numbers"))
}

/// Whether it can stand in a table as one word.
fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

impl CachePool {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<CachePool, GroupError> {
        Ok(CachePool {
            data: entries.lv("data", names)?,
            metadata: entries.lv("metadata", names)?,
            settings: match entries.has("chunk_size") {
                true => Some(CacheSettings::parse(entries)?),
                false => None,
            },
        })
    }
}

impl Cache {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Cache, GroupError> {
        let volume = match entries.has("metadata_start") {
            false => None,
            true => Some(CacheVolume {
                metadata: (
                    entries.number("metadata_start")?,
                    entries.number("metadata_len")?,
                ),
                data: (entries.number("data_start")?, entries.number("data_len")?),
                metadata_id: optional_uuid(entries, "metadata_id")?,
                data_id: optional_uuid(entries, "data_id")?,
                settings: CacheSettings::parse(entries)?,
            }),
        };
        if let Some(volume) = &volume {
            let ((a, a_length), (b, b_length)) = (volume.metadata, volume.data);
            let apart = a
                .checked_add(a_length)
                .zip(b.checked_add(b_length))
                .is_some_and(|(a_end, b_end)| a_end <= b || b_end <= a);
            if a_length == 0 || b_length == 0 || !apart {
                return Err(nonsense(
                    entries.name,
                    "data and metadata of a cache overlap",
                ));
            }
        }
        Ok(Cache {
            pool: entries.lv("cache_pool", names)?,
            origin: entries.lv("origin", names)?,
            is_cleaning: entries.small_or_zero("cleaner")? != 0,
            volume,
        })
    }
}

fn optional_uuid(entries: &Entries<'_>, key: &'static str) -> Result<Option<Uuid>, GroupError> {
    entries.has(key).then(|| entries.uuid(key)).transpose()
}
