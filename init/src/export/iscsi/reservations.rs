//! Clients' own persistent reservations, kept on the pool: those that a client asked to outlive a loss of power (APTPL).
//!
//! LIO writes all registrations of a LUN into `dbroot/pr/aptpl_SERIAL` before it answers the client that changed one
//! (`__core_scsi3_write_aptpl_to_file`), with O_TRUNC and without a flush. So:
//!
//! - that name is a link to a file in the pool's state volume, in a directory whose files are written synchronously
//!   (`FS_SYNC_FL`, which new files inherit): what a client was told is on the disks;
//! - a file that was cut off in the middle is no file: a copy of the last whole one stands beside it ([`watch`]), made as soon as
//!   the kernel closed it, and by whoever takes the pool over from a head that died before it came to that. A change that was cut
//!   off was not answered;
//! - they are given back to a LUN before anybody is let in ([`restored`]), with the same target, portal group and LUN number on
//!   both heads, by which the kernel finds its clients again.
//!
//! What is left: two changes within a moment, and a loss of power in the middle of the second one, before the first was
//! copied; and a kernel that cannot write the file answers all the same. `status` says of which file there is no copy
//! ([`Copies::failed`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use embassy_time::{Duration, Instant};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use tracing::{error, info, warn};

use crate::background::Background;
use crate::clock;
use crate::state;
use crate::sync::lock;

/// Where in the state volume.
const DIRECTORY: &str = "reservations";
/// What LIO calls a file, before the serial number.
const PREFIX: &str = "aptpl_";
/// The copy of the last whole file.
const KEPT: &str = ".kept";
/// How long a file may be cut off before it is said: the kernel may be at the next one already.
const WRITING: Duration = Duration::from_secs(1);
/// More than LIO ever writes (`PR_APTPL_BUF_LEN` doubled some times).
const FILE_MAX: u64 = 4 << 20;

/// What LIO writes when there is nothing, with a line end or without (`core_scsi3_update_and_write_aptpl`).
const NOTHING: &str = "No Registrations or Reservations";
/// What a registration consists of (`core_scsi3_update_aptpl_buf`), and whether it is a number.
const FIELDS: [(&str, bool); 13] = [
    ("initiator_fabric", false),
    ("initiator_node", false),
    ("initiator_sid", false),
    ("sa_res_key", true),
    ("res_holder", true),
    ("res_type", true),
    ("res_scope", true),
    ("res_all_tg_pt", true),
    ("mapped_lun", true),
    ("target_fabric", false),
    ("target_node", false),
    ("tpgt", true),
    ("port_rtpi", true),
];
const LAST_FIELD: &str = "target_lun";
/// Those that some do not have: clients without a session identifier, and those that do not hold the reservation.
const SOMETIMES: [&str; 3] = ["initiator_sid", "res_type", "res_scope"];

/// Why a file is not what LIO writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It ends too early: the power went in the middle of a write.
    #[error("it is cut off")]
    Torn,
    /// A line that LIO does not write.
    #[error("line {line}: {what:?}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// The line.
        what: String,
    },
}

/// Why a LUN does not get clients' registrations back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrestored {
    /// There is no file of them: clients never asked for any, as far as the file system knows.
    #[error("there is no file of them in the state volume")]
    NoFile,
    /// There is no place for one.
    #[error("{0}")]
    NoPlace(String),
    /// There is a file that is not whole, and there never was a whole one to copy: the first change was cut off, and not answered; or it
    /// cannot be read.
    #[error("{0}")]
    Cut(String),
    /// Neither the file nor its copy is whole.
    #[error("{0}")]
    Damaged(String),
    /// One of them is of a client that may be let in, which is not known: the kernel takes it back for nobody, and writes a file without it as
    /// soon as another client changes anything.
    #[error(
        "{initiator} registered there, and whether it is let in is not known: {why}; once the list can be read a `handover` offers the LUN"
    )]
    UnknownClient {
        /// Who registered.
        initiator: String,
        /// Why that is not known.
        why: String,
    },
}

