//! Which records an exporter is sent. Pure, and the same each time it is asked.

use aws_lc_rs::digest;
use gateway_engine::glob::Glob;
use gateway_model::kind::exporter::Exporter;

use super::event::Event;

pub(super) fn is_for(exporter: &Exporter, event: &Event) -> bool {
    let filter = &exporter.filter;
    let named = |patterns: &[String], names: [&str; 2]| {
        let is = |pattern: &String| names.iter().any(|name| !name.is_empty() && Glob::new(pattern).matches(name));
        patterns.is_empty() || patterns.iter().any(is)
    };
    named(&filter.keys, [&event.key_id, &event.key_name])
        && named(&filter.teams, [&event.team, ""])
        && named(&filter.models, [&event.model, ""])
        && filter.takes_status(event.status)
        && filter.min_cost_usd.is_none_or(|least| event.cost_nano_usd >= least.0)
        && exporter.sample.is_none_or(|part| is_in(&event.id, part))
}

/// By the id alone, so that exporters with the same part are sent the same requests.
fn is_in(id: &str, part: f64) -> bool {
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_ref()[..4]);
    f64::from(u32::from_be_bytes(first)) < part * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Event {
        Event {
            id: "r1".to_owned(),
            key_id: "vk_1".to_owned(),
            key_name: "demo".to_owned(),
            team: "search".to_owned(),
            model: "gpt-large".to_owned(),
            status: 429,
            cost_nano_usd: 2_000_000_000,
            ..Event::default()
        }
    }

    fn exporter(fields: Value) -> Exporter {
        let mut document = json!({"name": "x", "type": "datadog"});
        document.as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
        serde_json::from_value(document).expect("an exporter")
    }

    #[test]
    fn every_field_of_a_filter_must_take_it() {
        for (filter, expected) in [
            (json!({}), true),
            (json!({"keys": ["demo"]}), true),
            (json!({"keys": ["vk_1"]}), true),
            (json!({"keys": ["other"]}), false),
            (json!({"teams": ["se*"]}), true),
            (json!({"teams": ["sales"]}), false),
            (json!({"models": ["*-large"], "status": ["4xx"]}), true),
            (json!({"models": ["*-large"], "status": ["5xx", "200"]}), false),
            (json!({"status": ["429"]}), true),
            (json!({"min_cost_usd": 2}), true),
            (json!({"min_cost_usd": 2.01}), false),
        ] {
            assert_eq!(is_for(&exporter(json!({"filter": filter})), &event()), expected, "{filter}");
        }
        assert!(!is_for(&exporter(json!({"filter": {"teams": ["*"]}})), &Event::default()), "nobody's is no team's");
    }

    #[test]
    fn a_sample_is_a_part_and_the_same_each_time() {
        let exporter = exporter(json!({"sample": 0.25}));
        let taken = || {
            let of = |number: u32| Event { id: format!("r{number}"), ..event() };
            (0..4000).filter(|number| is_for(&exporter, &of(*number))).collect::<Vec<_>>()
        };
        let n_taken = taken().len();
        assert!((900..1100).contains(&n_taken), "{n_taken}");
        assert_eq!(taken(), taken());
    }
}
