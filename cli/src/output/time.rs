//! Points in time and lengths of time for people: `3m ago`, `in 2d`, `1.3 s`.

use serde_json::Value;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Unix milliseconds of a JSON value: a number of them, or RFC 3339 text.
pub(crate) fn unix_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        _ => None,
    }
}

/// Relative to now up to a month away, the date beyond. What has begun of the past is not counted yet, what is left of the
/// future counts whole: a key made for 30 days ends `in 30d`.
pub(crate) fn relative(then_ms: i64, now_ms: i64) -> String {
    let distance = now_ms.saturating_sub(then_ms);
    let count = |unit: i64| {
        if distance < 0 {
            distance.unsigned_abs().div_ceil(unit.unsigned_abs())
        } else {
            (distance / unit).unsigned_abs()
        }
    };
    let length = match distance.saturating_abs() {
        near if near < 1_000 => return "now".to_owned(),
        near if near < MINUTE => format!("{}s", count(1_000)),
        near if near < HOUR => format!("{}m", count(MINUTE)),
        near if near < 2 * DAY => format!("{}h", count(HOUR)),
        near if near <= 30 * DAY => format!("{}d", count(DAY)),
        _ => return date(then_ms),
    };
    if distance >= 0 { format!("{length} ago") } else { format!("in {length}") }
}

/// `2026-11-21 02:16:20Z`; the number itself where it is no date.
pub(crate) fn clock(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => unix_ms.to_string(),
    }
}

/// `1.3s`, `240ms`, `87us`.
pub(crate) fn length_us(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds}us"),
        1_000..1_000_000 => format!("{}ms", microseconds / 1_000),
        _ => format!("{}.{}s", microseconds / 1_000_000, microseconds % 1_000_000 / 100_000),
    }
}

fn date(unix_ms: i64) -> String {
    let whole = clock(unix_ms);
    whole.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn distances_read_in_the_largest_unit_that_says_enough() {
        let now = 1_800_000_000_000;
        for (then, expected) in [
            (now, "now"),
            (now - 1_000, "1s ago"),
            (now - 59_999, "59s ago"),
            (now - 3 * MINUTE, "3m ago"),
            (now - 47 * HOUR, "47h ago"),
            (now - 3 * DAY, "3d ago"),
            (now - 40 * DAY, "2026-12-06"),
            (now + 2 * HOUR, "in 2h"),
            (now + 30 * DAY - 5, "in 30d"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(relative(then, now), expected);
        }
    }

    #[test]
    fn both_forms_of_a_point_in_time_are_read() {
        assert_eq!(unix_ms(&json!(1_800_000_000_000_i64)), Some(1_800_000_000_000));
        assert_eq!(unix_ms(&json!("2027-01-15T08:00:00Z")), Some(1_800_000_000_000));
        assert_eq!(unix_ms(&json!("soon")), None);
        assert_eq!(clock(1_800_000_000_000), "2027-01-15 08:00:00Z");
    }

    #[test]
    fn lengths_keep_two_figures_where_it_matters() {
        for (microseconds, expected) in [(87, "87us"), (240_900, "240ms"), (1_340_000, "1.3s"), (61_000_000, "61.0s")] {
            assert_eq!(length_us(microseconds), expected);
        }
    }
}
