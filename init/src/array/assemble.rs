//! An array in the kernel: started as it was decided, and stopped again.
//!
//! Only after the claim, on superblocks that were read after it: starting an array writes to all of its members. The
//! kernel is told of the members that were taken and of no others, and starts the array so that it waits for a first
//! write (`read-auto`): nothing is written, nothing made equal, until what it made of the superblocks has been held
//! against the decision. Where it judges otherwise the array is taken down again, unwritten. (A journal is the exception:
//! it is replayed as the array starts, as it must be.)
//!
//! The node is named after the array's identity, so that what is to be stopped is found without remembering anything. It
//! must not be opened before it is stopped by what would look for partitions in it or a filesystem: nothing here does.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::decision::{Decision, Slot};
use super::{Array, ArrayId, Member, Superblock};
use crate::Step;
use crate::disk::{Disk, direct};
use crate::sys::md;

const SYSFS_BLOCK: &str = "/sys/block";
/// Where a node of a name is asked for.
const NEW_ARRAY: &str = "/sys/module/md_mod/parameters/new_array";
/// Whether parity with a member missing is started after a crash; for all arrays, so it is set for a moment only.
const START_DIRTY: &str = "/sys/module/md_mod/parameters/start_dirty_degraded";
static STARTING_DIRTY: Mutex<()> = Mutex::new(());

/// How often, and how long each time, what is still in use is tried again: what was closed is given back by the kernel a
/// moment later. Longer waits are the caller's, who knows the limit of the step.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The same for a node that has nothing behind it any more: clients wait for the end of a handover.
const GONE_PAUSE: Duration = Duration::from_millis(5);

/// An array that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The kernel's name of it.
    pub name: String,
    /// Its device number.
    pub number: (u32, u32),
    /// Its length in bytes.
    pub bytes: u64,
    /// Device numbers of its members, and whether each takes part: a failed one no longer does.
    pub members: BTreeSet<((u32, u32), bool)>,
    /// Members that take part as far as the kernel knows, and whose disks are not in the machine any more: it notices with
    /// the first I/O.
    pub unnamed: usize,
    /// What the kernel calls its state: `clean`, `active`, `read-auto`, ...
    pub state: String,
}

impl Running {
    /// Its node.
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// Why an array was not started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The list of devices could not be read.
    #[error("/sys/block: {0}; see `log`, and `reboot` this head if it comes again")]
    List(io::Error),
    /// A call failed.
    #[error(
        "array {array}: {step}: {source}; check power and cables of its disks, and `log`; if it comes again, `reboot` this head"
    )]
    Call {
        /// The kernel's name of the array.
        array: String,
        /// What was being done; a member is named.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// It runs, of other members.
    #[error(
        "array {array}: runs already, of other members: nobody but this head starts it here, `reboot` it"
    )]
    Different {
        /// The kernel's name of the array.
        array: String,
    },
    /// The kernel made something else of its superblocks.
    #[error(
        "array {array}: the kernel did not make of it what was decided: {what}; it was stopped unwritten: mdadm --assemble on another host \
         says what it makes of it"
    )]
    NotAsDecided {
        /// The kernel's name of the array.
        array: String,
        /// The difference.
        what: String,
    },
}

/// For `map_err`.
fn failed<E: Into<io::Error>>(
    array: &str,
    step: impl Into<String>,
) -> impl FnOnce(E) -> AssembleError {
    let (array, step) = (array.to_owned(), step.into());
    move |source| AssembleError::Call {
        array,
        step,
        source: source.into(),
    }
}

impl Decision {
    /// The kernel modules that run it.
    pub fn modules(&self) -> [&'static str; 2] {
        ["md_mod", self.geometry.module()]
    }
}

/// The name of an array's node: `md_` and as much of its identity as a name may be long.
pub fn device_name(id: &ArrayId) -> String {
    let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("md_{}", &digits[..24])
}

/// Starts an array as it was decided. Idempotent; what was begun is undone when it fails.
///
/// # Errors
/// Which step failed on which disk, or that the kernel sees another array.
pub fn start(array: &Array, decision: &Decision) -> Result<(Running, Step), AssembleError> {
    if let Some(running) = running(&array.id)? {
        let name = running.name.clone();
        if !is_of(&running, array, decision) {
            return Err(AssembleError::Different { array: name });
        }
        // One that waits was left so by a start that ended in between.
        return match go(&name)? {
            Step::Already => Ok((running, Step::Already)),
            Step::Changed => Ok((described(&name)?, Step::Changed)),
        };
    }
    let name = device_name(&array.id);
    // What a start that failed left behind.
    stop_named(&name)?;
    let started = create(&name)
        .and_then(|node| bring_up(&name, &node, array, decision))
        .and_then(|()| go(&name))
        .and_then(|_| described(&name));
    if started.is_err()
        && let Err(error) = stop_named(&name)
    {
        tracing::warn!(array = %name, %error, "is left behind");
    }
    Ok((started?, Step::Changed))
}

