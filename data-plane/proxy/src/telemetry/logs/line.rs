//! A log record as a line of JSON, as serde would write it. By hand because every request is logged: the names of its members are
//! most of a line, and here they are copied and not quoted anew, which takes a twentieth off what a request costs.

use gateway_ir::json::is_plain;
use gateway_wire::v1::{Attempt, LogRecord, SettledBy, TokenUsage};
use serde::Serialize;

/// Appends the record and a line feed.
pub(super) fn write(record: &LogRecord, line: &mut Vec<u8>) {
    record.tell(line);
    line.push(b'\n');
}

trait Told {
    fn tell(&self, line: &mut Vec<u8>);
}

/// All members of a message, none forgotten: one that is new and not listed does not compile. `by` names another function for what
/// is no plain value.
macro_rules! told {
    ($message:ident { $first:ident $(, $name:ident $(by $function:ident)?)* $(,)? }) => {
        impl Told for $message {
            fn tell(&self, line: &mut Vec<u8>) {
                let Self { $first, $($name),* } = self;
                line.extend_from_slice(concat!("{\"", stringify!($first), "\":").as_bytes());
                $first.tell(line);
                $(
                    line.extend_from_slice(concat!(",\"", stringify!($name), "\":").as_bytes());
                    told!(@value $name, line $(, $function)?);
                )*
                line.push(b'}');
            }
        }
    };
    (@value $name:ident, $line:ident) => { $name.tell($line) };
    (@value $name:ident, $line:ident, $function:ident) => { $function($name, $line) };
}

told! { LogRecord {
    id, started_unix_ms, node_id, key_id, key_name, method, path, dialect, model, route, provider, upstream_model,
    topology_revision, status, ending, error_code, error_message, stream, lane, tokens, settled_by by word, cost_nano_usd, priced,
    admitted_us, first_byte_us, total_us, overhead_us, attempts, session_id, tags, request_bytes, response_bytes, units by rare,
    passed_over by rare, auto_choice by rare, experiment by rare, shadow_of, pin, cache by rare, user, team, organization,
    not_continued, price, tier, first_token_us, trace_id,
} }

told! { TokenUsage {
    input, cache_read, cache_write, cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image,
} }

told! { Attempt {
    provider, model, status, error_code, started_us, ended_us, provider_key, queued_us, hedge, tokens, cost_nano_usd, continuation,
} }

fn word(settled_by: &i32, line: &mut Vec<u8>) {
    match SettledBy::try_from(*settled_by).ok().and_then(SettledBy::word) {
        Some(word) => text(word, line),
        None => line.extend_from_slice(b"null"),
    }
}

/// What few records have.
fn rare(value: &impl Serialize, line: &mut Vec<u8>) {
    serde_json::to_writer(line, value).expect("messages are made of what JSON has");
}

fn text(text: &str, line: &mut Vec<u8>) {
    // Half of what a record might say.
    if text.is_empty() {
        return line.extend_from_slice(b"\"\"");
    }
    if !is_plain(text.as_bytes()) {
        return rare(&text, line);
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

impl Told for String {
    fn tell(&self, line: &mut Vec<u8>) {
        text(self, line);
    }
}

impl Told for bool {
    fn tell(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Told for $number {
            fn tell(&self, line: &mut Vec<u8>) {
                match self {
                    0 => line.push(b'0'),
                    _ => line.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes()),
                }
            }
        }
    )*};
}

numbers! { u32 u64 i64 }

impl<T: Told> Told for Option<T> {
    fn tell(&self, line: &mut Vec<u8>) {
        match self {
            Some(value) => value.tell(line),
            None => line.extend_from_slice(b"null"),
        }
    }
}

impl<T: Told> Told for Vec<T> {
    fn tell(&self, line: &mut Vec<u8>) {
        line.push(b'[');
        for (position, value) in self.iter().enumerate() {
            if position > 0 {
                line.push(b',');
            }
            value.tell(line);
        }
        line.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use gateway_wire::v1::{PassedOver, Units};

    use super::*;

    fn check(record: &LogRecord) {
        let mut line = Vec::new();
        write(record, &mut line);
        let expected = serde_json::to_string(record).expect("a record");
        assert_eq!(String::from_utf8(line).expect("UTF-8"), expected + "\n");
    }

    #[test]
    fn a_line_is_what_serde_writes() {
        check(&LogRecord::default());
        let tokens = Some(TokenUsage { input: u64::MAX, cache_write_1h: 1, ..TokenUsage::default() });
        let attempt = Attempt { provider: "p".to_owned(), queued_us: 7, hedge: true, tokens, ..Attempt::default() };
        for settled_by in -1..8 {
            check(&LogRecord {
                id: "0192".to_owned(),
                started_unix_ms: i64::MIN,
                model: "a \"quoted\"\n\u{1}name \u{1F600}".to_owned(),
                error_message: "x".repeat(200) + "\\",
                stream: true,
                tokens,
                settled_by,
                attempts: vec![attempt.clone(), Attempt::default()],
                tags: vec![String::new(), "b\t".to_owned()],
                units: Some(Units { audio_ms: 5, ..Units::default() }),
                passed_over: vec![PassedOver { reason: "open".to_owned(), ..PassedOver::default() }],
                ..LogRecord::default()
            });
        }
    }
}
