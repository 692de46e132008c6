//! Clients that an operator let in at a console, beside those of the file.
//!
//! They are the pool's and not a head's: the list is kept in its state volume (`worker::admit`), so that whichever head serves
//! the pool lets the same ones in. It is lines of JSON, one a client, checked like the file is. A line that is not understood
//! lets nobody in and stays where it is: it may be of a newer firmware.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::chap::Password;
use super::{ChapConfig, IscsiConfig, MAX_CLIENTS, Network, PoolConfig, names};

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
        /// Their addresses.
        network: Network,
    },
}

/// Names and passwords of a login, as they were said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// What the client calls itself.
    pub user: Option<&'a str>,
    /// What it knows.
    pub password: Option<&'a str>,
    /// What the target calls itself to it.
    pub mutual_user: Option<&'a str>,
    /// What the target knows.
    pub mutual_password: Option<&'a str>,
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
                    network,
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

    /// Whether the configuration of a pool lets it in.
    pub fn is_configured(&self, pool: &PoolConfig) -> bool {
        matches!(fits(pool, self), Err(AdmitError::Already(_)))
    }

    /// Of a network: which others of its share let all of it in, or some of it, once it is off the list.
    pub fn let_in_by(&self, pool: &PoolConfig) -> Vec<Network> {
        let Client::Network { share, network } = self else {
            return Vec::new();
        };
        let shares = pool.nfs.iter().flat_map(|nfs| &nfs.shares);
        let of_share = shares.filter(|rules| rules.name == *share);
        let others = of_share.flat_map(|rules| rules.clients.iter().copied());
        others.filter(|other| other.meets(*network)).collect()
    }

    /// Whether it is the same client of a pool, whatever it must prove.
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
            Client::Network { share, network } => Line {
                share: Some(share.clone()),
                network: Some(network.to_string()),
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
            Client::Network { share, network } => write!(f, "{network} at /{share}"),
        }
    }
}

