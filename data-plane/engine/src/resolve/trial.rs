//! Which variant of an experiment a request is given.

use std::borrow::Cow;
use std::sync::Arc;

use gateway_ir::json;
use gateway_model::kind::model::trial::Subject;
use http::{HeaderName, HeaderValue};

use super::{Ask, Resolved, affinity_of};
use crate::identity::Caller;
use crate::snapshot::Snapshot;

/// The variant that serves, of which experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    pub experiment: Arc<str>,
    pub variant: Arc<str>,
}

static USER: [HeaderName; 2] = [HeaderName::from_static("x-gateway-user"), HeaderName::from_static("x-lunargate-user")];

// === impl Resolved ===

impl Resolved {
    /// What serves the request where its model is tried out against others, and which variant that is; itself where it is not,
    /// or where the client has forced a target. `body` is looked at only where the experiment goes by users.
    #[must_use]
    pub fn on_trial(
        mut self,
        snapshot: &Snapshot,
        ask: &Ask<'_>,
        caller: &Caller,
        body: &[u8],
    ) -> (Self, Option<Box<Arm>>) {
        let Some(experiment) = self.model.experiment.as_ref().filter(|_| self.only.is_none()) else {
            return (self, None);
        };
        let what = match experiment.by {
            Subject::Key => None,
            Subject::Session => ask.session.map(Cow::Borrowed),
            Subject::User => user(ask, body),
        };
        let variant = experiment.variant([caller.id.as_bytes(), what.as_deref().unwrap_or_default().as_bytes()]);
        let arm = Arm { experiment: Arc::clone(&experiment.name), variant: Arc::clone(&variant.name) };
        if let Some(model) = variant.model.as_ref().and_then(|name| snapshot.model(name)) {
            self.affinity = model.affinity.as_ref().map_or(0, |affinity| affinity_of(affinity, ask, caller));
            self.overrides = self.overrides.or(model.overrides);
            self.tried = Some(std::mem::replace(&mut self.model, model));
        }
        (self, Some(Box::new(arm)))
    }
}

/// Whom the request is for, by header or in the words of the body's dialect.
fn user<'a>(ask: &Ask<'a>, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let by_header = USER.iter().find_map(|name| ask.headers.get(name)).map(HeaderValue::to_str);
    if let Some(Ok(user)) = by_header {
        return Some(Cow::Borrowed(user));
    }
    let mut found = None;
    // What is no JSON has been refused before.
    let _ = json::scan_object(body, |member| {
        let value = &body[member.value.clone()];
        if member.is("user") || member.is("safety_identifier") {
            found = found.take().or(json::string(value));
        } else if member.is("metadata") {
            let _ = json::scan_object(value, |member| {
                if member.is("user_id") {
                    found = found.take().or(json::string(&value[member.value]));
                }
            });
        }
    });
    found
}
