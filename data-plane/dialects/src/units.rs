//! What requests and replies say of what vendors charge for by something else than tokens: characters, pictures, time.

use gateway_ir::json;
use gateway_ir::usage::Units;
use memchr::memchr2;
use serde_json::value::RawValue;

use crate::reading::{elements, members, members_of, text};

/// No recording is longer: about 31 years, far below where floats skip whole numbers.
const MAX_SECONDS: f64 = 1e9;

/// Characters of the text that is to be spoken, as `POST /v1/audio/speech` has it in `input`.
pub(crate) fn characters(body: &[u8]) -> Units {
    let mut found = None;
    let read = json::scan_object(body, |member| {
        if member.is("input") {
            found = Some(member.value);
        }
    });
    let spoken = found.filter(|_| read.is_ok()).and_then(|value| json::string(&body[value]));
    spoken.map_or(Units::Unmeasured, |spoken| Units::Characters(spoken.chars().count() as u64))
}

/// Pictures in a whole reply: the elements of `data`.
pub(crate) fn pictures(body: &[u8]) -> Units {
    let mut n_pictures = None;
    let read = members(body, |name, raw| {
        if name == "data" && raw.get().starts_with('[') {
            let mut n = 0;
            elements(raw, |_| n += 1);
            n_pictures = Some(n);
        }
    });
    n_pictures.filter(|_| read.is_ok()).map_or(Units::Unmeasured, Units::PicturesMade)
}

/// How long a recording was, as far as the reply to it says so: what is billed (`usage.seconds` of OpenAI, `usage.prompt_audio_seconds`
/// of Mistral), else `duration` of the verbose form.
pub(crate) fn recording(body: &[u8]) -> Units {
    let (mut billed, mut told) = (None, None);
    let read = members(body, |name, raw| match name {
        "usage" => members_of(raw, |name, raw| match name {
            "seconds" | "prompt_audio_seconds" => billed = millis(raw).or(billed),
            _ => {}
        }),
        "duration" => told = millis(raw),
        _ => {}
    });
    billed.or(told).filter(|_| read.is_ok()).map_or(Units::None, Units::AudioMs)
}

/// Seconds, as a number or as a text of one.
fn millis(raw: &RawValue) -> Option<u64> {
    let written = text(raw);
    let seconds: f64 = written.as_deref().unwrap_or_else(|| raw.get()).parse().ok()?;
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

/// Counts the pictures of a reply that is too large to be held, from its bytes as they come, in pieces of any size. Each has one
/// member `b64_json` or `url` that is a text; servers that write both leave one of them null.
#[derive(Default)]
pub struct Pictures {
    at: At,
    /// The beginning of the text that is being read, or was read last.
    text: Vec<u8>,
    n_base64: u64,
    n_urls: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Between,
    Text,
    /// Behind a backslash.
    Escape,
    /// Behind a text, which may have been a name.
    Name,
    /// Behind a name and its colon.
    Value,
}

/// One byte more than the longest name that is looked for.
const MAX_NAME: usize = 9;

// === impl Pictures ===

impl Pictures {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            bytes = match self.at {
                At::Text => self.skip_text(bytes),
                At::Escape => {
                    self.at = At::Text;
                    rest
                }
                At::Between | At::Name | At::Value => {
                    self.mark(*first);
                    rest
                }
            };
        }
    }

    pub fn units(&self) -> Units {
        Units::PicturesMade(self.n_base64.max(self.n_urls))
    }

    /// Up to the end of the text, or of what is here.
    fn skip_text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr2(b'"', b'\\', bytes);
        let said = &bytes[..end.unwrap_or(bytes.len())];
        let room = MAX_NAME - self.text.len();
        self.text.extend_from_slice(&said[..said.len().min(room)]);
        let Some(end) = end else { return &[] };
        // A name with an escape in it is none that is looked for.
        self.at = if bytes[end] == b'"' { At::Name } else { At::Escape };
        &bytes[end + 1..]
    }

    fn mark(&mut self, byte: u8) {
        match (byte, self.at) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b':', At::Name) => self.at = At::Value,
            (b'"', at) => {
                if at == At::Value {
                    match self.text.as_slice() {
                        b"b64_json" => self.n_base64 += 1,
                        b"url" => self.n_urls += 1,
                        _ => {}
                    }
                }
                self.text.clear();
                self.at = At::Text;
            }
            _ => self.at = At::Between,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_people() {
        let cases = [
            (r#"{"input":"hello","voice":"x"}"#, Units::Characters(5)),
            (r#"{"model":"m","input":"h\u00e9llo \ud83d\ude00\n"}"#, Units::Characters(8)),
            (r#"{"input":""}"#, Units::Characters(0)),
            (r#"{"nested":{"input":"no"}}"#, Units::Unmeasured),
            (r#"{"input":["a"]}"#, Units::Unmeasured),
            ("nothing", Units::Unmeasured),
        ];
        for (body, expected) in cases {
            assert_eq!(characters(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_recording_is_as_long_as_it_was_billed() {
        let cases = [
            (r#"{"text":"","usage":{"type":"duration","seconds":9}}"#, Units::AudioMs(9_000)),
            (r#"{"duration":3.7,"usage":{"type":"duration","seconds":4}}"#, Units::AudioMs(4_000)),
            (r#"{"duration":3.7}"#, Units::AudioMs(3_700)),
            (r#"{"duration":"8.470000267028809"}"#, Units::AudioMs(8_470)),
            (r#"{"usage":{"prompt_audio_seconds":3,"prompt_tokens":5}}"#, Units::AudioMs(3_000)),
            (r#"{"duration":-1}"#, Units::None),
            (r#"{"duration":1e300}"#, Units::None),
            (r#"{"duration":null,"text":"duration"}"#, Units::None),
            ("1\n00:00:00,000 --> 00:00:01,000", Units::None),
        ];
        for (body, expected) in cases {
            assert_eq!(recording(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn pictures_are_counted_in_pieces_of_any_size() {
        let cases = [
            (r#"{"data":[{"b64_json":"aGk="},{"b64_json" : "aGk="}],"usage":{}}"#, 2),
            (r#"{"data":[{"url":"https://x/\"url\":\"y\"","revised_prompt":"url"},{"url":"z","b64_json":null}]}"#, 2),
            (r#"{"data":[{"url":null,"b64_json":"aGk="}]}"#, 1),
            (r#"{"data":[{"b64_json":"a","text":"\"b64_json\":\"b\""}]}"#, 1),
            (r#"{"data":[],"b64_jsonx":"a","b64\u005fjson":"b"}"#, 0),
        ];
        for (body, expected) in cases {
            for n_bytes in [1, 2, 7, body.len()] {
                let mut counter = Pictures::default();
                body.as_bytes().chunks(n_bytes).for_each(|piece| counter.push(piece));
                assert_eq!(counter.units(), Units::PicturesMade(expected), "{body} in pieces of {n_bytes}");
            }
            assert_eq!(pictures(body.as_bytes()), Units::PicturesMade(expected), "{body}");
        }
        for cut in [r#"{"data":[{"url":"a"}"#, r#"{"data":null}"#, "{}"] {
            assert_eq!(pictures(cut.as_bytes()), Units::Unmeasured, "{cut}");
        }
    }
}
