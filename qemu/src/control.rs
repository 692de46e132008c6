//! A head's control port (its third serial line): the console's commands for programs.
//!
//! Request: `ID COMMAND...\n`. Answer: `\x02ID CODE LEN\n`, LEN bytes, `\x03\n`. The lab numbers its
//! requests and passes over everything that is not the answer to the last one: the rest of an answer
//! to a request that it gave up on, or what a head said before it was reset.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::socket::connect_within;

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its exit status: 0 is success.
    pub code: u8,
    /// Its output.
    pub text: String,
}

/// Longest answer believed.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// How long QEMU may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How often a read looks at the clock.
const POLL: Duration = Duration::from_millis(50);

/// A connection to a head's control port.
pub struct ControlPort {
    socket: PathBuf,
    stream: Option<UnixStream>,
    last_id: u32,
    seen: Vec<u8>,
}

impl ControlPort {
    /// A port behind a socket of QEMU's, connected when first used.
    pub fn new(socket: PathBuf) -> Self {
        // Numbers of an earlier supervisor must not be mistaken for ours: begin somewhere else.
        let last_id = std::process::id().wrapping_mul(7919) % 1_000_000;
        Self {
            socket,
            stream: None,
            last_id,
            seen: Vec::new(),
        }
    }

    /// Forgets the connection: the machine behind it was started again.
    pub fn disconnect(&mut self) {
        self.stream = None;
        self.seen.clear();
    }

    /// Runs a command and waits for its answer.
    pub fn ask(&mut self, command: &str, limit: Duration) -> anyhow::Result<Answer> {
        if command.contains('\n') {
            bail!("a console command is one line");
        }
        let outcome = self.try_ask(command, limit);
        if outcome.is_err() {
            self.disconnect();
        }
        outcome
    }

    fn try_ask(&mut self, command: &str, limit: Duration) -> anyhow::Result<Answer> {
        if self.stream.is_none() {
            let stream = connect_within(&self.socket, CONNECT_LIMIT)
                .context("the head is not running, or QEMU itself does not answer")?;
            stream.set_read_timeout(Some(POLL))?;
            stream.set_write_timeout(Some(Duration::from_secs(2)))?;
            self.stream = Some(stream);
        }
        let stream = self
            .stream
            .as_mut()
            .ok_or_else(|| anyhow!("not connected"))?;
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        // The leading newline ends whatever half a line the head may have been left with.
        stream
            .write_all(format!("\n{id} {command}\n").as_bytes())
            .context("writing to the control port")?;
        let until = Instant::now() + limit;
        let mut buffer = [0; 4096];
        while Instant::now() < until {
            match stream.read(&mut buffer) {
                Ok(0) => bail!("the head went away"),
                Ok(count) => self.seen.extend_from_slice(&buffer[..count]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e).context("reading the control port"),
            }
            while let Some((found, answer)) = take_answer(&mut self.seen) {
                if found == id {
                    return Ok(answer);
                }
            }
        }
        bail!(
            "no answer on the control port within {:.1} s",
            limit.as_secs_f64()
        )
    }
}

/// Takes the first whole answer out of what was read, with everything before it; leaves an
/// unfinished one.
fn take_answer(seen: &mut Vec<u8>) -> Option<(u32, Answer)> {
    loop {
        let Some(start) = seen.iter().position(|&b| b == 2) else {
            seen.clear();
            return None;
        };
        seen.drain(..start);
        let Some(line_end) = seen.iter().position(|&b| b == b'\n') else {
            if seen.len() > 64 {
                seen.remove(0); // no header is that long
                continue;
            }
            return None;
        };
        let Some((id, code, length)) = header(&seen[1..line_end]) else {
            seen.remove(0);
            continue;
        };
        let body = line_end + 1;
        let trailer = seen.get(body + length)?;
        if *trailer != 3 {
            seen.remove(0);
            continue;
        }
        let text = String::from_utf8_lossy(&seen[body..body + length]).into_owned();
        seen.drain(..=body + length);
        return Some((id, Answer { code, text }));
    }
}

fn header(line: &[u8]) -> Option<(u32, u8, usize)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let header = (
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.trim().parse().ok()?,
    );
    (words.next().is_none() && header.2 <= ANSWER_MAX_BYTES).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(bytes: &[u8]) -> Vec<(u32, u8, String)> {
        let (mut seen, mut found) = (Vec::new(), Vec::new());
        // Byte by byte: no answer may depend on how reads fall.
        for &byte in bytes {
            seen.push(byte);
            while let Some((id, answer)) = take_answer(&mut seen) {
                found.push((id, answer.code, answer.text));
            }
        }
        found
    }

    #[test]
    fn answers_come_out_of_noise() {
        let bytes = b"log line\n\x02bad header\n\x021 0 5\nhello\x03\nmore\n\x022 3 0\n\x03\n";
        assert_eq!(
            answers(bytes),
            [(1, 0, "hello".into()), (2, 3, String::new())]
        );
    }

    #[test]
    fn an_answer_may_hold_newlines_and_be_torn_by_a_reset() {
        assert_eq!(
            answers(b"\x027 0 4\na\nb\n\x03\n"),
            [(7, 0, "a\nb\n".into())]
        );
        // The head was reset in the middle: the length leads past the next answer's beginning.
        assert_eq!(
            answers(b"\x027 0 9\nab\x028 1 2\nok\x03\n").last(),
            Some(&(8, 1, "ok".into()))
        );
    }
}
