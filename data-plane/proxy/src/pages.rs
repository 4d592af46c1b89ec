//! Pages for people and programs that look around: what this is, the API's reference and its OpenAPI document. All of them are
//! files of `docs/api`, made from the tables of both planes; none asks for a key, and none loads anything from elsewhere.

use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::body::ReplyBody;

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) kind: &'static str,
    text: &'static str,
}

const DOCUMENT: &str = include_str!("../../../docs/api/openapi.json");

/// Every page.
pub(crate) const PAGES: &[Page] = &[
    Page { path: "/", kind: "text/html; charset=utf-8", text: include_str!("../../../docs/api/landing.html") },
    Page { path: "/docs", kind: "text/html; charset=utf-8", text: include_str!("../../../docs/api/index.html") },
    Page {
        path: "/docs/style.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("../../../docs/api/style.css"),
    },
    Page { path: "/openapi.json", kind: "application/json", text: DOCUMENT },
    // JSON is YAML.
    Page { path: "/docs/openapi.yaml", kind: "application/yaml", text: DOCUMENT },
];

const HARMLESS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

pub(crate) fn at(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}

// === impl Page ===

impl Page {
    pub(crate) fn response(&self) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::whole(self.text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in HARMLESS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
