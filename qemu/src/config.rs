//! `orthrus.toml`: generated for a lab that was given none, and read for what the lab itself has to
//! know of one that it was given (pools, addresses, target names; nothing is judged here).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::disks::vgname;
use crate::names::Head;
use crate::spec::Pool;
use crate::vm::wiring::mac;

/// The client's name as an initiator.
pub const CLIENT_IQN: &str = "iqn.1993-08.org.debian:01:client";

/// Another name, that a second initiator in the client may use, with a proof.
pub const RIVAL_IQN: &str = "iqn.1993-08.org.debian:01:rival";
/// What it proves with, and what the target proves with to it: user and password.
pub const RIVAL_CHAP: [(&str, &str); 2] =
    [("rival", "rivals-secret"), ("target", "targets-secret")];

/// A configuration in which every volume group found is a pool and each of its volumes a LUN.
/// Pools take turns in which head is their home.
pub fn generate(disks: &[PathBuf], secret: &str, dead_ms: u32) -> String {
    let groups: BTreeSet<String> = disks.iter().filter_map(|disk| vgname::read(disk)).collect();
    let mut text =
        format!("cluster = \"lab\"\nsecret = \"{secret}\"\n\n[heartbeat]\ndead_ms = {dead_ms}\n");
    for head in Head::BOTH {
        let _ = write!(
            text,
            "\n[[head]]\nname = \"{head}\"\nmac = \"{0}\"\nheartbeat = \"{0}\"\ndata = \"{1}\"\n",
            mac(head, 1),
            mac(head, 2),
        );
    }
    let [(user, password), (target, proof)] = RIVAL_CHAP;
    for (index, group) in groups.iter().enumerate() {
        let _ = write!(
            text,
            "\n[[pool]]\nname = \"{group}\"\nvg = \"{group}\"\nhome = \"{}\"\naddress = \"10.77.0.{}/24\"\n\
             [pool.iscsi]\niqn = \"iqn.2026-01.org.orthrus:{}\"\nclients = [\"{CLIENT_IQN}\", \"{RIVAL_IQN}\"]\nluns = \"all\"\n\
             [[pool.iscsi.chap]]\nclient = \"{RIVAL_IQN}\"\nuser = \"{user}\"\npassword = \"{password}\"\n\
             mutual_user = \"{target}\"\nmutual_password = \"{proof}\"\n",
            Head::BOTH[index % 2],
            10 + index,
            group.to_lowercase().replace(['_', '+'], "-"),
        );
    }
    text
}

/// A secret for one lab.
pub fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The pools of a configuration; none if it cannot be read (the heads say what is wrong with it).
pub fn pools(text: &str) -> Vec<Pool> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let Some(pools) = table.get("pool").and_then(|pools| pools.as_array()) else {
        return Vec::new();
    };
    pools
        .iter()
        .filter_map(|pool| {
            let address = pool.get("address")?;
            let address = address
                .as_str()
                .or_else(|| address.as_array()?.first()?.as_str())?;
            Some(Pool {
                name: pool.get("name")?.as_str()?.to_owned(),
                address: address.split('/').next()?.to_owned(),
                // Of several the first: that is the one that the writer writes to.
                iqn: pool
                    .get("iscsi")
                    .map(|iscsi| iscsi.get(0).unwrap_or(iscsi))
                    .and_then(|iscsi| Some(iscsi.get("iqn")?.as_str()?.to_owned())),
                shares: pool
                    .get("nfs")
                    .and_then(|nfs| nfs.get("share")?.as_array())
                    .into_iter()
                    .flatten()
                    .filter_map(|share| {
                        let name = share.get("name").or_else(|| share.get("volume"))?;
                        Some(name.as_str()?.to_owned())
                    })
                    .collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_read_back() {
        let text = generate(&[], &"0".repeat(64), 1000);
        assert!(text.parse::<toml::Table>().is_ok());
        assert!(pools(&text).is_empty());
    }

    #[test]
    fn addresses_may_be_a_list() {
        let text = "[[pool]]\nname='x'\naddress=['10.0.0.1/24','10.0.0.2/24']\n[pool.iscsi]\niqn='iqn.x'\n\
                    [[pool.nfs.share]]\nvolume='v'\n[[pool.nfs.share]]\nname='n'\nvolume='w'\n";
        let expected = Pool {
            name: "x".into(),
            address: "10.0.0.1".into(),
            iqn: Some("iqn.x".into()),
            shares: vec!["v".into(), "n".into()],
        };
        assert_eq!(pools(text), std::slice::from_ref(&expected));
        let second = "[[pool.iscsi]]\niqn='iqn.y'\n[[pool.nfs";
        let several =
            text.replacen("[pool.iscsi]", "[[pool.iscsi]]", 1)
                .replacen("[[pool.nfs", second, 1);
        assert_eq!(pools(&several), [expected]);
        assert!(pools("cluster = ").is_empty());
    }
}
