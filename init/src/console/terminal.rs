//! The operator's console: prompt, line, answers, and log lines that do not disturb them.
//!
//! Two threads share one screen. One reads keys and runs commands; the other prints log lines: it takes
//! the row of the prompt away, prints, and puts it back as it was. While a command runs there is no prompt,
//! and the log goes on. A line slower than the log is not waited for: what it missed is counted.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    Operator, Outcome, Request, carry_out,
    complete::{Completion, complete},
    editor::{Editor, Event, LINE_BYTES},
    json, perform,
};
use crate::{
    log,
    serial::{self, SerialError, Waiting},
};

/// Log lines printed at once: a screen and a bit. Who is behind by more reads `log` instead.
const LOG_BURST: usize = 40;
/// How often the log's thread looks up without news; it only bounds how long a thread sleeps.
const LOG_PATIENCE: Duration = Duration::from_secs(60);
/// A line that cannot be read is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What the row of the prompt shows.
#[derive(Debug)]
enum Mode {
    /// The line that is being typed.
    Editing,
    /// A question.
    Asking(Question),
    /// A command runs: no prompt.
    Running,
}

/// A question, and what a yes leads to.
#[derive(Debug)]
struct Question {
    request: Request,
    text: String,
    /// What was typed so far; a few bytes, because only `y` and `yes` mean anything.
    answer: String,
}

/// Bytes of an answer that are looked at and shown.
const ANSWER_BYTES: usize = 8;

/// What both threads share.
#[derive(Debug)]
struct Screen<Out> {
    out: Out,
    editor: Editor,
    mode: Mode,
}

/// A command that the screen's owner must run, without holding the screen.
#[derive(Debug, PartialEq, Eq)]
enum Todo {
    Line(String),
    Confirmed(Request),
}

impl<Out: io::Write> Screen<Out> {
    fn new(out: Out, prompt: String) -> Screen<Out> {
        Screen {
            out,
            editor: Editor::new(prompt),
            mode: Mode::Editing,
        }
    }

    /// Errors are dropped: there is nobody to tell but the one who cannot be reached, and the log has
    /// its ring.
    fn print(&mut self, text: &str) {
        let _ = self.out.write_all(text.replace('\n', "\r\n").as_bytes());
        let _ = self.out.flush();
    }

    fn draw_row(&self, out: &mut String) {
        match &self.mode {
            Mode::Editing => self.editor.draw(out),
            Mode::Asking(question) => {
                out.push('\r');
                out.push_str(&question.text);
                out.push_str(" [y/N] ");
                out.push_str(&question.answer);
            }
            Mode::Running => {}
        }
    }

    /// Prints text above the row of the prompt.
    fn print_above(&mut self, text: &str) {
        let mut out = match self.mode {
            Mode::Running => String::new(),
            _ => "\r\x1b[K".to_owned(),
        };
        out.push_str(text);
        self.draw_row(&mut out);
        self.print(&out);
    }

    /// Takes one byte from the operator.
    fn feed(&mut self, byte: u8, operator: &dyn Operator) -> Option<Todo> {
        if let Mode::Asking(question) = &mut self.mode {
            let mut out = String::new();
            let answer = question.feed(byte, &mut out);
            self.print(&out);
            return answer.and_then(|yes| self.answered(yes));
        }
        let mut out = String::new();
        let event = self.editor.feed(byte, &mut out);
        let todo = match event {
            None => None,
            Some(Event::Line(line)) => {
                self.mode = Mode::Running;
                Some(Todo::Line(line))
            }
            Some(Event::Cut) => {
                out.push_str(&format!(
                    "The line was longer than {LINE_BYTES} bytes, and nothing of it was done. A request of JSON takes more: see README.\n"
                ));
                self.editor.draw(&mut out);
                None
            }
            Some(Event::Refused(why)) => {
                out.push_str(&json::refusal(None, &why).payload(false));
                self.editor.draw(&mut out);
                None
            }
            Some(Event::Cancelled) => {
                self.editor.draw(&mut out);
                None
            }
            Some(Event::End) => {
                out.push_str("\nThere is nothing to leave here; `help` lists what can be done.\n");
                self.editor.draw(&mut out);
                None
            }
            Some(Event::Clear) => {
                out.push_str("\x1b[2J\x1b[H");
                self.editor.draw(&mut out);
                None
            }
            Some(Event::Tab) => {
                match complete(self.editor.before_cursor(), &operator.pools()) {
                    Completion::Nothing => out.push('\x07'),
                    Completion::Insert(text) => self.editor.insert(&text, &mut out),
                    Completion::Choices(choices) => {
                        out.push_str(&format!("\n{}\n", choices.join("  ")));
                        self.editor.draw(&mut out);
                    }
                }
                None
            }
        };
        self.print(&out);
        todo
    }

