//! Packages unpacked into a directory, as files only: no maintainer script of a package runs.
//!
//! A tree is known by the hash of the list that it was made of, is made beside its place and
//! renamed into it, and is never changed afterwards: who finds one may use it without a lock.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::{progress::step, workspace::Workspace};

/// Grows when trees are unpacked in another way, so that older ones are not used.
const FORMAT: u32 = 1;

/// What no program reads, a third of the bytes.
const LEFT_OUT: [&str; 5] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/info",
    "./usr/share/lintian",
];

/// The tree called `name`, made by way of `fetch` unless it is there already.
///
/// `list` is what it is made of, one item a line: the tree is made anew when that changes. `finish`
/// may add to the tree before it is put in place.
pub fn ensure(
    workspace: &Workspace,
    name: &str,
    list: &[&str],
    fetch: impl FnOnce() -> Result<Vec<PathBuf>>,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let place = workspace.cache().join(format!("{name}-{}", key(list)));
    if place.exists() {
        return Ok(place);
    }
    let _lock = Workspace::lock(&workspace.cache().join("lock"))?;
    if place.exists() {
        return Ok(place); // made by the process that we waited for
    }
    let files = fetch()?;
    let making = workspace.cache().join(format!("{name}.making"));
    if making.exists() {
        fs::remove_dir_all(&making).with_context(|| format!("remove {}", making.display()))?;
    }
    step(
        &format!("unpack {} packages for {name}", files.len()),
        || unpack(&files, &making),
    )?;
    let names = files
        .iter()
        .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned() + "\n"));
    fs::write(making.join("PACKAGES"), names.collect::<String>())?;
    finish(&making)?;
    fs::rename(&making, &place).with_context(|| format!("rename to {}", place.display()))?;
    Ok(place)
}

fn key(list: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{FORMAT} {}\n", crate::apt::sources::RELEASE));
    for item in list {
        hash.update(item);
        hash.update("\n");
    }
    hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn unpack(files: &[PathBuf], tree: &Path) -> Result<()> {
    // The links of a merged /usr belong to the package base-files, and dpkg unpacks that one first.
    for dir in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(dir))?;
        symlink(format!("usr/{dir}"), tree.join(dir))?;
    }
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let worker = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = unpack_one(file, tree)
                && let Ok(mut failure) = failure.lock()
            {
                *failure = Some(error);
            }
        }
    };
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
    match failure.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => unreachable!("no worker panics while it holds the lock"),
    }
}

fn unpack_one(file: &Path, tree: &Path) -> Result<()> {
    let mut source = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start dpkg-deb")?;
    let archive = source.stdout.take().context("dpkg-deb has an output")?;
    let tar = Command::new("tar")
        .args([
            "--extract",
            "--keep-directory-symlink",
            "--no-same-owner",
            "--delay-directory-restore",
        ])
        .args(LEFT_OUT.map(|path| format!("--exclude={path}")))
        .arg("--directory")
        .arg(tree)
        .stdin(archive)
        .status()
        .context("start tar")?;
    let read = source.wait().context("wait for dpkg-deb")?;
    ensure!(
        tar.success() && read.success(),
        "cannot unpack {}: dpkg-deb {read}, tar {tar}",
        file.display()
    );
    Ok(())
}
