//! Whole replies and streams → events.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use super::candidate::Reader;
use crate::dialect::StreamDecoder;
use crate::framing::sse;
use crate::reading::garbage;

/// Reads a whole reply.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let mut events = Vec::new();
    let mut reader = Reader::default();
    reader.read(body, &mut events)?;
    if !reader.has_failed() && !reader.end(&mut events) {
        return Err(garbage("the upstream's reply has no finished candidate"));
    }
    Ok(events)
}

/// Decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    parser: sse::Parser,
    reader: Reader,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        self.parser.push(chunk, |event| read(reader, &event, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let reader = &mut self.reader;
        // What is left may be half an event, which is a cut and not garbage.
        self.parser.finish(|event| read(reader, &event, events).or(Ok(())))?;
        self.reader.end(events);
        Ok(())
    }
}

fn read(reader: &mut Reader, event: &sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
    let data = event.data.trim_ascii();
    // Proxies in between close with OpenAI's mark.
    if data.is_empty() || data == b"[DONE]" || reader.has_failed() {
        return Ok(());
    }
    reader.read(data, events)
}
