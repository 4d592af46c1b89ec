//! What of a translated stream must be known to go on with it elsewhere: what has been said, whether anything else was, and what it
//! has used. Only streams have it for which the policy says so.

use gateway_engine::count;
use gateway_ir::event::Event;
use gateway_ir::usage::Usage;

use super::seam::{Seam, Way};

/// Longer replies are not gone on with: what was said is kept beside the stream, and read by the next target.
const MAX_SAID: usize = 64 * 1024;

/// One stream, over all that go on with it.
#[derive(Default)]
pub(super) struct Sewing {
    said: String,
    /// Why nobody can go on with it.
    bar: Option<&'static str>,
    /// The last word on the usage of the one that is telling, and whether that covers all it has told.
    usage: Option<Usage>,
    covers_all: bool,
    /// Bytes of what that one has told.
    n_told: usize,
    /// Of those before.
    before: Usage,
    /// Where this one begins, if it was not the first.
    seam: Option<Seam>,
}

// === impl Sewing ===

impl Sewing {
    /// What was told, where somebody else can go on from there; else why not.
    pub(super) fn said(&self) -> Result<&str, &'static str> {
        self.bar.map_or(Ok(&self.said), Err)
    }

    /// Bytes that whoever goes on reads besides the request.
    pub(super) fn n_said(&self) -> u64 {
        self.said.len() as u64
    }

    /// What of the events goes to the client: of whoever goes on neither a second beginning nor what is repeated nor thoughts behind
    /// the words, and nothing about itself.
    pub(super) fn sew(&mut self, events: &mut Vec<Event>) {
        let Some(seam) = &mut self.seam else { return };
        let mut sewn = Vec::with_capacity(events.len() + 1);
        for event in events.drain(..) {
            match event {
                Event::Text { choice, text } => match seam.push(text) {
                    text if text.is_empty() => {}
                    text => sewn.push(Event::Text { choice, text }),
                },
                Event::Start { .. } | Event::Meta { .. } => {}
                Event::Reasoning { .. } | Event::ReasoningSignature { .. } | Event::RedactedReasoning { .. } => {}
                Event::Usage(_) => sewn.push(event),
                other => {
                    sewn.extend(held(seam));
                    sewn.push(other);
                }
            }
        }
        *events = sewn;
    }

    /// The upstream has closed.
    pub(super) fn sew_end(&mut self, events: &mut Vec<Event>) {
        self.sew(events);
        events.extend(self.seam.as_mut().and_then(held));
    }

    /// An event goes to the client.
    pub(super) fn hear(&mut self, event: &Event) {
        let bar = match event {
            Event::Text { choice: 0, text } => {
                self.n_told += text.len();
                self.covers_all = false;
                if self.said.len() + text.len() > MAX_SAID {
                    self.bar("too_long");
                } else if self.bar.is_none() {
                    self.said.push_str(text);
                }
                return;
            }
            Event::Usage(usage) => {
                (self.usage, self.covers_all) = (Some(*usage), true);
                return;
            }
            Event::Start { .. } | Event::Meta { .. } | Event::Error(_) => return,
            Event::Text { .. } => "several_choices",
            Event::Refusal { .. } => "refusal",
            Event::Reasoning { .. } | Event::ReasoningSignature { .. } | Event::RedactedReasoning { .. } => "reasoning",
            Event::ToolCallStart { .. } | Event::ToolCallArguments { .. } => "tool_call",
            Event::Citation { .. } | Event::Logprobs { .. } | Event::Opaque { .. } => "more_than_text",
            Event::Finish { .. } | Event::End => "finished",
        };
        self.bar(bar);
    }

    fn bar(&mut self, why: &'static str) {
        self.bar.get_or_insert(why);
        self.said = String::new();
    }

    /// The sum that the client is told.
    pub(super) fn total(&self, usage: &Usage) -> Usage {
        self.before.plus(usage)
    }

    /// What the one that broke off has used, and whether that is its own word. What it has not counted is estimated by what it told.
    pub(super) fn used(&self, n_input_bytes: u64) -> (Usage, bool) {
        let estimate = count::estimate(n_input_bytes, self.n_told as u64);
        match self.usage {
            Some(usage) if self.covers_all => (usage, true),
            Some(usage) => (Usage { output: usage.output.max(estimate.output), ..usage }, false),
            None => (estimate, false),
        }
    }

    /// Somebody else goes on, who was asked in this way; the one before has used so much.
    pub(super) fn goes_on(&mut self, way: Way, used: &Usage) {
        self.before = self.before.plus(used);
        (self.usage, self.covers_all, self.n_told) = (None, false, 0);
        self.seam = Some(Seam::new(&self.said, way));
    }
}

fn held(seam: &mut Seam) -> Option<Event> {
    let text = seam.flush();
    (!text.is_empty()).then_some(Event::Text { choice: 0, text })
}
