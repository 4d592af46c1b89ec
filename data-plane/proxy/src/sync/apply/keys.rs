//! Keys between their two forms: as they travel and as the table has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_engine::bodies::Keeping;
use gateway_engine::identity::{Access, Belongs, Digest, Earlier, KeyEntry};
use gateway_model::access::{IpRange, RevokeMode, Role};
use gateway_model::kind::budget::Budget;
use gateway_model::limits::{Limits, Measure, Period, Rate, WhenAway};
use gateway_model::policy::Unpriced;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{ConfigError, EarlierSecret, Item, Key, KeyLimits, Pepper, RateLimit, rate_limit};
use gateway_wire::{KEY_KIND, PEPPER_KIND};

use super::problems;

/// What the table gets, if the item is a key under a pepper that is known.
pub(super) fn entry(item: &Item, knows_pepper: impl Fn(u32) -> bool) -> Result<KeyEntry, ConfigError> {
    if item.kind != KEY_KIND {
        return Err(problems::of_item(item, "", "unsupported_yet", "a kind that this version does not know"));
    }
    let Some(Body::Key(key)) = &item.body else {
        return Err(problems::of_item(item, "", "invalid_value", "not a key"));
    };
    let digest: Digest = key.digest.as_slice().try_into().map_err(|_| {
        problems::of_item(item, "digest", "invalid_value", "a digest of a length that HMAC-SHA-256 does not have")
    })?;
    if !knows_pepper(key.pepper_version) {
        let message = format!("digested under pepper {}, which this node does not have", key.pepper_version);
        return Err(problems::of_item(item, "pepper_version", "unknown_reference", &message));
    }
    Ok(KeyEntry {
        id: item.id.as_str().into(),
        name: key.name.clone(),
        digest,
        models: key.models.clone(),
        enabled: key.enabled,
        expires_at_ms: (key.expires_at_ms != 0).then_some(key.expires_at_ms),
        limits: limits(item, key.limits.as_ref())?,
        access: access(item, key)?,
        tags: key.tags.clone(),
        pepper_version: key.pepper_version,
        metadata: key.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        passthrough: key.passthrough.clone(),
        earlier: earlier(item, &key.earlier, &knows_pepper)?,
    })
}

fn earlier(
    item: &Item,
    sent: &[EarlierSecret],
    knows_pepper: impl Fn(u32) -> bool,
) -> Result<Vec<Earlier>, ConfigError> {
    // Under a pepper that is gone nobody can present it, and the key has another.
    let usable = sent.iter().filter(|earlier| knows_pepper(earlier.pepper_version));
    let read = usable.map(|EarlierSecret { pepper_version, digest, until_ms }| {
        let digest = digest.as_slice().try_into().map_err(|_| {
            problems::of_item(item, "earlier", "invalid_value", "a digest of a length that HMAC-SHA-256 does not have")
        })?;
        Ok(Earlier { digest, pepper_version: *pepper_version, until_ms: *until_ms })
    });
    read.collect()
}

/// What this version cannot read denies the key: a limit that is not kept is none.
fn limits(item: &Item, sent: Option<&KeyLimits>) -> Result<Limits, ConfigError> {
    let Some(sent) = sent else { return Ok(Limits::default()) };
    let KeyLimits { rpm, concurrency, max_tokens, .. } = *sent;
    let when_away = match sent.when_away.as_str() {
        "" => None,
        policy => Some(WhenAway::parse(policy).ok_or_else(|| {
            problems::of_item(item, "limits.when_away", "unsupported_yet", "a policy that this version does not know")
        })?),
    };
    let mut limits = Limits { rpm, concurrency, max_tokens, when_away, ..Limits::default() };
    for RateLimit { measure, period_seconds, amount } in sent.rates.iter().copied() {
        let (Some(measure), Some(period)) = (measured(measure), period(period_seconds)) else {
            return Err(problems::of_item(
                item,
                "limits",
                "unsupported_yet",
                "a limit that this version does not know",
            ));
        };
        limits.set(Rate { measure, period, amount });
    }
    Ok(limits)
}

fn budget(item: &Item, sent: &[u8]) -> Result<Option<Budget>, ConfigError> {
    let read = (!sent.is_empty()).then(|| serde_json::from_slice(sent)).transpose();
    read.map_err(|error| problems::of_item(item, "budget", "unsupported_yet", &error.to_string()))
}

fn log_bodies(item: &Item, sent: &[u8]) -> Result<Option<Arc<Keeping>>, ConfigError> {
    let read = (!sent.is_empty()).then(|| serde_json::from_slice(sent)).transpose();
    let read = read.map_err(|error| problems::of_item(item, "log_bodies", "unsupported_yet", &error.to_string()))?;
    Ok(read.as_ref().map(Keeping::compile))
}

fn access(item: &Item, key: &Key) -> Result<Access, ConfigError> {
    let roles = key.roles.iter().map(|role| {
        Role::parse(role).ok_or_else(|| {
            problems::of_item(item, "roles", "unsupported_yet", "a role that this version does not know")
        })
    });
    let ips = key.ips.iter().map(|range| {
        IpRange::parse(range)
            .map_err(|_| problems::of_item(item, "ips", "invalid_value", "not an address or a network"))
    });
    let named = |name: &str| (!name.is_empty()).then(|| name.into());
    Ok(Access {
        roles: roles.collect::<Result<_, _>>()?,
        endpoints: key.endpoints.clone(),
        ips: ips.collect::<Result<_, _>>()?,
        belongs: Belongs { user: named(&key.user), team: named(&key.team) },
        budget: budget(item, &key.budget)?,
        revoke_mode: match key.revoke_mode.as_str() {
            "" => None,
            mode => Some(RevokeMode::parse(mode).ok_or_else(|| {
                problems::of_item(item, "revoke_mode", "unsupported_yet", "a mode that this version does not know")
            })?),
        },
        unpriced: match key.unpriced.as_str() {
            "" => None,
            policy => Some(Unpriced::parse(policy).ok_or_else(|| {
                problems::of_item(item, "unpriced", "unsupported_yet", "a policy that this version does not know")
            })?),
        },
        log_bodies: log_bodies(item, &key.log_bodies)?,
    })
}

