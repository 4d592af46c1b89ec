//! How long the questions of the dashboard take over ten million log records on Postgres: a week of them, filled in by the server
//! itself. By hand: `cargo run --release -p gateway-store --example rows10m [-- RECORDS]`; ten million take 20 GB below the folder for
//! temporary files, for as long as it runs. Each is asked three times, and the one in the middle counts. Ends with 1 where one takes
//! a second or more, is broken off or fails; the others are asked nevertheless.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop where it is")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gateway_store::Store;
use gateway_store::logs::Filter;
use gateway_testing::Postgres;

const RECORDS: i64 = 10_000_000;
const MOST: Duration = Duration::from_secs(1);
const N_ASKED: usize = 3;
/// Any moment; the records are of the week before.
const NOW_MS: i64 = 1_800_000_000_000;
const HOUR_MS: i64 = 60 * 60 * 1000;
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let n_records = std::env::args().nth(1).map_or(RECORDS, |text| text.parse().unwrap());
    let Some(postgres) = tokio::task::block_in_place(Postgres::launch) else { return ExitCode::FAILURE };
    let url = postgres.database();
    let store = Store::open(&url).await.unwrap();
    store.make_days(NOW_MS - WEEK_MS, NOW_MS).await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    tokio::task::block_in_place(|| fill(&postgres, name, n_records));
    let mut n_missed = 0;
    println!("{:<56} {:>9} {:>9}", "question", "ms", "answers");
    for (window, hours, step) in [("an hour", 1, 1), ("a day", 24, 15), ("three days", 72, 60)] {
        let since = NOW_MS - hours * HOUR_MS;
        let began = Instant::now();
        let n_points = store.traffic(None, since, step).await.unwrap().len();
        let n_providers = store.traffic_of_providers(since, step).await.unwrap().len();
        n_missed += told(&format!("charts of {window}"), began.elapsed(), n_points + n_providers);
    }
    for (question, filter) in questions(n_records) {
        for (when, since_ms) in [("a day", None), ("a week", Some(NOW_MS - WEEK_MS))] {
            let filter = Filter { since_ms, ..filter.clone() };
            n_missed += asked(&store, &format!("{question}, {when}"), &filter).await;
        }
    }
    println!("{n_missed} took {MOST:?} or more, were broken off or failed");
    if n_missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether it missed what is asked of it, as a number; so does the next.
async fn asked(store: &Store, question: &str, filter: &Filter) -> usize {
    let mut answers = Vec::new();
    for _ in 0..N_ASKED {
        let began = Instant::now();
        let found = store.search(filter, None, 100, NOW_MS).await;
        answers.push((began.elapsed(), found));
    }
    answers.sort_by_key(|(took, _)| *took);
    let (took, found) = answers.swap_remove(N_ASKED / 2);
    match found {
        // It looks for so long and no longer, and says how far it came.
        Ok(found) if found.stopped => {
            let hours = (NOW_MS - found.since_ms.unwrap_or(NOW_MS)) / HOUR_MS;
            told(&format!("{question}, broken off after {hours} h"), took, found.rows.len());
            1
        }
        Ok(found) => told(question, took, found.rows.len()),
        Err(error) => {
            println!("{question:<56} {error}");
            1
        }
    }
}

fn told(question: &str, took: Duration, n_answers: usize) -> usize {
    println!("{question:<56} {:>9.1} {n_answers:>9}", took.as_secs_f64() * 1000.0);
    usize::from(took >= MOST)
}

