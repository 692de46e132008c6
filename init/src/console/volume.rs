//! The arguments of `volume`: `create POOL/NAME SIZE`, `thin-pool POOL/NAME SIZE`, `grow POOL/NAME SIZE`,
//! `rename POOL/OLD NEW`, `remove POOL/NAME`; and of `snapshot`: `create POOL/ORIGIN NAME [SIZE]`, `restore POOL/NAME`, `remove POOL/NAME`.

use crate::filesystem::Kind;
use crate::volume::edit::{Layout, Raid, VolumeOrder};

/// Options of `volume` that have a value.
pub(super) const VALUED: [&str; 5] = ["--raid", "--images", "--stripes", "--fs", "--thin"];

/// What can be done to a volume.
pub(super) const ACTIONS: [&str; 5] = ["create", "grow", "rename", "remove", "thin-pool"];

/// What can be done to a snapshot.
pub(super) const SNAPSHOT_ACTIONS: [&str; 3] = ["create", "restore", "remove"];

/// What `--raid` says where a pool's default is not wanted.
const LINEAR: &str = "linear";

/// A word that is wrong, or lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Missing(&'static str),
    Word(String, String),
    /// All that is to be said.
    Sentence(String),
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
        .ok_or(Wrong::Missing("create, thin-pool, grow, rename or remove"))?;
    if !ACTIONS.contains(&action) {
        return Err(wrong(action, &ACTIONS.join(", ")));
    }
    let (pool, name) = place(words.next().copied())?;
    let thin = options.iter().find(|(option, _)| *option == "--thin");
    let mut size = || {
        let word = *words.next().ok_or(Wrong::Missing("a size, as 50G"))?;
        bytes(word).ok_or_else(|| wrong(word, "a size: a number and K, M, G or T (powers of 1024)"))
    };
    let order = match action {
        "create" if thin.is_some() => {
            // It lies where its pool does.
            if let Some((option, _)) = options.iter().find(|(option, _)| *option != "--thin") {
                return Err(wrong(option, "an option together with --thin"));
            }
            VolumeOrder::CreateThin {
                name,
                bytes: size()?,
                pool: thin.map(|(_, pool)| (*pool).to_owned()).unwrap_or_default(),
            }
        }
        "thin-pool" => {
            let others = ["--thin", "--fs"];
            if let Some((option, _)) = options.iter().find(|(option, _)| others.contains(option)) {
                return Err(wrong(option, "an option of create only"));
            }
            VolumeOrder::CreatePool {
                name,
                bytes: size()?,
                layout: layout(options)?,
            }
        }
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
        Some((option, _)) if !matches!(action, "create" | "thin-pool") => {
            Err(wrong(option, "an option of create only"))
        }
        _ => Ok((pool, order)),
    }
}

/// Pool and order, from the words behind `snapshot`.
pub(super) fn parse_snapshot(words: &[&str]) -> Result<(String, VolumeOrder), Wrong> {
    let wrong = |word: &str, allowed: &str| Wrong::Word(word.to_owned(), allowed.to_owned());
    let mut words = words.iter();
    let action = *words
        .next()
        .ok_or(Wrong::Missing("create, restore or remove"))?;
    if !SNAPSHOT_ACTIONS.contains(&action) {
        return Err(wrong(action, &SNAPSHOT_ACTIONS.join(", ")));
    }
    let (pool, name) = place(words.next().copied())?;
    let order = match action {
        "create" => {
            let new = *words
                .next()
                .ok_or(Wrong::Missing("the name of the snapshot"))?;
            // It is where its origin is.
            if new.contains('/') {
                return Err(wrong(new, "a name without its pool"));
            }
            let size = words.next().map(|word| {
                bytes(word).ok_or_else(|| {
                    wrong(word, "a size: a number and K, M, G or T (powers of 1024)")
                })
            });
            VolumeOrder::Snapshot {
                name: new.to_owned(),
                origin: name,
                bytes: size.transpose()?,
            }
        }
        "restore" => VolumeOrder::Restore { name },
        _ => VolumeOrder::RemoveSnapshot { name },
    };
    match words.next() {
        Some(extra) => Err(wrong(extra, "expected here")),
        None => Ok((pool, order)),
    }
}