/// Whether what runs is what was decided: all members that were taken, and of others none that takes part.
fn is_of(running: &Running, array: &Array, decision: &Decision) -> bool {
    let taken = decision.taken.iter();
    let taken: BTreeSet<(u32, u32)> = taken
        .map(|index| array.members[*index].disk.number)
        .collect();
    let takes_part = running.members.iter().filter(|(_, takes_part)| *takes_part);
    let takes_part: BTreeSet<(u32, u32)> = takes_part.map(|(number, _)| *number).collect();
    takes_part == taken && running.unnamed == 0
}

/// A node of this name, with no array behind it yet.
fn create(name: &str) -> Result<File, AssembleError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let made = match fs::write(NEW_ARRAY, name) {
            // The last one of this name is still being taken away, or is there and empty.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        let node = made.and_then(|()| open(name));
        match node {
            Ok(node) => return Ok(node),
            Err(error) if is_passing(&error) && tries < BUSY_TRIES => {
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(error) => return Err(failed(name, "new node")(error)),
        }
    }
}

fn open(name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    options
        .custom_flags(libc::O_CLOEXEC)
        .open(Path::new("/dev").join(name))
}

/// What a node answers while it comes or goes.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::ENOENT | libc::EBUSY)
    )
}

/// Tells the kernel of the members, lets it start without writing, and holds what it made against the decision.
fn bring_up(
    name: &str,
    node: &File,
    array: &Array,
    decision: &Decision,
) -> Result<(), AssembleError> {
    let newest = &array.members[decision.newest];
    md::set_version(node.as_fd(), newest.superblock.minor)
        .map_err(failed(name, "version of the superblocks"))?;
    for index in &decision.taken {
        let disk = &array.members[*index].disk;
        md::add(node.as_fd(), disk.number)
            .map_err(failed(name, format!("member {}", disk.name)))?;
    }
    let run = || fs::write(attribute(name, "array_state"), "read-auto");
    let ran = if decision.is_dirty_degraded {
        let _one_at_a_time = STARTING_DIRTY
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        fs::write(START_DIRTY, "1").map_err(failed(name, "start_dirty_degraded"))?;
        let ran = run();
        fs::write(START_DIRTY, "0").map_err(failed(name, "start_dirty_degraded"))?;
        ran
    } else {
        run()
    };
    ran.map_err(failed(name, "start"))?;
    check(name, node, array, decision)
}

fn check(name: &str, node: &File, array: &Array, decision: &Decision) -> Result<(), AssembleError> {
    let differs = |what: String| AssembleError::NotAsDecided {
        array: name.to_owned(),
        what,
    };
    let info = md::info(node.as_fd()).map_err(failed(name, "what it is"))?;
    let fresh = decision.slots.len() - decision.missing().count();
    // A raid0 is not counted by the kernel as others are, and has all of them or does not run.
    if info.slots() as usize != decision.slots.len() || info.in_sync() as usize != fresh {
        let (slots, in_sync) = (info.slots(), info.in_sync());
        return Err(differs(format!("{in_sync} of {slots} slots are whole")));
    }
    for (slot, what) in decision.slots.iter().enumerate() {
        let Slot::Fresh(index) = *what else {
            continue;
        };
        let member = &array.members[index];
        let disk = &member.disk;
        let found = md::disk(node.as_fd(), member.superblock.number)
            .map_err(failed(name, format!("what {} is", disk.name)))?;
        let is_there =
            found.device() == Some(disk.number) && found.slot_in_sync() == u32::try_from(slot).ok();
        if !is_there {
            return Err(differs(format!("{} is not in slot {slot}", disk.name)));
        }
    }
    let bytes = described(name)?.bytes;
    if bytes != decision.geometry.sectors * 512 {
        return Err(differs(format!("it has {bytes} bytes")));
    }
    Ok(())
}

/// Lets an array that waits for its first write run. Whatever is to be made equal begins now.
fn go(name: &str) -> Result<Step, AssembleError> {
    let state = text(name, "array_state").map_err(failed(name, "array_state"))?;
    if state != "read-auto" {
        return Ok(Step::Already);
    }
    let node = open(name).map_err(failed(name, "open"))?;
    md::restart(node.as_fd()).map_err(failed(name, "go"))?;
    Ok(Step::Changed)
}

