//! Agents behind the gateway: which one is meant, whether it may be asked that, and its card as clients are to see it.

use bytes::Bytes;
use gateway_engine::pass::Reach;
use gateway_engine::snapshot::Agent;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Units;
use http::header::HOST;
use http::{HeaderMap, HeaderName, Uri};
use serde_json::Value;

use super::aim::{Aim, Asking};
use super::rpc;
use crate::pipeline::Said;
use crate::receive;

/// Names the agent of a call whose path does not.
const HEADER: &str = "x-gateway-agent";
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Where an agent's card is, <https://a2a-protocol.org/latest/specification/#82-agent-discovery>; and was before 0.3.
const CARDS: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];

// === impl Asking ===

impl Asking<'_> {
    /// A call: the body goes on as it is.
    pub(super) async fn called(&self, named: Option<&str>, body: Said) -> Result<Aim, Box<Failure>> {
        let bounds = receive::Bounds::of(&self.config.snapshot.settings);
        let body = match body {
            Said::Coming(body) => receive::body(self.headers, body, bounds).await?,
            Said::Here(body) | Said::For(_, body) => body,
        };
        let call = rpc::call(&body)?;
        let by_header = self.headers.get(HEADER).and_then(|name| name.to_str().ok());
        let agent = self.agent(named.or(by_header).or(call.agent.as_deref()))?;
        if !agent.takes(&call.method) {
            let message = format!("the agent `{}` may not be asked `{}`", agent.name, call.method);
            return Err(Box::new(Failure::new(Code::NotAllowed, message).at("method")));
        }
        let uri = agent.provider.endpoint.under_api("", None);
        self.of_agent(agent, uri, body)
    }

    /// Its card, from the host that it is on.
    pub(super) fn card(&self, named: Option<&str>) -> Result<Aim, Box<Failure>> {
        let agent = self.agent(named)?;
        let path = CARDS.iter().find(|card| self.uri.path().ends_with(*card)).unwrap_or(&CARDS[0]);
        self.of_agent(agent, agent.provider.endpoint.on_host(path), Bytes::new())
    }

    fn of_agent(&self, agent: &Agent, uri: Option<Uri>, body: Bytes) -> Result<Aim, Box<Failure>> {
        let uri = uri.ok_or_else(|| Box::new(Failure::new(Code::Internal, "an agent's URL cannot be put together")))?;
        Ok(Aim {
            provider: std::sync::Arc::clone(&agent.provider),
            reach: Reach::Account,
            uri,
            metered: None,
            of_batches: false,
            model: String::new(),
            n_bytes: body.len() as u64,
            units: Units::None,
            body: crate::body::Pieces::from(body).into(),
        })
    }

    /// The agent of that name, or the only one there is for this caller. Which others there are is not told.
    fn agent(&self, named: Option<&str>) -> Result<&Agent, Box<Failure>> {
        let mut open = self.config.snapshot.agents.iter().filter(|agent| agent.is_open_to(self.caller));
        let found = match named {
            Some(name) => open.find(|agent| *agent.name == *name),
            None => match (open.next(), open.next()) {
                (Some(_), Some(_)) => {
                    let message = "there are several agents; name one: `/v1/a2a/{agent}`, the header `x-gateway-agent` or \
                        `params.metadata.agent`";
                    return Err(Box::new(Failure::invalid(message)));
                }
                (only, _) => only,
            },
        };
        found.ok_or_else(|| {
            let which = named.map(|name| format!(" `{}`", name.escape_debug())).unwrap_or_default();
            let message = format!("there is no agent{which} for this API key; its `models` must cover `a2a/…`");
            Box::new(Failure::new(Code::NotFound, message))
        })
    }
}

/// A card on which the agent's address is the gateway's, so that whoever reads it comes back here. `None` if it is none.
pub(super) fn card(body: &[u8], path: &str, headers: &HeaderMap) -> Option<Bytes> {
    let mut card: Value = serde_json::from_slice(body).ok()?;
    let members = card.as_object_mut()?;
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = said(&HOST);
    let place = path.split("/.well-known/").next().unwrap_or_default();
    // What a balancer in front says goes back through it, and to nobody else.
    let scheme = if said(&FORWARDED_PROTO) == "https" { "https" } else { "http" };
    let address = Value::from(format!("{scheme}://{host}{place}"));
    members.insert("url".to_owned(), address.clone());
    // Others lead around the gateway, and what is signed is not this.
    members.remove("signatures");
    members.remove("additionalInterfaces");
    if let Some(Value::Array(interfaces)) = members.get_mut("supportedInterfaces") {
        interfaces.retain(|interface| interface["protocolBinding"] == "JSONRPC");
        interfaces.iter_mut().for_each(|interface| interface["url"] = address.clone());
    }
    Some(card.to_string().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_card_leads_to_the_gateway() {
        let theirs = json!({"name": "a", "url": "https://agent.example/rpc", "signatures": [{}],
            "additionalInterfaces": [{"url": "https://agent.example/grpc"}],
            "supportedInterfaces": [{"protocolBinding": "GRPC", "url": "u"}, {"protocolBinding": "JSONRPC", "url": "v"}]});
        let headers = HeaderMap::from_iter([
            (HOST, "gateway.example".parse().expect("a value")),
            (FORWARDED_PROTO.clone(), "https".parse().expect("a value")),
        ]);
        let path = "/v1/a2a/a/.well-known/agent-card.json";
        let ours = card(theirs.to_string().as_bytes(), path, &headers).expect("a card");
        let ours: Value = serde_json::from_slice(&ours).expect("JSON");
        let address = "https://gateway.example/v1/a2a/a";
        let expected = json!({"name": "a", "url": address,
            "supportedInterfaces": [{"protocolBinding": "JSONRPC", "url": address}]});
        assert_eq!(ours, expected);
        assert_eq!(card(b"[]", path, &headers), None);
    }
}
