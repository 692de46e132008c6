//! The arguments of `volume`: `create POOL/NAME SIZE`, `grow POOL/NAME SIZE`, `rename POOL/OLD NEW`, `remove POOL/NAME`.

use crate::filesystem::Kind;
use crate::volume::edit::{Layout, Raid, VolumeOrder};

/// Options of `volume` that have a value.
pub(super) const VALUED: [&str; 4] = ["--raid", "--images", "--stripes", "--fs"];

/// What can be done to a volume.
pub(super) const ACTIONS: [&str; 4] = ["create", "grow", "rename", "remove"];

/// Levels of RAID, by name.
const LEVELS: [(&str, Raid); 5] = [
    ("raid0", Raid::Raid0),
    ("raid1", Raid::Raid1),
    ("raid5", Raid::Raid5),
    ("raid6", Raid::Raid6),
    ("raid10", Raid::Raid10),
];

/// A word that is wrong, or lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Missing(&'static str),
    Word(String, String),
}

/// Pool and order, from the words behind `volume` and the options with their values.
pub(super) fn parse(
    words: &[&str],
    options: &[(&'static str, &str)],
) -> Result<(String, VolumeOrder), Wrong> {
    let wrong = |word: &str, allowed: &str| Wrong::Word(word.to_owned(), allowed.to_owned());
    let mut words = words.iter();
    let action = *words
        .next()
        .ok_or(Wrong::Missing("create, grow, rename or remove"))?;
    if !ACTIONS.contains(&action) {
        return Err(wrong(action, &ACTIONS.join(", ")));
    }
    let place = *words.next().ok_or(Wrong::Missing("POOL/NAME"))?;
    let (pool, name) = place
        .split_once('/')
        .filter(|(pool, name)| !pool.is_empty() && !name.is_empty())
        .ok_or_else(|| wrong(place, "POOL/NAME"))?;
    let name = name.to_owned();
    let mut size = || {
        let word = *words.next().ok_or(Wrong::Missing("a size, as 50G"))?;
        bytes(word).ok_or_else(|| wrong(word, "a size: a number and K, M, G or T (powers of 1024)"))
    };
    let order = match action {
        "create" => VolumeOrder::Create {
            name,
            bytes: size()?,
            layout: layout(options)?,
            filesystem: filesystem(options)?,
        },
        "grow" => VolumeOrder::Grow {
            name,
            bytes: size()?,
        },
        "rename" => {
            let new = *words.next().ok_or(Wrong::Missing("the new name"))?;
            // It stays in its pool.
            if new.contains('/') {
                return Err(wrong(new, "a name without its pool"));
            }
            let new = new.to_owned();
            VolumeOrder::Rename { name, new }
        }
        _ => VolumeOrder::Remove { name },
    };
    if let Some(extra) = words.next() {
        return Err(wrong(extra, "expected here"));
    }
    match options.first() {
        Some((option, _)) if action != "create" => Err(wrong(option, "an option of create only")),
        _ => Ok((pool.to_owned(), order)),
    }
}

/// Bytes of a size with its unit.
fn bytes(word: &str) -> Option<u64> {
    let at = word.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = word.split_at(at);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(1 << shift)
}

fn filesystem(options: &[(&'static str, &str)]) -> Result<Option<Kind>, Wrong> {
    let Some((_, word)) = options.iter().find(|(option, _)| *option == "--fs") else {
        return Ok(None);
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == *word);
    let allowed = Kind::ALL.map(Kind::name).join(", ");
    kind.map(Some)
        .ok_or_else(|| Wrong::Word((*word).to_owned(), allowed))
}

fn layout(options: &[(&'static str, &str)]) -> Result<Layout, Wrong> {
    let wrong = |word: &str, allowed: String| Wrong::Word(word.to_owned(), allowed);
    let value = |name: &str| options.iter().find(|(option, _)| *option == name);
    let count = |word: &str, fewest: u64| {
        let count = word.parse::<u64>().ok();
        count
            .filter(|count| (fewest..=64).contains(count))
            .ok_or_else(|| wrong(word, format!("a number from {fewest} to 64")))
    };
    let (raid, images, stripes) = (value("--raid"), value("--images"), value("--stripes"));
    match (raid, images, stripes) {
        (None, None, None) => Ok(Layout::Linear),
        (None, None, Some((_, word))) => Ok(Layout::Striped(count(word, 2)?)),
        (Some((_, word)), images, None) => {
            let level = LEVELS.iter().find(|(name, _)| name == word);
            let (_, level) = level.ok_or_else(|| {
                let names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
                wrong(word, names.join(", "))
            })?;
            let images = match images {
                Some((_, word)) => count(word, level.fewest())?,
                None => level.fewest(),
            };
            if *level == Raid::Raid10 && images % 2 == 1 {
                return Err(wrong(
                    &images.to_string(),
                    "an even number for raid10".into(),
                ));
            }
            Ok(Layout::Raid(*level, images))
        }
        (Some(_), _, Some((option, _))) => {
            Err(wrong(option, "an option together with --raid".into()))
        }
        (None, Some((option, _)), _) => Err(wrong(option, "an option without --raid".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(size: &str, options: &[(&'static str, &str)]) -> Result<(u64, Layout), Wrong> {
        match parse(&["create", "tank/vol", size], options)?.1 {
            VolumeOrder::Create { bytes, layout, .. } => Ok((bytes, layout)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_and_layouts_are_what_they_say() {
        let raid = |level, images| Layout::Raid(level, images);
        assert_eq!(created("50G", &[]), Ok((50 << 30, Layout::Linear)));
        assert_eq!(
            created("7m", &[("--raid", "raid6")]),
            Ok((7 << 20, raid(Raid::Raid6, 5)))
        );
        assert_eq!(
            created("1T", &[("--images", "3"), ("--raid", "raid1")]),
            Ok((1 << 40, raid(Raid::Raid1, 3)))
        );
        assert_eq!(
            created("64K", &[("--stripes", "2")]),
            Ok((64 << 10, Layout::Striped(2)))
        );
        let (pool, order) = parse(&["remove", "tank/vol"], &[]).unwrap();
        assert_eq!((pool.as_str(), order.name()), ("tank", "vol"));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (words, options, bad) in [
            (&["destroy", "tank/vol"][..], &[][..], "destroy"),
            (&["remove", "vol"], &[], "vol"),
            (&["rename", "tank/vol", "tank/new"], &[], "tank/new"),
            (&["rename", "tank/vol", "new", "newer"], &[], "newer"),
            (&["remove", "/vol"], &[], "/vol"),
            (&["remove", "tank/vol", "4G"], &[], "4G"),
            (&["create", "tank/vol", "50"], &[], "50"),
            (&["create", "tank/vol", "0G"], &[], "0G"),
            (&["create", "tank/vol", "99999999999T"], &[], "99999999999T"),
            (
                &["create", "tank/vol", "1G"],
                &[("--raid", "raid7")],
                "raid7",
            ),
            (
                &["create", "tank/vol", "1G"],
                &[("--images", "3")],
                "--images",
            ),
            (
                &["create", "tank/vol", "1G"],
                &[("--raid", "raid5"), ("--images", "2")],
                "2",
            ),
            (
                &["create", "tank/vol", "1G"],
                &[("--raid", "raid10"), ("--images", "5")],
                "5",
            ),
            (&["create", "tank/vol", "1G"], &[("--fs", "ntfs")], "ntfs"),
            (
                &["grow", "tank/vol", "1G"],
                &[("--raid", "raid1")],
                "--raid",
            ),
        ] {
            match parse(words, options) {
                Err(Wrong::Word(word, _)) => assert_eq!(word, bad),
                other => panic!("{words:?}: {other:?}"),
            }
        }
        assert!(matches!(parse(&[], &[]), Err(Wrong::Missing(_))));
        assert!(matches!(
            parse(&["create", "t/v"], &[]),
            Err(Wrong::Missing(_))
        ));
    }
}
