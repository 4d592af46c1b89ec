//! A request whose model the client leaves to the gateway, or whose model is tried out against others: what serves it.

use gateway_ir::failure::Failure;
use gateway_ir::prompt::Prompt;
use gateway_model::kind::route::Kind;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ask::{self, Ask};
use crate::auto::{self, Judgement};
use crate::identity::Caller;
use crate::resolve::{Arm, Resolved, resolve, resolve_chosen};
use crate::snapshot::Snapshot;

/// What was chosen, for the record and the reply to tell. Nothing, for most requests.
#[derive(Debug, Default)]
pub struct Chosen {
    /// What was made of the prompt, where the client leaves the model to the gateway.
    pub judged: Option<Box<Judgement>>,
    /// Which variant serves, where the model is tried out against others.
    pub arm: Option<Box<Arm>>,
}

/// What was made of a prompt, and the request's headers with that among them.
#[derive(Debug)]
pub struct Read {
    pub(crate) judgement: Judgement,
    pub(crate) headers: HeaderMap,
}

/// Reads a conversation that leaves the model to the gateway; `None` where it does not, or where nothing is chosen. Nothing
/// but the name is looked at then.
pub fn read(snapshot: &Snapshot, ask: &Ask<'_>, body: &[u8]) -> Option<Read> {
    let auto = snapshot.settings.auto.as_ref().filter(|_| auto::is_named(ask.name()))?;
    let kind = request_type(ask::kind(ask.path))?;
    let judgement = auto.judge(&Prompt::read(body));
    let mut headers = ask.headers.clone();
    for (names, value) in judgement.told() {
        names.all().for_each(|name| drop(headers.insert(name, value.clone())));
    }
    for name in REQUEST_TYPE.map(HeaderName::from_static) {
        headers.insert(name, HeaderValue::from_static(kind));
    }
    for name in REQUIRES_TOOLS.map(HeaderName::from_static) {
        match judgement.signals.tools {
            true => headers.insert(name, HeaderValue::from_static("true")),
            false => headers.remove(name),
        };
    }
    Some(Read { judgement, headers })
}

/// Finds what serves a request, of which `read` is what was read.
pub fn choose(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    read: Option<Read>,
    body: &[u8],
    caller: &Caller,
) -> Result<(Resolved, Chosen), Box<Failure>> {
    let auto = snapshot.settings.auto.as_ref();
    let (Some(Read { judgement, headers }), Some(auto)) = (read, auto) else {
        let (resolved, arm) = resolve(snapshot, ask, caller)?.on_trial(snapshot, ask, caller, body);
        return Ok((resolved, Chosen { judged: None, arm }));
    };
    let ask = Ask { headers: &headers, ..*ask };
    let resolved = resolve_chosen(snapshot, &ask, auto.models(judgement.bucket), caller)?;
    let (resolved, arm) = resolved.on_trial(snapshot, &ask, caller, body);
    Ok((resolved, Chosen { judged: Some(Box::new(judgement)), arm }))
}

const REQUEST_TYPE: [&str; 2] = ["x-gateway-request-type", "x-lunargate-request-type"];
const REQUIRES_TOOLS: [&str; 2] = ["x-gateway-requires-tools", "x-lunargate-requires-tools"];

/// What is asked for, as routes know it; `None` for what is no conversation.
fn request_type(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Chat => Some("chat_completions"),
        Kind::Completions => Some("completions"),
        Kind::Responses => Some("responses"),
        Kind::Messages => Some("messages"),
        Kind::Generate => Some("generate_content"),
        _ => None,
    }
}
