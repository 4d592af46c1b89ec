//! Every fault of an upstream, for whole replies and streams, alone, with a second target and under every strategy, in three dialects
//! of clients and two of upstreams, against the table of docs/upstream-faults.md.

mod cases;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use serde_json::{Value, json};

use self::cases::{Kind, Place, WORD};
use crate::gateway::{Answer, Gateway, KEY, read};

/// A row of the table.
#[derive(Debug)]
struct Row {
    fault: String,
    whole: Option<Told>,
    stream: Told,
    asked: String,
    timer: String,
}

/// What a client is told where nobody else can be asked.
#[derive(Clone, Debug)]
struct Told {
    /// The reply had begun.
    begun: bool,
    status: u16,
    /// One of these.
    codes: Vec<String>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Cell {
    row: usize,
    kind: Kind,
    client: &'static Client,
    stream: bool,
    among: Among,
}

/// Who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    Alone,
    /// Behind it one that is sound.
    Two,
    /// Two that fail alike, in an order that is this strategy's, and behind them one that is sound.
    Three(&'static str),
}

/// A dialect that clients speak.
#[derive(Debug)]
struct Client {
    path: &'static str,
    /// What ends a stream that has finished, and what stands in one that failed.
    terminal: &'static str,
    failed: &'static str,
}

const CLIENTS: [Client; 3] = [
    Client { path: "/v1/chat/completions", terminal: "data: [DONE]", failed: "data: {\"error\":" },
    Client { path: "/v1/messages", terminal: "event: message_stop", failed: "event: error" },
    Client { path: "/v1/responses", terminal: "event: response.completed", failed: "event: error" },
];

const STRATEGIES: [&str; 9] =
    ["weighted", "priority", "round-robin", "random", "least-latency", "least-busy", "cheapest", "balanced", "sticky"];

/// Of the timer that a row names.
const TIMER: Duration = Duration::from_millis(300);
/// What busy machines may add to it.
const SLACK: Duration = Duration::from_secs(8);
/// Requests at once.
const AT_ONCE: usize = 24;

#[tokio::test]
async fn upstream_matrix() {
    let rows = table();
    assert!(rows.len() > 30, "the table has {} rows", rows.len());
    let mut places = HashMap::new();
    for (row, Row { fault, .. }) in rows.iter().enumerate() {
        for kind in Kind::ALL {
            let place = Place::start(fault, kind).await.unwrap_or_else(|| panic!("nothing makes `{fault}`"));
            places.insert((row, kind.name()), place);
        }
    }
    let sound = Upstream::start().await;
    sound.respond_with(|received| openai::answer(received, "served by the second"));
    let gateway = Gateway::start(&config(&rows, &places, &sound)).await;
    let cells = cells(&rows);
    let asked = cells.iter().enumerate().map(|(n, cell)| ask(&gateway, n, *cell));
    let answers: HashMap<usize, Answer> = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let records = gateway.records(cells.len()).await;
    let records: HashMap<_, _> = records.iter().map(|record| (record["id"].as_str().expect("an id"), record)).collect();
    let mut wrong = Vec::new();
    for (n, cell) in cells.iter().enumerate() {
        let (row, answer) = (&rows[cell.row], &answers[&n]);
        let record = records[answer.header("x-gateway-request-id").expect("an id")];
        let n_seen = places[&(cell.row, cell.kind.name())].n_seen(&mark(n));
        if let Err(what) = check(row, cell, answer, record, n_seen) {
            wrong.push(format!("{} {cell:?}: {what}\n    {record}\n    {} {}", row.fault, answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    gateway.stop().await;
}

fn cells(rows: &[Row]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (row, of_row) in rows.iter().enumerate() {
        for (client, kind) in CLIENTS.iter().flat_map(|client| Kind::ALL.map(|kind| (client, kind))) {
            // Which of them is asked has nothing to do with the languages spoken.
            let n_strategies =
                if client.path == CLIENTS[0].path && kind == Kind::OpenAi { STRATEGIES.len() } else { 0 };
            let under = STRATEGIES[..n_strategies].iter().map(|strategy| Among::Three(strategy));
            for among in [Among::Alone, Among::Two].into_iter().chain(under) {
                let streams = [false, true].into_iter().filter(|stream| *stream || of_row.whole.is_some());
                cells.extend(streams.map(|stream| Cell { row, kind, client, stream, among }));
            }
        }
    }
    cells
}

fn config(rows: &[Row], places: &HashMap<(usize, &str), Place>, sound: &Upstream) -> String {
    let good = sound.url();
    let mut providers = format!(
        "  - {{name: good, kind: openai-compatible, base_url: \"{good}/v1\", api_key: k, allow_private_networks: true}}\n"
    );
    let mut models = String::new();
    for ((row, kind), place) in places {
        let Row { fault, timer, .. } = &rows[*row];
        let api = if *kind == Kind::OpenAi.name() { Kind::OpenAi } else { Kind::Anthropic };
        let url = place.base_url(fault, api);
        let timers = if timer.is_empty() { String::new() } else { format!("timeouts: {{{timer}: 300ms}}, ") };
        // Writing to a String cannot fail.
        let _ = writeln!(
            providers,
            "  - {{name: p{row}-{kind}, kind: {kind}, base_url: \"{url}\", api_key: k, allow_private_networks: true, \
             {timers}breaker: {{enabled: false}}}}"
        );
        let target = format!("{{provider: p{row}-{kind}, model: x}}");
        let _ = writeln!(models, "  - {{name: alone-{row}-{kind}, targets: [{target}], retry: {{max_attempts: 2}}}}");
        let _ = writeln!(
            models,
            "  - {{name: two-{row}-{kind}, strategy: priority, targets: [{target}, {{provider: good, model: y}}]}}"
        );
        for strategy in STRATEGIES {
            let _ = writeln!(
                models,
                "  - {{name: {strategy}-{row}-{kind}, strategy: {strategy}, targets: [{target}, \
                 {{provider: p{row}-{kind}, model: z}}, {{provider: good, model: y, priority: 1}}]}}"
            );
        }
    }
    format!("providers:\n{providers}models:\n{models}keys:\n  - {{name: test, secret: {KEY}}}\n")
}

/// Stands in the request and nowhere else.
fn mark(n: usize) -> String {
    format!("question {n}.")
}

async fn ask(gateway: &Gateway, n: usize, cell: Cell) -> (usize, Answer) {
    let among = match cell.among {
        Among::Alone => "alone",
        Among::Two => "two",
        Among::Three(strategy) => strategy,
    };
    let model = format!("{among}-{}-{}", cell.row, cell.kind.name());
    let mut body = json!({"model": model, "stream": cell.stream});
    match cell.client.path {
        "/v1/responses" => body["input"] = json!(mark(n)),
        _ => {
            body["messages"] = json!([{"role": "user", "content": mark(n)}]);
            body["max_tokens"] = json!(5);
        }
    }
    (n, read(gateway.post(cell.client.path, &body)).await)
}

fn check(row: &Row, cell: &Cell, answer: &Answer, record: &Value, n_seen: Option<usize>) -> Result<(), String> {
    let goes_on = row.asked != "never";
    // Of those that fail, and whether the sound one is asked.
    let (n_failing, is_served) = match cell.among {
        Among::Alone => (1 + usize::from(row.asked == "again"), false),
        Among::Two => (1, goes_on),
        Among::Three(_) => (1 + usize::from(goes_on), goes_on),
    };
    let attempts = record["attempts"].as_array().expect("attempts");
    equal("attempts", attempts.len(), n_failing + usize::from(is_served))?;
    if let Some(n_seen) = n_seen {
        equal("requests that the upstream saw", n_seen, n_failing)?;
    }
    let models: HashSet<_> = attempts.iter().map(|attempt| attempt["model"].as_str()).collect();
    equal("targets", models.len(), if cell.among == Among::Alone { 1 } else { attempts.len() })?;
    let bound = if row.timer.is_empty() { Duration::ZERO } else { TIMER };
    for attempt in &attempts[..n_failing] {
        let at = |name: &str| attempt[name].as_u64().unwrap_or_default();
        let took = Duration::from_micros(at("ended_us") - at("started_us"));
        // A reply that has begun ends after its attempt has.
        let least = if row.stream.begun { Duration::ZERO } else { bound };
        if took < least || took > bound + SLACK {
            return Err(format!("an attempt took {took:?}"));
        }
    }
    let text = &answer.text;
    let n_terminal = text.matches(cell.client.terminal).count();
    let told = if cell.stream { &row.stream } else { row.whole.as_ref().expect("a cell that is there") };
    if is_served {
        equal("status", answer.status, 200)?;
        equal("terminal marks", n_terminal, usize::from(cell.stream))?;
        equal("the second's answer", text.contains("second"), true)?;
        return equal("the first's answer", text.contains(WORD), false);
    }
    equal("status", answer.status, told.status)?;
    let code = record["error_code"].as_str().unwrap_or_default();
    if !told.codes.iter().any(|expected| expected == code) {
        return Err(format!("code: {code}, expected {:?}", told.codes));
    }
    equal("terminal marks", n_terminal, 0)?;
    if row.fault == "status 429 for a minute" {
        equal("retry-after", answer.header("retry-after"), Some("60"))?;
    }
    let n_told = if told.begun {
        text.matches(cell.client.failed).count()
    } else {
        let told: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // Anthropic's errors have no code.
        let said = told["error"]["code"].as_str().filter(|_| cell.client.path != "/v1/messages");
        equal("the code told", said.unwrap_or(code), code)?;
        usize::from(told["error"]["message"].is_string())
    };
    equal("errors told", n_told, 1)?;
    equal("the first word", text.contains(WORD), told.begun)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}: {got:?}, expected {expected:?}")) }
}

/// The rows of the page, all of its tables.
fn table() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/upstream-faults.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")).filter(|line| !line.starts_with("the fault"));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [fault, whole, stream, asked, timer, ..] = cells[..] else { panic!("a row of five cells: {line}") };
    assert!(["again", "elsewhere", "never"].contains(&asked), "{line}");
    let told = |text: &str| {
        let begun = text.contains("then");
        let (status, code) = text.split_once([',', ' ']).unwrap_or_else(|| panic!("a status and a code: {line}"));
        let codes: Vec<String> = code.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(!codes.is_empty(), "{line}");
        Told { begun, status: status.parse().expect("a status"), codes }
    };
    Row {
        fault: fault.to_owned(),
        whole: (whole != "–").then(|| told(whole)),
        stream: told(stream),
        asked: asked.to_owned(),
        timer: timer.to_owned(),
    }
}
