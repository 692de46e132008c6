//! The way into the heartbeat thread: a queue of fixed size that it never waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use orthrus_hb::{
    Accepted, Command, Health, MAX_POOLS, MESSAGE_MAX_BYTES, Outcome, PoolId, Refusal,
};
use rustix::event::{EventfdFlags, eventfd};

use crate::sync::lock;

/// Bytes of a message between the heads.
pub type Message = heapless::Vec<u8, MESSAGE_MAX_BYTES>;

/// Inputs that may wait: several from each pool's worker and watchers, and the consoles'.
const INPUTS_MAX: usize = 8 * MAX_POOLS;

/// What other threads tell the heartbeat thread. A message travels by value: a box would be freed by the
/// heartbeat thread, and the allocator's lock is one that others may hold.
#[expect(clippy::large_enum_variant)]
pub enum Input {
    /// A worker finished a job.
    Outcome(Outcome),
    /// An operator's command, and where the answer goes.
    Command(Command, SyncSender<Result<Accepted, Refusal>>),
    /// What of this head is broken, as far as a pool is concerned.
    Health(PoolId, Health),
    /// A message for the peer.
    Message(Message),
    /// Let go of every pool, to halt.
    Retire,
    /// A rehearsal: stop here for ever, as a stuck kernel would make us.
    Hang,
}

/// How other threads reach the heartbeat thread.
///
/// Not a channel of `std::sync::mpsc`: its receiver spins while a sender is between taking a place and filling
/// it. A sender that the heartbeat thread preempted there, with its real-time priority, would not be
/// run again by that CPU before the spinning ended.
#[derive(Clone)]
pub struct Handle {
    queue: Arc<Queue>,
}

/// The heartbeat thread only tries the lock. Who holds it has not raised `wake` yet.
struct Queue {
    inputs: Mutex<heapless::Deque<Input, INPUTS_MAX>>,
    wake: OwnedFd,
}

/// How long a thread waits for a place in a full queue before it looks again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

impl Handle {
    /// Posts an input and wakes the heartbeat thread. Waits while its queue is full.
    pub fn post(&self, mut input: Input) {
        loop {
            let queue = &self.queue.inputs;
            let pushed = lock(queue).push_back(input);
            match pushed {
                Ok(()) => break,
                Err(back) => input = back,
            }
            thread::sleep(FULL_PAUSE);
        }
        self.wake();
    }

    /// Wakes the heartbeat thread: there is something to look at elsewhere.
    pub fn wake(&self) {
        // An eventfd write fails only when it is about to overflow, and then it wakes anyway.
        let _ = rustix::io::write(&self.queue.wake, &1u64.to_ne_bytes());
    }

    /// Asks the core to do something, and waits for its answer.
    ///
    /// # Errors
    /// Why it does not do it.
    pub fn command(&self, command: Command) -> Result<Accepted, Refusal> {
        let (answer, answered) = sync_channel(1);
        self.post(Input::Command(command, answer));
        // Ends without an answer only when the head resets.
        answered.recv().unwrap_or(Err(Refusal::Busy))
    }
}

/// Where inputs arrive.
pub struct Inputs {
    queue: Arc<Queue>,
}

impl Inputs {
    /// What to poll: readable while there may be inputs.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.queue.wake.as_fd()
    }

    /// To be called before the inputs are taken, so that one that comes meanwhile wakes again.
    pub fn clear_wake(&self) {
        // Fails only when the counter is empty already.
        let _ = rustix::io::read(&self.queue.wake, &mut [0; 8]);
    }

    /// The next input, unless there is none, or somebody is just posting one and will wake us.
    pub fn next(&self) -> Option<Input> {
        match self.queue.inputs.try_lock() {
            Ok(mut inputs) => inputs.pop_front(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().pop_front(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The two ends of the queue into the heartbeat thread.
///
/// # Errors
/// The errno of `eventfd(2)`.
pub fn inputs() -> io::Result<(Handle, Inputs)> {
    let queue = Arc::new(Queue {
        inputs: Mutex::new(heapless::Deque::new()),
        wake: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
    });
    let handle = Handle {
        queue: queue.clone(),
    };
    Ok((handle, Inputs { queue }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_never_waits_for_a_thread_that_is_posting() {
        let (handle, inputs) = inputs().unwrap();
        handle.post(Input::Retire);
        let posting = handle.queue.inputs.lock().unwrap();
        assert!(inputs.next().is_none());
        drop(posting);
        assert!(matches!(inputs.next(), Some(Input::Retire)));
        assert!(inputs.next().is_none());
    }

    #[test]
    fn a_full_queue_delays_who_posts_and_loses_nothing() {
        let (handle, inputs) = inputs().unwrap();
        let posting = thread::spawn(move || {
            for _ in 0..3 * INPUTS_MAX {
                handle.post(Input::Retire);
            }
        });
        let mut taken = 0;
        while !posting.is_finished() || taken < 3 * INPUTS_MAX {
            taken += usize::from(inputs.next().is_some());
        }
        assert_eq!(taken, 3 * INPUTS_MAX);
        posting.join().unwrap();
    }
}
