//! Disks with several paths, while this head holds them: the kernel's dm-multipath joins the paths, we decide which one is used.
//!
//! From the bottom upwards: [`table`] what device-mapper is told and says, [`device`] that it is done and gone again,
//! [`decision`] when to change the path (pure), [`keeper`] the thread that does; [`watcher`] asks the paths on every head, whoever
//! holds the pool.
//!
//! ```text
//! claim (every path registers) ─► device, one path in use, the others spare ─► arrays, volumes, ...
//! path fails ─► the kernel holds I/O back ─► nothing under way on it any more ─► its registration goes ─► a spare is used
//! release: volumes, arrays gone ─► device gone ─► reservations
//! ```
//!
//! Decisions:
//! - **One path at a time, and a failed one is fenced before another one is used.** A write that failed on one path is sent
//!   again on the other, is acknowledged, and the block is written anew; should the first one arrive only then (in a switch, in
//!   a cable that is put back), it would undo an acknowledged write. So the failed path's registration is taken away, with
//!   abort, and only then the kernel is told to go on. dm-multipath by itself goes on at once. The price is the
//!   bandwidth of one path a disk.
//! - Nothing is fenced that somebody still waits for: a command that comes back with a conflict is an error to the client
//!   (`blk_path_error` of the kernel does not count it as one of the path, so that nobody tries it again either: a head whose
//!   pool was taken sees its writes fail once, by whichever path). The selector `queue-length` tells how many there are.
//! - I/O is held back (`queue_if_no_path`) only for the time that this takes. When no path is left for [`decision::GIVE_UP`] it
//!   fails, as on a disk with one path, so that a release comes to its end; should the thread die, the kernel's own limit ends it.
//!   That time begins anew when another disk of the pool loses its last path. Clients are answered while one disk is seen, and of a
//!   shelf that goes disk by disk the errors of the first would reach them.
//! - After a change there is no other path, and an error by it may be the disk's, which answers reservations while no command
//!   succeeds: until the path has been in use for [`decision::TRIAL`] and all that was sent came back, its errors go up at once,
//!   as on a disk with one path, so that RAID drops the disk.
//!   Under load something is always under way, so the thread looks closely then, and after [`decision::LONGEST_TRIAL`] it counts as passed.
//! - A path whose commands do not come back fails like one that answers by errors, if a spare answers: nothing more is sent there. What was
//!   sent there is waited for all the same, since the kernel would send it again by this path, should it come back, and meet the conflict.
//! - A path that came back stays out until the next claim: see `fence::routes`. A spare that was away and is back was never
//!   without its registration, and is a spare again.
//! - The device exists only under a claim, like any other of the pool. A standby reads through a path directly.
//! - Rejected: all paths at once (`round-robin`), for what it does with late writes; and the SCSI device handlers, since all paths to a
//!   disk of a shelf are equal. A disk whose paths are not (ALUA) is not recognised as such.
//! - NVMe's own multipath shows one device, and never comes here.

pub mod decision;
pub mod device;
pub mod keeper;
pub mod table;
pub mod watcher;

/// What must be loaded: the target, and the selector, for which the kernel would ask by name.
pub const MODULES: [&str; 2] = ["dm_multipath", "dm_queue_length"];
