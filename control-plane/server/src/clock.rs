//! Wall-clock time, read here only; everything else gets it as a value.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the years begin that RFC 3339 can write, in Unix milliseconds; the calendar ends before they do.
const YEAR_0: i64 = -62_167_219_200_000;

/// Unix time in milliseconds.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// As the admin API writes times: RFC 3339, UTC, milliseconds.
pub fn rfc3339(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        // Beyond the calendar: the number still says what was meant.
        Err(_) => unix_ms.to_string(),
    }
}

/// A UTC date, from a count of days since 1970.
pub fn date(day: i64) -> String {
    let text = rfc3339(day.saturating_mul(24 * 60 * 60 * 1000));
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Days since 1970 from a date: `2027-01-15`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == 10)?;
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(start.timestamp().as_second().div_euclid(24 * 60 * 60))
}

/// The first day of a day's month, and that of the next one.
pub(crate) fn month(day: i64) -> (i64, i64) {
    let first = |months: i64| {
        let at = jiff::Timestamp::from_second(day.saturating_mul(24 * 60 * 60)).ok()?;
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
        parse_date(&date.checked_add(jiff::Span::new().months(months)).ok()?.to_string())
    };
    // Beyond the calendar there are no months.
    (first(0).unwrap_or(day), first(1).unwrap_or(day))
}

/// Unix milliseconds from their number or RFC 3339. Beyond the calendar is nothing: what was read can be told again.
pub fn parse(text: &str) -> Option<i64> {
    let unix_ms = text.parse::<i64>().ok().or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
    unix_ms.filter(|unix_ms| *unix_ms >= YEAR_0 && jiff::Timestamp::from_millisecond(*unix_ms).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_out_and_come_back() {
        assert_eq!(rfc3339(1_800_000_000_123), "2027-01-15T08:00:00.123Z");
        assert_eq!(parse("2027-01-15T08:00:00.123Z"), Some(1_800_000_000_123));
        assert_eq!(parse("1800000000123"), Some(1_800_000_000_123));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("253402200000000").map(rfc3339).as_deref(), Some("9999-12-30T20:00:00.000Z"));
        assert_eq!(parse("253402300800000"), None);
        assert_eq!(parse("-62167219200000").map(rfc3339).as_deref(), Some("0000-01-01T00:00:00.000Z"));
        assert_eq!(parse("-62167219200001"), None);
        assert_eq!(date(20_833), "2027-01-15");
        assert_eq!(parse_date("2027-01-15"), Some(20_833));
        assert_eq!((parse_date("2027-02-30"), parse_date("2027-01-15T08:00:00Z"), parse_date("")), (None, None, None));
        let (first, next) = month(20_833);
        assert_eq!((date(first).as_str(), date(next).as_str()), ("2027-01-01", "2027-02-01"));
        assert_eq!(month(i64::MAX), (i64::MAX, i64::MAX));
    }
}
