//! A line that is no command.

use thiserror::Error;

use super::table::names;

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

impl ParseError {
    /// The word that is wrong, if it is one; cut where it is long.
    pub(in crate::console) fn word(&self) -> Option<&String> {
        match self {
            ParseError::Unknown { word }
            | ParseError::Option { word, .. }
            | ParseError::Argument { word, .. } => Some(word),
            ParseError::Missing { .. } | ParseError::Refused { .. } => None,
        }
    }
}
