//! Which of the two heads this machine is.

use orthrus_hb::HeadId;

use super::{HeadConfig, Identity};
use crate::net::Mac;

/// The machine is neither head, or both.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhoamiError {
    /// Nothing of this machine is in the file.
    #[error("this machine is neither head: {expected}; here are {seen}")]
    Neither {
        /// What the file names.
        expected: String,
        /// What the machine has.
        seen: String,
    },
    /// Both heads of the file fit this machine.
    #[error("this machine is both heads: {expected}; here are {seen}")]
    Both {
        /// What the file names.
        expected: String,
        /// What the machine has.
        seen: String,
    },
}

pub(super) fn find(
    heads: &[HeadConfig; 2],
    macs: &[Mac],
    uuid: Option<&str>,
    serial: Option<&str>,
) -> Result<HeadId, WhoamiError> {
    let fits = |head: &HeadConfig| match &head.identity {
        Identity::Mac(mac) => macs.contains(mac),
        Identity::Smbios(wanted) => [uuid, serial]
            .into_iter()
            .flatten()
            .any(|found| found.trim().eq_ignore_ascii_case(wanted)),
    };
    let expected = || {
        format!(
            "{} has {}, {} has {}",
            heads[0].name,
            describe(&heads[0].identity),
            heads[1].name,
            describe(&heads[1].identity)
        )
    };
    match (fits(&heads[0]), fits(&heads[1])) {
        (true, false) => Ok(HeadId::First),
        (false, true) => Ok(HeadId::Second),
        (false, false) => Err(WhoamiError::Neither {
            expected: expected(),
            seen: seen(macs, uuid, serial),
        }),
        (true, true) => Err(WhoamiError::Both {
            expected: expected(),
            seen: seen(macs, uuid, serial),
        }),
    }
}

fn describe(identity: &Identity) -> String {
    match identity {
        Identity::Mac(mac) => format!("MAC {mac}"),
        Identity::Smbios(text) => format!("SMBIOS {text:?}"),
    }
}

fn seen(macs: &[Mac], uuid: Option<&str>, serial: Option<&str>) -> String {
    let macs = if macs.is_empty() {
        "no network port".to_owned()
    } else {
        let list: Vec<String> = macs.iter().map(Mac::to_string).collect();
        format!("MAC {}", list.join(", "))
    };
    let text = |value: Option<&str>| match value {
        Some(value) => format!("{:?}", value.trim()),
        None => "none".to_owned(),
    };
    format!(
        "{macs}, SMBIOS UUID {}, SMBIOS serial number {}",
        text(uuid),
        text(serial)
    )
}
