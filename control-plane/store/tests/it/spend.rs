//! Sums by every grouping agree with each other and with the events that they are of.

use std::collections::BTreeMap;

use gateway_store::Store;
use gateway_store::audit::AuditRow;
use gateway_store::spend::{Dimension, Sum, Wanted};
use gateway_store::usage::reprice::{Cost, Piece, Window};
use gateway_store::usage::{Sender, Tokens, Totals, Units, UsageRow};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const DAY_MS: i64 = 86_400_000;

/// What two events of a test may differ in.
type Seed = (u8, u8, u8, u8, Vec<u8>, u32, bool);

fn event(id: String, (day, key, model, team, tags, cost, priced): &Seed) -> UsageRow {
    let tags: Vec<String> = tags.iter().map(|tag| format!("tag {tag}")).collect();
    UsageRow {
        id,
        started_ms: i64::from(*day) * DAY_MS + i64::from(*cost) % DAY_MS,
        key_id: format!("vk_{key}"),
        model: format!("m{model}"),
        provider: format!("p{}", model % 2),
        user: format!("u{}", key % 2),
        team: if *team == 0 { String::new() } else { format!("t{team}") },
        organization: format!("o{}", team % 2),
        tokens: Tokens { input: u64::from(*cost), output: 1, ..Tokens::default() },
        units: Units { searches: u64::from(*day), ..Units::default() },
        cost_nano_usd: i64::from(*cost),
        baseline_nano_usd: baseline(i64::from(*cost)),
        priced: *priced,
        tags: format!("{tags:?}"),
        ..UsageRow::default()
    }
}

/// Not known, what it cost, more, and less.
fn baseline(cost: i64) -> Option<i64> {
    match cost % 4 {
        0 => None,
        1 => Some(cost),
        2 => Some(3 * cost),
        _ => Some(cost / 2),
    }
}

fn names(row: &UsageRow, dimension: Dimension) -> Vec<String> {
    match dimension {
        Dimension::Day => vec![row.started_ms.div_euclid(DAY_MS).to_string()],
        Dimension::Organization => vec![row.organization.clone()],
        Dimension::Team => vec![row.team.clone()],
        Dimension::User => vec![row.user.clone()],
        Dimension::Key => vec![row.key_id.clone()],
        Dimension::Provider => vec![row.provider.clone()],
        Dimension::Model => vec![row.model.clone()],
        Dimension::Tag => {
            let texts = row.tags.trim_matches(['[', ']']).split(", ").map(|tag| tag.trim_matches('"').to_owned());
            let mut tags: Vec<String> = texts.collect();
            tags.sort();
            tags.dedup();
            tags
        }
    }
}

fn add(totals: &mut Totals, row: &UsageRow) {
    totals.requests += 1;
    totals.tokens.input += row.tokens.input;
    totals.tokens.output += row.tokens.output;
    totals.units.searches += row.units.searches;
    totals.cost_nano_usd += if row.priced { row.cost_nano_usd } else { 0 };
    totals.unpriced += u64::from(!row.priced);
    let baseline = row.baseline_nano_usd.filter(|_| row.priced);
    totals.saved_nano_usd += baseline.map_or(0, |baseline| baseline - row.cost_nano_usd);
}

/// The sums as they should be, from the events one by one.
fn expected(rows: &[UsageRow], wanted: &Wanted) -> (BTreeMap<Vec<String>, Totals>, Totals) {
    let (mut sums, mut total) = (BTreeMap::<Vec<String>, Totals>::new(), Totals::default());
    for row in rows {
        let day = row.started_ms.div_euclid(DAY_MS);
        let is_in_time = wanted.from_day.is_none_or(|from| day >= from) && wanted.to_day.is_none_or(|to| day <= to);
        if !is_in_time || wanted.only.iter().any(|(dimension, name)| !names(row, *dimension).contains(name)) {
            continue;
        }
        let mut groups = vec![Vec::new()];
        for dimension in &wanted.by {
            let mut names = names(row, *dimension);
            if let Some((_, only)) = wanted.only.iter().find(|(only, _)| only == dimension) {
                names.retain(|name| name == only);
            }
            let longer = groups.iter().flat_map(|group: &Vec<String>| {
                names.iter().map(|name| group.iter().chain([name]).cloned().collect::<Vec<String>>())
            });
            groups = longer.collect();
        }
        groups.into_iter().for_each(|group| add(sums.entry(group).or_default(), row));
        add(&mut total, row);
    }
    (sums, total)
}

