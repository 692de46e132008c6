//! Clients that an operator let in at a console, beside those of the file.
//!
//! They are the pool's and not a head's: the list is kept in its state volume (`worker::admit`), so that whichever head serves
//! the pool lets the same ones in. It is lines of JSON, one a client, checked like the file is. A line that is not understood
//! lets nobody in and stays where it is: it may be of a newer firmware.

mod login;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::chap::Password;
use super::{
    Access, ChapConfig, IscsiConfig, MAX_CLIENTS, Network, PoolConfig, ShareClient, Squash, names,
};

pub use login::Login;

/// What a client can be called, for errors.
const ALLOWED: &str = "the name of an initiator (iqn., eui., naa.) or of an NVMe host (nqn.); for a share POOL/SHARE an address or a network, for one target of several POOL/TARGET an initiator";

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// By iSCSI.
    Initiator {
        /// The target; the pool's first one when absent, as it is where a pool has no other.
        target: Option<String>,
        /// Its name.
        name: String,
        /// What it must prove.
        chap: Option<ChapConfig>,
    },
    /// By NVMe: the name of a host.
    Host(String),
    /// By NFS: all of a network.
    Network {
        /// The share.
        share: String,
        /// Their addresses, and what they may do there.
        client: ShareClient,
    },
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    clients: Vec<Client>,
    /// Lines that are not understood.
    others: Vec<String>,
}

/// Why a client is not let in, or not shut out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The pool has nothing for such a client.
    #[error("the configuration has no {0} for the pool")]
    Nothing(&'static str),
    /// It has no target of this name.
    #[error("the pool has no target {target:?}; there are: {there}")]
    NoTarget {
        /// What was said.
        target: String,
        /// What there is.
        there: String,
    },
    /// It has several.
    #[error("the pool has several targets: say POOL/TARGET; there are: {0}")]
    WhichTarget(String),
    /// It has no share of this name.
    #[error("the pool has no share {share:?}; there are: {there}")]
    NoShare {
        /// What was said.
        share: String,
        /// What there is.
        there: String,
    },
    /// It is in.
    #[error("{0} is let in already")]
    Already(String),
    /// No more fit.
    #[error("{MAX_CLIENTS} are let in there already, which is the most")]
    TooMany,
    /// It is not in.
    #[error("{0} is not let in")]
    NotThere(String),
    /// The file lets it in.
    #[error("{0} is one of the configuration's: take it out there, on both heads")]
    OfTheFile(String),
}

/// A line of the list.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutual_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutual_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    squash: Option<String>,
}

impl Client {
    /// A client by its name, of a share, of a target, or of whatever else the pool has one of.
    ///
    /// # Errors
    /// What is wrong, and what is allowed; never a password.
    pub fn new(place: Option<&str>, name: &str, login: Login<'_>) -> Result<Client, String> {
        let has_login = login.user.is_some() || login.password.is_some();
        let refuse = |allowed: &str| Err(format!("{name:?} is not {allowed}"));
        let initiator = |target: Option<&str>| -> Result<Client, String> {
            Ok(Client::Initiator {
                target: target.map(str::to_owned),
                name: name.to_owned(),
                chap: login.chap(name)?,
            })
        };
        let client = match place {
            Some(target) if names::is_iscsi(target) => match names::is_iscsi(name) {
                true => initiator(Some(target))?,
                false => return refuse(names::ISCSI),
            },
            Some(share) => match Network::parse(name) {
                Some(network) => Client::Network {
                    share: share.to_owned(),
                    client: ShareClient::new(network),
                },
                None => return refuse(names::NETWORK),
            },
            None if names::is_nqn(name) => Client::Host(name.to_owned()),
            None if names::is_iscsi(name) => initiator(None)?,
            None => return refuse(ALLOWED),
        };
        match &client {
            Client::Initiator { .. } => Ok(client),
            _ if has_login => Err("only an initiator logs in with a password".to_owned()),
            _ => Ok(client),
        }
    }

