//! Settings with every default filled in.

use std::sync::Arc;
use std::time::Duration;

use gateway_model::kind::settings::{
    Auth, AutoAgent, Background as BackgroundDocument, HeaderFamily, Passthrough as PassthroughDocument,
    Settings as Document,
};
use gateway_model::problem::Problem;

use super::auto;
use crate::bodies::Keeping;
use crate::issuers::Issuers;
use crate::limits::central;
use crate::snapshot::{Background, HeaderFamilies, Origins, Passthrough, Settings};

pub(super) fn compile(document: &Document, problems: &mut Vec<Problem>) -> Settings {
    let defaults = Settings::default();
    let families = document.header_families.as_ref().map(|families| HeaderFamilies {
        gateway: families.contains(&HeaderFamily::Gateway),
        lunargate: families.contains(&HeaderFamily::Lunargate),
    });
    let listed = document.server.as_ref().and_then(|server| server.cors_origins.as_ref());
    let origins = match listed {
        Some(listed) if listed.iter().any(|origin| origin == "*") => Origins::Any,
        Some(listed) => Origins::Listed(listed.iter().map(|origin| origin.as_str().into()).collect()),
        None if document.auth == Some(Auth::Off) => Origins::Loopback,
        None => defaults.origins.clone(),
    };
    let discovery = document.discovery.as_ref();
    let interval = discovery.and_then(|discovery| discovery.interval);
    let agents = discovery.and_then(|discovery| discovery.auto_agents.as_ref());
    let max_body = document.server.as_ref().and_then(|server| server.max_body);
    let store_ttl = document.responses.as_ref().and_then(|responses| responses.store_ttl);
    let behind = document.responses.as_ref().and_then(|responses| responses.background.as_ref());
    Settings {
        auth_off: document.auth == Some(Auth::Off),
        default_stream: document.chat.as_ref().and_then(|chat| chat.default_stream).unwrap_or(defaults.default_stream),
        strict: document.chat.as_ref().and_then(|chat| chat.strict).unwrap_or(defaults.strict),
        unpriced: document.unpriced.unwrap_or(defaults.unpriced),
        receipts: document.receipts.unwrap_or(defaults.receipts),
        revoke_mode: document.revoke_mode.unwrap_or(defaults.revoke_mode),
        limit_store: document.limit_store.map(|store| central::Terms {
            deadline: store.deadline.map_or(Duration::from_millis(5), |span| span.0),
            when_away: store.when_away.unwrap_or_default(),
        }),
        log_bodies: document.log_bodies.as_ref().map(Keeping::compile),
        header_families: families.unwrap_or(defaults.header_families),
        max_body: max_body.map_or(defaults.max_body, |bytes| bytes.0),
        compressed_bodies: document.server.as_ref().and_then(|server| server.compressed_bodies).unwrap_or(false),
        origins,
        trusted_proxies: document.server.as_ref().map(|server| server.trusted_proxies.clone()).unwrap_or_default(),
        issuers: Issuers::compile(document, problems),
        passthrough: document.passthrough.as_ref().map(passthrough).unwrap_or_default(),
        auto_agents: AutoAgent::ALL.into_iter().filter(|agent| agents.is_some_and(|some| some.has(*agent))).collect(),
        discovery: discovery.and_then(|discovery| discovery.enabled).unwrap_or(defaults.discovery),
        discovery_interval: interval.map_or(defaults.discovery_interval, |span| span.0),
        store_ttl: store_ttl.map_or(defaults.store_ttl, |span| span.0),
        background: behind.map(background).unwrap_or_default(),
        auto: document.auto.as_ref().and_then(|document| auto::compile(document, problems)).map(Arc::new),
    }
}

fn background(document: &BackgroundDocument) -> Background {
    let defaults = Background::default();
    let count = |given: Option<u32>, default| given.and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let max_events = document.max_events.and_then(|bytes| usize::try_from(bytes.0).ok());
    Background {
        max_running: count(document.max_running, defaults.max_running),
        max_running_per_caller: count(document.max_running_per_key, defaults.max_running_per_caller),
        max_time: document.max_time.map_or(defaults.max_time, |span| span.0),
        max_events: max_events.unwrap_or(defaults.max_events),
    }
}

fn passthrough(document: &PassthroughDocument) -> Passthrough {
    let defaults = Passthrough::default();
    let max_attempts = document.max_attempts.and_then(|n| usize::try_from(n).ok());
    Passthrough {
        enabled: document.enabled.unwrap_or(defaults.enabled),
        default_provider: document.default_provider.as_deref().map(Into::into),
        allowed_prefixes: document.allowed_prefixes.clone(),
        blocked_prefixes: document.blocked_prefixes.clone(),
        max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
        batch_look: document.batch_look.map_or(defaults.batch_look, |span| span.0),
    }
}
