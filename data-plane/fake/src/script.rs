//! The timeline of one answer: what is written, where the packet boundaries lie, when it waits, how it ends.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::gate::Gate;

/// One thing that happens on the connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// One write, flushed at once: the peer sees the boundary unless its own reads merge it.
    Write(Bytes),
    Pause(Duration),
    /// Stands until the test lets it pass.
    Wait(Gate),
    /// Sends nothing more and holds the connection until the client leaves.
    Hang,
    /// Ends our direction (FIN) and reads on until the client leaves.
    HalfClose,
    /// Closes orderly: FIN both ways, even in the middle of a body.
    Close,
    /// Closes with RST.
    Reset,
}

/// Steps in order. After the last one the connection is kept for the next request, unless a step ended it.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub steps: Vec<Step>,
}

// === impl Script: whole answers ===

impl Script {
    /// A JSON answer with the right content length.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    /// Any body with the right content length, head and body in two writes.
    pub fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self::new().head(status, &[("content-type", content_type), ("content-length", &length)]).write(body)
    }

    /// An event stream: each element is one HTTP chunk in one write.
    pub fn sse(events: &[Bytes]) -> Self {
        events.iter().fold(Self::sse_head(), |script, event| script.chunk(event)).end()
    }

    /// The same bytes as [`Script::sse`], cut into pieces of `n_bytes` wherever that falls.
    pub fn sse_split(events: &[Bytes], n_bytes: usize) -> Self {
        let whole = events.concat();
        whole.chunks(n_bytes).fold(Self::sse_head(), |script, piece| script.chunk(piece)).end()
    }

    /// An event stream that stands at `gate` before each event: the test decides when each leaves.
    pub fn sse_gated(events: &[Bytes], gate: &Gate) -> Self {
        events.iter().fold(Self::sse_head(), |script, event| script.wait(gate).chunk(event)).end()
    }
}

// === impl Script: step by step ===

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    /// Status line and headers exactly as given; nothing is added.
    pub fn head(self, status: u16, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n"); // Writing to a String cannot fail.
        }
        head.push_str("\r\n");
        self.write(head)
    }

    /// The head of a chunked event stream.
    pub fn sse_head() -> Self {
        Self::new().head(200, &[("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked")])
    }

    /// Raw bytes in one write: garbage, a wrong length, half a chunk.
    pub fn write(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.push(Step::Write(bytes.into()));
        self
    }

    /// One chunk of a chunked body in one write.
    pub fn chunk(self, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let mut framed = BytesMut::with_capacity(data.len() + 12);
        framed.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
        framed.put_slice(data);
        framed.put_slice(b"\r\n");
        self.write(framed.freeze())
    }

    /// The last chunk: without it a chunked body is cut.
    pub fn end(self) -> Self {
        self.write("0\r\n\r\n")
    }

    pub fn pause(mut self, duration: Duration) -> Self {
        self.steps.push(Step::Pause(duration));
        self
    }

    pub fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    pub fn hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }

    pub fn half_close(mut self) -> Self {
        self.steps.push(Step::HalfClose);
        self
    }

    pub fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    pub fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }
}

/// The phrases only make captures readable; clients ignore them.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Scripted",
    }
}
