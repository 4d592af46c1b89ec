//! Requests that belong together, summed up as they are stored.

use gateway_store::Store;
use gateway_store::log_sessions::{LogSession, Names, SessionFilter};
use gateway_store::logs::{Filter, LogRow, Terms};
use gateway_store::traffic::Sample;
use gateway_store::usage::{Cursor, Sender};

const NOW: i64 = 1_800_000_000_000;

fn row(number: i64, session: &str) -> LogRow {
    let mut terms = Terms::default();
    terms.put("session", session);
    LogRow {
        id: format!("r{number:04}"),
        started_ms: NOW - 1000 + number,
        key_name: if number % 2 == 0 { "even" } else { "odd" }.to_owned(),
        user: "ada".to_owned(),
        model: format!("m{number}"),
        status: 200,
        terms: terms.into_text(),
        sample: Some(Sample {
            input: 10,
            output: 3,
            cost_nano_usd: 7,
            failed: number % 3 == 0,
            refused: number % 4 == 0,
            unpriced: number % 5 == 0,
            ..Sample::default()
        }),
        session: session.to_owned(),
        ..LogRow::default()
    }
}

async fn ingest(store: &Store, boot: &str, at_ms: i64, first_seq: u64, rows: &[LogRow]) {
    store.ingest_logs(Sender { node: "n", boot, at_ms }, first_seq, rows, 0).await.unwrap();
}

async fn all(store: &Store, filter: &SessionFilter) -> Vec<LogSession> {
    store.log_sessions(filter, None, 100).await.unwrap()
}

fn ids(sessions: &[LogSession]) -> Vec<&str> {
    sessions.iter().map(|session| session.id.as_str()).collect()
}

pub(crate) async fn a_session_is_the_sum_of_its_requests(store: &Store) {
    let rows = [row(1, "a"), row(2, "a"), row(3, "b"), row(4, ""), row(5, "a")];
    ingest(store, "one", NOW, 1, &rows[..3]).await;
    // The same again, with what came after: counted once.
    ingest(store, "one", NOW, 1, &rows).await;
    ingest(store, "two", NOW + 50, 1, &[row(6, "a")]).await;
    let sessions = all(store, &SessionFilter::default()).await;
    assert_eq!(ids(&sessions), ["a", "b"]);
    let names = |total, most: &[(&str, u64)]| Names {
        total,
        most: most.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
    };
    let expected = LogSession {
        id: "a".to_owned(),
        first_ms: NOW - 999,
        last_ms: NOW - 994,
        requests: 4,
        failed: 1,
        refused: 0,
        input: 40,
        output: 12,
        cost_nano_usd: 28,
        unpriced: 1,
        models: names(4, &[("m1", 1), ("m2", 1), ("m5", 1), ("m6", 1)]),
        keys: names(2, &[("even", 2), ("odd", 2)]),
        users: names(1, &[("ada", 4)]),
    };
    assert_eq!(sessions[0], expected);
}

pub(crate) async fn sessions_are_found_and_paged(store: &Store) {
    let rows: Vec<LogRow> = (1..=9).map(|number| row(number, &format!("s-{number}"))).collect();
    ingest(store, "one", NOW, 1, &rows).await;
    let mut after = None;
    let mut paged = Vec::new();
    loop {
        let page = store.log_sessions(&SessionFilter::default(), after.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Cursor { started_ms: last.last_ms, id: last.id.clone() });
        paged.extend(page);
    }
    assert_eq!(ids(&paged), ["s-9", "s-8", "s-7", "s-6", "s-5", "s-4", "s-3", "s-2", "s-1"]);
    let any = SessionFilter::default;
    for (filter, expected) in [
        (SessionFilter { id: Some("s-3".to_owned()), ..any() }, vec!["s-3"]),
        (SessionFilter { id: Some("s".to_owned()), ..any() }, vec![]),
        (SessionFilter { starts: Some("s-4".to_owned()), ..any() }, vec!["s-4"]),
        (SessionFilter { starts: Some("s%".to_owned()), ..any() }, vec![]),
        (SessionFilter { starts: Some("s-".to_owned()), model: Some("m2".to_owned()), ..any() }, vec!["s-2"]),
        (SessionFilter { key: Some("even".to_owned()), ..any() }, vec!["s-8", "s-6", "s-4", "s-2"]),
        (SessionFilter { user: Some("bob".to_owned()), ..any() }, vec![]),
        (SessionFilter { since_ms: Some(NOW - 992), ..any() }, vec!["s-9", "s-8"]),
        (SessionFilter { until_ms: Some(NOW - 998), ..any() }, vec!["s-1"]),
    ] {
        assert_eq!(ids(&all(store, &filter).await), expected, "{filter:?}");
    }
}

