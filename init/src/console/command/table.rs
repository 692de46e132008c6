//! The table of commands: what the parser, `help` and completion all read.

use std::fmt::Write as _;

use super::rehearsal::HANG;
use super::{Command, LEDGER};
use crate::console::pool::{self, DISK_ACTIONS, POOL_ACTIONS, VOLUMES, WIPE};
use crate::console::{client, volume};

/// What a command takes besides options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Takes {
    Nothing,
    Lines,
    Pool,
    PoolWords,
    DiskWords,
    Volume,
    SnapshotWords,
    ClientWords,
    Rehearsal,
}

/// One row of the table.
#[derive(Debug)]
pub(in crate::console) struct Verb {
    pub(in crate::console) name: &'static str,
    pub(in crate::console) takes: Takes,
    /// The question to ask first: what the operator is about to lose.
    pub(super) question: Option<&'static str>,
    help: &'static str,
    pub(super) build: fn(Argument) -> Command,
}

/// The argument, after it was checked against [`Takes`].
#[derive(Default)]
pub(super) struct Argument {
    pub(super) pool: String,
    /// What has an own way of being said.
    pub(super) command: Option<Command>,
    pub(super) lines: usize,
    /// `--ledger`.
    pub(super) ledger: bool,
}

pub(in crate::console) const VERBS: &[Verb] = &[
    Verb {
        name: "status",
        takes: Takes::Nothing,
        question: None,
        help: "who serves what, and whether the box is redundant right now",
        build: |_| Command::Status,
    },
    Verb {
        name: "pools",
        takes: Takes::Nothing,
        question: None,
        help: "the pools: state, owner, epoch, volumes, exports, reasons",
        build: |_| Command::Pools,
    },
    Verb {
        name: "disks",
        takes: Takes::Nothing,
        question: None,
        help: "the disks that this head sees: identity, size, write cache, reservation",
        build: |_| Command::Disks,
    },
    Verb {
        name: "links",
        takes: Takes::Nothing,
        question: None,
        help: "the ways to hear the peer, and when it was last heard on each",
        build: |_| Command::Links,
    },
    Verb {
        name: "log",
        takes: Takes::Lines,
        question: None,
        help: "the last log lines (30, or LINES); of both heads from the disks, after they died, with --ledger",
        build: |argument| match argument.ledger {
            false => Command::Log {
                lines: argument.lines,
            },
            true => Command::FlightRecord {
                pool: (!argument.pool.is_empty()).then_some(argument.pool),
            },
        },
    },
    Verb {
        name: "handover",
        takes: Takes::Pool,
        question: None,
        help: "give POOL to the peer, in order: clients see a short pause",
        build: |argument| Command::Handover {
            pool: argument.pool,
        },
    },
    Verb {
        name: "takeover",
        takes: Takes::Pool,
        question: Some(
            "The peer is fenced from the pool and resets if it still serves it. Take it over?",
        ),
        help: "take POOL from the peer by force: it is fenced at the disks",
        build: |argument| Command::Takeover {
            pool: argument.pool,
        },
    },
    Verb {
        name: "giveback",
        takes: Takes::Pool,
        question: None,
        help: "give POOL to its home head, in order",
        build: |argument| Command::Giveback {
            pool: argument.pool,
        },
    },
    Verb {
        name: "volume",
        takes: Takes::Volume,
        question: Some(
            "What is on the volume is lost, and its clients lose it at once. Remove it?",
        ),
        help: "make, grow, rename or remove a volume, or a thin pool, of a pool that this head serves; without --raid or --stripes a new one \
               lies as the pool's default has it, and --raid linear on no RAID",
        build: said,
    },
    Verb {
        name: "snapshot",
        takes: Takes::SnapshotWords,
        question: Some("Each of its actions has a question of its own."),
        help: "keep a thin volume as it is now, give it back what a snapshot has, or remove a snapshot",
        build: said,
    },
    Verb {
        name: "pool",
        takes: Takes::PoolWords,
        question: Some("Each of its actions has a question of its own."),
        help: "make the volume group of a configured pool of bare disks, with --raid as the default of its volumes; give one that others made its ledger and state volume, or destroy \
               it, on the head that serves it",
        build: said,
    },
    Verb {
        name: "disk",
        takes: Takes::DiskWords,
        question: Some("Each of its actions has a question of its own."),
        help: "DISK for POOL: one more, an empty one less, a new one for a lost one; or light the lamp at its slot",
        build: said,
    },
    Verb {
        name: "client",
        takes: Takes::ClientWords,
        question: Some("The client loses what it has open, at once. Shut it out?"),
        help: "let a client in beside those of the configuration, or in no more, on the head that serves the pool; it is kept with the \
               pool",
        build: said,
    },
    Verb {
        name: "readmit",
        takes: Takes::Nothing,
        question: None,
        help: "forget that the peer was fenced: one that was three times within ten minutes is given nothing until then",
        build: |_| Command::Readmit,
    },
    Verb {
        name: "rehearse",
        takes: Takes::Rehearsal,
        question: Some(HANG),
        help: "break this head on purpose: `hang` stops its heartbeat thread, `hang kernel` all of it, `hang worker` the worker of a pool",
        build: said,
    },
    Verb {
        name: "reboot",
        takes: Takes::Nothing,
        question: Some("This head releases its pools and restarts. Reboot?"),
        help: "release all pools and restart this head",
        build: |_| Command::Reboot,
    },
    Verb {
        name: "poweroff",
        takes: Takes::Nothing,
        question: Some("This head releases its pools and turns off. Power off?"),
        help: "release all pools and turn this head off",
        build: |_| Command::Poweroff,
    },
    Verb {
        name: "help",
        takes: Takes::Nothing,
        question: None,
        help: "this list",
        build: |_| Command::Help,
    },
];