/// All pages.
async fn read(store: &Store, wanted: &Wanted, limit: usize) -> (Vec<Sum>, Totals) {
    let mut all: Vec<Sum> = Vec::new();
    loop {
        let after = all.last().map(|sum| sum.names.clone());
        let spend = store.spend(wanted, after.as_deref(), limit).await.unwrap();
        let is_last = spend.sums.len() < limit || wanted.by.is_empty();
        all.extend(spend.sums);
        if is_last {
            return (all, spend.total);
        }
    }
}

fn check(runtime: &tokio::runtime::Handle, store: &Store, rows: &[UsageRow], wanted: &Wanted, limit: usize) {
    let (found, found_total) = runtime.block_on(read(store, wanted, limit));
    let (sums, total) = expected(rows, wanted);
    let n_found = found.len();
    let found: BTreeMap<Vec<String>, Totals> = found.into_iter().map(|sum| (sum.names, sum.totals)).collect();
    assert_eq!(n_found, found.len(), "no group comes twice: {wanted:?}");
    assert_eq!(found_total, total, "{wanted:?}");
    if wanted.by.is_empty() {
        assert_eq!(found.into_values().next(), Some(total));
        return;
    }
    // The groups that do not tell tags apart hold each request once, so that they add up to the total.
    if !wanted.by.contains(&Dimension::Tag) {
        assert_eq!(found.values().map(|sum| sum.cost_nano_usd).sum::<i64>(), total.cost_nano_usd, "{wanted:?}");
    }
    assert_eq!(found, sums, "{wanted:?}");
}

pub(crate) async fn sums_agree_with_each_other_and_with_the_events(store: &Store) {
    let runtime = tokio::runtime::Handle::current();
    let store = store.clone();
    let runner = std::thread::spawn(move || {
        let seed =
            (0..4_u8, 0..4_u8, 0..4_u8, 0..3_u8, prop::collection::vec(0..3_u8, 0..4), any::<u32>(), any::<bool>());
        let batches = prop::collection::vec(prop::collection::vec(seed, 1..12), 1..5);
        let by = prop::sample::subsequence(Dimension::ALL.to_vec(), 0..=8).prop_shuffle();
        let days = (prop::option::of(0..4_i64), prop::option::of(0..4_i64));
        let only = prop::option::of(prop::sample::select(vec![
            (Dimension::Team, "t1".to_owned()),
            (Dimension::Tag, "tag 1".to_owned()),
            (Dimension::Key, "vk_1".to_owned()),
            (Dimension::Model, "' OR 1=1 --".to_owned()),
        ]));
        let asked = prop::collection::vec((by, days, only, 1..6_usize), 4);
        // One database for all cases: what was there before stays in the sums.
        let all = std::cell::RefCell::new(Vec::new());
        TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() })
            .run(&(batches, asked), |(batches, asked)| {
                let mut all = all.borrow_mut();
                let boot = format!("boot{}", all.len());
                let mut first = 1;
                for batch in batches {
                    let id = |number: usize| format!("r{:06}", all.len() + number);
                    let rows: Vec<UsageRow> =
                        batch.iter().enumerate().map(|(number, seed)| event(id(number), seed)).collect();
                    let from = Sender { node: "n", boot: &boot, at_ms: 1 };
                    runtime.block_on(store.ingest_usage(from, 0, first, &rows)).unwrap();
                    first += rows.len() as u64;
                    all.extend(rows);
                }
                for (by, (from_day, to_day), only, limit) in asked {
                    let wanted = Wanted { by, from_day, to_day, only: only.into_iter().collect() };
                    check(&runtime, &store, &all, &wanted, limit);
                }
                for dimension in Dimension::ALL {
                    check(&runtime, &store, &all, &Wanted { by: vec![dimension], ..Wanted::default() }, 500);
                }
                Ok(())
            })
            .unwrap();
    });
    tokio::task::block_in_place(|| runner.join().unwrap());
}

