//! The small acknowledged channel: what does not fit a beat, one message at a time.
//!
//! The newest message replaces one that is still under way: each kind of content here (who is
//! connected) makes its predecessor worthless. Pieces carry their offset, so that the two links may
//! cut them differently and a repeated piece does no harm.

use heapless::Vec;

/// Bytes of the longest message: 256 connections of 12 bytes.
pub const MESSAGE_MAX_BYTES: usize = 3072;

/// The message on its way to the peer.
#[derive(Clone, Default, Hash)]
pub(crate) struct Outbox {
    number: u16,
    bytes: Vec<u8, MESSAGE_MAX_BYTES>,
    arrived: u16,
    open: bool,
}

/// A piece to be sent.
pub(crate) struct Piece<'a> {
    pub(crate) message: u16,
    pub(crate) total: u16,
    pub(crate) offset: u16,
    pub(crate) data: &'a [u8],
}

impl Outbox {
    /// Begins a message; `false` when it is too long.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> bool {
        let Ok(bytes) = Vec::from_slice(bytes) else {
            return false;
        };
        self.number = self.number.wrapping_add(1);
        self.bytes = bytes;
        self.arrived = 0;
        self.open = true;
        true
    }

    /// A new boot of the peer has nothing of what was sent.
    pub(crate) fn restart(&mut self) {
        self.arrived = 0;
        self.open = self.number != 0;
    }

    /// The next piece, of at most `max` bytes; `None` when all has arrived.
    pub(crate) fn piece(&self, max: usize) -> Option<Piece<'_>> {
        if !self.open {
            return None;
        }
        let rest = &self.bytes[usize::from(self.arrived)..];
        Some(Piece {
            message: self.number,
            total: self.bytes.len() as u16, // at most MESSAGE_MAX_BYTES
            offset: self.arrived,
            data: &rest[..rest.len().min(max)],
        })
    }

    /// The peer says how much it has. Returns whether there is more to send at once.
    pub(crate) fn received(&mut self, message: u16, have: u16) -> bool {
        if message != self.number || usize::from(have) > self.bytes.len() || have < self.arrived {
            return false;
        }
        self.arrived = have;
        self.open = usize::from(have) < self.bytes.len();
        self.open
    }
}

/// The message on its way here.
#[derive(Clone, Default, Hash)]
pub(crate) struct Inbox {
    number: Option<u16>,
    bytes: Vec<u8, MESSAGE_MAX_BYTES>,
    total: u16,
    unread: bool,
}

impl Inbox {
    /// Takes in a piece; returns what to acknowledge, or `None` when it makes no sense.
    pub(crate) fn put(&mut self, piece: &Piece<'_>) -> Option<(u16, u16)> {
        let end = usize::from(piece.offset) + piece.data.len();
        if usize::from(piece.total) > MESSAGE_MAX_BYTES || end > usize::from(piece.total) {
            return None;
        }
        // One that is still on its way on the slower link: it was replaced.
        let behind = |number| piece.message.wrapping_sub(number) > u16::MAX / 2;
        if self.number.is_some_and(behind) {
            return None;
        }
        if self.number != Some(piece.message) || self.total != piece.total {
            *self = Inbox {
                number: Some(piece.message),
                total: piece.total,
                unread: true,
                ..Inbox::default()
            };
        }
        let have = self.bytes.len();
        if usize::from(piece.offset) <= have && end > have {
            // Fits: `end` is at most `total`, which is at most the capacity.
            let _ = self
                .bytes
                .extend_from_slice(&piece.data[have - usize::from(piece.offset)..]);
        }
        Some((piece.message, self.bytes.len() as u16))
    }

    /// A new boot of the peer numbers its messages anew.
    pub(crate) fn restart(&mut self) {
        *self = Inbox::default();
    }

    /// The message, once, when it is complete.
    pub(crate) fn take(&mut self) -> Option<&[u8]> {
        let complete = self.number.is_some() && self.bytes.len() == usize::from(self.total);
        (complete && core::mem::take(&mut self.unread)).then_some(self.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carry(out: &mut Outbox, inbox: &mut Inbox, max: usize) {
        while let Some(piece) = out.piece(max) {
            let (message, have) = inbox.put(&piece).unwrap();
            out.received(message, have);
        }
    }

    #[test]
    fn a_message_arrives_once_whatever_the_size_of_its_pieces() {
        let bytes: [u8; 1000] = core::array::from_fn(|i| i as u8);
        for max in [1, 7, 96, 1024] {
            let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
            assert!(out.put(&bytes));
            carry(&mut out, &mut inbox, max);
            assert_eq!(inbox.take(), Some(&bytes[..]));
            assert_eq!(inbox.take(), None);
        }
    }

    #[test]
    fn an_empty_message_is_a_message() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        assert!(out.put(&[]));
        carry_one(&mut out, &mut inbox);
        assert_eq!(inbox.take(), Some(&[][..]));
    }

    fn carry_one(out: &mut Outbox, inbox: &mut Inbox) {
        let (message, have) = inbox.put(&out.piece(96).unwrap()).unwrap();
        out.received(message, have);
        assert!(out.piece(96).is_none());
    }

    #[test]
    fn the_newest_message_replaces_its_predecessor() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        assert!(out.put(&[1; 200]));
        inbox.put(&out.piece(96).unwrap()).unwrap();
        assert!(out.put(&[2; 100]));
        carry(&mut out, &mut inbox, 96);
        assert_eq!(inbox.take(), Some(&[2; 100][..]));
    }

    #[test]
    fn a_message_that_was_replaced_does_not_come_back_on_the_slower_link() {
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        // Numbers begin anew after the last one.
        for _ in 0..u32::from(u16::MAX) + 2 {
            assert!(out.put(&[1; 20]));
            let late = [1; 20];
            let old = out.piece(96).map(|piece| (piece.message, piece.total));
            assert!(out.put(&[2; 20]));
            carry(&mut out, &mut inbox, 96);
            assert_eq!(inbox.take(), Some(&[2; 20][..]));
            let (message, total) = old.unwrap();
            let piece = Piece {
                message,
                total,
                offset: 0,
                data: &late,
            };
            assert_eq!(inbox.put(&piece), None);
            assert_eq!(inbox.take(), None);
        }
    }

    #[test]
    fn pieces_that_make_no_sense_are_dropped() {
        let mut inbox = Inbox::default();
        for (total, offset, length) in [(10, 5, 6), (u16::MAX, 0, 1), (0, 1, 0)] {
            let data = &[0; 16][..length];
            assert_eq!(
                inbox.put(&Piece {
                    message: 1,
                    total,
                    offset,
                    data
                }),
                None
            );
        }
        assert_eq!(inbox.take(), None);
        let (mut out, long) = (Outbox::default(), [0; MESSAGE_MAX_BYTES + 1]);
        assert!(!out.put(&long));
    }
}