    /// Leaves the question.
    fn answered(&mut self, yes: bool) -> Option<Todo> {
        if yes && let Mode::Asking(question) = std::mem::replace(&mut self.mode, Mode::Running) {
            return Some(Todo::Confirmed(question.request));
        }
        self.print("Not done.\n");
        self.back_to_prompt();
        None
    }

    fn back_to_prompt(&mut self) {
        self.mode = Mode::Editing;
        let mut out = String::new();
        self.editor.draw(&mut out);
        self.print(&out);
    }
}

impl Question {
    fn new(request: Request, text: String) -> Question {
        Question {
            request,
            text,
            answer: String::new(),
        }
    }

    /// Takes one byte of the answer. Only a whole line of `y` or `yes` is a yes: noise must not be.
    fn feed(&mut self, byte: u8, out: &mut String) -> Option<bool> {
        const CTRL_C: u8 = 3;
        match byte {
            // The LF of the Return that ended the command arrives here on some terminals.
            b'\n' if self.answer.is_empty() => return None,
            b'\r' | b'\n' => {
                out.push('\n');
                let answer = self.answer.trim();
                return Some(
                    ["y", "yes"]
                        .iter()
                        .any(|yes| answer.eq_ignore_ascii_case(yes)),
                );
            }
            CTRL_C => {
                out.push_str("^C\n");
                return Some(false);
            }
            0x08 | 0x7f => {
                if self.answer.pop().is_some() {
                    out.push_str("\x08 \x08");
                }
            }
            0x20..0x7f if self.answer.len() < ANSWER_BYTES => {
                self.answer.push(char::from(byte));
                out.push(char::from(byte));
            }
            // What is not shown spoils the answer all the same.
            _ => self.answer = "?".repeat(ANSWER_BYTES),
        }
        None
    }
}

fn prompt(operator: &dyn Operator) -> String {
    match operator.head() {
        Some(head) => format!("orthrus {head}> "),
        None => "orthrus> ".to_owned(),
    }
}

/// Runs what was typed, with the screen free for the log meanwhile.
fn run<Out: io::Write>(screen: &Mutex<Screen<Out>>, operator: &dyn Operator, todo: Todo) {
    let (reply, json) = match todo {
        Todo::Confirmed(request) => (Some(perform(operator, &request)), request.json),
        Todo::Line(line) => match carry_out(operator, &line) {
            Outcome::Nothing => (None, false),
            Outcome::Answer(reply, json) => (Some(reply), json),
            Outcome::Ask(request, question) => {
                let mut screen = lock(screen);
                screen.mode = Mode::Asking(Question::new(request, question));
                let mut out = String::new();
                screen.draw_row(&mut out);
                screen.print(&out);
                return;
            }
        },
    };
    let mut screen = lock(screen);
    if let Some(reply) = reply {
        screen.print(&reply.payload(json));
    }
    screen.editor.set_prompt(prompt(operator));
    screen.back_to_prompt();
}

/// A screen is usable whatever happened to its last user: at worst one row is drawn twice.
fn lock<Out>(screen: &Mutex<Screen<Out>>) -> MutexGuard<'_, Screen<Out>> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the console and serves it from threads of its own, for ever. The log is printed from its first
/// line on, so that a console which starts late shows the whole boot.
pub fn start(line: &str, operator: Arc<dyn Operator>) -> Result<(), SerialError> {
    let mut keys = serial::open(line, Waiting::Allowed)?;
    let failed = |step| {
        let device = line.to_owned();
        move |errno| SerialError {
            device,
            step,
            errno,
        }
    };
    let out = keys.try_clone().map_err(failed("open it twice"))?;
    let screen = Arc::new(Mutex::new(Screen::new(out, prompt(operator.as_ref()))));
    let shown = Arc::clone(&screen);
    thread::Builder::new()
        .name("console-log".to_owned())
        .spawn(move || show_log(&shown))
        .map_err(failed("start its log thread"))?;
    thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || read_keys(&mut keys, &screen, operator.as_ref()))
        .map_err(failed("start its thread"))?;
    Ok(())
}

fn read_keys(keys: &mut File, screen: &Mutex<Screen<File>>, operator: &dyn Operator) {
    lock(screen).back_to_prompt();
    let mut buffer = [0u8; 64];
    let mut said = false;
    loop {
        let length = match keys.read(&mut buffer) {
            Ok(length) if length > 0 => length,
            bad => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("console: cannot read: {bad:?}");
                }
                thread::sleep(RETRY);
                continue;
            }
        };
        said = false;
        for byte in &buffer[..length] {
            let todo = lock(screen).feed(*byte, operator);
            if let Some(todo) = todo {
                run(screen, operator, todo);
            }
        }
    }
}

