//! Requests, replies and streams of this dialect, by example. Recorded traffic and properties are in `tests/it`.

use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::quirks::Quirks;

use super::OpenAiChat;
use crate::dialect::{ClientDialect, Dialect, Encoded, ReplyContext, Upstream};

mod request;
mod upstream;
mod reply;
mod stream;
mod passing;

fn context(include_usage: bool) -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "public".to_owned(),
        created: 7,
        include_usage,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

/// A client's request as an upstream gets it; the request's own `stream` decides.
fn through(body: &str, quirks: &Quirks) -> Result<Encoded, Box<Failure>> {
    let request = OpenAiChat.decode_request(body.as_bytes())?;
    OpenAiChat.encode_request(&request, &Upstream { model: "own", stream: request.stream == Some(true), quirks })
}

/// Events of a stream whose data are `data`.
fn events(data: &[&str]) -> Vec<Event> {
    let stream: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    let mut decoder = OpenAiChat.stream_decoder();
    let mut events = Vec::new();
    decoder.push(stream.as_bytes(), &mut events).expect("chunks of this dialect");
    decoder.finish(&mut events).expect("chunks of this dialect");
    events
}
