//! The admin API over HTTP: one call in, JSON or a [`Failure`] out. It knows status codes and pages, not commands.

use std::time::Duration;

use futures_util::StreamExt;
use gateway_model::problem::Problem;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::args::Gateway;
use crate::context::{self, Context, Origin};
use crate::exit::{Exit, Failure};
use crate::host;

/// An answer that takes longer than this, waiting aside, will not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest page the admin API gives.
const PAGE: usize = 500;
/// One event of a followed list; the admin API's own records are far smaller.
const MAX_EVENT: usize = 1024 * 1024;

/// A query: names and values, not yet encoded.
pub(crate) type Query = Vec<(&'static str, String)>;

/// A gateway's admin API.
pub(crate) struct Client {
    http: reqwest::Client,
    context: Context,
}

/// Items of a list, and whether there are more.
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) more: bool,
}

/// Server-sent events, one JSON value each.
pub(crate) struct Events {
    response: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    admin_url: String,
}

// === impl Client ===

impl Client {
    /// Connects nowhere yet; fails only when no gateway or no key is known.
    pub(crate) fn new(gateway: &Gateway) -> Result<Self, Failure> {
        Self::to(context::find(gateway)?)
    }

    /// A client of this gateway.
    pub(crate) fn to(context: Context) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // The master key goes to the address that was named and to no other.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("gatewayctl/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&context.admin_url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            Failure::new(Exit::Unreachable, format!("cannot set up the HTTP client: {}", chain(&error)))
        })?;
        Ok(Self { http, context })
    }

    /// Whom this talks to.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Tells whom a change goes to where that was chosen some time ago: a saved context is easily forgotten.
    pub(crate) fn say_target(&self) {
        if matches!(self.context.origin, Origin::Saved(_)) {
            host::say(&format!("gateway: {}", self.context));
        }
    }

    pub(crate) async fn get(&self, path: &str, query: &Query) -> Result<Value, Failure> {
        self.send(Method::GET, path, query, None, Duration::ZERO).await
    }

    /// A change that waits for nobody.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.send(Method::POST, path, &Query::new(), body, Duration::ZERO).await
    }

    /// A call whose good answer is not JSON.
    pub(crate) async fn post_for_bytes(&self, path: &str, body: &Value) -> Result<Vec<u8>, Failure> {
        let request = self.request(Method::POST, path, &Query::new()).timeout(PATIENCE).json(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        Err(self.refused(status, &serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// A text that is not JSON, and what its header of this name says.
    pub(crate) async fn get_text(
        &self,
        path: &str,
        query: &Query,
        header: &str,
    ) -> Result<(String, Option<String>), Failure> {
        let request = self.request(Method::GET, path, query).timeout(PATIENCE);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let said = response.headers().get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok((text, said));
        }
        Err(self.refused(status, &serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// One call. `waiting` is how long the server was asked to wait before it answers. An empty answer is `null`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<&Value>,
        waiting: Duration,
    ) -> Result<Value, Failure> {
        let mut request = self.request(method, path, query).timeout(PATIENCE.saturating_add(waiting));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) if status.is_success() => Ok(value),
            Ok(value) => Err(self.refused(status, &value)),
            Err(_) => Err(self.refused(status, &Value::Null)),
        }
    }

    /// Up to `limit` items of a list, page by page.
    pub(crate) async fn list(&self, path: &str, query: &Query, limit: usize) -> Result<List, Failure> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut page = query.clone();
            page.push(("limit", PAGE.min(limit - items.len()).max(1).to_string()));
            page.extend(after.map(|cursor| ("after", cursor)));
            let mut answer = self.get(path, &page).await?;
            if let Some(Value::Array(data)) = answer.get_mut("data").map(Value::take) {
                items.extend(data);
            }
            after = answer.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() || items.len() >= limit {
                let more = after.is_some() || items.len() > limit;
                items.truncate(limit);
                return Ok(List { items, more });
            }
        }
    }

    /// Opens a list that goes on until it is dropped.
    pub(crate) async fn follow(&self, path: &str, query: &Query) -> Result<Events, Failure> {
        let response = self.request(Method::GET, path, query).send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            let bytes = response.bytes().await.unwrap_or_default();
            return Err(self.refused(status, &serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
        }
        let stream = response.bytes_stream().map(|read| read.map(|bytes| bytes.to_vec())).boxed();
        Ok(Events { response: stream, buffer: Vec::new(), admin_url: self.context.admin_url.clone() })
    }

    fn request(&self, method: Method, path: &str, query: &Query) -> reqwest::RequestBuilder {
        let mut url = format!("{}{path}", self.context.admin_url);
        for (position, (name, value)) in query.iter().enumerate() {
            url.push(if position == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encode(value));
        }
        self.http.request(method, url).bearer_auth(self.context.master_key.expose())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        unreachable(&self.context.admin_url, error)
    }

    fn refused(&self, status: StatusCode, answer: &Value) -> Failure {
        let message = answer.pointer("/error/message").and_then(Value::as_str);
        let Some(message) = message else {
            return Failure::new(
                Exit::Unreachable,
                format!("{} answered {status}, but not as an admin API does", self.context.admin_url),
            )
            .hint("check the address: the admin API listens on its own port, 8081 by default");
        };
        let problems: Vec<Problem> = answer
            .pointer("/error/problems")
            .and_then(|problems| serde_json::from_value(problems.clone()).ok())
            .unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED => Failure::new(Exit::Unreachable, format!("{}: {message}", self.context.admin_url)).hint(
                "set GATEWAY_MASTER_KEY to this gateway's master key, or save it anew: gatewayctl context add NAME --replace",
            ),
            StatusCode::FORBIDDEN => Failure::new(Exit::Unreachable, format!("{}: {message}", self.context.admin_url))
                .hint("virtual keys are for applications; set GATEWAY_MASTER_KEY to the master key"),
            StatusCode::NOT_FOUND => Failure::new(Exit::NotFound, message),
            status if status.is_server_error() => {
                Failure::new(Exit::Unreachable, format!("{}: {message}", self.context.admin_url))
            }
            _ => Failure::problems(message, problems),
        }
    }
}

