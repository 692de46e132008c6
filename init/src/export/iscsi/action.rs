//! One step of an export: how it is done, how it is undone, and when there is nothing to do.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::tree::Tree;
use super::{Cause, ExportError};
use crate::Step;

/// One step.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::export) enum Action {
    /// Makes an object. Undone by removing it.
    Directory(PathBuf),
    /// Puts a block device behind a backstore and switches it on. Undone with the backstore's directory.
    Backing {
        /// The backstore's directory.
        backstore: PathBuf,
        /// The block device.
        node: PathBuf,
        /// It takes no writes, and the kernel would not open it for any.
        is_read_only: bool,
    },
    /// Writes an attribute. Undone with the object that it belongs to.
    Attribute(PathBuf, String),
    /// Writes an attribute that nobody may read in an error or a log.
    Secret(PathBuf, String),
    /// Gives a client's registration back to a backstore that is new. Undone with the backstore's directory.
    Restore(PathBuf, String),
    /// Joins two objects. Undone by removing the link.
    Link {
        /// The link.
        path: PathBuf,
        /// The object that it points to.
        target: PathBuf,
    },
    /// Writes what cannot be read. Nothing to be undone.
    Tell(PathBuf, String),
    /// Switches an object on, a portal group or a namespace. Undone by switching it off, which ends what uses it.
    Enable(PathBuf),
}

impl Action {
    /// The directory, link or attribute that errors name.
    pub(in crate::export) fn path(&self) -> &Path {
        match self {
            Action::Directory(path)
            | Action::Attribute(path, _)
            | Action::Secret(path, _)
            | Action::Restore(path, _)
            | Action::Tell(path, _)
            | Action::Enable(path) => path,
            Action::Backing { backstore, .. } => backstore,
            Action::Link { path, .. } => path,
        }
    }

