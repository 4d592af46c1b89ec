//! What `/metrics` tells, as OTLP: the same numbers under the same names, and five histograms under the names that the semantic
//! conventions for generative AI have for them. There is one place where numbers are made, so that both ways tell the same.

use std::collections::BTreeMap;

use super::message::{CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, NumberPoint, Sum};

/// Ours, and theirs.
const CONVENTIONAL: [(&str, &str); 5] = [
    ("gateway_upstream_duration_seconds", "gen_ai.client.operation.duration"),
    ("gateway_request_tokens", "gen_ai.client.token.usage"),
    ("gateway_request_duration_seconds", "gen_ai.server.request.duration"),
    ("gateway_time_to_first_token_seconds", "gen_ai.server.time_to_first_token"),
    ("gateway_inter_token_seconds", "gen_ai.server.time_per_output_token"),
];

/// Labels of ours, and the attributes that they are there.
const ATTRIBUTES: [(&str, &str); 4] = [
    ("provider", "gen_ai.provider.name"),
    ("operation", "gen_ai.operation.name"),
    ("type", "gen_ai.token.type"),
    ("outcome", "error.type"),
];

/// The names in which a metric is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Ours,
    Conventional,
}

/// A family while its samples are read.
#[derive(Default)]
struct Family {
    about: String,
    kind: String,
    /// By their labels; of histograms without `le`.
    points: BTreeMap<String, Point>,
}

#[derive(Default)]
struct Point {
    value: f64,
    sum: f64,
    /// Upper bounds and totals up to them, as they are told.
    buckets: Vec<(f64, f64)>,
}

/// `text` is in the format of Prometheus. Times are nanoseconds since 1970.
pub(super) fn of(text: &str, started_unix_nanos: u64, unix_nanos: u64) -> Vec<Metric> {
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, about)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            about.clone_into(&mut families.entry(name).or_default().about);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut families.entry(name).or_default().kind);
        } else if let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            sample(&mut families, series, value.parse().unwrap_or_default());
        }
    }
    let times = (started_unix_nanos, unix_nanos);
    let told = families.iter().filter(|(_, family)| !family.points.is_empty());
    let mut metrics: Vec<Metric> = told.map(|(name, family)| metric(name, family, Names::Ours, times)).collect();
    for (ours, theirs) in CONVENTIONAL {
        if let Some(family) = families.get(ours).filter(|family| !family.points.is_empty()) {
            metrics.push(metric(theirs, family, Names::Conventional, times));
        }
    }
    metrics
}

fn sample(families: &mut BTreeMap<&str, Family>, series: &str, value: f64) {
    let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
    let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| {
        let family = name.strip_suffix(end)?;
        families.get(family).is_some_and(|family| family.kind == "histogram").then_some((family, end))
    });
    let Some((family, part)) = part else {
        if let Some(family) = families.get_mut(name) {
            family.points.entry(labels.to_owned()).or_default().value = value;
        }
        return;
    };
    let (labels, bound) = match labels.rsplit_once("le=\"") {
        Some((labels, bound)) => (labels.trim_end_matches(','), bound.trim_end_matches('"')),
        None => (labels, ""),
    };
    let Some(family) = families.get_mut(family) else { return };
    let point = family.points.entry(labels.to_owned()).or_default();
    match part {
        "_bucket" => point.buckets.push((bound.parse().unwrap_or(f64::INFINITY), value)),
        "_sum" => point.sum = value,
        _ => point.value = value,
    }
}

fn metric(name: &str, family: &Family, names: Names, (start_unix_nanos, unix_nanos): (u64, u64)) -> Metric {
    let attributes = |labels: &str| labels_of(labels).into_iter().filter_map(|label| attribute(label, names)).collect();
    let numbers = || {
        let point = |(labels, point): (&String, &Point)| NumberPoint {
            start_unix_nanos,
            unix_nanos,
            value: Some(point.value),
            attributes: attributes(labels),
        };
        family.points.iter().map(point).collect()
    };
    let data = match family.kind.as_str() {
        "counter" => Data::Sum(Sum { points: numbers(), temporality: CUMULATIVE, is_monotonic: true }),
        "histogram" => {
            let point =
                |(labels, point): (&String, &Point)| histogram(point, attributes(labels), start_unix_nanos, unix_nanos);
            Data::Histogram(Histogram { points: family.points.iter().map(point).collect(), temporality: CUMULATIVE })
        }
        _ => Data::Gauge(Gauge { points: numbers() }),
    };
    let unit = match name {
        "gen_ai.client.token.usage" => "{token}",
        _ if names == Names::Conventional || name.ends_with("_seconds") || name.ends_with("_seconds_total") => "s",
        _ if name.ends_with("_bytes") => "By",
        _ => "1",
    };
    Metric { name: name.to_owned(), description: family.about.clone(), unit: unit.to_owned(), data: Some(data) }
}

/// What is said of a success is left out among the conventional ones.
fn attribute((label, value): (String, String), names: Names) -> Option<KeyValue> {
    let theirs = ATTRIBUTES.iter().find(|(ours, _)| *ours == label).filter(|_| names == Names::Conventional);
    match theirs {
        Some((_, "error.type")) if value == "ok" => None,
        Some((_, theirs)) => Some(KeyValue::text(theirs, &value)),
        None => Some(KeyValue::text(&label, &value)),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
fn histogram(point: &Point, attributes: Vec<KeyValue>, start_unix_nanos: u64, unix_nanos: u64) -> HistogramPoint {
    let (mut below, mut bucket_counts) = (0.0, Vec::with_capacity(point.buckets.len()));
    for (_, total) in &point.buckets {
        bucket_counts.push((total - below) as u64);
        below = *total;
    }
    let bounds = point.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    let (count, sum) = (point.value as u64, Some(point.sum));
    HistogramPoint { start_unix_nanos, unix_nanos, count, sum, bucket_counts, bounds, attributes }
}

/// `a="b",c="d"`, with the three escapes of the format.
fn labels_of(text: &str) -> Vec<(String, String)> {
    let (mut labels, mut rest) = (Vec::new(), text);
    while let Some((key, behind)) = rest.split_once("=\"") {
        let (mut value, mut characters, mut end) = (String::new(), behind.char_indices(), behind.len());
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, other)) => other,
                    None => '\\',
                }),
                other => value.push(other),
            }
        }
        labels.push((key.trim_start_matches(',').to_owned(), value));
        rest = &behind[end..];
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_out_as_they_went_in() {
        let expected = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(labels_of(""), []);
        assert_eq!(labels_of(r#"a="b",c="""#), expected(&[("a", "b"), ("c", "")]));
        assert_eq!(labels_of(r#"a="x\"y\\z\nw,k=\"",b="1""#), expected(&[("a", "x\"y\\z\nw,k=\""), ("b", "1")]));
    }

    #[test]
    fn buckets_are_no_totals() {
        let text = "# HELP h about\n# TYPE h histogram\nh_bucket{provider=\"p\",le=\"0.5\"} 1\nh_bucket{provider=\"p\",le=\"1\"} 3\n\
                    h_bucket{provider=\"p\",le=\"+Inf\"} 6\nh_sum{provider=\"p\"} 9.5\nh_count{provider=\"p\"} 6\n";
        let metrics = of(text, 1, 2);
        let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("a histogram") };
        let point = &histogram.points[0];
        assert_eq!((&point.bucket_counts, &point.bounds), (&vec![1, 2, 3], &vec![0.5, 1.0]));
        assert_eq!((point.count, point.sum, point.attributes.len()), (6, Some(9.5), 1));
    }
}
