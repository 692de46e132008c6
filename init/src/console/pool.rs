//! The arguments of `pool` (`create POOL DISK...` with the default of its volumes, `import POOL`, `destroy POOL`) and of `disk` (`add`, `remove`, `replace` with
//! POOL DISK, `lost` with POOL and the identity of a physical volume, `locate DISK on|off`).

use super::command::Command;
use super::volume::{self, Wrong};
use crate::volume::edit::{Layout, VolumeOrder};
use crate::worker::{NewPool, PoolOrder};

/// Loses what is on the disks.
pub(super) const WIPE: &str = "--wipe";
/// Loses the volumes.
pub(super) const VOLUMES: &str = "--volumes";

/// Options of `pool` that have a value: how its volumes lie when nothing else is said.
pub(super) const VALUED: [&str; 2] = ["--raid", "--images"];

/// What can be done to a pool.
pub(super) const POOL_ACTIONS: [&str; 3] = ["create", "destroy", "import"];
/// What can be done to a disk.
pub(super) const DISK_ACTIONS: [&str; 5] = ["add", "locate", "lost", "remove", "replace"];

/// Options without a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub ledger: bool,
    pub wipe: bool,
    pub volumes: bool,
}

/// The words behind `pool`, and the options with their values.
pub(super) fn parse_pool(
    words: &[&str],
    options: &[(&'static str, &str)],
    flags: Flags,
) -> Result<Command, Wrong> {
    let [action, rest @ ..] = words else {
        return Err(Wrong::Missing("create, import or destroy"));
    };
    if !POOL_ACTIONS.contains(action) {
        return Err(wrong(action, &POOL_ACTIONS.join(", ")));
    }
    let creates = *action == "create";
    only(flags.wipe, creates, WIPE, "an option of create only")?;
    if let (false, Some((option, _))) = (creates, options.first()) {
        return Err(wrong(option, "an option of create only"));
    }
    let destroys = *action == "destroy";
    only(
        flags.volumes,
        destroys,
        VOLUMES,
        "an option of destroy only",
    )?;
    let [pool, disks @ ..] = rest else {
        return Err(Wrong::Missing("the name of a pool"));
    };
    let order = match (creates, disks) {
        (true, []) => return Err(Wrong::Missing("the names of its disks: see `disks`")),
        (true, _) => PoolOrder::Create(NewPool {
            disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
            wipe: flags.wipe,
            layout: volume::layout(options)?.unwrap_or(Layout::Linear),
        }),
        (false, [extra, ..]) => return Err(wrong(extra, "expected here")),
        (false, []) if destroys => PoolOrder::Destroy {
            volumes: flags.volumes,
        },
        (false, []) => PoolOrder::Import,
    };
    Ok(ordered(pool, order))
}

/// The words behind `disk`.
pub(super) fn parse_disk(words: &[&str], flags: Flags) -> Result<Command, Wrong> {
    let [action, rest @ ..] = words else {
        return Err(Wrong::Missing("add, locate, lost, remove or replace"));
    };
    if !DISK_ACTIONS.contains(action) {
        return Err(wrong(action, &DISK_ACTIONS.join(", ")));
    }
    let wipes = matches!(*action, "add" | "replace");
    only(flags.wipe, wipes, WIPE, "an option of add and replace only")?;
    let (one, other) = match rest {
        [one, other] => (*one, (*other).to_owned()),
        [_, _, extra, ..] => return Err(wrong(extra, "expected here")),
        _ if *action == "locate" => return Err(Wrong::Missing("a disk, and on or off")),
        _ => return Err(Wrong::Missing("a pool and a disk: see `disks`")),
    };
    let wipe = flags.wipe;
    Ok(match *action {
        "locate" => Command::Locate {
            disk: one.to_owned(),
            on: match other.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(wrong(&other, "on or off")),
            },
        },
        "add" => ordered(one, PoolOrder::Add { disk: other, wipe }),
        "lost" => ordered(one, PoolOrder::Lost { disk: other }),
        "remove" => ordered(one, PoolOrder::Remove { disk: other }),
        _ => ordered(one, PoolOrder::Replace { disk: other, wipe }),
    })
}

/// The question before an order, where what is lost is more than a slip of the hand may cost.
pub(super) fn question(order: &PoolOrder) -> Option<&'static str> {
    Some(match order {
        PoolOrder::Create(_) => {
            "The disks become a new pool; with --wipe all that is on them is lost. Make it?"
        }
        PoolOrder::Import => {
            "The volume group gets volumes of this firmware's on free extents: up to three copies of the ledger, and one for the \
             state. Make them?"
        }
        PoolOrder::Destroy { volumes: false } => {
            "The pool and all that it keeps for its clients are lost; its disks are bare then. Destroy it?"
        }
        PoolOrder::Destroy { volumes: true } => {
            "All volumes of the pool and all that is on them are lost, and its clients lose them at once. Destroy it?"
        }
        PoolOrder::Replace { .. } => {
            "The disk takes the place of a lost one; with --wipe all that is on it is lost. Go on?"
        }
        PoolOrder::Add { .. } => {
            "The disk becomes one of the pool; with --wipe all that is on it is lost. Add it?"
        }
        PoolOrder::Lost { .. } => {
            "The pool goes on without the disk, and what is on it is not trusted again. If the peer sees it, say no, and mend \
             the path. Is it lost for good?"
        }
        // Asked for the rehearsal.
        PoolOrder::Hang => return None,
        PoolOrder::Remove { .. } => "The disk leaves the pool, and is bare then. Remove it?",
        PoolOrder::Volume(VolumeOrder::RemoveSnapshot { .. }) => {
            "What only the snapshot has is lost, and its clients lose it at once. Remove it?"
        }
        PoolOrder::Volume(VolumeOrder::Restore { .. }) => {
            "What was written to the volume since is lost, its clients lose it for a moment, and the snapshot is no more. \
             Restore it?"
        }
        PoolOrder::Volume(_) | PoolOrder::Client(_) => return None,
    })
}

