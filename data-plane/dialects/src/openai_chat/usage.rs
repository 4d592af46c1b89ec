//! OpenAI's `usage` object, with the names compatible servers add, to and from disjoint classes.

use std::sync::LazyLock;

use gateway_ir::usage::{Tier, Usage};
use memchr::memmem::{Finder, FinderRev};
use serde_json::value::RawValue;

use crate::counts;
use crate::reading::{members_of, unsigned};
use crate::writer::Object;

/// The member's name as it is written.
pub(super) const NAME: &[u8] = b"\"usage\"";

/// More places named `usage` than this are not looked at, whatever a text holds.
pub(super) const MAX_PLACES: usize = 8;

/// `None` if it is not an object that counts tokens.
pub(crate) fn read(raw: &RawValue) -> Option<Usage> {
    Counts::of(raw).usage(Beside::LeftOut)
}

/// What becomes of the tokens of a recording that a server counts beside the prompt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Callers of conversations are told the prompt as the vendor says it, who charges for the recording by its time.
    LeftOut,
    Added,
}

/// The object as it was written.
#[derive(Default)]
struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    written: Option<u64>,
    written_1h: Option<u64>,
    reasoning: Option<u64>,
    input_audio: Option<u64>,
    output_audio: Option<u64>,
    input_image: Option<u64>,
    output_image: Option<u64>,
}

// === impl Counts ===

impl Counts {
    fn of(raw: &RawValue) -> Self {
        let mut counts = Self::default();
        let one = &mut counts;
        members_of(raw, |name, value| match name {
            "prompt_tokens_details" | "completion_tokens_details" => {
                members_of(value, |inner, value| one.tell(name.as_bytes(), inner.as_bytes(), unsigned(value)));
            }
            _ => one.tell(b"", name.as_bytes(), unsigned(value)),
        });
        counts
    }

    /// One member, and of which one it is a part.
    fn tell(&mut self, of: &[u8], name: &[u8], count: Option<u64>) {
        match (of, name) {
            (b"", b"prompt_tokens") => self.prompt = count,
            (b"", b"completion_tokens") => self.completion = count,
            (b"", b"total_tokens") => self.total = count,
            (b"", b"prompt_cache_hit_tokens" | b"cached_tokens" | b"cache_read_input_tokens") => {
                self.cached = self.cached.or(count);
            }
            (b"", b"cache_creation_input_tokens") => self.written = self.written.or(count),
            (b"prompt_tokens_details", b"cached_tokens") => self.cached = count.or(self.cached),
            (b"prompt_tokens_details", b"cache_write_tokens") => self.written = count.or(self.written),
            (b"prompt_tokens_details", b"cache_write_1h_tokens") => self.written_1h = count,
            (b"prompt_tokens_details", b"audio_tokens") => self.input_audio = count,
            (b"prompt_tokens_details", b"image_tokens") => self.input_image = count,
            (b"completion_tokens_details", b"reasoning_tokens") => self.reasoning = count,
            (b"completion_tokens_details", b"audio_tokens") => self.output_audio = count,
            (b"completion_tokens_details", b"image_tokens") => self.output_image = count,
            _ => {}
        }
    }

    fn usage(&self, beside: Beside) -> Option<Usage> {
        if self.prompt.is_none() && self.completion.is_none() {
            return None;
        }
        let (mut prompt, mut output) = (self.prompt.unwrap_or(0), self.completion.unwrap_or(0));
        let mut input_audio = self.input_audio.unwrap_or(0);
        // Some servers count a recording beside the text of the prompt; their own total tells.
        let with_audio = prompt.checked_add(input_audio);
        let is_total = |sum: Option<u64>| self.total.is_some() && self.total == sum;
        if input_audio > 0 && is_total(with_audio.and_then(|prompt| prompt.checked_add(output))) {
            match beside {
                Beside::LeftOut => input_audio = 0,
                Beside::Added => prompt += input_audio,
            }
        }
        let reasoning = self.reasoning.unwrap_or(0);
        // Some servers count reasoning beside the completion; their own total tells.
        if reasoning > 0 && is_total(prompt.checked_add(output).and_then(|sum| sum.checked_add(reasoning))) {
            output += reasoning;
        }
        // The prompt is what is billed; parts of it that claim more than the whole are cut to it.
        let cache_read = self.cached.unwrap_or(0).min(prompt);
        let all_written = self.written.unwrap_or(0).min(prompt - cache_read);
        let cache_write_1h = self.written_1h.unwrap_or(0).min(all_written);
        Some(Usage {
            input: prompt - cache_read - all_written,
            cache_read,
            cache_write: all_written - cache_write_1h,
            cache_write_1h,
            output,
            reasoning: reasoning.min(output),
            input_audio: input_audio.min(prompt),
            output_audio: self.output_audio.unwrap_or(0).min(output),
            input_image: self.input_image.unwrap_or(0).min(prompt),
            output_image: self.output_image.unwrap_or(0).min(output),
            ..Usage::default()
        })
    }
}

