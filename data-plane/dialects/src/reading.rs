//! Lenient reading of what upstreams send: members that are missing, null or of another type than documented count as not
//! said, unknown ones are shown as well. A reply must never fail for a field nobody needs.

use std::borrow::Cow;

use gateway_ir::failure::{Code, Failure};
use gateway_ir::json::{self, known};
use serde::de::Error as _;
use serde_json::value::RawValue;

/// Whether a choice holds a `message` or a `delta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    Chunk,
}

/// Calls `visit` for each member of the object `text`. Fails if it is not one JSON object.
pub(crate) fn members<'a>(text: &'a [u8], visit: impl FnMut(&str, &'a RawValue)) -> serde_json::Result<()> {
    let raw = json::prove(text).map_err(serde_json::Error::custom)?;
    if !raw.get().starts_with('{') {
        return Err(serde_json::Error::custom("expected a JSON object"));
    }
    members_of(raw, visit);
    Ok(())
}

/// The same for a value that has been proven to be JSON; anything but an object has no members, nor has a name that is none.
pub(crate) fn members_of<'a>(raw: &'a RawValue, mut visit: impl FnMut(&str, &'a RawValue)) {
    known::members(raw, |name, value| {
        if let Some(name) = known::string(name) {
            visit(&name, value);
        }
    });
}

/// Calls `visit` for each element; anything but an array has none.
pub(crate) fn elements<'a>(raw: &'a RawValue, visit: impl FnMut(&'a RawValue)) {
    known::elements(raw, visit);
}

/// A string that is there and not empty.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    known::string(raw).filter(|text| !text.is_empty())
}

/// A whole number, also where a float was written.
pub(crate) fn unsigned(raw: &RawValue) -> Option<u64> {
    let text = raw.get();
    text.parse().ok().or_else(|| {
        let float: f64 = text.parse().ok()?;
        // Far below where floats skip whole numbers, so that the conversion is exact.
        (0.0..=1e15).contains(&float).then_some(float as u64)
    })
}

/// Whether a value says anything: not null, not an empty string, array or object.
pub(crate) fn says_something(raw: &RawValue) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]" | "{}")
}

/// The same, where a server may fill an object it does not mean with empty members (Snowflake does).
pub(crate) fn is_meant(raw: &RawValue) -> bool {
    if !raw.get().starts_with('{') {
        return says_something(raw);
    }
    let mut is_meant = false;
    members_of(raw, |_, value| is_meant |= says_something(value) && value.get() != "0");
    is_meant
}

/// The failure for a reply that makes no sense.
pub(crate) fn garbage(message: impl Into<Cow<'static, str>>) -> Box<Failure> {
    Box::new(Failure::new(Code::UpstreamGarbage, message))
}
