//! One line of the log.

use std::{borrow::Cow, fmt};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// How bad it is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may stop working, or went another way than usual.
    Warn,
    /// Something happened.
    Info,
    /// For whoever looks for a mistake.
    Debug,
}

impl Level {
    /// The number that the kernel's log has for it (`KERN_ERR` and so on).
    pub(super) fn kernel(self) -> u8 {
        match self {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug => 7,
        }
    }

    /// The level for a number of the kernel's log.
    pub(super) fn from_kernel(number: u8) -> Level {
        match number {
            0..=3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            _ => Level::Debug,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        }
    }
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This program.
    Orthrus,
    /// The kernel.
    Kernel,
}

/// One line: text without line breaks or control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Microseconds since the kernel started.
    pub at_us: u64,
    /// How bad it is.
    pub level: Level,
    /// Who said it.
    pub source: Source,
    /// What was said.
    pub text: String,
}

impl Line {
    /// A line; control characters in its text are replaced.
    pub fn new(at_us: u64, level: Level, source: Source, text: &str) -> Line {
        Line {
            at_us,
            level,
            source,
            text: harmless(text).into_owned(),
        }
    }

    pub(super) fn now(level: Level, source: Source, text: String) -> Line {
        Line::new(now_us(), level, source, &text)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        let who = match self.source {
            Source::Orthrus => "",
            Source::Kernel => "kernel: ",
        };
        write!(
            f,
            "[{seconds:5}.{micros:06}] {:5} {who}{}",
            self.level.word(),
            self.text
        )
    }
}

/// The time as the kernel's log counts it.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    seconds * 1_000_000 + micros
}

/// The text with every control character replaced: names of devices and peers end up in lines, and a
/// terminal obeys control characters.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let clean = |c: char| {
            if c == '\n' || c == '\t' {
                ' '
            } else if c.is_control() {
                '?'
            } else {
                c
            }
        };
        Cow::Owned(text.chars().map(clean).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_shows_time_level_and_source_and_no_control_characters() {
        let line = Line::new(
            12_345_678,
            Level::Warn,
            Source::Kernel,
            "sda:\x1b[2J\nfailed",
        );
        assert_eq!(
            line.to_string(),
            "[   12.345678] warn  kernel: sda:?[2J failed"
        );
    }

    #[test]
    fn levels_survive_the_kernels_numbers() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            assert_eq!(Level::from_kernel(level.kernel()), level);
        }
        assert_eq!(Level::from_kernel(0), Level::Error);
    }
}
