//! Streams of events that pass in what is no conversation: partial pictures, transcripts, speech in pieces. OpenAI's events,
//! <https://platform.openai.com/docs/api-reference/images-streaming>.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::{Units, Usage};

use crate::dialect::{Seen, StreamTap};
use crate::framing::passing::{Passing, Verdict};
use crate::framing::sse;
use crate::openai_chat;
use crate::reading::members;
use crate::refused;
use crate::task::Family;

/// Watches a stream for its usage, an error in it and its end.
pub struct Events {
    passing: Passing,
    watch: Watch,
}

struct Watch {
    /// `None` where nobody knows what the events are about.
    family: Option<&'static dyn Family>,
    n_pictures: u64,
    seen: Seen,
}

// === impl Events ===

impl Events {
    pub fn new(family: Option<&'static dyn Family>) -> Self {
        Self { passing: Passing::default(), watch: Watch { family, n_pictures: 0, seen: Seen::default() } }
    }
}

// === impl Watch ===

impl Watch {
    fn judge(&mut self, block: &[u8]) -> Verdict {
        let seen = &mut self.seen;
        let Some(event) = sse::read_block(block) else { return Verdict::Keep };
        seen.content_events += 1;
        if event.data.trim_ascii() == b"[DONE]" {
            (seen.finished, seen.ended) = (true, true);
            return Verdict::Keep;
        }
        let (mut kind, mut is_error) = (String::new(), event.name == b"error");
        members(&event.data, |name, raw| match name {
            "type" => kind = raw.get().trim_matches('"').to_owned(),
            "error" => is_error |= raw.get() != "null",
            _ => {}
        })
        .ok();
        if is_error || kind == "error" {
            seen.error = Some(refused::inside(&event.data).unwrap_or_else(|| {
                Box::new(Failure::new(Code::UpstreamError, "the upstream reported an error inside its stream"))
            }));
        }
        // `transcript.text.done`, `speech.audio.done`, `image_generation.completed`, `image_edit.completed`; in the data as well as
        // before it, or in one of the two.
        let kinds = [kind.as_bytes(), event.name];
        seen.finished |= kinds.iter().any(|kind| kind.ends_with(b".done") || kind.ends_with(b".completed"));
        let is_picture = kinds.iter().any(|kind| kind.starts_with(b"image_") && kind.ends_with(b".completed"));
        let tokens = openai_chat::usage::last_task_in(&event.data);
        let tokens = tokens.map(|usage| self.family.map_or(usage, |family| family.classed(usage)));
        seen.usage = tokens.or(seen.usage);
        self.n_pictures += u64::from(is_picture);
        if self.n_pictures > 0 {
            let units = Units::PicturesMade(self.n_pictures);
            seen.usage = Some(Usage { units, ..seen.usage.unwrap_or_default() });
        }
        Verdict::Keep
    }
}

impl StreamTap for Events {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        let watch = &mut self.watch;
        self.passing.push(chunk, |block| watch.judge(block))
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        let rest = self.passing.take_rest();
        self.watch.judge(&rest);
        if self.watch.seen.finished || self.watch.seen.error.is_some() {
            return Ok(rest);
        }
        let message = "the upstream closed the stream before it had finished its reply";
        Err(Box::new(Failure::new(Code::UpstreamCut, message)))
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        let mut out = BytesMut::new();
        if self.watch.seen.error.is_none() {
            openai_chat::error::event(failure, &mut out);
        }
        out.freeze()
    }

    fn seen(&self) -> &Seen {
        &self.watch.seen
    }
}

#[cfg(test)]
mod tests {
    use gateway_ir::task::Task;

    use super::*;
    use crate::registry;

    fn passed(stream: &str, n_bytes: usize) -> (String, Result<(), Box<Failure>>, Seen) {
        let (mut tap, mut out) = (Events::new(Some(registry::family(Task::Images))), Vec::new());
        for piece in stream.as_bytes().chunks(n_bytes) {
            out.extend_from_slice(&tap.push(Bytes::copy_from_slice(piece)).expect("small events"));
        }
        let end = tap.finish().map(|last| out.extend_from_slice(&last));
        (String::from_utf8(out).expect("text"), end, tap.seen().clone())
    }

    #[test]
    fn streams_pass_whole_and_cut_ones_are_told() {
        let whole = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\"}\n\n\
            data: {\"type\":\"image_generation.completed\",\"usage\":{\"input_tokens\":7,\"output_tokens\":8}}\n\n";
        for n_bytes in [1, 7, whole.len()] {
            let (out, end, seen) = passed(whole, n_bytes);
            assert_eq!((out.as_str(), end.is_ok()), (whole, true));
            let drawn = Usage { input: 7, output: 8, output_image: 8, ..Usage::of_units(Units::PicturesMade(1)) };
            assert_eq!(seen.usage, Some(drawn));
            let (_, end, _) = passed(&whole[..whole.len() / 2], n_bytes);
            assert_eq!(end.expect_err("a cut stream").code, Code::UpstreamCut);
        }
        for end in
            ["event: image_edit.completed\ndata: {}\n\n", "data: {\"type\":\"speech.audio.done\"}\n\n", "data: [DONE]"]
        {
            assert!(passed(end, 3).1.is_ok(), "{end}");
        }
        let (_, end, seen) = passed("event: error\ndata: {\"error\":{\"message\":\"no\",\"code\":\"x\"}}\n\n", 9);
        assert!(end.is_ok() && seen.error.is_some_and(|failure| failure.message == "no"));
    }
}
