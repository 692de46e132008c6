//! The control port: the console's commands for programs, on a serial line of their own, where no log
//! line ever mixes in.
//!
//! # Protocol
//!
//! ```text
//! request:  ID COMMAND...\n                     "17 status --json\n"
//! answer:   \x02 ID CODE LENGTH \n              "\x0217 0 5\n"
//!           LENGTH bytes \x03 \n                "hello\x03\n"
//! ```
//!
//! A command may be one line of JSON as well, with JSON as its answer: [`super::json`].
//!
//! ID is a number of 1 to 10 digits that the client chooses and the answer repeats; CODE is the exit status
//! (0 done, 1 refused, 2 not understood); the payload is text, or JSON with `--json`. Requests are answered
//! one after the other, in order. A command that asks on the console is refused without `--yes`.
//!
//! Finding each other after noise: a client begins with an empty line, which ends whatever noise was on
//! the line before; then it skips to the `\x02` that is followed by its own ID, and takes the answer only if
//! `\x03` stands where LENGTH says. A request line that is too long, holds other than printable bytes or has
//! no ID is dropped in silence: nobody could tell whose answer it was, and answering noise with noise would
//! keep two confused ends busy for ever. CR is taken as LF.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{Operator, Outcome, Reply, carry_out};
use crate::serial::{self, SerialError, Waiting};

/// Bytes of a request line, without its end.
const REQUEST_BYTES: usize = 1024;
/// A line that cannot be read is tried again after this time: its hardware may be gone for good.
const RETRY: Duration = Duration::from_secs(5);

/// Collects request lines from bytes.
#[derive(Debug, Default)]
struct Framer {
    line: Vec<u8>,
    /// The line is spoilt: drop what comes until it ends.
    spoilt: bool,
}

/// A request as it came in.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    id: u32,
    command: String,
}

impl Framer {
    fn feed(&mut self, byte: u8) -> Option<Frame> {
        match byte {
            b'\n' | b'\r' => {
                let line = std::mem::take(&mut self.line);
                let spoilt = std::mem::take(&mut self.spoilt);
                return if spoilt { None } else { parse(&line) };
            }
            0x20..0x7f | b'\t' if self.line.len() < REQUEST_BYTES => self.line.push(byte),
            _ => self.spoilt = true,
        }
        None
    }
}

fn parse(line: &[u8]) -> Option<Frame> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let (id, command) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if id.is_empty() || id.len() > 10 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Frame {
        id: id.parse().ok()?,
        command: command.trim().to_owned(),
    })
}

fn answer(frame: &Frame, operator: &dyn Operator) -> Vec<u8> {
    let (reply, json) = match carry_out(operator, &frame.command) {
        Outcome::Answer(reply, json) => (reply, json),
        Outcome::Nothing => (Reply::usage("no command; try help"), false),
        Outcome::Ask(request, question) => (
            Reply::refused(format!("{question} Say it with --yes.")),
            request.json,
        ),
    };
    let payload = reply.payload(json);
    let mut frame = format!("\x02{} {} {}\n", frame.id, reply.code, payload.len()).into_bytes();
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(b"\x03\n");
    frame
}

/// Opens the control port and serves it from a thread of its own, for ever.
pub fn start(line: &str, operator: Arc<dyn Operator>) -> Result<(), SerialError> {
    let mut port = serial::open(line, Waiting::Allowed)?;
    let name = line.to_owned();
    let run = move || {
        let mut framer = Framer::default();
        let mut buffer = [0u8; 256];
        let mut said = false;
        loop {
            let length = match port.read(&mut buffer) {
                Ok(length) if length > 0 => length,
                bad => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("control port {name}: cannot read: {bad:?}");
                    }
                    thread::sleep(RETRY);
                    continue;
                }
            };
            said = false;
            for byte in &buffer[..length] {
                if let Some(frame) = framer.feed(*byte)
                    && let Err(error) = port.write_all(&answer(&frame, operator.as_ref()))
                {
                    tracing::warn!("control port {name}: cannot write: {error}");
                }
            }
        }
    };
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|errno| SerialError {
            device: line.to_owned(),
            step: "start its thread",
            errno,
        })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Fake, *};

    fn frames(bytes: &[u8]) -> Vec<Frame> {
        let mut framer = Framer::default();
        bytes.iter().filter_map(|byte| framer.feed(*byte)).collect()
    }

    fn answered(line: &str) -> String {
        String::from_utf8(answer(&frames(format!("{line}\n").as_bytes())[0], &Fake)).unwrap()
    }

    #[test]
    fn request_is_answered_with_its_id_code_and_length() {
        assert_eq!(answered("17 status"), "\x0217 0 7\nStatus\n\x03\n");
        let json = answered("4000000000 status --json");
        assert!(json.starts_with("\x024000000000 0 "), "{json:?}");
        assert!(json.contains("\"ran\": true"));
    }

    #[test]
    fn nonsense_is_code_2_and_a_destructive_command_needs_yes() {
        assert!(answered("1 frobnicate").starts_with("\x021 2 "));
        assert!(answered("1").starts_with("\x021 2 "));
        let refused = answered("2 reboot");
        assert!(
            refused.starts_with("\x022 1 ") && refused.contains("--yes"),
            "{refused:?}"
        );
        assert!(answered("3 reboot --yes").starts_with("\x023 0 "));
    }

    #[test]
    fn a_command_may_be_json_too() {
        let answer = "{\"answer\":{\"ran\":true},\"code\":0}\n";
        let wanted = format!("\x027 0 {}\n{answer}\x03\n", answer.len());
        assert_eq!(answered("7 {\"command\":\"status\"}"), wanted);
        assert!(answered("8 {\"command\":\"reboot\"}").starts_with("\x028 1 "));
        assert!(answered("9 {\"command\"").starts_with("\x029 2 "));
    }

    #[test]
    fn request_after_noise_and_an_empty_line_is_found() {
        for noise in [
            &b"\xff\x00\xfe"[..],
            b"12 sta",
            b"\x02\x03\x1b[A",
            &[b'9'; 5000],
            &[0x80; 5000],
        ] {
            let bytes = [noise, b"\n", b"17 pools\r\n"].concat();
            let found = frames(&bytes);
            assert_eq!(
                found.last(),
                Some(&Frame {
                    id: 17,
                    command: "pools".to_owned()
                })
            );
            assert_eq!(found.iter().filter(|frame| frame.id == 17).count(), 1);
        }
    }

    #[test]
    fn lines_without_an_id_are_dropped_and_memory_is_bounded() {
        assert!(frames(b"status\n-1 status\n99999999999 status\n\n  \n5000000000 x\n").is_empty());
        let mut framer = Framer::default();
        for _ in 0..100_000 {
            assert_eq!(framer.feed(b'1'), None);
        }
        assert!(framer.line.len() <= REQUEST_BYTES);
    }
}
