//! The text format of Prometheus as OpenMetrics 1.0, for scrapers that ask for it: the same samples, counters named without their
//! suffix where the family is told, and traces behind buckets.
//!
//! Source: the OpenMetrics 1.0 specification, sections on the ABNF, on counters and on exemplars.

use http::HeaderMap;
use http::header::ACCEPT;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the scraper would have it so.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.contains("application/openmetrics-text"))
}

/// `text` is what a Prometheus scraper would get. `exemplar` is asked with the family, the label `provider` and the upper bound of each
/// bucket.
pub(crate) fn of(text: &str, exemplar: impl Fn(&str, &str, f64) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let (mut help, mut helped) = ("", "");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Told with the type, which says what the family is called.
            (helped, help) = rest.split_once(' ').unwrap_or((rest, ""));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let family = if kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name };
            if helped == name {
                out += &format!("# HELP {family} {help}\n");
            }
            out += &format!("# TYPE {family} {kind}\n");
        } else {
            out += line;
            if let Some(exemplar) = bucket(line).and_then(|(family, provider, bound)| exemplar(family, provider, bound))
            {
                out += " # ";
                out += &exemplar;
            }
            out.push('\n');
        }
    }
    out + "# EOF\n"
}

/// Family, provider and upper bound of a line that is a bucket.
fn bucket(line: &str) -> Option<(&str, &str, f64)> {
    let (name, labels) = line.split_once('{')?;
    let family = name.strip_suffix("_bucket")?;
    let value = |label: &str| labels.split_once(label)?.1.split_once('"').map(|(value, _)| value);
    let bound = match value("le=\"")? {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().ok()?,
    };
    Some((family, value("provider=\"")?, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_exemplars() {
        let text = "# HELP a_total about\n# TYPE a_total counter\na_total{x=\"y\"} 1\n\n# HELP b about b\n# TYPE b histogram\n\
                    b_bucket{provider=\"p\",le=\"0.5\"} 1\nb_bucket{provider=\"p\",le=\"+Inf\"} 2\nb_sum{provider=\"p\"} 3\n";
        let exemplar = |family: &str, provider: &str, bound: f64| {
            bound.is_infinite().then(|| format!("{{trace_id=\"{family}-{provider}\"}} 3 1"))
        };
        let expected = "# HELP a about\n# TYPE a counter\na_total{x=\"y\"} 1\n# HELP b about b\n# TYPE b histogram\n\
                        b_bucket{provider=\"p\",le=\"0.5\"} 1\nb_bucket{provider=\"p\",le=\"+Inf\"} 2 # {trace_id=\"b-p\"} 3 1\n\
                        b_sum{provider=\"p\"} 3\n# EOF\n";
        assert_eq!(of(text, exemplar), expected);
    }
}
