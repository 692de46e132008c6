//! What a pool offers by NFS: the configuration and the active volumes put together.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, PoolConfig, Rights, ShareConfig};
use crate::export::digest;
use crate::volume::Active;

/// The shares of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NfsPlan {
    /// The pool's name.
    pub pool: String,
    /// What the server calls itself to clients: its owner and scope (RFC 8881 section 2.10.4). Clients keep their locks only
    /// from servers of one scope, so it is the pool's and not the head's.
    pub scope: String,
    /// Where the shares are mounted, each in a directory of its name: the root that clients see.
    pub root: PathBuf,
    /// A directory there for each share of the configuration, offered or not, in its order: one that comes at the end of the file
    /// leaves the inode numbers of the others as they are.
    pub directories: Vec<String>,
    /// Threads of the server.
    pub threads: u32,
    /// How long a client that is not heard keeps its state, in seconds.
    pub lease_s: u32,
    /// The shares, by name.
    pub shares: Vec<SharePlan>,
    /// Those whose volume is there and cannot be mounted.
    pub withheld: Vec<SharePlan>,
}

/// A share that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// It may use it.
    Offered(&'a SharePlan),
    /// It may use this one and no other, and it is withheld.
    Awaited,
    /// There is none for it, or none that it should wait for.
    Nothing,
}

/// One share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePlan {
    /// What clients mount: `SERVER:/NAME`.
    pub name: String,
    /// The logical volume.
    pub volume: String,
    /// Its block device.
    pub node: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Where its file system is mounted.
    pub place: PathBuf,
    /// Goes into each file handle: made of the volume's identity, so that handles stay good on the other head.
    pub uuid: [u8; 16],
    /// Who may do what.
    pub rules: ShareConfig,
}

/// A share that cannot be offered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its name.
    pub share: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share {} is not offered: {}", self.share, self.why)
    }
}

/// Where a pool's shares are while it is served here.
pub fn root(pool: &str) -> PathBuf {
    Path::new("/run/pool").join(pool).join("shares")
}

impl NfsPlan {
    /// Plans the shares of a pool, given its active volumes; `None` when the configuration has none. A share without its
    /// volume is left out and said: the volume can be made while the others are served.
    pub fn new(
        config: &Config,
        pool: &PoolConfig,
        active: &[Active],
    ) -> Option<(NfsPlan, Vec<Withheld>)> {
        let nfs = pool.nfs.as_ref()?;
        let root = root(&pool.name);
        let (mut shares, mut withheld) = (Vec::new(), Vec::new());
        for rules in &nfs.shares {
            let Some(volume) = active.iter().find(|volume| volume.lv == rules.volume) else {
                withheld.push(Withheld {
                    share: rules.name.clone(),
                    why: format!(
                        "there is no volume {}: `volume create {}/{} SIZE --fs ext4` makes it",
                        rules.volume, pool.name, rules.volume
                    ),
                });
                continue;
            };
            shares.push(SharePlan {
                name: rules.name.clone(),
                volume: rules.volume.clone(),
                node: volume.node.clone(),
                bytes: volume.sectors * 512,
                place: root.join(&rules.name),
                uuid: identity(&config.cluster, &pool.name, &volume.uuid.to_string()),
                rules: rules.clone(),
            });
        }
        shares.sort_by(|a, b| a.name.cmp(&b.name));
        let plan = NfsPlan {
            pool: pool.name.clone(),
            scope: scope(&config.cluster, &pool.name),
            root,
            directories: nfs.shares.iter().map(|rules| rules.name.clone()).collect(),
            threads: nfs.threads,
            lease_s: nfs.lease_s,
            shares,
            withheld: Vec::new(),
        };
        Some((plan, withheld))
    }

    /// Whether a client may use any share, be it a withheld one.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        let mut all = self.shares.iter().chain(&self.withheld);
        all.any(|share| share.lets_in(client))
    }

    /// The share that a client asks for.
    pub fn find(&self, client: IpAddr, is_it: impl Fn(&SharePlan) -> bool) -> Wanted<'_> {
        let for_it = |share: &&SharePlan| is_it(share) && share.lets_in(client);
        if let Some(share) = self.shares.iter().find(for_it) {
            return Wanted::Offered(share);
        }
        let has_another = self.shares.iter().any(|share| share.lets_in(client));
        match !has_another && self.withheld.iter().any(|share| for_it(&share)) {
            true => Wanted::Awaited,
            false => Wanted::Nothing,
        }
    }
}

impl SharePlan {
    /// Whether a client may use the share.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        self.rights(client).is_some()
    }

    /// What it may do there.
    pub fn rights(&self, client: IpAddr) -> Option<Rights> {
        self.rules.rights(client)
    }
}

/// 16 bytes from the volume's UUID, which stays through renames, and from cluster and pool.
fn identity(cluster: &str, pool: &str, lv_uuid: &str) -> [u8; 16] {
    digest("orthrus share 1", &[cluster, pool, lv_uuid])
}

/// At most 64 bytes: the kernel takes it for a host's name.
fn scope(cluster: &str, pool: &str) -> String {
    let digest = digest("orthrus scope 1", &[cluster, pool]);
    format!("orthrus-{}", super::line::to_hex(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_comes_at_the_end_of_the_file_changes_nothing_for_those_before_it() {
        let share = |name: &str| {
            format!("[[pool.nfs.share]]\nvolume = \"{name}\"\nclients = \"192.0.2.0/24\"\n")
        };
        let directories = |names: &[&str]| {
            let shares: String = names.iter().map(|name| share(name)).collect();
            let text = format!("{}[pool.nfs]\n{shares}", crate::worker::tests::CONFIG);
            let config = Config::parse(&text).unwrap();
            let planned = NfsPlan::new(&config, &config.pools[0], &[]);
            planned.unwrap().0.directories
        };
        assert_eq!(directories(&["home", "pub"]), ["home", "pub"]);
        assert_eq!(directories(&["home", "pub", "a"]), ["home", "pub", "a"]);
    }

    #[test]
    fn what_clients_know_a_server_and_its_files_by_is_frozen() {
        assert_eq!(
            scope("lab", "tank"),
            "orthrus-bee02ded3471313f92403ca0959e794e"
        );
        let uuid = identity("lab", "tank", "dZqvXl-7mYn-0Vg1-9vJX-OPfE-pkgU-2mHqyV");
        assert_eq!(
            super::super::line::to_hex(&uuid),
            "174cb9ffbbf6d2f160c0d1da699a1a41"
        );
        assert!(scope(&"c".repeat(32), &"p".repeat(32)).len() <= 64);
        assert_ne!(scope("labt", "ank"), scope("lab", "tank"));
    }
}
