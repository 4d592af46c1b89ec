//! When a route holds: days of the week and a time of day, at a fixed distance from UTC.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::textual;

/// On these days, from one time of day until another. A window that passes midnight belongs to the day on which it begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// Default `00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimeOfDay>,
    /// No longer at this minute. Default `24:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TimeOfDay>,
    /// Local time minus UTC, such as `+02:00`. Default `+00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Minutes since midnight, 1440 being the next one. Written `08:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub u16);

/// Minutes east of UTC. Written `+02:00`, `-03:30` or `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(pub i16);

const DAY: u16 = 24 * 60;

// === impl Times ===

impl Times {
    /// The first minute of a window, and the first behind it.
    pub fn window(&self) -> (TimeOfDay, TimeOfDay) {
        (self.from.unwrap_or(TimeOfDay(0)), self.to.unwrap_or(TimeOfDay(DAY)))
    }

    /// Whether there is no such time at all.
    pub fn is_never(&self) -> bool {
        let (from, to) = self.window();
        from == to || from.0 == DAY
    }
}

// === impl TimeOfDay ===

impl TimeOfDay {
    fn parse(text: &str) -> Result<Self, &'static str> {
        minutes(text).filter(|minutes| *minutes <= DAY).map(Self).ok_or("a time of day like `08:30`, at most `24:00`")
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

// === impl Offset ===

impl Offset {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "a distance from UTC like `+02:00`, `-03:30` or `Z`, of at most 18 hours";
        if text.eq_ignore_ascii_case("z") {
            return Ok(Self(0));
        }
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(WANTED),
        };
        let east = minutes(rest).filter(|minutes| *minutes <= 18 * 60).and_then(|minutes| i16::try_from(minutes).ok());
        east.map(|minutes| Self(sign * minutes)).ok_or(WANTED)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", TimeOfDay(self.0.unsigned_abs()))
    }
}

/// `HH:MM`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| (part.len() == 2).then(|| part.bytes().all(|byte| byte.is_ascii_digit()));
    if digits(hours)? && digits(minutes)? {
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        return (minutes < 60).then_some(hours * 60 + minutes);
    }
    None
}

textual!(TimeOfDay, "a time of day", { "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$", "description": "A time of day: 08:30." });
textual!(Offset, "a distance from UTC", {
    "type": "string", "pattern": "^([+-][01][0-9]:[0-5][0-9]|[Zz])$", "description": "Local time minus UTC: +02:00."
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, minutes) in [("00:00", Some(0)), ("08:30", Some(510)), ("24:00", Some(1440))] {
            assert_eq!(TimeOfDay::parse(text).ok().map(|time| time.0), minutes, "{text}");
        }
        for text in ["", ":", "8:30", "24:01", "12:60", "+1:00", "ab:cd", "12:3é"] {
            assert!(TimeOfDay::parse(text).is_err(), "{text}");
        }
        for (text, east, shown) in [("Z", 0, "+00:00"), ("+05:45", 345, "+05:45"), ("-03:30", -210, "-03:30")] {
            let offset = Offset::parse(text).expect(text);
            assert_eq!((offset.0, offset.to_string().as_str()), (east, shown), "{text}");
        }
        for text in ["", "+", "02:00", "+19:00", "é"] {
            assert!(Offset::parse(text).is_err(), "{text}");
        }
    }
}
