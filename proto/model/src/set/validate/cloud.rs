//! What providers on the large clouds have of their own: regions, projects, credentials that are no keys.

use super::Findings;
use crate::kind::provider::Provider;
use crate::problem::Code;

pub(super) fn aws(provider: &Provider, findings: &mut Findings<'_>) {
    let Some(aws) = &provider.aws else {
        if provider.kind == "bedrock" {
            findings.error(Code::MissingField, "aws", "give at least `region`; a provider of kind `bedrock` is in one");
        }
        return;
    };
    if provider.kind != "bedrock" {
        findings.error(Code::Conflict, "aws", "belongs to providers of kind `bedrock`");
    }
    if !is_word(&aws.region) {
        findings.error(Code::InvalidValue, "aws.region", "is no region like `us-east-1`");
    }
    if aws.access_key_id.as_ref().is_some_and(|id| !is_word(id)) {
        findings.error(Code::InvalidValue, "aws.access_key_id", "holds other characters than an access key id has");
    }
    if aws.access_key_id.is_some() && provider.api_key.is_some() {
        let message = "requests are either signed with `aws` or carry this key; give one of them";
        findings.error(Code::Conflict, "api_key", message);
    }
    for (path, secret) in [("aws.secret_access_key", &aws.secret_access_key), ("aws.session_token", &aws.session_token)]
    {
        if let Some(secret) = secret {
            if secret.expose().is_empty() || !secret.expose().bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
                findings.error(Code::InvalidValue, path, "is empty, or holds a space or a line break");
            }
            if aws.access_key_id.is_none() {
                findings.error(Code::Conflict, path, "means nothing without `aws.access_key_id`");
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

pub(super) fn gcp(provider: &Provider, findings: &mut Findings<'_>) {
    let Some(gcp) = &provider.gcp else {
        if provider.kind == "vertex" {
            findings.error(Code::MissingField, "gcp", "give at least `project`; a provider of kind `vertex` is in one");
        }
        return;
    };
    if provider.kind != "vertex" {
        findings.error(Code::Conflict, "gcp", "belongs to providers of kind `vertex`");
    }
    // Both become parts of a URL, the location also of a host's name.
    let is_word = |text: &str, more: &[u8]| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte);
        !text.is_empty() && text.len() <= 100 && text.bytes().all(is_letter)
    };
    if !is_word(&gcp.project, b"-:.") {
        findings.error(Code::InvalidValue, "gcp.project", "is no project id like `my-project-123`");
    }
    if !is_word(&gcp.location, b"-") {
        findings.error(Code::InvalidValue, "gcp.location", "is no location like `us-central1` or `global`");
    }
    if gcp.service_account_json.is_some() && provider.api_key.is_some() {
        let message = "requests carry either a token of `gcp` or this key; give one of them";
        findings.error(Code::Conflict, "api_key", message);
    }
    if gcp.metadata_url.is_some() && (gcp.service_account_json.is_some() || provider.api_key.is_some()) {
        let message = "means nothing beside another credential; give one of them";
        findings.error(Code::Conflict, "gcp.metadata_url", message);
    }
}
