//! The same work on many disks at once, with a limit: a dead disk costs its own thread and no more.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work` for each item in a thread of its own; the results in the order of the items, `None`
/// where it was not done within `limit`. Such a thread lives on until its call returns, so `work` must see
/// for itself whether it is still wanted.
pub fn each<I, T, W>(items: &[I], limit: Duration, work: W) -> Vec<Option<T>>
where
    I: Clone + Send + 'static,
    T: Send + 'static,
    W: Fn(&I) -> T + Clone + Send + 'static,
{
    let (done, results) = mpsc::channel();
    let mut outcomes: Vec<Option<T>> = Vec::new();
    let mut running = 0;
    for (index, item) in items.iter().enumerate() {
        outcomes.push(None);
        let (done, work, item) = (done.clone(), work.clone(), item.clone());
        let spawned = thread::Builder::new()
            .name(format!("disk {index}"))
            .spawn(move || {
                // The receiver is gone when the limit passed: nobody is left to tell.
                let _ = done.send((index, work(&item)));
            });
        running += usize::from(spawned.is_ok());
    }
    // Only the threads hold it now: when the last one is gone nobody needs to be waited for.
    drop(done);
    let deadline = Instant::now() + limit;
    while running > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, outcome)) = results.recv_timeout(left) else {
            break;
        };
        outcomes[index] = Some(outcome);
        running -= 1;
    }
    outcomes
}
