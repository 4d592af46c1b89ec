//! What somebody looks for, as parameters or in one line: `team:core status:5xx "rate limit"`. Both come to the same filter.

use std::ops::RangeInclusive;

use gateway_store::logs::Filter;

use crate::admin::error::ApiError;
use crate::clock;

/// Longest value, and longest line.
const MAX_TEXT: usize = 1000;
/// Conditions of one search.
const MAX_PARTS: usize = 20;
/// Those that are terms of a record, with the name that they have there.
const TERMS: [&str; 17] = [
    "team",
    "user",
    "organization",
    "upstream_model",
    "route",
    "ending",
    "error_code",
    "stream",
    "lane",
    "cache",
    "session",
    "tag",
    "node",
    "revision",
    "tier",
    "dialect",
    "trace",
];
/// The others.
const OTHERS: [&str; 10] =
    ["key", "model", "provider", "status", "id", "q", "since", "until", "min_duration", "min_cost"];
/// Of a request id that is given whole.
const ID: usize = 36;

/// A filter that grows.
#[derive(Debug, Default)]
pub(super) struct Question {
    filter: Filter,
    n_parts: usize,
}

// === impl Question ===

impl Question {
    pub(super) fn into_filter(self) -> Filter {
        self.filter
    }

    /// Words between blanks; `field:value`, quoted where a blank is meant, or a text.
    pub(super) fn line(&mut self, line: &str) -> Result<(), ApiError> {
        check_length("search", line)?;
        for (field, value) in parts(line) {
            match field {
                Some(field) => self.put(&field, &value)?,
                None if is_id(&value) => self.put("id", &value)?,
                None => self.put("q", &value)?,
            }
        }
        Ok(())
    }

    /// One condition more.
    pub(super) fn put(&mut self, field: &str, value: &str) -> Result<(), ApiError> {
        check_length(field, value)?;
        if value.is_empty() {
            return Err(ApiError::malformed(format!("`{field}` has no value; leave it out, or write `{field}:value`")));
        }
        self.n_parts += 1;
        if self.n_parts > MAX_PARTS {
            return Err(ApiError::malformed(format!("a search has {MAX_PARTS} conditions at most; leave some out")));
        }
        let filter = &mut self.filter;
        match field {
            "key" => once(&mut filter.key, field, value.to_owned()),
            "model" => once(&mut filter.model, field, value.to_owned()),
            "provider" => once(&mut filter.provider, field, value.to_owned()),
            "id" => once(&mut filter.id, field, value.to_ascii_lowercase()),
            "status" => once(&mut filter.status, field, status(value)?),
            "since" => once(&mut filter.since_ms, field, time(field, value)?),
            "until" => once(&mut filter.until_ms, field, time(field, value)?),
            "min_duration" => once(&mut filter.min_total_us, field, duration_us(value)?),
            "min_cost" => once(&mut filter.min_cost_nano_usd, field, nano_usd(value)?),
            "q" => {
                filter.texts.push(value.to_owned());
                Ok(())
            }
            "stream" if !["true", "false"].contains(&value) => {
                Err(ApiError::malformed("`stream` must be true or false"))
            }
            "revision" if value.parse::<u64>().is_err() => Err(ApiError::malformed("`revision` must be a number")),
            _ if TERMS.contains(&field) => {
                filter.terms.push((field.to_owned(), value.to_owned()));
                Ok(())
            }
            _ => {
                let mut known = [&OTHERS[..], &TERMS].concat();
                known.sort_unstable();
                let known = known.join(", ");
                Err(ApiError::malformed(format!(
                    "there is no field `{field}` to search by; there are {known}; a text with a colon is put in quotes"
                )))
            }
        }
    }
}

/// What cannot hold twice is not said twice; tags and words may.
fn once<T>(place: &mut Option<T>, field: &str, value: T) -> Result<(), ApiError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ApiError::malformed(format!("`{field}` is given twice; say it once"))),
    }
}

fn check_length(field: &str, text: &str) -> Result<(), ApiError> {
    if text.len() > MAX_TEXT {
        return Err(ApiError::malformed(format!("`{field}` is longer than {MAX_TEXT} bytes; look for less of it")));
    }
    Ok(())
}

/// A line's parts: a field's name where there is one, and what is looked for.
fn parts(line: &str) -> Vec<(Option<String>, String)> {
    let mut parts = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let name = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(rest.len());
        let field = (name > 0 && rest[name..].starts_with(':')).then(|| rest[..name].to_owned());
        if field.is_some() {
            rest = &rest[name + 1..];
        }
        let (value, after) = value(rest);
        parts.push((field, value));
        rest = after.trim_start();
    }
    parts
}

