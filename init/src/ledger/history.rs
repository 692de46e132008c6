//! What both heads said, from the flight records on the disks: `log --ledger`.
//!
//! Readable by either head at any time, with or without a claim, and after both have died. Every copy is read;
//! blocks that are torn, or not of this cluster and pool, are left out; a line that several blocks, copies or pools hold
//! is shown once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use orthrus_hb::ledger::{BLOCK_BYTES, FLIGHT_BLOCK, FLIGHT_BLOCKS};
use orthrus_hb::{HeadId, Incarnation};
use serde_json::{Value, json};

use super::Keeper;
use super::date;
use super::device::{Access, Device, Opener};
use super::flight::{self, Block};
use super::region::Region;
use crate::disk::parallel;
use crate::log::Line;

/// How long all copies together may take.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// A line of one boot of one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub head: HeadId,
    /// Of which boot.
    pub incarnation: Incarnation,
    /// Its number in that boot.
    pub number: u64,
    /// When it was said, in milliseconds since 1970; `None` when that head's clock was not set.
    pub at_ms: Option<u64>,
    /// What was said, and when after the kernel's start.
    pub line: Line,
}

/// What was found, oldest first.
#[derive(Debug, Default)]
pub struct History {
    /// The lines.
    pub entries: Vec<Entry>,
    /// Copies that could not be read, in words.
    pub troubles: Vec<String>,
}

impl History {
    /// Reads the flight records of both heads from all these copies, of one pool or several.
    pub fn read(regions: &[Region], keeper: &Keeper, opener: Opener) -> History {
        let secret = *keeper.secret.expose();
        let copies = parallel::each(regions, READ_LIMIT, move |region| {
            let mut device = Device::open(region, Access::Read, 2 * FLIGHT_BLOCKS, opener)?;
            let bytes = device.read(FLIGHT_BLOCK)?.chunks_exact(BLOCK_BYTES);
            let blocks = bytes.filter_map(|b| flight::decode(b, &region.place, &secret).ok());
            Ok::<Vec<Block>, std::io::Error>(blocks.collect())
        });
        let (mut blocks, mut troubles) = (Vec::new(), Vec::new());
        for (region, copy) in regions.iter().zip(copies) {
            let (number, disk) = (region.copy, &region.disk.name);
            let trouble = match copy {
                Some(Ok(read)) => {
                    blocks.extend(read);
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None => format!("no answer within {} s", READ_LIMIT.as_secs()),
            };
            troubles.push(format!("copy {number} of the ledger, on {disk}: {trouble}"));
        }
        History {
            entries: merge(&blocks),
            troubles,
        }
    }

    /// For people. `name` is what the operator calls a head.
    pub fn text(&self, name: impl Fn(HeadId) -> String) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let when = entry.at_ms.map_or("-".to_owned(), date::text);
            let (who, boot) = (name(entry.head), boot(&entry.incarnation));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{when:<23} {who} {boot} {}", entry.line);
        }
        for trouble in &self.troubles {
            let _ = writeln!(text, "{trouble}");
        }
        if text.is_empty() {
            text.push_str(
                "the flight record is empty: no head has held the pool since it was made\n",
            );
        }
        text
    }

    /// For programs.
    pub fn json(&self, name: impl Fn(HeadId) -> String) -> Value {
        let entries = self.entries.iter().map(|entry| {
            json!({
                "head": name(entry.head),
                "boot": boot(&entry.incarnation),
                "number": entry.number,
                "time": entry.at_ms.map(date::text),
                "line": entry.line,
            })
        });
        json!({ "lines": entries.collect::<Vec<_>>(), "troubles": self.troubles })
    }
}

/// The beginning of an incarnation: enough to tell boots apart.
fn boot(incarnation: &Incarnation) -> String {
    incarnation.0[..3]
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Each line once. By time where all clocks were set; else boot by boot, in an order that says nothing.
fn merge(blocks: &[Block]) -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    for block in blocks {
        for (number, line) in (block.first..).zip(&block.lines) {
            let entry = Entry {
                head: block.head,
                incarnation: block.incarnation,
                number,
                at_ms: block.booted_ms.map(|ms| ms + line.at_us / 1000),
                line: line.clone(),
            };
            entries.insert((block.head, block.incarnation.0, number), entry);
        }
    }
    let mut entries: Vec<Entry> = entries.into_values().collect();
    if entries.iter().all(|entry| entry.at_ms.is_some()) {
        // Stable: lines of one moment stay in their order.
        entries.sort_by_key(|entry| entry.at_ms);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Level, Source};

    fn block(head: HeadId, boot: u8, booted_ms: Option<u64>, lines: &[(u64, &str)]) -> Block {
        let lines = lines
            .iter()
            .map(|(at_us, text)| Line::new(*at_us, Level::Info, Source::Orthrus, text));
        Block {
            head,
            incarnation: Incarnation([boot; 8]),
            sequence: 0,
            first: 0,
            booted_ms,
            lines: lines.collect(),
        }
    }

    fn texts(blocks: &[Block]) -> Vec<String> {
        let entries = merge(blocks).into_iter();
        entries.map(|entry| entry.line.text).collect()
    }

    #[test]
    fn lines_of_both_heads_are_merged_by_the_wall_clock() {
        let a = block(
            HeadId::First,
            1,
            Some(10_000),
            &[(1_000_000, "a1"), (3_000_000, "a2")],
        );
        let b = block(
            HeadId::Second,
            2,
            Some(11_000),
            &[(500_000, "b1"), (1_000_000, "b2")],
        );
        assert_eq!(texts(&[a, b]), ["a1", "b1", "b2", "a2"]);
    }

    #[test]
    fn a_line_in_several_blocks_is_shown_once_and_boots_are_told_apart() {
        let one = block(HeadId::First, 1, Some(0), &[(1, "one")]);
        let longer = block(HeadId::First, 1, Some(0), &[(1, "one"), (2, "two")]);
        let reboot = block(HeadId::First, 3, Some(5_000), &[(1, "one")]);
        assert_eq!(
            texts(&[one.clone(), longer, one, reboot]),
            ["one", "two", "one"]
        );
    }

    #[test]
    fn without_a_clock_each_boot_stands_by_itself() {
        let a = block(HeadId::First, 1, None, &[(9_000_000, "a")]);
        let b = block(HeadId::Second, 2, Some(1), &[(1, "b1"), (2, "b2")]);
        assert_eq!(texts(&[b, a]), ["a", "b1", "b2"]);
    }

    #[test]
    fn a_line_says_when_who_and_in_which_boot() {
        let entries = merge(&[block(
            HeadId::First,
            0xab,
            Some(1_790_000_000_000),
            &[(2_500_000, "standby")],
        )]);
        let history = History {
            entries,
            troubles: vec!["copy 1".into()],
        };
        assert_eq!(
            history.text(|_| "a".into()),
            "2026-09-21 14:13:22.500 a ababab [    2.500000] info  standby\ncopy 1\n"
        );
        let json = history.json(|_| "a".into());
        assert_eq!(json["lines"][0]["boot"], "ababab");
        assert_eq!(json["lines"][0]["line"]["text"], "standby");
        assert!(History::default().text(|_| String::new()).contains("empty"));
    }
}
