//! When a budget begins anew. Pure: the time is an argument, and everything is UTC, so that no day is shorter than another.

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::unit::{Span, textual};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 1970-01-05 was the first Monday.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// `daily`, `weekly` (from Monday) or `monthly`, by the calendar of UTC; `once`; or a duration like `30d`: then the amount
/// holds for any stretch of time of this length. What is spent leaves such a window in steps: of a minute where the duration is
/// below a day, of an hour below 30 days, else of a day. It leaves at the end of its step, never before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Daily,
    Weekly,
    Monthly,
    Once,
    Rolling(Span),
}

/// A stretch of time in which spending is added up: from `start_ms` to before `end_ms`. Milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    pub start_ms: i64,
    pub end_ms: i64,
}

// === impl Window ===

impl Window {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "`daily`, `weekly`, `monthly`, `once` or a duration from `1h` to `366d`";
        Ok(match text {
            "daily" => Self::Daily,
            "weekly" => Self::Weekly,
            "monthly" => Self::Monthly,
            "once" => Self::Once,
            other => {
                let span = Span::parse(other).map_err(|_| WANTED)?;
                let fits = span.0 >= Duration::from_hours(1) && span.0 <= Duration::from_hours(366 * 24);
                fits.then_some(Self::Rolling(span)).ok_or(WANTED)?
            }
        })
    }

    /// The stretch that spending at this moment is added to: of a rolling window the step.
    pub fn at(self, now_ms: i64) -> Bounds {
        let every = |length_ms: i64, from_ms: i64| {
            let start_ms = now_ms - (now_ms - from_ms).rem_euclid(length_ms);
            Bounds { start_ms, end_ms: start_ms + length_ms }
        };
        match self {
            Self::Daily => every(DAY_MS, 0),
            Self::Weekly => every(7 * DAY_MS, FIRST_MONDAY_MS),
            Self::Monthly => month(now_ms).unwrap_or(Bounds { start_ms: 0, end_ms: i64::MAX }),
            Self::Once => Bounds { start_ms: 0, end_ms: i64::MAX },
            Self::Rolling(span) => every(step_ms(span), 0),
        }
    }

    /// The amount covers what was spent in stretches that begin at this moment or later.
    pub fn counted_from(self, now_ms: i64) -> i64 {
        match self {
            Self::Rolling(span) => {
                let earliest = now_ms.saturating_sub(millis(span)).saturating_add(1);
                self.at(earliest).start_ms
            }
            _ => self.at(now_ms).start_ms,
        }
    }

    /// From when on what is spent at `start_ms` is not counted any more; `None` where it always is.
    pub fn freed_at(self, start_ms: i64) -> Option<i64> {
        match self {
            Self::Once => None,
            Self::Rolling(span) => Some(self.at(start_ms).end_ms.saturating_add(millis(span) - 1)),
            _ => Some(self.at(start_ms).end_ms),
        }
    }
}

/// Coarse enough for a ledger, fine enough for its window.
fn step_ms(span: Span) -> i64 {
    match millis(span) {
        ..DAY_MS => MINUTE_MS,
        length if length < 30 * DAY_MS => HOUR_MS,
        _ => DAY_MS,
    }
}

fn millis(span: Span) -> i64 {
    i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)
}

/// `None` for times beyond the calendar.
fn month(now_ms: i64) -> Option<Bounds> {
    let date = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(TimeZone::UTC).date();
    let first = date.first_of_month();
    let next = first.checked_add(1.month()).ok()?;
    let at = |date: jiff::civil::Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    Some(Bounds { start_ms: at(first)?, end_ms: at(next)? })
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daily => f.write_str("daily"),
            Self::Weekly => f.write_str("weekly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Once => f.write_str("once"),
            Self::Rolling(span) if millis(*span) % DAY_MS == 0 => write!(f, "{}d", millis(*span) / DAY_MS),
            Self::Rolling(span) => span.fmt(f),
        }
    }
}

