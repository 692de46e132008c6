//! The dedicated Ethernet port: one frame a packet, with an EtherType of its own and no IP, so that
//! neither addresses nor routes nor filters can stand between the heads.
//!
//! Frames go to the broadcast address: there are two ports on this cable, and a replaced head must be
//! heard without anybody learning its address first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::link::Cable;
use crate::net::Interface;
use crate::sys::packet::PacketSocket;

/// IEEE 802 "local experimental EtherType 1".
const ETHERTYPE: u16 = 0x88b5;

/// Destination, source and EtherType.
const HEADER_BYTES: usize = 14;

/// Ethernet pads short payloads, so a frame is preceded by its length, big-endian.
const LENGTH_BYTES: usize = 2;

const PACKET_MAX_BYTES: usize = HEADER_BYTES + 1500;

/// The port.
pub struct Ether {
    socket: PacketSocket,
    /// The header is written once; what follows, for each frame.
    out: [u8; PACKET_MAX_BYTES],
    packet: [u8; PACKET_MAX_BYTES],
}

impl Ether {
    /// Binds to a port, which must be up to carry anything.
    ///
    /// # Errors
    /// The errno of the packet socket: EPERM without CAP_NET_RAW, ENODEV for a port that is gone.
    pub fn open(interface: &Interface) -> Result<Ether, Errno> {
        let socket = PacketSocket::open(interface.index, Some(ETHERTYPE))?;
        let mut out = [0; PACKET_MAX_BYTES];
        out[..6].fill(0xff);
        out[6..12].copy_from_slice(&interface.mac.0);
        out[12..HEADER_BYTES].copy_from_slice(&ETHERTYPE.to_be_bytes());
        Ok(Ether {
            socket,
            out,
            packet: [0; PACKET_MAX_BYTES],
        })
    }
}

impl Cable for Ether {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        const BEGIN: usize = HEADER_BYTES + LENGTH_BYTES;
        let end = BEGIN + frame.len();
        let Some(packet) = self.out.get_mut(..end) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        packet[HEADER_BYTES..BEGIN].copy_from_slice(&(frame.len() as u16).to_be_bytes());
        packet[BEGIN..].copy_from_slice(frame);
        match self.socket.send(packet) {
            // The queue is full: this frame is lost, as if on the wire. ENETDOWN comes and goes with
            // the carrier of some drivers.
            Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::NETDOWN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let received = match self.socket.receive(&mut self.packet) {
            Ok(received) => received,
            // The kernel reports a port that went down once, to the next read.
            Err(Errno::AGAIN | Errno::NETDOWN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let frame = unpack(&self.packet[..received]);
        let room = buffer.get_mut(..frame.len());
        Ok(Some(room.map_or(0, |room| {
            room.copy_from_slice(frame);
            frame.len()
        })))
    }
}

/// The frame in a packet. What is not one of ours, whatever its EtherType says, is an empty frame: the core
/// counts it as rejected, and the caller its place among those that it takes at a time.
fn unpack(packet: &[u8]) -> &[u8] {
    let payload = packet.get(HEADER_BYTES..).unwrap_or_default();
    let Some((length, rest)) = payload.split_at_checked(LENGTH_BYTES) else {
        return &[];
    };
    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
    rest.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_off_and_nonsense_is_an_empty_frame_that_takes_its_turn() {
        let packet = |payload: &[u8]| [&[0xff; HEADER_BYTES], payload].concat();
        assert_eq!(unpack(&packet(&[0, 2, 7, 8, 0, 0, 0])), &[7, 8]);
        assert_eq!(unpack(&packet(&[0, 3, 7, 8])), b"");
        assert_eq!(unpack(&packet(&[9])), b"");
        assert_eq!(unpack(&[1, 2, 3]), b"");
    }
}
