//! `[pool.nfs]`: what a pool shares, with whom, how.

use super::error::ConfigError;
use super::parse::{self, name};
use super::section::Section;
use super::{MAX_CLIENTS, MAX_SHARES, Network, names};

/// Threads of the server: each serves one request at a time, and takes up to a megabyte.
const THREADS: std::ops::RangeInclusive<u32> = 1..=256;
const THREADS_DEFAULT: u32 = 8;
/// What the kernel allows (`__nfsd4_write_time`). The default is a third of its own: a client that died holds up the others'
/// locks for so long, and a takeover for as long as a grace period lasts that is a half longer.
pub const LEASE_S: std::ops::RangeInclusive<u32> = 10..=3600;
const LEASE_DEFAULT_S: u32 = 30;
/// `nobody` and `nogroup` of most systems.
const NOBODY: u32 = 65534;
/// The kernel's -1 is no user.
const IDS: std::ops::RangeInclusive<u32> = 0..=u32::MAX - 1;

/// `[pool.nfs]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NfsConfig {
    /// Threads of the server.
    pub threads: u32,
    /// How long a client that is not heard keeps its state, in seconds.
    pub lease_s: u32,
    /// What is shared; at least one.
    pub shares: Vec<ShareConfig>,
}

/// One `[[pool.nfs.share]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareConfig {
    /// What clients mount: `SERVER:/NAME`.
    pub name: String,
    /// The logical volume with its file system.
    pub volume: String,
    /// Who may use it; nobody else may.
    pub clients: Vec<Network>,
    /// Whether they may write.
    pub access: Access,
    /// Whose rights are taken away.
    pub squash: Squash,
    /// When its file system is checked.
    pub check: Check,
    /// Who they are then.
    pub anonymous_uid: u32,
    /// Their group then.
    pub anonymous_gid: u32,
}

/// What clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// Which users of clients become the anonymous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// root.
    Root,
    /// Everybody.
    All,
    /// Nobody: root on a client is root.
    None,
}

/// When a file system is checked before it is mounted, as far as there is a checker for its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// When the kernel found it damaged.
    Needed,
    /// At each import, which takes as much longer.
    Always,
    /// Never: one that is damaged is withheld.
    Never,
}

pub(super) fn nfs(section: &Section<'_>) -> Result<NfsConfig, ConfigError> {
    section.only(&["threads", "lease_s", "share"])?;
    let shares = section.sections("share", MAX_SHARES)?;
    if shares.is_empty() {
        return Err(section.missing("share", "tables [[pool.nfs.share]]"));
    }
    let threads = section.optional_number("threads", THREADS)?;
    let lease_s = section.optional_number("lease_s", LEASE_S)?;
    Ok(NfsConfig {
        threads: threads.map_or(THREADS_DEFAULT, |field| field.value),
        lease_s: lease_s.map_or(LEASE_DEFAULT_S, |field| field.value),
        shares: shares.iter().map(share).collect::<Result<_, _>>()?,
    })
}

fn share(section: &Section<'_>) -> Result<ShareConfig, ConfigError> {
    section.only(&[
        "name",
        "volume",
        "clients",
        "access",
        "squash",
        "check",
        "anonymous_uid",
        "anonymous_gid",
    ])?;
    let volume = parse::volume(section, "shared")?;
    let clients = section.texts("clients", names::NETWORK)?;
    if clients.is_empty() || clients.len() > MAX_CLIENTS {
        return Err(section.place("clients").error(format!(
            "has {} entries; allowed: 1 to {MAX_CLIENTS} addresses or networks",
            clients.len()
        )));
    }
    let network = |field: super::section::Field<&str>| {
        Network::parse(field.value).ok_or_else(|| {
            let (said, allowed) = (field.value, names::NETWORK);
            field.at.error(format!("is {said:?}; allowed: {allowed}"))
        })
    };
    let id = |key| -> Result<u32, ConfigError> {
        let field = section.optional_number(key, IDS)?;
        Ok(field.map_or(NOBODY, |field| field.value))
    };
    Ok(ShareConfig {
        name: match section.optional_text("name", names::SHARE)? {
            Some(field) => name(field, names::is_share, names::SHARE)?,
            None => volume.clone(),
        },
        volume,
        clients: clients.into_iter().map(network).collect::<Result<_, _>>()?,
        access: one_of(
            section,
            "access",
            &[("rw", Access::ReadWrite), ("ro", Access::ReadOnly)],
        )?,
        squash: one_of(
            section,
            "squash",
            &[
                ("root", Squash::Root),
                ("all", Squash::All),
                ("none", Squash::None),
            ],
        )?,
        check: one_of(
            section,
            "check",
            &[
                ("needed", Check::Needed),
                ("always", Check::Always),
                ("never", Check::Never),
            ],
        )?,
        anonymous_uid: id("anonymous_uid")?,
        anonymous_gid: id("anonymous_gid")?,
    })
}

/// A word of a few; the first one where there is none.
fn one_of<T: Copy>(
    section: &Section<'_>,
    key: &str,
    words: &[(&str, T)],
) -> Result<T, ConfigError> {
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let allowed = all.join(", ");
    let Some(field) = section.optional_text(key, &allowed)? else {
        return Ok(words[0].1);
    };
    match words.iter().find(|(word, _)| *word == field.value) {
        Some((_, value)) => Ok(*value),
        None => Err(field
            .at
            .error(format!("is {:?}; allowed: {allowed}", field.value))),
    }
}
