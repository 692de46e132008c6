//! Damage: labels, headers and texts with other bytes than lvm2 wrote. What is read is the same as before, or an error
//! that says so; never a panic, and never a table that touches what is not the volume's.
//!
//! Each run is bounded; `ORTHRUS_FUZZ=N` makes N times as many, and says how many there were.

use std::collections::BTreeMap;

use super::made::Made;
use super::museum::museum;
use super::{Image, disk};
use crate::chance::{Chance, times};
use crate::volume::plan::{Backing, Choice, Plan, Target};
use crate::volume::{VolumeGroup, area, group, label};

macro_rules! images {
    ($($name:literal),*) => {
        [$((
            $name,
            Image::new(include_bytes!(concat!("../../../tests/fixtures/lvm2/", $name, ".sectors"))),
        )),*]
    };
}

fn images() -> Vec<(&'static str, Image)> {
    images![
        "tank-0",
        "tank-1",
        "wrapped",
        "exported",
        "foreign",
        "reduced-0",
        "unused"
    ]
    .into()
}

fn text_of(image: &Image) -> Option<String> {
    let bytes = image.read(0, label::SCANNED).unwrap();
    let label = label::find(&bytes).unwrap()?;
    let area = *label.areas.first()?;
    let header = image.read(area.start, area::HEADER).unwrap();
    let location = area::parse_header(area, &header).unwrap()?;
    let mut bytes = Vec::new();
    for stretch in location.stretches() {
        bytes.extend(image.read(stretch.start, stretch.size as usize).unwrap());
    }
    Some(location.text(bytes).unwrap())
}

/// Texts of every kind, of real lvm2 and of our own.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = images().iter().filter_map(|(_, i)| text_of(i)).collect();
    texts.push(museum().text());
    texts.push(
        Made::on(3)
            .raid("v", "raid5_ls", &[0, 1, 2])
            .missing(1)
            .text(),
    );
    texts
}

/// Every byte that is read of one disk, and some of the others, damaged one after the other: either it does not matter,
/// or it is said.
#[test]
fn damaged_bytes_are_an_error_and_never_a_panic() {
    for (index, (name, whole)) in images().into_iter().enumerate() {
        let before = whole.contents();
        let step = if index == 0 { 1 } else { 37 };
        for sector in whole.0.keys() {
            for byte in (0..512).step_by(step) {
                let mut damaged = Image(whole.0.clone());
                damaged.0.get_mut(sector).unwrap()[byte] ^= 1 << (byte % 8);
                unharmed_or_said(name, &before, &damaged);
            }
        }
    }
}

fn unharmed_or_said(name: &str, before: &super::Contents, damaged: &Image) {
    let contents = damaged.contents();
    let same = contents.pv == before.pv && contents.groups == before.groups;
    let unharmed = same && contents.troubles.is_empty();
    let no_label = contents.pv.is_none() && contents.groups.is_empty();
    // What is still read is as it was: a checksum stands before everything.
    let said = !contents.troubles.is_empty()
        && contents
            .groups
            .iter()
            .all(|group| before.groups.contains(group));
    // The label says where areas are: one that it no longer names is not looked for.
    assert!(unharmed || no_label || said, "{name}: {contents:?}");
}

/// More at once: bytes, whole sectors lost, sectors in one another's place.
#[test]
fn damaged_sectors_are_an_error_and_never_a_panic() {
    let mut chance = Chance(0x6f72_7468_7275_7301);
    let images = images();
    for _ in 0..times(4000) {
        let (name, whole) = chance.of(&images);
        let sectors: Vec<u64> = whole.0.keys().copied().collect();
        let mut damaged = Image(whole.0.clone());
        for _ in 0..=chance.below(3) {
            let (one, other) = (*chance.of(&sectors), *chance.of(&sectors));
            match chance.below(4) {
                0 => {
                    damaged.0.remove(&one);
                }
                1 => {
                    let contents = whole.0[&other];
                    damaged.0.insert(one, contents);
                }
                2 => {
                    damaged.0.insert(one, [chance.next() as u8; 512]);
                }
                _ => {
                    if let Some(sector) = damaged.0.get_mut(&one) {
                        for _ in 0..=chance.below(8) {
                            sector[chance.below(512)] = chance.next() as u8;
                        }
                    }
                }
            }
        }
        unharmed_or_said(name, &whole.contents(), &damaged);
    }
}

/// What stands in texts, and what is at the edge of what can.
const TOKENS: [&str; 28] = [
    "0",
    "1",
    "-1",
    "3",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "99999999999999999999",
    "\"\"",
    "\"pv0\"",
    "\"pv1\"",
    "\"plain\"",
    "\"pool\"",
    "\"origin\"",
    "\"WRITE\"",
    "\"VISIBLE\"",
    "\"raid1\"",
    "\"striped\"",
    "\"thin-pool\"",
    "\"../x\"",
    "[]",
    "{",
    "}",
    "[",
    "]",
    "=",
    "#",
    "\"",
];

