//! A step of an export that failed: where in configfs, which step, why.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

/// One failed step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {step}: {cause}", path.display())]
pub struct ExportError {
    /// The directory, link or attribute.
    pub path: PathBuf,
    /// What was being done to it.
    pub step: &'static str,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The kernel refused it.
    #[error("{0}")]
    Kernel(Errno),
    /// Something else than planned is there already.
    #[error("found {0:?} there")]
    Other(String),
    /// Somebody said why.
    #[error("{0}")]
    Said(String),
    /// The kernel did not return in time. It still works on the step, which cannot be interrupted.
    #[error("not done after {0:?}")]
    TimedOut(Duration),
}

impl ExportError {
    pub(crate) fn kernel(path: impl Into<PathBuf>, step: &'static str, errno: Errno) -> Self {
        ExportError {
            path: path.into(),
            step,
            cause: Cause::Kernel(errno),
        }
    }
}
