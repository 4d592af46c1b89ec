//! What a request shows of who sends it: its credential, what it asks for, and where it comes from.

use std::net::{IpAddr, Ipv4Addr};

use gateway_engine::identity::Call;
use gateway_model::access::IpRange;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Request};

/// The other end of the connection, put into each request by the pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Of one request.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) call: Call<'a>,
}

/// <https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For>
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address at the other end; none is known of what the gateway asks itself.
pub(crate) fn peer(extensions: &Extensions) -> IpAddr {
    extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

// === impl Presented ===

impl<'a> Presented<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        let (method, path) = (request.method().as_str(), request.uri().path());
        Self { headers: request.headers(), call: Call { method, path, from: peer(request.extensions()) } }
    }

    pub(crate) fn of_parts(parts: &'a Parts) -> Self {
        let call = Call { method: parts.method.as_str(), path: parts.uri.path(), from: peer(&parts.extensions) };
        Self { headers: &parts.headers, call }
    }

    /// The same, where it comes from somebody who says for whom: the last address that none of ours has written.
    pub(crate) fn behind(self, proxies: &[IpRange]) -> Call<'a> {
        // Mostly there are none, and then no header is looked for.
        if proxies.is_empty() {
            return self.call;
        }
        let is_ours = |address: IpAddr| proxies.iter().any(|range| range.contains(address));
        let mut from = self.call.from;
        let lists = self.headers.get_all(&X_FORWARDED_FOR).iter().rev();
        let mut said = lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
        while is_ours(from) {
            // Something that is no address says nothing of who is behind it.
            let Some(Ok(next)) = said.next().map(|address| address.trim().parse()) else { break };
            from = next;
        }
        Call { from, ..self.call }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_own_proxies_are_believed() {
        let cases = [
            (&[][..], "10.0.0.1", &["1.1.1.1"][..], "10.0.0.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.7"], "1.1.1.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
            (&["10.0.0.0/8"], "9.9.9.9", &["1.1.1.1"], "9.9.9.9"),
            (&["10.0.0.0/8"], "10.0.0.1", &[], "10.0.0.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ];
        for (proxies, peer, said, expected) in cases {
            let proxies: Vec<IpRange> = proxies.iter().map(|range| IpRange::parse(range).expect("a range")).collect();
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(&X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let call = Call { method: "GET", path: "/", from: peer.parse().expect("an address") };
            let found = Presented { headers: &headers, call }.behind(&proxies).from;
            assert_eq!(found.to_string(), expected, "{proxies:?} {peer} {said:?}");
        }
    }
}
