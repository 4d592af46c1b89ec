//! Where a request would go, and why: the decisions of a request, told and not followed. They are taken by the very functions
//! that take them for a request that is served; what is told is as true as the snapshot that it is asked of. One that serves
//! nothing knows no circuit and no latency.

use std::sync::Arc;
use std::time::Instant;

use gateway_ir::facts::Facts;
pub use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use gateway_model::kind::route::Kind;
use http::HeaderMap;

use crate::ask::{self, Ask};
use crate::choice::{self, Chosen};
use crate::glob::Glob;
use crate::health::Skip;
use crate::identity::Caller;
use crate::price;
use crate::resolve::Resolved;
use crate::routing::{self, Shape};
use crate::snapshot::{Miss, Route, Snapshot, Target};

/// What there is to say of one request.
#[derive(Debug, Default)]
pub struct Explanation {
    /// Each route up to the one that matches, and what it wants that the request is not.
    pub routes: Vec<Tried>,
    /// What was chosen for the client; of use beside a model only.
    pub chosen: Chosen,
    /// What serves; `None` where the request is refused.
    pub model: Option<Arc<str>>,
    /// In the order in which they would be asked; behind them those that would not be.
    pub candidates: Vec<Candidate>,
    /// What the client would be told by the gateway itself.
    pub refused: Option<Box<Failure>>,
}

#[derive(Debug)]
pub struct Tried {
    pub route: Arc<str>,
    /// `None`: it matches.
    pub miss: Option<Missed>,
}

/// A demand that is not met.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// As the configuration calls it: `match.model`.
    pub field: String,
    pub wanted: String,
    /// What the request has there.
    pub given: String,
}

/// A target that may come to serve.
#[derive(Debug)]
pub struct Candidate {
    pub target: Arc<Target>,
    /// The group that it is in: the model's own by priority, then those of its fallbacks.
    pub group: usize,
    pub strategy: &'static str,
    pub weight: u32,
    /// What its strategy gives it, the lowest first; `None` where it goes by turns or as listed.
    pub score: Option<f64>,
    /// Of this request, should the answer be as long as it may; in nano-dollars.
    pub cost: Option<i64>,
    /// Why it is passed over, at least at first.
    pub skip: Option<Skip>,
    /// Whether it would be asked at all.
    pub is_asked: bool,
}

/// A request as somebody describes it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// JSON, as it would be sent.
    pub body: &'a [u8],
    /// The time of day at which it would be: Unix milliseconds.
    pub unix_ms: i64,
}

/// Tells what would become of a request that is described. Fails on what no node would look at any further: a body that is not
/// understood, headers that say two things.
pub fn answer(
    snapshot: &Snapshot,
    question: &Question<'_>,
    caller: &Caller,
    now: Instant,
) -> Result<Explanation, Box<Failure>> {
    let Question { method, path, headers, body, unix_ms } = *question;
    let kind = ask::kind(path);
    let bytes = body.to_vec().into();
    let facts = match named_model(path) {
        Some(model) if kind == Kind::Generate => Facts::scan_named(&bytes, model.to_owned(), false)?,
        _ => Facts::scan(&bytes)?,
    };
    let shape = Shape::of(&facts, body.len());
    let shape = if kind.converses() { shape.needing(facts.needs) } else { shape };
    let ask = Ask::new(path, headers, &facts.model).steered()?;
    let ask = Ask { body, method, needs: facts.needs, n_input: shape.n_input, unix_ms, ..ask };
    let shape = shape.streaming(facts.stream.unwrap_or_default());
    let read = choice::read(snapshot, &ask, body);
    let headers = read.as_ref().map_or(headers, |read| &read.headers).clone();
    let ask = Ask { headers: &headers, ..ask };
    let routes = tried(snapshot, &ask, caller);
    let chosen = choice::choose(snapshot, &ask, read, body, caller);
    Ok(Explanation { routes, ..explained(chosen, &ask, shape, now) })
}

/// Google's paths name the model: `…/models/{model}:{method}`.
fn named_model(path: &str) -> Option<&str> {
    let (_, behind) = path.split_once("/models/")?;
    behind.rsplit_once(':').map(|(model, _)| model)
}

/// Who would be asked. Takes turns and seats as a request does, and gives the seats back; costs as much as all of the targets
/// together.
fn explained(
    chosen: Result<(Resolved, Chosen), Box<Failure>>,
    ask: &Ask<'_>,
    shape: Shape,
    now: Instant,
) -> Explanation {
    let (resolved, chosen) = match chosen {
        Ok(chosen) => chosen,
        Err(refused) => return Explanation { refused: Some(refused), ..Explanation::default() },
    };
    let mut plan = routing::plan(&resolved, shape, now);
    let asked: Vec<Arc<Target>> = plan.by_ref().map(|choice| choice.target).collect();
    let refused = if asked.is_empty() { routing::nobody_fits(ask.name(), &plan.skipped) } else { None };
    let left =
        plan.skipped.iter().map(|(target, _)| target).filter(|target| !asked.iter().any(|asked| asked.is_same(target)));
    let candidates = asked.iter().map(|target| (target, true)).chain(left.map(|target| (target, false)));
    let candidates = candidates.map(|(target, is_asked)| {
        let skip = plan.skipped.iter().find(|(skipped, _)| skipped.is_same(target)).map(|(_, skip)| *skip);
        Candidate { skip, is_asked, ..candidate(&resolved, target, shape, now) }
    });
    let candidates = candidates.collect();
    Explanation { routes: Vec::new(), chosen, model: Some(Arc::clone(&resolved.model.name)), candidates, refused }
}

