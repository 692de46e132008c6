//! The dedicated Ethernet port: one frame a packet, with an EtherType of its own and no IP, so that
//! neither addresses nor routes nor filters can stand between the heads.
//!
//! Frames go to the broadcast address: there are two ports on this cable, and a replaced head must be
//! heard without anybody learning its address first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::link::Cable;
use crate::sys::ether::PacketSocket;

/// IEEE 802 "local experimental EtherType 1".
const ETHERTYPE: u16 = 0x88b5;
const BROADCAST: [u8; 6] = [0xff; 6];

/// Ethernet pads payloads to 46 bytes, so a frame is preceded by its length, big-endian.
const LENGTH_BYTES: usize = 2;
const PACKET_MAX_BYTES: usize = 1500;

/// The port.
pub struct Ether {
    socket: PacketSocket,
    packet: [u8; PACKET_MAX_BYTES],
}

impl Ether {
    /// Binds to the interface with this index, which must be up to carry anything.
    ///
    /// # Errors
    /// The errno of the packet socket.
    pub fn open(interface: u32) -> io::Result<Ether> {
        let socket = PacketSocket::open(interface, ETHERTYPE)?;
        Ok(Ether {
            socket,
            packet: [0; PACKET_MAX_BYTES],
        })
    }
}

impl Cable for Ether {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let end = LENGTH_BYTES + frame.len();
        let Some(packet) = self.packet.get_mut(..end) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        packet[..LENGTH_BYTES].copy_from_slice(&(frame.len() as u16).to_be_bytes());
        packet[LENGTH_BYTES..].copy_from_slice(frame);
        match self.socket.send(BROADCAST, packet) {
            Err(error) if is_full(&error) => Ok(()),
            other => other,
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let received = match self.socket.receive(&mut self.packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                other => other?,
            };
            if let Some(frame) = unpack(&self.packet[..received])
                && let Some(room) = buffer.get_mut(..frame.len())
            {
                room.copy_from_slice(frame);
                return Ok(Some(frame.len()));
            }
            // Not one of ours, whatever its EtherType says; look at the next.
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

fn unpack(packet: &[u8]) -> Option<&[u8]> {
    let (length, rest) = packet.split_at_checked(LENGTH_BYTES)?;
    rest.get(..usize::from(u16::from_be_bytes(length.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_off_and_nonsense_dropped() {
        assert_eq!(unpack(&[0, 2, 7, 8, 0, 0, 0]), Some(&[7, 8][..]));
        assert_eq!(unpack(&[0, 3, 7, 8]), None);
        assert_eq!(unpack(&[9]), None);
    }
}
