//! What a logical volume's status says beside READ, WRITE and VISIBLE (`lib/format_text/flags.c`).
//!
//! A word in `status` that nobody knows must not be ignored, one in `flags` may be: lvm2's own rule.

/// A word that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Flag {
    /// It is being moved from disk to disk, or is what does the move.
    Pvmove = 1 << 0,
    /// It must not change while something under it does.
    Locked = 1 << 1,
    /// Made without a first synchronization.
    NotSynced = 1 << 2,
    /// This leg of a RAID volume is to be rebuilt.
    Rebuild = 1 << 3,
    /// A leg that is read only when it must be.
    WriteMostly = 1 << 4,
    /// Not activated together with the others.
    ActivationSkip = 1 << 5,
    /// A thin pool that fails writes at once when it is full.
    ErrorWhenFull = 1 << 6,
    /// It is, or was, the cache of another volume.
    CacheVol = 1 << 7,
}

const KNOWN: [(&str, Flag); 8] = [
    ("PVMOVE", Flag::Pvmove),
    ("LOCKED", Flag::Locked),
    ("NOTSYNCED", Flag::NotSynced),
    ("REBUILD", Flag::Rebuild),
    ("WRITEMOSTLY", Flag::WriteMostly),
    ("ACTIVATION_SKIP", Flag::ActivationSkip),
    ("ERROR_WHEN_FULL", Flag::ErrorWhenFull),
    ("CACHE_VOL", Flag::CacheVol),
];

/// Words without a meaning here: the numbers of devices are the kernel's to choose, and the rest is told by fields.
const NEUTRAL: [&str; 6] = [
    "READ",
    "WRITE",
    "VISIBLE",
    "FIXED_MINOR",
    "WRITE_LOCKED",
    "NOAUTOACTIVATE",
];

/// The words of one volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    bits: u32,
    /// Words in the status that are not known: they may change what the volume is.
    pub unknown: Vec<String>,
}

impl Flags {
    /// From the lists `status` and `flags`.
    pub(super) fn new(status: &[String], compatible: &[String]) -> Flags {
        let mut flags = Flags::default();
        let known = |word: &str| KNOWN.iter().find(|(name, _)| *name == word);
        for word in status.iter().chain(compatible) {
            if let Some((_, flag)) = known(word) {
                flags.bits |= *flag as u32;
            }
        }
        let strange = status
            .iter()
            .filter(|word| known(word).is_none() && !NEUTRAL.contains(&word.as_str()));
        flags.unknown = strange.cloned().collect();
        flags
    }

    /// Takes one away.
    pub fn clear(&mut self, flag: Flag) {
        self.bits &= !(flag as u32);
    }

    /// Whether this one is set.
    pub fn has(&self, flag: Flag) -> bool {
        self.bits & flag as u32 != 0
    }
}
