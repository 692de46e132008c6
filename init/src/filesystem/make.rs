//! Making and checking, by the image's helpers.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use super::Kind;
use super::probe::{BEING_MADE, TAIL};
use crate::disk::direct::{self, Aligned};
use crate::helper::{self, HelperError};

/// How long the making of a file system may take, at most: it is an import that waits, or an operator.
const MAKE_LIMIT: Duration = Duration::from_secs(20);

/// From so many bytes on `mkfs.xfs` makes a log that is larger than [`XFS_LOG`], of up to two gigabytes, and writes all of it: longer than
/// [`MAKE_LIMIT`] on parity that is made equal meanwhile, or on any disks that do less than 100 MB in a second.
const XFS_LARGE: u64 = 1 << 40;
/// The log that a file system of [`XFS_LARGE`] gets, for all larger ones.
const XFS_LOG: &str = "size=512m";

/// `XFSLABEL_MAX`.
const XFS_LABEL_MAX: usize = 12;

/// What a file system is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A few small files: small blocks, and its tables are written at once, so that nothing is written on its own later.
    State,
    /// Clients' files: blocks of a page, and the kernel writes its tables, gigabytes on a large one, while it is mounted.
    Share,
}
/// The same for a check.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Exit codes of `e2fsck` up to this are good: nothing was wrong, or it is no more. The 2 in it wishes for a reboot, for a file
/// system that was mounted, which ours is not.
const CHECKED: i32 = 1 | 2;

/// Why a file system was not made, or not mended.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The volume cannot be written.
    #[error("{node}: {step}: {source}")]
    Io {
        /// The volume's node.
        node: String,
        /// What was being done.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The volume is too small.
    #[error("{node}: {bytes} bytes are too few for a file system")]
    TooSmall {
        /// The volume's node.
        node: String,
        /// Its size.
        bytes: u64,
    },
    /// The helper could not do it.
    #[error("{node}: {source}")]
    Helper {
        /// The volume's node.
        node: String,
        /// Why not.
        source: HelperError,
    },
    /// The helper says that it did not.
    #[error("{node}: {helper} ended with {status}: {said}")]
    Refused {
        /// The volume's node.
        node: String,
        /// Its name.
        helper: &'static str,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
}

impl MakeError {
    /// Whether there was no time for it. What there is may be good.
    pub fn is_out_of_time(&self) -> bool {
        matches!(
            self,
            MakeError::Helper {
                source: HelperError::TooLong { .. } | HelperError::Busy { .. },
                ..
            }
        )
    }
}

/// Makes a file system on a volume of this many bytes, whatever is on it.
///
/// It may take what is `left` of a budget, and no longer than is good for any.
///
/// A head that dies over it must not leave something that the next one takes for a file system, or for somebody's data. So
/// the last block of the volume, which the file system does not reach, says that one is being made, until it is made.
pub fn make(
    node: &Path,
    bytes: u64,
    kind: Kind,
    label: &str,
    purpose: Use,
    left: Duration,
) -> Result<(), MakeError> {
    let limit = left.min(MAKE_LIMIT);
    let name = node.display().to_string();
    let start = bytes
        .checked_sub(TAIL as u64)
        .filter(|start| *start >= 1 << 20);
    let start = start.ok_or_else(|| MakeError::TooSmall {
        node: name.clone(),
        bytes,
    })?;
    write_tail(node, start, BEING_MADE).map_err(io_error(&name, "say that it is being made"))?;
    let (helper, arguments) = command(&name, start, kind, label, purpose);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(helper, &name, &arguments, limit, 0)?;
    // The helper flushed what it wrote, so what is said now comes after it.
    write_tail(node, start, b"").map_err(io_error(&name, "say that it is made"))
}

/// The helper that makes a file system of so many bytes, and its arguments.
pub fn command(
    node: &str,
    bytes: u64,
    kind: Kind,
    label: &str,
    purpose: Use,
) -> (&'static str, Vec<String>) {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match kind {
        Kind::Ext4 => {
            let size = format!("{}k", bytes / 1024);
            let (block, features) = match purpose {
                Use::State => ("1024", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
                Use::Share => ("4096", "lazy_itable_init=1,lazy_journal_init=0,nodiscard"),
            };
            let options = ["-q", "-F", "-t", "ext4", "-b", block];
            let rest = ["-L", label, "-E", features, node, &size];
            ("mke2fs", owned(&[&options[..], &rest].concat()))
        }
        Kind::Xfs => {
            let size = format!("size={bytes}");
            // Its labels are short. What a disk would discard is left: it may take long.
            let label: String = label.chars().take(XFS_LABEL_MAX).collect();
            let mut arguments = vec!["-q", "-f", "-K", "-L", &label, "-d", &size];
            if bytes > XFS_LARGE {
                arguments.extend(["-l", XFS_LOG]);
            }
            arguments.push(node);
            ("mkfs.xfs", owned(&arguments))
        }
    }
}

/// Mends what can be mended without a question, in what is `left` of a budget, and no longer than is good for any.
pub fn check(node: &Path, left: Duration) -> Result<(), MakeError> {
    let name = node.display().to_string();
    run(
        "e2fsck",
        &name,
        &["-p", &name],
        left.min(CHECK_LIMIT),
        CHECKED,
    )
}

/// The same, and looks at all of it even where nothing says that it is damaged.
pub fn check_whole(node: &Path, left: Duration) -> Result<(), MakeError> {
    let name = node.display().to_string();
    let limit = left.min(CHECK_LIMIT);
    run("e2fsck", &name, &["-p", "-f", &name], limit, CHECKED)
}

fn run(
    helper: &'static str,
    node: &str,
    arguments: &[&str],
    limit: Duration,
    good: i32,
) -> Result<(), MakeError> {
    let done = helper::run(helper, arguments, limit).map_err(|source| MakeError::Helper {
        node: node.to_owned(),
        source,
    })?;
    match done.status.code() {
        Some(code) if code & !good == 0 => Ok(()),
        _ => Err(MakeError::Refused {
            node: node.to_owned(),
            helper,
            status: done.status.to_string(),
            said: done.said,
        }),
    }
}

/// Writes over the end of a volume that is no file system's.
pub(super) fn write_tail(node: &Path, start: u64, text: &[u8]) -> io::Result<()> {
    let file = direct::open_for_writing(node)?;
    let mut block = Aligned::new(TAIL);
    block.bytes()[..text.len()].copy_from_slice(text);
    file.write_all_at(block.bytes(), start)?;
    file.sync_data()
}

fn io_error(node: &str, step: &'static str) -> impl FnOnce(io::Error) -> MakeError {
    let node = node.to_owned();
    move |source| MakeError::Io { node, step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_no_larger_than_can_be_written_in_the_time_that_there_is() {
        let words = |bytes| {
            let (_, words) = command("/dev/dm-1", bytes, Kind::Xfs, "share", Use::Share);
            words.join(" ")
        };
        assert_eq!(
            words(1 << 30),
            "-q -f -K -L share -d size=1073741824 /dev/dm-1"
        );
        assert!(!words(1 << 40).contains(" -l "));
        assert!(words((1 << 40) + 4096).ends_with(" -l size=512m /dev/dm-1"));
    }
}
