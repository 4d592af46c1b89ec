//! The files that docs/routing.md shows are configurations that a node takes, one for each strategy.

use std::io::ErrorKind;
use std::path::Path;

use gateway_engine::compile::compile;
use gateway_model::file;
use gateway_model::kind::model::Strategy;

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
        let yaml = std::fs::read_to_string(&path).expect("a file");
        let no_file = |_: &Path| Err(ErrorKind::NotFound.into());
        let parsed = file::parse(&name, &yaml, &|_| Some("key".to_owned()), &no_file);
        let set = parsed.unwrap_or_else(|problems| panic!("{name}: {problems:?}")).set;
        compile(&set, 1).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let strategy = serde_name(set.models[0].strategy);
        assert!(name == format!("{strategy}.yaml") || name == "breaker.yaml", "{name} is about `{strategy}`");
        shown.push(strategy);
    }
    for strategy in STRATEGIES {
        assert!(shown.contains(&serde_name(strategy)), "no example of {strategy:?}");
    }
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
