//! How an array is that runs: what is missing, and how far what is made equal has come.

use std::fs;
use std::io;
use std::path::Path;

use super::Array;
use super::assemble::{AssembleError, Running, running};

/// How it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is called.
    pub name: String,
    /// `raid1`, `raid5`, ...
    pub level: String,
    /// What the kernel has.
    pub running: Running,
    /// Slots without a member that has all data.
    pub missing: u32,
    /// What is made equal: how far that is, in percent.
    pub resync: Option<u8>,
}

impl Condition {
    /// Whether the kernel does without this member: it failed, or is no member any more. Not while it has one of which
    /// nobody can say whether it is this one.
    pub fn has_given_up(&self, number: (u32, u32)) -> bool {
        self.running.unnamed == 0 && !self.running.members.contains(&(number, true))
    }
}

/// How an array is; `None` when it does not run.
///
/// # Errors
/// The list of devices cannot be read.
pub fn condition(array: &Array) -> Result<Option<Condition>, AssembleError> {
    let Some(running) = running(&array.id)? else {
        return Ok(None);
    };
    let directory = Path::new("/sys/block").join(&running.name).join("md");
    let text = |attribute: &str| -> io::Result<String> {
        Ok(fs::read_to_string(directory.join(attribute))?
            .trim()
            .to_owned())
    };
    // A raid0 has nothing that could be missing or made equal, and none of these.
    let missing = text("degraded").ok().and_then(|text| text.parse().ok());
    let action = text("sync_action").unwrap_or_default();
    let resync = match action.as_str() {
        "" | "idle" | "frozen" => None,
        _ => Some(text("sync_completed").map_or(0, |text| percent(&text))),
    };
    Ok(Some(Condition {
        name: array.name(),
        level: text("level").unwrap_or_default(),
        missing: missing.unwrap_or(0),
        resync,
        running,
    }))
}

/// `DONE / ALL`, in sectors; `none` before the first, and `delayed` while another one is under way.
fn percent(completed: &str) -> u8 {
    let parts = completed.split_once(" / ");
    let numbers =
        parts.and_then(|(done, all)| Some((done.parse::<u64>().ok()?, all.parse::<u64>().ok()?)));
    let (done, all) = numbers.unwrap_or((0, 1));
    let percent = done.saturating_mul(100).checked_div(all).unwrap_or(0);
    u8::try_from(percent).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_given_up_only_when_the_kernel_says_so() {
        let condition = |members: &[((u32, u32), bool)], unnamed| Condition {
            name: "a".to_owned(),
            level: "raid1".to_owned(),
            running: Running {
                name: "md_0a".to_owned(),
                number: (9, 127),
                bytes: 0,
                members: members.iter().copied().collect(),
                unnamed,
                state: "clean".to_owned(),
            },
            missing: 0,
            resync: None,
        };
        let (one, other) = ((8, 0), (8, 16));
        assert!(!condition(&[(one, true), (other, true)], 0).has_given_up(one));
        assert!(condition(&[(one, false), (other, true)], 0).has_given_up(one));
        assert!(condition(&[(other, true)], 0).has_given_up(one));
        // Its disk is gone, and the superblocks of the others still count on it.
        assert!(!condition(&[(other, true)], 1).has_given_up(one));
    }

    #[test]
    fn how_far_it_is_comes_from_sysfs() {
        for (text, expected) in [
            ("none", 0),
            ("delayed", 0),
            ("512 / 2048", 25),
            ("2048 / 2048", 100),
            ("1 / 0", 0),
        ] {
            assert_eq!(percent(text), expected, "{text}");
        }
    }
}