fn tried(snapshot: &Snapshot, ask: &Ask<'_>, caller: &Caller) -> Vec<Tried> {
    let mut tried = Vec::new();
    let routes = snapshot.routes.iter().filter(|route| ask.forced_route.is_none_or(|forced| forced == &*route.name));
    for route in routes {
        // A forced route is taken whether it matches or not.
        let miss = route.wants.miss(ask, caller).filter(|_| ask.forced_route.is_none());
        let miss = miss.map(|miss| missed(route, miss, ask, caller));
        let is_it = miss.is_none();
        tried.push(Tried { route: Arc::clone(&route.name), miss });
        if is_it {
            break;
        }
    }
    tried
}

fn missed(route: &Route, miss: Miss<'_>, ask: &Ask<'_>, caller: &Caller) -> Missed {
    let wants = &route.wants;
    let words = |words: &[Box<str>]| words.join(", ");
    let (field, wanted, given) = match miss {
        Miss::Needs => ("needs", wants.needs.names().collect::<Vec<_>>().join(", "), {
            ask.needs.names().collect::<Vec<_>>().join(", ")
        }),
        Miss::Tokens => ("tokens", tokens(wants.tokens.unwrap_or((0, u64::MAX))), ask.n_input.to_string()),
        Miss::Model => ("model", wants.asked.as_ref().map(Glob::pattern).unwrap_or_default(), ask.name().to_owned()),
        Miss::Path => ("path", wants.path.as_ref().map(ToString::to_string).unwrap_or_default(), ask.path.to_owned()),
        Miss::Method => ("methods", words(&wants.methods), ask.method.to_owned()),
        Miss::Kind => (
            "kinds",
            {
                let kinds: Vec<&str> = wants.kinds.iter().map(|kind| kind.name()).collect();
                kinds.join(", ")
            },
            ask::kind(ask.path).name().to_owned(),
        ),
        Miss::Keys => {
            let patterns: Vec<String> = wants.keys.iter().map(Glob::pattern).collect();
            ("keys", patterns.join(", "), caller.name.to_string())
        }
        Miss::KeyTags => ("key_tags", words(&wants.key_tags), caller.tags.join(", ")),
        Miss::KeyMetadata => {
            let pairs: Vec<String> =
                wants.key_metadata.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let given = wants
                .key_metadata
                .iter()
                .filter_map(|(name, _)| caller.metadata(name).map(|value| format!("{name}: {value}")));
            ("key_metadata", pairs.join(", "), given.collect::<Vec<_>>().join(", "))
        }
        Miss::Tags => ("tags", words(&wants.tags), ask.tags().collect::<Vec<_>>().join(", ")),
        Miss::Times => ("times", wants.clock.map(|clock| clock.to_string()).unwrap_or_default(), utc(ask.unix_ms)),
        Miss::Header(name) => {
            let wanted = wants.headers.iter().find(|(known, _)| known == name);
            let given = ask.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            return Missed {
                field: format!("match.headers.{name}"),
                wanted: wanted.map(|(_, wanted)| wanted.to_string()).unwrap_or_default(),
                given: given.collect::<Vec<_>>().join(", "),
            };
        }
    };
    Missed { field: format!("match.{field}"), wanted, given }
}

/// The moment that is compared, by the minute.
fn utc(unix_ms: i64) -> String {
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let minutes = unix_ms.div_euclid(60_000);
    let (day, minute) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    let name = usize::try_from(day.rem_euclid(7)).map_or("", |day| DAYS[day]);
    format!("{name} {:02}:{:02} UTC", minute / 60, minute % 60)
}

fn tokens((least, most): (u64, u64)) -> String {
    if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") }
}

/// A target with what its group says of it.
fn candidate(resolved: &Resolved, target: &Arc<Target>, shape: Shape, now: Instant) -> Candidate {
    let found = resolved.model.groups.iter().enumerate().find_map(|(group, members)| {
        let place = members.members.iter().position(|member| member.is_same(target))?;
        Some((group, place, members))
    });
    let usage = Usage { input: shape.n_input, output: shape.n_output, ..Usage::default() };
    let cost = target.price.as_ref().and_then(|price| price::cost(&usage, price));
    let (group, place, members) = found.expect("plans are made of the model's groups");
    Candidate {
        target: Arc::clone(target),
        group,
        strategy: members.order.name(),
        weight: members.weights[place],
        score: routing::score(resolved, members, place, shape, now),
        cost,
        skip: None,
        is_asked: false,
    }
}

#[cfg(test)]
mod tests;
