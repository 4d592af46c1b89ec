//! Streams of nasty shape, and what becomes of each: the same for every client.

use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::fold::fold;

use super::{Ending, Gist, Part, clients, decode, encode, events_of, gist, render};
use crate::framing::eventstream;
use crate::legal::check;

fn parts() -> Vec<Part> {
    let call = Part::Call("f".to_owned(), r#"{"a":"漢"}"#.to_owned());
    vec![Part::Text(vec!["é🦀".to_owned(), "\n\ndata: x".to_owned()]), call]
}

fn plain(upstream: Id) -> Vec<u8> {
    render::stream(upstream, &parts(), &events_of(&parts()))
}

fn is_sse(upstream: Id) -> bool {
    !matches!(upstream, Id::OllamaChat | Id::BedrockConverse)
}

/// What every client is told of a stream, in one piece and byte by byte.
fn tell(upstream: Id, wire: &[u8], expected: Ending) {
    for client in clients() {
        for pieces in [vec![wire], wire.chunks(1).collect()] {
            let out = encode(client, decode(upstream, pieces));
            let told = check(client, &out, true).map(|told| told.ending);
            assert_eq!(told, Ok(expected), "{upstream} to {client}: {}", String::from_utf8_lossy(&out));
        }
    }
}

/// The stream means what the plain one means.
fn same(upstream: Id, wire: &[u8]) {
    let read = |wire: &[u8]| -> (Gist, _) {
        let events: Vec<Event> = decode(upstream, [wire]).expect("a legal stream");
        let usage = fold(events.clone()).usage;
        (gist(events), usage)
    };
    assert_eq!(read(wire), read(&plain(upstream)), "{upstream}: {}", String::from_utf8_lossy(wire));
    tell(upstream, wire, Ending::Finished);
}

fn replaced(wire: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(wire.to_vec()).expect("text");
    assert!(text.contains(from), "{from} in {text}");
    text.replace(from, to).into_bytes()
}

#[test]
fn line_ends_comments_and_pings() {
    for upstream in Id::ALL.into_iter().filter(|id| is_sse(*id)) {
        let wire =
            replaced(&plain(upstream), "\n", "\n").iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>();
        for end in ["\n", "\r\n", "\r"] {
            same(upstream, &replaced(&wire, "\n", end));
        }
        same(upstream, &replaced(&wire, "\n\n", "\n\n: ping\n\n\n"));
        same(upstream, &replaced(&wire, "\ndata: ", "\nid: 7\nretry: 5\ndata:"));
        // The last event is whole only with its empty line, unless the stream ends right there.
        let cut_end = wire.strip_suffix(b"\n").expect("an empty line");
        if upstream != Id::OpenAiChat && upstream != Id::OpenAiCompletions {
            same(upstream, cut_end);
        }
    }
    same(
        Id::AnthropicMessages,
        &replaced(
            &plain(Id::AnthropicMessages),
            "event: content_block_stop",
            "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_stop",
        ),
    );
    same(Id::OllamaChat, &replaced(&plain(Id::OllamaChat), "\n", "\r\n\n"));
}

#[test]
fn chunks_without_choices_and_usage_anywhere() {
    let wire = plain(Id::OpenAiChat);
    let empty = "data: {\"id\":\"x1\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"prompt_filter_results\":[]}\n\ndata: ";
    same(Id::OpenAiChat, &[empty.as_bytes(), &wire[6..]].concat());
    let usage = "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3,\"total_tokens\":14}";
    let text = String::from_utf8(wire).expect("text");
    let (before, rest) = text.split_once(",\"choices\":[],\"usage\":{").expect("a usage chunk");
    let done = rest.split_once("\n\n").expect("its end").1;
    let begin = before.rfind("data: ").expect("a chunk");
    let without = &before[..begin];
    // Beside the finish.
    let last = without.trim_end().strip_suffix("\"usage\":null}").expect("a finish chunk");
    same(Id::OpenAiChat, format!("{last}{usage}}}\n\n{done}").as_bytes());
    // Before everything, and in every chunk.
    let everywhere = without.replace("\"usage\":null", usage);
    same(Id::OpenAiChat, format!("{everywhere}{done}").as_bytes());
}

#[test]
fn without_its_terminal_mark_a_finished_reply_is_whole() {
    let marks = [
        (Id::OpenAiChat, "data: [DONE]\n\n"),
        (Id::OpenAiCompletions, "data: [DONE]\n\n"),
        (Id::AnthropicMessages, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    ];
    for (upstream, mark) in marks {
        tell(upstream, &replaced(&plain(upstream), mark, ""), Ending::Finished);
    }
}

#[test]
fn a_terminal_mark_alone_does_not_make_a_reply_whole() {
    let usage = "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}";
    let choice = "{\"delta\":{\"content\":\"x\"},\"finish_reason\":";
    let chunk = |finish: &str| format!("data: {{\"choices\":[{choice}{finish}}}],{usage}}}\n\ndata: [DONE]\n\n");
    tell(Id::OpenAiChat, chunk("\"stop\"").as_bytes(), Ending::Finished);
    tell(Id::OpenAiChat, chunk("null").as_bytes(), Ending::Failed);
    tell(Id::OpenAiChat, b"data: [DONE]\n\n", Ending::Failed);
}

#[test]
fn nothing_and_what_is_no_stream() {
    let html: &[u8] = b"<!doctype html>\n<html><body>502 Bad Gateway</body></html>\n";
    for upstream in Id::ALL {
        for wire in [b"".as_slice(), b"\n\n\n", html, b"\xff\xfe\x00{\n\n", b"data: {\n\n"] {
            tell(upstream, wire, Ending::Failed);
        }
    }
}

#[test]
fn errors_as_the_first_frame_and_in_the_middle() {
    let openai = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n";
    let anthropic = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"overloaded\"}}\n\n";
    let bedrock = eventstream::message("exception", "throttlingException", br#"{"message":"slow down"}"#);
    for upstream in Id::ALL {
        let error = match upstream {
            Id::OpenAiChat | Id::OpenAiCompletions => openai.as_bytes(),
            Id::OpenAiResponses => {
                b"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"broke\"}\n\n"
            }
            Id::AnthropicMessages => anthropic.as_bytes(),
            Id::GeminiGenerate => {
                b"data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n\n"
            }
            Id::CohereV2 => b"data: {\"message\":\"broke\"}\n\n",
            Id::OllamaChat => b"{\"error\":\"out of memory\"}\n",
            Id::BedrockConverse => &bedrock,
        };
        tell(upstream, error, Ending::Failed);
        let wire = plain(upstream);
        let half = &wire[..beginning(upstream, &wire)];
        tell(upstream, &[half, error].concat(), Ending::Failed);
    }
}

/// The end of the first event.
fn beginning(upstream: Id, wire: &[u8]) -> usize {
    let first = |mark: &[u8]| wire.windows(mark.len()).position(|window| window == mark).expect("an end") + mark.len();
    match upstream {
        Id::OllamaChat => first(b"\n"),
        Id::BedrockConverse => u32::from_be_bytes(wire[..4].try_into().expect("a length")) as usize,
        Id::GeminiGenerate => first(b"\r\n\r\n"),
        _ => first(b"\n\n"),
    }
}

#[test]
fn what_never_ends_is_bounded() {
    let endless = vec![b'a'; 1 << 20];
    for upstream in Id::ALL {
        let begin: &[u8] = if is_sse(upstream) { b"data: " } else { b"{\"a\":\"" };
        let pieces = std::iter::once(begin).chain(std::iter::repeat_n(endless.as_slice(), 32));
        assert!(decode(upstream, pieces).is_err(), "{upstream}");
    }
}
