//! Where a lab keeps what other shells need to find: `target/lab/NAME`.
//!
//! One lab of a name runs at a time, and one is started at a time. `NAME/lock` is held by the supervisor of a lab that runs;
//! `NAME.starting` by whoever starts one, from before anything is built until the supervisor has its own, or empties or
//! moves what an earlier one left. Neither file is ever removed: who has it open would hold the lock of a file that nobody else
//! finds.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::clock::unix_ms;

/// Failed labs of one name whose logs are kept.
const FAILED_KEPT: usize = 8;

/// The file whose lock says that a lab runs.
const LOCK: &str = "lock";

/// The state directory of one lab.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory of a lab of this checkout; its name becomes a file name.
    pub fn of(name: &str) -> anyhow::Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            bail!("{name:?} is no name for a lab: 1 to 32 of letters, digits, '-' and '_'");
        }
        let target = orthrus_image::Workspace::here()?.target();
        Ok(Self {
            path: target.join("lab").join(name),
        })
    }

    /// A directory that is known already.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes it, if it is not there yet, and takes the right to start a lab of this name, which ends with its holder. Fails while
    /// somebody else has it, and while a lab of this name runs.
    ///
    /// # Errors
    /// Who has it, and how to do without.
    pub fn starting(&self) -> anyhow::Result<Starting> {
        fs::create_dir_all(&self.path)
            .with_context(|| format!("creating {}", self.path.display()))?;
        let starting = Starting(self.take_starting()?);
        drop(self.lock()?);
        Ok(starting)
    }

    fn take_starting(&self) -> anyhow::Result<File> {
        let path = self.path.with_extension("starting");
        let mut file = open_lock(&path).with_context(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            bail!(
                "process {} starts a lab named {name} in this checkout just now: wait for it, or give this one another name \
                 (`cargo lab --name OTHER`)",
                pid.trim()
            );
        }
        // For who comes second; it says nothing once the lock is free.
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(file)
    }

    /// Empties it for a new lab; fails while one runs.
    ///
    /// # Errors
    /// The lab that runs.
    pub fn prepare(&self, _starting: &Starting) -> anyhow::Result<()> {
        drop(self.lock()?);
        for entry in fs::read_dir(&self.path)?.flatten() {
            if entry.file_name() == LOCK {
                continue;
            }
            let path = entry.path();
            let _ = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
        }
        Ok(())
    }

    /// Puts what the machines said and what the client wrote down aside, where the next lab of this name leaves it alone: in
    /// `target/lab/NAME-failed-MILLISECONDS`, of which the last [`FAILED_KEPT`] are kept. Fails while the lab runs.
    ///
    /// # Errors
    /// What could not be moved.
    pub fn keep(&self) -> anyhow::Result<PathBuf> {
        let _starting = self.starting()?;
        let (labs, name) = (self.path.parent(), self.path.file_name());
        let (Some(labs), Some(name)) = (labs, name) else {
            bail!("{} is no lab", self.path.display());
        };
        let begins = format!("{}-failed-", name.to_string_lossy());
        let place = labs.join(format!("{begins}{}", unix_ms()));
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        for entry in fs::read_dir(&self.path)?.flatten() {
            let path = entry.path();
            let is_kept = ["stamped", "log", "journal", "json", "toml"].map(OsStr::new);
            if path.extension().is_some_and(|kind| is_kept.contains(&kind)) {
                fs::rename(&path, place.join(entry.file_name()))
                    .with_context(|| path.display().to_string())?;
            }
        }
        let others = fs::read_dir(labs)?.flatten().map(|entry| entry.path());
        let of_this_lab = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(&begins)
        };
        let mut failed: Vec<PathBuf> = others.filter(of_this_lab).collect();
        failed.sort();
        for old in failed.iter().rev().skip(FAILED_KEPT) {
            fs::remove_dir_all(old).with_context(|| old.display().to_string())?;
        }
        Ok(place)
    }

    /// Takes the lock that says that a lab of this name runs; it ends with its holder.
    pub fn lock(&self) -> anyhow::Result<File> {
        let file = open_lock(&self.file(LOCK))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            bail!("a lab named {name} is running already: `cargo lab down --name {name}` ends it");
        }
        Ok(file)
    }

    /// Connects to the supervisor.
    pub fn connect(&self) -> anyhow::Result<UnixStream> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let dir = File::open(&self.path).with_context(|| format!("no lab named {name}"))?;
        // Through a descriptor of the directory: a socket's path holds 108 bytes and no more.
        let path = format!("/proc/self/fd/{}/lab.sock", dir.as_raw_fd());
        UnixStream::connect(path).with_context(|| format!("no lab named {name} is running"))
    }
}

