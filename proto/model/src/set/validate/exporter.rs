//! What can be wrong with an exporter.

use super::{Findings, url};
use crate::kind::exporter::{Bucket, Exporter, ExporterType, Selection};
use crate::problem::Code;

/// Shorter ones can be tried out.
const MIN_SECRET_CHARS: usize = 16;
const MAX_GATHER_SECONDS: u64 = 3600;

pub(super) fn check(exporter: &Exporter, findings: &mut Findings<'_>) {
    use ExporterType::*;
    let of = exporter.of;
    fits(exporter, findings);
    match &exporter.url {
        None if matches!(of, Webhook | Slack | Splunk | Collector) => {
            findings.error(Code::MissingField, "url", "says nobody where to send it");
        }
        None => {}
        Some(address) => {
            // What is in the query of a webhook is its own affair.
            let whole = address.expose();
            let checked =
                if matches!(of, Webhook | Slack) { whole.split(['?', '#']).next().unwrap_or_default() } else { whole };
            url::check_address("url", checked, exporter.allow_private_networks, findings);
        }
    }
    if matches!(of, Datadog | Langfuse | Splunk | Collector) && exporter.api_key.is_none() {
        findings.error(Code::MissingField, "api_key", "without it nothing is taken there");
    }
    if let Some(key) = &exporter.api_key
        && (key.expose().is_empty() || key.expose().bytes().any(|byte| !(0x21..=0x7e).contains(&byte)))
    {
        findings.error(Code::InvalidValue, "api_key", "may hold visible ASCII without spaces only");
    }
    if of == Langfuse && exporter.public_key.as_ref().is_none_or(String::is_empty) {
        findings.error(Code::MissingField, "public_key", "is the name that the secret key goes with");
    }
    if of == Webhook {
        match &exporter.secret {
            None => {
                findings.error(Code::MissingField, "secret", "signs what is sent; without it anybody could send it")
            }
            Some(secret) if secret.expose().chars().count() < MIN_SECRET_CHARS => {
                findings.error(
                    Code::InvalidValue,
                    "secret",
                    format!("must have at least {MIN_SECRET_CHARS} characters"),
                );
            }
            Some(_) => {}
        }
    }
    match &exporter.s3 {
        None if of == S3 => findings.error(Code::MissingField, "s3", "says nobody which bucket it is put into"),
        Some(bucket) => self::bucket(bucket, findings),
        None => {}
    }
    if exporter.sample.is_some_and(|part| !(part > 0.0 && part <= 1.0)) {
        findings.error(Code::InvalidValue, "sample", "must be above 0 and at most 1; `enabled: false` sends nothing");
    }
    selection(&exporter.filter, findings);
}

/// What another type has is not ignored.
fn fits(exporter: &Exporter, findings: &mut Findings<'_>) {
    use ExporterType::*;
    let of = exporter.of;
    for (field, is_there, types) in [
        ("api_key", exporter.api_key.is_some(), &[Datadog, Langfuse, Splunk, Collector][..]),
        ("public_key", exporter.public_key.is_some(), &[Langfuse]),
        ("secret", exporter.secret.is_some(), &[Webhook]),
        ("s3", exporter.s3.is_some(), &[S3]),
        ("share", exporter.share.is_some(), &[Collector]),
    ] {
        if is_there && !types.contains(&of) {
            findings.error(Code::Conflict, field, format!("means nothing to an exporter of type `{}`", of.name()));
        }
    }
}

fn bucket(bucket: &Bucket, findings: &mut Findings<'_>) {
    let is_name = |text: &str, beside: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || beside.contains(&byte))
    };
    if !is_name(&bucket.bucket, b"-.") {
        findings.error(Code::InvalidValue, "s3.bucket", "may hold letters, digits, `-` and `.` only");
    }
    if !is_name(&bucket.region, b"-") {
        findings.error(Code::InvalidValue, "s3.region", "may hold letters, digits and `-` only");
    }
    let has_steps = bucket.prefix.split('/').any(|part| matches!(part, "." | ".."));
    if !bucket.prefix.is_empty() && (!is_name(&bucket.prefix, b"-_./") || bucket.prefix.starts_with('/') || has_steps) {
        let message = "may hold letters, digits, `-`, `_`, `.` and `/` only, and not begin with `/`";
        findings.error(Code::InvalidValue, "s3.prefix", message);
    }
    if !is_name(&bucket.access_key_id, b"-_./+=") {
        findings.error(Code::InvalidValue, "s3.access_key_id", "is no name of a key");
    }
    if bucket.secret_access_key.is_none() {
        findings.error(Code::MissingField, "s3.secret_access_key", "signs what is put there");
    }
    if bucket.gather.is_some_and(|span| span.0.as_secs() > MAX_GATHER_SECONDS) {
        findings.error(Code::InvalidValue, "s3.gather", "must be at most one hour");
    }
}

