//! The cables between the machines, and how they are cut.
//!
//! | cable | from, to | silent | carrier |
//! |---|---|---|---|
//! | `serial` | head a, head b | bytes vanish | a serial line has no carrier: refused |
//! | `ether` | head a, head b | frames vanish | the network card says that the cable is out |
//! | `shelf-a`, `shelf-b` | a head, the shelf | nothing passes, and all of it arrives late when joined | connections end and new ones are refused |
//! | `data-a`, `data-b` | a head, the client network | frames vanish | the network card says that the cable is out |
//!
//! Silent is the default, as the harder case: nobody is told. Serial and Ethernet can be cut for one
//! direction (`--to b`: what a sends does not arrive), silently.

pub mod ether;
pub mod path;
pub mod pdu;
pub mod port;
pub mod serial;
pub mod witness;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::names::Head;

/// A cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cable {
    /// The heartbeat's serial line.
    Serial,
    /// The heartbeat's Ethernet.
    Ether,
    /// From a head to the shelf.
    Shelf(Head),
    /// From a head to the client network.
    Data(Head),
}

impl Cable {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Serial,
        Self::Ether,
        Self::Shelf(Head::A),
        Self::Shelf(Head::B),
        Self::Data(Head::A),
        Self::Data(Head::B),
    ];
}

impl fmt::Display for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial => f.write_str("serial"),
            Self::Ether => f.write_str("ether"),
            Self::Shelf(head) => write!(f, "shelf-{head}"),
            Self::Data(head) => write!(f, "data-{head}"),
        }
    }
}

impl FromStr for Cable {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|cable| cable.to_string() == word)
            .ok_or_else(|| {
                format!(
                    "{word:?} is no cable: it is one of {}",
                    Self::ALL.map(|c| c.to_string()).join(", ")
                )
            })
    }
}

/// How a cable is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing passes and nobody is told.
    #[default]
    Silent,
    /// Both ends see that there is no cable.
    Carrier,
}

/// A cut: which cable, how, and towards which head (both if none is named).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// The cable.
    pub cable: Cable,
    /// How.
    pub mode: Mode,
    /// Only what travels towards this head.
    pub to: Option<Head>,
}

impl Cut {
    /// Silent, in both directions.
    pub fn silent(cable: Cable) -> Self {
        Self {
            cable,
            mode: Mode::Silent,
            to: None,
        }
    }

    /// With loss of carrier.
    pub fn carrier(cable: Cable) -> Self {
        Self {
            cable,
            mode: Mode::Carrier,
            to: None,
        }
    }

    /// Only towards a head.
    pub fn towards(self, head: Head) -> Self {
        Self {
            to: Some(head),
            ..self
        }
    }

    /// Says what is wrong with a cut that no cable can have.
    pub fn check(&self) -> Result<(), String> {
        let heartbeat = matches!(self.cable, Cable::Serial | Cable::Ether);
        if self.to.is_some() && !heartbeat {
            return Err(format!(
                "{} has one head only: --to is for serial and ether",
                self.cable
            ));
        }
        if self.mode == Mode::Carrier && self.cable == Cable::Serial {
            return Err("a three-wire serial line has no carrier: cut it --silent".into());
        }
        if self.mode == Mode::Carrier && self.to.is_some() {
            return Err("a carrier is lost in both directions: --to goes with --silent".into());
        }
        Ok(())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cable)?;
        if self.mode == Mode::Carrier {
            f.write_str(" (carrier)")?;
        }
        match self.to {
            Some(head) => write!(f, " towards {head}"),
            None => Ok(()),
        }
    }
}

/// The two directions of a heartbeat cable.
#[derive(Debug, Default)]
pub struct Gates([AtomicBool; 2]);

impl Gates {
    /// Cuts or joins what travels towards a head, or both ways.
    pub fn set_cut(&self, to: Option<Head>, cut: bool) {
        for head in Head::BOTH {
            if to.is_none_or(|to| to == head) {
                self.0[head.index()].store(cut, Ordering::Relaxed);
            }
        }
    }

    /// Whether what travels towards a head is lost.
    pub fn is_cut(&self, to: Head) -> bool {
        self.0[to.index()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cable_reads_as_it_prints() {
        for cable in Cable::ALL {
            assert_eq!(cable.to_string().parse(), Ok(cable));
        }
        assert!("shelf-c".parse::<Cable>().unwrap_err().contains("shelf-b"));
    }

    #[test]
    fn impossible_cuts_are_refused() {
        assert!(Cut::silent(Cable::Serial).towards(Head::A).check().is_ok());
        assert!(Cut::carrier(Cable::Ether).check().is_ok());
        assert!(Cut::carrier(Cable::Serial).check().is_err());
        assert!(Cut::carrier(Cable::Ether).towards(Head::B).check().is_err());
        assert!(
            Cut::silent(Cable::Data(Head::A))
                .towards(Head::A)
                .check()
                .is_err()
        );
    }

    #[test]
    fn one_direction_can_be_cut_alone() {
        let gates = Gates::default();
        gates.set_cut(Some(Head::B), true);
        assert!(gates.is_cut(Head::B) && !gates.is_cut(Head::A));
        gates.set_cut(None, true);
        assert!(gates.is_cut(Head::A));
        gates.set_cut(None, false);
        assert!(!gates.is_cut(Head::A) && !gates.is_cut(Head::B));
    }
}