    /// What errors call the step.
    pub(in crate::export) fn name(&self) -> &'static str {
        match self {
            Action::Directory(_) => "make",
            Action::Backing { .. } => "put a block device behind the backstore",
            Action::Attribute(..) | Action::Secret(..) | Action::Tell(..) => "write",
            Action::Restore(..) => "restore a client's reservation",
            Action::Link { .. } => "link",
            Action::Enable(_) => "switch on",
        }
    }

    /// What errors call its undo.
    pub(in crate::export) fn undo_name(&self) -> &'static str {
        match self {
            Action::Directory(_) => "remove",
            Action::Backing { .. }
            | Action::Attribute(..)
            | Action::Secret(..)
            | Action::Tell(..)
            | Action::Restore(..) => "leave",
            Action::Link { .. } => "unlink",
            Action::Enable(_) => "switch off, with what uses it",
        }
    }

    /// Does the step.
    pub(in crate::export) fn perform(&self, tree: &impl Tree) -> Result<Step, ExportError> {
        match self {
            Action::Directory(path) => self.unless(Errno::EXIST, tree.mkdir(path)),
            Action::Backing {
                backstore,
                node,
                is_read_only,
            } => self.back(tree, backstore, node, *is_read_only),
            Action::Attribute(path, value) => self.write(tree, path, value),
            Action::Secret(path, value) => {
                let written = self.write(tree, path, value);
                written.map_err(|error| match error.cause {
                    Cause::Other(_) => ExportError {
                        cause: Cause::Said("it did not take the value".to_owned()),
                        ..error
                    },
                    _ => error,
                })
            }
            // What it was given cannot be read back.
            Action::Restore(path, value) | Action::Tell(path, value) => {
                match tree.write(path, value) {
                    Ok(()) => Ok(Step::Changed),
                    Err(errno) => Err(ExportError::kernel(path, self.name(), errno)),
                }
            }
            Action::Enable(path) => self.write(tree, path, "1"),
            Action::Link { path, target } => self.link(tree, path, target),
        }
    }

    /// Undoes the step; what is not there is undone already, whatever came before.
    pub(in crate::export) fn undo(&self, tree: &impl Tree) -> Result<Step, ExportError> {
        let undone = match self {
            Action::Directory(path) => tree.rmdir(path),
            Action::Link { path, .. } => tree.unlink(path),
            Action::Enable(path) => match tree.read(path) {
                Ok(value) if value.trim() == "0" => return Ok(Step::Already),
                Ok(_) => tree.write(path, "0"),
                Err(errno) => Err(errno),
            },
            Action::Backing { .. }
            | Action::Attribute(..)
            | Action::Secret(..)
            | Action::Tell(..)
            | Action::Restore(..) => {
                return Ok(Step::Already);
            }
        };
        match undone {
            Ok(()) => Ok(Step::Changed),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Step::Already),
            Err(errno) => Err(ExportError::kernel(self.path(), self.undo_name(), errno)),
        }
    }

    fn back(
        &self,
        tree: &impl Tree,
        backstore: &Path,
        node: &Path,
        is_read_only: bool,
    ) -> Result<Step, ExportError> {
        let kernel = |path: &Path, errno| ExportError::kernel(path, self.name(), errno);
        let enable = backstore.join("enable");
        let enabled = tree.read(&enable).map_err(|e| kernel(&enable, e))?;
        if enabled.trim() == "1" {
            let info = backstore.join("info");
            let found = tree.read(&info).map_err(|e| kernel(&info, e))?;
            return if is_backed_by(&found, node, is_read_only) {
                Ok(Step::Already)
            } else {
                Err(self.other(found))
            };
        }
        let control = backstore.join("control");
        tree.write(&control, &format!("udev_path={}", node.display()))
            .map_err(|e| kernel(&control, e))?;
        if is_read_only {
            tree.write(&control, "readonly=1")
                .map_err(|e| kernel(&control, e))?;
        }
        tree.write(&enable, "1").map_err(|e| kernel(&enable, e))?;
        Ok(Step::Changed)
    }

    fn write(&self, tree: &impl Tree, path: &Path, value: &str) -> Result<Step, ExportError> {
        let kernel = |errno| ExportError::kernel(path, self.name(), errno);
        // Read before write: LIO refuses even the same value for a thing that is in use.
        if holds(&tree.read(path).map_err(kernel)?, value) {
            return Ok(Step::Already);
        }
        tree.write(path, value).map_err(kernel)?;
        // Read after write: LIO cuts or ignores some values without an error.
        let found = tree.read(path).map_err(kernel)?;
        if holds(&found, value) {
            Ok(Step::Changed)
        } else {
            Err(self.other(found))
        }
    }

    fn link(&self, tree: &impl Tree, path: &Path, target: &Path) -> Result<Step, ExportError> {
        let kernel = |errno| ExportError::kernel(path, self.name(), errno);
        match tree.symlink(target, path) {
            Ok(()) => Ok(Step::Changed),
            Err(Errno::EXIST) => {
                let found = tree.link_target(path).map_err(kernel)?;
                let wanted = target.file_name().unwrap_or(target.as_os_str());
                if wanted == found.as_str() {
                    Ok(Step::Already)
                } else {
                    Err(self.other(found))
                }
            }
            Err(errno) => Err(kernel(errno)),
        }
    }

    fn unless(&self, already: Errno, result: Result<(), Errno>) -> Result<Step, ExportError> {
        match result {
            Ok(()) => Ok(Step::Changed),
            Err(errno) if errno == already => Ok(Step::Already),
            Err(errno) => Err(ExportError::kernel(self.path(), self.name(), errno)),
        }
    }

    fn other(&self, found: String) -> ExportError {
        ExportError {
            path: self.path().to_owned(),
            step: self.name(),
            cause: Cause::Other(found.trim().to_owned()),
        }
    }
}

/// Whether an attribute reads as a value: alone, as the same number in hex (`rtpi` prints `0x1`), or after the
/// title that `vpd_unit_serial` prints (`T10 VPD Unit Serial Number: VALUE`).
fn holds(found: &str, value: &str) -> bool {
    let found = found.trim();
    let titled = found.rsplit_once(": ").map(|(_, last)| last);
    let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let hex = found.strip_prefix("0x").and_then(number);
    found == value || titled == Some(value) || (hex.is_some() && hex == value.parse().ok())
}

/// `info` of an iblock backstore has `UDEV PATH: NODE` and then more (`iblock_show_configfs_dev_params`).
fn is_backed_by(info: &str, node: &Path, is_read_only: bool) -> bool {
    let Some((_, rest)) = info.split_once("UDEV PATH: ") else {
        return false;
    };
    let mut words = rest.split_whitespace();
    let found = words.next().map(Path::new);
    let mode = words.skip_while(|word| *word != "readonly:").nth(1);
    found == Some(node) && mode == Some(if is_read_only { "1" } else { "0" })
}
