//! Netlink requests and their answers (`linux/netlink.h`): as much as links, addresses and sockets
//! need, written and read as bytes.
//!
//! Own code and not a crate: the five requests of a head fit in this file, and the crates at hand
//! bring generated bindings for the whole of netlink. Nothing here is `unsafe`; it is in `sys` as the
//! place where the kernel's layouts are.
//!
//! The kernel works a request off within `send`, so an answer is there when `send` returns and
//! `receive` does not wait for anybody else.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
/// `nlmsghdr`: length u32, type u16, flags u16, sequence u32, port u32.
const HEADER_BYTES: usize = 16;
/// One datagram of a dump: the kernel fills at most 32 KiB (`NLMSG_GOODSIZE` for big readers).
const RECEIVE_BYTES: usize = 32 * 1024;

/// Put it in the place of what is there.
pub const NLM_F_REPLACE: u16 = 0x100;
/// Fail if the thing exists already.
pub const NLM_F_EXCL: u16 = 0x200;
/// Make the thing.
pub const NLM_F_CREATE: u16 = 0x400;

/// Which part of the kernel answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links and addresses (`linux/rtnetlink.h`).
    Route,
    /// Sockets (`linux/sock_diag.h`).
    SockDiag,
}

/// A request being put together.
pub struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// A request of a type, with flags beyond those that every request has.
    pub fn new(kind: u16, flags: u16) -> Request {
        Request {
            kind,
            flags,
            payload: Vec::new(),
        }
    }

    /// Appends the family's fixed structure.
    pub fn bytes(mut self, bytes: &[u8]) -> Request {
        self.payload.extend_from_slice(bytes);
        self.payload.resize(align(self.payload.len()), 0);
        self
    }

    /// Appends an attribute (`rtattr`: length u16, type u16, then the value).
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        let bytes = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.payload.extend_from_slice(&bytes.to_ne_bytes());
        self.payload.extend_from_slice(&kind.to_ne_bytes());
        self.bytes(value)
    }

    fn encode(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let bytes = u32::try_from(HEADER_BYTES + self.payload.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        message.extend_from_slice(&bytes.to_ne_bytes());
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&(self.flags | flags).to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(&self.payload);
        message
    }
}

/// A socket to one family.
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket.
    pub fn open(family: Family) -> Result<Netlink, Errno> {
        let protocol: Option<Protocol> = match family {
            Family::Route => None,
            Family::SockDiag => Some(rustix::net::netlink::SOCK_DIAG),
        };
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink { fd, sequence: 0 })
    }

    /// Sends a request and returns the kernel's verdict on it.
    pub fn perform(&mut self, request: &Request) -> Result<(), Errno> {
        self.send(request, NLM_F_ACK)?;
        self.collect(|_| ())
    }

    /// Sends a request for a list and returns the payload of each message of the answer.
    pub fn dump(&mut self, request: &Request) -> Result<Vec<Vec<u8>>, Errno> {
        self.send(request, NLM_F_DUMP)?;
        let mut list = Vec::new();
        self.collect(|payload| list.push(payload.to_vec()))?;
        Ok(list)
    }

    fn send(&mut self, request: &Request, flags: u16) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = request.encode(NLM_F_REQUEST | flags, self.sequence);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, &message, SendFlags::empty(), &kernel).map(|_| ())
    }

    /// Reads until the end mark or a verdict; messages of other requests are passed over.
    fn collect(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let (length, _) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((message, after)) = split_message(rest) {
                rest = after;
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return verdict(message.payload),
                    _ => each(message.payload),
                }
            }
        }
    }
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let message = Message {
        kind: u16_at(bytes, 4)?,
        sequence: u32_at(bytes, 8)?,
        payload: bytes.get(HEADER_BYTES..length)?,
    };
    Some((message, bytes.get(align(length)..).unwrap_or(&[])))
}

/// `nlmsgerr`: zero or a negated errno.
fn verdict(payload: &[u8]) -> Result<(), Errno> {
    match u32_at(payload, 0) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(
            (code as i32).checked_neg().unwrap_or(0),
        )),
        None => Err(Errno::BADMSG),
    }
}

/// Attributes within one.
pub fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in attributes {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// The attributes that follow a family's fixed structure: type and value of each.
pub fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut list = Vec::new();
    let mut rest = bytes;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else {
            break;
        };
        list.push((kind, value));
        rest = rest.get(align(length)..).unwrap_or(&[]);
    }
    list
}

/// A number in the machine's byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    field.try_into().ok().map(u16::from_ne_bytes)
}

/// A number in the machine's byte order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    field.try_into().ok().map(u32::from_ne_bytes)
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_the_kernels_layout() {
        let request = Request::new(20, NLM_F_CREATE)
            .bytes(&[2, 24, 0, 0, 3, 0, 0, 0])
            .attribute(3, b"eth");
        let golden = [
            32, 0, 0, 0, 20, 0, 5, 4, 7, 0, 0, 0, 0, 0, 0, 0, // header
            2, 24, 0, 0, 3, 0, 0, 0, // structure
            7, 0, 3, 0, b'e', b't', b'h', 0, // attribute, padded
        ];
        assert_eq!(request.encode(NLM_F_REQUEST | NLM_F_ACK, 7), golden);
        assert_eq!(attributes(&golden[24..]), vec![(3, &b"eth"[..])]);
    }

    #[test]
    fn nested_attributes_are_padded_and_their_lengths_are_not() {
        let bytes = nested(&[(1, b"ipvlan"), (2, &[7, 0])]);
        let expected = [&[10, 0, 1, 0][..], b"ipvlan\0\0", &[6, 0, 2, 0, 7, 0, 0, 0]];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn broken_answers_end_the_reading() {
        assert!(split_message(&[1, 2, 3]).is_none());
        assert!(split_message(&[0xff; 20]).is_none());
        assert!(split_message(&[0; 20]).is_none());
        assert!(attributes(&[0, 0, 0, 0, 0, 0]).is_empty());
        assert!(attributes(&[200, 0, 1, 0]).is_empty());
    }

    #[test]
    fn verdict_is_an_errno() {
        assert_eq!(verdict(&0i32.to_ne_bytes()), Ok(()));
        assert_eq!(verdict(&(-17i32).to_ne_bytes()), Err(Errno::EXIST));
        assert_eq!(verdict(&[]), Err(Errno::BADMSG));
    }
}
