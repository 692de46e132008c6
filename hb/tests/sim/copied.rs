//! Constants that the simulator has from the firmware around the core, held against the firmware's own sources: a
//! copy that nobody compares is wrong one day, and then the simulator proves something about another machine.
//!
//! What is copied is a number and the name that it has there. Procedures are copied, too, and only read beside each other.
//!
//! Rejected: to take the numbers from those sources. A simulated history must depend on its seed and on what is in this
//! folder and the core alone, and a limit that is changed is looked at here once.

use crate::clock::{MS, SECOND, Time};
use crate::{health, lease, ledger, machine, shelf, task, watch, worker};

/// A source of the firmware, by its path below `init/src`.
macro_rules! source {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../init/src/", $path)))
    };
}

const HEALTH: Source = source!("health.rs");
const WORKER: Source = source!("worker/mod.rs");
const REACTOR: Source = source!("reactor.rs");
const FENCE: Source = source!("fence/mod.rs");
const CLAIM: Source = source!("fence/claim.rs");
const TAKE: Source = source!("fence/take.rs");
const RELEASE: Source = source!("fence/release.rs");
const WATCH: Source = source!("fence/watch.rs");
const LEASE: Source = source!("fence/lease.rs");
const LEDGER: Source = source!("ledger/mod.rs");
const READER: Source = source!("ledger/reader.rs");
const SIGHT: Source = source!("ledger/sight.rs");
const SLOTS: Source = source!("ledger/slots.rs");
const WRITER: Source = source!("ledger/writer.rs");
const REGION: Source = source!("ledger/region.rs");
const LIO: Source = source!("export/iscsi/lio.rs");
const NFS: Source = source!("export/nfs/server.rs");

type Source = (&'static str, &'static str);

/// A source, a name in it, and what the simulator has for it: a count, or microseconds.
type Copied = (Source, &'static str, u64);

const COPIED: &[Copied] = &[
    (HEALTH, "INTERVAL", health::INTERVAL),
    (WATCH, "ALL_SILENT", health::ALL_SILENT),
    (HEALTH, "ONE_SILENT", health::ONE_SILENT),
    (WORKER, "LOOK_INTERVAL", health::LOOK_INTERVAL),
    (REACTOR, "FRAMES_MAX", machine::FRAMES_MAX as u64),
    (FENCE, "DISKS_LIMIT", worker::DISKS_LIMIT),
    (FENCE, "COMMAND_LIFETIME", shelf::LIFETIME),
    (FENCE, "NOTICE", task::NOTICE),
    (CLAIM, "MOST_ROUNDS", worker::MOST_ROUNDS as u64),
    (TAKE, "MOST_STEPS", task::MOST_STEPS as u64),
    (TAKE, "MOST_TRIES", task::MOST_TRIES as u64),
    (TAKE, "ABORT_TRIES", task::ABORT_TRIES as u64),
    (TAKE, "BACK_OFFS", task::BACK_OFFS as u64),
    (TAKE, "BACK_OFF", task::BACK_OFF),
    (RELEASE, "MOST_TRIES", task::MOST_TRIES as u64),
    (WATCH, "INTERVAL", watch::INTERVAL),
    (
        WATCH,
        "PROBE_INTERVAL",
        watch::INTERVAL * watch::PROBES as Time,
    ),
    (LEASE, "LEASE", lease::LEASE.as_micros()),
    (LEASE, "SETTLE", lease::SETTLE),
    (LEASE, "LOOK", lease::LOOK),
    (LEDGER, "SURVEY_LIMIT", worker::SLOTS_LIMIT),
    (LEDGER, "END_LIMIT", worker::END_LIMIT),
    (READER, "INTERVAL", ledger::INTERVAL),
    (READER, "RETRY", ledger::RETRY),
    (READER, "READ_LIMIT", ledger::READ_LIMIT.as_micros()),
    (SIGHT, "BEHIND_LIMIT", ledger::BEHIND_LIMIT.as_micros()),
    (SLOTS, "SLOT_LIMIT", lease::SLOT_LIMIT),
    (WRITER, "STALE", ledger::STALE.as_micros()),
    (REGION, "COPIES", crate::world::COPIES_MAX as u64),
    (LIO, "STEP_LIMIT", worker::STEP_LIMIT),
    // A pool has one way out here.
    (NFS, "STOP_LIMIT", worker::STEP_LIMIT),
];

/// The copies that are not what the firmware has.
pub fn differences() -> Vec<String> {
    let differences = COPIED.iter().filter_map(|&((path, source), name, here)| {
        let there = value(source, name);
        let (is, was) = (
            here,
            there.map_or("not found".to_owned(), |n| n.to_string()),
        );
        (there != Some(here)).then(|| format!("{name} of init/src/{path} is {was}, and {is} here"))
    });
    differences.collect()
}

/// A constant's value in a source, from the one line, or what rustfmt makes of it.
fn value(source: &str, name: &str) -> Option<u64> {
    let begin = format!("const {name}: ");
    let (_, rest) = source.split_once(&begin)?;
    let (declared, _) = rest.split_once(';')?;
    let (_, value) = declared.split_once('=')?;
    let value = value.trim();
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    let Some((unit, argument)) = value.strip_suffix(')').and_then(|v| v.split_once('(')) else {
        return number(value);
    };
    let unit = match unit.rsplit_once("Duration::")?.1 {
        "from_secs" => SECOND,
        "from_millis" => MS,
        _ => return None,
    };
    Some(number(argument)? * unit)
}
