//! From a `tracing` event to a line of text, without the heap.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Layer},
};

use super::{line, queue};

/// Bytes of one line: what an error with device, step and errno needs, three rows of a screen.
const TEXT_BYTES: usize = 256;

/// A text that takes what fits and marks where it was cut.
pub(super) struct Text {
    buffer: heapless::String<TEXT_BYTES>,
    cut: bool,
}

const MARK: &str = "...";

impl Text {
    pub(super) fn new() -> Text {
        Text {
            buffer: heapless::String::new(),
            cut: false,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.buffer
    }

    pub(super) fn append(&mut self, text: &str) {
        if self.cut {
            return;
        }
        for character in text.chars() {
            if self.buffer.len() + character.len_utf8() > TEXT_BYTES - MARK.len() {
                self.cut = true;
                let _ = self.buffer.push_str(MARK);
                return;
            }
            let _ = self.buffer.push(character);
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text);
        Ok(())
    }
}

/// `message field=value field=value`
impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self, "{value:?}")
        } else {
            write!(self, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = if field.name() == "message" {
            self.write_str(value)
        } else {
            write!(self, " {}={value}", field.name())
        };
    }
}

/// Hands every event of its level and above to the queue.
pub(super) struct RingLayer {
    level: LevelFilter,
}

impl RingLayer {
    pub(super) fn new(level: LevelFilter) -> RingLayer {
        RingLayer { level }
    }
}

impl<S: Subscriber> Layer<S> for RingLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::new();
        event.record(&mut text);
        queue::push(line::now_us(), (*event.metadata().level()).into(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character_and_marked() {
        let mut text = Text::new();
        text.append(&"é".repeat(200));
        text.append("more");
        assert!(text.as_str().len() <= TEXT_BYTES);
        assert!(text.as_str().ends_with("é..."));
        let mut short = Text::new();
        write!(short, "step {}", 7).unwrap();
        assert_eq!(short.as_str(), "step 7");
    }
}