fn measured(number: i32) -> Option<Measure> {
    Some(match rate_limit::Measure::try_from(number).ok()? {
        rate_limit::Measure::Unspecified => return None,
        rate_limit::Measure::Requests => Measure::Requests,
        rate_limit::Measure::Tokens => Measure::Tokens,
        rate_limit::Measure::InputTokens => Measure::InputTokens,
        rate_limit::Measure::OutputTokens => Measure::OutputTokens,
    })
}

fn measure(measure: Measure) -> rate_limit::Measure {
    match measure {
        Measure::Requests => rate_limit::Measure::Requests,
        Measure::Tokens => rate_limit::Measure::Tokens,
        Measure::InputTokens => rate_limit::Measure::InputTokens,
        Measure::OutputTokens => rate_limit::Measure::OutputTokens,
    }
}

fn period(seconds: u32) -> Option<Period> {
    let periods = [Period::Second, Period::Minute, Period::Hour, Period::Day];
    periods.into_iter().find(|period| period.seconds() == u64::from(seconds))
}

fn key_limits(limits: &Limits) -> KeyLimits {
    let others = limits.rates().filter(|rate| (rate.measure, rate.period) != (Measure::Requests, Period::Minute));
    let rate = |rate: Rate| RateLimit {
        measure: measure(rate.measure).into(),
        period_seconds: u32::try_from(rate.period.seconds()).unwrap_or(u32::MAX),
        amount: rate.amount,
    };
    let Limits { rpm, concurrency, max_tokens, when_away, .. } = *limits;
    let when_away = when_away.map(|policy| policy.name().to_owned()).unwrap_or_default();
    KeyLimits { rpm, rates: others.map(rate).collect(), concurrency, max_tokens, when_away }
}

/// The way back; exact for what [`is_plain`] holds for.
pub(super) fn item(entry: KeyEntry) -> Item {
    let key = Key {
        name: entry.name,
        pepper_version: entry.pepper_version,
        digest: entry.digest.to_vec(),
        enabled: entry.enabled,
        expires_at_ms: entry.expires_at_ms.unwrap_or_default(),
        models: entry.models,
        limits: Some(key_limits(&entry.limits)),
        tags: entry.tags,
        metadata: entry.metadata.into_iter().collect(),
        passthrough: entry.passthrough,
        roles: entry.access.roles.iter().map(|role| role.name().to_owned()).collect(),
        endpoints: entry.access.endpoints,
        ips: entry.access.ips.iter().map(ToString::to_string).collect(),
        user: entry.access.belongs.user.as_deref().unwrap_or_default().to_owned(),
        team: entry.access.belongs.team.as_deref().unwrap_or_default().to_owned(),
        // An amount and a word can be written.
        budget: entry.access.budget.map_or_else(Vec::new, |budget| serde_json::to_vec(&budget).unwrap_or_default()),
        revoke_mode: entry.access.revoke_mode.map(|mode| mode.name().to_owned()).unwrap_or_default(),
        unpriced: entry.access.unpriced.map(|policy| policy.name().to_owned()).unwrap_or_default(),
        log_bodies: entry.access.log_bodies.map_or_else(Vec::new, |keeping| keeping.written().as_bytes().to_vec()),
        earlier: entry.earlier.iter().map(earlier_secret).collect(),
    };
    Item { kind: KEY_KIND.to_owned(), id: entry.id.to_string(), body: Some(Body::Key(key)), ..Item::default() }
}

fn earlier_secret(earlier: &Earlier) -> EarlierSecret {
    let Earlier { digest, pepper_version, until_ms } = *earlier;
    EarlierSecret { pepper_version, digest: digest.to_vec(), until_ms }
}

/// Written the way that [`item`] writes it.
pub(super) fn is_plain(item: &Item, entry: &KeyEntry) -> bool {
    let Some(Body::Key(Key { limits: Some(limits), ips, budget, earlier, log_bodies, .. })) = &item.body else {
        return false;
    };
    let is_written = !budget.is_empty() || !log_bodies.is_empty();
    let may_differ = || !ips.is_empty() || limits.rates.len() > 1 || is_written || earlier.len() != entry.earlier.len();
    item.secrets.is_empty() && (!may_differ() || self::item(entry.clone()) == *item)
}

pub(super) fn pepper(item: &Item) -> Result<(u32, &[u8]), ConfigError> {
    match &item.body {
        Some(Body::Pepper(pepper)) if pepper.version.to_string() != item.id => {
            Err(problems::of_item(item, "version", "invalid_value", "a pepper whose id is not its version"))
        }
        Some(Body::Pepper(pepper)) if !pepper.value.is_empty() => Ok((pepper.version, &pepper.value)),
        _ => Err(problems::of_item(item, "", "invalid_value", "a pepper without a value")),
    }
}

pub(super) fn pepper_items(peppers: &BTreeMap<u32, Vec<u8>>) -> impl Iterator<Item = Item> {
    peppers.iter().map(|(version, value)| {
        let body = Some(Body::Pepper(Pepper { version: *version, value: value.clone() }));
        Item { kind: PEPPER_KIND.to_owned(), id: version.to_string(), body, ..Item::default() }
    })
}