pub(crate) async fn a_page_goes_on_after_the_last_group(store: &Store) {
    let rows: Vec<UsageRow> =
        (0..4_u8).map(|number| event(format!("r{number}"), &(number, 0, number % 2, 0, Vec::new(), 5, true))).collect();
    store.ingest_usage(Sender { node: "n", boot: "b", at_ms: 1 }, 0, 1, &rows).await.unwrap();
    let wanted = Wanted { by: vec![Dimension::Model, Dimension::Day], ..Wanted::default() };
    let page = store.spend(&wanted, Some(&["m0".to_owned(), "0".to_owned()]), 2).await.unwrap();
    let names: Vec<String> = page.sums.iter().map(|sum| sum.names.join(" ")).collect();
    assert_eq!((names, page.total.requests), (vec!["m0 2".to_owned(), "m1 1".to_owned()], 4));
    // A group of another list is no place to go on from: the list begins anew, and never fails.
    assert_eq!(store.spend(&wanted, Some(&["m0".to_owned()]), 9).await.unwrap().sums.len(), 4);
}

/// Twice what it was, and for one model no price any more; of one provider nobody knows.
fn anew(row: &UsageRow) -> Option<Cost> {
    match (row.model.as_str(), row.provider.as_str()) {
        ("m3", _) => None,
        ("m1", _) => Some(Cost { nano_usd: None, price: String::new() }),
        _ => Some(Cost { nano_usd: Some(2 * row.tokens.input as i64), price: "prices@9".to_owned() }),
    }
}

fn apply(row: &mut UsageRow) {
    if let Some(cost) = anew(row) {
        // Of what nothing was saved, nothing is.
        if row.priced && row.baseline_nano_usd == Some(row.cost_nano_usd) {
            row.baseline_nano_usd = cost.nano_usd;
        }
        (row.cost_nano_usd, row.priced, row.price) = (cost.nano_usd.unwrap_or(0), cost.nano_usd.is_some(), cost.price);
    }
}

async fn reprice(store: &Store, window: &Window) -> Vec<Piece> {
    let (mut pieces, mut after) = (Vec::new(), None);
    loop {
        let entry = |piece: &Piece| AuditRow {
            action: "reprice".to_owned(),
            name: piece.n_changed.to_string(),
            ..AuditRow::default()
        };
        let piece = store.reprice(window, after.as_ref(), 7, anew, entry).await.unwrap();
        after = piece.next.clone();
        pieces.push(piece);
        if after.is_none() {
            return pieces;
        }
    }
}

