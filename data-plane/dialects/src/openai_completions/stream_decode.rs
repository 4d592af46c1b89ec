//! An upstream's stream into events: the chat dialect's, with choices of another form.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use super::reply::canonical;
use crate::dialect::StreamDecoder;
use crate::openai_chat::stream_decode;

/// State of one stream.
#[derive(Default)]
pub(super) struct Decoder {
    inner: stream_decode::Decoder,
}

// === impl Decoder ===

impl Decoder {
    fn read(
        &mut self,
        events: &mut Vec<Event>,
        read: impl FnOnce(&mut stream_decode::Decoder, &mut Vec<Event>) -> Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        let mut new = Vec::new();
        let result = read(&mut self.inner, &mut new);
        canonical(&mut new);
        events.append(&mut new);
        result
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        self.read(events, |inner, new| inner.push(chunk, new))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        self.read(events, |inner, new| inner.finish(new))
    }
}