/// Gives members that were thrown out back to an array that runs: the kernel fills them, with a bitmap by what was written without them
/// and without one from end to end, and counts on each only when that is over. Their disks must be claimed, their own caches off. Idempotent.
///
/// Each is read again first: one that is not as it was when that was decided is left alone. So is one that an array has as many
/// changes as: the kernel would take it for one that lacks nothing, and of mirrors without a bitmap fill none of it (`raid1_sync_request`,
/// `raid10_sync_request`). The first write to the array makes it older, as that of the epoch is. All of them come in before the first is
/// filled: one that comes later is a spare until then, and after a takeover in between would stay one.
///
/// # Errors
/// Which step failed, of all of them or of each.
pub fn take_back(
    array: &Array,
    members: &[usize],
) -> Result<Vec<Result<Step, AssembleError>>, AssembleError> {
    let name = device_name(&array.id);
    let gone = || failed(&name, "take back")(io::Error::from(io::ErrorKind::NotFound));
    let running = running(&array.id)?.ok_or_else(gone)?;
    let now = superblocks(array, &running);
    let action = attribute(&running.name, "sync_action");
    fs::write(&action, "frozen").map_err(failed(&running.name, "sync_action"))?;
    let each = members.iter();
    let each = each.map(|index| take_one_back(&running, &array.members[*index], &now));
    let outcomes = each.collect();
    fs::write(&action, "idle").map_err(failed(&running.name, "sync_action"))?;
    Ok(outcomes)
}

/// What the members say now that take part in what runs; those that can be read.
fn superblocks(array: &Array, running: &Running) -> Vec<Superblock> {
    let members = array.members.iter().map(|member| &member.disk);
    let members = members.filter(|disk| running.members.contains(&(disk.number, true)));
    members
        .filter_map(|disk| superblock_in(&array.id, disk).ok().flatten())
        .collect()
}

fn superblock_in(array: &ArrayId, disk: &Disk) -> io::Result<Option<Superblock>> {
    let file = direct::open(&disk.path)?;
    let mut read = |offset, length| direct::read(&file, offset, length);
    super::superblock_in(array, disk.bytes, &mut read).map_err(io::Error::other)
}

/// An array went on without a member and says so: by a count that is greater than the member's.
fn has_gone_on(without: &Superblock, now: &[Superblock]) -> bool {
    let of_array = |one: &&Superblock| one.array == without.array;
    let mut now = now.iter().filter(of_array);
    now.any(|one| one.events > without.events && !one.counts(without.number))
}

fn take_one_back(
    running: &Running,
    member: &Member,
    now: &[Superblock],
) -> Result<Step, AssembleError> {
    let (name, disk) = (&running.name, &member.disk);
    if running.members.contains(&(disk.number, true)) {
        return Ok(Step::Already);
    }
    let step = |what: &str| format!("{what} {}", disk.name);
    let found =
        superblock_in(&member.superblock.array, disk).map_err(failed(name, step("read")))?;
    if found.as_ref() != Some(&member.superblock) {
        let what = io::Error::other("somebody wrote to its superblock after the claim");
        return Err(failed(name, step("take back"))(what));
    }
    if !has_gone_on(&member.superblock, now) {
        let what = io::Error::other("it is as new as the array");
        return Err(failed(name, step("take back"))(what));
    }
    let node = open(name).map_err(failed(name, "open"))?;
    let superblock = &member.superblock;
    let (write_mostly, fail_fast) = (superblock.is_write_mostly, superblock.is_fail_fast);
    md::add_again(node.as_fd(), disk.number, write_mostly, fail_fast)
        .map_err(failed(name, step("take back")))?;
    Ok(Step::Changed)
}

/// Stops an array and lets go of its members. Idempotent. Fails while it is in use.
///
/// Its superblocks are written: to be done before the members' reservations are given up.
///
/// # Errors
/// It is in use, or the list of devices cannot be read.
pub fn stop(id: &ArrayId) -> Result<Step, AssembleError> {
    let mut step = Step::Already;
    while let Some(running) = running(id)? {
        stop_named(&running.name)?;
        step = Step::Changed;
    }
    // What a start that failed left behind has no identity yet.
    match stop_named(&device_name(id))? {
        Step::Changed => Ok(Step::Changed),
        Step::Already => Ok(step),
    }
}

