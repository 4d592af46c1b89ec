//! Where a passing request goes, and with which body: the provider, its own words for path, model and ids, and whether the caller
//! may. Whatever a client names is looked at here, before anything is asked.

use std::sync::Arc;

use bytes::Bytes;
use gateway_engine::handle::{self, Handle};
use gateway_engine::identity::{self, Caller};
use gateway_engine::pass::{self, Reach};
use gateway_engine::resolve::{self, Ask};
use gateway_engine::routing;
use gateway_engine::snapshot::{Provider, Service, Target};
use gateway_ir::facts::{Edit, Facts, Rewrite, quoted, splice};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::json::{self, Member};
use gateway_ir::usage::Units;
use gateway_providers::endpoint::encoded;
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt as _, Limited};

use super::batch;
use super::meter::{self, Kind, Metered};
use crate::body::{Pieces, RequestBody, Upload};
use crate::clock;
use crate::headers::Hints;
use crate::ingress::pass::{Way, checked};
use crate::ingress::percent_decoded;
use crate::pipeline::Said;
use crate::receive::{self, Bounds, Content};
use crate::state::Config;

/// A client's request, apart from its body.
pub(super) struct Asking<'a> {
    pub(super) config: &'a Config,
    pub(super) caller: &'a Caller,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// What goes to whom.
pub(super) struct Aim {
    pub(super) provider: Arc<Provider>,
    pub(super) reach: Reach,
    pub(super) uri: Uri,
    pub(super) metered: Option<Kind>,
    /// Its reply tells of batches.
    pub(super) of_batches: bool,
    /// The upstream's own, or empty where none is named.
    pub(super) model: String,
    pub(super) body: RequestBody,
    /// Bytes of the body, as far as they are known.
    pub(super) n_bytes: u64,
    /// What the body says of what is charged by something else than tokens.
    pub(super) units: Units,
}

/// Members of a request that hold the id of a file.
const FILE_MEMBERS: [&str; 1] = ["input_file_id"];

// === impl Asking ===

