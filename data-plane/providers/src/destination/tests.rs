//! The guard, form by form.

use proptest::prelude::*;

use super::*;

fn check(ip: &str, expected: Option<Denied>) {
    let parsed: IpAddr = ip.parse().expect("an address");
    assert_eq!(allowed(parsed, false).err(), expected, "{ip}");
    let is_local = matches!(expected, Some(Denied::Loopback | Denied::Private));
    assert_eq!(allowed(parsed, true).err(), if is_local { None } else { expected }, "{ip}, private networks allowed");
    let in_clear = if is_local { None } else { expected.or(Some(Denied::Cleartext)) };
    assert_eq!(allowed_in_clear(parsed, true).err(), in_clear, "{ip}, without TLS");
    assert!(allowed_in_clear(parsed, false).is_err(), "{ip}, without TLS and without permission");
}

#[test]
fn addresses_by_kind() {
    use Denied::{Embedded, LinkLocal, Loopback, Metadata, Multicast, Private, Reserved, Shared};
    let cases: &[(Option<Denied>, &[&str])] = &[
        (None, &["8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1"]),
        (None, &["172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255"]),
        (None, &["198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"]),
        (Some(Loopback), &["127.0.0.1", "127.255.255.254", "::1"]),
        (Some(Private), &["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1"]),
        (Some(Private), &["fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd12:3456:789a::1"]),
        (Some(Metadata), &["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]),
        (Some(Metadata), &["fd00:ec2::254", "fd20:ce::254"]),
        (Some(LinkLocal), &["169.254.0.1", "169.254.170.2", "169.254.255.255", "fe80::1", "febf::1", "fec0::1"]),
        (Some(Shared), &["100.64.0.0", "100.127.255.255"]),
        (Some(Multicast), &["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1"]),
        (
            Some(Reserved),
            &["0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255"],
        ),
        (Some(Reserved), &["198.51.100.1", "203.0.113.255", "240.0.0.1", "255.255.255.254", "::", "100::1", "5f00::1"]),
        (Some(Reserved), &["2001:db8::1", "2001:2::1", "2001:10::1", "2001:20::1", "3fff::1", "4000::1", "e000::1"]),
        (Some(Embedded), &["::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254"]),
        (Some(Embedded), &["::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1"]),
        (Some(Embedded), &["2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]),
    ];
    for (expected, addresses) in cases {
        addresses.iter().for_each(|ip| check(ip, *expected));
    }
}

proptest! {
    /// The standard library's notion of what is local is a second opinion; the guard may be stricter, never laxer.
    #[test]
    fn never_laxer_than_the_standard_library(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let is_special = ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
            || ip.is_documentation() || ip.is_unspecified();
        prop_assert!(!is_special || allowed(ip.into(), false).is_err());
        // No spelling of an IPv4 address in IPv6 gets through, not even a public one.
        prop_assert!(allowed(ip.to_ipv6_mapped().into(), true).is_err());
        prop_assert!(allowed(ip.to_ipv6_compatible().into(), false).is_err());
    }

    #[test]
    fn never_laxer_than_the_standard_library_v6(bits: u128) {
        let ip = Ipv6Addr::from_bits(bits);
        let is_special = ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || ip.is_unique_local()
            || ip.is_unicast_link_local();
        prop_assert!(!is_special || allowed(ip.into(), false).is_err());
    }
}
