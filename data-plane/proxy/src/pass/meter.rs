//! What a passing request asks of a model, as its path says, and the tap that reads what was used from the reply. The bytes go
//! on as they came, whatever the tap makes of them.

use bytes::Bytes;
use gateway_dialects::dialect::{Seen, StreamDecoder, StreamTap, TapOptions};
use gateway_dialects::{registry, task_events};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::task::Task;
use gateway_ir::usage::Units;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::tail::Tail;

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metered {
    pub(super) kind: Kind,
    /// Where the path names it.
    pub(super) model: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chat(Dialect),
    Task(Task),
    /// A model is asked in words that nobody here reads.
    Unread,
}

// === impl Kind ===

impl Kind {
    /// Whether the size of a request says how much a model reads.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Chat(_) | Self::Unread | Self::Task(Task::Embeddings | Task::Rerank))
    }

    /// What a request says of itself, where all of it is here.
    pub(super) fn units(self, body: &[u8]) -> Units {
        match self {
            Self::Task(task) => registry::family(task).units_of_request(body),
            Self::Chat(_) | Self::Unread => Units::None,
        }
    }
}

/// Ends of paths. Those that begin with `:` or are listed with a model stand behind one.
const ENDS: &[(&str, Kind)] = &[
    ("/chat/completions", Kind::Chat(Dialect::OpenAiChat)),
    ("/completions", Kind::Chat(Dialect::OpenAiCompletions)),
    ("/responses", Kind::Chat(Dialect::OpenAiResponses)),
    ("/v1/messages", Kind::Chat(Dialect::AnthropicMessages)),
    ("/v2/chat", Kind::Chat(Dialect::CohereV2)),
    ("/api/chat", Kind::Chat(Dialect::OllamaChat)),
    ("/embeddings", Kind::Task(Task::Embeddings)),
    ("/v2/embed", Kind::Task(Task::Embeddings)),
    ("/api/embed", Kind::Task(Task::Embeddings)),
    ("/rerank", Kind::Task(Task::Rerank)),
    ("/moderations", Kind::Task(Task::Moderations)),
    ("/images/generations", Kind::Task(Task::Images)),
    ("/images/edits", Kind::Task(Task::ImageEdits)),
    ("/images/variations", Kind::Task(Task::ImageVariations)),
    ("/audio/speech", Kind::Task(Task::Speech)),
    ("/audio/transcriptions", Kind::Task(Task::Transcriptions)),
    ("/audio/translations", Kind::Task(Task::Translations)),
];

/// The same behind a model in the path.
const METHODS: &[(&str, Kind)] = &[
    (":generateContent", Kind::Chat(Dialect::GeminiGenerate)),
    (":streamGenerateContent", Kind::Chat(Dialect::GeminiGenerate)),
    (":batchEmbedContents", Kind::Task(Task::Embeddings)),
    ("/converse", Kind::Chat(Dialect::BedrockConverse)),
    ("/converse-stream", Kind::Chat(Dialect::BedrockConverse)),
    ("/invoke", Kind::Unread),
    ("/invoke-with-response-stream", Kind::Unread),
    (":rawPredict", Kind::Unread),
    (":streamRawPredict", Kind::Unread),
];

/// What a path asks of a model; `path` has no escapes left.
pub(super) fn asked(path: &str) -> Option<Metered> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let path = format!("/{}", segments.join("/"));
    for (end, kind) in METHODS {
        let Some(before) = path.strip_suffix(end) else { continue };
        let model = ["/models/", "/model/"].iter().find_map(|mark| before.split_once(mark));
        return Some(Metered { kind: *kind, model: model.map(|(_, model)| model.to_owned()) });
    }
    let found = ENDS.iter().find(|(end, _)| path.ends_with(end));
    // Azure's deployments are models of its customers' making.
    let deployment = path.split_once("/deployments/").and_then(|(_, behind)| behind.split('/').next());
    found.map(|(_, kind)| Metered { kind: *kind, model: deployment.map(str::to_owned) })
}

/// Watches a reply on its way.
pub(super) struct Through {
    watch: Watch,
    /// An error can be told in it.
    is_events: bool,
    seen: Seen,
}

enum Watch {
    Nothing,
    Tap(Box<dyn StreamTap>),
    /// A dialect that clients do not speak, and so has no tap.
    Decoder(Box<dyn StreamDecoder>, Vec<Event>),
    /// A whole reply of such a dialect, and what has come of it.
    Whole(Dialect, Vec<u8>),
}

/// A whole reply of a dialect that clients do not speak is kept up to here.
const MAX_KEPT: usize = 4 * 1024 * 1024;

// === impl Through ===