/// Whatever a client calls its session, its requests are found by what it is shown as.
pub(crate) async fn whatever_a_session_is_called_is_bounded(store: &Store) {
    let long = "\u{1F600}".repeat(2500);
    let strange = ["<img src=x onerror=alert(1)>", "a\0b\nc", long.as_str(), "..", "' OR 1=1 --"];
    let rows: Vec<LogRow> = (1..).zip(strange).map(|(number, session)| row(number, session)).collect();
    ingest(store, "one", NOW, 1, &rows).await;
    let sessions = all(store, &SessionFilter::default()).await;
    assert_eq!(sessions.len(), strange.len());
    for session in &sessions {
        assert!(session.id.chars().count() <= 200, "{}", session.id);
        let found = all(store, &SessionFilter { id: Some(session.id.clone()), ..SessionFilter::default() }).await;
        assert_eq!(ids(&found), [session.id.as_str()]);
        let filter = Filter { terms: vec![("session".to_owned(), session.id.clone())], ..Filter::default() };
        assert_eq!(store.search(&filter, None, 10, NOW).await.unwrap().rows.len(), 1, "{}", session.id);
    }
}

/// A client without a key, a clock that is wrong, a session that is asked for a new model each time.
pub(crate) async fn nobody_makes_sessions_large_or_late(store: &Store) {
    let stranger = LogRow { status: 401, ..row(1, "of nobody") };
    let late = LogRow { started_ms: i64::MAX, ..row(2, "late") };
    let early = LogRow { started_ms: i64::MIN, ..row(3, "early") };
    ingest(store, "one", NOW, 1, &[stranger, late, early]).await;
    let many: Vec<LogRow> = (10..1010).map(|number| row(number, "many")).collect();
    ingest(store, "two", NOW, 1, &many).await;
    let sessions = all(store, &SessionFilter::default()).await;
    let told: Vec<_> = sessions.iter().map(|one| (one.id.as_str(), one.last_ms)).collect();
    assert_eq!(told, [("many", NOW), ("late", NOW), ("early", 0)]);
    assert_eq!((sessions[0].requests, sessions[0].models.total, sessions[0].models.most.len()), (1000, 32, 8));
}

pub(crate) async fn sessions_go_with_their_records(store: &Store) {
    ingest(store, "one", NOW, 1, &[row(1, "old"), row(2, "both")]).await;
    ingest(store, "one", NOW + 1000, 3, &[row(3, "both"), row(4, "new")]).await;
    store.prune_logs(NOW + 500, None).await.unwrap();
    let sessions = all(store, &SessionFilter::default()).await;
    assert_eq!(ids(&sessions), ["new", "both"]);
    assert_eq!(sessions[1].models.most, [("m3".to_owned(), 1)], "names go as well");
    ingest(store, "one", NOW + 2000, 5, &[row(5, "newest"), row(6, "newest")]).await;
    store.prune_logs(0, Some(1)).await.unwrap();
    assert_eq!(ids(&all(store, &SessionFilter::default()).await), ["newest"]);
}