impl Asking<'_> {
    pub(super) async fn aim(&self, way: &Way, body: Said) -> Result<Aim, Box<Failure>> {
        match way {
            Way::Proxy { provider, path } => self.proxied(provider, path, body).await,
            Way::Kept { service, id, tail } => self.kept(*service, id.as_deref(), tail, body).await,
            Way::Held { provider, tail } => self.remembered(provider, tail, body).await,
            Way::Other { tail } => self.other(tail, body).await,
            Way::Realtime => self.realtime(),
            Way::AgentCall { agent } => self.called(agent.as_deref(), body).await,
            Way::AgentCard { agent } => self.card(agent.as_deref()),
        }
    }

    pub(super) async fn content(&self, body: Said) -> Result<Content, Box<Failure>> {
        match body {
            Said::Coming(body) => receive::any(self.headers, body, Bounds::of(&self.config.snapshot.settings)).await,
            Said::Here(body) | Said::For(_, body) => Ok(Content::Held(body)),
        }
    }

    async fn proxied(&self, provider: &str, path: &str, body: Said) -> Result<Aim, Box<Failure>> {
        let provider = pass::account(&self.config.snapshot, self.caller, provider)?;
        let query = self.query()?.map(|query| format!("?{query}")).unwrap_or_default();
        let uri = provider.endpoint.on_host(&format!("{path}{query}"));
        let metered = self.metered(path)?;
        let mut content = self.content(body).await?;
        let batches = batches(&provider, path)?;
        if batches == Some(Batches::All) && *self.method == Method::POST {
            content = self.owned(content, &provider.name)?;
        }
        let aim = self.direct(provider, uri, metered, content).await?;
        Ok(Aim { of_batches: batches.is_some(), ..aim })
    }

    async fn kept(&self, service: Service, id: Option<&str>, tail: &str, body: Said) -> Result<Aim, Box<Failure>> {
        let forced = Hints::read(self.headers)?.provider;
        let handle = id.and_then(|id| self.open(id));
        let content = self.content(body).await?;
        let files = file_members(&content)?;
        let of_file = files.iter().find_map(|(_, id)| self.open(id));
        let named = handle.or(of_file).map(|handle| handle.provider).or(forced);
        let (provider, reach) = pass::keeper(&self.config.snapshot, self.caller, service, named)?;
        if reach == Reach::Own {
            let given = id.into_iter().map(|id| (id, handle));
            let used = files.iter().map(|(_, id)| (id.as_str(), self.open(id)));
            if let Some((id, _)) = given.chain(used).find(|(_, handle)| handle.is_none()) {
                return Err(not_there(id));
            }
            if id.is_none() && *self.method != Method::POST {
                return Err(not_listed(service, &provider.name));
            }
        }
        let tail = match (handle, id) {
            (Some(handle), Some(_)) => with_id(tail, handle.id)?,
            (None, Some(id)) if id.contains('~') => return Err(not_there(id)),
            _ => tail.to_owned(),
        };
        let edits = files.into_iter().filter_map(|(at, id)| Some(Edit { at, with: quoted(self.open(&id)?.id) }));
        let mut content = edited(content, edits.collect());
        if service == Service::Batches && id.is_none() && *self.method == Method::POST {
            content = self.owned(content, &provider.name)?;
        }
        let uri = provider.endpoint.under_api(&tail, self.query()?.as_deref());
        let aim = self.bound(provider, reach, uri, None, String::new(), content).await?;
        Ok(Aim { of_batches: service == Service::Batches, ..aim })
    }

    /// What asks for a batch, with whose it will be.
    fn owned(&self, content: Content, provider: &str) -> Result<Content, Box<Failure>> {
        let Content::Held(body) = content else {
            let message = "what asks for a batch must be application/json";
            return Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)));
        };
        batch::owned(&body, &self.config.peppers, &self.caller.id, provider).map(Content::Held)
    }

    /// The model is in the query, under a name of the gateway's.
    fn realtime(&self) -> Result<Aim, Box<Failure>> {
        let query = self.query()?.unwrap_or_default();
        let (models, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("model="));
        let [model] = models[..] else {
            return Err(Box::new(Failure::invalid("`model` must be in the query, once").at("model")));
        };
        let model = percent_decoded(&model["model=".len()..]);
        let target = self.target(&model)?;
        let provider = Arc::clone(&target.provider);
        if !provider.has(Service::Realtime) {
            let message = format!("`{}` has no realtime API; ask for a model of a provider that has it", provider.name);
            return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("model")));
        }
        let own = format!("model={}", encoded(&target.model));
        let query = [&own[..]].into_iter().chain(others).collect::<Vec<_>>().join("&");
        let uri = provider.endpoint.under_api("/realtime", Some(&query));
        let uri = uri.ok_or_else(|| Box::new(Failure::invalid("the query holds what no URL may")))?;
        let (model, body) = (target.model.to_string(), Pieces::default().into());
        Ok(Aim {
            provider,
            reach: Reach::Account,
            uri,
            metered: None,
            of_batches: false,
            model,
            body,
            n_bytes: 0,
            units: Units::None,
        })
    }

    /// What serves a model by a name of the gateway's.
    fn target(&self, model: &str) -> Result<Arc<Target>, Box<Failure>> {
        let hints = Hints::read(self.headers)?;
        let ask = Ask {
            method: self.method.as_str(),
            unix_ms: clock::unix_ms(),
            forced_provider: hints.provider,
            forced_model: hints.model,
            forced_route: hints.route,
            session: hints.session,
            ..Ask::new(self.uri.path(), self.headers, model)
        };
        let resolved = resolve::resolve(&self.config.snapshot, &ask, self.caller)?;
        let mut plan = routing::plan(&resolved, routing::Shape::default(), std::time::Instant::now());
        plan.next().map(|choice| choice.target).ok_or_else(|| {
            let message =
                format!("no target of `{model}` can be asked now: each is disabled, or left alone after failures");
            Box::new(Failure::new(Code::NoTarget, message))
        })
    }

    /// Who comes here has been found to own it.
    async fn remembered(&self, provider: &str, tail: &str, body: Said) -> Result<Aim, Box<Failure>> {
        let provider = pass::named(&self.config.snapshot, provider)?;
        checked(tail)?;
        let content = self.content(body).await?;
        let uri = provider.endpoint.under_api(tail, self.query()?.as_deref());
        self.bound(provider, Reach::Account, uri, None, String::new(), content).await
    }

    async fn other(&self, tail: &str, body: Said) -> Result<Aim, Box<Failure>> {
        let snapshot = &self.config.snapshot;
        let policy = &snapshot.settings.passthrough;
        if !self.caller.passes() || !pass::is_open(policy, tail.trim_start_matches('/')) {
            let message = format!("there is no `{} /v1{tail}`, and for this API key nothing passes there", self.method);
            return Err(Box::new(Failure::new(Code::UnknownPath, message)));
        }
        let content = self.content(body).await?;
        let metered = self.metered(tail)?;
        if let Some(model) = model_in(&content, false)? {
            let target = self.target(&model)?;
            let provider = pass::account(snapshot, self.caller, &target.provider.name)?;
            let uri = provider.endpoint.under_api(tail, self.query()?.as_deref());
            let content = with_model(content, &model, &target.model);
            let metered = metered.map(|metered| metered.kind);
            return self.bound(provider, Reach::Account, uri, metered, target.model.to_string(), content).await;
        }
        let Some(name) = Hints::read(self.headers)?.provider.or(policy.default_provider.as_deref()) else {
            let message = "no provider is named: send `x-gateway-provider` or a `model`, or set \
                `settings.passthrough.default_provider`";
            return Err(Box::new(Failure::invalid(message)));
        };
        let provider = pass::account(snapshot, self.caller, name)?;
        let uri = provider.endpoint.under_api(tail, self.query()?.as_deref());
        self.bound(provider, Reach::Account, uri, metered.map(|metered| metered.kind), String::new(), content).await
    }

    /// What a client says in the provider's own words: its models must be the caller's, by their direct address.
    async fn direct(
        &self,
        provider: Arc<Provider>,
        uri: Option<Uri>,
        metered: Option<Metered>,
        content: Content,
    ) -> Result<Aim, Box<Failure>> {
        let must_read = matches!(metered, Some(Metered { kind: Kind::Chat(_), .. }));
        let content = match content {
            Content::Coming(rest) if must_read => Content::Held(held(rest, self.max_body()).await?),
            content => content,
        };
        let in_body = model_in(&content, must_read)?;
        let kind = metered.as_ref().map(|metered| metered.kind);
        let in_path = metered.and_then(|metered| metered.model);
        for model in [&in_body, &in_path].into_iter().flatten() {
            if !self.caller.may_use(&format!("{}/{model}", provider.name)) {
                let message = format!("model not allowed for this API key: `{}/{model}`", provider.name);
                return Err(Box::new(Failure::new(Code::NotAllowed, message).at("model")));
            }
        }
        let model = in_path.or(in_body).unwrap_or_default();
        self.bound(provider, Reach::Account, uri, kind, model, content).await
    }

    async fn bound(
        &self,
        provider: Arc<Provider>,
        reach: Reach,
        uri: Option<Uri>,
        metered: Option<Kind>,
        model: String,
        content: Content,
    ) -> Result<Aim, Box<Failure>> {
        let uri = uri.ok_or_else(|| Box::new(Failure::invalid("the path or the query holds what no URL may")))?;
        let announced = receive::announced(self.headers).unwrap_or_default();
        let units = match &content {
            Content::Held(body) | Content::Form { first: body, .. } => metered.map(|kind| kind.units(body)),
            Content::Coming(_) => metered.map(|kind| kind.units(&[])),
        };
        let mut body = match content {
            Content::Held(body) => RequestBody::from(Pieces::from(body)),
            Content::Form { first, rest: None, .. } => RequestBody::from(Pieces::from(first)),
            Content::Form { first, rest: Some(rest), .. } => upload(first, rest),
            Content::Coming(rest) => upload(Bytes::new(), rest),
        };
        if provider.endpoint.signer().is_some() {
            // The signature is over all of it.
            body = Pieces::from(whole(body, self.max_body()).await?).into();
        }
        let n_bytes = match &body {
            RequestBody::Whole(pieces) => pieces.len(),
            RequestBody::Upload(_) => announced,
        };
        Ok(Aim {
            provider,
            reach,
            uri,
            metered,
            of_batches: false,
            model,
            body,
            n_bytes,
            units: units.unwrap_or_default(),
        })
    }

    /// Only what is posted asks anything of a model.
    fn metered(&self, path: &str) -> Result<Option<Metered>, Box<Failure>> {
        Ok((*self.method == Method::POST).then_some(checked(path)?).and_then(|path| meter::asked(&path)))
    }

    /// The client's query, without a parameter that holds its credential.
    fn query(&self) -> Result<Option<String>, Box<Failure>> {
        let Some(query) = self.uri.query() else { return Ok(None) };
        let credential = identity::credential(self.headers)?.unwrap_or_default();
        let is_credential = |pair: &str| {
            pair.split_once('=').is_some_and(|(_, value)| !value.is_empty() && percent_decoded(value) == credential)
        };
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_credential(pair)).collect();
        Ok((!kept.is_empty()).then(|| kept.join("&")))
    }

    fn open<'t>(&self, id: &'t str) -> Option<Handle<'t>> {
        handle::open(&self.config.peppers, &self.caller.id, id)
    }

    pub(super) fn max_body(&self) -> u64 {
        self.config.snapshot.settings.max_body
    }
}

