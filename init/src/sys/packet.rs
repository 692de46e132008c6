//! Packet sockets (`linux/if_packet.h`): whole Ethernet frames in and out of one port.
//!
//! `rustix` has no `sockaddr_ll`; this is the smallest piece that adds it.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A socket bound to one port.
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Binds to the port with this interface index. Frames of `ethertype` are received; with `None`
    /// nothing is, and the socket only sends. It never blocks: a full or empty queue is `EAGAIN`.
    pub fn open(index: u32, ethertype: Option<u16>) -> Result<PacketSocket, Errno> {
        // Protocol 0 at first: between socket and bind frames of every port would come in.
        let fd = rustix::net::socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let address = LinkAddress {
            index,
            ethertype: ethertype.unwrap_or(0),
        };
        rustix::net::bind(&fd, &address)?;
        Ok(PacketSocket { fd })
    }

    /// Sends one frame, from its destination address on.
    pub fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        rustix::net::send(&self.fd, frame, SendFlags::empty()).map(|_| ())
    }

    /// Takes one frame off the queue and returns its length; a longer one than the buffer is cut.
    pub fn receive(&self, frame: &mut [u8]) -> Result<usize, Errno> {
        rustix::net::recv(&self.fd, frame, RecvFlags::empty()).map(|(length, _)| length)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `sockaddr_ll`, as far as `bind` reads it.
struct LinkAddress {
    index: u32,
    ethertype: u16,
}

// SAFETY: the pointer given to `f` is to a live, initialised `sockaddr_ll`, and the length is its size.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: self.ethertype.to_be(),
            sll_ifindex: self.index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        f(
            (&raw const address).cast(),
            mem::size_of::<libc::sockaddr_ll>() as SocketAddrLen,
        )
    }
}

const _: () = assert!(mem::size_of::<libc::sockaddr_ll>() == 20);
