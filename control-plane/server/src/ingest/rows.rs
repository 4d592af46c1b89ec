//! Messages as rows of the store.

use gateway_store::logs::LogRow;
use gateway_store::usage::{Tokens, Units, UsageRow};
use gateway_wire::v1::{self, LogRecord, TokenUsage, UsageEvent};

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
    }
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