/// Which batches a path in a provider's own words is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batches {
    All,
    One,
}

fn batches(provider: &Provider, path: &str) -> Result<Option<Batches>, Box<Failure>> {
    let Some(place) = provider.endpoint.under_api("/batches", None).filter(|_| provider.has(Service::Batches)) else {
        return Ok(None);
    };
    let segments = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (wanted, place) = (segments(&checked(path)?), segments(place.path()));
    Ok(wanted.strip_prefix(&place[..]).map(|rest| if rest.is_empty() { Batches::All } else { Batches::One }))
}

fn upload(first: Bytes, rest: crate::body::Rest) -> RequestBody {
    RequestBody::Upload(Box::new(Upload::new(Pieces::from(first), rest)))
}

async fn held(rest: crate::body::Rest, limit: u64) -> Result<Bytes, Box<Failure>> {
    whole(upload(Bytes::new(), rest), limit).await
}

async fn whole(body: RequestBody, limit: u64) -> Result<Bytes, Box<Failure>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) => Err(match error.downcast::<Box<Failure>>() {
            Ok(failure) => *failure,
            Err(_) => receive::too_large(limit as u64),
        }),
    }
}

/// The model that a body names. `must_be_json`: what a model reads, and so has one.
fn model_in(content: &Content, must_be_json: bool) -> Result<Option<String>, Box<Failure>> {
    let body = match content {
        Content::Held(body) => body,
        Content::Form { model, .. } => return Ok(model.as_ref().map(|field| field.value.clone())),
        Content::Coming(_) => return Ok(None),
    };
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let scanned = json::scan_object(body, |member: Member<'_>| {
        if member.is("model") {
            found.push(member.value);
        }
    });
    match (scanned, &found[..]) {
        (Err(fault), _) if must_be_json => {
            let message = format!("the request body is not valid JSON: {fault}");
            Err(Box::new(Failure::invalid(message)))
        }
        (Err(_), _) | (Ok(()), []) => Ok(None),
        (Ok(()), [at]) => Ok(json::string(&body[at.clone()]).map(std::borrow::Cow::into_owned)),
        (Ok(()), _) => Err(Box::new(Failure::invalid("`model` is given twice").at("model"))),
    }
}

