//! The commands of a head: one table, which the parser, `help` and completion all read.

use std::fmt::Write as _;

use thiserror::Error;

use super::client;
use super::pool::{self, Flags, VOLUMES, WIPE};
use super::volume::{self, Wrong};
use crate::volume::edit::VolumeOrder;
use crate::worker::{ClientOrder, PoolOrder};

/// Lines that `log` shows when no number is given: a screen and a bit.
pub const LOG_LINES: usize = 30;
/// Lines that `log` shows at most; the ring holds no more.
pub const LOG_LINES_MAX: usize = crate::log::RING_LINES;

/// The option of `log` that asks the disks.
pub(super) const LEDGER: &str = "--ledger";

/// What can be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// The heartbeat thread stops for ever: the peer must take over, the watchdog must reset this head.
    Hang,
    /// The kernel does, so that nothing else runs either: the same, and the watchdog is all that can.
    HangKernel,
    /// The worker of a pool does, as one that is stuck in the kernel: the pool is served on, and is not let go when that is asked for.
    HangWorker {
        /// The pool's name.
        pool: String,
    },
}

impl Rehearsal {
    fn question(&self) -> &'static str {
        match self {
            Rehearsal::Hang => HANG,
            Rehearsal::HangKernel => {
                "The kernel stops for ever, and nothing but the hardware watchdog resets this head. Hang it?"
            }
            Rehearsal::HangWorker { .. } => {
                "The pool's worker stops for ever: the pool is served on, but not changed, and the first attempt to hand it over ends in a \
                 reset of this head. Hang it?"
            }
        }
    }
}

const HANG: &str = "The heartbeat stops for ever, and the watchdog resets this head. Hang it?";

/// What comes behind `hang`, if anything does.
pub(super) const HANG_WHAT: [&str; 2] = ["kernel", "worker"];

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

/// A line that is no command. Its text says what would be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The first word is no command.
    #[error("{word:?} is no command; there are: {}", names().join(", "))]
    Unknown {
        /// The word.
        word: String,
    },
    /// An option that does not exist, or not for this command.
    #[error("{command} has no option {word:?}; allowed: {allowed}")]
    Option {
        /// The command.
        command: &'static str,
        /// The word.
        word: String,
        /// The options that it has.
        allowed: String,
    },
    /// An argument is missing.
    #[error("{command} needs {what}; usage: {usage}")]
    Missing {
        /// The command.
        command: &'static str,
        /// What is missing.
        what: &'static str,
        /// The whole form.
        usage: String,
    },
    /// Arguments that are no order.
    #[error("{command}: {why}; usage: {usage}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Why not.
        why: String,
        /// The whole form.
        usage: String,
    },
    /// An argument that means nothing here.
    #[error("{command}: {word:?} is not {allowed}; usage: {usage}")]
    Argument {
        /// The command.
        command: &'static str,
        /// The word.
        word: String,
        /// What would be allowed in its place.
        allowed: String,
        /// The whole form.
        usage: String,
    },
}

/// What a command takes besides options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
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
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// The question to ask first: what the operator is about to lose.
    question: Option<&'static str>,
    help: &'static str,
    build: fn(Argument) -> Command,
}

/// The argument, after it was checked against [`Takes`].
#[derive(Default)]
struct Argument {
    pool: String,
    /// What has an own way of being said.
    command: Option<Command>,
    lines: usize,
    /// `--ledger`.
    ledger: bool,
}

