//! A status in words, for the operator's console.

use std::fmt::Write as _;

use super::{DefaultRaid, PoolStatus, State, Status};

/// Owners of a pool that its line names; JSON has all.
const OWNERS_SHOWN: usize = 5;

impl Status {
    /// `status`: the head, whether it is redundant, one line a pool.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let head = self.head.as_deref().unwrap_or("unknown");
        let cluster = self.cluster.as_deref().unwrap_or("none");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "head {head} of cluster {cluster}, Orthrus {}, up {} s",
            self.version, self.uptime_s
        );
        if self.redundant {
            let _ = writeln!(text, "redundant: yes");
        } else {
            let _ = writeln!(text, "redundant: NO");
            for problem in &self.problems {
                let _ = writeln!(text, "  {}\n    -> {}", problem.what, problem.todo);
            }
        }
        if let Some(peer) = &self.peer {
            let _ = writeln!(text, "peer {peer}: {}", self.peer_state);
        }
        for pool in &self.pools {
            let _ = writeln!(text, "{}", pool.line());
            let _ = writeln!(text, "  ledger: {}", pool.ledger.line());
        }
        match &self.watchdog {
            Some(dog) => {
                let _ = writeln!(text, "watchdog: {}, {} s", dog.identity, dog.timeout_s);
            }
            None => {
                let _ = writeln!(text, "watchdog: none");
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// `pools`: everything about each pool.
    pub fn pools_text(&self) -> String {
        let mut text = String::new();
        if self.pools.is_empty() {
            text.push_str("no pool is configured\n");
        }
        for pool in &self.pools {
            let _ = writeln!(text, "{}", pool.line());
            if let Some(why) = &pool.why {
                let _ = writeln!(text, "  why: {why}");
            }
            let _ = writeln!(text, "  home: {}", pool.home);
            let _ = writeln!(text, "  addresses: {}", pool.addresses.join(", "));
            for iqn in &pool.targets {
                let _ = writeln!(text, "  target: {iqn}");
            }
            let _ = writeln!(text, "  ledger: {}", pool.ledger.line());
            for command in &pool.ledger.report.commands {
                let _ = writeln!(text, "    lacks a copy: {command}");
            }
            if let Some(state) = &pool.report.state_volume {
                let _ = writeln!(text, "  state: {}", state.line());
            }
            for disk in &pool.report.disks {
                let role = if disk.arbiter { ", arbiter" } else { "" };
                let _ = writeln!(
                    text,
                    "  disk {} {} (write cache: {}{role})",
                    disk.name, disk.id, disk.write_cache
                );
                for path in &disk.paths {
                    let _ = writeln!(text, "    path {}: {}", path.name, path.state);
                }
            }
            for array in &pool.report.arrays {
                let missing = match array.missing {
                    0 => String::new(),
                    count => format!(", DEGRADED: {count} missing"),
                };
                let resync = array.resync;
                let _ = writeln!(
                    text,
                    "  array {}: {}, {}, {}{missing}{}",
                    array.name,
                    array.level,
                    array.device,
                    array.state,
                    resync.map_or_else(String::new, |percent| format!(", made equal: {percent} %"))
                );
            }
            if let Some(default) = &pool.report.default_raid {
                let _ = writeln!(text, "  new volumes: {}", default.line());
            }
            for volume in &pool.report.volumes {
                let lun = match (volume.lun, volume.namespace) {
                    (Some(lun), _) => match &volume.target {
                        Some(target) if pool.targets.len() > 1 => format!("LUN {lun} of {target}"),
                        _ => format!("LUN {lun}"),
                    },
                    (None, Some(number)) => format!("namespace {number}"),
                    (None, None) => "not exported".to_owned(),
                };
                let merge = volume.merge.as_ref().map_or_else(String::new, |merge| {
                    let (snapshot, percent) = (&merge.snapshot, merge.percent);
                    format!(", gets back what snapshot {snapshot} had: {percent} %")
                });
                let mib = volume.bytes >> 20;
                let _ = writeln!(
                    text,
                    "  volume {}: {mib} MiB, {lun}, {}{}{}{merge}",
                    volume.name,
                    volume.device,
                    if volume.degraded { ", DEGRADED" } else { "" },
                    volume
                        .resync
                        .map_or_else(String::new, |percent| format!(", made equal: {percent} %"))
                );
            }
            for share in &pool.report.shares {
                let said = share.withheld.as_deref().unwrap_or("offered");
                let _ = writeln!(text, "  share /{} of {}: {said}", share.name, share.volume);
            }
            if let Some(clients) = &pool.report.share_clients {
                let _ = writeln!(
                    text,
                    "  NFS clients: {} with state, {} may still reclaim theirs",
                    clients.known, clients.awaited
                );
            }
            for client in &pool.report.clients_let_in {
                let _ = writeln!(text, "  let in at a console: {client}");
            }
            if let Some(busy) = &pool.report.busy {
                let took_s = self.uptime_s.saturating_sub(busy.since_s);
                let _ = writeln!(text, "  at work: `{}`, for {took_s} s", busy.what);
            }
            if let Some(problem) = &pool.report.problem {
                let _ = writeln!(text, "  last problem: {problem}");
            }
            if let Some(unready) = &pool.report.unready {
                let _ = writeln!(text, "  this head is not fit to serve it: {unready}");
            }
            for alarm in &pool.report.alarms {
                let _ = writeln!(text, "  alarm: {}; {}", alarm.what, alarm.todo);
            }
            for note in &pool.report.notes {
                let _ = writeln!(text, "  note: {note}");
            }
        }
        text
    }

    /// `links`: each way to hear the peer.
    pub fn links_text(&self) -> String {
        let mut text = String::new();
        for link in &self.links {
            let silence = match link.silence_ms {
                Some(ms) => format!("last heard {ms} ms ago"),
                None => "never heard since boot".to_owned(),
            };
            let late = match link.state {
                "late" => format!(", of {} ms before", link.late_ms),
                _ => String::new(),
            };
            let _ = writeln!(
                text,
                "{:<7}{:<8} {silence}{late}, {} frames accepted, {} rejected",
                link.name, link.state, link.accepted, link.rejected
            );
        }
        for ledger in self.ledgers() {
            let _ = writeln!(
                text,
                "ledger {:<8} pool {}: {}",
                ledger.state,
                ledger.pool,
                ledger.line()
            );
        }
        text
    }
}

impl State {
    fn line(&self) -> String {
        match (&self.problem, self.is_open) {
            (Some(problem), false) => return format!("not used: {problem}"),
            (Some(problem), true) => return format!("mounted, but {problem}"),
            (None, false) => {
                return "none: `pool import` makes a volume for it, on the head that serves the pool"
                    .to_owned();
            }
            (None, true) => {}
        }
        let owners = self.owners.iter().rev().take(OWNERS_SHOWN);
        let owners: Vec<String> = owners
            .map(|owner| format!("{} epoch {}", owner.head, owner.epoch))
            .collect();
        match owners.is_empty() {
            true => "mounted".to_owned(),
            false => format!("mounted; owners, the last first: {}", owners.join(", ")),
        }
    }
}

impl DefaultRaid {
    fn line(&self) -> String {
        match self {
            DefaultRaid::Known { level, images } => {
                format!("{level} on {images} disks, where nothing else is said")
            }
            DefaultRaid::Unclear { unclear } => unclear.clone(),
        }
    }
}

impl PoolStatus {
    fn line(&self) -> String {
        let owner = match &self.owner {
            Some(owner) => format!("served by {owner}"),
            None => "NOT SERVED".to_owned(),
        };
        let peer = self
            .peer_state
            .map_or(String::new(), |state| format!(", {state} at the peer"));
        format!(
            "pool {}: {owner}, epoch {}, {} here{peer}",
            self.name, self.epoch, self.state
        )
    }
}