/// From what nearly all records have to what one has.
fn questions(n_records: i64) -> Vec<(String, Filter)> {
    let any = Filter::default;
    let has = |field: &str, value: &str| Filter { terms: vec![(field.to_owned(), value.to_owned())], ..any() };
    let both = |one: (&str, &str), other: (&str, &str)| Filter {
        terms: [one, other].map(|(field, value)| (field.to_owned(), value.to_owned())).to_vec(),
        ..any()
    };
    let slow_and_dear =
        || Filter { min_total_us: Some(9_900_000), min_cost_nano_usd: Some(900_000), ..Filter::default() };
    let says = |text: &str| Filter { texts: vec![text.to_owned()], ..any() };
    let some = |text: &str| Some(text.to_owned());
    let questions = [
        ("everything", any()),
        ("model, 1 in 5", Filter { model: some("model-1"), ..any() }),
        ("provider, 1 in 3", Filter { provider: some("provider-1"), ..any() }),
        ("key, 1 in 2,000", Filter { key: some("key-77"), ..any() }),
        ("status 429", Filter { status: Some(429..=429), ..any() }),
        ("status 5xx", Filter { status: Some(500..=599), ..any() }),
        ("status >=400", Filter { status: Some(400..=999), ..any() }),
        ("team, 1 in 20", has("team", "team-7")),
        ("user, 1 in 5,000", has("user", "user-77")),
        ("tag, 1 in 100", has("tag", "tag-7")),
        ("stream, 1 in 2", has("stream", "true")),
        ("error_code", has("error_code", "rate_limited")),
        ("ending nobody has", has("ending", "nothing")),
        ("session, 20 records", has("session", &format!("session-{}", n_records / 40))),
        ("trace, 1 record", has("trace", &format!("{:032x}", n_records - 5))),
        ("team and 5xx", Filter { status: Some(500..=599), ..has("team", "team-7") }),
        ("team nobody has", has("team", "team-77")),
        (
            "model and upstream_model that never meet",
            Filter { model: some("model-1"), ..has("upstream_model", "upstream-2") },
        ),
        ("key and user that never meet", Filter { key: some("key-77"), ..has("user", "user-78") }),
        ("user and tag, 1 in 25,000", both(("user", "user-77"), ("tag", "tag-1"))),
        ("stream and ending nobody has", both(("stream", "true"), ("ending", "nothing"))),
        ("status 430 to 450, of nobody", Filter { status: Some(430..=450), ..any() }),
        ("user and status 5xx", Filter { status: Some(500..=599), ..has("user", "user-77") }),
        ("session and error_code it has not", both(("session", "session-77"), ("error_code", "unknown"))),
        ("min_duration, 1 in 1,000", Filter { min_total_us: Some(9_990_000), ..any() }),
        ("min_duration of nobody", Filter { min_total_us: Some(60_000_000), ..any() }),
        ("min_duration of nobody, some nearly", Filter { min_total_us: Some(9_999_500), ..any() }),
        ("min_duration 1.5 s, of a user", Filter { min_total_us: Some(1_500_000), ..has("user", "user-77") }),
        ("min_duration of nobody, of a key", Filter { min_total_us: Some(9_999_500), key: some("key-77"), ..any() }),
        ("min_duration and min_cost, 1 in 1,000", slow_and_dear()),
        ("min_cost of nobody, of a team", Filter { min_cost_nano_usd: Some(i64::MAX), ..has("team", "team-7") }),
        ("min_cost of nobody, of a tag", Filter { min_cost_nano_usd: Some(1_000_000), ..has("tag", "tag-7") }),
        ("min_cost of nobody, of all", Filter { min_cost_nano_usd: Some(1_000_000), ..has("organization", "acme") }),
        ("min_cost of nobody, some nearly", Filter { min_cost_nano_usd: Some(999_500), ..has("team", "team-7") }),
        ("word in many messages", says("limit")),
        ("words in few messages", says("socket refused 4711")),
        ("word that nobody says", says("zebra")),
        ("word that nobody says, of a team", Filter { texts: vec!["zebra".to_owned()], ..has("team", "team-7") }),
        ("id that begins so", Filter { id: Some(format!("{:012x}", NOW_MS - HOUR_MS)[..8].to_owned()), ..any() }),
        ("id that begins so, of a user", Filter { id: some("01a31"), ..has("user", "user-77") }),
        ("id that begins as those of some hours", Filter { id: some("01a316"), ..any() }),
    ];
    questions.into_iter().map(|(name, filter)| (name.to_owned(), filter)).collect()
}

