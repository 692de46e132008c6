//! The arguments of `client`: `add POOL NAME` and `remove POOL NAME` of an initiator or an NVMe host, `add POOL/TARGET NAME` of an initiator where
//! a pool has several targets, `add POOL/SHARE ADDRESS` and `remove POOL/SHARE ADDRESS` of a share.

use super::command::Command;
use super::json;
use super::volume::Wrong;
use crate::config::{Client, Login};
use crate::worker::{ClientOrder, PoolOrder};

/// What can be done to a client.
pub(super) const ACTIONS: [&str; 2] = ["add", "remove"];

/// Options that have a value.
pub(super) const VALUED: [&str; 6] = [
    "--user",
    "--password",
    "--mutual-user",
    "--mutual-password",
    "--access",
    "--squash",
];

/// The words behind `client`, and the options with their values.
pub(super) fn parse(words: &[&str], options: &[(&'static str, &str)]) -> Result<Command, Wrong> {
    let [action, rest @ ..] = words else {
        return Err(Wrong::Missing("add or remove"));
    };
    let adds = match *action {
        "add" => true,
        "remove" => false,
        _ => return Err(Wrong::Word((*action).to_owned(), ACTIONS.join(", "))),
    };
    let (place, name) = match rest {
        [place, name] => (*place, *name),
        [_, _, extra, ..] => {
            return Err(Wrong::Word((*extra).to_owned(), "expected here".to_owned()));
        }
        _ => {
            return Err(Wrong::Missing(
                "a pool and the name of an initiator or host, POOL/TARGET and the name of an initiator, or POOL/SHARE and an address or network",
            ));
        }
    };
    if let (false, Some((option, _))) = (adds, options.first()) {
        let allowed = "an option of add only".to_owned();
        return Err(Wrong::Word((*option).to_owned(), allowed));
    }
    let value = |name: &str| {
        let found = options.iter().find(|(option, _)| *option == name);
        found.map(|(_, value)| *value)
    };
    let login = Login {
        user: value("--user"),
        password: value("--password"),
        mutual_user: value("--mutual-user"),
        mutual_password: value("--mutual-password"),
    };
    let (pool, within) = match place.split_once('/') {
        Some((pool, within)) => (pool, Some(within)),
        None => (place, None),
    };
    let client = Client::new(within, name, login)
        .and_then(|client| client.with_rights(value("--access"), value("--squash")));
    let client = client.map_err(Wrong::Sentence)?;
    let order = match adds {
        true => ClientOrder::Add(client),
        false => ClientOrder::Remove(client),
    };
    Ok(Command::Order {
        pool: pool.to_owned(),
        order: PoolOrder::Client(Box::new(order)),
    })
}

/// Whether a line has something that is not to be shown again; whatever a program's request has is a program's, also one of which the
/// first byte was lost on its way.
pub(super) fn is_secret(line: &str) -> bool {
    json::is_request(line) || line.contains('"') || line.contains("password")
}
