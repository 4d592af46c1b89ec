//! Base URLs: form, scheme, and whether the address may be called at all. What a name resolves to is checked again when it
//! is dialled.

use std::net::IpAddr;

use super::Findings;
use crate::problem::Code;

/// A base URL taken apart.
struct Parts<'a> {
    tls: bool,
    host: &'a str,
    path: &'a str,
}

pub(super) fn check(base_url: &str, allow_private: bool, root: bool, findings: &mut Findings<'_>) {
    let Some(parts) = address("base_url", base_url, allow_private, findings) else { return };
    if root && parts.path.trim_end_matches('/').ends_with("/v1") && !parts.path.contains("/openai/") {
        let message = "ends in /v1 although this kind takes the host root; requests will go to …/v1/v1/…";
        findings.warning(Code::Conflict, "base_url", message);
    }
}

/// What holds for every URL that is called.
pub(super) fn check_address(field: &str, url: &str, allow_private: bool, findings: &mut Findings<'_>) {
    address(field, url, allow_private, findings);
}

fn address<'u>(field: &str, url: &'u str, allow_private: bool, findings: &mut Findings<'_>) -> Option<Parts<'u>> {
    let parts = match split(url) {
        Ok(parts) => parts,
        Err(reason) => {
            findings.error(Code::InvalidValue, field, reason);
            return None;
        }
    };
    let local = is_local(parts.host);
    if local && !allow_private {
        let message =
            format!("`{}` is a private address; set `allow_private_networks: true` if it is meant", parts.host);
        findings.error(Code::InsecureDestination, field, message);
    } else if !parts.tls && !allow_private {
        let message = "must be https; http is possible towards private addresses with `allow_private_networks: true`";
        findings.error(Code::InsecureDestination, field, message);
    }
    Some(parts)
}

fn split(url: &str) -> Result<Parts<'_>, String> {
    let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err("must begin with https://".to_owned()),
    };
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    if path.contains(['?', '#']) {
        return Err("may not hold a query or a fragment".to_owned());
    }
    if authority.contains('@') {
        return Err("may not hold a user name or password; use `api_key`".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{authority}` has no valid port"));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_name && bare.parse::<IpAddr>().is_err() {
        return Err(format!("`{host}` is no host name or address"));
    }
    if path.bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) || path.split('/').any(|part| part == "..") {
        return Err("the path may hold visible ASCII only, and no `..`".to_owned());
    }
    Ok(Parts { tls, host: bare, path })
}

/// What is certainly local by its name; anything else is judged by the address that is dialled.
fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || ip.octets()[0] == 0
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}
