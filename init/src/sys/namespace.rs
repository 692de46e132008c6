//! Namespaces of a thread alone.

use rustix::io::Errno;
use rustix::system::sethostname;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread, and those that it starts, a host name of their own: at most 64 bytes.
pub fn own_host_name(name: &str) -> Result<(), Errno> {
    // SAFETY: of all that threads share only the host name is no longer shared; nothing of the program's own is touched
    // (no file descriptors, no memory, no credentials).
    unsafe { unshare_unsafe(UnshareFlags::NEWUTS)? };
    sethostname(name.as_bytes())
}

/// Gives the calling thread, and those that it starts, a network of their own, with nothing in it.
pub fn own_network() -> Result<(), Errno> {
    // SAFETY: of all that threads share only the network is no longer shared; sockets that are open stay in the network that
    // they were opened in, and no descriptor changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_name_is_its_own() {
        let before = rustix::system::uname().nodename().to_owned();
        let named = std::thread::spawn(|| {
            own_host_name("orthrus-test")?;
            Ok(rustix::system::uname().nodename().to_owned())
        });
        match named.join().unwrap() {
            Ok(name) => assert_eq!(name.to_bytes(), b"orthrus-test"),
            Err(Errno::PERM) => eprintln!("SKIPPED: a namespace needs the rights of root"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
    }
}