/// The same of what is no conversation, where some vendors say a total only and nothing but the input counts, and OpenAI uses
/// the names of its Responses API.
pub(crate) fn read_task(raw: &RawValue) -> Option<Usage> {
    Counts::of(raw).usage(Beside::Added).or_else(|| {
        let (mut input, mut output, mut total) = (None, None, None);
        let (mut read, mut made) = (Details::default(), Details::default());
        members_of(raw, |name, value| match name {
            "input_tokens" => input = unsigned(value),
            "output_tokens" => output = unsigned(value),
            "total_tokens" => total = unsigned(value),
            "input_tokens_details" | "input_token_details" => read = Details::read(value),
            "output_tokens_details" | "output_token_details" => made = Details::read(value),
            _ => {}
        });
        let (prompt, output) = (input.or(total)?, output.unwrap_or(0));
        let cache_read = read.cached.min(prompt);
        Some(Usage {
            input: prompt - cache_read,
            cache_read,
            output,
            reasoning: made.reasoning.min(output),
            input_audio: read.audio.min(prompt),
            output_audio: made.audio.min(output),
            input_image: read.image.min(prompt),
            output_image: made.image.min(output),
            ..Usage::default()
        })
    })
}

/// Parts of the tokens that were read, or of those that were made.
#[derive(Default)]
struct Details {
    cached: u64,
    reasoning: u64,
    audio: u64,
    image: u64,
}

// === impl Details ===

impl Details {
    fn read(raw: &RawValue) -> Self {
        let mut details = Self::default();
        members_of(raw, |name, value| {
            let count = unsigned(value).unwrap_or(0);
            match name {
                "cached_tokens" => details.cached = count,
                "reasoning_tokens" => details.reasoning = count,
                "audio_tokens" => details.audio = count,
                "image_tokens" => details.image = count,
                _ => {}
            }
        });
        details
    }
}

/// The last usage object anywhere in `text`, which may be cut at its front. Cheap: looks from the end, builds nothing.
pub(crate) fn last_in(text: &[u8]) -> Option<Usage> {
    let with_tier = |place| Some(Usage { tier: tier_beside(text, place), ..at(text, place)? });
    // Most replies end with it, and looking forward is several times as fast.
    let end = text.len().saturating_sub(NEAR_END);
    let last = NAMED.find_iter(&text[end..]).last();
    last.and_then(|place| with_tier(end + place))
        .or_else(|| LAST_NAME.rfind_iter(text).take(MAX_PLACES).find_map(with_tier))
}

/// The member that says in which service tier a reply was made.
const TIER: &[u8] = b"\"service_tier\"";
// Made once: every reply is searched.
static FIRST_TIER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TIER));
static LAST_NAME: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(NAME));
static NAMED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));
/// From the end of a reply, within which most vendors put the usage.
const NEAR_END: usize = 512;
/// From the front of a reply, within which vendors put it who do not put it behind the usage.
const NEAR_FRONT: usize = 512;

/// The service tier that a reply tells beside the usage at `place`. The member's name in its quotes is never a part of a text.
pub(super) fn tier_beside(reply: &[u8], place: usize) -> Tier {
    let (front, behind) = reply.split_at(place);
    let in_front = || &front[..front.len().min(NEAR_FRONT)];
    let found = |part: &'_ [u8]| -> Option<Tier> {
        let value = part[FIRST_TIER.find(part)? + TIER.len()..].trim_ascii_start().strip_prefix(b":")?;
        let word = value.trim_ascii_start().strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', &word[..word.len().min(32)])?;
        Some(Tier::parse(std::str::from_utf8(&word[..end]).ok()?))
    };
    found(behind).or_else(|| found(in_front())).unwrap_or_default()
}

/// The same in the answer to a task, by [`read_task`].
pub(crate) fn last_task_in(text: &[u8]) -> Option<Usage> {
    LAST_NAME.rfind_iter(text).take(MAX_PLACES).find_map(|place| read_task(raw(object_at(text, place)?)?))
}

/// The usage whose name, quotes included, stands at `place`; most often it is null.
pub(super) fn at(text: &[u8], place: usize) -> Option<Usage> {
    let object = object_at(text, place)?;
    let mut counts = Counts::default();
    match counts::of_object(object, |of, name, count| counts.tell(of, name, count)) {
        Some(()) => counts.usage(Beside::LeftOut),
        None => raw(object).and_then(read),
    }
}

