//! A request of a program as it comes in on the operator's console: nothing of it is shown, completed, or kept.
//!
//! It begins where the first byte of a line is `{`, and ends with the line. What a person types may lose a byte that means nothing and
//! is looked at before Return; nobody looks at this. So a byte that has no place in a request, or one too many, spoils all of
//! it: what is left is never carried out.

use super::json::RequestError;

/// Bytes of a request, without its end: a pool of a hundred disks by their identities. Less than a terminal of the kernel keeps for
/// whoever reads it late (`N_TTY_BUF_SIZE` of `drivers/tty/n_tty.c`, 4096).
pub(super) const REQUEST_BYTES: usize = 4000;

/// What a byte came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// The request goes on.
    More,
    /// Its line has ended.
    Whole(Result<String, RequestError>),
    /// Ctrl-C: it was thrown away.
    Cancelled,
}

/// A request that has begun.
#[derive(Debug)]
pub(super) struct Unseen {
    line: String,
    spoilt: Option<RequestError>,
}

impl Unseen {
    /// Its first byte was `{`.
    pub(super) fn begin() -> Unseen {
        Unseen {
            line: "{".to_owned(),
            spoilt: None,
        }
    }

    /// Takes one byte. Behind anything but [`Fed::More`] it is over.
    pub(super) fn feed(&mut self, byte: u8) -> Fed {
        const CTRL_C: u8 = 3;
        match byte {
            b'\r' | b'\n' => {
                let line = std::mem::take(&mut self.line);
                return Fed::Whole(self.spoilt.take().map_or(Ok(line), Err));
            }
            CTRL_C => return Fed::Cancelled,
            0x20..0x7f | b'\t' if self.line.len() < REQUEST_BYTES => {
                self.line.push(char::from(byte));
            }
            0x20..0x7f | b'\t' => self.spoil(RequestError::Long {
                most: REQUEST_BYTES,
            }),
            _ => self.spoil(RequestError::Byte {
                byte,
                column: self.line.len() + 1,
            }),
        }
        Fed::More
    }

    /// The first reason counts.
    fn spoil(&mut self, why: RequestError) {
        self.spoilt.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::editor::{Editor, Event};
    use super::*;

    const REQUEST: &str = "{\"command\":\t\"status\"}";

    fn feed(editor: &mut Editor, bytes: &[u8]) -> (Vec<Event>, String) {
        let mut out = String::new();
        let events = bytes
            .iter()
            .filter_map(|byte| editor.feed(*byte, &mut out))
            .collect();
        (events, out)
    }

    fn line(text: &str) -> Event {
        Event::Line(text.to_owned())
    }

    #[test]
    fn a_request_is_neither_shown_nor_completed_nor_kept() {
        let mut editor = Editor::new("orthrus a> ".to_owned());
        feed(&mut editor, b"status\r\n");
        for before in ["", "  "] {
            let bytes = format!("{before}{REQUEST}\r\n");
            let (events, out) = feed(&mut editor, bytes.as_bytes());
            assert_eq!(events, [line(REQUEST)]);
            assert_eq!(out, format!("{before}\n"));
        }
        let (events, _) = feed(&mut editor, b"\x1b[A\r");
        assert_eq!(events, [line("status")], "what the history has");
        // One that was put together as a line is kept no more.
        let typed = feed(&mut editor, b"x}\x01{\x1b[3~\r\x1b[A\r").0;
        assert_eq!(typed, [line("{}"), line("status")]);
    }

    #[test]
    fn a_request_that_is_too_long_is_refused_and_the_next_one_is_taken() {
        let mut editor = Editor::new(String::new());
        let whole = format!("{{{}", "x".repeat(REQUEST_BYTES - 1));
        let long = format!("{whole}y\r{REQUEST}\r{whole}\n");
        let (events, out) = feed(&mut editor, long.as_bytes());
        let too_long = Event::Refused(RequestError::Long {
            most: REQUEST_BYTES,
        });
        assert_eq!(events, [too_long, line(REQUEST), line(&whole)]);
        assert_eq!(out, "\n\n\n");
        for _ in 0..100_000 {
            assert_eq!(feed(&mut editor, b"{").0, []);
        }
        assert!(format!("{editor:?}").len() < 2 * REQUEST_BYTES);
    }

    #[test]
    fn a_byte_that_has_no_place_in_it_spoils_all_of_it() {
        for byte in [0, 0x08, 0x15, 0x1b, 0x7f, 0x80, 0xff] {
            let mut editor = Editor::new(String::new());
            let bytes = [
                b"{\"command\":",
                &[byte][..],
                b"\"reboot\"}\x00\r",
                b"links\r",
            ];
            let (events, _) = feed(&mut editor, &bytes.concat());
            let spoilt = RequestError::Byte { byte, column: 12 };
            assert_eq!(events, [Event::Refused(spoilt), line("links")]);
        }
    }

    #[test]
    fn ctrl_c_throws_it_away_whatever_it_is_in() {
        let mut editor = Editor::new(String::new());
        for before in [&b"{\"command\":\"reb"[..], b"{\xff", b"rebo", b"\x1b[", b""] {
            let bytes = [before, b"\x03", REQUEST.as_bytes(), b"\n"].concat();
            let (events, _) = feed(&mut editor, &bytes);
            assert_eq!(events, [Event::Cancelled, line(REQUEST)], "{before:?}");
        }
    }

    #[test]
    fn a_line_that_was_cut_is_not_taken() {
        let mut editor = Editor::new(String::new());
        let paste = format!("pool create tank {}\r", "sda ".repeat(60));
        let (events, _) = feed(&mut editor, format!("{paste}status\r").as_bytes());
        assert_eq!(events, [Event::Cut, line("status")]);
        // Nor does it become whole by way of the history, or when one byte is taken off.
        for edited in ["\x1b[A\x1b[B", "\x7f"] {
            let bytes = [&[b'x'; 300][..], edited.as_bytes(), b"\r"].concat();
            assert_eq!(feed(&mut editor, &bytes).0, [Event::Cut]);
        }
        assert_eq!(feed(&mut editor, b"y\x1b[A\r").0, [line("status")]);
        // Whoever makes room for the rest has seen it.
        let bytes = [&[b'x'; 300][..], b"\x15status\r"].concat();
        assert_eq!(feed(&mut editor, &bytes).0, [line("status")]);
    }
}
