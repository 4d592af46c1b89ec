//! Files in, findings out: the position, code and path of each.

use std::path::Path;

use super::*;

fn env(name: &str) -> Option<String> {
    (name == "SET").then(|| "from-the-environment".to_owned())
}

fn read(path: &Path) -> std::io::Result<String> {
    if path == Path::new("/key") { Ok("from-a-file\n".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
}

fn parse(text: &str) -> Result<Parsed, Vec<Problem>> {
    super::parse("g.yaml", text, &env, &read)
}

/// `line:column code path` of each finding.
fn findings(text: &str) -> Vec<String> {
    let problems = match parse(text) {
        Ok(parsed) => parsed.warnings,
        Err(problems) => problems,
    };
    let shown = problems.iter().map(|problem| {
        let at = problem.position.as_ref().map_or("?".to_owned(), |at| format!("{}:{}", at.line, at.column));
        format!("{at} {} {}", problem.code, problem.path)
    });
    shown.collect()
}

const SOUND: &str = "
providers:
  - name: openai
    kind: openai
    api_key: ${SET}
  - name: claude
    kind: anthropic
    api_key: ${file:/key}
models:
  - name: smart
    targets:
      - {provider: openai, model: gpt-5.2, weight: 70}
      - {provider: claude, model: claude-sonnet-4-5, weight: 30}
    fallbacks: [claude/claude-haiku-4-5]
routes:
  - name: search
    match: {path: /v1/chat/completions, headers: {x-team: search}}
    model: smart
keys:
  - name: demo
    models: ['*']
    limits: {rpm: 120}
prices:
  - {provider: openai, model: gpt-5.2, input_per_1m: 1.25, output_per_1m: '10'}
settings:
  auth: off
  chat: {default_stream: true}
";

#[test]
fn a_sound_file_is_read_whole() {
    let set = parse(SOUND).expect("no problem").set;
    assert_eq!(set.providers[0].api_key.as_ref().map(crate::secret::Secret::expose), Some("from-the-environment"));
    assert_eq!(set.providers[1].api_key.as_ref().map(crate::secret::Secret::expose), Some("from-a-file"));
    assert_eq!((set.models[0].targets.len(), set.routes[0].order, set.keys[0].limits.rpm), (2, Some(0), Some(120)));
    assert_eq!(set.prices[0].input_per_1m.map(|price| price.0), Some(1_250_000_000));
    assert_eq!(set.settings.auth, Some(crate::kind::settings::Auth::Off));
    let again = Set::from_resources(set.resources());
    assert_eq!(again, set);
}

#[test]
fn every_finding_has_its_place() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("providers: [", &["2:1 syntax "]),
        ("- a\n- b\n", &["1:1 invalid_value "]),
        ("providers:\n  - {name: a, kind: openai}\nprovider: []\n", &["3:1 unknown_field provider"]),
        ("guardrails: []\n", &["1:1 unsupported_yet guardrails"]),
        ("providers:\n  - name: a\n    kind: openai\n    api_ky: x\n", &["4:13 unknown_field providers[a].api_ky"]),
        (
            "providers:\n  - {name: a, kind: openai, timeouts: {idle: soon}}\n",
            &["2:46 invalid_value providers[a].timeouts.idle"],
        ),
        ("providers:\n  - {name: a, kind: opneai}\n", &["2:21 invalid_value providers[a].kind"]),
        ("providers:\n  - {name: a, kind: vertex}\n", &["2:5 missing_field providers[a].gcp"]),
        ("providers:\n  - {name: a, kind: vertex, gcp: {project: p}}\n", &[]),
        ("providers:\n  - {name: a, kind: bedrock, aws: {region: us-east-1}}\n", &[]),
        (
            "providers:\n  - {name: a, kind: vertex, gcp: {project: 'a/b', location: X}}\n",
            &["2:44 invalid_value providers[a].gcp.project", "2:61 invalid_value providers[a].gcp.location"],
        ),
        ("providers:\n  - {name: A, kind: demo}\n", &["2:12 invalid_value providers[A].name"]),
        (
            "providers:\n  - {name: a, kind: demo}\n  - {name: a, kind: demo}\n",
            &["3:12 duplicate_name providers[a].name"],
        ),
        ("providers:\n  - {name: a, kind: openai-compatible}\n", &["2:5 missing_field providers[a].base_url"]),
        (
            "providers:\n  - {name: a, kind: openai, base_url: 'http://127.0.0.1/v1'}\n",
            &["2:39 insecure_destination providers[a].base_url"],
        ),
        (
            "providers:\n  - {name: a, kind: anthropic, base_url: 'https://x.test/v1'}\n",
            &["2:42 conflict providers[a].base_url"],
        ),
        (
            "providers:\n  - {name: a, kind: openai, api_key: '${UNSET}'}\n",
            &["2:38 unset_variable providers[a].api_key"],
        ),
        (
            "providers:\n  - {name: a, kind: openai, api_key: '${file:/no}'}\n",
            &["2:38 unset_variable providers[a].api_key"],
        ),
        (
            "models:\n  - name: m\n    targets: [{provider: x, model: y}]\n",
            &["3:26 unknown_reference models[m].targets[0].provider"],
        ),
        ("routes:\n  - {name: r, model: nothing}\n", &["2:22 unknown_reference routes[r].model"]),
        (
            "routes:\n  - {name: r, match: {headers: {x: {regex: '('}}}}\n",
            &["2:44 invalid_value routes[r].match.headers.x.regex"],
        ),
        ("keys:\n  - {name: k, secret: short}\n", &["2:23 invalid_value keys[k].secret"]),
        ("keys:\n  - {name: k, expires_at: tomorrow}\n", &["2:27 invalid_value keys[k].expires_at"]),
        ("keys:\n  - {name: k, routes: []}\n", &["2:23 unsupported_yet keys[k].routes"]),
        ("settings: {auth: off, server: {listen: '0.0.0.0:80'}}\n", &["1:18 conflict settings.auth"]),
        (
            "models:\n  - {name: a, targets: [{provider: p, model: m}], fallbacks: [b]}\n  - {name: b, targets: [{provider: p, model: m}], \
             fallbacks: [a]}\nproviders: [{name: p, kind: demo}]\n",
            &["3:62 conflict models[b].fallbacks"],
        ),
        ("providers:\n  - name: a\n    name: b\n", &["3:5 syntax "]),
        ("---\n{}\n---\n{}\n", &["3:1 syntax "]),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (*text, findings(text), *expected))
        .filter(|(_, found, expected)| found != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn routes_that_cannot_be_meant() {
    let cases: &[(&str, &[&str])] = &[
        ("{methods: [GET], kinds: [chat, audio], needs: [json-schema], key_metadata: {team: a}, tags: [x]}", &[]),
        (
            "{tokens: {min: 1, max: 1}, times: {days: [mon, sun], from: '22:00', to: '06:00', utc_offset: '+05:45'}}",
            &[],
        ),
        ("{methods: ['GET /']}", &["methods[0]: `GET /` is no method"]),
        ("{keys: ['']}", &["keys: holds an empty text"]),
        ("{tags: ['a,b']}", &["tags: holds a comma"]),
        ("{tokens: {min: 2, max: 1}}", &["tokens: never matches: `min` is 2"]),
        ("{times: {from: '08:00', to: '08:00'}}", &["times: never matches: there is no time from 08:00"]),
        ("{times: {from: '24:00'}}", &["times: never matches"]),
        ("{times: {from: '8am'}}", &["times.from: "]),
        ("{times: {utc_offset: CET}}", &["times.utc_offset: "]),
        ("{kinds: [chats]}", &["kinds[0]: "]),
        ("{headers: {x: {regex: '\\w{200}{200}'}}}", &["headers.x.regex: is a regular expression that takes more"]),
    ];
    for (wanted, expected) in cases {
        let found = match parse(&format!("routes:\n  - {{name: r, match: {wanted}}}\n")) {
            Ok(parsed) => parsed.set.validate(),
            Err(problems) => problems,
        };
        let found: Vec<_> = found.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
        let is_expected =
            |(found, expected): (&String, &&str)| found.starts_with(&format!("routes[r].match.{expected}"));
        assert!(found.len() == expected.len() && found.iter().zip(*expected).all(is_expected), "{wanted}: {found:?}");
    }
}

#[test]
fn routes_behind_others_that_take_all_are_warned_of() {
    let routes = |matches: &[&str]| {
        let lines = (0..).zip(matches).map(|(n, wanted): (usize, _)| format!("  - {{name: r{n}, match: {wanted}}}\n"));
        let set = parse(&format!("routes:\n{}", lines.collect::<String>())).expect("no error").set;
        set.validate().iter().map(|problem| problem.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(routes(&["{model: a}", "{model: b}", "{}"]), [""; 0]);
    assert_eq!(routes(&["{model: a}", "{path: '*', model: '*'}", "{model: b}"]), ["routes[r2].match"]);
    assert_eq!(routes(&["{model: a, keys: [k]}", "{model: a}", "{keys: [k], model: a}"]), ["routes[r2].match"]);
}

#[test]
fn weights_that_sum_to_zero_are_refused() {
    let model = |strategy: &str, weights: [u8; 2]| {
        let [one, other] = weights;
        format!(
            "providers: [{{name: p, kind: demo}}]\nmodels:\n  - {{name: m, strategy: {strategy}, targets: [{{provider: p, model: a, \
             weight: {one}}}, {{provider: p, model: b, weight: {other}}}]}}\n"
        )
    };
    for (strategy, weights, is_fine) in
        [("weighted", [0, 0], false), ("weighted", [0, 1], true), ("random", [0, 0], false), ("priority", [0, 0], true)]
    {
        assert_eq!(parse(&model(strategy, weights)).is_ok(), is_fine, "{strategy} {weights:?}");
    }
}

#[test]
fn hostile_files_are_bounded() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='h').map(|c| {
            let before = char::from(c as u8 - 1);
            format!("{c}: &{c} [*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n")
        }).collect::<String>();
    assert!(findings(&bomb)[0].contains("syntax"), "{:?}", findings(&bomb));
    assert!(findings(&"[".repeat(100_000))[0].contains("syntax"));
}

#[test]
fn fifteen_hundred_providers_and_models() {
    let mut text = String::from("providers:\n");
    for n in 0..1500 {
        text += &format!("  - {{name: p-{n}, kind: openai, api_key: key-{n}}}\n");
    }
    text += "models:\n";
    for n in 0..1500 {
        text += &format!("  - {{name: m-{n}, targets: [{{provider: p-{n}, model: x}}]}}\n");
    }
    let set = parse(&text).expect("no problem").set;
    assert_eq!((set.providers.len(), set.models.len()), (1500, 1500));
}