fn show_log(screen: &Mutex<Screen<File>>) {
    let mut next = 0;
    loop {
        let batch = log::follow(next, LOG_BURST, LOG_PATIENCE);
        next = batch.next;
        let mut text = String::new();
        if batch.skipped > 0 {
            text.push_str(&format!(
                "... {} lines not shown here; see `log`\n",
                batch.skipped
            ));
        }
        for line in &batch.lines {
            text.push_str(&format!("{line}\n"));
        }
        if !text.is_empty() {
            lock(screen).print_above(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Fake, *};

    fn screen() -> Mutex<Screen<Vec<u8>>> {
        Mutex::new(Screen::new(Vec::new(), prompt(&Fake)))
    }

    /// Types, as the reading thread does, and returns what was printed.
    fn typed(screen: &Mutex<Screen<Vec<u8>>>, bytes: &[u8]) -> String {
        for byte in bytes {
            let todo = lock(screen).feed(*byte, &Fake);
            if let Some(todo) = todo {
                run(screen, &Fake, todo);
            }
        }
        String::from_utf8(std::mem::take(&mut lock(screen).out)).unwrap()
    }

    #[test]
    fn command_is_answered_and_the_prompt_comes_back() {
        let out = typed(&screen(), b"status\r");
        assert_eq!(out, "status\r\nStatus\r\n\rorthrus> \x1b[K");
    }

    #[test]
    fn log_line_appears_above_what_is_being_typed() {
        let screen = screen();
        typed(&screen, b"hando");
        lock(&screen).print_above("[    1.000000] info  a disk\n");
        let out = String::from_utf8(std::mem::take(&mut lock(&screen).out)).unwrap();
        assert_eq!(
            out,
            "\r\x1b[K[    1.000000] info  a disk\r\n\rorthrus> hando\x1b[K"
        );
        assert!(typed(&screen, b"\tt\t\t\r").contains("tank  tape"));
    }

    #[test]
    fn destructive_command_runs_only_after_a_yes() {
        let screen = screen();
        let asked = typed(&screen, b"reboot\r\n");
        assert!(
            asked.contains("[y/N]") && !asked.contains("Reboot\r\n"),
            "{asked:?}"
        );
        assert!(!typed(&screen, b"y").contains("Reboot"));
        assert!(typed(&screen, b"es\r").contains("Reboot\r\n"));
        for no in [
            &b"\r"[..],
            b"n\r",
            b"\x03",
            b"yesno\r",
            b"\xff\xfey\r",
            b"y\x7f\r",
        ] {
            typed(&screen, b"reboot\r\n");
            let refused = typed(&screen, no);
            assert!(refused.contains("Not done.\r\n"), "{no:?}: {refused:?}");
        }
        assert!(typed(&screen, b"reboot --yes\r").contains("Reboot\r\n"));
    }

    #[test]
    fn a_request_of_a_program_gets_one_line_and_is_never_asked() {
        let screen = screen();
        let prompt = "\rorthrus> \x1b[K";
        for (request, answer) in [
            (
                "{\"id\":3,\"command\":\"status\"}",
                "{\"answer\":{\"ran\":true},\"code\":0,\"id\":3}",
            ),
            (
                "{\"command\":\"reboot\"}",
                "{\"code\":1,\"error\":{\"what\":\"This head releases its pools and restarts. Reboot? Say it with \\\"yes\\\": true\",\"where\":\"options.yes\"}}",
            ),
            (
                "{\"command\":\"stat\x1bus\"}",
                "{\"code\":2,\"error\":{\"what\":\"byte 0x1b has no place in a request, which is of printable ASCII; nothing of it was done\",\"where\":\"column 17\"}}",
            ),
        ] {
            let out = typed(&screen, format!("{request}\r\n").as_bytes());
            assert_eq!(out, format!("\r\n{answer}\r\n{prompt}"));
        }
        // A program that finds a question answers it with its Ctrl-C.
        let out = typed(&screen, b"reboot\r\x03{\"command\":\"help\"}\r");
        assert!(
            out.contains("Not done.\r\n") && out.contains("\r\n{\"answer\":{"),
            "{out:?}"
        );
        let out = typed(&screen, &[b"status ", &[b'x'; 300][..], b"\r"].concat());
        assert!(
            out.contains("nothing of it was done") && !out.contains("Status"),
            "{out:?}"
        );
    }

    #[test]
    fn garbage_leaves_a_working_console() {
        let screen = screen();
        let noise: Vec<u8> = (0..=255u8).cycle().take(5000).collect();
        typed(&screen, &noise);
        assert!(typed(&screen, b"\x03\x15\rstatus\r").contains("Status\r\n"));
        // Also in the middle of a request.
        typed(&screen, &[b"\r{", &noise[..]].concat());
        assert!(typed(&screen, b"\x03\x15\rstatus\r").contains("Status\r\n"));
    }
}