/// Up to the next blank, or between quotes; a quote that is not closed goes to the end.
fn value(text: &str) -> (String, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
        return (value.to_owned(), after);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// `429`, `5xx`, `>=400`, `<300`.
fn status(text: &str) -> Result<RangeInclusive<u32>, ApiError> {
    let wrong = || ApiError::malformed("`status` must be a status (429), a class (5xx) or a bound (>=400, <300)");
    let number = |text: &str| text.parse::<u32>().ok().filter(|status| *status <= 999).ok_or_else(wrong);
    if let Some(class) = text.strip_suffix("xx") {
        let class = number(class).ok().filter(|class| (1..=9).contains(class)).ok_or_else(wrong)?;
        return Ok(class * 100..=class * 100 + 99);
    }
    if let Some(least) = text.strip_prefix(">=") {
        return Ok(number(least)?..=999);
    }
    if let Some(beyond) = text.strip_prefix('<') {
        return Ok(0..=number(beyond)?.checked_sub(1).ok_or_else(wrong)?);
    }
    Ok(number(text)?..=number(text)?)
}

fn time(field: &str, text: &str) -> Result<i64, ApiError> {
    clock::parse(text).ok_or_else(|| ApiError::malformed(format!("`{field}` must be RFC 3339 or Unix milliseconds")))
}

/// `1500ms`, `2s`, `1.5s`, `3m`.
fn duration_us(text: &str) -> Result<u64, ApiError> {
    let wrong = || ApiError::malformed("`min_duration` must be a number and a unit: 500ms, 1.5s, 2m");
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let us_each = match &text[unit..] {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        _ => return Err(wrong()),
    };
    let billionths = decimal(&text[..unit]).ok_or_else(wrong)?;
    Ok(u64::try_from(u128::from(billionths) * us_each / 1_000_000_000).unwrap_or(u64::MAX))
}

fn nano_usd(text: &str) -> Result<i64, ApiError> {
    let nano = decimal(text).and_then(|nano| i64::try_from(nano).ok());
    nano.ok_or_else(|| ApiError::malformed("`min_cost` must be an amount in US dollars: 0.05"))
}

/// In billionths.
fn decimal(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 9 {
        return None;
    }
    let rest: u64 = format!("{rest:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Filter, String> {
        let mut question = Question::default();
        question.line(line).map_err(|error| format!("{error:?}"))?;
        Ok(question.into_filter())
    }

    #[test]
    fn a_line_is_fields_and_texts() {
        let filter = read(
            r#"  team:core tag:a tag:"b c" status:5xx "rate limit" time-out key:k min_duration:1.5s min_cost:0.05 http://x "#,
        );
        let expected = Filter {
            key: Some("k".to_owned()),
            status: Some(500..=599),
            terms: [("team", "core"), ("tag", "a"), ("tag", "b c")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            texts: ["rate limit", "time-out", "http://x"].map(str::to_owned).to_vec(),
            min_total_us: Some(1_500_000),
            min_cost_nano_usd: Some(50_000_000),
            ..Filter::default()
        };
        // `http:` looks like a field; quoted it is a text.
        assert!(filter.is_err());
        let filter = read(
            r#"  team:core tag:a tag:"b c" status:5xx "rate limit" time-out key:k min_duration:1.5s min_cost:0.05 "http://x" "#,
        );
        assert_eq!(filter, Ok(expected));
        let id = "0192a8c0-1111-7000-8000-0123456789ab";
        assert_eq!(read(&id.to_uppercase()), Ok(Filter { id: Some(id.to_owned()), ..Filter::default() }));
        assert_eq!(read("  "), Ok(Filter::default()));
        assert_eq!(read("\"open"), Ok(Filter { texts: vec!["open".to_owned()], ..Filter::default() }));
    }

    #[test]
    fn statuses_are_numbers_classes_and_bounds() {
        for (text, expected) in [
            ("429", Some(429..=429)),
            ("5xx", Some(500..=599)),
            (">=400", Some(400..=999)),
            ("<300", Some(0..=299)),
            ("0", Some(0..=0)),
            ("<0", None),
            ("0xx", None),
            ("55xx", None),
            ("ok", None),
            ("1000", None),
            ("4294967296", None),
            ("-1", None),
        ] {
            assert_eq!(status(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let many = "tag:a ".repeat(MAX_PARTS + 1);
        for line in [
            "colour:red",
            "team:",
            "stream:yes",
            "revision:new",
            "min_cost:-1",
            "min_cost:a",
            "min_duration:5",
            "min_duration:s",
            "since:soon",
            "key:a key:b",
            many.as_str(),
            &"x".repeat(MAX_TEXT + 1),
            "min_cost:99999999999999999999",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
        let error = read("colour:red").expect_err("no such field");
        assert!(error.contains("colour") && error.contains("upstream_model"), "{error}");
    }
}
