//! Streams whose bytes pass.

use bytes::Bytes;
use gateway_ir::failure::Code;
use gateway_ir::usage::Usage;

use super::*;
use crate::dialect::TapOptions;

const TEXT: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const FINISH: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"busy\",\"code\":\"c\"}}\n\n";

/// What passes of `stream`, and whether it ended well.
fn pass(stream: &str, options: TapOptions) -> (String, Result<(), Code>) {
    let mut tap = OpenAiChat.stream_tap(options);
    let mut out = tap.push(Bytes::copy_from_slice(stream.as_bytes())).expect("small events").to_vec();
    let end = tap.finish().map(|last| out.extend_from_slice(&last)).map_err(|failure| failure.code);
    (String::from_utf8(out).expect("text"), end)
}

fn check(stream: &[&str], strip_usage: bool, expected: &[&str], end: Result<(), Code>) {
    let (passed, ended) = pass(&stream.concat(), TapOptions { strip_usage });
    assert_eq!((passed, ended), (expected.concat(), end), "{stream:?}");
}

#[test]
fn only_what_must_differ_differs() {
    check(&[TEXT, FINISH, USAGE, DONE], false, &[TEXT, FINISH, USAGE, DONE], Ok(()));
    check(&[TEXT, FINISH, USAGE, DONE], true, &[TEXT, FINISH, DONE], Ok(()));
    let with_finish = FINISH.replace("]}", "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}");
    check(&[TEXT, &with_finish, DONE], true, &[TEXT, &with_finish, DONE], Ok(()));
    check(
        &[": comment\n\n", TEXT, FINISH, ": more\n\n", DONE],
        true,
        &[": comment\n\n", TEXT, FINISH, ": more\n\n", DONE],
        Ok(()),
    );
}

#[test]
fn every_end_is_told_as_what_it_is() {
    check(&[TEXT, FINISH], false, &[TEXT, FINISH, DONE], Ok(()));
    check(&[TEXT, FINISH, "data: [DONE]"], false, &[TEXT, FINISH, "data: [DONE]\n\n"], Ok(()));
    check(&[TEXT, FINISH, "data: {\"choi"], false, &[TEXT, FINISH, DONE], Ok(()));
    check(&[TEXT], false, &[TEXT], Err(Code::UpstreamCut));
    check(&[TEXT, "data: {\"choi"], false, &[TEXT], Err(Code::UpstreamCut));
    check(&[], false, &[], Err(Code::UpstreamCut));
    // A server that never says why it stopped, but that it has.
    check(&[TEXT, DONE], false, &[TEXT, DONE], Ok(()));
    // One of two choices has finished.
    let second = TEXT.replace("\"index\":0", "\"index\":1");
    check(&[TEXT, &second, FINISH], false, &[TEXT, &second, FINISH], Err(Code::UpstreamCut));
}

#[test]
fn an_error_of_the_upstream_passes_once_and_ends_the_stream() {
    check(&[TEXT, ERROR, DONE], false, &[TEXT, ERROR], Ok(()));
    check(
        &[TEXT, "event: error\ndata: {\"message\":\"x\"}\n\n", DONE],
        false,
        &[TEXT, "event: error\ndata: {\"message\":\"x\"}\n\n"],
        Ok(()),
    );
    let mut tap = OpenAiChat.stream_tap(TapOptions::default());
    tap.push(Bytes::from_static(ERROR.as_bytes())).expect("small events");
    assert_eq!(tap.seen().error.as_ref().map(|failure| failure.message.as_ref()), Some("busy"));
    assert_eq!(tap.fail(&Failure::new(Code::UpstreamCut, "reset")), "", "the client has been told");
    let mut tap = OpenAiChat.stream_tap(TapOptions::default());
    assert!(tap.fail(&Failure::new(Code::UpstreamCut, "reset")).starts_with(b"data: {\"error\":"));
}

#[test]
fn a_tap_sees_without_copying() {
    let mut tap = OpenAiChat.stream_tap(TapOptions { strip_usage: true });
    let chunk = Bytes::from([TEXT, TEXT, FINISH].concat());
    let passed = tap.push(chunk.clone()).expect("small events");
    assert_eq!((passed.as_ptr(), passed.len()), (chunk.as_ptr(), chunk.len()));
    tap.push(Bytes::from_static(USAGE.as_bytes())).expect("small events");
    let seen = tap.seen();
    assert_eq!((seen.content_events, seen.content_bytes, seen.finished, seen.ended), (2, 6, true, false));
    assert_eq!(seen.usage, Some(Usage { input: 3, output: 2, ..Usage::default() }));
}
