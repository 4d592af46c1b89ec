//! Routes: paths split, patterns and regexes built, models looked up.

use std::sync::Arc;

use gateway_ir::needs::Needs;
use gateway_model::kind::route::{HeaderMatch as HeaderDocument, HeaderRule, Match, Need, Route as Document};
use gateway_model::pattern::regex;
use gateway_model::problem::{Code, Problem};
use http::HeaderName;

use crate::bodies::Keeping;
use crate::glob::Glob;
use crate::policy::Overrides;
use crate::snapshot::{Clock, HeaderMatch, PathMatch, Route, Snapshot, Wants};

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
    Ok(Route {
        name: Arc::from(document.name.as_str()),
        wants: wants(document)?,
        model: model.transpose()?,
        overrides: Overrides::compile(document.retry.as_ref(), document.timeouts.as_ref())
            .hedged(document.hedge.as_ref())
            .continued(document.continuation.as_ref())
            .with_unpriced(document.unpriced),
        log_bodies: document.log_bodies.as_ref().map(Keeping::compile),
    })
}

fn wants(document: &Document) -> Result<Wants, Problem> {
    let Match { path, methods, kinds, headers, model, keys, key_tags, key_metadata, tags, needs, tokens, times } =
        &document.matcher;
    let boxed = |texts: &[String]| texts.iter().map(|text| Box::from(text.as_str())).collect();
    let headers = headers.iter().map(|(name, wanted)| header(document, name, wanted));
    let mut headers: Vec<_> = headers.collect::<Result<_, _>>()?;
    headers.sort_by_key(|(_, wanted)| wanted.cost());
    Ok(Wants {
        methods: methods.iter().map(|method| method.to_ascii_uppercase().into()).collect(),
        kinds: kinds.clone(),
        path: path.as_deref().map(path_match),
        asked: model.as_deref().map(Glob::new),
        headers,
        keys: keys.iter().map(|pattern| Glob::new(pattern)).collect(),
        key_tags: boxed(key_tags),
        key_metadata: key_metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        tags: boxed(tags),
        needs: needs.iter().fold(Needs::NONE, |all, need| all.with(need_bit(*need))),
        tokens: tokens.as_ref().map(|tokens| (tokens.min.unwrap_or(0), tokens.max.unwrap_or(u64::MAX))),
        clock: times.as_ref().map(Clock::new),
    })
}

fn need_bit(need: Need) -> Needs {
    match need {
        Need::Tools => Needs::TOOLS,
        Need::Vision => Needs::VISION,
        Need::Audio => Needs::AUDIO,
        Need::Documents => Needs::DOCUMENTS,
        Need::JsonSchema => Needs::JSON_SCHEMA,
    }
}

fn path_match(text: &str) -> PathMatch {
    match text.strip_suffix('*') {
        Some(prefix) => PathMatch::Prefix(prefix.into()),
        None => PathMatch::Exact(text.into()),
    }
}

fn header(document: &Document, name: &str, wanted: &HeaderDocument) -> Result<(HeaderName, HeaderMatch), Problem> {
    let field = format!("match.headers.{name}");
    let header_name = HeaderName::try_from(name)
        .map_err(|_| Problem::error(Code::InvalidValue, at(document, &field), format!("`{name}` is no header name")))?;
    let matcher = match wanted {
        HeaderDocument::Equal(text) | HeaderDocument::Rule(HeaderRule { exact: Some(text), .. }) => {
            HeaderMatch::Exact(text.as_str().into())
        }
        HeaderDocument::Rule(HeaderRule { prefix: Some(text), .. }) => HeaderMatch::Prefix(text.as_str().into()),
        HeaderDocument::Rule(HeaderRule { regex: Some(text), .. }) => {
            let regex = regex(text).map_err(|reason| {
                Problem::error(Code::InvalidValue, at(document, &format!("{field}.regex")), reason)
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