/// From its beginning to the end of the text.
fn object_at(text: &[u8], place: usize) -> Option<&[u8]> {
    let value = text[place + NAME.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    value.starts_with(b"{").then_some(value)
}

/// The object at the beginning of the text.
fn raw(text: &[u8]) -> Option<&RawValue> {
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}

/// Writes the member `usage`, or nothing where none is known.
pub(crate) fn write(usage: Option<Usage>, object: &mut Object<'_>) {
    let Some(usage) = usage else { return };
    object.object("usage", |object| {
        object.unsigned("prompt_tokens", usage.prompt());
        object.unsigned("completion_tokens", usage.output);
        object.unsigned("total_tokens", usage.total());
        object.object("prompt_tokens_details", |details| {
            details.unsigned("cached_tokens", usage.cache_read);
            details.unsigned("audio_tokens", usage.input_audio);
            if usage.input_image > 0 {
                details.unsigned("image_tokens", usage.input_image);
            }
            let written = usage.cache_write.saturating_add(usage.cache_write_1h);
            if written > 0 {
                details.unsigned("cache_write_tokens", written);
            }
            if usage.cache_write_1h > 0 {
                details.unsigned("cache_write_1h_tokens", usage.cache_write_1h);
            }
        });
        object.object("completion_tokens_details", |details| {
            details.unsigned("reasoning_tokens", usage.reasoning);
            details.unsigned("audio_tokens", usage.output_audio);
            if usage.output_image > 0 {
                details.unsigned("image_tokens", usage.output_image);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use gateway_ir::usage::Units;

    use super::*;

    fn check(text: &str, expected: Option<Usage>) {
        assert_eq!(read(serde_json::from_str(text).expect("JSON")), expected, "{text}");
    }

    #[test]
    fn every_shape_comes_out_disjoint() {
        let plain = Usage { input: 10, output: 4, ..Usage::default() };
        check(r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}"#, Some(plain));
        check(r#"{"prompt_tokens":10.0,"completion_tokens":4,"prompt_tokens_details":null,"cost":0.1}"#, Some(plain));
        let cached = Usage { input: 7, cache_read: 3, ..plain };
        check(
            r#"{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}"#,
            Some(cached),
        );
        check(r#"{"prompt_cache_hit_tokens":3,"prompt_tokens":10,"completion_tokens":4}"#, Some(cached));
        let reasoned = Usage { reasoning: 3, ..plain };
        check(
            r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"completion_tokens_details":{"reasoning_tokens":3}}"#,
            Some(reasoned),
        );
        check(
            r#"{"prompt_tokens":10,"completion_tokens":1,"total_tokens":14,"completion_tokens_details":{"reasoning_tokens":3}}"#,
            Some(reasoned),
        );
        check(
            r#"{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":9}}"#,
            Some(Usage { cache_read: 5, ..Usage::default() }),
        );
        check(
            r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":17,"prompt_tokens_details":{"audio_tokens":3}}"#,
            Some(plain),
        );
        let heard = Usage { input: 13, input_audio: 3, ..plain };
        check(
            r#"{"prompt_tokens":13,"completion_tokens":4,"total_tokens":17,"prompt_tokens_details":{"audio_tokens":3}}"#,
            Some(heard),
        );
        let seen = Usage { input_image: 6, output_image: 2, ..plain };
        check(
            r#"{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"image_tokens":6},"completion_tokens_details":{"image_tokens":2}}"#,
            Some(seen),
        );
        for nothing in ["null", "{}", "7", "[]", r#"{"queue_time":0.1}"#] {
            check(nothing, None);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let usage = Usage {
            input: 100,
            cache_read: 20,
            cache_write: 5,
            cache_write_1h: 7,
            output: 50,
            reasoning: 30,
            input_audio: 2,
            output_audio: 3,
            input_image: 4,
            output_image: 5,
            units: Units::None,
            ..Usage::default()
        };
        let mut out = BytesMut::new();
        crate::writer::object(&mut out, |object| write(Some(usage), object));
        assert_eq!(last_in(&out), Some(usage), "{out:?}");
    }

    #[test]
    fn finds_the_last_one_in_a_tail() {
        let tail = br#"ge":{"prompt_tokens":9}, "choices":[{"text":"\"usage\":{}"}], "usage" : {"prompt_tokens":1,"completion_tokens":2},"x":"usage"}"#;
        assert_eq!(last_in(tail), Some(Usage { input: 1, output: 2, ..Usage::default() }));
        let tier = |text: &[u8]| last_in(text).map(|usage| usage.tier);
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
        for (text, expected) in [
            (format!(r#"{{"id":"x",{usage},"service_tier" : "priority"}}"#), Tier::Priority),
            (format!(r#"{{"service_tier":"flex","choices":[],{usage}}}"#), Tier::Flex),
            (format!(r#"{{"a":"\"service_tier\":\"flex\"",{usage},"service_tier":"default"}}"#), Tier::Standard),
            (format!(r#"{{"a":"\"service_tier\":\"flex\"",{usage}}}"#), Tier::Standard),
            (format!(r#"{{{usage},"service_tier":null}}"#), Tier::Standard),
        ] {
            assert_eq!(tier(text.as_bytes()), Some(expected), "{text}");
        }
        assert_eq!(last_in(br#"{"usage":null}"#), None);
        assert_eq!(last_in(br#"{"usage":{"prompt_tokens":1"#), None);
    }
}
