//! Quantities as people write them: durations, sizes, times, prices. Exact: no float is ever kept.

use std::fmt;
use std::time::Duration;

/// A length of time: `250ms`, `10s`, `5m`, `1h`, or a number of seconds. At most about 31 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size: `512`, `64KiB`, `32MiB`, `1GiB`, also `64KB` = 64,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A moment, milliseconds since 1970 (UTC). Written in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// A price: nano-dollars per million, of tokens or of characters. Written in US dollars with up to nine decimals, as a number or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerMillion(pub i64);

/// An amount or a price of one piece: nano-dollars. Written like [`UsdPerMillion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub i64);

const NANO: i64 = 1_000_000_000;
const MAX_SPAN: Duration = Duration::from_secs(1_000_000_000);

// === impl Span ===

impl Span {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "a duration like `250ms`, `10s`, `5m`, `1h` or a number of seconds";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let amount: u64 = text[..digits].parse().map_err(|_| WANTED)?;
        let millis_per_unit = match &text[digits..] {
            "ms" => 1,
            "s" | "" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(WANTED),
        };
        let span = amount.checked_mul(millis_per_unit).map(Duration::from_millis).filter(|span| *span <= MAX_SPAN);
        span.map(Self).ok_or("a duration of at most 31 years")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

// === impl Bytes ===

impl Bytes {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "a size like `64KiB`, `32MiB`, `1GiB` or a number of bytes";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let amount: u64 = text[..digits].parse().map_err(|_| WANTED)?;
        let per_unit: u64 = match text[digits..].trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(WANTED),
        };
        amount.checked_mul(per_unit).map(Self).ok_or("a size below 16 EiB")
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

// === impl Timestamp ===

impl Timestamp {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| "a time like `2027-01-31T00:00:00Z`")?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

// === impl UsdPerMillion ===

impl UsdPerMillion {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "a price in US dollars per million like `2.50`, with at most nine decimals";
        nano_dollars(text).map(Self).ok_or(WANTED)
    }
}

impl fmt::Display for UsdPerMillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Usd(self.0).fmt(f)
    }
}

// === impl Usd ===

impl Usd {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "an amount in US dollars like `0.04`, with at most nine decimals";
        nano_dollars(text).map(Self).ok_or(WANTED)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:09}", self.0 % NANO);
        let decimals = decimals.trim_end_matches('0');
        if decimals.is_empty() { write!(f, "{}", self.0 / NANO) } else { write!(f, "{}.{decimals}", self.0 / NANO) }
    }
}

fn nano_dollars(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = decimals.trim_end_matches('0');
    if text.is_empty() || text == "." || !is_number(whole) || !is_number(decimals) || decimals.len() > 9 {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nano: i64 = format!("{decimals:0<9}").parse().ok()?;
    whole.checked_mul(NANO)?.checked_add(nano)
}

/// Reads a text or a number through the type's `parse`; a number's digits are taken as they are written.
macro_rules! textual {
    ($name:ident, $what:literal, $schema:tt) => {
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl ::serde::de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: ::serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text.trim()).map_err(|wanted| E::custom(format_args!("`{text}` is not {wanted}")))
                    }

                    fn visit_u64<E: ::serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: ::serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }

                    // The shortest decimal that reads back as the same number is what was written.
                    fn visit_f64<E: ::serde::de::Error>(self, number: f64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!($schema)
            }
        }
    };
}

pub(crate) use textual;

textual!(Span, "a duration", {
    "type": ["string", "integer"], "pattern": "^[0-9]+(ms|s|m|h|d)?$", "description": "A duration: 250ms, 10s, 5m, 1h, or seconds."
});
textual!(Bytes, "a size", {
    "type": ["string", "integer"], "pattern": "^[0-9]+ ?([KMG]i?B|kB|B)?$", "description": "A size: 64KiB, 32MiB, or bytes."
});
textual!(Timestamp, "a time", { "type": "string", "format": "date-time", "description": "A moment in RFC 3339." });
textual!(UsdPerMillion, "a price", {
    "type": ["string", "number"], "description": "US dollars per million, at most nine decimals."
});
textual!(Usd, "an amount", { "type": ["string", "number"], "description": "US dollars, at most nine decimals." });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (text, shown) in
            [("250ms", "250ms"), ("10", "10s"), ("120s", "2m"), ("1h", "1h"), ("0s", "0s"), ("2d", "48h")]
        {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for (text, shown) in
            [("512", "512"), ("64KiB", "64KiB"), ("1024", "1KiB"), ("64 KB", "64000"), ("1GiB", "1GiB")]
        {
            assert_eq!(Bytes::parse(text).map(|size| size.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for (text, nanos) in [("2.50", 2_500_000_000), ("0.000000001", 1), ("15", 15_000_000_000), (".5", 500_000_000)]
        {
            assert_eq!(UsdPerMillion::parse(text), Ok(UsdPerMillion(nanos)), "{text}");
            assert_eq!(Usd::parse(text), Ok(Usd(nanos)), "{text}");
        }
        let moment = Timestamp::parse("2027-01-31T00:00:00Z").expect("a time");
        assert_eq!(moment.to_string(), "2027-01-31T00:00:00Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "10 s", "1y", "99999999999999999999s"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        for text in ["", ".", "-1", "1.2.3", "1e3", "0.0000000001", "99999999999"] {
            assert!(UsdPerMillion::parse(text).is_err() && Usd::parse(text).is_err(), "{text}");
        }
        assert!(Bytes::parse("1TiB").is_err());
        assert!(Timestamp::parse("tomorrow").is_err());
    }
}
