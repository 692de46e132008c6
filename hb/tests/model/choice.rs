//! What may happen next, and its name: a way through the states is written as a list of names.

use std::fmt;
use std::sync::OnceLock;

use orthrus_hb::LinkId;

use crate::forgery::Forgery;
use crate::machine::Halt;
use crate::worker::{Kind, Pace, Trouble};

/// The cables, each in both directions: a bit a sender and link.
pub const CABLES: u8 = (1 << (2 * LinkId::ALL.len())) - 1;
/// The ledger, as each head reads it: a bit a head above those of the cables.
pub const READS: [u8; 2] = [CABLES + 1, 2 * (CABLES + 1)];
/// By head: all that it hears of the other, by cable and on the ledger.
pub const DEAF: [u8; 2] = [0b1100 | READS[0], 0b0011 | READS[1]];
/// All that can be cut.
pub const CUTS: u8 = CABLES | READS[0] | READS[1];

/// What happens next. Everything but a beat takes no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Each head runs once, and before it its worker.
    Beat {
        first: usize,
        paces: [Pace; 2],
    },
    Crash(usize),
    Boot(usize),
    Halt(usize, Halt),
    Resume(usize),
    /// Its port for the clients loses its link.
    Ail(usize),
    /// It has it back.
    Cure(usize),
    /// These directions of cables, and reads of the ledger, are cut.
    Cut(u8),
    /// All is joined again.
    Join,
    /// The frame that waits on this cable for this head stays in the cable, which carries nothing after it.
    Hold(usize, LinkId),
    /// The same, and what waits on the other cable is lost.
    HoldAlone(usize, LinkId),
    /// It comes now, and the cable carries again.
    Deliver,
    Trouble(usize, Trouble),
    Order(usize, Order),
    /// Something is brought before it that must not count.
    Forge(usize, Forgery),
    /// The last outcome of such a job comes again.
    Repeat(usize, Kind),
}

/// What an operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Handover,
    Takeover,
    Make,
    Destroy,
}

impl Choice {
    /// What happens when nothing is chosen: a beat in which all work is done.
    pub const BEAT: Choice = Choice::Beat {
        first: 0,
        paces: [Pace::All; 2],
    };

    /// All there are, each at its code.
    pub fn table() -> &'static [Choice] {
        static TABLE: OnceLock<Vec<Choice>> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut all = Vec::new();
            for first in [0, 1] {
                for one in Pace::ALL {
                    for other in Pace::ALL {
                        let paces = [one, other];
                        all.push(Choice::Beat { first, paces });
                    }
                }
            }
            for who in [0, 1] {
                all.extend([Choice::Crash(who), Choice::Boot(who), Choice::Resume(who)]);
                all.extend([Choice::Ail(who), Choice::Cure(who)]);
                all.extend([Halt::Paused, Halt::Frozen].map(|halt| Choice::Halt(who, halt)));
                all.extend(Trouble::ALL.map(|trouble| Choice::Trouble(who, trouble)));
                let orders = [
                    Order::Handover,
                    Order::Takeover,
                    Order::Make,
                    Order::Destroy,
                ];
                all.extend(orders.map(|o| Choice::Order(who, o)));
                all.extend(LinkId::ALL.map(|link| Choice::Hold(who, link)));
                all.extend(LinkId::ALL.map(|link| Choice::HoldAlone(who, link)));
                all.extend(Forgery::ALL.map(|forgery| Choice::Forge(who, forgery)));
                all.extend(Kind::ALL.map(|kind| Choice::Repeat(who, kind)));
            }
            all.extend((1..=CUTS).map(Choice::Cut));
            all.extend([Choice::Join, Choice::Deliver]);
            all
        })
    }

    /// Whether it is a fault, or an order to move the pool.
    pub fn strikes(self) -> bool {
        !matches!(
            self,
            Choice::Beat { .. } | Choice::Boot(_) | Choice::Order(_, Order::Make | Order::Destroy)
        )
    }

    /// Its place in the table.
    pub fn code(self) -> u16 {
        let found = Choice::table().iter().position(|choice| *choice == self);
        found.expect("every choice is in the table") as u16
    }

    pub fn from_code(code: u16) -> Choice {
        Choice::table()[usize::from(code)]
    }
}

/// A short word, without blanks.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |who: usize| ['a', 'b'][who];
        match *self {
            Choice::Beat { first, paces } => {
                let [a, b] = paces.map(|pace| match pace {
                    Pace::All => 'w',
                    Pace::One => '1',
                    Pace::Late => 'l',
                });
                write!(f, "{}{a}{b}", name(first))
            }
            Choice::Crash(who) => write!(f, "crash-{}", name(who)),
            Choice::Boot(who) => write!(f, "boot-{}", name(who)),
            Choice::Halt(who, halt) => write!(f, "{halt:?}-{}", name(who)),
            Choice::Resume(who) => write!(f, "resume-{}", name(who)),
            Choice::Ail(who) => write!(f, "ail-{}", name(who)),
            Choice::Cure(who) => write!(f, "cure-{}", name(who)),
            Choice::Cut(cut) => write!(f, "cut-{cut}"),
            Choice::Join => write!(f, "join"),
            Choice::Hold(who, link) => write!(f, "hold-{}-{}", link.index(), name(who)),
            Choice::HoldAlone(who, link) => write!(f, "hold-alone-{}-{}", link.index(), name(who)),
            Choice::Deliver => write!(f, "deliver"),
            Choice::Trouble(who, trouble) => write!(f, "{trouble:?}-{}", name(who)),
            Choice::Order(who, order) => write!(f, "{order:?}-{}", name(who)),
            Choice::Forge(who, forgery) => write!(f, "{forgery:?}-{}", name(who)),
            Choice::Repeat(who, kind) => write!(f, "{kind:?}-again-{}", name(who)),
        }
    }
}

/// Writes a way: names with commas between them, and a factor behind one that repeats.
pub fn write_way(choices: &[Choice]) -> String {
    let mut words: Vec<(String, usize)> = Vec::new();
    for choice in choices {
        let word = choice.to_string();
        match words.last_mut() {
            Some((last, times)) if *last == word => *times += 1,
            _ => words.push((word, 1)),
        }
    }
    let words = words.into_iter().map(|(word, times)| match times {
        1 => word,
        _ => format!("{word}x{times}"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Reads a way back.
pub fn read_way(text: &str) -> Result<Vec<Choice>, String> {
    let mut way = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let find = |name: &str| Choice::table().iter().find(|c| c.to_string() == name);
        let factored = || {
            let (name, times) = word.rsplit_once('x')?;
            Some((find(name)?, times.parse().ok()?))
        };
        let (choice, times) = find(word)
            .map(|choice| (choice, 1))
            .or_else(factored)
            .ok_or_else(|| format!("{word} is nothing that can happen"))?;
        way.extend(std::iter::repeat_n(*choice, times));
    }
    Ok(way)
}