/// The right to start a lab of a name.
#[derive(Debug)]
pub struct Starting(#[allow(dead_code, reason = "held")] File);

/// As it is: what its holder wrote is read by others.
fn open_lock(path: &Path) -> std::io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Longest line that people are shown: a firmware's setup screen is one line of half a megabyte.
const LINE_MAX_CHARS: usize = 300;

/// The last lines of a log file, for people: without what moves the cursor of their terminal.
pub fn last_lines(path: &Path, count: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = without_escapes(&String::from_utf8_lossy(&bytes));
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().take(LINE_MAX_CHARS).collect())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Drops control characters, and the sequences of ECMA-48: ESC `[`, parameters, one final letter.
pub(crate) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                if characters.next() == Some('[') {
                    characters.find(|c| ('@'..='~').contains(c));
                }
            }
            '\n' | '\t' => plain.push(character),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_failed_labs_are_kept_and_not_for_ever() {
        let labs = tempfile::tempdir().unwrap();
        let lab = StateDir::at(&labs.path().join("test"));
        for round in 0..=FAILED_KEPT {
            lab.prepare(&lab.starting().unwrap()).unwrap();
            fs::create_dir(lab.file("disks")).unwrap();
            for name in ["a.console.stamped", "io-1.journal", "head.initrd"] {
                fs::write(lab.file(name), round.to_string()).unwrap();
            }
            let running = lab.lock().unwrap();
            assert!(lab.keep().is_err());
            drop(running);
            let kept = lab.keep().unwrap();
            let said = fs::read_to_string(kept.join("a.console.stamped")).unwrap();
            assert_eq!(said, round.to_string());
            let names = fs::read_dir(&kept).unwrap().count();
            assert_eq!(names, 2, "what people read, and no disks");
            // Each has a name by the time.
            while labs
                .path()
                .join(format!("test-failed-{}", unix_ms()))
                .exists()
            {}
        }
        let left = fs::read_dir(labs.path()).unwrap().count();
        assert_eq!(
            left,
            2 + FAILED_KEPT,
            "the lab, who may start it, and the failed ones"
        );
    }

    #[test]
    fn of_two_that_start_a_lab_the_second_is_told_who_is_first_and_empties_nothing() {
        let labs = tempfile::tempdir().unwrap();
        let (first, second) = [(); 2]
            .map(|()| StateDir::at(&labs.path().join("lab")))
            .into();
        let starting = first.starting().unwrap();
        fs::write(first.file("spec.json"), "first's").unwrap();
        let why = second.starting().unwrap_err().to_string();
        let me = format!("process {} starts a lab named lab", std::process::id());
        assert!(why.contains(&me) && why.contains("--name"), "{why}");
        // Its supervisor has its own lock before the other one is let go.
        let running = first.lock().unwrap();
        drop(starting);
        let why = second.starting().unwrap_err().to_string();
        assert!(why.contains("running already"), "{why}");
        assert!(first.file("spec.json").exists());
        drop(running);
        // What is emptied keeps the lock that others may have open.
        let open = File::open(first.file(LOCK)).unwrap();
        let starting = second.starting().unwrap();
        second.prepare(&starting).unwrap();
        assert!(!second.file("spec.json").exists());
        let _running = second.lock().unwrap();
        assert!(flock(&open, FlockOperation::NonBlockingLockExclusive).is_err());
    }

    #[test]
    fn what_people_are_shown_does_not_move_their_cursor() {
        let said = "a> \x1b[K\x1b[K[ 1.0] up\r\n\x1b[2J\x1b[01;01Hsetup\x1bc end\x07";
        assert_eq!(without_escapes(said), "a> [ 1.0] up\nsetup end");
    }
}
