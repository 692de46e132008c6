//! The dedicated serial line: 115200 8N1, each frame COBS-encoded with a zero byte behind it.
//!
//! After a frame that could be written only in part, the next begins with a zero of its own, so that
//! the torn one costs nothing but itself. There is no flow control: a pulled cable must not stop us.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use orthrus_hb::FRAME_MAX_BYTES;

use crate::link::Cable;
use crate::serial::{self, SerialError, Waiting};

/// A frame encoded: one byte in 254 more, one to begin with, and the delimiters.
const ENCODED_MAX_BYTES: usize = FRAME_MAX_BYTES + FRAME_MAX_BYTES / 254 + 4;

/// Reads without a frame in them after which the other things of the heartbeat thread get their turn: some
/// times the longest frame, so only noise is that long.
const CHUNKS_MAX: usize = 32;

/// The line.
pub struct Serial {
    line: Line<File>,
}

impl Serial {
    /// Opens a line by its name, such as `ttyS1`.
    ///
    /// # Errors
    /// Names the device and the step.
    pub fn open(name: &str) -> Result<Serial, SerialError> {
        Ok(Serial {
            line: Line::new(serial::open(name, Waiting::Never)?),
        })
    }
}

impl Cable for Serial {
    fn fd(&self) -> BorrowedFd<'_> {
        self.line.device.as_fd()
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.line.send(frame)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.line.receive(buffer)
    }
}

/// Framing over a byte stream that never blocks.
struct Line<D> {
    device: D,
    /// The last frame went out in part.
    torn: bool,
    /// Bytes of the frame that is coming in.
    partial: heapless::Vec<u8, ENCODED_MAX_BYTES>,
    /// It is too long to be one of ours; skip to the delimiter.
    skipping: bool,
    chunk: [u8; 256],
    /// The part of `chunk` that was not looked at yet.
    unread: std::ops::Range<usize>,
}

impl<D: Read + Write> Line<D> {
    fn new(device: D) -> Line<D> {
        Line {
            device,
            torn: false,
            partial: heapless::Vec::new(),
            skipping: false,
            chunk: [0; 256],
            unread: 0..0,
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut encoded = [0; ENCODED_MAX_BYTES];
        let begin = usize::from(self.torn);
        let room = encoded.get_mut(begin..).unwrap_or_default();
        let Ok(length) = cobs::try_encode(frame, room) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // One byte is left for the delimiter: the buffer is larger than the longest encoding. It may
        // hold the code byte of a block that stayed empty, which the encoder does not count.
        encoded[begin + length] = 0;
        let bytes = &encoded[..=begin + length];
        match self.device.write(bytes) {
            Ok(written) => self.torn = written < bytes.len(),
            // The line is slower than what we say: this frame is lost, as if on the wire.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        for _ in 0..CHUNKS_MAX {
            for at in self.unread.by_ref() {
                let byte = self.chunk[at];
                if byte != 0 {
                    self.skipping |= self.partial.push(byte).is_err();
                    continue;
                }
                let decoded = cobs::decode(&self.partial, buffer);
                let whole = !self.skipping && !self.partial.is_empty();
                self.partial.clear();
                self.skipping = false;
                if let (true, Ok(report)) = (whole, decoded) {
                    return Ok(Some(report.frame_size()));
                }
            }
            match self.device.read(&mut self.chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self.unread = 0..read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A line that loops back and takes at most `room` bytes at a time.
    struct Loop {
        bytes: VecDeque<u8>,
        room: usize,
    }

    impl Read for Loop {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.bytes.read(buffer)
        }
    }

    impl Write for Loop {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let taken = buffer.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.bytes.extend(&buffer[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line() -> Line<Loop> {
        Line::new(Loop {
            bytes: VecDeque::new(),
            room: usize::MAX,
        })
    }

    fn received(line: &mut Line<Loop>) -> Option<Vec<u8>> {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let length = line.receive(&mut buffer).unwrap()?;
        Some(buffer[..length].to_vec())
    }

    #[test]
    fn frames_of_every_length_come_back() {
        let mut line = line();
        for length in [1, 2, 60, 253, 254, 255, 508, FRAME_MAX_BYTES] {
            for byte in [0, 1, 0xff] {
                line.send(&vec![byte; length]).unwrap();
                line.send(&[5]).unwrap();
                assert_eq!(received(&mut line), Some(vec![byte; length]));
                assert_eq!(received(&mut line), Some(vec![5]));
            }
        }
        assert_eq!(received(&mut line), None);
    }

    #[test]
    fn a_torn_frame_costs_only_itself() {
        let mut line = line();
        line.device.room = 10;
        line.send(&[1; 40]).unwrap();
        line.device.room = 0;
        line.send(&[2; 40]).unwrap();
        line.device.room = usize::MAX;
        line.send(&[3; 40]).unwrap();
        line.send(&[4; 40]).unwrap();
        assert_eq!(received(&mut line), Some(vec![3; 40]));
        assert_eq!(received(&mut line), Some(vec![4; 40]));
    }

    #[test]
    fn noise_before_and_between_frames_is_skipped() {
        let mut line = line();
        line.device.bytes.extend([0xaa; 5000]);
        line.device.bytes.extend([0, 0, 0, 9, 0]);
        line.send(&[1, 2, 3]).unwrap();
        assert_eq!(received(&mut line), Some(vec![1, 2, 3]));
        assert_eq!(received(&mut line), None);
    }

    #[test]
    fn whatever_noise_arrives_the_frame_behind_it_comes_through() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..1000 {
            let mut line = line();
            for _ in 0..random() % 3000 {
                // Delimiters, codes that promise more than follows, and anything.
                let byte = [0, 1, 0xff, random() as u8][random() % 4];
                line.device.bytes.push_back(byte);
            }
            line.device.bytes.push_back(0);
            let frame: Vec<u8> = (0..=random() % 300).map(|_| random() as u8).collect();
            line.send(&frame).unwrap();
            let mut last = None;
            while !line.device.bytes.is_empty() || !line.unread.is_empty() {
                last = received(&mut line).or(last);
            }
            assert_eq!(last, Some(frame));
        }
    }

    #[test]
    fn noise_without_end_lets_the_others_have_their_turn() {
        struct Noise;
        impl Read for Noise {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(0xaa);
                Ok(buffer.len())
            }
        }
        impl Write for Noise {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut buffer = [0; FRAME_MAX_BYTES];
        assert_eq!(Line::new(Noise).receive(&mut buffer).unwrap(), None);
    }
}