/// The registrations of a file, each as the kernel takes it back (`target_pr_res_aptpl_metadata_store`): one line, with
/// numbers that it cannot take for octal ones.
pub fn registrations(bytes: &[u8]) -> Result<Vec<String>, FileError> {
    // The end that LIO writes last: a file without it is not whole.
    let bytes = bytes.strip_suffix(&[0]).ok_or(FileError::Torn)?;
    let text = String::from_utf8_lossy(bytes);
    if text.trim_end_matches('\n') == NOTHING {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut fields: Option<Vec<String>> = None;
    for (index, line) in text.lines().enumerate() {
        let wrong = || FileError::Line {
            line: index + 1,
            what: line.to_owned(),
        };
        match (&mut fields, line.split_once(": "), line.split_once('=')) {
            (None, Some(("PR_REG_START", number)), _) if number == found.len().to_string() => {
                fields = Some(Vec::new());
            }
            (Some(so_far), Some(("PR_REG_END", number)), _)
                if number == found.len().to_string() && is_whole(so_far) =>
            {
                found.push(so_far.join(","));
                fields = None;
            }
            (Some(so_far), _, Some((key, value))) => {
                so_far.push(field(key, value).ok_or_else(wrong)?);
            }
            _ => return Err(wrong()),
        }
    }
    match (fields, found.is_empty()) {
        (None, false) => Ok(found),
        _ => Err(FileError::Torn),
    }
}

fn field(key: &str, value: &str) -> Option<String> {
    let is_number = match key {
        LAST_FIELD => true,
        _ => FIELDS.iter().find(|(name, _)| *name == key)?.1,
    };
    // `res_type` and `res_scope` have a leading zero, and 08 is no number to the kernel.
    let value = match is_number {
        true => value.parse::<u64>().ok()?.to_string(),
        // Also blocks in the middle that were never written: zeroes.
        false if !value.bytes().all(|b| b.is_ascii_graphic() && b != b',') => return None,
        false if value.is_empty() => return None,
        false => value.to_owned(),
    };
    Some(format!("{key}={value}"))
}

/// Whether the kernel would take a registration back. One that it refuses would keep the whole target closed.
fn is_whole(fields: &[String]) -> bool {
    let of = |name: &str| -> Vec<&str> {
        let fields = fields.iter().filter_map(|field| field.split_once('='));
        fields
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .collect()
    };
    let names = FIELDS.iter().map(|(name, _)| *name);
    let there = names.chain([LAST_FIELD]).all(|name| match of(name).len() {
        0 => SOMETIMES.contains(&name),
        count => count == 1,
    });
    let is_holder = of("res_holder") == ["1"];
    let has_type = of("res_type").first().is_some_and(|kind| *kind != "0");
    there && of("sa_res_key") != ["0"] && (!is_holder || has_type)
}

/// The directory of a pool's reservations; it is made, and made to be written synchronously.
pub fn directory(state: &Path) -> io::Result<PathBuf> {
    let place = state.join(DIRECTORY);
    fs::create_dir_all(&place)?;
    let open = File::open(&place)?;
    let wanted = IFlags::SYNC | IFlags::DIRSYNC;
    let flags = ioctl_getflags(&open)?;
    if !flags.contains(wanted) {
        ioctl_setflags(&open, flags | wanted)?;
        open.sync_all()?;
    }
    Ok(place)
}

/// What LIO calls the file of a LUN.
pub fn name(serial: &str) -> String {
    format!("{PREFIX}{serial}")
}

/// Who made a registration.
pub fn initiator(registration: &str) -> Option<&str> {
    let mut fields = registration.split(',');
    fields.find_map(|field| field.strip_prefix("initiator_node="))
}

/// Takes a file over that the kernel wrote before there was a place for it on the pool, unless it has written another one there
/// since: that one is newer.
pub fn take_over(directory: &Path, serial: &str, file: &Path) -> io::Result<()> {
    let name = name(serial);
    let bytes = read(file)?;
    registrations(&bytes).map_err(io::Error::other)?;
    let taken = format!("{name}.taken");
    for copy in [format!("{name}{KEPT}"), taken.clone()] {
        if !directory.join(&name).exists() {
            state::keep(directory, &copy, &bytes).map_err(io::Error::other)?;
        }
    }
    let taken = directory.join(taken);
    // Never over another one.
    let linked = match fs::hard_link(&taken, directory.join(&name)) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    };
    let removed = match fs::remove_file(&taken) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    linked.and(removed)?;
    File::open(directory)?.sync_all()
}

