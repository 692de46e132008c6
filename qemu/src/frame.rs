//! Frames: how the lab talks to its guest agent (over a virtio serial port) and to other shells
//! (over a unix socket). One shape for both, because both carry the same thing: a command's input,
//! its output, its exit status, several of them at once.
//!
//! A frame is `"OL"`, kind (u8), channel (u32 LE), length (u32 LE), payload. The two magic bytes are
//! there because a serial port may hold the rest of a frame from before a reboot: a reader that sees
//! anything else skips forward to the next magic instead of believing a length.

use std::io::{self, Read, Write};

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Are you there? Answered by another `Hello`.
    Hello = 1,
    /// Opens a channel: JSON, an [`Exec`](crate::guest::Exec) or a request.
    Open = 2,
    /// Bytes for the command's standard input.
    Stdin = 3,
    /// The end of its standard input.
    StdinEnd = 4,
    /// Bytes from its standard output.
    Stdout = 5,
    /// Bytes from its standard error.
    Stderr = 6,
    /// Its exit status: i32 LE. Closes the channel.
    Exit = 7,
    /// End the command (SIGKILL to its process group).
    Kill = 8,
    /// The answer to a request: JSON. Closes the channel.
    Reply = 9,
    /// A request that failed: text. Closes the channel.
    Failure = 10,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Open,
            3 => Self::Stdin,
            4 => Self::StdinEnd,
            5 => Self::Stdout,
            6 => Self::Stderr,
            7 => Self::Exit,
            8 => Self::Kill,
            9 => Self::Reply,
            10 => Self::Failure,
            _ => return None,
        })
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which command or request it belongs to.
    pub channel: u32,
    /// What it means.
    pub kind: Kind,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Longest payload: larger output is sent in pieces, so a longer one is a sign of garbage.
pub const PAYLOAD_MAX_BYTES: usize = 1 << 20;

const MAGIC: [u8; 2] = *b"OL";
const HEADER_BYTES: usize = 11;

impl Frame {
    /// A frame.
    pub fn new(channel: u32, kind: Kind, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            channel,
            kind,
            payload: payload.into(),
        }
    }

    /// Writes the frame in one call, so that frames of several threads behind one lock never mix.
    pub fn write(&self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.channel.to_le_bytes());
        bytes.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Reads the next frame; `Ok(None)` at the end of the stream.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        loop {
            if !skip_to_magic(from)? {
                return Ok(None);
            }
            let mut header = [0u8; HEADER_BYTES - 2];
            if !read_full(from, &mut header)? {
                return Ok(None);
            }
            let length = u32::from_le_bytes([header[5], header[6], header[7], header[8]]) as usize;
            let Some(kind) = Kind::from_byte(header[0]).filter(|_| length <= PAYLOAD_MAX_BYTES)
            else {
                continue; // garbage that looked like a beginning
            };
            let mut payload = vec![0; length];
            if !read_full(from, &mut payload)? {
                return Ok(None);
            }
            let channel = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
            return Ok(Some(Self {
                channel,
                kind,
                payload,
            }));
        }
    }

    /// The exit status in an `Exit` frame; -1 if it is none.
    pub fn exit_status(&self) -> i32 {
        self.payload
            .as_slice()
            .try_into()
            .map_or(-1, i32::from_le_bytes)
    }

    /// The payload as text for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

fn skip_to_magic(from: &mut impl Read) -> io::Result<bool> {
    let mut byte = [0u8];
    let mut seen = 0;
    while seen < MAGIC.len() {
        if !read_full(from, &mut byte)? {
            return Ok(false);
        }
        seen = if byte[0] == MAGIC[seen] {
            seen + 1
        } else {
            usize::from(byte[0] == MAGIC[0])
        };
    }
    Ok(true)
}

fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_garbage_before_it() {
        let frame = Frame::new(7, Kind::Stdout, b"hello".as_slice());
        let mut bytes = b"rubbish OOL\xffxxxxxxxx".to_vec();
        frame.write(&mut bytes).unwrap();
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), Some(frame));
    }

    #[test]
    fn frames_come_out_in_order_and_then_the_end() {
        let mut bytes = Vec::new();
        let frames = [
            Frame::new(1, Kind::Open, b"{}".as_slice()),
            Frame::new(u32::MAX, Kind::Exit, 3i32.to_le_bytes()),
        ];
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut reader = bytes.as_slice();
        assert_eq!(Frame::read(&mut reader).unwrap().as_ref(), Some(&frames[0]));
        let exit = Frame::read(&mut reader).unwrap().unwrap();
        assert_eq!(exit.exit_status(), 3);
        assert_eq!(Frame::read(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_torn_frame_is_the_end_and_not_an_error() {
        let mut bytes = Vec::new();
        Frame::new(1, Kind::Stdout, vec![0; 100])
            .write(&mut bytes)
            .unwrap();
        bytes.truncate(50);
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), None);
    }
}
