//! File systems of a pool that stopped taking writes under their owner: said in `status`, since nobody else notices in time.
//!
//! The pool is served on: LUNs have nothing to do with them, and what is on a share can be read. A handover mends them, as far as it can be
//! done: an import checks what the kernel marked as damaged, and mounts it anew.

use tracing::error;

use super::Worker;
use crate::export::nfs;
use crate::status;
use crate::sync::lock;

impl Worker {
    /// Looks at the state volume. What it says there stands until the release, and a problem of before as well.
    pub(super) fn look_at_state(&self) {
        let Ok(place) = self.open_state_place() else {
            return;
        };
        let Some(why) = self.host.filesystem_trouble(&place) else {
            return;
        };
        let mut report = lock(&self.report);
        let lost = format!(
            "what clients register from now on is not kept, though they are told so: the state volume takes no writes: {why}"
        );
        if !report.lost_reservations.contains(&lost) {
            error!(
                pool = self.pool().name,
                "the state volume takes no writes: {why}"
            );
            report.lost_reservations.push(lost);
        }
        if let Some(state) = &mut report.state_volume {
            state.problem = Some(why);
        }
    }

    /// Shares whose file systems take no writes.
    pub(super) fn broken_shares(&self) -> Vec<status::Problem> {
        if self.served.is_none() {
            return Vec::new();
        }
        let pool = self.pool().name.clone();
        let shares = lock(&self.report).shares.clone();
        let offered = shares.iter().filter(|share| share.withheld.is_none());
        let broken = offered.filter_map(|share| {
            let place = nfs::root(&pool).join(&share.name);
            let why = self.host.filesystem_trouble(&place)?;
            Some(status::Problem {
                what: format!("share {}: its file system takes no writes: {why}", share.name),
                todo: format!("`handover {pool}`: it is checked and mounted anew where the pool is imported; see `log` for the disk"),
            })
        });
        broken.collect()
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{owner_failing_later, sharer_failing_later};
    use super::*;
    use crate::fence::shelf::Shelf;

    #[test]
    fn a_state_volume_that_turned_read_only_is_said_with_what_is_lost_and_the_pool_is_served() {
        let (mut worker, _, now) = owner_failing_later(&Shelf::new(2));
        worker.import(Epoch(1)).unwrap();
        worker.look_at_state();
        assert!(lock(&worker.report).lost_reservations.is_empty());
        *now.lock().unwrap() = "read-only";
        for _ in 0..2 {
            worker.look_at_state();
        }
        let report = lock(&worker.report).clone();
        assert_eq!(report.lost_reservations.len(), 1);
        assert!(report.lost_reservations[0].contains("made it read-only"));
        let state = report.state_volume.unwrap();
        assert!(state.is_open && state.problem.is_some(), "{state:?}");
        assert!(worker.served.is_some());
        worker.release(true).unwrap();
        worker.look_at_state();
        assert!(lock(&worker.report).lost_reservations.is_empty());
    }

    #[test]
    fn a_share_that_turned_read_only_is_said_while_it_is_served() {
        let (mut worker, now) = sharer_failing_later(&Shelf::new(2));
        worker.import(Epoch(1)).unwrap();
        assert_eq!(worker.broken_shares(), []);
        *now.lock().unwrap() = "read-only";
        let said = worker.broken_shares();
        assert!(
            said.len() == 1
                && said[0].what.contains("share vol0")
                && said[0].todo.contains("`handover tank`"),
            "{said:?}"
        );
        worker.report_alarms();
        let alarms = lock(&worker.report).alarms.clone();
        assert!(alarms.contains(&said[0]), "{alarms:?}");
        worker.release(true).unwrap();
        assert_eq!(worker.broken_shares(), []);
    }
}