/// Whether clients are registered on a LUN now, as the kernel wrote it last; `None` where that cannot be told.
pub fn has_any(state: &Path, serial: &str) -> Option<bool> {
    // As they are restored: by the copy where the file is not there.
    let name = name(serial);
    for file in [name.clone(), format!("{name}{KEPT}")] {
        match read(&state.join(DIRECTORY).join(file)) {
            Ok(bytes) => return Some(!registrations(&bytes).ok()?.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(false)
}

/// The registrations of a LUN that are to be given back to the kernel: of its file, or of the copy where that is torn.
pub fn restored(directory: &Path, serial: &str) -> Result<Vec<String>, Unrestored> {
    let name = name(serial);
    let (mut torn, mut is_copied) = (None, false);
    for file in [name.clone(), format!("{name}{KEPT}")] {
        let bytes = match read(&directory.join(&file)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Unrestored::Cut(format!("{file}: {error}"))),
        };
        match registrations(&bytes) {
            Ok(found) => {
                if let Some(why) = torn {
                    warn!(
                        serial,
                        "the file of clients' reservations is not whole ({why}): that of before counts"
                    );
                }
                if !found.is_empty() {
                    info!(
                        serial,
                        "{} reservation keys of clients are restored",
                        found.len()
                    );
                }
                return Ok(found);
            }
            Err(why) => {
                is_copied = file != name;
                torn = Some(why);
            }
        }
    }
    Err(match torn {
        None => Unrestored::NoFile,
        Some(why) if is_copied => Unrestored::Damaged(format!("{name}: {why}")),
        Some(why) => Unrestored::Cut(format!("{name}: {why}")),
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The copies of a directory's files; they are made until this is dropped.
pub struct Copies {
    _thread: Background,
    failed: Arc<Mutex<Failed>>,
}

/// Files of which there is no copy as they are now: since when, and why not.
type Failed = BTreeMap<String, (Instant, CopyError)>;

/// Why there is no copy of a file.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// It is not whole.
    #[error("{0}")]
    File(#[from] FileError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// The copy cannot be written.
    #[error("{0}")]
    Keep(#[from] state::StateError),
}

impl Copies {
    /// The files of which there is no copy as they are now, with the reason.
    pub fn failed(&self, now: Instant) -> Vec<String> {
        let failed = lock(&self.failed);
        let last = failed
            .iter()
            .filter(|(_, (since, _))| now.saturating_duration_since(*since) >= WRITING);
        last.map(|(name, (_, why))| format!("{name} is not copied: {why}"))
            .collect()
    }
}

/// Copies each file that LIO has written whole, until what is returned is dropped. What stands there already is copied before this
/// returns, if it is whole: the head that wrote it may have died before it came to that, and the next change may be cut off.
pub fn watch(directory: &Path) -> io::Result<Copies> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // First, so that no change is missed.
    inotify::add_watch(&changes, directory, WatchFlags::CLOSE_WRITE)?;
    let directory = directory.to_owned();
    let failed = Arc::new(Mutex::new(Failed::new()));
    for name in written(&directory)? {
        match keep(&directory, &name) {
            // The copy is what counts, and what was given back.
            Err(CopyError::File(_)) => {}
            kept => note(&failed, name, kept),
        }
    }
    let thread = Background::spawn("reservations", {
        let failed = failed.clone();
        move |stop| {
            while stop.wait(&[changes.as_fd()], None).is_some() {
                for name in names(&changes) {
                    let kept = keep(&directory, &name);
                    note(&failed, name, kept);
                }
            }
        }
    })?;
    Ok(Copies {
        _thread: thread,
        failed,
    })
}

/// Notes what became of a copy, and what is over.
fn note(failed: &Mutex<Failed>, name: String, kept: Result<(), CopyError>) {
    let Err(why) = kept else {
        lock(failed).remove(&name);
        return;
    };
    // The kernel may write the next one already.
    if !matches!(why, CopyError::File(_)) {
        error!(file = name, "clients' reservations are not copied: {why}");
    }
    let mut failed = lock(failed);
    let since = failed
        .get(&name)
        .map_or_else(clock::now, |(since, _)| *since);
    failed.insert(name, (since, why));
}

/// The files of LIO's that there are.
fn written(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(
            entry?
                .file_name()
                .into_string()
                .ok()
                .filter(|name| is_lios(name)),
        );
    }
    Ok(names)
}

/// The files of LIO's that changed.
fn names(changes: &OwnedFd) -> Vec<String> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(changes, &mut buffer);
    let mut names = Vec::new();
    // Until there is nothing more.
    while let Ok(event) = reader.next() {
        let name = event.file_name().and_then(|name| name.to_str().ok());
        names.extend(name.filter(|name| is_lios(name)).map(str::to_owned));
    }
    names
}

fn is_lios(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.contains('.')
}

/// Makes a copy of a file, if it is whole and there is none like it.
fn keep(directory: &Path, name: &str) -> Result<(), CopyError> {
    let bytes = read(&directory.join(name)).map_err(CopyError::Read)?;
    registrations(&bytes)?;
    let copy = format!("{name}{KEPT}");
    if read(&directory.join(&copy)).is_ok_and(|kept| kept == bytes) {
        return Ok(());
    }
    Ok(state::keep(directory, &copy, &bytes)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::time;

    use tempfile::TempDir;

    use super::*;
    use crate::chance::{Chance, times};

    /// As LIO of 6.12 wrote it, of two registrants of which the second one holds the reservation.
    const FILE: &str = "PR_REG_START: 0\ninitiator_fabric=iSCSI\ninitiator_node=iqn.1993-08.org.debian:01:client\n\
        initiator_sid=0x00023d000001\nsa_res_key=43981\nres_holder=0\nres_all_tg_pt=0\nmapped_lun=0\n\
        target_fabric=iSCSI\ntarget_node=iqn.2026-01.org.orthrus:tank\ntpgt=1\nport_rtpi=1\ntarget_lun=0\nPR_REG_END: 0\n\
        PR_REG_START: 1\ninitiator_fabric=iSCSI\ninitiator_node=iqn.1993-08.org.debian:01:other\n\
        initiator_sid=0x00023d000002\nsa_res_key=4660\nres_holder=1\nres_type=08\nres_scope=00\nres_all_tg_pt=1\n\
        mapped_lun=0\ntarget_fabric=iSCSI\ntarget_node=iqn.2026-01.org.orthrus:tank\ntpgt=1\nport_rtpi=1\n\
        target_lun=0\nPR_REG_END: 1\n\0";

    #[test]
    fn registrations_are_given_back_as_the_kernel_takes_them() {
        let found = registrations(FILE.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1],
            "initiator_fabric=iSCSI,initiator_node=iqn.1993-08.org.debian:01:other,initiator_sid=0x00023d000002,\
             sa_res_key=4660,res_holder=1,res_type=8,res_scope=0,res_all_tg_pt=1,mapped_lun=0,target_fabric=iSCSI,\
             target_node=iqn.2026-01.org.orthrus:tank,tpgt=1,port_rtpi=1,target_lun=0"
        );
        for nothing in [format!("{NOTHING}\0"), format!("{NOTHING}\n\0")] {
            assert_eq!(registrations(nothing.as_bytes()), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_file_that_was_cut_off_anywhere_is_no_file() {
        for length in 0..FILE.len() {
            let cut = registrations(&FILE.as_bytes()[..length]);
            assert!(cut.is_err(), "{length} bytes: {cut:?}");
            // Blocks that were never written read as zeroes.
            let mut zeroed = FILE.as_bytes().to_vec();
            zeroed[length..].fill(0);
            let zeroed = registrations(&zeroed);
            assert!(
                length + 1 == FILE.len() || zeroed.is_err(),
                "{length}: {zeroed:?}"
            );
        }
        for (from, to) in [
            ("res_holder", "res_folder"),
            ("4660", "x"),
            ("debian", "a,b"),
        ] {
            let bad = FILE.replace(from, to);
            let error = registrations(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, FileError::Line { .. }), "{error}");
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_no_registration() {
        for (from, to) in [
            ("target_node=iqn.2026-01.org.orthrus:tank\n", ""),
            ("tpgt=1\n", "tpgt=1\ntpgt=1\n"),
            ("sa_res_key=4660", "sa_res_key=0"),
            ("res_type=08\n", ""),
            ("res_type=08", "res_type=00"),
            ("debian", "deb\0\0\0"),
        ] {
            let error = registrations(FILE.replacen(from, to, 1).as_bytes());
            assert!(
                matches!(error, Err(FileError::Line { .. })),
                "{from:?}: {error:?}"
            );
        }
    }

    /// As LIO writes them.
    fn file_of(registrations: &[String]) -> Vec<u8> {
        let mut text = String::new();
        for (number, registration) in registrations.iter().enumerate() {
            let fields = registration.replace(',', "\n");
            text += &format!("PR_REG_START: {number}\n{fields}\nPR_REG_END: {number}\n");
        }
        match registrations {
            [] => format!("{NOTHING}\n\0").into_bytes(),
            _ => (text + "\0").into_bytes(),
        }
    }

    #[test]
    fn of_a_damaged_file_only_what_the_kernel_takes_is_given_back() {
        let mut chance = Chance(1);
        let mut whole = 0;
        for _ in 0..times(20_000) {
            let mut bytes = FILE.as_bytes().to_vec();
            chance.damage(&mut bytes);
            let Ok(found) = registrations(&bytes) else {
                continue;
            };
            whole += 1;
            for registration in &found {
                assert!(
                    registration.bytes().all(|b| b.is_ascii_graphic()),
                    "{registration:?}"
                );
                for field in registration.split(',') {
                    let (key, value) = field.split_once('=').unwrap();
                    let number = FIELDS.iter().find(|(name, _)| *name == key);
                    if number.is_none_or(|(_, is_number)| *is_number) {
                        assert_eq!(value.parse::<u64>().unwrap().to_string(), value);
                    }
                }
            }
            assert_eq!(registrations(&file_of(&found)), Ok(found));
        }
        assert!(whole > 100, "only {whole} were whole");
    }

    #[test]
    fn a_torn_file_gives_way_to_the_copy_of_the_last_whole_one() {
        let directory = TempDir::new().unwrap();
        let place = directory.path();
        let file = place.join(name("77"));
        assert_eq!(restored(place, "77"), Err(Unrestored::NoFile));
        fs::write(&file, &FILE[..100]).unwrap();
        let first = restored(place, "77");
        assert!(matches!(first, Err(Unrestored::Cut(_))), "{first:?}");
        fs::write(&file, FILE).unwrap();
        keep(place, &name("77")).unwrap();
        let whole = restored(place, "77").unwrap();
        assert_eq!(whole.len(), 2);
        fs::write(&file, &FILE[..100]).unwrap();
        // It is not copied, and not believed.
        let torn = keep(place, &name("77"));
        assert!(matches!(torn, Err(CopyError::File(FileError::Torn))));
        assert_eq!(restored(place, "77").unwrap(), whole);
        fs::write(place.join(format!("{}{KEPT}", name("77"))), "").unwrap();
        let error = restored(place, "77").unwrap_err();
        assert_eq!(
            error,
            Unrestored::Damaged("aptpl_77: it is cut off".to_owned())
        );
    }

    #[test]
    fn whether_clients_are_registered_is_what_the_kernel_wrote_last() {
        let state = TempDir::new().unwrap();
        let place = state.path().join(DIRECTORY);
        fs::create_dir(&place).unwrap();
        let file = place.join(name("76"));
        for (written, has) in [
            (None, Some(false)),
            (Some(FILE), Some(true)),
            (Some(&FILE[..100]), None),
            (Some("No Registrations or Reservations\0"), Some(false)),
        ] {
            if let Some(written) = written {
                fs::write(&file, written).unwrap();
            }
            assert_eq!(has_any(state.path(), "76"), has, "{written:?}");
        }
        let registration = &registrations(FILE.as_bytes()).unwrap()[1];
        let other = "iqn.1993-08.org.debian:01:other";
        assert_eq!(initiator(registration), Some(other));
    }

    /// Until something is so.
    fn until(what: &str, is_so: impl Fn() -> bool) {
        let begun = time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < time::Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_written_whole_is_copied() {
        let directory = TempDir::new().unwrap();
        let place = directory.path();
        let watcher = watch(place).unwrap();
        fs::write(place.join(name("78")), FILE).unwrap();
        let kept = place.join(format!("{}{KEPT}", name("78")));
        until("never copied", || {
            fs::read(&kept).unwrap_or_default() == FILE.as_bytes()
        });
        drop(watcher);
    }

    #[test]
    fn a_change_that_its_head_did_not_live_to_copy_outlives_the_next_one_that_is_cut_off() {
        let directory = TempDir::new().unwrap();
        let place = directory.path();
        let file = place.join(name("79"));
        let kept = place.join(format!("{}{KEPT}", name("79")));
        fs::write(&file, FILE).unwrap();
        keep(place, &name("79")).unwrap();
        let first = fs::metadata(&kept).unwrap().ino();
        // The same again is no write.
        keep(place, &name("79")).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().ino(), first);
        // A client was preempted and told so, and the head died.
        let (_, preempted) = FILE.split_once("PR_REG_END: 0\n").unwrap();
        let preempted = preempted.replace(": 1", ": 0");
        fs::write(&file, &preempted).unwrap();
        let whole = restored(place, "79").unwrap();
        assert_eq!(whole.len(), 1);
        drop(watch(place).unwrap());
        for length in [0, 100, preempted.len() - 1] {
            fs::write(&file, &preempted[..length]).unwrap();
            assert_eq!(restored(place, "79").unwrap(), whole, "cut off at {length}");
            // Nor does one that was cut off take its place.
            let watcher = watch(place).unwrap();
            assert_eq!(watcher.failed(Instant::MAX), [] as [&str; 0]);
            assert_eq!(restored(place, "79").unwrap(), whole, "cut off at {length}");
        }
    }

    #[test]
    fn a_file_without_a_copy_is_said_until_there_is_one() {
        let directory = TempDir::new().unwrap();
        let place = directory.path();
        let watcher = watch(place).unwrap();
        let late = || watcher.failed(Instant::MAX);
        fs::write(place.join(name("80")), &FILE[..100]).unwrap();
        until("never said", || {
            late() == ["aptpl_80 is not copied: it is cut off"]
        });
        assert_eq!(watcher.failed(Instant::MIN), [] as [&str; 0]);
        fs::write(place.join(name("80")), FILE).unwrap();
        until("said for ever", || late().is_empty());
        // A directory is in the way of the copy.
        fs::create_dir(place.join(format!("{}{KEPT}", name("81")))).unwrap();
        fs::write(place.join(name("81")), FILE).unwrap();
        until("never said", || {
            late()
                .iter()
                .any(|said| said.contains("aptpl_81.kept: replace: "))
        });
        let again = watch(place).unwrap();
        assert_eq!(again.failed(Instant::MAX), late());
        drop(watcher);
    }

    #[test]
    fn what_a_client_was_told_is_on_the_disks() {
        let pool = TempDir::new().unwrap();
        let state = pool.path();
        let made = match directory(state) {
            Ok(made) => made,
            Err(error) => {
                return eprintln!("skipped: {}: no flags of files: {error}", state.display());
            }
        };
        let flags = ioctl_getflags(File::open(&made).unwrap()).unwrap();
        assert!(flags.contains(IFlags::SYNC | IFlags::DIRSYNC), "{flags:?}");
        assert_eq!(directory(state).unwrap(), made);
    }
}
