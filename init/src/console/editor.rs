//! A line editor as a machine: bytes in, events and bytes to print out. It touches no terminal.
//!
//! Decision: our own, not a library. `embedded-cli` fits a serial line well, but its completion knows only
//! the commands of its derive macro (ours completes pool names) and it cannot ask a question in between;
//! `rustyline` and `reedline` want a terminal that tells its size and UTF-8 that is always whole, and both
//! bring their own way of reading, which a log line cannot break into. What is left of the need is small.
//!
//! Only printable ASCII goes into a line: commands and names consist of it, and it makes a byte a column.
//! Everything else is a key, or noise and has no effect. A line that begins with `{` is a program's and has rules of its own: [`super::unseen`]. The line is shown in one row, scrolled sideways:
//! a serial line does not tell how wide its terminal is, and a wrapped row could not be redrawn.

use std::collections::VecDeque;

use super::client;
use super::json::RequestError;
use super::unseen::{Fed, Unseen};

/// Bytes of a line. More are refused with a bell, and the line is not taken until it is changed: what is left of a paste is
/// another command than the one that was meant.
pub(super) const LINE_BYTES: usize = 200;
/// Lines that the history keeps.
const HISTORY_LINES: usize = 50;
/// Columns that are used: one less than the narrowest usual terminal, whose cursor must not wrap.
const COLUMNS: usize = 79;
/// Bytes after which an escape sequence that does not end is given up.
const ESCAPE_BYTES: usize = 16;

const BELL: &str = "\x07";

/// What the editor's owner must do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A line is complete.
    Line(String),
    /// A line lacks something that it had no room for. It is thrown away.
    Cut,
    /// A program's request that is none.
    Refused(RequestError),
    /// Ctrl-C: the line was thrown away.
    Cancelled,
    /// Ctrl-D on an empty line.
    End,
    /// Tab: complete what is before the cursor.
    Tab,
    /// Ctrl-L: clear the screen.
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// ESC was seen.
    Started,
    /// ESC [ or ESC O and some parameters; the first parameter's last digit, and the length.
    Sequence {
        digit: u8,
        length: usize,
    },
}

/// The state of the line that is being typed.
#[derive(Debug)]
pub(super) struct Editor {
    prompt: String,
    line: String,
    cursor: usize,
    escape: Escape,
    /// A program's request that has begun, instead of a line.
    request: Option<Unseen>,
    /// The line had no room for something that was typed.
    is_cut: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_return: bool,
    history: VecDeque<String>,
    /// Which line of the history is shown, and what was typed before it was.
    recalled: Option<usize>,
    draft: String,
    /// That one had no room for something.
    draft_is_cut: bool,
}

impl Editor {
    pub(super) fn new(prompt: String) -> Editor {
        Editor {
            prompt,
            line: String::new(),
            cursor: 0,
            escape: Escape::None,
            request: None,
            is_cut: false,
            after_return: false,
            history: VecDeque::new(),
            recalled: None,
            draft: String::new(),
            draft_is_cut: false,
        }
    }

    pub(super) fn set_prompt(&mut self, prompt: String) {
        self.prompt = prompt;
    }

    /// The line up to the cursor.
    pub(super) fn before_cursor(&self) -> &str {
        &self.line[..self.cursor]
    }

