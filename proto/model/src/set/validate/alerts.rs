//! What can be wrong with `settings.alerts`.

use std::collections::HashSet;

use super::{Findings, provider_name, url};
use crate::kind::settings::alerts::{Destination, DestinationKind};
use crate::problem::Code;

/// Shorter ones can be tried out.
const MIN_SECRET_CHARS: usize = 16;

pub(super) fn check(destinations: &[Destination], findings: &mut Findings<'_>) {
    if destinations.len() > Destination::MOST {
        findings.error(Code::InvalidValue, "alerts", format!("must be at most {}", Destination::MOST));
    }
    let mut names = HashSet::new();
    for destination in destinations {
        let path = |field: &str| format!("alerts[{}].{field}", destination.name);
        if let Some(why) = provider_name(&destination.name) {
            findings.error(Code::InvalidValue, &path("name"), why);
        }
        if !names.insert(&destination.name) {
            findings.error(Code::DuplicateName, &path("name"), "is there twice");
        }
        match &destination.url {
            None => findings.error(Code::MissingField, &path("url"), "says nobody where to send it"),
            Some(url) => {
                let address = url.expose().split(['?', '#']).next().unwrap_or_default();
                url::check_address(&path("url"), address, destination.allow_private_networks, findings);
            }
        }
        match (destination.kind, &destination.secret) {
            (DestinationKind::Webhook, None) => {
                findings.error(
                    Code::MissingField,
                    &path("secret"),
                    "signs what is sent; without it anybody could send it",
                );
            }
            (DestinationKind::Webhook, Some(secret)) if secret.expose().chars().count() < MIN_SECRET_CHARS => {
                let message = format!("must have at least {MIN_SECRET_CHARS} characters");
                findings.error(Code::InvalidValue, &path("secret"), message);
            }
            (DestinationKind::Slack, Some(_)) => {
                findings.error(Code::Conflict, &path("secret"), "is for webhooks; Slack checks no signature");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn destinations_are_whole_and_safe() {
        let of = |fields: &str| format!("settings: {{alerts: [{{name: ops, {fields}}}]}}");
        let webhook = |url: &str| of(&format!("kind: webhook, secret: 0123456789abcdef, url: \"{url}\""));
        check(&webhook("https://alerts.example.com/in?a=b"), &[]);
        check(&of("kind: slack, url: \"https://hooks.example.com/services/T/B/x\""), &[]);
        check(
            &of("kind: webhook, url: \"http://10.0.0.1/in\", secret: 0123456789abcdef, allow_private_networks: true"),
            &[],
        );
        for url in ["http://alerts.example.com/", "ftp://x", "https://", "https://a@b/", "https://a b/", "x"] {
            check(&webhook(url), &["settings.alerts[ops].url"]);
        }
        check(&of("kind: webhook"), &["settings.alerts[ops].url", "settings.alerts[ops].secret"]);
        check(&of("kind: webhook, url: \"https://a.example\", secret: short"), &["settings.alerts[ops].secret"]);
        check(
            &of("kind: slack, url: \"https://a.example\", secret: 0123456789abcdef"),
            &["settings.alerts[ops].secret"],
        );
        check(&of("kind: pager, url: \"https://a.example\""), &["settings.alerts[0].kind"]);
        let twice = "{name: a, kind: slack, url: \"https://a.example\"}";
        check(&format!("settings: {{alerts: [{twice}, {twice}]}}"), &["settings.alerts[a].name"]);
    }
}