fn said(argument: Argument) -> Command {
    // The check gives one, or an error.
    argument.command.unwrap_or(Command::Help)
}

impl Verb {
    pub(in crate::console) fn usage(&self) -> String {
        let argument = match self.takes {
            Takes::Nothing => "",
            Takes::Lines => " [LINES] | log --ledger [POOL]",
            Takes::Pool => " POOL",
            Takes::SnapshotWords => {
                " create POOL/ORIGIN NAME [SIZE] | snapshot restore POOL/NAME | snapshot remove POOL/NAME"
            }
            Takes::PoolWords => {
                " create POOL DISK... [--raid LEVEL [--images N]] [--wipe] | pool import POOL | pool destroy POOL [--volumes]"
            }
            Takes::DiskWords => {
                " add POOL DISK [--wipe] | disk remove POOL DISK | disk replace POOL DISK [--wipe] | \
                 disk lost POOL PHYSICAL-VOLUME | disk locate DISK on|off"
            }
            Takes::Volume => {
                " create POOL/NAME SIZE [--raid LEVEL [--images N] | --stripes N | --thin THIN-POOL] [--fs ext4] | \
                 volume thin-pool POOL/NAME SIZE [--raid LEVEL [--images N] | --stripes N] | \
                 volume grow POOL/NAME SIZE | volume rename POOL/OLD NEW | volume remove POOL/NAME"
            }
            Takes::ClientWords => {
                " add POOL NAME [--user USER --password PASSWORD [--mutual-user USER --mutual-password PASSWORD]] | \
                 client add POOL/SHARE ADDRESS[/BITS] [--access rw|ro] [--squash root|none|all] | client remove POOL NAME | client remove POOL/SHARE ADDRESS[/BITS]"
            }
            Takes::Rehearsal => " hang | rehearse hang kernel | rehearse hang worker POOL",
        };
        format!("{}{argument}", self.name)
    }

    /// What the word behind its name can be; nothing where it has no actions.
    pub(in crate::console) fn actions(&self) -> &'static [&'static str] {
        match self.takes {
            Takes::PoolWords => &POOL_ACTIONS,
            Takes::DiskWords => &DISK_ACTIONS,
            Takes::Volume => &volume::ACTIONS,
            Takes::SnapshotWords => &volume::SNAPSHOT_ACTIONS,
            Takes::ClientWords => &client::ACTIONS,
            Takes::Rehearsal => &["hang"],
            Takes::Nothing | Takes::Lines | Takes::Pool => &[],
        }
    }

    /// Those of its options that have a value.
    pub(in crate::console) fn valued(&self) -> &'static [&'static str] {
        match self.takes {
            Takes::Volume => &volume::VALUED,
            Takes::PoolWords => &pool::VALUED,
            Takes::ClientWords => &client::VALUED,
            _ => &[],
        }
    }

    pub(in crate::console) fn options(&self) -> &'static [&'static str] {
        match (self.question, self.takes) {
            (_, Takes::PoolWords) => &["--json", "--yes", "--raid", "--images", WIPE, VOLUMES],
            (_, Takes::DiskWords) => &["--json", "--yes", WIPE],
            (_, Takes::ClientWords) => &[
                "--json",
                "--yes",
                "--user",
                "--password",
                "--mutual-user",
                "--mutual-password",
                "--access",
                "--squash",
            ],
            (_, Takes::Volume) => &[
                "--json",
                "--yes",
                "--raid",
                "--images",
                "--stripes",
                "--thin",
                "--fs",
            ],
            (Some(_), _) => &["--json", "--yes"],
            (None, Takes::Lines) => &["--json", LEDGER],
            (None, _) => &["--json"],
        }
    }
}

/// The names of all commands, in the order of `help`.
pub fn names() -> Vec<&'static str> {
    VERBS.iter().map(|verb| verb.name).collect()
}

/// The text of `help`.
pub fn help() -> String {
    let width = VERBS
        .iter()
        .map(|verb| verb.usage().len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for verb in VERBS {
        let _ = writeln!(text, "  {:width$}  {}", verb.usage(), verb.help);
    }
    text.push_str("Every command takes --json. Those that ask first take --yes to go without.\n");
    text
}
