//! A packet socket bound to one interface and one EtherType, by `packet(7)`.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// An Ethernet hardware address.
pub type Mac = [u8; 6];

/// Non-blocking socket that sends and receives the payloads of one EtherType on one interface.
pub struct PacketSocket {
    fd: OwnedFd,
    interface: i32,
    ethertype: u16,
}

impl PacketSocket {
    /// Opens and binds the socket. `interface` is the kernel's index of it.
    ///
    /// # Errors
    /// The errno of `socket(2)` or `bind(2)`: EPERM without CAP_NET_RAW, ENODEV for an interface that
    /// is gone.
    pub fn open(interface: u32, ethertype: u16) -> io::Result<PacketSocket> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Protocol 0: nothing is received before bind(2) names the interface.
        // SAFETY: no pointers are passed; the result is checked before it is used.
        let raw = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was just returned by socket(2) and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let interface =
            i32::try_from(interface).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let socket = PacketSocket {
            fd,
            interface,
            ethertype,
        };
        let address = socket.address([0; 6]);
        // SAFETY: `address` is a valid sockaddr_ll of the length given and outlives the call.
        let bound = unsafe {
            libc::bind(
                raw,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if bound < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(socket)
        }
    }

    fn address(&self, to: Mac) -> libc::sockaddr_ll {
        let mut sll_addr = [0; 8];
        sll_addr[..6].copy_from_slice(&to);
        libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: self.ethertype.to_be(),
            sll_ifindex: self.interface,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr,
        }
    }

    /// Sends one payload to `to`; the kernel adds the Ethernet header.
    ///
    /// # Errors
    /// EAGAIN or ENOBUFS when the queue is full, ENETDOWN when the interface is down.
    pub fn send(&self, to: Mac, payload: &[u8]) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let address = self.address(to);
        // SAFETY: both pointers are valid for the lengths given and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                payload.as_ptr().cast(),
                payload.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Receives one payload. Ethernet pads short ones to 46 bytes, and one that is longer than
    /// `buffer` is cut.
    ///
    /// # Errors
    /// EAGAIN when nothing is waiting.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buffer)?)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