impl Through {
    /// `refused`: the upstream said no, and this is what it meant.
    pub(super) fn new(asked: Option<Kind>, headers: &HeaderMap, refused: Option<Box<Failure>>) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_events = kind.starts_with("text/event-stream");
        let is_stream = is_events || ["application/vnd.amazon.eventstream", "application/x-ndjson"].contains(&kind);
        let watch = match asked.filter(|_| refused.is_none()) {
            Some(Kind::Chat(dialect)) if is_stream => match registry::client_dialect(dialect) {
                Some(dialect) => Watch::Tap(dialect.stream_tap(TapOptions::default())),
                None => Watch::Decoder(registry::dialect(dialect).stream_decoder(), Vec::new()),
            },
            Some(Kind::Chat(dialect)) => match registry::client_dialect(dialect) {
                Some(dialect) => Watch::Tap(Box::new(Tail::of_conversation(dialect, Bytes::new()))),
                None => Watch::Whole(dialect, Vec::new()),
            },
            Some(Kind::Task(task)) if is_events => {
                Watch::Tap(Box::new(task_events::Events::new(Some(registry::family(task)))))
            }
            Some(Kind::Task(task)) => Watch::Tap(Box::new(Tail::of_task(registry::family(task), Bytes::new()))),
            Some(Kind::Unread) | None => Watch::Nothing,
        };
        Self { watch, is_events, seen: Seen { error: refused, ..Seen::default() } }
    }

    pub(super) fn is_events(&self) -> bool {
        self.is_events
    }

    /// What cannot be read is not metered, and passes all the same.
    fn watch(&mut self, chunk: &Bytes) -> Result<(), Box<Failure>> {
        match &mut self.watch {
            Watch::Nothing => {}
            Watch::Tap(tap) => {
                tap.push(chunk.clone())?;
                self.seen = tap.seen().clone();
            }
            Watch::Decoder(decoder, events) => {
                decoder.push(chunk, events)?;
                heard(events, &mut self.seen);
            }
            Watch::Whole(_, kept) if kept.len() + chunk.len() <= MAX_KEPT => kept.extend_from_slice(chunk),
            Watch::Whole(..) => self.watch = Watch::Nothing,
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(), Box<Failure>> {
        match &mut self.watch {
            Watch::Nothing => Ok(()),
            Watch::Tap(tap) => {
                let ended = tap.finish().map(drop);
                self.seen = tap.seen().clone();
                ended
            }
            Watch::Decoder(decoder, events) => {
                decoder.finish(events)?;
                heard(events, &mut self.seen);
                Ok(())
            }
            Watch::Whole(dialect, kept) => {
                let mut events = registry::dialect(*dialect).decode_reply(kept)?;
                heard(&mut events, &mut self.seen);
                Ok(())
            }
        }
    }
}

impl StreamTap for Through {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        if self.watch(&chunk).is_err() {
            self.watch = Watch::Nothing;
        }
        Ok(chunk)
    }

    /// The bytes have gone as they are, so that an end too early is for the record alone.
    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        if let Err(failure) = self.ended() {
            self.seen.error.get_or_insert(failure);
        }
        Ok(Bytes::new())
    }

    /// An event stream gets one event more; anything else is cut.
    fn fail(&mut self, failure: &Failure) -> Bytes {
        if !self.is_events {
            return Bytes::new();
        }
        let event = match &mut self.watch {
            Watch::Tap(tap) => tap.fail(failure),
            _ => task_events::Events::new(None).fail(failure),
        };
        // An event of which half has gone must not run into this one.
        [b"\n\n".as_slice(), &event].concat().into()
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}

fn heard(events: &mut Vec<Event>, seen: &mut Seen) {
    for event in events.drain(..) {
        match event {
            Event::Usage(usage) => seen.usage = Some(usage),
            Event::Text { text, .. } | Event::Reasoning { text, .. } | Event::Refusal { text, .. } => {
                seen.content_bytes += text.len() as u64;
            }
            Event::Error(failure) => seen.error = Some(failure),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked_of_a_model() {
        let of = |kind, model: Option<&str>| Some(Metered { kind, model: model.map(str::to_owned) });
        let cases = [
            ("/v1/chat/completions", of(Kind::Chat(Dialect::OpenAiChat), None)),
            ("/openai/v1//chat/completions/", of(Kind::Chat(Dialect::OpenAiChat), None)),
            ("/v1/completions", of(Kind::Chat(Dialect::OpenAiCompletions), None)),
            ("/v1/messages", of(Kind::Chat(Dialect::AnthropicMessages), None)),
            ("/v1/threads/t/messages", None),
            ("/v1beta/models/g-2:generateContent", of(Kind::Chat(Dialect::GeminiGenerate), Some("g-2"))),
            ("/model/a.b-v1:0/converse", of(Kind::Chat(Dialect::BedrockConverse), Some("a.b-v1:0"))),
            ("/model/a.b-v1:0/invoke", of(Kind::Unread, Some("a.b-v1:0"))),
            ("/v1/projects/p/locations/l/publishers/x/models/m:rawPredict", of(Kind::Unread, Some("m"))),
            ("/openai/deployments/d/chat/completions", of(Kind::Chat(Dialect::OpenAiChat), Some("d"))),
            ("/v1/embeddings", of(Kind::Task(Task::Embeddings), None)),
            ("/v1/files", None),
            ("/", None),
        ];
        for (path, expected) in cases {
            assert_eq!(asked(path), expected, "{path}");
        }
    }

    #[test]
    fn usage_is_read_and_bytes_stay() {
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n\
            event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let ollama = "{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"done\":false}\n\
            {\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":5,\"eval_count\":7}\n";
        let whole = "{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}";
        let cases = [
            (Kind::Chat(Dialect::AnthropicMessages), "text/event-stream", anthropic),
            (Kind::Chat(Dialect::OllamaChat), "application/x-ndjson", ollama),
            (Kind::Chat(Dialect::OllamaChat), "application/json", ollama.lines().next_back().expect("a line")),
            (Kind::Chat(Dialect::OpenAiChat), "application/json", whole),
        ];
        for (kind, media_type, reply) in cases {
            for n_bytes in [1, 10, reply.len()] {
                let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().expect("a value"))]);
                let mut through = Through::new(Some(kind), &headers, None);
                let mut out = Vec::new();
                for piece in reply.as_bytes().chunks(n_bytes) {
                    out.extend_from_slice(&through.push(Bytes::copy_from_slice(piece)).expect("it passes"));
                }
                out.extend_from_slice(&through.finish().expect("it passes"));
                assert_eq!(out, reply.as_bytes(), "{kind:?}");
                let usage = through.seen().usage.map(|usage| (usage.input, usage.output));
                assert_eq!(usage, Some((5, 7)), "{kind:?} in pieces of {n_bytes}: {:?}", through.seen().error);
            }
        }
    }
}