impl Login<'_> {
    fn chap(self, client: &str) -> Result<Option<ChapConfig>, String> {
        let Login {
            user,
            password,
            mutual_user,
            mutual_password,
        } = self;
        let one = |user: Option<&str>, password: Option<&str>, which: &str| match (user, password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => {
                if !names::is_user(user) {
                    return Err(format!("{which}user is not {}", names::USER));
                }
                let password = Password::parse(password);
                let password =
                    password.ok_or_else(|| format!("{which}password is not {}", names::PASSWORD));
                Ok(Some((user.to_owned(), password?)))
            }
            _ => Err(format!("{which}user and {which}password go together")),
        };
        let proof = one(user, password, "")?;
        let mutual = one(mutual_user, mutual_password, "mutual-")?;
        match (proof, mutual) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err("mutual-user needs user and password as well".to_owned()),
            // Else whoever is asked could ask the asker.
            (Some((_, password)), Some((_, other))) if password == other => {
                Err("mutual-password is the same as password; allowed: another one".to_owned())
            }
            (Some((user, password)), mutual) => Ok(Some(ChapConfig {
                client: client.to_owned(),
                user,
                password,
                mutual,
            })),
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

    /// Adds a client of a pool.
    ///
    /// # Errors
    /// Why it cannot be let in.
    pub fn add(&mut self, pool: &PoolConfig, client: Client) -> Result<(), AdmitError> {
        is_unambiguous(pool, &client)?;
        fits(&self.applied(pool), &client)?;
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
        Client::Network { share, network } => {
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
            (clients.contains(network), clients.len())
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
        Client::Network { share, network } => {
            let shares = pool.nfs.iter_mut().flat_map(|nfs| &mut nfs.shares);
            for found in shares.filter(|found| found.name == *share) {
                found.clients.push(*network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::chance::{Chance, times};

    const FIRST: &str = "iqn.2026-01.org.example:new";
    const HOST: &str = "nqn.2026-01.org.example:new";

    fn pool() -> PoolConfig {
        let text = crate::worker::tests::CONFIG.to_owned()
            + "[[pool.nfs.share]]\nvolume = \"home\"\nclients = [\"10.77.0.0/24\"]\n\
               [pool.nvme]\nnqn = \"nqn.2026-01.org.example:tank\"\nhosts = [\"nqn.2026-01.org.example:old\"]\n\
               [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"fast\"\n";
        Config::parse(&text).unwrap().pools.remove(0)
    }

    fn initiator(login: Login<'_>) -> Result<Client, String> {
        Client::new(None, FIRST, login)
    }

    const CHAP: Login<'_> = Login {
        user: Some("new"),
        password: Some("twelve-or-more"),
        mutual_user: None,
        mutual_password: None,
    };

    #[test]
    fn what_was_let_in_is_let_in_by_who_reads_the_list() {
        let pool = pool();
        let mut list = Admitted::default();
        let mutual = Login {
            mutual_user: Some("box"),
            mutual_password: Some("another-one-12"),
            ..CHAP
        };
        for client in [
            initiator(mutual).unwrap(),
            Client::new(None, HOST, Login::default()).unwrap(),
            Client::new(Some("home"), "10.78.0.0/16", Login::default()).unwrap(),
        ] {
            list.add(&pool, client.clone()).unwrap();
            let again = list.add(&pool, client.clone());
            assert_eq!(again, Err(AdmitError::Already(client.to_string())));
        }
        let read = Admitted::parse(&list.text());
        assert_eq!(read, list);
        let all = read.applied(&pool);
        let iscsi = &all.targets[0];
        assert!(iscsi.clients.contains(&FIRST.to_owned()));
        let chap = iscsi.chap.iter().find(|chap| chap.client == FIRST).unwrap();
        assert_eq!(chap.password.expose(), "twelve-or-more");
        assert_eq!(chap.mutual.as_ref().unwrap().1.expose(), "another-one-12");
        assert!(all.nvme.unwrap().hosts.contains(&HOST.to_owned()));
        let networks = &all.nfs.unwrap().shares[0].clients;
        assert!(
            networks
                .iter()
                .any(|network| network.has([10, 78, 3, 4].into()))
        );
        // The password is what only the list has.
        assert!(!format!("{list:?}").contains("twelve"));
    }

    #[test]
    fn a_damaged_list_lets_in_whom_it_names_and_is_kept_as_it_is_read() {
        let whole = "{\"initiator\":\"iqn.2026-01.org.example:a\",\"user\":\"new\",\"password\":\"twelve-or-more\",\
             \"mutual_user\":\"box\",\"mutual_password\":\"another-one-12\"}\n\
             {\"target\":\"iqn.2026-01.org.example:t\",\"initiator\":\"iqn.2026-01.org.example:b\"}\r\n\
             {\"host\":\"nqn.2026-01.org.example:new\"}\n\
             {\"share\":\"home\",\"network\":\"10.78.0.0/16\"}\n";
        assert_eq!(Admitted::parse(whole).clients().len(), 4);
        let mut chance = Chance(1);
        let mut found = 0;
        for _ in 0..times(20_000) {
            let mut bytes = whole.as_bytes().to_vec();
            chance.damage(&mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            let list = Admitted::parse(&text);
            for client in list.clients() {
                found += 1;
                match client {
                    Client::Initiator { target, name, .. } => {
                        assert!(target.as_deref().is_none_or(names::is_iscsi), "{target:?}");
                        assert!(names::is_iscsi(name) && text.contains(name), "{name:?}");
                    }
                    Client::Host(name) => assert!(names::is_nqn(name) && text.contains(name)),
                    Client::Network { .. } => {}
                }
            }
            assert_eq!(Admitted::parse(&list.text()), list, "{text}");
        }
        assert!(found > 1000, "only {found} were clients");
    }

    #[test]
    fn only_what_was_let_in_here_is_shut_out_here() {
        let pool = pool();
        let mut list = Admitted::default();
        let new = initiator(CHAP).unwrap();
        assert_eq!(
            list.remove(&pool, &new),
            Err(AdmitError::NotThere(new.to_string()))
        );
        let name = pool.targets[0].clients[0].clone();
        let old = Client::new(None, &name, Login::default()).unwrap();
        assert_eq!(
            list.remove(&pool, &old),
            Err(AdmitError::OfTheFile(old.to_string()))
        );
        assert_eq!(
            list.add(&pool, old.clone()),
            Err(AdmitError::Already(old.to_string()))
        );
        list.add(&pool, new).unwrap();
        // By its name alone.
        list.remove(&pool, &initiator(Login::default()).unwrap())
            .unwrap();
        assert_eq!(list.applied(&pool), pool);
    }

    #[test]
    fn a_client_of_one_target_of_several_is_let_in_there_and_nowhere_else() {
        const SECOND: &str = "iqn.2026-01.org.example:second";
        let one = pool();
        let mut several = one.clone();
        let mut second = one.targets[0].clone();
        SECOND.clone_into(&mut second.iqn);
        several.targets.push(second);
        let first = several.targets[0].iqn.clone();
        let at = |target: &str| Client::new(Some(target), FIRST, CHAP).unwrap();
        let is_in = |list: &Admitted, pool: &PoolConfig| -> Vec<bool> {
            let targets = list.applied(pool).targets.into_iter();
            targets
                .map(|target| target.clients.iter().any(|client| client == FIRST))
                .collect()
        };

        // From the time when there was one: it is the first one's from then on.
        let mut list = Admitted::default();
        list.add(&one, initiator(CHAP).unwrap()).unwrap();
        assert_eq!(is_in(&list, &several), [true, false]);
        let again = list.add(&several, at(&first));
        assert!(matches!(again, Err(AdmitError::Already(_))), "{again:?}");
        list.add(&several, at(SECOND)).unwrap();
        assert_eq!(Admitted::parse(&list.text()), list);
        assert_eq!(is_in(&list, &several), [true, true]);
        list.remove(&several, &at(&first)).unwrap();
        assert_eq!(is_in(&list, &several), [false, true]);
        // Who was let in to the only one stays with that one, whichever is the first later.
        let mut pinned = Admitted::default();
        pinned.add(&one, initiator(CHAP).unwrap()).unwrap();
        let mut turned = several.clone();
        turned.targets.reverse();
        assert_eq!(is_in(&pinned, &turned), [false, true]);
        turned.targets.pop();
        assert_eq!(is_in(&pinned, &turned), [false]);
        // The one that it was let in to is not there any more, and comes back.
        assert_eq!(is_in(&list, &one), [false]);
        list.remove(&several, &at(SECOND)).unwrap();
        assert_eq!(list.text(), "");

        // Which one has to be said.
        let some = initiator(Login::default()).unwrap();
        for refused in [
            list.add(&several, some.clone()),
            list.remove(&several, &some),
        ] {
            let there = format!("{first}, {SECOND}");
            assert_eq!(refused, Err(AdmitError::WhichTarget(there)));
        }
        let elsewhere = list.add(&several, at("iqn.2026-01.org.example:third"));
        assert!(
            matches!(elsewhere, Err(AdmitError::NoTarget { there, .. }) if there.ends_with(SECOND))
        );
        assert!(Client::new(Some(SECOND), "10.0.0.1", Login::default()).is_err());
        assert_eq!(
            at(SECOND).to_string(),
            format!("{FIRST} (CHAP) at {SECOND}")
        );
    }

    #[test]
    fn lines_that_are_not_understood_let_nobody_in_and_stay() {
        let good = format!("{{\"initiator\":\"{FIRST}\"}}");
        let bad = [
            "{\"initiator\":\"iqn.2026-01.org.example:a\",\"since\":4}",
            "{\"initiator\":\"../../x\"}",
            "{\"initiator\":\"iqn.2026-01.org.example:a\",\"user\":\"u\"}",
            "{\"host\":\"iqn.2026-01.org.example:a\"}",
            "{\"initiator\":\"nqn.2026-01.org.example:a\"}",
            "{\"share\":\"home\"}",
            "{\"host\":\"nqn.2026-01.org.example:a\",\"network\":\"10.0.0.0/8\"}",
            "{}",
            "torn {",
        ];
        let text = format!("{good}\n{}\n{good}\n", bad.join("\n"));
        let mut list = Admitted::parse(&text);
        assert_eq!(list.clients().len(), 1);
        assert_eq!(list.not_understood(), bad.len());
        let host = Client::new(None, HOST, Login::default()).unwrap();
        list.add(&pool(), host).unwrap();
        for line in bad {
            assert!(list.text().contains(line), "{line}");
        }
    }

    #[test]
    fn what_the_configuration_has_no_place_for_is_refused_or_left_out() {
        let mut bare = pool();
        (bare.targets, bare.nvme) = (Vec::new(), None);
        let mut list = Admitted::default();
        let new = initiator(CHAP).unwrap();
        assert_eq!(
            list.add(&bare, new.clone()),
            Err(AdmitError::Nothing("target"))
        );
        let elsewhere = Client::new(Some("attic"), "10.0.0.1", Login::default()).unwrap();
        assert!(matches!(
            list.add(&bare, elsewhere),
            Err(AdmitError::NoShare { there, .. }) if there == "home"
        ));
        list.add(&pool(), new).unwrap();
        assert_eq!(list.applied(&bare), bare);
        let mut many = Admitted::default();
        let count = pool().targets[0].clients.len();
        for number in count..MAX_CLIENTS {
            let name = format!("iqn.2026-01.org.example:n{number}");
            let client = Client::new(None, &name, Login::default()).unwrap();
            many.add(&pool(), client).unwrap();
        }
        let one_more = initiator(CHAP).unwrap();
        assert_eq!(many.add(&pool(), one_more), Err(AdmitError::TooMany));
    }

    #[test]
    fn errors_say_what_is_allowed_and_no_password() {
        for (share, name, login, says) in [
            (None, "tank", Login::default(), "of an initiator"),
            (
                Some("home"),
                "iqn.2026-01.org.example:a",
                Login::default(),
                "a network",
            ),
            (
                None,
                HOST,
                CHAP,
                "only an initiator logs in with a password",
            ),
            (
                None,
                FIRST,
                Login {
                    password: None,
                    ..CHAP
                },
                "go together",
            ),
            (
                None,
                FIRST,
                Login {
                    password: Some("short"),
                    ..CHAP
                },
                "12 to 16",
            ),
            (
                None,
                FIRST,
                Login {
                    mutual_user: Some("box"),
                    mutual_password: CHAP.password,
                    ..CHAP
                },
                "another one",
            ),
            (
                None,
                FIRST,
                Login {
                    mutual_user: Some("box"),
                    mutual_password: CHAP.password,
                    ..Login::default()
                },
                "as well",
            ),
        ] {
            let error = Client::new(share, name, login).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(
                !error.contains("twelve") && !error.contains("short"),
                "{error}"
            );
        }
    }
}
