//! A head's port at the shelf keeps its name: the ISID of each login is replaced by a fixed one.
//!
//! A SAS port has one name for life. QEMU's initiator makes up a new ISID for each session, so a head that connected
//! again, after a boot or after a command that hung, was another port to the shelf, and could neither use nor remove
//! the key that it had registered: the kernel's target takes it for a stranger by its own name. With the same name
//! and ISID the target puts the new session in the place of the old one (RFC 7143, section 6.3.5). Each disk has
//! a session of its own, and therefore an initiator name of its own ([`crate::shelf::initiator`]).
//!
//! The tgt shelf is left as it is: that it loses registrations with a session is what it is there for.

use super::pdu::{HEADER_BYTES, lengths};

/// Of the type that is made up (RFC 7143, section 11.12.5), and a number.
const ISID: [u8; 6] = [0x80, 0x4f, 0x52, 0x54, 0, 1];
/// Where the ISID is in the header of a login.
const ISID_AT: usize = 8;
const LOGIN_REQUEST: u8 = 0x03;

/// One connection, from its first byte to the end of its login.
#[derive(Default)]
pub struct Port {
    /// Bytes of the present unit that have passed.
    offset: usize,
    /// Lengths of additional header and data, as they stand in the header.
    lengths: [u8; 4],
    logged_in: bool,
}

impl Port {
    /// Puts the fixed ISID into the logins among the next bytes that go to the target.
    pub fn keep_name(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.logged_in {
                return;
            }
            match self.offset {
                0 => self.logged_in = *byte & 0x3f != LOGIN_REQUEST,
                4..8 => self.lengths[self.offset - 4] = *byte,
                ISID_AT..14 => *byte = ISID[self.offset - ISID_AT],
                _ => {}
            }
            self.offset += 1;
            if self.offset >= HEADER_BYTES && self.offset == self.unit_bytes() {
                self.offset = 0;
            }
        }
    }

    fn unit_bytes(&self) -> usize {
        let (additional, data) = lengths(self.lengths);
        HEADER_BYTES + additional + data
    }
}

#[cfg(test)]
mod tests {
    use super::super::pdu::tests::command;
    use super::*;

    fn login(isid: [u8; 6], text: &[u8]) -> Vec<u8> {
        let mut unit = vec![0; HEADER_BYTES];
        (unit[0], unit[7]) = (0x40 | LOGIN_REQUEST, text.len() as u8);
        unit[ISID_AT..ISID_AT + 6].copy_from_slice(&isid);
        unit.extend_from_slice(text);
        unit.resize(unit.len().next_multiple_of(4), 0);
        unit
    }

    #[test]
    fn each_login_gets_the_fixed_name_and_nothing_else_changes_however_the_bytes_fall() {
        let mut late = command(1, 9, 0x2a, 0);
        late.extend(login([7; 6], b"in the data of a write"));
        let stream = |isid| {
            let first = login(isid, b"InitiatorName=iqn.x\0");
            [first, login(isid, b"odd"), login(isid, b""), late.clone()].concat()
        };
        for piece in [1, 7, 48, 61, 1000] {
            let (mut port, mut sent) = (Port::default(), stream([0x80, 1, 2, 3, 4, 5]));
            sent.chunks_mut(piece)
                .for_each(|bytes| port.keep_name(bytes));
            assert_eq!(sent, stream(ISID), "in pieces of {piece}");
        }
    }
}