fn tokens(text: &str) -> Vec<(usize, usize)> {
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, byte) in text.bytes().enumerate() {
        match (byte.is_ascii_whitespace() || byte == b',', start) {
            (true, Some(from)) => {
                tokens.push((from, at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    tokens
}

fn damage(text: &str, chance: &mut Chance) -> String {
    let mut damaged = text.to_owned();
    for _ in 0..=chance.below(3) {
        let places = tokens(&damaged);
        if places.is_empty() {
            break;
        }
        let ((from, to), (other_from, other_to)) = (*chance.of(&places), *chance.of(&places));
        match chance.below(6) {
            0 => damaged.replace_range(from..to, TOKENS[chance.below(TOKENS.len())]),
            1 => {
                let other = damaged[other_from..other_to].to_owned();
                damaged.replace_range(from..to, &other);
            }
            2 => damaged.replace_range(from..to, ""),
            3 => {
                let line = damaged[from..]
                    .find('\n')
                    .map_or(damaged.len(), |end| from + end);
                damaged.replace_range(from..line, "");
            }
            4 => {
                let token = damaged[from..to].to_owned();
                damaged.insert_str(other_from, &format!("{token} "));
            }
            _ => {
                let at = chance.below(damaged.len());
                let byte = char::from(b' ' + (chance.next() % 95) as u8);
                if damaged.is_char_boundary(at) && damaged.is_char_boundary(at + 1) {
                    damaged.replace_range(at..at + 1, &byte.to_string());
                }
            }
        }
    }
    damaged
}

/// The same below the checksums: text that lies.
#[test]
fn damaged_text_is_an_error_or_another_group_and_never_a_panic() {
    let mut chance = Chance(0x6f72_7468_7275_7302);
    let texts = texts();
    let mut read = 0;
    let runs = times(12_000);
    for run in 0..runs {
        let place = chance.below(texts.len());
        // The large one costs as much as all others together.
        let whole = match run % 32 {
            0 => super::kinds::TEXT,
            _ => &texts[place],
        };
        let text = damage(whole, &mut chance);
        read += usize::from(check(&text));
    }
    // Both ends are reached: damage that does not show, and damage that does.
    assert!(
        read > runs / 20 && read < runs * 19 / 20,
        "{read} of {runs}"
    );
}

/// Every byte of a text, one after the other.
#[test]
fn every_byte_of_a_text_may_be_another_one() {
    let text = text_of(&images()[0].1).unwrap();
    for at in 0..text.len() {
        for other in [
            "9",
            "-",
            "\"",
            "}",
            "{",
            "[",
            "\\",
            "#",
            "",
            "99999999999999999",
        ] {
            let mut damaged = text.clone();
            damaged.replace_range(at..at + 1, other);
            check(&damaged);
        }
        assert!(VolumeGroup::parse(&text[..at]).is_err() || at > text.len() / 2);
    }
}

/// Whether it can be read. What can be read is planned, and the plan held against what the text says.
fn check(text: &str) -> bool {
    let Ok(mut group) = VolumeGroup::parse(text) else {
        return false;
    };
    assert!(group::is_name(&group.name));
    assert!(group.lvs.iter().all(|lv| group::is_name(&lv.name)));
    for (index, pv) in group.pvs.iter_mut().enumerate() {
        pv.disk = Some(disk(index as u32, 1 << 40));
    }
    let _ = group.refusal("lab");
    let _ = group.modules();
    let _ = group.may_leave_out();
    for (skipped, degraded) in [(false, false), (true, true)] {
        if let Ok(plan) = Plan::new(&group, &Choice { skipped, degraded }) {
            check_plan(&group, &plan);
        }
    }
    true
}

/// No table reaches beyond the extents of a disk, and no sector of a disk is in two tables.
fn check_plan(group: &VolumeGroup, plan: &Plan) {
    let mut taken: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for (place, device) in plan.devices.iter().enumerate() {
        assert!(!device.name.contains('/') && device.uuid.starts_with("LVM-"));
        let mut next = 0;
        for line in &device.lines {
            assert!(line.start == next && line.length > 0, "{device:?}");
            next += line.length;
            let (places, each) = match &line.target {
                Target::Linear(place) => (vec![*place], line.length),
                Target::Striped { places, .. } => {
                    (places.clone(), line.length / places.len() as u64)
                }
                Target::Mirror(mirror) => (mirror.images.clone(), line.length),
                _ => (Vec::new(), 0),
            };
            line.target.parameters(&|backing| {
                assert!(!matches!(backing, Backing::Device(below) if below >= place));
                String::new()
            });
            for area in places {
                let Backing::Disk((_, minor)) = area.device else {
                    continue;
                };
                let pv = &group.pvs[minor as usize / 16];
                let end = area.start + each;
                assert!(
                    area.start >= pv.data_start
                        && end <= pv.data_start + pv.extents * group.extent_sectors
                );
                let before = taken.range(..=(minor, area.start)).next_back();
                let apart =
                    before.is_none_or(|((disk, _), end)| *disk != minor || *end <= area.start);
                assert!(apart, "{device:?}");
                taken.insert((minor, area.start), end);
            }
        }
    }
}
