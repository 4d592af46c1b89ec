//! Messages as rows of the store.

use gateway_store::ledger::Charge;
use gateway_store::logs::LogRow;
use gateway_store::traffic::{Sample, Try};
use gateway_store::usage::{Tokens, Units, UsageRow};
use gateway_wire::v1::{self, Attempt, LogRecord, TokenUsage, UsageEvent};

use super::terms;

pub(super) fn usage(node_id: &str, event: UsageEvent) -> UsageRow {
    let settled_by = event.settled_by().word().unwrap_or(UNKNOWN).to_owned();
    UsageRow {
        node_id: node_id.to_owned(),
        started_ms: event.started_unix_ms,
        tokens: event.tokens.map(tokens).unwrap_or_default(),
        units: event.units.map(units).unwrap_or_default(),
        settled_by,
        // Texts are JSON, whatever is in them.
        tags: serde_json::to_string(&event.tags).unwrap_or_default(),
        id: event.id,
        key_id: event.key_id,
        model: event.model,
        provider: event.provider,
        upstream_model: event.upstream_model,
        route: event.route,
        cost_nano_usd: event.cost_nano_usd,
        priced: event.priced,
        status: event.status,
        topology_revision: event.topology_revision,
        charges: event.charges.into_iter().map(charge).collect(),
        user: event.user,
        team: event.team,
        organization: event.organization,
        price: event.price,
        tier: event.tier,
        baseline_nano_usd: event.baseline_nano_usd,
    }
}

fn charge(charge: v1::Charge) -> Charge {
    Charge { budget: charge.budget, start_ms: charge.window_start_ms, nano_usd: charge.nano_usd }
}

pub(super) fn log(record: &LogRecord) -> LogRow {
    LogRow {
        id: record.id.clone(),
        started_ms: record.started_unix_ms,
        key_id: record.key_id.clone(),
        key_name: record.key_name.clone(),
        model: record.model.clone(),
        provider: record.provider.clone(),
        status: record.status,
        // Numbers and texts are JSON, whatever is in them.
        record: serde_json::to_string(record).unwrap_or_default(),
        terms: terms::of(record),
        total_us: record.total_us,
        cost_nano_usd: record.cost_nano_usd,
        sample: Some(sample(record)),
        session: record.session_id.clone(),
        user: record.user.clone(),
    }
}

/// How a reply ended that was begun and not finished, through no doing of the caller's.
const CUT: [&str; 3] = ["upstream_cut", "failed", "timeout"];

fn sample(record: &LogRecord) -> Sample {
    let was_asked = !record.attempts.is_empty();
    let tokens = record.tokens.unwrap_or_default();
    Sample {
        failed: record.status >= 500 || record.status < 400 && CUT.contains(&record.ending.as_str()),
        refused: (400..500).contains(&record.status),
        input: tokens.input.saturating_add(tokens.cache_read).saturating_add(tokens.cache_write),
        output: tokens.output,
        cost_nano_usd: record.cost_nano_usd,
        // What was never let in used nothing.
        unpriced: record.tokens.is_some() && !record.priced,
        first_byte_us: if was_asked { record.first_byte_us } else { 0 },
        total_us: if was_asked { record.total_us } else { 0 },
        attempts: record.attempts.iter().map(attempt).collect(),
    }
}

/// What a provider says of the caller (400, 404 …) is no failure of its own; 401 to 403 and 429 are about the account.
fn attempt(attempt: &Attempt) -> Try {
    let refused = (400..500).contains(&attempt.status) && ![401, 402, 403, 408, 429].contains(&attempt.status);
    Try {
        provider: attempt.provider.clone(),
        failed: !refused && (attempt.status >= 400 || attempt.status == 0 || !attempt.error_code.is_empty()),
        refused,
        total_us: attempt.ended_us.saturating_sub(attempt.started_us),
    }
}

/// A way to settle that a later version has.
const UNKNOWN: &str = "unknown";

fn tokens(tokens: TokenUsage) -> Tokens {
    Tokens {
        input: tokens.input,
        cache_read: tokens.cache_read,
        cache_write: tokens.cache_write,
        cache_write_1h: tokens.cache_write_1h,
        output: tokens.output,
        reasoning: tokens.reasoning,
        input_audio: tokens.input_audio,
        output_audio: tokens.output_audio,
        input_image: tokens.input_image,
        output_image: tokens.output_image,
    }
}

fn units(units: v1::Units) -> Units {
    Units {
        pictures_made: units.pictures_made,
        pictures_read: units.pictures_read,
        audio_ms: units.audio_ms,
        characters: units.characters,
        searches: units.searches,
    }
}