fn place(word: Option<&str>) -> Result<(String, String), Wrong> {
    let word = word.ok_or(Wrong::Missing("POOL/NAME"))?;
    let parts = word
        .split_once('/')
        .filter(|(pool, name)| !pool.is_empty() && !name.is_empty());
    let (pool, name) = parts.ok_or_else(|| Wrong::Word(word.to_owned(), "POOL/NAME".to_owned()))?;
    Ok((pool.to_owned(), name.to_owned()))
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

/// How a volume lies, if that is said.
pub(super) fn layout(options: &[(&'static str, &str)]) -> Result<Option<Layout>, Wrong> {
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
        (None, None, None) => Ok(None),
        (None, None, Some((_, word))) => Ok(Some(Layout::Striped(count(word, 2)?))),
        (Some((_, LINEAR)), None, None) => Ok(Some(Layout::Linear)),
        (Some((_, LINEAR)), Some((option, _)), None) => {
            Err(wrong(option, format!("an option of --raid {LINEAR}")))
        }
        (Some((_, word)), images, None) => {
            let level = Raid::ALL.into_iter().find(|level| level.name() == *word);
            let level = level.ok_or_else(|| {
                let names = Raid::ALL.map(Raid::name);
                wrong(word, format!("{LINEAR}, {}", names.join(", ")))
            })?;
            let images = match images {
                Some((_, word)) => count(word, level.fewest())?,
                None => level.fewest(),
            };
            if level == Raid::Raid10 && images % 2 == 1 {
                return Err(wrong(
                    &images.to_string(),
                    "an even number for raid10".into(),
                ));
            }
            Ok(Some(Layout::Raid(level, images)))
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

    fn created(
        size: &str,
        options: &[(&'static str, &str)],
    ) -> Result<(u64, Option<Layout>), Wrong> {
        match parse(&["create", "tank/vol", size], options)?.1 {
            VolumeOrder::Create { bytes, layout, .. } => Ok((bytes, layout)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_and_layouts_are_what_they_say() {
        let raid = |level, images| Some(Layout::Raid(level, images));
        // The pool has it.
        assert_eq!(created("50G", &[]), Ok((50 << 30, None)));
        assert_eq!(
            created("50G", &[("--raid", "linear")]),
            Ok((50 << 30, Some(Layout::Linear)))
        );
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
            Ok((64 << 10, Some(Layout::Striped(2))))
        );
        let (pool, order) = parse(&["remove", "tank/vol"], &[]).unwrap();
        assert_eq!((pool.as_str(), order.name()), ("tank", "vol"));
    }

    #[test]
    fn thin_volumes_and_snapshots_are_said_by_name() {
        let order = |words: &[&str], options: &[(&'static str, &'static str)]| {
            parse(words, options).unwrap().1
        };
        assert_eq!(
            order(&["thin-pool", "tank/tp", "8G"], &[("--raid", "raid1")]),
            VolumeOrder::CreatePool {
                name: "tp".to_owned(),
                bytes: 8 << 30,
                layout: Some(Layout::Raid(Raid::Raid1, 2)),
            }
        );
        assert_eq!(
            order(&["create", "tank/vol", "1T"], &[("--thin", "tp")]),
            VolumeOrder::CreateThin {
                name: "vol".to_owned(),
                bytes: 1 << 40,
                pool: "tp".to_owned(),
            }
        );
        let (pool, order) = parse_snapshot(&["create", "tank/vol", "before"]).unwrap();
        assert_eq!(pool, "tank");
        assert_eq!(
            order,
            VolumeOrder::Snapshot {
                name: "before".to_owned(),
                origin: "vol".to_owned(),
                bytes: None,
            }
        );
        let (_, order) = parse_snapshot(&["create", "tank/vol", "before", "2G"]).unwrap();
        assert!(
            matches!(order, VolumeOrder::Snapshot { bytes, .. } if bytes == Some(2 << 30)),
            "{order:?}"
        );
        let name = || "before".to_owned();
        for (action, wanted) in [
            ("restore", VolumeOrder::Restore { name: name() }),
            ("remove", VolumeOrder::RemoveSnapshot { name: name() }),
        ] {
            assert_eq!(parse_snapshot(&[action, "tank/before"]).unwrap().1, wanted);
        }
        for (words, bad) in [
            (&["merge", "tank/s"][..], "merge"),
            (&["create", "vol", "s"], "vol"),
            (&["create", "tank/vol", "tank/s"], "tank/s"),
            (&["create", "tank/vol", "s", "much"], "much"),
            (&["create", "tank/vol", "s", "1G", "2G"], "2G"),
            (&["restore", "tank/s", "now"], "now"),
        ] {
            match parse_snapshot(words) {
                Err(Wrong::Word(word, _)) => assert_eq!(word, bad),
                other => panic!("{words:?}: {other:?}"),
            }
        }
        assert!(matches!(
            parse_snapshot(&["create", "tank/vol"]),
            Err(Wrong::Missing(_))
        ));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (words, options, bad) in [
            (&["destroy", "tank/vol"][..], &[][..], "destroy"),
            (&["remove", "vol"], &[], "vol"),
            (&["rename", "tank/vol", "tank/new"], &[], "tank/new"),
            (&["thin-pool", "tank/tp", "1G"], &[("--fs", "ext4")], "--fs"),
            (
                &["create", "tank/vol", "1G"],
                &[("--thin", "tp"), ("--raid", "raid1")],
                "--raid",
            ),
            (&["grow", "tank/vol", "1G"], &[("--thin", "tp")], "--thin"),
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
                &[("--raid", "linear"), ("--images", "2")],
                "--images",
            ),
            (
                &["create", "tank/vol", "1G"],
                &[("--raid", "linear"), ("--stripes", "2")],
                "--stripes",
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
