//! Attaching a terminal to a console.

use std::io::{IsTerminal, Read};

use crate::Lab;
use crate::names::Machine;
use crate::request::Request;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Ctrl-], as in telnet: leaves the console.
const LEAVE: u8 = 0x1d;

/// Passes keys to a machine's console and shows what it prints, until Ctrl-] or the end of input.
pub fn attach(lab: &Lab, machine: Machine) -> anyhow::Result<i32> {
    let raw = Raw::enter()?;
    if raw.is_some() {
        eprint!("attached to {machine}; Ctrl-] leaves\r\n");
    }
    // The lab closes a console when its input ends: that is how leaving works.
    let keys = Keys {
        stdin: std::io::stdin(),
        left: false,
    };
    let outcome = lab.console(machine, keys, &mut std::io::stdout());
    drop(raw);
    println!();
    outcome.map(|()| 0)
}

/// Keys up to the one that leaves.
struct Keys {
    stdin: std::io::Stdin,
    left: bool,
}

impl Read for Keys {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left {
            return Ok(0);
        }
        let count = self.stdin.read(buffer)?;
        let leave = buffer[..count].iter().position(|&key| key == LEAVE);
        self.left = leave.is_some();
        Ok(leave.unwrap_or(count))
    }
}

/// A terminal in raw mode, for as long as this lives.
struct Raw(Termios);

impl Raw {
    fn enter() -> anyhow::Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Lab {
    /// Attaches to a console: input is typed, what is printed goes to `output`, until input ends.
    pub fn console(
        &self,
        machine: Machine,
        input: impl Read + Send + 'static,
        output: &mut impl std::io::Write,
    ) -> anyhow::Result<()> {
        match self.stream(
            &Request::Console(machine),
            input,
            output,
            &mut std::io::sink(),
        ) {
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
