//! The events of a stream as the elements of one JSON array, for clients that asked for no event stream. An element is written
//! when its event comes; the array is closed when the stream ends properly, or behind the element that says why it does not.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;

use crate::dialect::{Seen, StreamEncoder, StreamTap};
use crate::framing::sse;

/// How a client wants its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamForm {
    #[default]
    Events,
    Array,
}

/// Server-sent events in, elements out.
#[derive(Default)]
struct Elements {
    parser: sse::Parser,
    has_begun: bool,
}

struct Encoder {
    inner: Box<dyn StreamEncoder>,
    elements: Elements,
    events: BytesMut,
    is_closed: bool,
}

struct Tap {
    inner: Box<dyn StreamTap>,
    elements: Elements,
}

// === impl StreamForm ===

impl StreamForm {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Array => "application/json; charset=utf-8",
        }
    }

    pub fn encoder(self, inner: Box<dyn StreamEncoder>) -> Box<dyn StreamEncoder> {
        match self {
            Self::Events => inner,
            Self::Array => {
                Box::new(Encoder { inner, elements: Elements::default(), events: BytesMut::new(), is_closed: false })
            }
        }
    }

    pub fn tap(self, inner: Box<dyn StreamTap>) -> Box<dyn StreamTap> {
        match self {
            Self::Events => inner,
            Self::Array => Box::new(Tap { inner, elements: Elements::default() }),
        }
    }
}

// === impl Elements ===

impl Elements {
    /// Comments and marks of other dialects are no elements.
    fn push(&mut self, events: &[u8], out: &mut BytesMut) -> Result<(), Box<Failure>> {
        let has_begun = &mut self.has_begun;
        self.parser.push(events, |event| {
            let data = event.data.trim_ascii();
            if data.starts_with(b"{") {
                out.put_slice(if std::mem::replace(has_begun, true) { b",\r\n".as_slice() } else { b"[" });
                out.put_slice(data);
            }
            Ok(())
        })
    }

    fn close(&mut self, out: &mut BytesMut) {
        out.put_slice(if std::mem::replace(&mut self.has_begun, true) { b"]".as_slice() } else { b"[]" });
    }
}

// === impl Encoder ===

impl Encoder {
    fn write(&mut self, out: &mut BytesMut) {
        let events = self.events.split();
        let Err(failure) = self.elements.push(&events, out) else { return };
        // Too large an event; what there is of it is let go.
        self.elements.parser = sse::Parser::default();
        self.fail(&failure, out);
    }

    fn close(&mut self, out: &mut BytesMut) {
        self.write(out);
        if !std::mem::replace(&mut self.is_closed, true) {
            self.elements.close(out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if !self.is_closed {
            self.inner.push(event, &mut self.events);
            self.write(out);
        }
    }

    fn goes_on(&mut self, by: &str, out: &mut BytesMut) {
        self.inner.goes_on(by, &mut self.events);
        self.write(out);
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.inner.end(&mut self.events);
        self.close(out);
    }

    fn fail(&mut self, failure: &Failure, out: &mut BytesMut) {
        self.inner.fail(failure, &mut self.events);
        self.close(out);
    }
}

// === impl Tap ===

impl StreamTap for Tap {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        let events = self.inner.push(chunk)?;
        let mut out = BytesMut::with_capacity(events.len());
        self.elements.push(&events, &mut out)?;
        Ok(out.freeze())
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        let events = self.inner.finish()?;
        let mut out = BytesMut::with_capacity(events.len() + 2);
        self.elements.push(&events, &mut out)?;
        self.elements.close(&mut out);
        Ok(out.freeze())
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let events = self.inner.fail(failure);
        let mut out = BytesMut::with_capacity(events.len() + 2);
        // One error event of our own is far below the limit.
        self.elements.push(&events, &mut out).ok();
        self.elements.close(&mut out);
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        self.inner.seen()
    }
}
