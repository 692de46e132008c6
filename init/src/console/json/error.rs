//! Why a request is not carried out, and which field of it is wrong.

use thiserror::Error;

use super::commands;
use crate::console::command::ParseError;
use crate::console::{REFUSED, USAGE};

/// Why a request is not carried out.
#[derive(Debug, PartialEq, Eq, Error)]
pub(in crate::console) enum RequestError {
    /// It has no end within what is taken.
    #[error("a request has {most} bytes at most; nothing of it was done")]
    Long {
        /// Bytes.
        most: usize,
    },
    /// Noise, or a key.
    #[error(
        "byte {byte:#04x} has no place in a request, which is of printable ASCII; nothing of it was done"
    )]
    Byte {
        /// The byte.
        byte: u8,
        /// Where, from 1.
        column: usize,
    },
    /// Not JSON.
    #[error("this is no JSON: {what}")]
    Syntax {
        /// What is wrong with it.
        what: String,
        /// Where, from 1.
        column: usize,
    },
    /// A field that is none.
    #[error("{name:?} is no field here; allowed: {allowed}")]
    Unknown {
        /// Within which.
        within: &'static str,
        /// Its name.
        name: String,
        /// Those that there are.
        allowed: String,
    },
    /// Which one counts?
    #[error("it is said twice")]
    Twice {
        /// The field.
        place: String,
    },
    /// No command.
    #[error("the request has no \"command\"")]
    Missing,
    /// A value of another kind.
    #[error("it is not {wanted}")]
    Kind {
        /// The field.
        place: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A value that is no word.
    #[error("it is not one word: printable ASCII without blanks{also}")]
    Word {
        /// The field.
        place: String,
        /// What else is wanted of it.
        also: &'static str,
    },
    /// A name of no command, or one without its action.
    #[error("{name:?} is no command; there are: {}", commands().join(", "))]
    NoCommand {
        /// What was said.
        name: String,
    },
    /// What the words come to.
    #[error("{error}")]
    Command {
        /// The field.
        place: String,
        /// What is wrong.
        error: ParseError,
    },
    /// Nobody is asked.
    #[error("{0} Say it with \"yes\": true")]
    Unconfirmed(String),
}

impl RequestError {
    pub(super) fn place(&self) -> String {
        match self {
            RequestError::Long { most } => format!("column {}", most + 1),
            RequestError::Byte { column, .. } | RequestError::Syntax { column, .. } => {
                format!("column {column}")
            }
            RequestError::Unknown { within, name, .. } => format!("{within}{name}"),
            RequestError::Missing | RequestError::NoCommand { .. } => "command".to_owned(),
            RequestError::Twice { place }
            | RequestError::Kind { place, .. }
            | RequestError::Word { place, .. }
            | RequestError::Command { place, .. } => place.clone(),
            RequestError::Unconfirmed(_) => "options.yes".to_owned(),
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            RequestError::Unconfirmed(_) => REFUSED,
            _ => USAGE,
        }
    }
}
