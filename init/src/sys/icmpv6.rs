//! Raw sockets of ICMPv6 (RFC 3542, `linux/in6.h`, `linux/ipv6.h`): messages whose sums are right, each with the port that it came
//! in by and its hop limit.
//!
//! `rustix` hands on no control messages of IPv6; this is the smallest piece that adds these two.

use std::mem;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

/// Room for the two control messages, aligned as their header is.
const CONTROL_WORDS: usize = 16;

/// A socket for the messages of one port.
pub struct IcmpV6Socket {
    fd: OwnedFd,
    index: u32,
}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's bytes; a longer one than the buffer is cut.
    pub length: usize,
    /// The hop limit of its packet.
    pub hop_limit: u8,
}

impl IcmpV6Socket {
    /// Hears what comes in by the port with this interface index. It never blocks: an empty queue is `EAGAIN`.
    pub fn open(index: u32) -> Result<IcmpV6Socket, Errno> {
        let fd = rustix::net::socket_with(
            AddressFamily::INET6,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(ipproto::ICMPV6),
        )?;
        let port = libc::c_int::try_from(index).map_err(|_| Errno::NODEV)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, port)?;
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
        Ok(IcmpV6Socket { fd, index })
    }

    /// Takes one message off the queue; `None` for one that came in by another port, before this one was bound to, or that
    /// does not say by which.
    pub fn receive(&self, message: &mut [u8]) -> Result<Option<Received>, Errno> {
        let mut control = [0_u64; CONTROL_WORDS];
        let mut part = libc::iovec {
            iov_base: message.as_mut_ptr().cast(),
            iov_len: message.len(),
        };
        // SAFETY: all zeroes is a msghdr without a name, parts and control messages.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control) as _;
        // SAFETY: the header names the two buffers above with their lengths, and both live beyond the call.
        let length = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, 0) };
        let length = usize::try_from(length).map_err(|_| last_error())?;
        let (mut came_by, mut hop_limit) = (None, None);
        // SAFETY: the kernel left in the header how much of the control buffer it wrote, and the buffer still lives.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY: a pointer that the macros hand out is to a whole header within what the kernel wrote.
        while let Some(one) = unsafe { next.as_ref() } {
            // SAFETY: as above; the kernel aligns data of control messages for words only, hence the unaligned reads, and these two
            // kinds have an in6_pktinfo and an int.
            unsafe {
                let data = libc::CMSG_DATA(next);
                match (one.cmsg_level, one.cmsg_type) {
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        came_by = Some(info.ipi6_ifindex);
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                        let limit = data.cast::<libc::c_int>().read_unaligned();
                        hop_limit = u8::try_from(limit).ok();
                    }
                    _ => {}
                }
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
        }
        let is_ours = came_by == Some(self.index);
        Ok(hop_limit
            .filter(|_| is_ours)
            .map(|hop_limit| Received { length, hop_limit }))
    }
}

impl AsFd for IcmpV6Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set(
    fd: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    // SAFETY: the kernel reads one int, which lives beyond the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
