//! What selectors stand for, as lists of models change.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_ir::offer::{Known, Offer};

use crate::compile::with_discovered;
use crate::known::Discovered;
use crate::snapshot::{Model, Snapshot};
use crate::testing;

fn listed(lists: &[(&str, &[&str])]) -> Arc<Discovered> {
    let offers = |models: &&[&str]| {
        models.iter().map(|model| Offer { model: (*model).to_owned(), known: Known::default() }).collect()
    };
    let lists: HashMap<String, Arc<[Offer]>> =
        lists.iter().map(|(provider, models)| ((*provider).to_owned(), offers(models))).collect();
    Arc::new(Discovered::new(lists))
}

fn targets(snapshot: &Snapshot, name: &str) -> Vec<String> {
    targets_of(&snapshot.model(name).expect("a model"))
}

fn targets_of(model: &Model) -> Vec<String> {
    let targets = model.groups.iter().flat_map(|group| &group.members);
    targets.map(|target| format!("{}/{}", target.provider.name, target.model)).collect()
}

fn with_selector(selector: &str) -> Snapshot {
    testing::snapshot(&format!(
        "{}models:\n  - {{name: other, targets: [{{provider: claude, model: opus}}]}}\n  - {{name: m, selectors: [{selector}]}}\n\
         routes:\n  - {{name: r, match: {{path: /r}}, model: m}}\n",
        testing::PROVIDERS
    ))
}

#[test]
fn model_selectors_by_regex() {
    let lists = listed(&[("openai", &["gpt-5", "gpt-5-mini", "o3"]), ("claude", &["haiku", "opus"])]);
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("{model_regex: '^gpt-'}", &[], &["openai/gpt-5", "openai/gpt-5-mini"]),
        ("{provider: claude}", &["claude/opus"], &["claude/haiku", "claude/opus"]),
        ("{provider_regex: '^c', model_regex: 'k'}", &[], &["claude/haiku"]),
        ("{provider: openai, provider_regex: '^c'}", &[], &[]),
        ("{model: opus}", &["claude/opus"], &["claude/opus"]),
        ("{model: o3, model_regex: '^o'}", &[], &["openai/o3"]),
        ("{model_regex: 'mini|opus'}", &["claude/opus"], &["openai/gpt-5-mini", "claude/opus"]),
        ("{model_regex: 'nothing'}", &[], &[]),
    ];
    for (selector, before, after) in cases {
        let snapshot = with_selector(selector);
        assert_eq!(targets(&snapshot, "m"), before, "{selector}, before anybody lists anything");
        let merged = with_discovered(&snapshot, Arc::clone(&lists));
        assert_eq!(targets(&merged, "m"), after, "{selector}");
        let of_route = merged.routes[0].model.as_ref().expect("a model");
        assert_eq!(targets_of(of_route), after, "{selector}, by the route");
        // What is no longer listed is no longer asked.
        assert_eq!(targets(&with_discovered(&merged, Arc::default()), "m"), before, "{selector}, after all have gone");
    }
}

#[test]
fn targets_come_before_what_is_selected_and_once() {
    let snapshot = testing::snapshot(&format!(
        "{}models:\n  - {{name: m, strategy: priority, targets: [{{provider: openai, model: b}}], selectors: [{{provider: openai}}, \
         {{model_regex: '.', priority: 1}}]}}\n",
        testing::PROVIDERS
    ));
    let merged = with_discovered(&snapshot, listed(&[("openai", &["a", "b"]), ("claude", &["a"])]));
    assert_eq!(targets(&merged, "m"), ["openai/b", "openai/a", "claude/a"]);
}

#[test]
fn turns_go_on_where_nothing_has_changed() {
    let lists = || listed(&[("openai", &["a", "b"])]);
    let merged = with_discovered(&with_selector("{provider: openai}"), lists());
    let again = with_discovered(&merged, lists());
    assert!(Arc::ptr_eq(&merged.models["m"], &again.models["m"]));
}
