//! Routes: paths split, patterns and regexes built, models looked up.

use std::sync::Arc;

use gateway_model::kind::route::{HeaderMatch as HeaderDocument, HeaderRule, Route as Document};
use gateway_model::problem::{Code, Problem};
use http::HeaderName;
use regex::Regex;

use crate::glob::Glob;
use crate::policy::Overrides;
use crate::snapshot::{HeaderMatch, PathMatch, Route, Snapshot};

/// `snapshot` has everything but the routes.
pub(super) fn compile(documents: &[Document], snapshot: &Snapshot, problems: &mut Vec<Problem>) -> Vec<Route> {
    let mut routes = Vec::with_capacity(documents.len());
    for document in documents {
        match one(document, snapshot) {
            Ok(route) => routes.push(route),
            Err(problem) => problems.push(problem),
        }
    }
    routes
}

fn one(document: &Document, snapshot: &Snapshot) -> Result<Route, Problem> {
    let model = document.model.as_deref().map(|name| {
        snapshot.model(name).ok_or_else(|| {
            let message = format!("`{name}` is neither a model nor `provider/model` of a known provider");
            Problem::error(Code::UnknownReference, at(document, "model"), message)
        })
    });
    let headers = document.matcher.headers.iter().map(|(name, wanted)| header(document, name, wanted));
    Ok(Route {
        name: Arc::from(document.name.as_str()),
        path: document.matcher.path.as_deref().map(path),
        headers: headers.collect::<Result<_, _>>()?,
        asked: document.matcher.model.as_deref().map(Glob::new),
        model: model.transpose()?,
        overrides: Overrides::compile(document.retry.as_ref(), document.timeouts.as_ref()),
    })
}

fn path(text: &str) -> PathMatch {
    match text.strip_suffix('*') {
        Some(prefix) => PathMatch::Prefix(prefix.to_owned()),
        None => PathMatch::Exact(text.to_owned()),
    }
}

fn header(document: &Document, name: &str, wanted: &HeaderDocument) -> Result<(HeaderName, HeaderMatch), Problem> {
    let field = format!("match.headers.{name}");
    let header_name = HeaderName::try_from(name)
        .map_err(|_| Problem::error(Code::InvalidValue, at(document, &field), format!("`{name}` is no header name")))?;
    let matcher = match wanted {
        HeaderDocument::Equal(text) | HeaderDocument::Rule(HeaderRule { exact: Some(text), .. }) => {
            HeaderMatch::Exact(text.clone())
        }
        HeaderDocument::Rule(HeaderRule { prefix: Some(text), .. }) => HeaderMatch::Prefix(text.clone()),
        HeaderDocument::Rule(HeaderRule { regex: Some(text), .. }) => {
            let regex = Regex::new(text).map_err(|error| {
                let path = at(document, &format!("{field}.regex"));
                Problem::error(Code::InvalidValue, path, format!("this regex cannot be used: {error}"))
            })?;
            HeaderMatch::Regex(regex)
        }
        HeaderDocument::Rule(HeaderRule { present: Some(false), .. }) => HeaderMatch::Absent,
        HeaderDocument::Rule(HeaderRule { present: Some(true), .. }) => HeaderMatch::Present,
        HeaderDocument::Rule(_) => {
            let message = "give one of `exact`, `prefix`, `regex` and `present`";
            return Err(Problem::error(Code::MissingField, at(document, &field), message));
        }
    };
    Ok((header_name, matcher))
}

fn at(document: &Document, field: &str) -> String {
    format!("routes[{}].{field}", document.name)
}
