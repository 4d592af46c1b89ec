//! What a record is found by. The names are those that `admin::logs` takes.

use gateway_store::logs::Terms;
use gateway_wire::v1::LogRecord;

/// As a column takes it; key, model, provider and status are columns of their own.
pub(super) fn of(record: &LogRecord) -> String {
    let mut terms = Terms::default();
    let fields = [
        ("team", &record.team),
        ("user", &record.user),
        ("organization", &record.organization),
        ("upstream_model", &record.upstream_model),
        ("route", &record.route),
        ("ending", &record.ending),
        ("error_code", &record.error_code),
        ("lane", &record.lane),
        ("session", &record.session_id),
        ("node", &record.node_id),
        ("dialect", &record.dialect),
        ("tier", &record.tier),
        ("pin", &record.pin),
        ("trace", &record.trace_id),
    ];
    fields.into_iter().for_each(|(name, value)| terms.put(name, value));
    terms.put("stream", if record.stream { "true" } else { "false" });
    terms.put("revision", &record.topology_revision.to_string());
    if let Some(cache) = &record.cache {
        terms.put("cache", &cache.verdict);
    }
    if let Some(arm) = &record.experiment {
        terms.put("experiment", &arm.name);
    }
    record.tags.iter().for_each(|tag| terms.put("tag", tag));
    // What is said first is kept where there is too much of it.
    let texts = [
        &record.error_code,
        &record.key_name,
        &record.model,
        &record.upstream_model,
        &record.provider,
        &record.team,
        &record.user,
        &record.organization,
        &record.route,
        &record.path,
    ];
    let attempts = record.attempts.iter().flat_map(|attempt| [&attempt.provider, &attempt.model, &attempt.error_code]);
    let texts = texts.into_iter().chain(&record.tags).chain(attempts).chain([&record.error_message]);
    texts.for_each(|text| terms.say(text));
    terms.into_text()
}
