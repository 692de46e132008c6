//! Why a text is no volume group: which section, which entry, what is wrong.

use crate::volume::text::TextError;

/// Why a text is no volume group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The syntax is wrong.
    #[error("metadata text, {0}")]
    Text(#[from] TextError),
    /// An entry is missing or has the wrong kind.
    #[error("metadata text, {section}: {name} is missing or no {kind}")]
    Entry {
        /// The section it should be in.
        section: String,
        /// Its name.
        name: &'static str,
        /// What it should be.
        kind: &'static str,
    },
    /// A value makes no sense.
    #[error("metadata text, {section}: {what}")]
    Nonsense {
        /// The section it is in.
        section: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// A value in `section` that makes no sense.
pub(super) fn nonsense(section: &str, what: &'static str) -> GroupError {
    GroupError::Nonsense {
        section: section.to_owned(),
        what,
    }
}
