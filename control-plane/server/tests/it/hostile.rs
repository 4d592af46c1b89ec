//! Whatever stands in a query or a path, the admin API answers as its own description says, or refuses and says why: every parameter of every
//! reading operation, on both engines, over records whose own times make no sense.

use gateway_testing::{Postgres, figure};
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{LogBatch, LogRecord, UsageBatch, UsageEvent};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::node::channel;
use crate::world::World;

const TEST: &str = "hostile_queries";
/// Answers without an end.
const FOLLOW: &str = "/admin/logs/follow";
const MOMENTS: [i64; 7] = [i64::MIN, -62_167_219_200_001, -1, 0, 253_402_300_800_000, 4_000_000_000_000, i64::MAX];

/// What no client of good faith would send, before it is percent-encoded.
fn values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        "",
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
        "1e308",
        "NaN",
        "-inf",
        "0x10",
        "+5",
        "1.5",
        ".",
        "-0.0",
        "0.0000000001",
        "99999999999999999999.9",
        "99999999999999999999s",
        "1844674407370955161s",
        "18446744073.709551615",
        "253402300799999",
        "253402300800000",
        "-62167219200001",
        "9999-12-31T23:59:59.999Z",
        "-009999-01-01T00:00:00Z",
        "1970-01-01T00:00:00+25:59",
        "2027-02-30",
        "9999-12-31",
        "-9999-01-01",
        "9223372036854775807_x",
        "-9223372036854775808_",
        "4000000000000_r\0",
        "0_\u{10ffff}",
        "_",
        "\0",
        "a\0b",
        "%",
        "%_\\",
        "' OR 1=1; --",
        "\"",
        "\"\"",
        "NEAR(",
        "a NOT OR AND *",
        "team:",
        "team:\"",
        "q:\0",
        "since:-1 until:\0",
        "status:>=",
        "<0",
        ">=999",
        "5xx",
        "{}",
        "[]",
        "null",
        "true",
        "..",
        "../../etc/passwd",
        "\u{202e}\u{1f4a9}",
        "\u{feff}",
        "key,team,key",
        "csv",
        "2147483648",
        "4294967296",
        "100000000000",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    values.extend([
        vec![0xff, 0xfe],
        vec![0xed, 0xa0, 0x80],
        vec![b'x'; 10_000],
        vec![b'9'; 10_000],
        vec![b'"'; 10_000],
    ]);
    values
}

/// The description itself, and what in an answer is not as it says.
struct Description(Value);

// === impl Description ===

