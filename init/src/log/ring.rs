//! The last lines, numbered, so that readers of different speed can follow.

use std::collections::VecDeque;

use super::line::Line;

/// The newest lines; the oldest make room.
#[derive(Debug)]
pub(super) struct Ring {
    lines: VecDeque<Line>,
    capacity: usize,
    /// Number of the line that comes next; the first ever is 0.
    next: u64,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Lines that this reader will never see here: it was too far behind.
    pub skipped: u64,
    /// The lines, oldest first.
    pub lines: Vec<Line>,
    /// Where to go on.
    pub next: u64,
}

impl Ring {
    pub(super) const fn new(capacity: usize) -> Ring {
        Ring {
            lines: VecDeque::new(),
            capacity,
            next: 0,
        }
    }

    pub(super) fn push(&mut self, line: Line) {
        while self.lines.len() >= self.capacity {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.next += 1;
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn recent(&self, lines: usize) -> Vec<Line> {
        let skip = self.lines.len().saturating_sub(lines);
        self.lines.iter().skip(skip).cloned().collect()
    }

    /// The lines from number `from` on, but only the newest `most` of them.
    pub(super) fn since(&self, from: u64, most: usize) -> Batch {
        let wanted = usize::try_from(self.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let given = wanted.min(most).min(self.lines.len());
        Batch {
            skipped: u64::try_from(wanted - given).unwrap_or(u64::MAX),
            lines: self.recent(given),
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Level, Source};

    fn ring(capacity: usize, pushed: u64) -> Ring {
        let mut ring = Ring::new(capacity);
        for number in 0..pushed {
            ring.push(Line::new(
                number,
                Level::Info,
                Source::Orthrus,
                &number.to_string(),
            ));
        }
        ring
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn ring_keeps_the_newest() {
        let ring = ring(3, 5);
        assert_eq!(texts(&ring.recent(10)), ["2", "3", "4"]);
        assert_eq!(texts(&ring.recent(1)), ["4"]);
        assert!(ring.recent(0).is_empty());
    }

    #[test]
    fn reader_that_keeps_up_misses_nothing_and_a_slow_one_is_told_how_much() {
        let ring = ring(3, 5);
        let batch = ring.since(4, 10);
        assert_eq!(
            (batch.skipped, texts(&batch.lines), batch.next),
            (0, vec!["4"], 5)
        );
        let batch = ring.since(0, 10);
        assert_eq!(
            (batch.skipped, texts(&batch.lines)),
            (2, vec!["2", "3", "4"])
        );
        let batch = ring.since(0, 1);
        assert_eq!((batch.skipped, texts(&batch.lines)), (4, vec!["4"]));
        assert_eq!(
            ring.since(5, 10),
            Batch {
                skipped: 0,
                lines: vec![],
                next: 5
            }
        );
        assert_eq!(ring.since(99, 10).skipped, 0);
    }
}