    /// The same, with what it may do at a share where that is not what the share says of all.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn with_rights(
        mut self,
        access: Option<&str>,
        squash: Option<&str>,
    ) -> Result<Client, String> {
        match &mut self {
            Client::Network { client, .. } => {
                let access = access.map(Access::parse).transpose();
                client.access = access.map_err(|wrong| format!("access {wrong}"))?;
                let squash = squash.map(Squash::parse).transpose();
                client.squash = squash.map_err(|wrong| format!("squash {wrong}"))?;
            }
            _ if access.is_none() && squash.is_none() => {}
            _ => return Err("only a client of a share has access and squash".to_owned()),
        }
        Ok(self)
    }

    /// Whether the configuration of a pool lets it in.
    pub fn is_configured(&self, pool: &PoolConfig) -> bool {
        matches!(fits(pool, self), Err(AdmitError::Already(_)))
    }

    /// Of a network: which others of its share let all of it in, or some of it, once it is off the list.
    pub fn let_in_by(&self, pool: &PoolConfig) -> Vec<ShareClient> {
        let Client::Network { share, client } = self else {
            return Vec::new();
        };
        let shares = pool.nfs.iter().flat_map(|nfs| &nfs.shares);
        let of_share = shares.filter(|rules| rules.name == *share);
        let others = of_share.flat_map(|rules| rules.clients.iter().copied());
        let others = others.filter(|other| other.network.meets(client.network));
        others.collect()
    }

    /// Whether it is the same client of a pool, whatever it must prove or may do.
    fn is(&self, other: &Client, pool: &PoolConfig) -> bool {
        let of = |target: &Option<String>| target_of(pool, target.as_deref());
        match (self, other) {
            (
                Client::Initiator { target, name, .. },
                Client::Initiator {
                    target: to,
                    name: other,
                    ..
                },
            ) => name == other && (target == to || of(target).is_some() && of(target) == of(to)),
            (
                Client::Network { share, client },
                Client::Network {
                    share: of,
                    client: other,
                },
            ) => share == of && client.network == other.network,
            _ => self == other,
        }
    }

    /// With the target that is meant: another one may be the first later, and must not be the client's by that.
    fn pinned(mut self, pool: &PoolConfig) -> Client {
        if let Client::Initiator { target, .. } = &mut self {
            *target = target_of(pool, target.as_deref()).map(|target| target.iqn.clone());
        }
        self
    }

    fn line(&self) -> Line {
        match self {
            Client::Initiator { target, name, chap } => {
                let exposed = |password: &Password| password.expose().to_owned();
                let mutual = chap.as_ref().and_then(|chap| chap.mutual.as_ref());
                Line {
                    target: target.clone(),
                    initiator: Some(name.clone()),
                    user: chap.as_ref().map(|chap| chap.user.clone()),
                    password: chap.as_ref().map(|chap| exposed(&chap.password)),
                    mutual_user: mutual.map(|(user, _)| user.clone()),
                    mutual_password: mutual.map(|(_, password)| exposed(password)),
                    ..Line::default()
                }
            }
            Client::Host(nqn) => Line {
                host: Some(nqn.clone()),
                ..Line::default()
            },
            Client::Network { share, client } => Line {
                share: Some(share.clone()),
                network: Some(client.network.to_string()),
                access: client.access.map(|access| access.word().to_owned()),
                squash: client.squash.map(|squash| squash.word().to_owned()),
                ..Line::default()
            },
        }
    }

    fn of_line(line: &Line) -> Option<Client> {
        let login = Login {
            user: line.user.as_deref(),
            password: line.password.as_deref(),
            mutual_user: line.mutual_user.as_deref(),
            mutual_password: line.mutual_password.as_deref(),
        };
        let Line {
            target,
            initiator,
            host,
            share,
            network,
            ..
        } = line;
        let (place, name) = match (target, initiator, host, share, network) {
            (target, Some(name), None, None, None) => (target.as_deref(), name),
            (None, None, Some(name), None, None) => (None, name),
            (None, None, None, Some(share), Some(network)) => (Some(share.as_str()), network),
            _ => return None,
        };
        let client = Client::new(place, name, login).ok()?;
        let (access, squash) = (line.access.as_deref(), line.squash.as_deref());
        let client = client.with_rights(access, squash).ok()?;
        // Said as what it is.
        let is_said = match client {
            Client::Initiator { .. } => line.initiator.is_some(),
            Client::Host(_) => line.host.is_some(),
            Client::Network { .. } => line.share.is_some(),
        };
        is_said.then_some(client)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Initiator { target, name, chap } => {
                f.write_str(name)?;
                match chap.as_ref().map(|chap| chap.mutual.is_some()) {
                    None => {}
                    Some(false) => f.write_str(" (CHAP)")?,
                    Some(true) => f.write_str(" (mutual CHAP)")?,
                }
                match target {
                    None => Ok(()),
                    Some(target) => write!(f, " at {target}"),
                }
            }
            Client::Host(nqn) => f.write_str(nqn),
            Client::Network { share, client } => write!(f, "{client} at /{share}"),
        }
    }
}

