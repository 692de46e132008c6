//! A call into the kernel that may not return, and somebody who does not wait for it.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::{Cause, ExportError};

/// Stack of the thread: the memory of PID 1 is locked.
const STACK_BYTES: usize = 256 * 1024;

/// Runs `call` on a thread of its own and waits so long for it. It goes on when it is late, and nobody listens any more.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    step: &'static str,
    call: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    let failed = |cause| ExportError {
        path: path.to_owned(),
        step,
        cause,
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new()
        .name("export".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = sender.send(call());
        });
    if let Err(error) = spawned {
        return Err(failed(Cause::Kernel(
            Errno::from_io_error(&error).unwrap_or(Errno::AGAIN),
        )));
    }
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(failed(Cause::TimedOut(limit))),
        // The thread panicked.
        Err(RecvTimeoutError::Disconnected) => Err(failed(Cause::Kernel(Errno::CANCELED))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_left_behind() {
        let path = Path::new("/proc/fs/nfsd/threads");
        let done = within(Duration::from_secs(60), path, "write", || Ok(7));
        assert_eq!(done, Ok(7));
        let (hold, held) = mpsc::channel::<()>();
        let late = within(Duration::from_millis(20), path, "write", move || {
            let _ = held.recv();
            Ok(())
        });
        let said = late.unwrap_err().to_string();
        assert_eq!(said, "/proc/fs/nfsd/threads: write: not done after 20ms");
        drop(hold);
    }
}
