//! The serial console and the control port: one set of commands, two ways to reach it.
//!
//! - [`command`]: the commands, their parser, `help`.
//! - `volume`: the arguments of the command that has many.
//! - `json`: a command as one line of JSON.
//! - [`terminal`]: the operator's console on ttyS0: prompt, line editing, history, completion, log lines.
//! - [`control`]: the control port for programs: one request line, one framed answer.
//!
//! Both hand a parsed [`Request`] to an [`Operator`], which is the rest of `init`. What needs nothing of
//! it (`help`, `log`, errors, the question before a destructive command) is answered here. Nothing that
//! arrives on a line may hurt: every buffer is bounded, every byte has a meaning or none.

mod client;
pub mod command;
mod complete;
pub mod control;
mod editor;
mod json;
mod pool;
pub mod terminal;
mod unseen;
mod volume;

use serde_json::{Value, json};

pub use command::{Command, Rehearsal, Request};

/// Exit status: done.
pub const DONE: u8 = 0;
/// Exit status: understood, and refused or failed.
pub const REFUSED: u8 = 1;
/// Exit status: not understood.
pub const USAGE: u8 = 2;

/// The answer to a command: the same in words and as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// For people. May have several lines.
    pub text: String,
    /// For programs.
    pub json: Value,
    /// [`DONE`], [`REFUSED`] or [`USAGE`].
    pub code: u8,
}

impl Reply {
    /// The command was done, or its question answered.
    pub fn done(text: impl Into<String>, json: Value) -> Reply {
        Reply {
            text: text.into(),
            json,
            code: DONE,
        }
    }

    /// The command was understood, and not done, for this reason.
    pub fn refused(why: impl std::fmt::Display) -> Reply {
        Reply::failed(why.to_string(), REFUSED)
    }

    fn usage(why: impl std::fmt::Display) -> Reply {
        Reply::failed(why.to_string(), USAGE)
    }

    fn failed(text: String, code: u8) -> Reply {
        let json = json!({ "error": text });
        Reply { text, json, code }
    }

    /// What is printed: text or JSON as asked for, always ending in a newline.
    pub fn payload(&self, json: bool) -> String {
        let mut payload = if json {
            format!("{:#}", self.json)
        } else {
            self.text.clone()
        };
        if !payload.ends_with('\n') {
            payload.push('\n');
        }
        payload
    }
}

/// The rest of `init`, as the consoles see it. Commands of both lines may run at the same time.
pub trait Operator: Send + Sync {
    /// Does what is asked, however long that takes, and says how it went. `help` and `log` never arrive
    /// here, and a command with a question only after a yes.
    fn run(&self, request: &Request) -> Reply;

    /// The name of this head, for the prompt; `None` as long as it is not known.
    fn head(&self) -> Option<String> {
        None
    }

    /// The names of the pools, for completion.
    fn pools(&self) -> Vec<String> {
        Vec::new()
    }

    /// The question to ask before this is done. An operator who knows that nothing would be lost may
    /// answer `None`.
    fn question(&self, request: &Request) -> Option<String> {
        request.command.question().map(str::to_owned)
    }
}

/// What a line comes to before anybody is asked.
enum Outcome {
    /// Nothing was said.
    Nothing,
    /// The answer, and whether it is wanted as JSON.
    Answer(Reply, bool),
    /// This must be confirmed first.
    Ask(Request, String),
}

/// Carries out a line, as far as that goes without asking.
fn carry_out(operator: &dyn Operator, line: &str) -> Outcome {
    if json::is_request(line) {
        return Outcome::Answer(json::carry_out(operator, line), false);
    }
    let request = match command::parse(line) {
        Ok(Some(request)) => request,
        Ok(None) => return Outcome::Nothing,
        // JSON as far as that can be known of a line that was not understood.
        Err(error) => {
            let json = line.split_ascii_whitespace().any(|word| word == "--json");
            return Outcome::Answer(Reply::usage(error), json);
        }
    };
    if !request.yes
        && let Some(question) = operator.question(&request)
    {
        return Outcome::Ask(request, question);
    }
    let reply = perform(operator, &request);
    Outcome::Answer(reply, request.json)
}

/// Performs a request that needs no more asking.
fn perform(operator: &dyn Operator, request: &Request) -> Reply {
    match request.command {
        Command::Help => Reply::done(command::help(), json!({ "commands": command::names() })),
        Command::Log { lines } => {
            let recent = crate::log::recent(lines);
            let text = recent
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>();
            Reply::done(text, json!({ "lines": recent }))
        }
        _ => operator.run(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) struct Fake;

    impl Operator for Fake {
        fn run(&self, request: &Request) -> Reply {
            Reply::done(format!("{:?}", request.command), json!({ "ran": true }))
        }

        fn pools(&self) -> Vec<String> {
            vec!["tank".to_owned(), "tape".to_owned()]
        }
    }

    #[test]
    fn destructive_command_is_asked_about_unless_told_yes() {
        assert!(matches!(carry_out(&Fake, "reboot"), Outcome::Ask(..)));
        assert!(matches!(
            carry_out(&Fake, "takeover tank"),
            Outcome::Ask(..)
        ));
        assert!(matches!(
            carry_out(&Fake, "reboot --yes"),
            Outcome::Answer(Reply { code: DONE, .. }, _)
        ));
        assert!(matches!(
            carry_out(&Fake, "status"),
            Outcome::Answer(Reply { code: DONE, .. }, _)
        ));
    }

    #[test]
    fn what_is_not_understood_is_code_2_with_json_when_asked() {
        let Outcome::Answer(reply, json) = carry_out(&Fake, "frobnicate --json") else {
            panic!("no answer");
        };
        assert_eq!((reply.code, json), (USAGE, true));
        assert!(reply.payload(true).contains("frobnicate"));
        assert!(reply.payload(false).ends_with('\n'));
    }
}