impl Description {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Paths that are read with the master key, each with its parameters and where those stand.
    fn operations(&self) -> Vec<(&str, Vec<(&str, &str)>)> {
        let mut operations = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            let of_admin = item["get"]["security"]
                .as_array()
                .is_some_and(|ways| ways.iter().any(|way| way["masterKey"].is_array()));
            if of_admin {
                let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
                let parameters = parameters.map(|one| (one["name"].as_str().unwrap(), one["in"].as_str().unwrap()));
                operations.push((path.as_str(), parameters.collect()));
            }
        }
        operations
    }

    /// `None`: it is as described.
    fn fault(&self, path: &str, status: u16, text: &str) -> Option<String> {
        if status >= 500 {
            return Some("the server failed".to_owned());
        }
        let answers = &self.0["paths"][path]["get"]["responses"];
        let answer = answers.get(status.to_string()).or_else(|| answers.get("default").filter(|_| status >= 400));
        let Some(answer) = answer else { return Some("there is no such status".to_owned()) };
        let schema = answer["content"]["application/json"].get("schema")?;
        match serde_json::from_str(text) {
            Ok(value) => self.misfit(schema, &value),
            Err(_) if answer["content"].as_object().is_some_and(|media| media.len() > 1) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// The first thing in a value that its schema does not allow, of what schemas here say.
    fn misfit(&self, schema: &Value, value: &Value) -> Option<String> {
        if let Some(path) = schema["$ref"].as_str() {
            return self.misfit(self.0.pointer(&path[1..]).unwrap(), value);
        }
        let list = |name: &str| schema[name].as_array().map(Vec::as_slice);
        if let Some(all) = list("allOf") {
            return all.iter().find_map(|one| self.misfit(one, value));
        }
        if let Some(any) = list("anyOf").or_else(|| list("oneOf")) {
            let mut misfits = any.iter().map(|one| self.misfit(one, value));
            return misfits.all(|misfit| misfit.is_some()).then(|| format!("{value} is none of {schema}"));
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let says = |what: &str| Some(format!("{value} is {what}: {schema}"));
        if !types.is_empty() && !types.iter().any(|one| is_a(one, value)) {
            return says("of another type");
        }
        if list("enum").is_some_and(|choices| !choices.contains(value)) {
            return says("none of the choices");
        }
        if value.as_f64().is_some_and(|number| schema["minimum"].as_f64().is_some_and(|least| number < least)) {
            return says("too small");
        }
        if schema["format"] == "date-time" && value.as_str().is_some_and(|text| !is_moment(text)) {
            return says("no moment");
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            return values.iter().find_map(|value| self.misfit(items, value));
        }
        let object = value.as_object()?;
        if let Some(name) =
            list("required").into_iter().flatten().find(|name| !object.contains_key(name.as_str().unwrap()))
        {
            return says(&format!("without {name}"));
        }
        let of = |name: &str| schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        object.iter().find_map(|(name, value)| match of(name) {
            Some(Value::Bool(false)) => says(&format!("with `{name}`")),
            Some(schema) => self.misfit(schema, value),
            None => None,
        })
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// As RFC 3339 writes it, in UTC.
fn is_moment(text: &str) -> bool {
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    ["0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000Z"].contains(&shape.as_str())
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Records and usage of all times, as a node with a broken clock sends them.
async fn fill(world: &World) {
    let mut client = FleetClient::new(channel(&world.control).await);
    let (node_id, boot_id) = ("node_1".to_owned(), "boot1".to_owned());
    let record = |(number, started_unix_ms)| LogRecord {
        id: format!("r{number}"),
        started_unix_ms,
        status: 200,
        key_id: "k".to_owned(),
        model: "m".to_owned(),
        ..LogRecord::default()
    };
    let records = MOMENTS.into_iter().enumerate().map(record).collect();
    let batch =
        LogBatch { node_id: node_id.clone(), boot_id: boot_id.clone(), first_seq: 1, records, ..LogBatch::default() };
    let mut acks = client.logs(tokio_stream::iter([batch])).await.unwrap().into_inner();
    acks.message().await.unwrap().expect("they are stored");
    let event = |(number, started_unix_ms)| UsageEvent {
        id: format!("r{number}"),
        started_unix_ms,
        key_id: "k".to_owned(),
        model: "m".to_owned(),
        cost_nano_usd: 5,
        ..UsageEvent::default()
    };
    let events = MOMENTS.into_iter().enumerate().map(event).collect();
    let batch = UsageBatch { node_id, boot_id, lane: 0, first_seq: 1, events };
    let mut acks = client.usage(tokio_stream::iter([batch])).await.unwrap().into_inner();
    acks.message().await.unwrap().expect("they are stored");
}

/// Asks; what comes has to be as described.
async fn ask(world: &World, description: &Description, path: &str, url: &str) -> Result<(), String> {
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [("host", "localhost"), ("authorization", bearer.as_str())];
    let (status, text) = if path == FOLLOW {
        let response = world.open("GET", url, &headers, Vec::new()).await;
        if response.status().is_success() {
            return Ok(());
        }
        (response.status().as_u16(), "{\"error\": {\"code\": \"\", \"message\": \"\", \"problems\": []}}".to_owned())
    } else {
        let answer = world.send("GET", url, &headers, Vec::new()).await;
        (answer.status.as_u16(), answer.text)
    };
    let cut = |text: &str| text.chars().take(400).collect::<String>();
    let fault = description.fault(path, status, &text);
    fault.map_or(Ok(()), |fault| Err(format!("GET {}: {status}: {}: {}", cut(url), cut(&fault), cut(&text))))
}

/// Each value in the place of each parameter, the others left out.
async fn walk(world: &World, engine: &str) {
    fill(world).await;
    let (description, values) = (Description::read(), values());
    let (mut n_asked, mut faults) = (0, Vec::new());
    for (path, parameters) in description.operations() {
        let plain = |path: &str| {
            parameters.iter().fold(path.to_owned(), |path, (name, _)| path.replace(&format!("{{{name}}}"), "r5"))
        };
        for (name, place) in &parameters {
            for value in &values {
                let value = encoded(value);
                let url = match *place {
                    "path" if value.is_empty() => continue,
                    "path" => plain(&path.replace(&format!("{{{name}}}"), &value)),
                    _ => format!("{}?{name}={value}", plain(path)),
                };
                n_asked += 1;
                faults.extend(ask(world, &description, path, &url).await.err());
            }
        }
        faults.extend(ask(world, &description, path, &plain(path)).await.err());
    }
    figure::note(
        TEST,
        &format!("answers of 5xx or unlike the description, {engine}"),
        faults.len() as f64,
        "answers",
        0.0,
    );
    figure::note_at_least(TEST, &format!("hostile questions, {engine}"), n_asked as f64, "questions", 5_000.0);
    assert!(faults.is_empty(), "{} of {n_asked}:\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"));
}

#[tokio::test]
async fn hostile_queries_on_sqlite() {
    walk(&World::new().await, "SQLite").await;
}

#[tokio::test]
async fn hostile_queries_on_postgres() {
    let Some(postgres) = Postgres::shared() else { return };
    walk(&World::on(postgres.database()).await, "Postgres").await;
}

/// Searches that are made up: fields, quotes, operators and bytes in any order.
#[test]
fn any_search_is_answered_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    runtime.block_on(fill(&world));
    let description = Description::read();
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "team:",
            "status:",
            "since:",
            "until:",
            "min_cost:",
            "min_duration:",
            "id:",
            "q:",
            "tag:",
            "\"",
            " ",
            ">=",
            "<",
            "xx",
            "-",
            "_",
            ".",
            "ms",
            "s",
            "*",
            "OR",
            "NEAR",
            "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..4),
        any::<char>().prop_map(|letter| letter.to_string().into_bytes()),
    ];
    let line = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let name = proptest::sample::select(vec![
        "search",
        "q",
        "after",
        "since",
        "until",
        "status",
        "min_cost",
        "min_duration",
        "id",
    ]);
    let questions = proptest::collection::vec((name, line), 1..4);
    let config = Config { failure_persistence: None, ..Config::with_cases(400) };
    let asked = TestRunner::new(config).run(&questions, |question| {
        let query: Vec<String> = question.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("/admin/logs?{}", query.join("&"));
        runtime.block_on(ask(&world, &description, "/admin/logs", &url)).map_err(TestCaseError::fail)
    });
    asked.unwrap();
}

/// The check itself sees what is wrong.
#[test]
fn what_is_not_as_described_is_seen() {
    let description = Description::read();
    let fault = |status, text: &str| description.fault("/admin/logs", status, text).is_some();
    let good = r#"{"data": [{"id": "a"}], "next": null, "searched_since": "2027-01-15T08:00:00.123Z", "stopped_early": false}"#;
    assert!(!fault(200, good));
    for (from, to) in
        [("\"a\"", "1"), ("false", "null"), ("2027-01-15T08:00:00.123Z", "-62167219200001"), ("\"next\": null,", "")]
    {
        assert!(fault(200, &good.replace(from, to)), "{from} {to}");
    }
    assert!(fault(500, "{}") && fault(400, "{}") && fault(204, "") && fault(200, "no JSON"));
}
