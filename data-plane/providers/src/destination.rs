//! The pure half of the destination guard: may a connection go to this address? The connector asks for the address that it
//! is about to dial, after the name has been resolved; a check of the configured name alone would prove nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("it serves the credentials of a cloud instance")]
    Metadata,
    #[error("it is a loopback address; `allow_private_networks: true` on the provider permits it")]
    Loopback,
    #[error("it is a private address; `allow_private_networks: true` on the provider permits it")]
    Private,
    #[error("it is a link-local address")]
    LinkLocal,
    #[error("it is in the address space shared by carriers")]
    Shared,
    #[error("it is a multicast or broadcast address")]
    Multicast,
    #[error("it is an IPv6 address that hides an IPv4 address")]
    Embedded,
    #[error("it is reserved and belongs to no host")]
    Reserved,
    #[error("it is public and would be called without TLS")]
    Cleartext,
}

/// Addresses at which clouds hand out credentials, some of them in ranges that are otherwise fine.
const METADATA_V4: [Ipv4Addr; 4] = [
    GOOGLE_METADATA,
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)];

/// IPv4 networks that no upstream may have. Earlier rows win.
const DENIED_V4: &[(Ipv4Addr, u32, Denied)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Denied::Reserved),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Denied::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Denied::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Denied::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Denied::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Denied::Private),
    // Protocol assignments, documentation, the 6to4 relay, benchmarking.
    (Ipv4Addr::new(192, 0, 0, 0), 24, Denied::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Denied::Reserved),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Denied::Reserved),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Denied::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Denied::Reserved),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Denied::Reserved),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Denied::Reserved),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Denied::Multicast),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Denied::Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Denied::Reserved),
];

/// IPv6 networks that no upstream may have. Earlier rows win.
const DENIED_V6: &[(Ipv6Addr, u32, Denied)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Denied::Reserved),
    (Ipv6Addr::LOCALHOST, 128, Denied::Loopback),
    // IPv4-compatible and IPv4-mapped, NAT64 with its local prefix, Teredo, 6to4.
    (Ipv6Addr::UNSPECIFIED, 96, Denied::Embedded),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Denied::Embedded),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Denied::Embedded),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Denied::Embedded),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Denied::Embedded),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Denied::Embedded),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Denied::Embedded),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Denied::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Denied::LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Denied::LinkLocal),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Denied::Multicast),
];

/// Hosts of the public internet live here and nowhere else.
const GLOBAL_UNICAST_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Inside the global range, but no hosts: protocol assignments (benchmarking, ORCHID) and documentation.
const RESERVED_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether a connection may go to `ip`. `allow_private` permits loopback, private and unique-local addresses and nothing else:
/// metadata services, link-local, multicast and reserved addresses are never called.
pub fn allowed(ip: IpAddr, allow_private: bool) -> Result<(), Denied> {
    match classify(ip) {
        None => Ok(()),
        Some(Denied::Loopback | Denied::Private) if allow_private => Ok(()),
        Some(denied) => Err(denied),
    }
}

/// The one address of its kind that may be called, and only to ask for a token that a provider's configuration wants.
const GOOGLE_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Whether a request for a token of the machine's own account may go to `ip`.
pub fn allowed_for_tokens(ip: IpAddr) -> Result<(), Denied> {
    if ip == IpAddr::V4(GOOGLE_METADATA) { Ok(()) } else { Err(Denied::Reserved) }
}

/// Whether a connection without TLS may go to `ip`: to loopback, private and unique-local addresses only, where
/// `allow_private` permits those.
pub fn allowed_in_clear(ip: IpAddr, allow_private: bool) -> Result<(), Denied> {
    allowed(ip, allow_private)?;
    if classify(ip).is_none() { Err(Denied::Cleartext) } else { Ok(()) }
}

/// What is wrong with an address; `None` for hosts of the public internet.
fn classify(ip: IpAddr) -> Option<Denied> {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Option<Denied> {
    if METADATA_V4.contains(&ip) {
        return Some(Denied::Metadata);
    }
    let within = |network: Ipv4Addr, n_bits: u32| (ip.to_bits() ^ network.to_bits()) >> (32 - n_bits) == 0;
    DENIED_V4.iter().find(|(network, n_bits, _)| within(*network, *n_bits)).map(|(_, _, denied)| *denied)
}

fn classify_v6(ip: Ipv6Addr) -> Option<Denied> {
    if METADATA_V6.contains(&ip) {
        return Some(Denied::Metadata);
    }
    let within = |network: Ipv6Addr, n_bits: u32| (ip.to_bits() ^ network.to_bits()) >> (128 - n_bits) == 0;
    if let Some((_, _, denied)) = DENIED_V6.iter().find(|(network, n_bits, _)| within(*network, *n_bits)) {
        return Some(*denied);
    }
    let is_host = within(GLOBAL_UNICAST_V6.0, GLOBAL_UNICAST_V6.1)
        && !RESERVED_V6.iter().any(|(network, n_bits)| within(*network, *n_bits));
    if is_host { None } else { Some(Denied::Reserved) }
}

#[cfg(test)]
mod tests;
