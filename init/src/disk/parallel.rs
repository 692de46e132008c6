//! The same work on many disks at once, with a limit: a dead disk costs its own thread and no more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Threads of all calls that have not returned.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How many calls to disks have not returned, whoever waits for them. Looks that nobody needs at once are to
/// be left out when this grows: each on a disk that never answers costs a thread for ever.
pub fn running() -> usize {
    RUNNING.load(Ordering::SeqCst)
}

/// Counts a thread while it lives.
struct Counted;

impl Counted {
    fn begin() -> Counted {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

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
        let counted = Counted::begin();
        let spawned = thread::Builder::new()
            .name(format!("disk {index}"))
            .spawn(move || {
                let _counted = counted;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_counted_until_it_does() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let work = move |_: &u8| gate.lock().map(|gate| gate.recv().is_ok()).is_ok();
        assert_eq!(each(&[1], Duration::from_millis(20), work), [None]);
        // Other tests have calls of their own under way.
        assert!(running() >= 1);
        drop(go);
    }
}
