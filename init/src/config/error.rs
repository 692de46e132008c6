//! What is wrong with a configuration file: where, which field, what is allowed.

use std::fmt;

/// One fault of the file. Never holds the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line in the file, from 1.
    pub line: usize,
    /// The field's path, such as `pool[0].iscsi.iqn`; empty when the text is not TOML at all.
    pub field: String,
    /// What is wrong, and what would be allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: ", super::FILE_NAME, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Where a value stands in the file, to say so when it turns out to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) field: String,
}

impl Place {
    pub(super) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError {
            line: self.line,
            field: self.field.clone(),
            message: message.into(),
        }
    }
}