fn ordered(pool: &str, order: PoolOrder) -> Command {
    Command::Order {
        pool: pool.to_owned(),
        order,
    }
}

fn only(given: bool, fits: bool, option: &str, allowed: &str) -> Result<(), Wrong> {
    match given && !fits {
        true => Err(wrong(option, allowed)),
        false => Ok(()),
    }
}

fn wrong(word: &str, allowed: &str) -> Wrong {
    Wrong::Word(word.to_owned(), allowed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::edit::Raid;

    const NONE: Flags = Flags {
        ledger: false,
        wipe: false,
        volumes: false,
    };
    const WIPES: Flags = Flags { wipe: true, ..NONE };
    const LOSES: Flags = Flags {
        volumes: true,
        ..NONE
    };

    fn without_options(words: &[&str], flags: Flags) -> Result<Command, Wrong> {
        parse_pool(words, &[], flags)
    }

    #[test]
    fn a_new_pool_has_a_default_for_its_volumes() {
        let made = |options: &[(&'static str, &str)]| {
            let words = ["create", "tank", "sda"];
            match parse_pool(&words, options, NONE) {
                Ok(Command::Order {
                    order: PoolOrder::Create(new),
                    ..
                }) => Ok(new.layout),
                Err(why) => Err(why),
                other => panic!("{other:?}"),
            }
        };
        let raid = |level, images| Ok(Layout::Raid(level, images));
        assert_eq!(made(&[]), Ok(Layout::Linear));
        assert_eq!(made(&[("--raid", "linear")]), Ok(Layout::Linear));
        assert_eq!(made(&[("--raid", "raid6")]), raid(Raid::Raid6, 5));
        assert_eq!(
            made(&[("--images", "8"), ("--raid", "raid6")]),
            raid(Raid::Raid6, 8)
        );
        for (options, bad) in [
            (&[("--raid", "raid7")][..], "raid7"),
            (&[("--images", "3")], "--images"),
            (&[("--raid", "raid6"), ("--images", "4")], "4"),
        ] {
            assert!(
                matches!(made(options), Err(Wrong::Word(word, _)) if word == bad),
                "{options:?}"
            );
        }
        for words in [&["destroy", "tank"][..], &["import", "tank"]] {
            let refused = parse_pool(words, &[("--raid", "raid1")], NONE);
            assert!(matches!(refused, Err(Wrong::Word(word, _)) if word == "--raid"));
        }
    }

    #[test]
    fn each_action_is_what_it_says() {
        let disk = || "sda".to_owned();
        for (words, flags, order) in [
            (
                "create tank sda",
                WIPES,
                PoolOrder::Create(NewPool {
                    disks: vec![disk()],
                    wipe: true,
                    layout: Layout::Linear,
                }),
            ),
            ("import tank", NONE, PoolOrder::Import),
            ("destroy tank", NONE, PoolOrder::Destroy { volumes: false }),
            ("destroy tank", LOSES, PoolOrder::Destroy { volumes: true }),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(without_options(&words, flags), Ok(ordered("tank", order)));
        }
        for (words, flags, command) in [
            (
                "add tank sda",
                WIPES,
                ordered(
                    "tank",
                    PoolOrder::Add {
                        disk: disk(),
                        wipe: true,
                    },
                ),
            ),
            (
                "remove tank sda",
                NONE,
                ordered("tank", PoolOrder::Remove { disk: disk() }),
            ),
            (
                "replace tank sda",
                NONE,
                ordered(
                    "tank",
                    PoolOrder::Replace {
                        disk: disk(),
                        wipe: false,
                    },
                ),
            ),
            (
                "lost tank pv-1",
                NONE,
                ordered(
                    "tank",
                    PoolOrder::Lost {
                        disk: "pv-1".to_owned(),
                    },
                ),
            ),
            (
                "locate sda on",
                NONE,
                Command::Locate {
                    disk: disk(),
                    on: true,
                },
            ),
            (
                "locate sda off",
                NONE,
                Command::Locate {
                    disk: disk(),
                    on: false,
                },
            ),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(parse_disk(&words, flags), Ok(command));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Parse = fn(&[&str], Flags) -> Result<Command, Wrong>;
        for (parse, words, flags, bad) in [
            (without_options as Parse, "make tank", NONE, "make"),
            (without_options, "create tank sda", LOSES, VOLUMES),
            (without_options, "destroy tank", WIPES, WIPE),
            (without_options, "destroy tank sda", NONE, "sda"),
            (without_options, "import tank sda", NONE, "sda"),
            (without_options, "import tank", LOSES, VOLUMES),
            (without_options, "import tank", WIPES, WIPE),
            (parse_disk, "fail tank sda", NONE, "fail"),
            (parse_disk, "remove tank sda", WIPES, WIPE),
            (parse_disk, "add tank sda sdb", NONE, "sdb"),
            (parse_disk, "locate sda blink", NONE, "blink"),
            (parse_disk, "locate sda on", WIPES, WIPE),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            match parse(&words, flags) {
                Err(Wrong::Word(word, _)) => assert_eq!(word, bad, "{words:?}"),
                other => panic!("{words:?}: {other:?}"),
            }
        }
        for (parse, words) in [
            (without_options as Parse, ""),
            (without_options, "create"),
            (without_options, "create tank"),
            (without_options, "destroy"),
            (parse_disk, ""),
            (parse_disk, "add tank"),
            (parse_disk, "locate sda"),
        ] {
            let words: Vec<&str> = words.split_ascii_whitespace().collect();
            let answer = parse(&words, NONE);
            assert!(matches!(answer, Err(Wrong::Missing(_))), "{answer:?}");
        }
    }
}
