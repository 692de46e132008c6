//! What the kernel says again and again, said once and counted.
//!
//! One initiator that is refused has the kernel say the same line with every attempt, some a second, for as long as it tries. The
//! ring and the flight record have room for a thousand lines, and what led to a takeover would be washed out of both.
//!
//! A text is kept when it comes; the same one within [`TIME_US`] is counted, and how often it came is said when that time is over. Texts that differ
//! in a number are different ones: a sector, a disk.

use std::collections::VecDeque;
use std::time::Duration;

use super::line::Line;

/// For how long the same text is counted: a flood is a line a minute.
const TIME_US: u64 = 60_000_000;

/// Texts that are remembered: what comes with one refusal is some lines.
const TEXTS: usize = 16;

/// A text that was kept.
struct Text {
    line: Line,
    /// How often it came since.
    times: u64,
}

/// The texts of the last minute.
#[derive(Default)]
pub(super) struct Repeats {
    /// The oldest first.
    texts: VecDeque<Text>,
}

impl Repeats {
    /// A line that came; it is given back when it is to be kept.
    pub(super) fn take(&mut self, line: Line) -> Option<Line> {
        let mut known = self.texts.iter_mut();
        if let Some(text) = known.find(|text| text.line.text == line.text) {
            text.times += 1;
            return None;
        }
        // The count of one that makes room must not be lost, and is said by who asks what is due.
        if self.texts.len() < TEXTS {
            self.texts.push_back(Text {
                line: line.clone(),
                times: 0,
            });
        }
        Some(line)
    }

    /// What is to be said now of texts whose time is over.
    pub(super) fn due(&mut self, now_us: u64) -> Vec<Line> {
        let mut said = Vec::new();
        while let Some(first) = self.texts.front()
            && now_us.saturating_sub(first.line.at_us) >= TIME_US
        {
            let Some(mut text) = self.texts.pop_front() else {
                break;
            };
            if text.times == 0 {
                continue;
            }
            let mut line = text.line.clone();
            line.at_us = now_us;
            line.text = format!("{} ({} times more)", line.text, text.times);
            said.push(line);
            // It may go on: from now on it is counted anew.
            (text.line.at_us, text.times) = (now_us, 0);
            self.texts.push_back(text);
        }
        said
    }

    /// How long it is until something may be due.
    pub(super) fn wait(&self, now_us: u64) -> Option<Duration> {
        let first = self.texts.front()?;
        let due = first.line.at_us.saturating_add(TIME_US);
        Some(Duration::from_micros(due.saturating_sub(now_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Level, Source};

    const SECOND: u64 = 1_000_000;

    fn line(at_s: u64, text: &str) -> Line {
        Line::new(at_s * SECOND, Level::Error, Source::Kernel, text)
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_flood_of_one_text_is_a_line_a_minute_and_how_often_it_came() {
        let mut repeats = Repeats::default();
        let mut kept = Vec::new();
        for at_s in 0..130 {
            kept.extend(repeats.due(at_s * SECOND));
            kept.extend(repeats.take(line(at_s, "refused")));
            kept.extend(repeats.take(line(at_s, "closed")));
        }
        assert_eq!(
            texts(&kept),
            [
                "refused",
                "closed",
                "refused (59 times more)",
                "closed (59 times more)",
                "refused (60 times more)",
                "closed (60 times more)",
            ]
        );
        // When it ends the rest is said, and then nothing more.
        assert_eq!(
            repeats.wait(130 * SECOND),
            Some(Duration::from_secs(50)),
            "the reader is to look then"
        );
        let rest = repeats.due(180 * SECOND);
        assert_eq!(
            texts(&rest),
            ["refused (10 times more)", "closed (10 times more)"]
        );
        assert_eq!(texts(&repeats.due(300 * SECOND)), Vec::<&str>::new());
        assert_eq!(repeats.wait(300 * SECOND), None);
    }

    #[test]
    fn what_differs_is_kept_and_more_texts_than_are_remembered_as_well() {
        let mut repeats = Repeats::default();
        for sector in 0..100 {
            let text = format!("sda: sector {sector}");
            assert!(repeats.take(line(1, &text)).is_some());
        }
        assert_eq!(repeats.texts.len(), TEXTS);
        // Of what came once there is nothing to say.
        assert!(repeats.due(100 * SECOND).is_empty());
        assert!(repeats.take(line(101, "sda: sector 0")).is_some());
    }
}