/// While other requests arrive, and a piece of it twice.
pub(crate) async fn a_window_is_priced_anew_exactly(store: &Store) {
    let seed = |number: u32| -> Seed {
        let tags = (0..number % 3).map(|tag| tag as u8).collect();
        (
            (number % 5) as u8,
            (number % 3) as u8,
            (number % 4) as u8,
            (number % 2) as u8,
            tags,
            1 + number * 7,
            !number.is_multiple_of(6),
        )
    };
    let mut rows: Vec<UsageRow> = (0..100).map(|number| event(format!("r{number:06}"), &seed(number))).collect();
    let from = |boot| Sender { node: "n", boot, at_ms: 1 };
    store.ingest_usage(from("before"), 0, 1, &rows).await.unwrap();
    // Days 1 to 3, but for the end of the last one, whose sums are written by others meanwhile.
    let window = Window { from_ms: DAY_MS, to_ms: 3 * DAY_MS + DAY_MS / 2, ..Window::default() };
    let dry = store.reprice_dry(&window, None, 1_000, anew).await.unwrap();
    assert_eq!((dry.n_requests, dry.next.clone()), (60, None));
    check_all(store, &rows).await;

    let late: Vec<UsageRow> = (0..100)
        .map(|number| event(format!("s{number:06}"), &(3, 0, 0, 0, Vec::new(), (DAY_MS / 2) as u32 + number, true)))
        .collect();
    let arriving = {
        let (store, late) = (store.clone(), late.clone());
        tokio::spawn(async move {
            for (number, row) in late.iter().enumerate() {
                store.ingest_usage(from("late"), 0, number as u64 + 1, std::slice::from_ref(row)).await.unwrap();
            }
        })
    };
    let pieces = reprice(store, &window).await;
    arriving.await.unwrap();
    let sum = |of: fn(&Piece) -> i64| pieces.iter().map(of).sum::<i64>();
    assert_eq!(pieces.len(), 9);
    assert_eq!(sum(|piece| piece.n_requests as i64), 60);
    assert_eq!(sum(|piece| piece.n_kept as i64), dry.n_kept as i64);
    assert_eq!(sum(|piece| piece.n_changed as i64), dry.n_changed as i64);
    assert_eq!(sum(|piece| piece.before.cost_nano_usd), dry.before.cost_nano_usd, "what was told is what was done");
    assert_eq!(sum(|piece| piece.after.cost_nano_usd), dry.after.cost_nano_usd);
    let n_of =
        |is: fn(i64) -> bool| rows.iter().filter_map(UsageRow::saved_nano_usd).filter(|saved| is(*saved)).count();
    assert!(n_of(|saved| saved > 0) > 9 && n_of(|saved| saved == 0) > 9 && n_of(|saved| saved < 0) > 9);
    assert!(dry.n_kept > 0 && dry.n_changed > 0 && dry.before.unpriced != dry.after.unpriced, "{dry:?}");

    rows.iter_mut().filter(|row| (window.from_ms..window.to_ms).contains(&row.started_ms)).for_each(apply);
    rows.extend(late);
    check_all(store, &rows).await;
    let again = reprice(store, &window).await;
    assert!(again.iter().all(|piece| piece.n_changed == 0 && piece.before == piece.after), "{again:?}");
    check_all(store, &rows).await;

    let audit = store.audit(None, 100).await.unwrap();
    assert_eq!(audit.iter().filter(|entry| entry.row.action == "reprice").count(), 18, "one for each piece");
    let only = Window { provider: "p0".to_owned(), model: "m2".to_owned(), ..window.clone() };
    let of_one = store.reprice_dry(&only, None, 1_000, anew).await.unwrap();
    let n_expected =
        rows.iter().filter(|row| row.model == "m2" && (window.from_ms..window.to_ms).contains(&row.started_ms)).count();
    assert_eq!(of_one.n_requests, n_expected as u64);
}

/// The events, and the sums by everything.
async fn check_all(store: &Store, rows: &[UsageRow]) {
    let stored = store.usage(None, 1_000).await.unwrap();
    let by_id: BTreeMap<&str, &UsageRow> = stored.iter().map(|row| (row.id.as_str(), row)).collect();
    for row in rows {
        let found = by_id[row.id.as_str()];
        let told = |row: &UsageRow| (row.priced.then_some(row.cost_nano_usd), row.priced);
        assert_eq!((told(found), &found.price), (told(row), &row.price), "{}", row.id);
        assert_eq!(found.baseline_nano_usd, row.baseline_nano_usd, "{}", row.id);
    }
    for dimension in Dimension::ALL {
        let wanted = Wanted { by: vec![dimension], ..Wanted::default() };
        let (found, found_total) = read(store, &wanted, 500).await;
        let found: BTreeMap<Vec<String>, Totals> = found.into_iter().map(|sum| (sum.names, sum.totals)).collect();
        assert_eq!((found, found_total), expected(rows, &wanted), "{dimension:?}");
    }
}