fn stop_named(name: &str) -> Result<Step, AssembleError> {
    let directory = Path::new(SYSFS_BLOCK).join(name);
    let mut step = Step::Already;
    for _ in 0..BUSY_TRIES {
        if !directory.exists() {
            return Ok(step);
        }
        let stopped = open(name).and_then(|node| Ok(md::stop(node.as_fd())?));
        let pause = match stopped {
            // The node goes a moment later.
            Ok(()) => {
                step = Step::Changed;
                GONE_PAUSE
            }
            Err(error) if is_passing(&error) && step == Step::Changed => GONE_PAUSE,
            Err(error) if is_passing(&error) => BUSY_PAUSE,
            Err(error) => return Err(failed(name, "stop")(error)),
        };
        std::thread::sleep(pause);
    }
    // A node may stay for a moment that has nothing behind it: what counts is that no member is held.
    match described(name) {
        Ok(running) if !running.members.is_empty() || running.unnamed > 0 => {
            Err(failed(name, "stop")(io::Error::from_raw_os_error(
                libc::EBUSY,
            )))
        }
        _ => Ok(step),
    }
}

/// The array of this identity in this kernel, whatever its name; `None` where MD is not loaded.
///
/// # Errors
/// The list of devices cannot be read.
pub fn running(id: &ArrayId) -> Result<Option<Running>, AssembleError> {
    let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    for entry in fs::read_dir(SYSFS_BLOCK).map_err(AssembleError::List)? {
        let entry = entry.map_err(AssembleError::List)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Ok(uuid) = text(&name, "uuid") else {
            continue;
        };
        if uuid.replace('-', "") == digits {
            match described(&name) {
                Ok(running) => return Ok(Some(running)),
                // It went away between the looks.
                Err(_) if !entry.path().exists() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

fn described(name: &str) -> Result<Running, AssembleError> {
    let block = Path::new(SYSFS_BLOCK).join(name);
    let read = |path: PathBuf| -> Result<String, AssembleError> {
        let text = fs::read_to_string(&path);
        let text = text.map_err(failed(name, path.display().to_string()))?;
        Ok(text.trim().to_owned())
    };
    let invalid = |what: &str| failed(name, what)(io::Error::from(io::ErrorKind::InvalidData));
    let number = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let (mut members, mut unnamed) = (BTreeSet::new(), 0);
    let entries = fs::read_dir(block.join("md")).map_err(failed(name, "its members"))?;
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("dev-") {
            continue;
        }
        let is_faulty = read(entry.path().join("state"))?.contains("faulty");
        // One whose disk was taken out of the machine has no number any more.
        let Ok(device) = fs::read_to_string(entry.path().join("block/dev")) else {
            unnamed += usize::from(!is_faulty);
            continue;
        };
        let device = number(device.trim()).ok_or_else(|| invalid("a member's number"))?;
        members.insert((device, !is_faulty));
    }
    let sectors: u64 = read(block.join("size"))?
        .parse()
        .map_err(|_| invalid("size"))?;
    Ok(Running {
        name: name.to_owned(),
        number: number(&read(block.join("dev"))?).ok_or_else(|| invalid("dev"))?,
        bytes: sectors * 512,
        members,
        unnamed,
        state: read(block.join("md/array_state"))?,
    })
}

fn attribute(name: &str, attribute: &str) -> PathBuf {
    Path::new(SYSFS_BLOCK).join(name).join("md").join(attribute)
}

fn text(name: &str, what: &str) -> io::Result<String> {
    Ok(fs::read_to_string(attribute(name, what))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::thrown_out;
    use super::*;

    #[test]
    fn a_node_is_named_after_the_array_and_fits() {
        let name = device_name(&ArrayId([0xa5; 16]));
        // DISK_NAME_LEN with its zero.
        assert!(name.len() < 32 && name.starts_with("md_a5a5"));
        assert_ne!(name, device_name(&ArrayId([0xa6; 16])));
    }

    #[test]
    fn nothing_is_taken_back_that_the_kernel_would_take_for_new() {
        let superblocks = |lacks| -> Vec<Superblock> {
            let array = thrown_out("raid1-10", &[0], lacks);
            array
                .members
                .into_iter()
                .map(|one| one.superblock)
                .collect()
        };
        let [same, behind] = [superblocks(0), superblocks(1)];
        assert!(has_gone_on(&behind[0], &behind[1..]));
        assert!(!has_gone_on(&same[0], &same[1..]));
        assert!(!has_gone_on(&behind[0], &[]));
        let mut other = behind[1].clone();
        other.array = ArrayId([0xa5; 16]);
        assert!(!has_gone_on(&behind[0], &[other]));
        // One that counts on it knows nothing of its being thrown out.
        let mut counts = behind[1].clone();
        counts.roles.clone_from(&behind[0].roles);
        assert!(!has_gone_on(&behind[0], &[counts]));
    }

    #[test]
    fn what_does_not_run_needs_no_stopping() {
        assert_eq!(stop(&ArrayId([0xa5; 16])).unwrap(), Step::Already);
        assert_eq!(running(&ArrayId([0xa5; 16])).unwrap(), None);
    }
}
