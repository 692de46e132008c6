//! What a worker is at while it carries out an operator's order, told from the beginning to the end of it: nothing else bounds
//! such an order while the pool is served, and the core learns of it only when a release has to wait.
//!
//! A look of its own is not told here: one that does not end is a broken path to the shelf ([`LOOK_LIMIT`](crate::status::LOOK_LIMIT)).
//! Jobs of the core are not told here, nor what orders become one (`pool create`, `pool destroy`): each has its limit there.

use std::sync::{Arc, Mutex};

use embassy_time::Instant;

use super::Worker;
use super::orders::PoolOrder;
use crate::clock;
use crate::status::{Busy, Report};
use crate::sync::lock;

/// The report says what is being done, until this is dropped.
pub(super) struct AtWork(Arc<Mutex<Report>>);

impl AtWork {
    fn begin(report: &Arc<Mutex<Report>>, order: &PoolOrder, now: Instant) -> AtWork {
        lock(report).busy = Some(Busy {
            what: order.to_string(),
            since_s: now.as_secs(),
        });
        AtWork(report.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        lock(&self.0).busy = None;
    }
}

impl Worker {
    /// From here on it is at this order.
    pub(super) fn begin_order(&self, order: &PoolOrder) -> AtWork {
        AtWork::begin(&self.report, order, clock::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::edit::VolumeOrder;

    #[test]
    fn an_order_is_told_from_its_beginning_to_its_end() {
        let report = Arc::default();
        let order = PoolOrder::Volume(VolumeOrder::Grow {
            name: "vol0".to_owned(),
            bytes: 1 << 30,
        });
        let work = AtWork::begin(&report, &order, Instant::from_secs(7));
        let busy = Busy {
            what: "volume grow vol0".to_owned(),
            since_s: 7,
        };
        assert_eq!(lock(&report).busy, Some(busy));
        drop(work);
        assert_eq!(lock(&report).busy, None);
    }
}