/// Records as requests leave them: 1 KB each, some refused, few failed. The index is made after them, which is faster.
fn fill(postgres: &Postgres, name: &str, n_records: i64) {
    let began = Instant::now();
    let index = postgres.psql(name, "SELECT pg_get_indexdef(CAST('log_record_terms' AS regclass))");
    let step_ms = (WEEK_MS / n_records).max(1);
    postgres.psql(name, "DROP INDEX log_record_terms");
    postgres.psql(name, &FILL.replace("$records", &n_records.to_string()).replace("$step", &step_ms.to_string()));
    postgres.psql(name, TRAFFIC);
    let filled = began.elapsed();
    let setup = "SET maintenance_work_mem = '512MB'";
    postgres.psql(name, &format!("{setup}; {}", index.trim().replace("ON ONLY", "ON")));
    // Each by itself: a transaction has none of it.
    postgres.psql(name, "VACUUM ANALYZE log_record");
    postgres.psql(name, "ANALYZE traffic");
    let sizes = "SELECT pg_size_pretty(pg_database_size(current_database())) || ', of it indexes of terms ' || \
                 pg_size_pretty(CAST(SUM(pg_relation_size(indexrelid)) AS BIGINT)) FROM pg_index JOIN pg_class ON oid = indexrelid \
                 JOIN pg_am am ON am.oid = relam WHERE amname = 'gin'";
    let sizes = postgres.psql(name, sizes);
    println!("{n_records} records in {filled:.1?}, indexed after {:.1?}: {}", began.elapsed(), sizes.trim());
}

const FILL: &str = r#"
INSERT INTO log_record (id, node_id, started_ms, key_id, key_name, model, provider, status, record, stored_ms, terms, total_us, cost_nano_usd)
SELECT substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'), 'node-' || n % 3, at_ms,
    'vk_' || n * 31 % 2000, 'key-' || n * 31 % 2000, 'model-' || n % 5, 'provider-' || n % 3, status,
    '{"id":"' || n || '","text":"' || repeat(md5(CAST(n AS TEXT)), 28) || '"}', at_ms,
    concat_ws(chr(10), 'team=team-' || n * 7 % 20, 'user=user-' || n * 31 % 5000, 'organization=acme', 'upstream_model=upstream-' || n % 5,
        'route=route-' || n % 4, CASE WHEN status = 200 THEN 'ending=finished' ELSE 'ending=refused' END,
        CASE status WHEN 200 THEN NULL WHEN 429 THEN 'error_code=rate_limited' ELSE 'error_code=upstream_failed' END,
        'lane=pass', 'session=session-' || n / 20, 'node=node-' || n % 3, 'dialect=openai', 'trace=' || lpad(to_hex(n), 32, '0'),
        'stream=' || CASE n % 2 WHEN 0 THEN 'true' ELSE 'false' END, 'revision=' || n / 100000, 'tag=tag-' || n * 13 % 100,
        '~key', '~' || n * 31 % 2000, '~model', '~provider', '~team', '~user', '~acme', '~v1', '~chat', '~completions', '~tag',
        CASE status WHEN 200 THEN NULL WHEN 429 THEN concat_ws(chr(10), '~rate', '~limit', '~reached', '~for', '~requests')
            ELSE concat_ws(chr(10), '~upstream', '~socket', '~refused', '~after', '~' || n % 100000) END),
    n * 7919 % 10000 * 1000, n % 1000 * 1000
FROM (SELECT n, 1800000000000 - ($records - n) * $step AS at_ms,
        lpad(to_hex(1800000000000 - ($records - n) * $step), 12, '0') AS hex,
        CASE WHEN n % 50 = 0 THEN 502 WHEN n % 33 = 0 THEN 429 ELSE 200 END AS status
    FROM generate_series(CAST(1 AS BIGINT), $records) AS n) AS numbered
"#;

/// Three days of sums, everything and five providers, with times in 20 bands.
const TRAFFIC: &str = "
INSERT INTO traffic (step, minute, scope, measure, bucket, n)
SELECT step, minute, scope, measure, bucket, 10
FROM (VALUES (1), (15), (60)) AS steps (step),
    LATERAL generate_series((1800000000000 / 60000 - 4320) / step * step, 1800000000000 / 60000, step) AS minute,
    (VALUES (''), ('provider-0'), ('provider-1'), ('provider-2')) AS scopes (scope),
    (SELECT 'total', 100 + b FROM generate_series(1, 20) AS b UNION ALL SELECT 'first_byte', 90 + b FROM generate_series(1, 20) AS b
     UNION ALL SELECT m, 0 FROM unnest(ARRAY['requests', 'failed', 'refused', 'input', 'output', 'cost']) AS m) AS measures (measure, bucket)
";