pub(super) const VERBS: &[Verb] = &[
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
        help: "make, grow, rename or remove a volume, or a thin pool, of a pool that this head serves",
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
        help: "make the volume group of a configured pool of bare disks; give one that others made its ledger and state volume, or destroy \
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

fn of_volume((pool, order): (String, VolumeOrder)) -> Command {
    let order = PoolOrder::Volume(order);
    Command::Order { pool, order }
}

fn said(argument: Argument) -> Command {
    // The check gives one, or an error.
    argument.command.unwrap_or(Command::Help)
}

impl Verb {
    pub(super) fn usage(&self) -> String {
        let argument = match self.takes {
            Takes::Nothing => "",
            Takes::Lines => " [LINES] | log --ledger [POOL]",
            Takes::Pool => " POOL",
            Takes::SnapshotWords => {
                " create POOL/ORIGIN NAME [SIZE] | snapshot restore POOL/NAME | snapshot remove POOL/NAME"
            }
            Takes::PoolWords => " create POOL DISK... [--wipe] | pool destroy POOL [--volumes]",
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

    pub(super) fn options(&self) -> &'static [&'static str] {
        match (self.question, self.takes) {
            (_, Takes::PoolWords) => &["--json", "--yes", WIPE, VOLUMES],
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

/// Parses one line. An empty one, or one of blanks, is `None`.
pub fn parse(line: &str) -> Result<Option<Request>, ParseError> {
    let mut words = line.split_ascii_whitespace();
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
        let with_value: &[&'static str] = match verb.takes {
            Takes::Volume => &volume::VALUED,
            Takes::ClientWords => &client::VALUED,
            _ => &[],
        };
        let option = with_value.iter().find(|option| **option == word);
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
                Takes::PoolWords => pool::parse_pool(words, flags),
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
fn shorten(word: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Request {
        parse(line).unwrap().unwrap()
    }

    fn refused(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn every_verb_parses_and_has_its_line_in_help() {
        let help = help();
        for verb in VERBS {
            let line = match verb.takes {
                Takes::Pool => format!("{} tank", verb.name),
                Takes::Rehearsal => format!("{} hang", verb.name),
                Takes::Volume => format!("{} remove tank/vol", verb.name),
                Takes::SnapshotWords => format!("{} restore tank/vol", verb.name),
                Takes::PoolWords => format!("{} create tank sda", verb.name),
                Takes::DiskWords => format!("{} replace tank sda", verb.name),
                Takes::ClientWords => format!("{} remove tank/home 10.0.0.1", verb.name),
                _ => verb.name.to_owned(),
            };
            let request = parsed(&line);
            assert!(!request.json && !request.yes);
            let asks = request.command.question();
            match verb.takes {
                Takes::PoolWords | Takes::DiskWords | Takes::SnapshotWords => {
                    assert!(asks.is_some());
                }
                _ => assert_eq!(asks, verb.question, "{}", verb.name),
            }
            assert!(help.contains(&format!("\n  {}", verb.name)) || help.starts_with("  status"));
        }
    }

    #[test]
    fn each_rehearsal_says_what_stops_and_asks_first() {
        let worker = Rehearsal::HangWorker {
            pool: "tank".into(),
        };
        for (line, rehearsal, asks) in [
            ("rehearse hang", Rehearsal::Hang, "heartbeat stops"),
            (
                "rehearse hang kernel",
                Rehearsal::HangKernel,
                "kernel stops",
            ),
            ("rehearse hang worker tank", worker, "worker stops"),
        ] {
            let request = parsed(line);
            assert_eq!(request.command, Command::Rehearse(rehearsal));
            assert!(!request.yes);
            let question = request.command.question().unwrap();
            assert!(question.contains(asks), "{question}");
            assert!(parsed(&format!("{line} --yes")).yes);
        }
    }

    #[test]
    fn arguments_and_options_come_in_any_order() {
        let request = parsed("  takeover\t--yes tank --json ");
        assert_eq!(
            request.command,
            Command::Takeover {
                pool: "tank".into()
            }
        );
        assert!(request.json && request.yes);
        assert_eq!(parsed("log").command, Command::Log { lines: LOG_LINES });
        assert_eq!(parsed("log 7").command, Command::Log { lines: 7 });
        let flight = |pool: Option<&str>| Command::FlightRecord {
            pool: pool.map(str::to_owned),
        };
        assert_eq!(parsed("log --ledger --json").command, flight(None));
        assert_eq!(parsed("log tank --ledger").command, flight(Some("tank")));
        assert_eq!(parse("   ").unwrap(), None);
        let request = parsed("volume create tank/vol 2G --raid raid1 --json");
        assert!(request.json && request.command.question().is_none());
        assert!(matches!(request.command, Command::Order { pool, .. } if pool == "tank"));
        assert!(parsed("volume remove tank/vol --yes").yes);
        let request = parsed(
            "client add --user u tank iqn.2026-01.org.example:a --password secret-of-16-chr --json",
        );
        assert!(request.json && request.command.question().is_none());
        assert!(!format!("{request:?}").contains("secret-of"));
        let made = |disks: &[&str], wipe| Command::Order {
            pool: "tank".into(),
            order: PoolOrder::Create {
                disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
                wipe,
            },
        };
        assert_eq!(
            parsed("pool create tank sda sdb").command,
            made(&["sda", "sdb"], false)
        );
        assert_eq!(
            parsed("pool --wipe create tank sda --yes").command,
            made(&["sda"], true)
        );
    }

    #[test]
    fn errors_name_the_word_and_what_is_allowed() {
        let text = refused("stauts");
        assert!(
            text.contains("\"stauts\"") && text.contains("status, pools"),
            "{text}"
        );
        let text = refused("status --yes");
        assert!(
            text.contains("\"--yes\"") && text.contains("--json"),
            "{text}"
        );
        assert!(refused("handover").contains("usage: handover POOL"));
        assert!(refused("log many").contains("a number from 1 to"));
        assert!(refused("log 0").contains("a number from 1 to"));
        assert!(refused("log --ledger tank 7").contains("\"7\""));
        assert!(refused("status --ledger").contains("\"--ledger\""));
        assert!(refused("rehearse panic").contains("is not hang"));
        assert!(refused("rehearse hang disk").contains("is not kernel or worker"));
        assert!(refused("rehearse hang kernel tank").contains("\"tank\""));
        assert!(refused("rehearse hang worker").contains("the name of a pool"));
        assert!(refused("rehearse hang worker tank tape").contains("\"tape\""));
        assert!(refused("volume create tank/vol 2G --raid").contains("usage: volume create"));
        assert!(refused("volume create tank 2G").contains("POOL/NAME"));
        assert!(refused("handover tank --raid raid1").contains("\"--raid\""));
        assert!(refused("pool create tank").contains("see `disks`"));
        assert!(refused("disk replace tank").contains("a pool and a disk"));
        assert!(refused("disk replace tank sda sdb").contains("\"sdb\""));
        assert!(refused("disk locate sda bright").contains("\"bright\""));
        assert!(refused("client add tank").contains("a pool and the name"));
        assert!(refused("client admit tank a").contains("\"admit\""));
        assert!(refused("client add tank tank").contains("name of an initiator"));
        let login = "client add tank iqn.2026-01.org.example:a --user u --password";
        assert!(refused(login).contains("a value behind each option"));
        let text = refused(&format!("{login} too-short"));
        assert!(
            text.contains("12 to 16") && !text.contains("too-short"),
            "{text}"
        );
        let late = "client remove tank iqn.2026-01.org.example:a --user u";
        assert!(refused(late).contains("of add only"));
        let rights = "client add tank/home 10.0.0.0/8 --access w";
        assert!(refused(rights).contains("access is \"w\"; allowed: rw, ro"));
        let late = "client remove tank/home 10.0.0.0/8 --access ro";
        assert!(refused(late).contains("of add only"));
        let no_share = "client add tank iqn.2026-01.org.example:a --squash all";
        assert!(refused(no_share).contains("only a client of a share"));
        assert!(refused("pool make tank").contains("\"make\""));
        assert!(refused("pool destroy tank --wipe").contains("\"--wipe\""));
        assert!(refused("disk add tank sda --volumes").contains("\"--volumes\""));
        assert!(refused("status --wipe").contains("\"--wipe\""));
        assert!(refused("status now").contains("\"now\""));
        assert!(refused("handover tank tank2").contains("\"tank2\""));
        assert!(refused(&"x".repeat(5000)).len() < 300);
    }
}
