//! configfs as a tree of directories, attributes and links, behind a trait so that tests have their own.
//!
//! In configfs a `mkdir` makes a kernel object with its attributes, a `symlink` joins two objects, and
//! `rmdir` and `unlink` undo these; attributes can neither be made nor removed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::io::Errno;

/// What a step does to configfs. Paths are absolute.
pub trait Tree: Send + Sync + 'static {
    fn mkdir(&self, path: &Path) -> Result<(), Errno>;
    fn rmdir(&self, path: &Path) -> Result<(), Errno>;
    fn read(&self, path: &Path) -> Result<String, Errno>;
    fn write(&self, path: &Path, value: &str) -> Result<(), Errno>;
    fn symlink(&self, target: &Path, path: &Path) -> Result<(), Errno>;
    fn unlink(&self, path: &Path) -> Result<(), Errno>;
    /// The last component of what a link points to.
    fn link_target(&self, path: &Path) -> Result<String, Errno>;
}

/// The kernel's.
pub struct Configfs;

impl Tree for Configfs {
    fn mkdir(&self, path: &Path) -> Result<(), Errno> {
        errno(fs::create_dir(path))
    }

    fn rmdir(&self, path: &Path) -> Result<(), Errno> {
        errno(fs::remove_dir(path))
    }

    fn read(&self, path: &Path) -> Result<String, Errno> {
        let bytes = errno(fs::read(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, path: &Path, value: &str) -> Result<(), Errno> {
        // One write: each is a whole value to configfs.
        let mut file = errno(OpenOptions::new().write(true).open(path))?;
        errno(file.write_all(value.as_bytes()))
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), Errno> {
        errno(std::os::unix::fs::symlink(target, path))
    }

    fn unlink(&self, path: &Path) -> Result<(), Errno> {
        errno(fs::remove_file(path))
    }

    fn link_target(&self, path: &Path) -> Result<String, Errno> {
        // configfs answers with a relative path (../../core/...), of which the end is enough.
        let target = errno(fs::read_link(path))?;
        let name = target.file_name().unwrap_or(target.as_os_str());
        Ok(name.to_string_lossy().into_owned())
    }
}

fn errno<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
