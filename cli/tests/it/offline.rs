//! What needs no gateway: arguments, `validate`, `schema`, `version`, and the errors of a gateway that is not there.

use gateway_model::catalog;

use crate::support::World;

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in
        [&["get"][..], &["get", "provders"], &["frobnicate"], &["apply"], &["logs", "--since", "yesterday"], &[]]
    {
        let outcome = World::new().run(arguments).ended(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn no_gateway_is_exit_code_3_and_one_hint() {
    let world = World::new();
    world.run(&["status"]).ended(3).says(&["no running gateway was found", "hint: start one with `gatewayctl up`"]);
    world
        .run_with(&[("GATEWAY_ADMIN_URL", "http://127.0.0.1:1")], &["status"])
        .ended(3)
        .says(&["no master key for http://127.0.0.1:1"]);
    let named = [("GATEWAY_ADMIN_URL", "http://127.0.0.1:1"), ("GATEWAY_MASTER_KEY", "gw_master_secret")];
    let outcome = world
        .run_with(&named, &["get", "keys"])
        .ended(3)
        .says(&["cannot reach the gateway at http://127.0.0.1:1", "hint: "]);
    assert!(!outcome.stderr.contains("gw_master_secret"));
}

#[test]
fn something_else_at_the_address_is_no_gateway() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, Write};
        let (stream, _) = listener.accept().expect("one connection");
        let mut lines = std::io::BufReader::new(&stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        (&stream).write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello").expect("the client reads");
    });
    let named = [("GATEWAY_ADMIN_URL", url.as_str()), ("GATEWAY_MASTER_KEY", "gw_master_secret")];
    World::new().run_with(&named, &["get", "provider", "x"]).ended(3).says(&["not as an admin API does", "8081"]);
    server.join().expect("the server ends");
}

#[test]
fn a_good_file_lists_where_requests_go() {
    let world = World::new();
    world.write(
        "gateway.yaml",
        "providers:\n  - {name: openai, kind: openai, api_key: \"${OPENAI_API_KEY}\"}\n  - {name: claude, kind: anthropic, api_key: x}\n\
         \x20 - {name: mine, kind: openai-compatible, base_url: \"https://llm.example.com/v1/\", api_key: x}\n\
         models:\n  - {name: smart, targets: [{provider: openai, model: gpt-5.2}]}\n",
    );
    let key = [("OPENAI_API_KEY", "sk-canary-0123456789")];
    let outcome = world.run_with(&key, &["validate", "-f", "gateway.yaml"]).ended(0).prints(&[
        "gateway.yaml is valid: 3 providers, 1 models",
        "https://api.openai.com/v1/chat/completions",
        "https://api.anthropic.com/v1/messages",
        "https://llm.example.com/v1/chat/completions",
    ]);
    assert!(!outcome.stdout.contains("sk-canary"));
    let report = world.run_with(&key, &["validate", "-f", "gateway.yaml", "-o", "json"]).ended(0).json();
    assert_eq!(report["valid"], true);
    assert_eq!(report["providers"][1]["url"], "https://api.anthropic.com/v1/messages");
    world.run(&["validate", "-f", "gateway.yaml"]).ended(1).says(&[
        "gateway.yaml:2:",
        "providers[openai].api_key",
        "OPENAI_API_KEY",
    ]);
}

#[test]
fn twenty_two_providers() {
    let world = World::new();
    let rows: Vec<_> = catalog::rows().iter().filter(|row| row.base_url.is_some()).collect();
    assert!(rows.len() >= 22, "{} kinds need no address", rows.len());
    let mut file = "providers:\n".to_owned();
    for row in &rows {
        let cloud = match row.id.as_str() {
            "bedrock" => ", aws: {region: eu-central-1}",
            "vertex" => ", gcp: {project: p, location: europe-west1}",
            _ => "",
        };
        let private = if row.env.is_empty() { ", allow_private_networks: true" } else { "" };
        file.push_str(&format!("  - {{name: {0}, kind: {0}, api_key: x{cloud}{private}}}\n", row.id));
    }
    world.write("gateway.yaml", &file);
    let report = world.run(&["validate", "-f", "gateway.yaml", "-o", "json"]).ended(0).json();
    let listed = world.run(&["validate", "-f", "gateway.yaml"]).ended(0).stdout;
    for (row, provider) in rows.iter().zip(report["providers"].as_array().expect("a list")) {
        let url = provider["url"].as_str().expect("a URL");
        let base_url = row.base_url.as_deref().unwrap_or_default();
        let base_url = base_url.replace("{region}", "eu-central-1").replace("{location}", "europe-west1-");
        assert!(url.starts_with(&base_url) && url.len() > base_url.len() && listed.contains(url), "{}: {url}", row.id);
    }
}

#[test]
fn a_bad_file_is_refused_with_line_and_path() {
    let world = World::new();
    for (text, wanted) in [
        (
            "models:\n  - name: m\n    targets:\n      - {provider: nobody, model: x}\n",
            ["gateway.yaml:4:", "models[m].targets[0].provider"],
        ),
        ("providers:\n  - name: p\n    kind: openai\n    colour: red\n", ["gateway.yaml:4:", "providers[p].colour"]),
        ("providers:\n  - name: p\n    kind: [openai]\n", ["gateway.yaml:3:", "providers[p].kind"]),
        ("providers: [\n", ["gateway.yaml:", "(syntax)"]),
        ("guardrails: []\n", ["gateway.yaml:1:", "unsupported_yet"]),
    ] {
        world.write("gateway.yaml", text);
        let outcome = world
            .run(&["validate", "-f", "gateway.yaml"])
            .ended(1)
            .says(&wanted)
            .says(&["error: `gateway.yaml` is refused"]);
        assert!(outcome.stdout.is_empty());
        let report = world.run(&["validate", "-f", "gateway.yaml", "-o", "json"]).ended(1).json();
        assert_eq!(report["valid"], false, "{report}");
        assert!(report["problems"][0]["position"]["line"].is_u64(), "{report}");
    }
    world.run(&["validate", "-f", "missing.yaml"]).ended(1).says(&["cannot read `missing.yaml`"]);
    world.run_reading("providers: 7\n", &["validate", "-f", "-"]).ended(1).says(&["stdin:1:"]);
}

#[test]
fn the_schema_and_the_version_are_data() {
    let world = World::new();
    let schema = world.run(&["schema"]).ended(0).json();
    assert!(schema["properties"]["providers"].is_object(), "{schema}");
    let version = world.run(&["version", "-o", "json"]).ended(0).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    world.run(&["version", "-o", "yaml"]).ended(0).prints(&[&format!("version: \"{}\"\n", env!("CARGO_PKG_VERSION"))]);
}
