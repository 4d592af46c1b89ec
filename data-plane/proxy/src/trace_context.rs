//! W3C Trace Context: which trace a request belongs to, as its client says.
//!
//! Source: <https://www.w3.org/TR/trace-context/>, sections 3.2 (`traceparent`) and 3.3 (`tracestate`).

use http::HeaderMap;

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";

/// What a valid `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// The caller records it.
    pub(crate) is_sampled: bool,
}

// === impl Parent ===

impl Parent {
    /// `None` without the header, and where it is not valid: then the trace begins here.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        Self::parse(value.to_str().ok()?.trim())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let version = hex(parts.next()?, 2)?;
        let (trace_id, span_id, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        // Later versions may say more behind a hyphen; this one has nothing there, and 255 is none.
        let is_sound = version != 0xff && (version != 0 || parts.next().is_none()) && trace_id != 0 && span_id != 0;
        let span_id = u64::try_from(span_id).ok()?;
        is_sound.then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

/// So many hexadecimal digits in lower case.
fn hex(text: &str, n_digits: usize) -> Option<u128> {
    let is_hex = text.len() == n_digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_valid_and_what_is_not() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let sampled = Parent {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            is_sampled: true,
        };
        for (text, expected) in [
            (format!("00-{trace}-{span}-01"), Some(sampled)),
            (format!("00-{trace}-{span}-00"), Some(Parent { is_sampled: false, ..sampled })),
            (format!("00-{trace}-{span}-03"), Some(sampled)),
            (format!("cc-{trace}-{span}-01-what-comes"), Some(sampled)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}-1"), None),
            (format!("00-+{}-{span}-01", &trace[1..]), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ] {
            assert_eq!(Parent::parse(&text), expected, "{text}");
        }
    }
}
