//! What most keys do not have: rights beside models, and somebody that they are for.

use std::net::IpAddr;
use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};
use gateway_model::access::{IpRange, RevokeMode, Role};
use gateway_model::kind::budget::Budget;
use gateway_model::policy::Unpriced;

use crate::bodies::Keeping;
use crate::glob::Glob;
use crate::limits::purse::Purse;

/// As the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// None: `user`.
    pub roles: Vec<Role>,
    /// `METHOD /path`, with stars; none: what the roles allow.
    pub endpoints: Vec<String>,
    /// None: anywhere.
    pub ips: Vec<IpRange>,
    pub belongs: Belongs,
    pub budget: Option<Budget>,
    /// `None`: as the settings say.
    pub revoke_mode: Option<RevokeMode>,
    /// `None`: as the route or the settings say.
    pub unpriced: Option<Unpriced>,
    /// `None`: as the route or the settings say.
    pub log_bodies: Option<Arc<Keeping>>,
}

/// Whom a key is for, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongs {
    pub user: Option<Arc<str>>,
    pub team: Option<Arc<str>>,
}

/// An operation, and where it is asked from.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub method: &'a str,
    /// As it stands in the request.
    pub path: &'a str,
    pub from: IpAddr,
}

/// Ready to be asked.
#[derive(Debug)]
pub(super) struct Rights {
    written: Access,
    endpoints: Box<[Glob]>,
    /// The key's own.
    pub(super) purse: Option<Arc<Purse>>,
}

// === impl Rights ===

impl Rights {
    /// `None` for a key that has nothing of all this.
    pub(super) fn new(access: &Access, purse: Option<Arc<Purse>>) -> Option<Box<Self>> {
        let endpoints = access.endpoints.iter().map(|endpoint| Glob::new(endpoint)).collect();
        (*access != Access::default()).then(|| Box::new(Self { written: access.clone(), endpoints, purse }))
    }

    pub(super) fn written(&self) -> &Access {
        &self.written
    }

    pub(super) fn is_admin(&self) -> bool {
        self.written.roles.contains(&Role::Admin)
    }

    pub(super) fn check(&self, call: Call<'_>) -> Result<(), Box<Failure>> {
        let Access { roles, ips, .. } = &self.written;
        if !ips.is_empty() && !ips.iter().any(|range| range.contains(call.from)) {
            return Err(forbidden(format!("this API key may not be used from {}", call.from.to_canonical())));
        }
        if self.is_admin() {
            return Ok(());
        }
        let Call { method, path, .. } = call;
        if !self.endpoints.is_empty() {
            let asked = format!("{method} {path}");
            if self.endpoints.iter().any(|endpoint| endpoint.matches(&asked)) {
                return Ok(());
            }
            return Err(forbidden(format!("this API key may not use `{asked}`; its `endpoints` name what it may")));
        }
        let only_reads = !roles.is_empty() && roles.iter().all(|role| *role == Role::ReadOnly);
        if only_reads && !matches!(method, "GET" | "HEAD") {
            return Err(forbidden(format!("this API key may only read; `{method} {path}` takes the role `user`")));
        }
        Ok(())
    }
}

fn forbidden(message: String) -> Box<Failure> {
    Box::new(Failure::new(Code::NotAllowed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_endpoints_and_addresses() {
        let access = |roles: &[Role], endpoints: &[&str], ips: &[&str]| Access {
            roles: roles.to_vec(),
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            ips: ips.iter().map(|range| IpRange::parse(range).expect("a range")).collect(),
            ..Access::default()
        };
        let (chat, models) = ("POST /v1/chat/completions", "GET /v1/models");
        let cases = [
            (access(&[Role::User], &[], &[]), chat, true),
            (access(&[Role::ReadOnly], &[], &[]), chat, false),
            (access(&[Role::ReadOnly], &[], &[]), models, true),
            (access(&[Role::ReadOnly, Role::User], &[], &[]), chat, true),
            (access(&[], &["GET /v1/models"], &[]), chat, false),
            (access(&[], &["GET /v1/models"], &[]), models, true),
            (access(&[], &["GET /v1/models"], &[]), "GET /v1/models/m", false),
            (access(&[], &["* /v1/models*"], &[]), "GET /v1/models/m", true),
            (access(&[Role::ReadOnly], &["POST /v1/*"], &[]), chat, true),
            (access(&[Role::Admin], &["GET /v1/models"], &[]), chat, true),
            (access(&[], &[], &["10.0.0.0/8"]), chat, true),
            (access(&[], &[], &["11.0.0.0/8", "::1"]), chat, false),
            (access(&[Role::Admin], &[], &["11.0.0.0/8"]), chat, false),
        ];
        for (access, asked, may) in cases {
            let (method, path) = asked.split_once(' ').expect("two words");
            let call = Call { method, path, from: "::ffff:10.1.2.3".parse().expect("an address") };
            let rights = Rights::new(&access, None).expect("something is written");
            let refused = rights.check(call).err();
            assert_eq!(refused.is_none(), may, "{access:?} {asked}: {refused:?}");
            assert!(refused.is_none_or(|failure| failure.status == 403));
        }
        assert!(Rights::new(&Access::default(), None).is_none());
    }
}