fn selection(selection: &Selection, findings: &mut Findings<'_>) {
    let lists = [("keys", &selection.keys), ("teams", &selection.teams), ("models", &selection.models)];
    for (list, _) in lists.iter().filter(|(_, names)| names.iter().any(String::is_empty)) {
        findings.error(Code::InvalidValue, &format!("filter.{list}"), "holds an empty name");
    }
    let is_status = |text: &String| match text.strip_suffix("xx") {
        Some(class) => matches!(class.parse(), Ok(1..=5_u32)),
        None => matches!(text.parse(), Ok(100..=599_u32)),
    };
    if let Some(wrong) = selection.status.iter().find(|text| !is_status(text)) {
        let message = format!("`{wrong}` is neither a status, like `429`, nor a class, like `5xx`");
        findings.error(Code::InvalidValue, "filter.status", message);
    }
    if selection.min_cost_usd.is_some_and(|cost| cost.0 < 0) {
        findings.error(Code::InvalidValue, "filter.min_cost_usd", "must be 0 or more");
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn exporters_are_whole_and_safe() {
        let of = |fields: &str| format!("exporters: [{{name: x, {fields}}}]");
        let bucket = "bucket: b, region: eu-central-1, access_key_id: AKIA";
        for good in [
            "type: webhook, url: \"https://a.example/in?a=b\", secret: 0123456789abcdef",
            "type: webhook, url: \"http://10.0.0.1/in\", secret: 0123456789abcdef, allow_private_networks: true",
            "type: slack, url: \"https://hooks.example.com/services/x\", filter: {min_cost_usd: 0.5}",
            "type: datadog, api_key: key",
            "type: langfuse, api_key: sk-lf, public_key: pk-lf",
            "type: splunk, api_key: token, url: \"https://splunk.example:8088\"",
            "type: collector, api_key: key, url: \"https://collector.example\", share: prompts",
            "type: datadog, api_key: key, sample: 0.1, filter: {keys: [\"a*\"], teams: [t], models: [m], status: [\"5xx\", \"429\"]}",
        ] {
            check(&of(good), &[]);
        }
        check(&of(&format!("type: s3, s3: {{{bucket}, secret_access_key: s, prefix: a/b, gather: 5s}}")), &[]);
        for (wrong, paths) in [
            ("type: webhook", &["exporters[x].url", "exporters[x].secret"][..]),
            ("type: slack, url: \"http://hooks.example.com/\"", &["exporters[x].url"]),
            ("type: slack, url: \"https://a@b/\"", &["exporters[x].url"]),
            ("type: slack, url: \"https://a.example\", secret: 0123456789abcdef", &["exporters[x].secret"]),
            ("type: splunk, url: \"https://127.0.0.1\", api_key: k", &["exporters[x].url"]),
            ("type: splunk, url: \"https://a.example?q\", api_key: k", &["exporters[x].url"]),
            ("type: datadog", &["exporters[x].api_key"]),
            ("type: datadog, api_key: \"a b\"", &["exporters[x].api_key"]),
            ("type: datadog, api_key: k, share: prompts", &["exporters[x].share"]),
            ("type: langfuse, api_key: k", &["exporters[x].public_key"]),
            ("type: collector, url: \"https://a.example\", api_key: k, share: all", &["exporters[x].share"]),
            ("type: s3", &["exporters[x].s3"]),
            (
                "type: s3, s3: {bucket: a/b, region: r, access_key_id: a}",
                &["exporters[x].s3.secret_access_key", "exporters[x].s3.bucket"],
            ),
            ("type: datadog, api_key: k, sample: 0", &["exporters[x].sample"]),
            ("type: datadog, api_key: k, filter: {status: [\"6xx\"]}", &["exporters[x].filter.status"]),
            ("type: pager, api_key: k", &["exporters[x].type"]),
        ] {
            check(&of(wrong), paths);
        }
    }
}
