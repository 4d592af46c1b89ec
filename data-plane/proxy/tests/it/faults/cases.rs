//! How each fault of the table is made to happen.

use std::time::Duration;

use bytes::Bytes;
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Conditions, Dead, Link, Script, Upstream};

/// Which API the upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    OpenAi,
    Anthropic,
}

/// Where a fault is, in working order to fail.
pub(super) enum Place {
    Dead(Dead),
    Link { link: Link, _leads_to: Upstream },
    Upstream(Upstream),
}

type Scripted = fn(Kind, bool) -> Script;

/// What a scripted upstream does in place of an answer; the flag says that a stream was asked for.
const SCRIPTED: &[(&str, Scripted)] = &[
    ("reset before the head", |_, _| Script::new().reset()),
    ("reset within the head", |_, _| Script::new().write("HTTP/1.1 200 OK\r\ncontent-ty").reset()),
    ("closed before the head", |_, _| Script::new().close()),
    ("silence before the head", |_, _| Script::new().hang()),
    ("silence beyond the total", |_, _| Script::new().hang()),
    ("no HTTP", |_, _| Script::new().write("220 mail.example ESMTP\r\n\r\n").close()),
    ("status 400", |kind, _| refused(kind, 400, &[])),
    ("status 401", |kind, _| refused(kind, 401, &[])),
    ("status 404", |kind, _| refused(kind, 404, &[])),
    ("status 408", |kind, _| refused(kind, 408, &[])),
    ("status 429", |kind, _| refused(kind, 429, &[])),
    ("status 429 for a moment", |kind, _| refused(kind, 429, &[("retry-after-ms", "50")])),
    ("status 429 for a minute", |kind, _| refused(kind, 429, &[("retry-after", "60")])),
    ("status 500", |kind, _| refused(kind, 500, &[])),
    ("status 503", |kind, _| refused(kind, 503, &[])),
    ("status 529", |kind, _| refused(kind, 529, &[])),
    ("an error inside a 200", |kind, stream| match stream {
        true => Script::sse_head().chunk(error_event(kind)).end(),
        false => Script::text(200, "application/json", error_body(kind)),
    }),
    ("a page of HTML", |_, _| Script::text(200, "text/html", "<html><body>sign in</body></html>")),
    ("an empty 200", |_, stream| Script::text(200, media_type(stream), "")),
    ("garbage", |_, stream| match stream {
        true => Script::sse_head().chunk(GARBAGE).end(),
        false => Script::text(200, "application/json", "{\"half\":"),
    }),
    ("reset after the head", |_, stream| announced(stream, 1000).write("{").reset()),
    ("half-closed after the head", |_, stream| announced(stream, 1000).write("{").half_close()),
    ("silence after the head", |_, stream| announced(stream, 1000).hang()),
    ("shorter than announced", |kind, stream| announced(stream, 100_000).write(sound(kind, stream)).close()),
    ("longer than announced", |kind, stream| announced(stream, 10).write(sound(kind, stream)).close()),
    ("reset after a word", |kind, _| begun(kind).reset()),
    ("half-closed after a word", |kind, _| begun(kind).half_close()),
    ("ended after a word", |kind, _| begun(kind).end()),
    ("silence after a word", |kind, _| begun(kind).hang()),
    ("an error after a word", |kind, _| begun(kind).chunk(error_event(kind)).end()),
    ("garbage after a word", |kind, _| begun(kind).chunk(GARBAGE).end()),
];

const GARBAGE: &str = "data: {\"half\":\n\n";
/// The first word of replies that break off; no whole reply holds it.
pub(super) const WORD: &str = "unfinished";

// === impl Kind ===

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::OpenAi, Self::Anthropic];

    /// As providers name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai-compatible",
            Self::Anthropic => "anthropic",
        }
    }
}

// === impl Place ===

