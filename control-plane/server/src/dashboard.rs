//! The dashboard: its files, in the program, with their types, their tags and the policy under which browsers run them.
//!
//! The files are a table of `include_bytes!`: it is the list of what is served, so that a path is looked up and never walked, and it
//! costs no dependency. A debug build reads the same files from the source tree, so that a reload shows a change.

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256, digest};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::vault::hex;

/// A file, by its path below the dashboard's folder.
struct File {
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(File { path: $path, bytes: include_bytes!(concat!("../dashboard/", $path)) }),*]
    };
}

const INDEX: &str = "index.html";
const FILES: &[File] = files![
    "index.html",
    "app/api.js",
    "app/chart.js",
    "app/form.js",
    "app/format.js",
    "app/lib.js",
    "app/main.js",
    "app/public.js",
    "app/router.js",
    "app/shell.js",
    "app/shortcuts.js",
    "app/state.js",
    "app/table.js",
    "app/ui.js",
    "app/yaml.js",
    "pages/account.js",
    "pages/alerts.js",
    "pages/audit.js",
    "pages/budget.js",
    "pages/budgets.js",
    "pages/config.js",
    "pages/cost.js",
    "pages/exporters.js",
    "pages/fleet.js",
    "pages/keys.js",
    "pages/models.js",
    "pages/overview.js",
    "pages/people.js",
    "pages/person.js",
    "pages/playground.js",
    "pages/providers.js",
    "pages/reprice.js",
    "pages/request.js",
    "pages/requests.js",
    "pages/resources.js",
    "pages/routes.js",
    "pages/sessions.js",
    "pages/settings.js",
    "pages/setup.js",
    "pages/signin.js",
    "pages/start.js",
    "pages/teams.js",
    "style/base.css",
    "style/icon.svg",
    "style/pages.css",
    "style/parts.css",
    "vendor/LICENSE-htm.txt",
    "vendor/LICENSE-preact.txt",
    "vendor/LICENSE-signals.txt",
    "vendor/LICENSE-uplot.txt",
    "vendor/htm.js",
    "vendor/preact-hooks.js",
    "vendor/preact.js",
    "vendor/signals-core.js",
    "vendor/signals.js",
    "vendor/uplot.css",
    "vendor/uplot.js",
];

/// What a browser may do with any of it: run our files, call this origin. `{also}` is the gateway's public address, which the
/// playground calls as applications do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{also}; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// Kept, but asked for each time: a newer program has newer files.
const ASKED: HeaderValue = HeaderValue::from_static("no-cache");
/// Never asked for again: a newer program has its files at another address.
const KEPT: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const PUBLIC_URL: &str = "{public-url}";
/// Part of the address of each file: what all of them say. So the page is fifty requests once, and one from then on.
const VERSION: &str = "{version}";

static FILES_VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Context::new(&SHA256);
    for file in FILES {
        all.update(file.path.as_bytes());
        all.update(file.bytes);
    }
    short(all.finish().as_ref())
});

/// The page. `public` is where applications reach the gateway, `host` the name by which the browser reaches us.
pub(crate) fn page(public: Option<&str>, host: Option<&str>, asked: &HeaderMap) -> Response {
    let public = public.map(|public| reachable(public, host.unwrap_or("127.0.0.1"))).unwrap_or_default();
    let Some(bytes) = read(INDEX) else { return StatusCode::NOT_FOUND.into_response() };
    let text = String::from_utf8_lossy(&bytes).replace(PUBLIC_URL, &public).replace(VERSION, &FILES_VERSION);
    let mut response = answer("text/html; charset=utf-8", Cow::Owned(text.into_bytes()), asked, ASKED);
    let also = if public.is_empty() { String::new() } else { format!(" {public}") };
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(POLICY.replace("{also}", &also)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

/// One of the files; `None` where there is none of this name. A page of another version gets what there is now.
pub(crate) fn asset(version: &str, folder: &str, file: &str, asked: &HeaderMap) -> Option<Response> {
    let path = format!("{folder}/{file}");
    // The source tree changes under the version.
    let is_fixed = version == *FILES_VERSION && !cfg!(debug_assertions);
    Some(answer(media(&path), read(&path)?, asked, if is_fixed { KEPT } else { ASKED }))
}

fn short(hash: &[u8]) -> String {
    hex(hash.get(..16).unwrap_or_default())
}

fn answer(media: &'static str, bytes: Cow<'static, [u8]>, asked: &HeaderMap, kept: HeaderValue) -> Response {
    let tag = format!("\"{}\"", short(digest(&SHA256, &bytes).as_ref()));
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(media)), (header::CACHE_CONTROL, kept)];
    let tag = HeaderValue::try_from(tag).map(|tag| [(header::ETAG, tag)]).ok();
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(bytes.into_owned())),
    };
    let mut response = (status, headers, body).into_response();
    response.headers_mut().extend(tag.into_iter().flatten().map(|(name, value)| (Some(name), value)));
    response
}

/// An address that stands for every address of the machine is none that a browser can call.
fn reachable(public: &str, host: &str) -> String {
    ["://0.0.0.0", "://[::]"].iter().fold(public.to_owned(), |url, any| url.replace(any, &format!("://{host}")))
}

fn read(path: &str) -> Option<Cow<'static, [u8]>> {
    let file = FILES.iter().find(|file| file.path == path)?;
    if cfg!(debug_assertions) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/");
        if let Ok(bytes) = std::fs::read(format!("{folder}{path}")) {
            return Some(Cow::Owned(bytes));
        }
    }
    Some(Cow::Borrowed(file.bytes))
}

fn media(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests;
