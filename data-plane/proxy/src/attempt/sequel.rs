//! The second half of a reply that broke off: whether somebody else may be asked for it, and who is.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway_dialects::dialect::ClientDialect;
use gateway_engine::count;
use gateway_engine::resolve::Resolved;
use gateway_engine::retry::Budget;
use gateway_engine::routing::Choice;
use gateway_engine::snapshot::Target;
use gateway_ir::chat::{ChatRequest, ResponseFormat};
use gateway_ir::facts::Facts;
use http::HeaderMap;
use tokio::time::Instant;

use super::course::Course;
use super::hedge::acts;
use super::{Answer, Answered, Outbound, Terms};
use crate::ingress::Errand;
use crate::record::Record;
use crate::relay::{Rest, Resume, Told, Way};
use crate::tokens::Tokens;
use crate::upstream::Client;

/// What upstreams are asked with.
pub(crate) trait Means: Send + Sync {
    fn means(&self) -> (&Client, &Tokens, &Budget);
}

/// All that is needed to ask for the rest of a reply, should it break off.
pub(crate) struct Sequel {
    pub(crate) means: Arc<dyn Means>,
    pub(crate) inbound: &'static dyn ClientDialect,
    pub(crate) body: Bytes,
    pub(crate) facts: Facts,
    pub(crate) forwarded: HeaderMap,
    pub(crate) terms: Terms,
    pub(crate) resolved: Resolved,
    pub(crate) began: Instant,
}

// === impl Sequel ===

impl Sequel {
    async fn asked(&self, said: &str, broken: &Target, record: &mut Record) -> Result<Rest, &'static str> {
        let Self { means, inbound, body, facts, forwarded, terms, resolved, began } = self;
        let terms = Terms { may_hedge: false, ..*terms };
        let means = means.means();
        let mut outbound = Outbound::new(means, (Errand::Chat, *inbound), body, facts, true, forwarded.clone(), terms);
        fits(outbound.decoded().map_err(|_| "not_decoded")?, body, said)?;
        outbound.said = Some(said);
        let mut course = outbound.course(resolved, *began);
        let first = first(&mut course, resolved, broken).ok_or("no_other_target")?;
        // Without a breaker an upstream is asked whatever happens.
        if broken.breaker.is_some() && !outbound.retries.spend(std::time::Instant::now()) {
            first.unused();
            return Err("no_retries_left");
        }
        course.first = Some(first);
        let answered = outbound.follow(&mut course, record).await.map_err(|_| "failed_again")?;
        let Answered { answer, target, bounds, .. } = answered;
        let told = match answer {
            Answer::Translating { body, decoder } => Told::Stream { body, decoder },
            Answer::Folded(reply) => Told::Whole(reply),
            _ => return Err("not_translated"),
        };
        let by = format!("{}/{}", target.provider.name, target.model);
        Ok(Rest { told, way: Way::of(&target, inbound.id(), said), by, bounds })
    }
}

impl Resume for Sequel {
    fn ask<'a>(
        &'a self,
        said: &'a str,
        broken: &'a Target,
        record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Rest, &'static str>> {
        self.asked(said, broken, record).boxed()
    }
}

/// The first target but the one that broke off; that one only where there is no other and the policy has it.
fn first(course: &mut Course<'_>, resolved: &Resolved, broken: &Target) -> Option<Choice> {
    let mut same = None;
    while let Some(choice) = course.next() {
        if !choice.target.is_same(broken) {
            if let Some(same) = same {
                Choice::unused(same);
            }
            return Some(choice);
        }
        same = Some(choice);
    }
    let may = resolved.policy(broken, true).continuation.is_some_and(|continuation| continuation.same_target);
    match same {
        Some(same) if may => Some(same),
        Some(same) => {
            same.unused();
            None
        }
        None => None,
    }
}

/// Whether the rest of such a request's reply can be somebody else's; `Err` says why not.
fn fits(request: &ChatRequest, body: &[u8], said: &str) -> Result<(), &'static str> {
    let sampling = &request.sampling;
    let is_text = matches!(request.response_format, None | Some(ResponseFormat::Text));
    let told = count::estimate(0, said.len() as u64).output;
    match () {
        () if sampling.n.is_some_and(|n| n > 1) => Err("several_choices"),
        () if !is_text => Err("schema"),
        () if sampling.logprobs == Some(true) => Err("more_than_text"),
        () if acts(body) => Err("acts"),
        () if sampling.max_output_tokens.is_some_and(|most| told >= most) => Err("no_room"),
        () => Ok(()),
    }
}
