//! Single-purpose programs beside PID 1: makers and checkers of file systems, which nobody should write anew.
//!
//! Each stands in `/helpers`, with the libraries that it needs in `/helpers/lib`, and is started through the dynamic
//! linker there: nothing of it lies where a program would look by itself. They come from the tree of tools, so image and
//! firmware are made by the same versions. Nothing that interprets commands may become one.
//!
//! Rejected: static programs. Debian has one of `e2fsck` and none of `mke2fs`, and two that share libraries are smaller.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{Tools, fingerprint::Fingerprint};

/// The programs, and why.
#[rustfmt::skip]
pub const HELPERS: &[&str] = &[
    "mke2fs",   // the state volume's file system, once, and shares'
    "e2fsck",   // the same, when they are damaged
    "mkfs.xfs", // shares', large ones
];

/// The dynamic linker's name, among the libraries.
pub const LINKER: &str = "ld-linux-x86-64.so.2";

/// What the image depends on.
pub(crate) fn fingerprint(tools: &Tools, fingerprint: &mut Fingerprint) -> Result<()> {
    fingerprint.text(include_str!("helpers.rs"));
    for name in HELPERS {
        fingerprint.path(&tools.program(name)?)?;
        for library in libraries(tools, name)? {
            fingerprint.path(&library)?;
        }
    }
    Ok(())
}

/// Copies the programs and their libraries below `root`.
pub(crate) fn install(tools: &Tools, root: &Path) -> Result<()> {
    let place = root.join("helpers");
    fs::create_dir_all(place.join("lib"))?;
    for name in HELPERS {
        copy(&tools.program(name)?, &place.join(name), 0o755)?;
        for library in libraries(tools, name)? {
            let file = library.file_name().context("a library has a name")?;
            // The linker is started, as the program that it is.
            let mode = if file == LINKER { 0o755 } else { 0o644 };
            copy(&library, &place.join("lib").join(file), mode)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// The libraries that a program is linked to, the linker among them, as the linker itself finds them.
fn libraries(tools: &Tools, name: &str) -> Result<Vec<PathBuf>> {
    let output = tools.linked(name)?.output().context("start the linker")?;
    ensure!(
        output.status.success(),
        "the libraries of {name}: {}",
        output.status
    );
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // "libc.so.6 => /path/libc.so.6 (0x..)"; what the kernel brings along has no path.
        let Some((library, rest)) = line.trim().split_once(" => ") else {
            continue;
        };
        let path = rest.split(" (").next().unwrap_or_default();
        ensure!(
            Path::new(path).starts_with(tools.root()),
            "{name} wants {library}, which is not in the tree of tools: {rest}"
        );
        found.push(PathBuf::from(path));
    }
    ensure!(!found.is_empty(), "{name} is linked to nothing");
    Ok(found)
}
