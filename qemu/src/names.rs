//! The names of the lab's machines, heads and shelf kinds, as typed and as printed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the two heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// The first.
    A,
    /// The second.
    B,
}

impl Head {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other head.
    pub fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One of the lab's machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// Head a.
    A,
    /// Head b.
    B,
    /// The client.
    Client,
    /// The LIO shelf, where there is one.
    Shelf,
    /// A plain Linux server on the same shelf and network, where one is asked for.
    Neighbour,
}

impl Machine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Client => "client",
            Self::Shelf => "shelf",
            Self::Neighbour => "neighbour",
        }
    }

    /// The head that it is, if it is one.
    pub fn head(self) -> Option<Head> {
        match self {
            Self::A => Some(Head::A),
            Self::B => Some(Head::B),
            _ => None,
        }
    }
}

impl From<Head> for Machine {
    fn from(head: Head) -> Self {
        match head {
            Head::A => Self::A,
            Head::B => Self::B,
        }
    }
}

/// What holds the disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShelfKind {
    /// tgtd on the host: reservations without PREEMPT AND ABORT, forgotten at a restart.
    #[default]
    Tgt,
    /// The kernel's target in a machine of its own: full reservations.
    Lio,
    /// The files themselves as virtio-blk for both heads: no reservations at all.
    Plain,
}

impl ShelfKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tgt => "tgt",
            Self::Lio => "lio",
            Self::Plain => "plain",
        }
    }
}

macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok($value),)+
                    _ => Err(format!("{word:?} is no {}: it is one of {}", $what, [$($word),+].join(", "))),
                }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words!(Head, "head", "a" => Self::A, "b" => Self::B);
words!(Machine, "machine", "a" => Self::A, "b" => Self::B, "client" => Self::Client, "shelf" => Self::Shelf,
    "neighbour" => Self::Neighbour);
words!(ShelfKind, "shelf", "tgt" => Self::Tgt, "lio" => Self::Lio, "plain" => Self::Plain);