// === impl Events ===

impl Events {
    /// The next event's data; `None` when the server ended the list.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                if let Ok(value) = serde_json::from_slice(data) {
                    return Ok(Some(value));
                }
            }
            match self.response.next().await {
                Some(Ok(bytes)) if self.buffer.len() + bytes.len() <= MAX_EVENT => {
                    self.buffer.extend_from_slice(&bytes)
                }
                Some(Ok(_)) => {
                    return Err(Failure::new(Exit::Refused, "the gateway sent a log record of more than 1 MiB"));
                }
                Some(Err(error)) => return Err(unreachable(&self.admin_url, &error)),
                None => return Ok(None),
            }
        }
    }
}

/// Path of the admin API below `/admin`, each segment encoded: model names contain `/`.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/admin");
    for segment in segments {
        path.push('/');
        path.push_str(&encode(segment));
    }
    path
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether a request to `url` goes over a network in the clear.
pub(crate) fn is_plain(url: &str) -> bool {
    url.starts_with("http://") && !is_loopback(url)
}

fn is_loopback(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        None => false,
    })
}

pub(crate) fn unreachable(admin_url: &str, error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        return Failure::new(Exit::Unreachable, format!("`{admin_url}` is no address of an admin API"))
            .hint("write it like http://127.0.0.1:8081");
    }
    if error.is_timeout() {
        return Failure::new(Exit::Unreachable, format!("{admin_url} did not answer in time"))
            .hint("try again; a change may have been stored nevertheless, see `gatewayctl config history`");
    }
    let reason = chain(error);
    Failure::new(Exit::Unreachable, format!("cannot reach the gateway at {admin_url}: {reason}"))
        .hint("is it running? start it with `gatewayctl up`, or name another one with --admin-url")
}

/// The innermost cause: what the machine said, without the client's own wrappings.
fn chain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded_one_by_one() {
        assert_eq!(path(&["models", "openai/gpt 5.2:x"]), "/admin/models/openai%2Fgpt%205.2%3Ax");
        assert_eq!(path(&["keys", "../settings"]), "/admin/keys/..%2Fsettings");
    }

    #[test]
    fn loopback_is_known_in_every_form() {
        for (url, expected) in [
            ("http://127.0.0.1:8081", true),
            ("http://localhost:1", true),
            ("http://[::1]:8081", true),
            ("https://gateway.example.com", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