impl Admitted {
    /// Reads a list.
    pub fn parse(text: &str) -> Admitted {
        let mut list = Admitted::default();
        // Not `lines`, which takes off more than the end that stands behind each.
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            let read = serde_json::from_str::<Line>(line).ok();
            match read.as_ref().and_then(Client::of_line) {
                Some(client) if list.clients.contains(&client) => {}
                Some(client) => list.clients.push(client),
                None => list.others.push(line.to_owned()),
            }
        }
        list
    }

    /// As it is kept.
    pub fn text(&self) -> String {
        let known = self.clients.iter().map(|client| {
            // A struct of texts cannot fail to be written.
            serde_json::to_string(&client.line()).unwrap_or_default()
        });
        let lines = known.chain(self.others.iter().cloned());
        lines.map(|line| line + "\n").collect()
    }

    /// The clients of it.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Lines that let nobody in.
    pub fn not_understood(&self) -> usize {
        self.others.len()
    }

    /// Those of them that may be of an initiator: a line of a later release that is of a share or a host is not.
    pub fn unknown_initiators(&self) -> usize {
        let is_another = |line: &&String| {
            let fields: Option<serde_json::Map<String, serde_json::Value>> =
                serde_json::from_str(line).ok();
            fields.is_some_and(|fields| {
                let has = |name: &str| fields.contains_key(name);
                (has("share") || has("host")) && !has("initiator")
            })
        };
        self.others.len() - self.others.iter().filter(is_another).count()
    }

    fn has(&self, client: &Client, pool: &PoolConfig) -> bool {
        self.clients.iter().any(|known| known.is(client, pool))
    }

    /// The pool with the clients of the list.
    pub fn applied(&self, pool: &PoolConfig) -> PoolConfig {
        let mut all = pool.clone();
        for client in &self.clients {
            // What the configuration has no place for any more, or has itself, is left out.
            if fits(&all, client).is_ok() {
                let_in(&mut all, client);
            }
        }
        all
    }

    /// Adds a client of a pool. One of a share takes the place of itself when it may do something else than before: to take it out first
    /// would tell it that it is not let in.
    ///
    /// # Errors
    /// Why it cannot be let in.
    pub fn add(&mut self, pool: &PoolConfig, client: Client) -> Result<(), AdmitError> {
        is_unambiguous(pool, &client)?;
        let mut others = self.clone();
        if matches!(client, Client::Network { .. }) && !self.clients.contains(&client) {
            others.clients.retain(|known| !known.is(&client, pool));
        }
        fits(&others.applied(pool), &client)?;
        // One that the configuration had no place for when it was read.
        self.clients.retain(|known| !known.is(&client, pool));
        self.clients.push(client.pinned(pool));
        Ok(())
    }

    /// Takes one out again.
    ///
    /// # Errors
    /// It is not in the list.
    pub fn remove(&mut self, pool: &PoolConfig, client: &Client) -> Result<(), AdmitError> {
        is_unambiguous(pool, client)?;
        if !self.has(client, pool) {
            return Err(match client.is_configured(pool) {
                true => AdmitError::OfTheFile(client.to_string()),
                false => AdmitError::NotThere(client.to_string()),
            });
        }
        self.clients.retain(|known| !known.is(client, pool));
        Ok(())
    }
}

