//! `[pool.nfs]`: what a pool shares, with whom, how.
//!
//! What a share says of access and squash is for all of its clients; an entry of the list may say otherwise of its own. Where networks
//! overlap the one with the longest prefix counts, wherever it stands, so that clients of the file and those that are let in at a
//! console need no order among them. Rejected: a list `read_only_clients`, which says nothing of squash, and two lists to search
//! for who may come.

use std::fmt;
use std::net::IpAddr;

use super::error::ConfigError;
use super::parse::{self, name};
use super::section::{Entry, Field, Section};
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
/// What an entry of a share's clients can be, for errors.
pub(super) const CLIENT: &str = "a network such as 10.77.0.0/24 or an address, or { network = \"10.77.0.0/24\", access = \"ro\", squash = \"all\" }";
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
    /// Who may use it; nobody else may. No network is there twice.
    pub clients: Vec<ShareClient>,
    /// Whether they may write, but for those of which something else is said.
    pub access: Access,
    /// Whose rights are taken away, but for the same.
    pub squash: Squash,
    /// When its file system is checked.
    pub check: Check,
    /// Who they are then.
    pub anonymous_uid: u32,
    /// Their group then.
    pub anonymous_gid: u32,
}

/// An entry of a share's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareClient {
    /// Their addresses.
    pub network: Network,
    /// Whether they may write, if it is not what the share says.
    pub access: Option<Access>,
    /// Whose rights are taken away there, likewise.
    pub squash: Option<Squash>,
}

/// What a client may do with a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may write.
    pub access: Access,
    /// Whose rights are taken away.
    pub squash: Squash,
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

const ACCESS: &[(&str, Access)] = &[("rw", Access::ReadWrite), ("ro", Access::ReadOnly)];
const SQUASH: &[(&str, Squash)] = &[
    ("root", Squash::Root),
    ("all", Squash::All),
    ("none", Squash::None),
];
const CHECK: &[(&str, Check)] = &[
    ("needed", Check::Needed),
    ("always", Check::Always),
    ("never", Check::Never),
];

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

impl ShareConfig {
    /// What a client may do, by the entry that has the longest prefix of those that its address is in; `None` where it is in none.
    pub fn rights(&self, client: IpAddr) -> Option<Rights> {
        let entries = self.clients.iter().filter(|one| one.network.has(client));
        let entry = entries.max_by_key(|one| one.network.prefix())?;
        Some(self.rights_of(entry))
    }

    /// What an entry of the list gives.
    pub fn rights_of(&self, entry: &ShareClient) -> Rights {
        Rights {
            access: entry.access.unwrap_or(self.access),
            squash: entry.squash.unwrap_or(self.squash),
        }
    }
}

impl ShareClient {
    /// With what the share says of all.
    pub fn new(network: Network) -> ShareClient {
        ShareClient {
            network,
            access: None,
            squash: None,
        }
    }
}

/// As it is said of a client: what it has that is not the share's.
impl fmt::Display for ShareClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [
            self.access.map(|access| access.word()),
            self.squash.map(|squash| squash.word()),
        ];
        write!(f, "{}", self.network)?;
        match said {
            [None, None] => Ok(()),
            [Some(access), None] => write!(f, " ({access})"),
            [None, Some(squash)] => write!(f, " (squash {squash})"),
            [Some(access), Some(squash)] => write!(f, " ({access}, squash {squash})"),
        }
    }
}

impl Access {
    /// Of its word.
    ///
    /// # Errors
    /// The words that there are.
    pub fn parse(word: &str) -> Result<Access, String> {
        find(ACCESS, word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        word_of(ACCESS, self)
    }
}

impl Squash {
    /// Of its word.
    ///
    /// # Errors
    /// The words that there are.
    pub fn parse(word: &str) -> Result<Squash, String> {
        find(SQUASH, word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        word_of(SQUASH, self)
    }
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
    let clients = section.entries("clients", CLIENT)?;
    if clients.is_empty() || clients.len() > MAX_CLIENTS {
        return Err(section.place("clients").error(format!(
            "has {} entries; allowed: 1 to {MAX_CLIENTS} addresses or networks",
            clients.len()
        )));
    }
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
        clients: clients.into_iter().map(client).collect::<Result<_, _>>()?,
        access: one_of(section, "access", ACCESS)?.unwrap_or(Access::ReadWrite),
        squash: one_of(section, "squash", SQUASH)?.unwrap_or(Squash::Root),
        check: one_of(section, "check", CHECK)?.unwrap_or(Check::Needed),
        anonymous_uid: id("anonymous_uid")?,
        anonymous_gid: id("anonymous_gid")?,
    })
}

/// A network, or a table with one and with what its clients may do.
fn client(entry: Entry<'_>) -> Result<ShareClient, ConfigError> {
    match entry {
        Entry::Text(field) => Ok(ShareClient::new(network(&field)?)),
        Entry::Table(section) => {
            section.only(&["network", "access", "squash"])?;
            Ok(ShareClient {
                network: network(&section.text("network", names::NETWORK)?)?,
                access: one_of(&section, "access", ACCESS)?,
                squash: one_of(&section, "squash", SQUASH)?,
            })
        }
    }
}

fn network(field: &Field<&str>) -> Result<Network, ConfigError> {
    Network::parse(field.value).ok_or_else(|| {
        let (said, allowed) = (field.value, names::NETWORK);
        field.at.error(format!("is {said:?}; allowed: {allowed}"))
    })
}

/// The field of an entry that has its network, for who compares them.
pub(super) fn network_of<'a>(entry: Entry<'a>) -> Result<Field<&'a str>, ConfigError> {
    match entry {
        Entry::Text(field) => Ok(field),
        Entry::Table(section) => section.text("network", names::NETWORK),
    }
}

/// A word of a few.
fn one_of<T: Copy>(
    section: &Section<'_>,
    key: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let Some(field) = section.optional_text(key, &all(words))? else {
        return Ok(None);
    };
    let found = find(words, field.value);
    found.map(Some).map_err(|wrong| field.at.error(wrong))
}

fn find<T: Copy>(words: &[(&str, T)], said: &str) -> Result<T, String> {
    match words.iter().find(|(word, _)| *word == said) {
        Some((_, value)) => Ok(*value),
        None => Err(format!("is {said:?}; allowed: {}", all(words))),
    }
}

fn word_of<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, one)| *one == value);
    found.map_or("", |(word, _)| word)
}

fn all<T>(words: &[(&str, T)]) -> String {
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    all.join(", ")
}