textual!(Window, "a window", {
    "type": "string", "pattern": "^(daily|weekly|monthly|once|[0-9]+(ms|s|m|h|d)?)$",
    "description": "daily, weekly, monthly (by the calendar, UTC), once, or a duration like 30d that rolls."
});

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    fn window(text: &str) -> Window {
        Window::parse(text).expect(text)
    }

    #[test]
    fn windows_at_the_edges_of_the_calendar() {
        let cases = [
            ("daily", "2027-03-28T01:30:00Z", "2027-03-28T00:00:00Z", "2027-03-29T00:00:00Z"), // clocks change in Europe
            ("daily", "2028-02-29T23:59:59.999Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("weekly", "2027-01-03T23:59:59Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
            ("weekly", "2027-01-04T00:00:00Z", "2027-01-04T00:00:00Z", "2027-01-11T00:00:00Z"),
            ("monthly", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("monthly", "2027-12-31T23:59:59.999Z", "2027-12-01T00:00:00Z", "2028-01-01T00:00:00Z"),
            ("monthly", "2027-03-01T00:00:00Z", "2027-03-01T00:00:00Z", "2027-04-01T00:00:00Z"),
            ("30d", "2027-03-01T17:00:00Z", "2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z"),
            ("7d", "2027-03-01T17:59:00Z", "2027-03-01T17:00:00Z", "2027-03-01T18:00:00Z"),
            ("2h", "2027-03-01T17:59:59Z", "2027-03-01T17:59:00Z", "2027-03-01T18:00:00Z"),
            ("daily", "1969-12-31T12:00:00Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
        ];
        for (text, now, start, end) in cases {
            assert_eq!(window(text).at(ms(now)), Bounds { start_ms: ms(start), end_ms: ms(end) }, "{text} {now}");
        }
        assert_eq!(window("once").at(ms("2027-01-01T00:00:00Z")), Bounds { start_ms: 0, end_ms: i64::MAX });
        for (now, word) in [(i64::MAX - 1_000_000_000_000, "monthly"), (i64::MIN + 1_000_000_000_000, "monthly")] {
            assert!(window(word).at(now).end_ms > 0, "beyond the calendar nothing panics");
        }
    }

    #[test]
    fn every_moment_lies_in_one_stretch_and_none_is_lost() {
        for text in ["daily", "weekly", "monthly", "30d", "36h", "90m"] {
            let window = window(text);
            let mut at = window.at(ms("2027-01-30T12:34:56Z"));
            for _ in 0..100 {
                assert_eq!(window.at(at.start_ms), at, "{text}");
                assert_eq!(window.at(at.end_ms - 1), at, "{text}");
                let next = window.at(at.end_ms);
                assert_eq!(next.start_ms, at.end_ms, "{text}: one begins where the other ends");
                at = next;
            }
        }
    }

    #[test]
    fn a_rolling_window_counts_no_less_than_its_length() {
        for (text, length) in [("30d", 30 * DAY_MS), ("7d", 7 * DAY_MS), ("2h", 2 * HOUR_MS)] {
            let window = window(text);
            for now in (0..500).map(|step| ms("2027-02-28T22:00:00Z") + step * 977_777) {
                let from = window.counted_from(now);
                assert!(from <= now - length + 1, "{text}: what was spent within the length counts");
                let step = window.at(now).end_ms - window.at(now).start_ms;
                assert!(from > now - length - step, "{text}: and little else");
                let freed = window.freed_at(from).expect("it rolls");
                assert!(freed > now && window.counted_from(freed) > from && window.counted_from(freed - 1) <= from);
            }
        }
        assert_eq!(window("once").freed_at(0), None);
        let monthly = window("monthly");
        assert_eq!(monthly.freed_at(ms("2027-02-03T00:00:00Z")), Some(ms("2027-03-01T00:00:00Z")));
        assert_eq!(monthly.counted_from(ms("2027-02-03T00:00:00Z")), ms("2027-02-01T00:00:00Z"));
    }

    #[test]
    fn what_is_written_reads_back() {
        for (text, shown) in [("daily", "daily"), ("once", "once"), ("30d", "30d"), ("36h", "36h"), ("24h", "1d")] {
            assert_eq!(window(text).to_string(), shown);
        }
        for text in ["", "yearly", "59m", "367d", "-1d", "30 d"] {
            assert!(Window::parse(text).is_err(), "{text}");
        }
    }
}
