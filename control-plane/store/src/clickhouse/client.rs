//! Calls of the HTTP interface: one statement each, within a time, with a bounded answer. Nothing is redirected, and no proxy is asked.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

use super::address::Address;
use super::fault::Fault;
use super::table;

const CONNECT: Duration = Duration::from_secs(3);
/// For all of a call.
const PATIENCE: Duration = Duration::from_secs(15);
/// It closes what is idle for three seconds.
const IDLE: Duration = Duration::from_secs(2);
/// Of an answer.
const MAX_ANSWER: usize = 256 << 20;
/// Of one that says what was wrong.
const MAX_TOLD: usize = 4 << 10;

/// Of both ages: an answer is whole or an error, numbers are numbers, and a statement may name a page of records.
const SETTINGS: [(&str, &str); 3] =
    [("wait_end_of_query", "1"), ("output_format_json_quote_64bit_integers", "0"), ("max_query_size", "8388608")];

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    address: Address,
    /// For people.
    place: String,
}

/// A statement, or the data of one.
#[derive(Debug)]
pub(super) struct Request {
    statement: Option<&'static str>,
    body: Vec<u8>,
    within: Option<Duration>,
}

// === impl Request ===

impl Request {
    pub(super) fn of(statement: &str) -> Self {
        Self { statement: None, body: statement.as_bytes().to_vec(), within: None }
    }

    /// Rows for the table, an object on each line.
    pub(super) fn insert(lines: Vec<u8>) -> Self {
        Self { statement: Some(table::INSERT), body: lines, within: None }
    }

    /// It is stopped where it takes longer, in whole seconds.
    pub(super) fn within(self, most: Duration) -> Self {
        Self { within: Some(most), ..self }
    }
}

// === impl Client ===

impl Client {
    pub(super) fn new(address: Address) -> Result<Self, Fault> {
        let place = address.told();
        let away = |told: String| Fault::Away { place: place.clone(), told };
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).timeout(PATIENCE).pool_idle_timeout(IDLE);
        let builder = builder.redirect(Policy::none()).no_proxy().http1_only();
        let tls = tls(address.url.scheme() == "https").map_err(|error| away(error.to_string()))?;
        let http = builder.tls_backend_preconfigured(tls).build().map_err(|error| away(told(&error)))?;
        Ok(Self { http, address, place })
    }

    /// What it answers.
    pub(super) async fn call(&self, request: Request) -> Result<Vec<u8>, Fault> {
        let mut post = self.http.post(self.url(&request)).body(request.body);
        let headers = [("x-clickhouse-user", &self.address.user), ("x-clickhouse-key", &self.address.password)];
        for (name, value) in headers {
            if let Some(value) = value {
                post = post.header(name, value.clone());
            }
        }
        let mut response = post.send().await.map_err(|error| self.away(&error))?;
        let is_done = response.status().is_success();
        let max = if is_done { MAX_ANSWER } else { MAX_TOLD };
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.away(&error))? {
            answer.extend_from_slice(&piece);
            if answer.len() > max && is_done {
                return Err(self.unreadable());
            }
            if answer.len() > max {
                break;
            }
        }
        if is_done { Ok(answer) } else { Err(Fault::of_answer(&self.place, &answer)) }
    }

    /// It answers what is none of its answers.
    pub(super) fn unreadable(&self) -> Fault {
        Fault::Failed { place: self.place.clone(), code: 0 }
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.address.url.clone();
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("database", &self.address.database).extend_pairs(SETTINGS);
        if let Some(within) = request.within {
            pairs.append_pair("max_execution_time", &within.as_secs().max(1).to_string());
        }
        if let Some(statement) = request.statement {
            pairs.append_pair("query", statement);
        }
        drop(pairs);
        url
    }

    fn away(&self, error: &reqwest::Error) -> Fault {
        Fault::Away { place: self.place.clone(), told: told(error) }
    }
}

/// The system's roots, or the bundled ones where the system has none; none at all where none is asked for.
fn tls(has_roots: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    if has_roots {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The innermost of what an error comes from, which says most, and never the address.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "nothing was heard in time".to_owned();
    }
    let mut inner = error.source();
    let mut text = String::from("the call broke off");
    while let Some(source) = inner {
        text = source.to_string();
        inner = source.source();
    }
    text
}
