//! The commands of a head, and their parser.
//!
//! Read in this order: here what a command is and how a line becomes one; `table` has a row for each, which the parser, `help` and
//! completion all read; `rehearsal` is what can be broken on purpose, `error` what a line is that is no command.

mod error;
mod rehearsal;
mod table;
#[cfg(test)]
mod tests;

use super::client;
use super::pool::{self, Flags, VOLUMES, WIPE};
use super::volume::{self, Wrong};
use crate::volume::edit::VolumeOrder;
use crate::worker::{ClientOrder, PoolOrder};

pub use error::ParseError;
pub(super) use rehearsal::HANG_WHAT;
pub use rehearsal::Rehearsal;
use table::Argument;
pub(super) use table::{Takes, VERBS, Verb};
pub use table::{help, names};

/// Lines that `log` shows when no number is given: a screen and a bit.
pub const LOG_LINES: usize = 30;
/// Lines that `log` shows at most; the ring holds no more.
pub const LOG_LINES_MAX: usize = crate::log::RING_LINES;

/// The option of `log` that asks the disks.
pub(super) const LEDGER: &str = "--ledger";

/// One command, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Who serves what, and whether the box is redundant.
    Status,
    /// The disks that this head sees.
    Disks,
    /// The pools: state, owner, epoch, what they consist of.
    Pools,
    /// The ways to hear the peer.
    Links,
    /// The last log lines.
    Log {
        /// How many.
        lines: usize,
    },
    /// The flight records on the disks, of both heads.
    FlightRecord {
        /// Of this pool only.
        pool: Option<String>,
    },
    /// Give a pool to the peer, in order.
    Handover {
        /// Its name.
        pool: String,
    },
    /// Take a pool from the peer.
    Takeover {
        /// Its name.
        pool: String,
    },
    /// Give a pool to its home head, in order.
    Giveback {
        /// Its name.
        pool: String,
    },
    /// Make a pool, or change a volume of one that is served here.
    Order {
        /// The pool's name.
        pool: String,
        /// What is to be done.
        order: PoolOrder,
    },
    /// Light or darken the lamp at a disk's slot.
    Locate {
        /// By the kernel's name or by identity.
        disk: String,
        /// To light it.
        on: bool,
    },
    /// Trust a peer again that was fenced again and again.
    Readmit,
    /// Break something on purpose.
    Rehearse(Rehearsal),
    /// Release all pools and restart this head.
    Reboot,
    /// Release all pools and turn this head off.
    Poweroff,
    /// What can be said.
    Help,
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// `--json`: the answer as JSON.
    pub json: bool,
    /// `--yes`: do not ask.
    pub yes: bool,
}
/// Parses one line. An empty one, or one of blanks, is `None`.
pub fn parse(line: &str) -> Result<Option<Request>, ParseError> {
    parse_words(line.split_ascii_whitespace())
}

/// The same with a line that is in words already.
pub(super) fn parse_words<'a>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Option<Request>, ParseError> {
    let Some(first) = words.next() else {
        return Ok(None);
    };
    let verb = VERBS
        .iter()
        .find(|verb| verb.name == first)
        .ok_or_else(|| ParseError::Unknown {
            word: shorten(first),
        })?;
    let (mut json, mut yes, mut arguments) = (false, false, Vec::new());
    let mut flags = Flags::default();
    let mut valued = Vec::new();
    while let Some(word) = words.next() {
        let option = verb.valued().iter().find(|option| **option == word);
        match word {
            _ if option.is_some() => {
                let value = words.next().ok_or_else(|| ParseError::Missing {
                    command: verb.name,
                    what: "a value behind each option",
                    usage: verb.usage(),
                })?;
                valued.extend(option.map(|option| (*option, value)));
            }
            "--json" => json = true,
            "--yes" if verb.question.is_some() => yes = true,
            WIPE if verb.options().contains(&WIPE) => flags.wipe = true,
            VOLUMES if verb.options().contains(&VOLUMES) => flags.volumes = true,
            LEDGER if verb.takes == Takes::Lines => flags.ledger = true,
            _ if word.starts_with('-') => {
                return Err(ParseError::Option {
                    command: verb.name,
                    word: shorten(word),
                    allowed: verb.options().join(", "),
                });
            }
            _ => arguments.push(word),
        }
    }
    let command = (verb.build)(check(verb, &arguments, &valued, flags)?);
    Ok(Some(Request { command, json, yes }))
}

