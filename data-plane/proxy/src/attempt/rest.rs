//! How a target is asked for the rest of a reply that broke off.

use std::borrow::Cow;

use gateway_engine::count;
use gateway_engine::snapshot::Target;
use gateway_ir::chat::{ChatRequest, Content, Message, Part, Role};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::quirks::Prefill;
use serde_json::value::RawValue;

use super::{Lane, Outbound};
use crate::relay::Way;

/// What is said to a target that goes on from no turn of the assistant.
const GO_ON: &str = "Your reply was cut off in transit. Go on exactly where it stops, with the very next character: repeat nothing \
    of it, add no remark, and end it as you would have.";

// === impl Way ===

impl Way {
    /// How a target is asked to go on with what was said, by what is declared of it.
    pub(super) fn of(target: &Target, inbound: Dialect, said: &str) -> Self {
        match target.quirks.prefill {
            _ if said.trim().is_empty() => Self::Anew,
            _ if target.provider.dialect_for(inbound) == Dialect::OpenAiCompletions => Self::Prompt,
            Some(_) => Self::Prefill { echo: target.quirks.prefill_echo },
            None => Self::Asked,
        }
    }
}

/// The request for the rest, for this target.
pub(super) fn going_on<'r>(
    request: &'r ChatRequest,
    said: Option<&str>,
    target: &Target,
    inbound: Dialect,
) -> Cow<'r, ChatRequest> {
    let Some(said) = said else { return Cow::Borrowed(request) };
    let mut request = request.clone();
    if let Some(most) = &mut request.sampling.max_output_tokens {
        *most = most.saturating_sub(count::estimate(0, said.len() as u64).output).max(1);
    }
    let way = Way::of(target, inbound, said);
    let turn = |said: &str| Message::new(Role::Assistant, vec![Part::text(said)]);
    match way {
        Way::Anew => {}
        Way::Prefill { .. } => {
            let extra = match target.quirks.prefill {
                Some(Prefill::Marked(member)) => marked(member),
                _ => Extra::default(),
            };
            request.messages.push(Message { extra, ..turn(said.trim_end()) });
        }
        Way::Prompt => match request.messages.as_mut_slice() {
            // One user's text is the prompt as it stands.
            [Message { role: Role::User, parts, .. }] => match parts.last_mut() {
                Some(Part { content: Content::Text(text), .. }) => text.push_str(said),
                _ => parts.push(Part::text(said)),
            },
            _ => request.messages.push(turn(said)),
        },
        Way::Asked => {
            request.messages.push(turn(said));
            request.messages.push(Message::new(Role::User, vec![Part::text(GO_ON)]));
        }
    }
    Cow::Owned(request)
}

fn marked(member: &str) -> Extra {
    let yes = RawValue::from_string("true".to_owned()).expect("`true` is JSON");
    Extra::new(Dialect::OpenAiChat, vec![(member.to_owned(), yes)])
}

// === impl Outbound ===

impl Outbound<'_> {
    /// Whether the reply of a target is read and written anew, so that somebody else can go on with it.
    pub(super) fn lane_of(&self, target: &Target, is_continued: bool) -> Lane {
        let must_be_read = self.said.is_some() || is_continued && self.stream && self.terms.may_continue;
        match must_be_read {
            true => Lane::Translate,
            false => Lane::choose(self.inbound, target, self.stream, self.facts, self.body),
        }
    }
}
