//! Paths of what passes as it is: `/proxy/{provider}/…`, files and batches, and whatever else stands behind `/v1/`.

use std::sync::Arc;

use gateway_engine::pass::is_owned;
use gateway_engine::snapshot::Service;
use gateway_ir::failure::{Code, Failure};
use http::Method;

use super::percent_decoded;

/// Where a request passes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Anywhere on a provider's host; `path` begins with a slash.
    Proxy { provider: String, path: String },
    /// An operation on what a vendor keeps. `tail` is what stands behind `/v1`.
    Kept { service: Service, id: Option<String>, tail: String },
    /// A call of an agent; `None`: the path does not say which.
    AgentCall { agent: Option<String> },
    /// What an agent says of itself.
    AgentCard { agent: Option<String> },
    /// A conversation over a WebSocket.
    Realtime,
    /// An operation on what this caller's provider keeps for it. `tail` is what stands behind `/v1`.
    Held { provider: Arc<str>, tail: String },
    /// Another operation of OpenAI's API; `tail` is what stands behind `/v1`.
    Other { tail: String },
}

/// Escapes within escapes are undone so many times; nobody nests them deeper for a good reason.
const MAX_ROUNDS: usize = 8;

/// Reads a path of the gateway's own form; `None` where nothing passes. Paths that lead elsewhere than they say are refused.
pub(crate) fn way(method: &Method, path: &str) -> Option<Result<Way, Box<Failure>>> {
    let tail = path.strip_prefix("/v1").filter(|tail| tail.starts_with('/'))?;
    let segments: Vec<&str> = tail.split('/').skip(1).collect();
    let service = match *segments.first()? {
        "files" => Service::Files,
        "batches" => Service::Batches,
        "a2a" => return Some(checked(tail).and_then(|_| of_agent(method, &segments[1..], tail))),
        "realtime" if segments.len() == 1 => {
            return Some(allowed(&[Method::GET], method, tail).map(|()| Way::Realtime));
        }
        "" => return None,
        _ if is_owned(&tail[1..]) => return None,
        _ => return Some(checked(tail).map(|_| Way::Other { tail: tail.to_owned() })),
    };
    Some(checked(tail).and_then(|_| kept(method, service, &segments[1..], tail)))
}

/// Reads what stands behind `/proxy/`.
pub(crate) fn proxied(rest: &str) -> Result<Way, Box<Failure>> {
    let (provider, path) = rest.split_once('/').unwrap_or((rest, ""));
    if provider.is_empty() {
        return Err(unknown("the path is `/proxy/{provider}/` and then the vendor's own"));
    }
    let path = format!("/{path}");
    checked(&path)?;
    Ok(Way::Proxy { provider: percent_decoded(provider), path })
}

fn of_agent(method: &Method, segments: &[&str], tail: &str) -> Result<Way, Box<Failure>> {
    let name = |name: &str| Some(percent_decoded(name)).filter(|name| !name.is_empty());
    let is_card = |name: &str| matches!(name, "agent-card.json" | "agent.json");
    let (wanted, way) = match segments {
        [] => (Method::POST, Way::AgentCall { agent: None }),
        [agent] => (Method::POST, Way::AgentCall { agent: name(agent) }),
        [".well-known", card] if is_card(card) => (Method::GET, Way::AgentCard { agent: None }),
        [agent, ".well-known", card] if is_card(card) => (Method::GET, Way::AgentCard { agent: name(agent) }),
        _ => return Err(unknown(&format!("there is no `/v1{tail}`"))),
    };
    allowed(&[wanted], method, tail).map(|()| way)
}

fn kept(method: &Method, service: Service, segments: &[&str], tail: &str) -> Result<Way, Box<Failure>> {
    let (id, methods): (Option<&str>, &[Method]) = match (service, segments) {
        (_, []) => (None, &[Method::GET, Method::POST]),
        (Service::Files, [id]) => (Some(id), &[Method::GET, Method::DELETE]),
        (Service::Batches, [id]) => (Some(id), &[Method::GET]),
        (Service::Files, [id, "content"]) => (Some(id), &[Method::GET]),
        (Service::Batches, [id, "cancel"]) => (Some(id), &[Method::POST]),
        _ => return Err(unknown(&format!("there is no `/v1{tail}`"))),
    };
    if id.is_some_and(str::is_empty) {
        return Err(unknown(&format!("there is no `/v1{tail}`")));
    }
    allowed(methods, method, tail)?;
    Ok(Way::Kept { service, id: id.map(percent_decoded), tail: tail.to_owned() })
}

fn allowed(methods: &[Method], method: &Method, tail: &str) -> Result<(), Box<Failure>> {
    // What is answered to HEAD is what is answered to GET, without its body.
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    if methods.contains(asked) {
        return Ok(());
    }
    let known: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let message = format!("`/v1{tail}` takes {}, not {method}", known.join(" and "));
    Err(Box::new(Failure::new(Code::MethodNotAllowed, message)))
}

