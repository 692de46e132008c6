//! What people read: the lab's status.

use std::fmt::Write as _;

use crate::cable::witness::DiskSeen;
use crate::clock::time_of_day;
use crate::headview;
use crate::names::Head;
use crate::request::LabStatus;

/// Stalls shown one by one.
const STALLS_SHOWN: usize = 5;

/// The status of a lab as text.
pub fn status(status: &LabStatus) -> String {
    let mut out = String::new();
    let pid = |pid: Option<u32>| pid.map_or(String::from("-"), |pid| pid.to_string());
    let _ = writeln!(
        out,
        "lab {}   {}, supervisor {}",
        status.name,
        status.accel,
        pid(status.supervisor_pid)
    );
    for head in &status.heads {
        let says = match (&head.report, &head.silence) {
            (Some(report), _) => {
                let pools = headview::pools(report);
                let words: Vec<String> = pools
                    .iter()
                    .map(|pool| format!("{} {}", pool.name, pool.state))
                    .collect();
                if words.is_empty() {
                    "answers; no pools".into()
                } else {
                    words.join(", ")
                }
            }
            (None, why) => format!("no answer: {}", why.as_deref().unwrap_or("unknown")),
        };
        let power = format!("{:?}", head.power).to_lowercase();
        let _ = writeln!(
            out,
            "head {}     {power}, pid {}: {says}",
            head.head,
            pid(head.pid)
        );
        let _ = writeln!(out, "           {}", head.console_log.display());
    }
    let shelf = &status.shelf;
    let on = if shelf.on { "on" } else { "off" };
    let _ = writeln!(
        out,
        "shelf      {}, {on}, pid {}",
        shelf.kind,
        pid(shelf.pid)
    );
    for disk in &shelf.disks {
        let _ = writeln!(out, "           {}", disk.display());
    }
    for (lun, disk) in &shelf.seen {
        let _ = writeln!(out, "{}", seen(*lun, disk));
    }
    let client = &status.client;
    let what = match (client.up, client.logged_in) {
        (_, true) => "logged in",
        (true, _) => "up",
        _ => "no answer",
    };
    let _ = writeln!(
        out,
        "client     {}, pid {}: {what}",
        format!("{:?}", client.power).to_lowercase(),
        pid(client.pid)
    );
    for pool in &status.pools {
        let owner = pool
            .owner
            .map_or("nobody".into(), |head| format!("head {head}"));
        let epoch = pool
            .epoch
            .map_or(String::new(), |epoch| format!(", epoch {epoch}"));
        let iqn = pool.pool.iqn.as_deref().unwrap_or("no iSCSI");
        let luns: Vec<String> = pool.luns.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            out,
            "pool {}  served by {owner}{epoch} at {}",
            pool.pool.name, pool.pool.address
        );
        let _ = writeln!(
            out,
            "           {iqn}, LUNs {}",
            if luns.is_empty() {
                "-".into()
            } else {
                luns.join(" ")
            }
        );
    }
    let cuts = if status.cuts.is_empty() {
        "none".into()
    } else {
        status.cuts.join(", ")
    };
    let _ = writeln!(out, "cut        {cuts}");
    if let Some(io) = &status.io {
        let _ = writeln!(out, "{io}");
    }
    out.push_str(&stalls(status));
    out
}

/// What the cables to the shelf showed of one disk.
fn seen(lun: u16, disk: &DiskSeen) -> String {
    let name = |head: Option<Head>| head.map_or("nobody", Head::name);
    let registered: Vec<&str> = disk.registered.iter().map(|head| head.name()).collect();
    let mut line = format!(
        "           LUN {lun}: held by {}, registered: {}, last written by {}",
        name(disk.holder),
        registered.join(" "),
        name(disk.writer),
    );
    if disk.foreign_writes > 0 {
        let _ = write!(
            line,
            "; {} FOREIGN WRITES: {}",
            disk.foreign_writes,
            disk.foreign.join("; ")
        );
    }
    line
}

/// When the host itself stalled; empty if it did not.
pub fn stalls(status: &LabStatus) -> String {
    let mut out = String::new();
    for stall in status.stalls.iter().rev().take(STALLS_SHOWN).rev() {
        let _ = writeln!(
            out,
            "host stall {} ms until {} UTC",
            stall.late_ms,
            time_of_day(stall.ended_unix_ms)
        );
    }
    if status.stalls.len() > STALLS_SHOWN {
        let _ = writeln!(
            out,
            "           and {} before",
            status.stalls.len() - STALLS_SHOWN
        );
    }
    out
}