fn of_volume((pool, order): (String, VolumeOrder)) -> Command {
    let order = PoolOrder::Volume(order);
    Command::Order { pool, order }
}

fn check(
    verb: &Verb,
    words: &[&str],
    valued: &[(&'static str, &str)],
    flags: Flags,
) -> Result<Argument, ParseError> {
    let wrong = |word: &str, allowed: &str| ParseError::Argument {
        command: verb.name,
        word: shorten(word),
        allowed: allowed.to_owned(),
        usage: verb.usage(),
    };
    let missing = |what| ParseError::Missing {
        command: verb.name,
        what,
        usage: verb.usage(),
    };
    let mut argument = Argument {
        ledger: flags.ledger,
        ..Argument::default()
    };
    let taken = match (verb.takes, words.first()) {
        (Takes::Nothing, _) => 0,
        (Takes::Lines, word) if flags.ledger => {
            argument.pool = word.copied().unwrap_or_default().to_owned();
            usize::from(word.is_some())
        }
        (Takes::Lines, None) => {
            argument.lines = LOG_LINES;
            0
        }
        (Takes::Lines, Some(word)) => {
            argument.lines = word
                .parse()
                .ok()
                .filter(|lines| (1..=LOG_LINES_MAX).contains(lines))
                .ok_or_else(|| wrong(word, &format!("a number from 1 to {LOG_LINES_MAX}")))?;
            1
        }
        (Takes::Pool, None) => return Err(missing("the name of a pool")),
        (Takes::Pool, Some(word)) => {
            argument.pool = (*word).to_owned();
            1
        }
        (
            Takes::Volume
            | Takes::SnapshotWords
            | Takes::PoolWords
            | Takes::DiskWords
            | Takes::ClientWords,
            _,
        ) => {
            let command = match verb.takes {
                Takes::ClientWords => client::parse(words, valued),
                Takes::PoolWords => pool::parse_pool(words, valued, flags),
                Takes::DiskWords => pool::parse_disk(words, flags),
                Takes::SnapshotWords => volume::parse_snapshot(words).map(of_volume),
                _ => volume::parse(words, valued).map(of_volume),
            };
            let command = command.map_err(|why| match why {
                Wrong::Missing(what) => missing(what),
                Wrong::Word(word, allowed) => wrong(&word, &allowed),
                Wrong::Sentence(why) => ParseError::Refused {
                    command: verb.name,
                    why,
                    usage: verb.usage(),
                },
            })?;
            argument.command = Some(command);
            words.len()
        }
        (Takes::Rehearsal, None) => return Err(missing("what to rehearse: hang")),
        (Takes::Rehearsal, Some(word)) if *word != "hang" => return Err(wrong(word, "hang")),
        (Takes::Rehearsal, Some(_)) => {
            let (rehearsal, taken) = match words.get(1..).unwrap_or_default() {
                [] => (Rehearsal::Hang, 1),
                ["kernel", ..] => (Rehearsal::HangKernel, 2),
                ["worker"] => return Err(missing("the name of a pool")),
                ["worker", pool, ..] => {
                    let pool = (*pool).to_owned();
                    (Rehearsal::HangWorker { pool }, 3)
                }
                [word, ..] => return Err(wrong(word, "kernel or worker")),
            };
            argument.command = Some(Command::Rehearse(rehearsal));
            taken
        }
    };
    match words.get(taken) {
        Some(extra) => Err(wrong(extra, "expected here")),
        None => Ok(argument),
    }
}

/// Words in errors are shown whole only when they are of a word's length.
pub(super) fn shorten(word: &str) -> String {
    const SHOWN: usize = 40;
    if word.chars().count() <= SHOWN {
        return word.to_owned();
    }
    word.chars().take(SHOWN).chain("...".chars()).collect()
}

impl Command {
    /// The question that an operator must answer with yes before this is done, if it is such a command.
    pub fn question(&self) -> Option<&'static str> {
        let name = match self {
            Command::Takeover { .. } => "takeover",
            Command::Order {
                order: PoolOrder::Volume(VolumeOrder::Remove { .. }),
                ..
            } => "volume",
            Command::Order {
                order: PoolOrder::Client(order),
                ..
            } if matches!(**order, ClientOrder::Remove(_)) => "client",
            Command::Order { order, .. } => return pool::question(order),
            Command::Rehearse(rehearsal) => return Some(rehearsal.question()),
            Command::Reboot => "reboot",
            Command::Poweroff => "poweroff",
            _ => return None,
        };
        VERBS.iter().find(|verb| verb.name == name)?.question
    }
}