/// The same content with the target's own name of the model.
fn with_model(content: Content, named: &str, own: &str) -> Content {
    let rewrite = Rewrite { model: own, ..Rewrite::default() };
    match content {
        Content::Held(body) => {
            let facts = Facts::scan_named(&body, named.to_owned(), false);
            Content::Held(facts.map_or(body.clone(), |facts| facts.rewrite(&body, &rewrite).concat().into()))
        }
        Content::Form { first, model: Some(field), rest } => {
            let first = Facts::of_form(&field).rewrite(&first, &rewrite).concat().into();
            Content::Form { first, model: None, rest }
        }
        other => other,
    }
}

/// Ids of files in a JSON body, and where they stand.
fn file_members(content: &Content) -> Result<Vec<(std::ops::Range<usize>, String)>, Box<Failure>> {
    let Content::Held(body) = content else { return Ok(Vec::new()) };
    let mut found: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    let mut is_twice = false;
    // What is no JSON object is the upstream's to refuse.
    let _ = json::scan_object(body, |member: Member<'_>| {
        if FILE_MEMBERS.iter().any(|name| member.is(name))
            && let Some(id) = json::string(&body[member.value.clone()])
        {
            is_twice |= !found.is_empty();
            found.push((member.value, id.into_owned()));
        }
    });
    if is_twice {
        return Err(Box::new(Failure::invalid("`input_file_id` is given twice").at("input_file_id")));
    }
    Ok(found)
}

fn edited(content: Content, edits: Vec<Edit>) -> Content {
    match content {
        Content::Held(body) if !edits.is_empty() => Content::Held(splice(&body, edits).concat().into()),
        other => other,
    }
}

/// `/files/{given}/content` with the vendor's own id.
fn with_id(tail: &str, id: &str) -> Result<String, Box<Failure>> {
    let mut segments: Vec<&str> = tail.split('/').collect();
    let own = encoded(id);
    if let Some(place) = segments.get_mut(2) {
        *place = &own;
    }
    let tail = segments.join("/");
    checked(&tail).map(|_| tail)
}

/// Whether it is another tenant's or nobody's is not told.
fn not_there(id: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::NotFound, format!("there is no `{id}` for this API key")).at("id"))
}

fn not_listed(service: Service, provider: &str) -> Box<Failure> {
    let name = service.name();
    let message = format!(
        "a list of {name} shows what everybody keeps in the account of `{provider}`; this API key may use the {name} that it \
         made, by their ids (to see all, its `passthrough` must name `{provider}`)"
    );
    Box::new(Failure::new(Code::NotAllowed, message))
}