/// The target that is meant.
fn target_of<'a>(pool: &'a PoolConfig, target: Option<&str>) -> Option<&'a IscsiConfig> {
    let mut targets = pool.targets.iter();
    match target {
        None => targets.next(),
        Some(iqn) => targets.find(|target| target.iqn == iqn),
    }
}

fn targets_of(pool: &PoolConfig) -> String {
    let targets = pool.targets.iter().map(|target| target.iqn.as_str());
    targets.collect::<Vec<&str>>().join(", ")
}

/// What is kept without a target is the first one's; who says it has to say which.
fn is_unambiguous(pool: &PoolConfig, client: &Client) -> Result<(), AdmitError> {
    match client {
        Client::Initiator { target: None, .. } if pool.targets.len() > 1 => {
            Err(AdmitError::WhichTarget(targets_of(pool)))
        }
        _ => Ok(()),
    }
}

/// Whether a pool has a place for a client, and does not let it in yet.
fn fits(pool: &PoolConfig, client: &Client) -> Result<(), AdmitError> {
    let (is_in, count) = match client {
        Client::Initiator { target, name, .. } => {
            let found = target_of(pool, target.as_deref());
            let found = found.ok_or_else(|| match target {
                Some(target) if !pool.targets.is_empty() => AdmitError::NoTarget {
                    target: target.clone(),
                    there: targets_of(pool),
                },
                _ => AdmitError::Nothing("target"),
            })?;
            (found.clients.contains(name), found.clients.len())
        }
        Client::Host(nqn) => {
            let nvme = pool.nvme.as_ref();
            let hosts = &nvme.ok_or(AdmitError::Nothing("subsystem"))?.hosts;
            (hosts.contains(nqn), hosts.len())
        }
        Client::Network { share, client } => {
            let shares = pool.nfs.iter().flat_map(|nfs| &nfs.shares);
            let found = shares.clone().find(|one| one.name == *share);
            let clients = match found {
                Some(share) => &share.clients,
                None => {
                    let names: Vec<&str> = shares.map(|share| share.name.as_str()).collect();
                    return Err(match names.as_slice() {
                        [] => AdmitError::Nothing("share"),
                        names => AdmitError::NoShare {
                            share: share.clone(),
                            there: names.join(", "),
                        },
                    });
                }
            };
            let mut networks = clients.iter().map(|one| one.network);
            let is_in = networks.any(|network| network == client.network);
            (is_in, clients.len())
        }
    };
    match (is_in, count) {
        (true, _) => Err(AdmitError::Already(client.to_string())),
        (false, MAX_CLIENTS..) => Err(AdmitError::TooMany),
        (false, _) => Ok(()),
    }
}

fn let_in(pool: &mut PoolConfig, client: &Client) {
    match client {
        Client::Initiator { target, name, chap } => {
            let mut targets = pool.targets.iter_mut();
            let found = match target {
                None => targets.next(),
                Some(iqn) => targets.find(|target| target.iqn == *iqn),
            };
            if let Some(found) = found {
                found.clients.push(name.clone());
                found.chap.extend(chap.clone());
            }
        }
        Client::Host(nqn) => {
            if let Some(nvme) = &mut pool.nvme {
                nvme.hosts.push(nqn.clone());
            }
        }
        Client::Network { share, client } => {
            let shares = pool.nfs.iter_mut().flat_map(|nfs| &mut nfs.shares);
            for found in shares.filter(|found| found.name == *share) {
                found.clients.push(*client);
            }
        }
    }
}

#[cfg(test)]
mod tests;
