//! A thread that waits for files and does something when one has something to read, until nobody wants it any more.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

/// Stack of such a thread: the memory of PID 1 is locked.
const STACK_BYTES: usize = 256 * 1024;

/// The thread; it ends when this is dropped, as soon as it waits again.
pub struct Background {
    /// The other end is what the thread waits for.
    _stop: OwnedFd,
}

/// What the thread itself has of it.
pub struct Stop(OwnedFd);

impl Background {
    /// Starts the thread.
    pub fn spawn(name: &str, run: impl FnOnce(Stop) + Send + 'static) -> io::Result<Background> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(Stop(stopped)))?;
        Ok(Background { _stop: stop })
    }
}

impl Stop {
    /// Waits until some of the files have something to read, and says which; `None` when it is time to end.
    pub fn wait(&self, files: &[BorrowedFd<'_>], limit: Option<&Timespec>) -> Option<Vec<bool>> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(files.iter().map(|file| PollFd::new(file, PollFlags::IN)));
        // No signal reaches this thread.
        poll(&mut fds, limit).ok()?;
        let (stop, files) = fds.split_first()?;
        if !stop.revents().is_empty() {
            return None;
        }
        Some(files.iter().map(|fd| !fd.revents().is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_its_handle() {
        let (ended, end) = std::sync::mpsc::channel();
        let thread = Background::spawn("test", move |stop| {
            while stop.wait(&[], None).is_some() {}
            let _ = ended.send(());
        });
        drop(thread.unwrap());
        end.recv().unwrap();
    }
}
