//! The files that docs/routing.md, docs/caching.md and docs/keys.md show are configurations that a node takes, among them one for each
//! strategy.

use std::io::ErrorKind;
use std::path::Path;

use gateway_engine::cache::Terms;
use gateway_engine::compile::compile;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{Ask, resolve};
use gateway_engine::snapshot::{Bounds, Snapshot};
use gateway_model::file;
use gateway_model::kind::model::Strategy;
use gateway_model::set::Set;
use http::{HeaderName, HeaderValue};

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn every_strategy_has_an_example_that_compiles() {
    let page = std::fs::read_to_string(docs().join("routing.md")).expect("the page");
    let mut shown = Vec::new();
    for entry in std::fs::read_dir(docs().join("examples/routing")).expect("the examples") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        assert!(page.contains(&format!("(examples/routing/{name})")), "the page shows no {name}");
        let (set, _) = compiled(&path);
        let strategy = serde_name(set.models[0].strategy);
        let is_about = |strategy: &str| name == format!("{strategy}.yaml");
        let is_other = !STRATEGIES.iter().any(|strategy| is_about(&serde_name(*strategy)));
        assert!(is_about(&strategy) || is_other, "{name} is about `{strategy}`");
        shown.push(strategy);
    }
    for strategy in STRATEGIES {
        assert!(shown.contains(&serde_name(strategy)), "no example of {strategy:?}");
    }
}

/// The file as it is, and as a node takes it.
fn compiled(path: &Path) -> (Set, Snapshot) {
    let name = path.display().to_string();
    let yaml = std::fs::read_to_string(path).expect("a file");
    let no_file = |_: &Path| Err(ErrorKind::NotFound.into());
    let parsed = file::parse(&name, &yaml, &|_| Some("key".to_owned()), &no_file);
    let set = parsed.unwrap_or_else(|problems| panic!("{name}: {problems:?}")).set;
    let snapshot = compile(&set, 1).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    (set, snapshot)
}

#[test]
fn the_example_of_keys() {
    let (page, path) = (docs().join("keys.md"), docs().join("examples/keys/keys.yaml"));
    let shown = std::fs::read_to_string(&path).expect("the example");
    assert!(std::fs::read_to_string(page).expect("the page").contains(&shown), "the page shows the file as it is");
    let (set, _) = compiled(&path);
    assert_eq!((set.keys.len(), set.teams.len(), set.limits.len(), set.budgets.len()), (3, 1, 3, 1));
}

/// The file that docs/caching.md shows does what it says of itself.
#[test]
fn the_example_of_the_cache() {
    let page = std::fs::read_to_string(docs().join("caching.md")).expect("the page");
    assert!(page.contains("(examples/caching/cache.yaml)"));
    let (_, snapshot) = compiled(&docs().join("examples/caching/cache.yaml"));
    assert_eq!(snapshot.cache_bounds(), Bounds { whole: 256 << 20, entry: 4 << 20 });
    let kept = |model: &str, job: Option<&'static str>| {
        let headers = job.map(|job| (HeaderName::from_static("x-job"), HeaderValue::from_static(job)));
        let headers = headers.into_iter().collect();
        let ask = Ask::new("/v1/chat/completions", &headers, model);
        let resolved = resolve(&snapshot, &ask, &Caller::anonymous()).expect("a model");
        Terms::of(&snapshot, &resolved).map(|terms| (terms.ttl.as_secs() / 60, terms.coalesce))
    };
    assert_eq!(kept("embed", None), Some((7 * 24 * 60, true)));
    assert_eq!(kept("classify", Some("nightly")), Some((10, true)));
    assert_eq!(kept("assistant", None), None);
    assert_eq!(kept("assistant", Some("nightly")), Some((24 * 60, false)));
}

const STRATEGIES: [Strategy; 9] = [
    Strategy::Weighted,
    Strategy::Priority,
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::LeastLatency,
    Strategy::LeastBusy,
    Strategy::Cheapest,
    Strategy::Balanced,
    Strategy::Sticky,
];

/// As it is written in a file.
fn serde_name(strategy: Strategy) -> String {
    format!("{strategy:?}").chars().fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
        words
    })
}