/// The path as a server may understand it in the end, every escape undone. Refused where it then climbs out of its place, or
/// holds what no path should.
pub(crate) fn checked(path: &str) -> Result<String, Box<Failure>> {
    let mut plain = path.to_owned();
    for _ in 0..MAX_ROUNDS {
        let next = percent_decoded(&plain);
        if next == plain {
            let climbs = plain.split(['/', '\\']).any(|segment| matches!(segment.trim(), "." | ".."));
            let is_hidden = plain.contains(|c: char| c.is_control() || c == '\\');
            return if climbs || is_hidden { Err(leads_elsewhere()) } else { Ok(plain) };
        }
        plain = next;
    }
    Err(leads_elsewhere())
}

fn leads_elsewhere() -> Box<Failure> {
    Box::new(Failure::invalid(
        "the path holds `.` or `..` as a segment, a backslash or a control character; write it plainly",
    ))
}

fn unknown(message: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::UnknownPath, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(provider: &str, path: &str) -> Option<Result<Way, u16>> {
        Some(Ok(Way::Proxy { provider: provider.to_owned(), path: path.to_owned() }))
    }

    fn kept(service: Service, id: Option<&str>, tail: &str) -> Option<Result<Way, u16>> {
        Some(Ok(Way::Kept { service, id: id.map(str::to_owned), tail: tail.to_owned() }))
    }

    #[test]
    fn paths_say_where_they_lead() {
        let cases = [
            ("GET", "/proxy/groq/openai/v1/models", proxy("groq", "/openai/v1/models")),
            ("TRACE", "/proxy/up", proxy("up", "/")),
            ("GET", "/proxy/up/a%20b/c%2Fd", proxy("up", "/a%20b/c%2Fd")),
            ("GET", "/proxy/up/..x/...", proxy("up", "/..x/...")),
            ("GET", "/proxy/up/../x", Some(Err(400))),
            ("GET", "/proxy/up/%2e%2e/x", Some(Err(400))),
            ("GET", "/proxy/up/%252e%252E/x", Some(Err(400))),
            ("GET", "/proxy/up/a/%25252e%25252e%2fb", Some(Err(400))),
            ("GET", "/proxy/up/a%2f..%2fb", Some(Err(400))),
            ("GET", "/proxy/up/a%5c..%5cb", Some(Err(400))),
            ("GET", "/proxy/up/.", Some(Err(400))),
            ("GET", "/proxy/up/a%0d%0ab", Some(Err(400))),
            ("GET", "/proxy/up/%00", Some(Err(400))),
            ("GET", "/proxy/", Some(Err(404))),
            ("GET", "/v1/files", kept(Service::Files, None, "/files")),
            ("HEAD", "/v1/files", kept(Service::Files, None, "/files")),
            ("POST", "/v1/files", kept(Service::Files, None, "/files")),
            ("PUT", "/v1/files", Some(Err(405))),
            ("DELETE", "/v1/files/f", kept(Service::Files, Some("f"), "/files/f")),
            ("GET", "/v1/files/f/content", kept(Service::Files, Some("f"), "/files/f/content")),
            ("GET", "/v1/files/%2e%2e", Some(Err(400))),
            ("GET", "/v1/files//content", Some(Err(404))),
            ("GET", "/v1/files/f/other", Some(Err(404))),
            ("POST", "/v1/batches/b/cancel", kept(Service::Batches, Some("b"), "/batches/b/cancel")),
            ("DELETE", "/v1/batches/b", Some(Err(405))),
            ("POST", "/v1/a2a", Some(Ok(Way::AgentCall { agent: None }))),
            ("POST", "/v1/a2a/a", Some(Ok(Way::AgentCall { agent: Some("a".to_owned()) }))),
            ("GET", "/v1/a2a", Some(Err(405))),
            ("GET", "/v1/realtime", Some(Ok(Way::Realtime))),
            ("POST", "/v1/realtime", Some(Err(405))),
            ("POST", "/v1/realtime/sessions", None),
            ("GET", "/v1/a2a/.well-known/agent.json", Some(Ok(Way::AgentCard { agent: None }))),
            ("GET", "/v1/a2a/a/b", Some(Err(404))),
            ("GET", "/v1/vector_stores", Some(Ok(Way::Other { tail: "/vector_stores".to_owned() }))),
            ("GET", "/v1/x/%2e%2e/y", Some(Err(400))),
            ("GET", "/v1/chat/other", None),
            ("GET", "/v1/models/", None),
            ("GET", "/v1", None),
            ("GET", "/v1/", None),
            ("GET", "/v2/files", None),
        ];
        for (method, path, expected) in cases {
            let method = method.parse().expect("a method");
            let found = match path.strip_prefix("/proxy/") {
                Some(rest) => Some(proxied(rest)),
                None => way(&method, path),
            };
            let found = found.map(|found| found.map_err(|failure| failure.status));
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