impl Place {
    /// `None`: the table names a fault that nobody makes.
    pub(super) async fn start(fault: &str, kind: Kind) -> Option<Self> {
        match fault {
            "connection refused" => return Some(Self::Dead(Dead::refusing())),
            "connection never answered" => return Some(Self::Dead(Dead::silent().await)),
            "TLS refused" => return Some(link(Conditions { refuse: true, ..Conditions::default() }).await),
            "TLS never answered" => return Some(link(Conditions { blackhole: true, ..Conditions::default() }).await),
            _ => {}
        }
        let (_, scripted) = SCRIPTED.iter().find(|(name, _)| *name == fault)?;
        let upstream = Upstream::start().await;
        upstream.respond_with(move |received| scripted(kind, received.wants_stream()));
        Some(Self::Upstream(upstream))
    }

    pub(super) fn base_url(&self, fault: &str, kind: Kind) -> String {
        let addr = match self {
            Self::Dead(dead) => dead.addr(),
            Self::Link { link, .. } => link.addr(),
            Self::Upstream(upstream) => upstream.addr(),
        };
        let scheme = if fault.starts_with("TLS") { "https" } else { "http" };
        let path = if kind == Kind::OpenAi { "/v1" } else { "" };
        format!("{scheme}://{addr}{path}")
    }

    /// How often a request that holds `mark` has come; `None` where nobody can count.
    pub(super) fn n_seen(&self, mark: &str) -> Option<usize> {
        let Self::Upstream(upstream) = self else { return None };
        let requests = upstream.requests();
        let holds = |body: &Bytes| String::from_utf8_lossy(body).contains(mark);
        Some(requests.iter().filter(|received| holds(&received.body)).count())
    }
}

async fn link(conditions: Conditions) -> Place {
    let upstream = Upstream::start().await;
    let link = Link::start(upstream.addr()).await;
    link.set(conditions);
    Place::Link { link, _leads_to: upstream }
}

fn refused(kind: Kind, status: u16, more: &[(&str, &str)]) -> Script {
    let body = error_body(kind);
    let length = body.len().to_string();
    let head = [&[("content-type", "application/json"), ("content-length", length.as_str())], more].concat();
    Script::new().head(status, &head).write(body)
}

fn error_body(kind: Kind) -> String {
    match kind {
        Kind::OpenAi => openai::error("server_error", "out of order").to_string(),
        Kind::Anthropic => anthropic::error("not_one_of_theirs", "out of order").to_string(),
    }
}

fn error_event(kind: Kind) -> String {
    match kind {
        Kind::OpenAi => format!("data: {}\n\n", error_body(kind)),
        Kind::Anthropic => format!("event: error\ndata: {}\n\n", error_body(kind)),
    }
}

fn media_type(stream: bool) -> &'static str {
    if stream { "text/event-stream" } else { "application/json" }
}

fn announced(stream: bool, n_bytes: usize) -> Script {
    Script::new().head(200, &[("content-type", media_type(stream)), ("content-length", &n_bytes.to_string())])
}

/// A reply of which nothing is wrong but how it comes.
fn sound(kind: Kind, stream: bool) -> Bytes {
    match (kind, stream) {
        (Kind::OpenAi, true) => openai::stream("x", "", 3)[..1].concat().into(),
        (Kind::OpenAi, false) => openai::reply("x", WORD, 3).to_string().into(),
        (Kind::Anthropic, true) => anthropic::stream("x", "", 3)[..1].concat().into(),
        (Kind::Anthropic, false) => anthropic::reply("x", WORD, 3).to_string().into(),
    }
}

/// A stream up to its first word, which has time to pass before what follows.
fn begun(kind: Kind) -> Script {
    let text = format!("{WORD} reply");
    let (events, n) = match kind {
        Kind::OpenAi => (openai::stream("x", &text, 3), 2),
        Kind::Anthropic => (anthropic::stream("x", &text, 3), 4),
    };
    let script = events[..n].iter().fold(Script::sse_head(), |script, event| script.chunk(event));
    script.pause(Duration::from_millis(100))
}
