//! An upstream's stream into events.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use super::delta::Reader;
use crate::dialect::StreamDecoder;
use crate::framing::sse;
use crate::reading::{Shape, garbage};
use crate::refused;

pub(super) const TERMINAL_MARK: &[u8] = b"[DONE]";

/// State of one stream.
#[derive(Default)]
pub(crate) struct Decoder {
    parser: sse::Parser,
    state: State,
}

#[derive(Default)]
struct State {
    reader: Reader,
    ended: bool,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Self { parser, state } = self;
        parser.push(chunk, |event| state.read(&event, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let Self { parser, state } = self;
        // What stands behind the last blank line may be half an event. Then the stream was cut, which is for the caller to tell.
        parser.finish(|event| state.read(&event, events).or(Ok(())))?;
        if !state.ended {
            state.reader.end(events);
        }
        Ok(())
    }
}

// === impl State ===

impl State {
    fn read(&mut self, event: &sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let data = event.data.trim_ascii();
        if self.ended || self.reader.has_failed() || data.is_empty() {
            return Ok(());
        }
        if data == TERMINAL_MARK {
            self.ended = true;
            self.reader.end_marked(events);
            events.push(Event::End);
            return Ok(());
        }
        if event.name == b"error" {
            self.ended = true;
            let failure =
                refused::inside(data).unwrap_or_else(|| garbage("the upstream reported an error inside its stream"));
            events.push(Event::Error(failure));
            return Ok(());
        }
        self.reader.read(data, Shape::Chunk, events)
    }
}
