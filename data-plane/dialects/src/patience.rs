//! When to come back, where vendors say it in a sentence or in Google's way and not in a header.

use std::time::Duration;

use serde_json::Value;

/// Before the time, in lower case.
const MARKS: [&str; 4] = ["try again in", "retry in", "retry after", "try again after"];

/// `Please try again in 6m0.5s.`, `Please retry after 26 seconds`. `None` where the text names no time.
pub(crate) fn said(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    MARKS.iter().find_map(|mark| time(message.split_once(mark)?.1))
}

/// The delay of a `google.rpc.RetryInfo` among an error's details: `34s`, `1.5s`.
pub(crate) fn delay(details: &Value) -> Option<Duration> {
    let delay = |detail: &Value| {
        let seconds = detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    details.as_array()?.iter().find_map(delay)
}

/// Numbers with their units, one after the other; a number alone is in seconds.
fn time(text: &str) -> Option<Duration> {
    let mut rest = text.trim_start_matches([' ', ':', '~']);
    let mut total = None;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..end].trim_end_matches('.').parse::<f64>() else { return total };
        let behind = rest[end..].trim_start();
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let factor = match &behind[..end] {
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            // Of something else, such as `3 times`; or the sentence goes on.
            _ if total.is_some() => return total,
            "" => 1.0,
            _ => return None,
        };
        let more = Duration::try_from_secs_f64(number * factor).ok()?;
        total = Some(total.unwrap_or_default().saturating_add(more));
        rest = behind[end..].trim_start_matches([' ', ',']).trim_start_matches("and ");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_in_sentences() {
        for (message, millis) in [
            ("Rate limit reached. Please try again in 1.242s. Visit https://example.com", Some(1242)),
            ("Please try again in 6m0s.", Some(360_000)),
            ("Please try again in 7m12.345s. Need more tokens?", Some(432_345)),
            ("Please retry in 34.5s.", Some(34_500)),
            ("Please retry after 26 seconds.", Some(26_000)),
            ("please Retry After 1 minute and 30 seconds", Some(90_000)),
            ("try again in 350ms", Some(350)),
            ("Try again in 2 hours, please", Some(7_200_000)),
            ("retry after: 9", Some(9000)),
            ("try again in a few minutes", None),
            ("try again in 3 tries", None),
            ("limit of 5s reached", None),
            ("try again in 999999999999999999999999999999h", None),
            ("", None),
        ] {
            assert_eq!(said(message).map(|time| time.as_millis()), millis, "{message}");
        }
    }

    #[test]
    fn delays_among_details() {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.Help"}, {"retryDelay": "1.5s"}]);
        assert_eq!(delay(&details), Some(Duration::from_millis(1500)));
        assert_eq!((delay(&json!([{"retryDelay": "soon"}])), delay(&json!({}))), (None, None));
    }
}