    /// Puts text in at the cursor, as if typed. Refuses, with a bell, what is too long.
    pub(super) fn insert(&mut self, text: &str, out: &mut String) {
        let fits = self.line.len() + text.len() <= LINE_BYTES;
        if !fits || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            out.push_str(BELL);
            return;
        }
        let at_end = self.cursor == self.line.len();
        self.line.insert_str(self.cursor, text);
        self.cursor += text.len();
        if at_end && self.prompt.len() + self.line.len() < COLUMNS {
            // The common case looks right on any terminal, even one that knows no sequences.
            out.push_str(text);
        } else {
            self.draw(out);
        }
    }

    /// Draws prompt, line and cursor into the current row.
    pub(super) fn draw(&self, out: &mut String) {
        let room = COLUMNS.saturating_sub(self.prompt.len()).max(1);
        // Scrolled only as far as the cursor needs.
        let from = (self.cursor + 1).saturating_sub(room);
        let to = self.line.len().min(from + room);
        out.push('\r');
        out.push_str(&self.prompt);
        out.push_str(&self.line[from..to]);
        out.push_str("\x1b[K");
        if self.cursor < to {
            out.push_str(&format!("\x1b[{}D", to - self.cursor));
        }
    }

    /// Takes one byte; what must be printed is added to `out`.
    pub(super) fn feed(&mut self, byte: u8, out: &mut String) -> Option<Event> {
        let after_return = std::mem::take(&mut self.after_return);
        if let Some(request) = &mut self.request {
            let fed = request.feed(byte);
            return self.request_fed(fed, byte, out);
        }
        if self.escape != Escape::None && self.escaped(byte, out) {
            return None;
        }
        match byte {
            b'\r' => {
                self.after_return = true;
                return Some(self.submit(out));
            }
            b'\n' if after_return => {}
            b'\n' => return Some(self.submit(out)),
            b'\t' => return Some(Event::Tab),
            0x1b => self.escape = Escape::Started,
            b'{' if self.line.trim().is_empty() => {
                self.reset();
                self.request = Some(Unseen::begin());
            }
            0x20..0x7f => {
                let before = self.line.len();
                self.insert(char::from(byte).encode_utf8(&mut [0; 4]), out);
                self.is_cut |= self.line.len() == before;
            }
            _ => return self.control(byte, out),
        }
        None
    }

    /// What becomes of a request with its last byte.
    fn request_fed(&mut self, fed: Fed, byte: u8, out: &mut String) -> Option<Event> {
        let event = match fed {
            Fed::More => return None,
            Fed::Cancelled => Event::Cancelled,
            Fed::Whole(Ok(line)) => Event::Line(line),
            Fed::Whole(Err(why)) => Event::Refused(why),
        };
        self.request = None;
        self.after_return = byte == b'\r';
        out.push_str(if event == Event::Cancelled {
            "^C\n"
        } else {
            "\n"
        });
        Some(event)
    }

    fn control(&mut self, byte: u8, out: &mut String) -> Option<Event> {
        const fn ctrl(letter: u8) -> u8 {
            letter - b'@'
        }
        match byte {
            b if b == ctrl(b'C') => {
                self.reset();
                out.push_str("^C\n");
                return Some(Event::Cancelled);
            }
            b if b == ctrl(b'D') && self.line.is_empty() => return Some(Event::End),
            b if b == ctrl(b'D') => self.delete(self.cursor, self.cursor + 1, out),
            b if b == ctrl(b'L') => return Some(Event::Clear),
            b if b == ctrl(b'A') => self.move_to(0, out),
            b if b == ctrl(b'E') => self.move_to(self.line.len(), out),
            b if b == ctrl(b'B') => self.move_to(self.cursor.saturating_sub(1), out),
            b if b == ctrl(b'F') => self.move_to(self.cursor + 1, out),
            b if b == ctrl(b'K') => self.delete(self.cursor, self.line.len(), out),
            b if b == ctrl(b'U') => self.delete(0, self.cursor, out),
            b if b == ctrl(b'W') => self.delete(self.word_start(), self.cursor, out),
            b if b == ctrl(b'P') => self.recall_older(out),
            b if b == ctrl(b'N') => self.recall_newer(out),
            // Backspace and Delete: terminals do not agree on which key sends which.
            0x08 | 0x7f => self.delete(self.cursor.saturating_sub(1), self.cursor, out),
            _ => {}
        }
        None
    }

    /// Takes a byte of an escape sequence. False when the byte belongs to none, and is to be taken as it is.
    fn escaped(&mut self, byte: u8, out: &mut String) -> bool {
        match (self.escape, byte) {
            (Escape::Started, b'[' | b'O') => {
                self.escape = Escape::Sequence {
                    digit: 0,
                    length: 0,
                };
            }
            (Escape::Sequence { length, .. }, _) if length >= ESCAPE_BYTES => {
                self.escape = Escape::None;
                return false;
            }
            (Escape::Sequence { digit, length }, b'0'..=b'?') => {
                let digit = if length == 0 { byte } else { digit };
                self.escape = Escape::Sequence {
                    digit,
                    length: length + 1,
                };
            }
            (Escape::Sequence { digit, .. }, b'@'..=b'~') => {
                self.escape = Escape::None;
                match (byte, digit) {
                    (b'A', _) => self.recall_older(out),
                    (b'B', _) => self.recall_newer(out),
                    (b'C', _) => self.move_to(self.cursor + 1, out),
                    (b'D', _) => self.move_to(self.cursor.saturating_sub(1), out),
                    (b'H', _) | (b'~', b'1' | b'7') => self.move_to(0, out),
                    (b'F', _) | (b'~', b'4' | b'8') => self.move_to(self.line.len(), out),
                    (b'~', b'3') => self.delete(self.cursor, self.cursor + 1, out),
                    _ => {}
                }
            }
            // A lone ESC, or a broken sequence: the byte counts for itself.
            _ => {
                self.escape = Escape::None;
                return false;
            }
        }
        true
    }

    fn submit(&mut self, out: &mut String) -> Event {
        out.push('\n');
        let line = self.line.trim().to_owned();
        let is_cut = self.is_cut;
        self.reset();
        if is_cut {
            return Event::Cut;
        }
        let is_new = !line.is_empty() && self.history.back() != Some(&line);
        if is_new && !client::is_secret(&line) {
            if self.history.len() == HISTORY_LINES {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Event::Line(line)
    }

    fn reset(&mut self) {
        self.line.clear();
        self.is_cut = false;
        self.cursor = 0;
        self.recalled = None;
        self.draft.clear();
    }

    fn move_to(&mut self, column: usize, out: &mut String) {
        self.cursor = column.min(self.line.len());
        self.draw(out);
    }

    fn delete(&mut self, from: usize, to: usize, out: &mut String) {
        let to = to.min(self.line.len());
        if from >= to {
            return;
        }
        self.line.drain(from..to);
        self.is_cut &= !self.line.is_empty();
        self.cursor = from;
        self.draw(out);
    }

    fn word_start(&self) -> usize {
        let before = self.before_cursor().trim_end_matches(' ');
        before.rfind(' ').map_or(0, |at| at + 1)
    }

    fn recall_older(&mut self, out: &mut String) {
        let older = match self.recalled {
            None => self.history.len().checked_sub(1),
            Some(at) => at.checked_sub(1),
        };
        let Some(at) = older else {
            out.push_str(BELL);
            return;
        };
        if self.recalled.is_none() {
            self.draft = std::mem::take(&mut self.line);
            self.draft_is_cut = self.is_cut;
        }
        self.show(Some(at), out);
    }

    fn recall_newer(&mut self, out: &mut String) {
        match self.recalled {
            None => out.push_str(BELL),
            Some(at) if at + 1 < self.history.len() => self.show(Some(at + 1), out),
            Some(_) => self.show(None, out),
        }
    }

    fn show(&mut self, recalled: Option<usize>, out: &mut String) {
        self.recalled = recalled;
        self.is_cut = recalled.is_none() && self.draft_is_cut;
        self.line = match recalled.and_then(|at| self.history.get(at)) {
            Some(line) => line.clone(),
            None => std::mem::take(&mut self.draft),
        };
        self.cursor = self.line.len();
        self.draw(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor() -> Editor {
        Editor::new("orthrus a> ".to_owned())
    }

    fn feed(editor: &mut Editor, bytes: &[u8]) -> (Vec<Event>, String) {
        let mut out = String::new();
        let events = bytes
            .iter()
            .filter_map(|byte| editor.feed(*byte, &mut out))
            .collect();
        (events, out)
    }

    /// The line that comes of typing `bytes` and Return.
    fn typed(bytes: &[u8]) -> String {
        let mut editor = editor();
        feed(&mut editor, bytes);
        match editor.feed(b'\r', &mut String::new()) {
            Some(Event::Line(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_typing_is_echoed_without_sequences() {
        let (events, out) = feed(&mut editor(), b"status\r\n");
        assert_eq!(events, [Event::Line("status".to_owned())]);
        assert_eq!(out, "status\n");
    }

    #[test]
    fn return_newline_and_both_end_one_line() {
        let (events, _) = feed(&mut editor(), b"a\rb\nc\r\nd\r");
        let lines: Vec<_> = ["a", "b", "c", "d"]
            .map(|line| Event::Line(line.to_owned()))
            .into();
        assert_eq!(events, lines);
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(typed(b"statux\x7fs"), "status");
        assert_eq!(typed(b"tatus\x01s"), "status");
        assert_eq!(typed(b"sttus\x1b[D\x1b[D\x1b[Da"), "status");
        assert_eq!(typed(b"sttus\x02\x02\x02\x02\x06a"), "status");
    }

    #[test]
    fn kill_keys_remove_words_and_ends() {
        assert_eq!(typed(b"handover tank  \x17vault"), "handover vault");
        assert_eq!(typed(b"nonsense\x15pools"), "pools");
        assert_eq!(typed(b"links now\x1b[D\x1b[D\x1b[D\x0b"), "links");
        assert_eq!(typed(b"xdisks\x1b[H\x1b[3~"), "disks");
        assert_eq!(typed(b"xdisks\x01\x04"), "disks");
        assert_eq!(typed(b"isks\x1bOHd\x1b[4~"), "disks");
    }

    #[test]
    fn history_goes_back_and_forth_and_keeps_the_draft() {
        let mut editor = editor();
        feed(&mut editor, b"one\rtwo\rtwo\rdra");
        feed(&mut editor, b"\x1b[A");
        assert_eq!(editor.line, "two");
        feed(&mut editor, b"\x10");
        assert_eq!(editor.line, "one");
        let (_, out) = feed(&mut editor, b"\x1b[A");
        assert_eq!((editor.line.as_str(), out.as_str()), ("one", BELL));
        feed(&mut editor, b"\x1b[B\x0e");
        assert_eq!(editor.line, "dra");
        feed(&mut editor, b"\x1b[B");
        assert_eq!(editor.line, "dra");
        for number in 0..200 {
            feed(&mut editor, format!("log {number}\r").as_bytes());
        }
        assert_eq!(editor.history.len(), HISTORY_LINES);
        feed(
            &mut editor,
            b"client add tank iqn.x --user u --password p\r\x1b[A",
        );
        assert_eq!(editor.line, "log 199");
    }

    #[test]
    fn interrupt_throws_the_line_away_and_end_needs_an_empty_one() {
        let mut editor = editor();
        let (events, out) = feed(&mut editor, b"reboot\x03");
        assert_eq!(
            (events, out.as_str()),
            (vec![Event::Cancelled], "reboot^C\n")
        );
        assert_eq!(feed(&mut editor, b"\x04").0, [Event::End]);
        assert_eq!(
            feed(&mut editor, b"x\x04\r").0,
            [Event::Line("x".to_owned())]
        );
    }

    #[test]
    fn very_long_line_is_bounded_and_shown_in_one_row() {
        let mut editor = editor();
        let (_, out) = feed(&mut editor, &[b'x'; 100_000]);
        assert_eq!(editor.line.len(), LINE_BYTES);
        assert!(out.ends_with(BELL));
        let mut row = String::new();
        editor.draw(&mut row);
        assert!(row.len() <= COLUMNS + 8, "{row:?}");
        feed(&mut editor, b"\x01");
        let mut row = String::new();
        editor.draw(&mut row);
        assert!(row.contains("\x1b[68D"), "{row:?}");
    }

    #[test]
    fn garbage_never_hurts_and_the_next_line_works() {
        // A small generator instead of a crate: all byte values in all neighbourhoods, always the same.
        let mut state = 1u32;
        let mut editor = editor();
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut out = String::new();
            editor.feed((state >> 24) as u8, &mut out);
            assert!(editor.line.len() <= LINE_BYTES && editor.cursor <= editor.line.len());
            assert!(editor.line.is_ascii());
        }
        feed(&mut editor, b"\x1b[9999999999999999999999999999\x03");
        assert_eq!(
            feed(&mut editor, b"status\r").0,
            [Event::Line("status".to_owned())]
        );
    }
}
