//! Streams of nasty shape, and what becomes of each: the same for every client, streamed or folded. docs/translation.md is
//! this as a table.

use gateway_dialects::framing::eventstream;
use gateway_dialects::legal::Ending;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::{CitationKind, Event};
use gateway_ir::fold::fold;
use gateway_ir::usage::Usage;
use serde_json::{Value, json};

use super::plan::{Call, Piece, Place, Plan, Said, Shape, Word};
use super::render;
use super::{clients, decode, told_by_a_node};

fn plan() -> Plan {
    let call = Call { id: "c0".to_owned(), name: "f".to_owned(), arguments: vec![r#"{"a":"漢"}"#.to_owned()] };
    let text = Piece::Text(vec!["é🦀".to_owned(), "\n\ndata: x".to_owned()]);
    let usage = Usage { input: 11, output: 3, ..Usage::default() };
    Plan { pieces: vec![text, Piece::Calls(vec![call])], finish: Word::Calls, usage }
}

fn shape() -> Shape {
    Shape { line_end: "\n", noise: false, usage: Place::After, chatty: false, interleaved: false, ids: true }
}

fn plain(upstream: Id) -> Vec<u8> {
    render::stream(upstream, &plan().sayable_in(upstream), &shape())
}

fn is_sse(upstream: Id) -> bool {
    !matches!(upstream, Id::OllamaChat | Id::BedrockConverse)
}

/// What every client is told of a stream, in one piece and byte by byte, and whether a caller of whole replies gets one.
fn tell(upstream: Id, wire: &[u8], expected: Ending) {
    for pieces in [vec![wire], wire.chunks(1).collect()] {
        let (events, read) = decode(upstream, pieces);
        for client in clients() {
            let (told, streamed, folded) = told_by_a_node(client, &events, read.is_ok());
            let text = || format!("{upstream} to {}: {}", client.id(), String::from_utf8_lossy(&told));
            assert_eq!(streamed, Ok(expected), "{}", text());
            assert_eq!(folded, expected == Ending::Finished, "{}", text());
        }
    }
}

/// The stream means what the plain one means.
fn same(upstream: Id, wire: &[u8]) {
    let read = |wire: &[u8]| {
        let (events, finished) = decode(upstream, [wire]);
        finished.expect("a legal stream");
        Said::of(&fold(events), true)
    };
    assert_eq!(read(wire), read(&plain(upstream)), "{upstream}: {}", String::from_utf8_lossy(wire));
    tell(upstream, wire, Ending::Finished);
}

fn replaced(wire: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(wire).expect("text");
    assert!(text.contains(from), "{from} in {text}");
    text.replace(from, to).into_bytes()
}

/// Line ends, comments, pings, chunks without choices and usage anywhere are part of every [`Shape`]; these are the rest.
#[test]
fn other_spellings_of_the_same_stream() {
    for upstream in Id::ALL.into_iter().filter(|id| is_sse(*id)) {
        let wire = plain(upstream);
        same(upstream, &replaced(&wire, "\ndata: ", "\nid: 7\nretry: 5\ndata:"));
        same(upstream, &[b"\xef\xbb\xbf".as_slice(), &wire].concat());
        same(upstream, &[b"\n\r\n\r".as_slice(), &wire, b"\n: bye\n\n"].concat());
        // The blank line behind the last event is missing.
        same(upstream, wire.strip_suffix(b"\n").expect("a blank line"));
    }
    same(Id::OllamaChat, &replaced(&plain(Id::OllamaChat), "\n", " \r\n\n"));
    same(Id::OllamaChat, plain(Id::OllamaChat).trim_ascii_end());
}

#[test]
fn usage_in_every_chunk_and_twice() {
    let usage = r#""usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}"#;
    for upstream in [Id::OpenAiChat, Id::OpenAiCompletions] {
        let wire = replaced(&plain(upstream), r#""usage":null"#, usage);
        same(upstream, &wire);
        same(upstream, &replaced(&wire, usage, &format!("{usage},\"x_groq\":{{\"id\":\"r\",{usage}}}")));
    }
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
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#;
    let choice = r#"{"delta":{"content":"x"},"finish_reason":"#;
    let chunk = |finish: &str| format!("data: {{\"choices\":[{choice}{finish}}}],{usage}}}\n\ndata: [DONE]\n\n");
    tell(Id::OpenAiChat, chunk("\"stop\"").as_bytes(), Ending::Finished);
    // Snowflake's only word; with the mark behind it the reply is whole, and clients get that word.
    tell(Id::OpenAiChat, chunk("\"\"").as_bytes(), Ending::Finished);
    tell(Id::OpenAiChat, chunk("null").as_bytes(), Ending::Failed);
    tell(Id::OpenAiChat, b"data: [DONE]\n\n", Ending::Failed);
}

#[test]
fn nothing_and_what_is_no_stream() {
    let html: &[u8] = b"<!doctype html>\n<html><body>502 Bad Gateway</body></html>\n";
    for upstream in Id::ALL {
        for wire in [b"".as_slice(), b"\n\n\n", html, b"\xff\xfe\x00{\n\n", b"data: {\n\n", b"{}", b"[]"] {
            tell(upstream, wire, Ending::Failed);
        }
    }
}

#[test]
fn errors_as_the_first_frame_and_in_the_middle() {
    let data = |error: Value| format!("data: {error}\n\n").into_bytes();
    for upstream in Id::ALL {
        let error = match upstream {
            Id::OpenAiChat | Id::OpenAiCompletions => {
                data(json!({"error": {"message": "overloaded", "type": "server_error", "code": null}}))
            }
            Id::OpenAiResponses => data(json!({"type": "error", "code": "server_error", "message": "broke"})),
            Id::AnthropicMessages => {
                data(json!({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}))
            }
            Id::GeminiGenerate => data(json!({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})),
            Id::CohereV2 => data(json!({"message": "broke"})),
            Id::OllamaChat => b"{\"error\":\"out of memory\"}\n".to_vec(),
            Id::BedrockConverse => {
                eventstream::message("exception", "throttlingException", br#"{"message":"slow down"}"#)
            }
        };
        tell(upstream, &error, Ending::Failed);
        let wire = plain(upstream);
        tell(upstream, &[&wire[..first_event(upstream, &wire)], &error].concat(), Ending::Failed);
    }
}

/// Where the first event ends.
fn first_event(upstream: Id, wire: &[u8]) -> usize {
    let end = |mark: &[u8]| wire.windows(mark.len()).position(|at| at == mark).expect("an end") + mark.len();
    match upstream {
        Id::OllamaChat => end(b"\n"),
        Id::BedrockConverse => u32::from_be_bytes(wire[..4].try_into().expect("a length")) as usize,
        _ => end(b"\n\n"),
    }
}

/// JSON that is taken over as it stood may have line ends, which would cut an event in two.
#[test]
fn json_over_several_lines_stays_in_its_event() {
    let call = |arguments: &str| {
        let call = Call { id: "c0".to_owned(), name: "f".to_owned(), arguments: vec![arguments.to_owned()] };
        Plan { pieces: vec![Piece::Calls(vec![call])], ..plan() }
    };
    let wire = render::stream(Id::CohereV2, &call("{\n  \"a\":\r\n 1\n}"), &shape());
    let raw = |json: &str| serde_json::value::RawValue::from_string(json.to_owned()).expect("JSON");
    let json = || raw("{\"type\":\n\"url_citation\",\r\n\"url_citation\":{\"url\":\"u\",\"title\":\"t\"}}");
    let (choice, name) = (0, "system_fingerprint".to_owned());
    let mut events = decode(Id::CohereV2, [wire.as_slice()]).0;
    let details = [
        Event::Meta { name, json: raw("[\n1]") },
        Event::Meta { name: "gemini.x".to_owned(), json: raw("[\n1]") },
        Event::Meta { name: "anthropic.x".to_owned(), json: raw("[\n1]") },
        Event::Text { choice, text: "a\nb".to_owned() },
        Event::Citation { choice, kind: CitationKind::OpenAi, json: json() },
        Event::Citation { choice, kind: CitationKind::Anthropic, json: json() },
        Event::Logprobs { choice, json: raw("{\"content\":\n[]}") },
    ];
    let own =
        Id::ALL.map(|dialect| Event::Opaque { choice, kind: "x".to_owned(), json: raw("{\n\"type\":\"x\"}"), dialect });
    events.splice(1..1, details.into_iter().chain(own));
    for client in clients() {
        let (told, ending, _) = told_by_a_node(client, &events, true);
        assert_eq!(ending, Ok(Ending::Finished), "{}: {}", client.id(), String::from_utf8_lossy(&told));
        assert!(told.ends_with(b"\n\n") || told.ends_with(b"\r\n\r\n"));
        let n_lines = told.iter().filter(|byte| **byte == b'\n').count();
        let n_events = told.windows(5).filter(|at| at == b"data:").count();
        let with_names = matches!(client.id(), Id::AnthropicMessages | Id::OpenAiResponses);
        assert_eq!(n_lines, n_events * if with_names { 3 } else { 2 }, "{}", String::from_utf8_lossy(&told));
    }
}

#[test]
fn what_never_ends_is_bounded() {
    let endless = vec![b'a'; 1 << 20];
    for upstream in Id::ALL {
        let begin: &[u8] = if is_sse(upstream) { b"data: " } else { b"{\"a\":\"" };
        let pieces = std::iter::once(begin).chain(std::iter::repeat_n(endless.as_slice(), 32));
        assert!(decode(upstream, pieces).1.is_err(), "{upstream}");
    }
}
