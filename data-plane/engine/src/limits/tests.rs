//! Admission and settlement.

use super::*;

fn limits(written: Document) -> Arc<Limits> {
    Arc::new(Limits::new(Owner::key(&"vk_1".into()), &written))
}

fn rpm(rpm: u64) -> Document {
    Document { rpm: Some(rpm), ..Document::default() }
}

fn tokens(n_input: u64, max_output: u64) -> Asked {
    Asked { n_input, max_output: Some(max_output), n_nodes: 1, ..Asked::default() }
}

fn used(input: u64, output: u64) -> Settlement {
    Settlement { usage: Usage { input, output, ..Usage::default() } }
}

#[test]
fn a_refusal_has_the_shape_that_clients_know() {
    let (key, now) = (limits(rpm(120)), Instant::now());
    let scopes = || Scopes::of_key(Arc::clone(&key));
    for remaining in (0..120).rev() {
        let shown = admit(scopes(), Asked::default(), now).expect("within the limit").rates().expect("a limit");
        assert_eq!(shown.requests.map(|rate| (rate.limit, rate.remaining)), Some((120, remaining)));
    }
    let failure = admit(scopes(), Asked::default(), now).expect_err("over the limit").failure;
    assert_eq!(failure.message, "Key vk_1 exceeded its 120 req/min limit.");
    assert_eq!((failure.code, failure.status, failure.limit_kind), (Code::RateLimited, 429, Some("rpm")));
    assert_eq!(failure.retry_after, Some(Duration::from_millis(500)));
    assert!(admit(scopes(), Asked::default(), now + Duration::from_millis(500)).is_ok(), "after what it said");
}

#[test]
fn no_limit_is_no_limit() {
    let (key, now) = (limits(Document::default()), Instant::now());
    for _ in 0..10_000 {
        let permit = admit(Scopes::of_key(Arc::clone(&key)), tokens(u64::MAX, u64::MAX), now).expect("unlimited");
        assert_eq!(permit.rates(), None);
    }
}

#[test]
fn each_kind_of_limit_has_its_own_refusal() {
    let cases = [
        (Document { rps: Some(1), ..Document::default() }, "Key vk_1 exceeded its 1 req/s limit.", "rps"),
        (Document { tpm: Some(100), ..Document::default() }, "Key vk_1 exceeded its 100 tokens/min limit.", "tpm"),
        (
            Document { input_tpd: Some(60), ..Document::default() },
            "Key vk_1 exceeded its 60 input tokens/day limit.",
            "input_tpd",
        ),
        (
            Document { output_tph: Some(40), ..Document::default() },
            "Key vk_1 exceeded its 40 output tokens/h limit.",
            "output_tph",
        ),
        (
            Document { concurrency: Some(1), ..Document::default() },
            "Key vk_1 exceeded its limit of 1 requests at once.",
            "parallel",
        ),
    ];
    for (written, message, kind) in cases {
        let (key, now) = (limits(written.clone()), Instant::now());
        let scopes = || Scopes::of_key(Arc::clone(&key));
        let _first = admit(scopes(), tokens(60, 40), now).expect(kind);
        let failure = admit(scopes(), tokens(60, 40), now).expect_err(kind).failure;
        assert_eq!((&*failure.message, failure.limit_kind, failure.status), (message, Some(kind), 429));
        assert!(key.are(&written) && key.written() == written);
    }
}

#[test]
fn one_request_may_not_be_larger_than_it_may() {
    let key = limits(Document { max_tokens: Some(1000), ..Document::default() });
    let ask = |asked| admit(Scopes::of_key(Arc::clone(&key)), asked, Instant::now());
    assert!(ask(tokens(600, 400)).is_ok() && ask(Asked { n_input: 1000, ..Asked::default() }).is_ok());
    let failure = ask(tokens(600, 401)).expect_err("too many").failure;
    assert_eq!((failure.status, failure.limit_kind, key.n_open()), (400, Some("max_tokens"), 0));
}

#[test]
fn tokens_count_by_what_was_used() {
    let (key, now) = (limits(Document { tpm: Some(1000), ..Document::default() }), Instant::now());
    let ask = |asked| admit(Scopes::of_key(Arc::clone(&key)), asked, now);
    let remaining = |permit: &Permit| permit.rates().and_then(|rates| rates.tokens).map(|rate| rate.remaining);
    let first = ask(tokens(100, 300)).expect("room");
    assert_eq!(remaining(&first), Some(600));
    first.settle(used(90, 10));
    let second = ask(Asked { n_input: 100, ..Asked::default() }).expect("room");
    assert_eq!(remaining(&second), Some(700), "100 were used, 100 are asked, a tenth of the limit is expected");
    second.settle(used(100, 1100));
    // 1300 were used of 1000: 300 are owed, which takes 18 seconds.
    let failure = ask(tokens(0, 0)).expect_err("something is owed").failure;
    assert_eq!((failure.limit_kind, failure.retry_after), (Some("tpm"), Some(Duration::from_secs(18))));
}

#[test]
fn all_of_everybody_or_none_of_anybody() {
    let now = Instant::now();
    let several = Document { rpm: Some(10), tpm: Some(1000), concurrency: Some(5), ..Document::default() };
    let (key, team) = (limits(several), limits(rpm(3)));
    let scopes = || Scopes::of_key(Arc::clone(&key)).with(None, Some(Arc::clone(&team)), None);
    let permits: Vec<Permit> = [2, 1, 0]
        .into_iter()
        .map(|remaining| {
            let permit = admit(scopes(), tokens(10, 10), now).expect("both have room");
            let requests = permit.rates().and_then(|rates| rates.requests);
            assert_eq!(requests.map(|rate| (rate.limit, rate.remaining)), Some((3, remaining)), "the tightest");
            permit
        })
        .collect();
    for _ in 0..50 {
        assert!(admit(scopes(), tokens(10, 10), now).is_err());
    }
    assert_eq!((key.n_open(), team.n_open()), (3, 3), "refused requests are not open");
    let left: Vec<u64> = key.rates.iter().map(|limit| limit.rate.left(rate::moment(now))).collect();
    assert_eq!(left, [7, 940], "refused requests took nothing from the wider limits");
    drop(permits);
    assert_eq!((key.n_open(), team.n_open()), (0, 0));
}

#[test]
fn every_permit_settles_once_whatever_happens_to_it() {
    let (key, now) =
        (limits(Document { tpm: Some(1000), concurrency: Some(4), ..Document::default() }), Instant::now());
    let permits: Vec<Permit> = (0..4)
        .map(|_| admit(Scopes::of_key(Arc::clone(&key)), tokens(50, 50), now).expect("within the limits"))
        .collect();
    assert_eq!(key.n_open(), 4);
    for (n, permit) in permits.into_iter().enumerate() {
        match n {
            0 => permit.settle(used(5, 0)),
            1 => drop(permit),
            2 => {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _held = permit;
                    std::panic::resume_unwind(Box::new("the request's own panic"));
                }));
                assert!(caught.is_err());
            }
            _ => std::thread::spawn(move || permit.settle(Settlement::default())).join().expect("no panic"),
        }
    }
    assert_eq!(key.n_open(), 0);
    assert_eq!(key.rates[0].rate.left(rate::moment(now)), 1000 - 5 - 100 - 100, "what nobody settled stays taken");
}

#[test]
fn requests_at_once_are_counted_exactly_by_any_number_of_threads() {
    let key = limits(Document { concurrency: Some(8), ..Document::default() });
    let ask = || admit(Scopes::of_key(Arc::clone(&key)), Asked::default(), Instant::now()).ok();
    let all: Vec<_> = std::iter::from_fn(ask).collect();
    assert_eq!(all.len(), 8);
    drop(all);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let permits: Vec<_> = (0..5).filter_map(|_| ask()).collect();
                    assert!(key.n_open() <= 8);
                    drop(permits);
                }
            });
        }
    });
    assert_eq!(key.n_open(), 0);
}

#[test]
fn nodes_together_get_no_more_than_one_would() {
    let written = Document { rpm: Some(30), tpm: Some(3000), concurrency: Some(6), ..Document::default() };
    let (nodes, now) = ([(); 3].map(|()| limits(written.clone())), Instant::now());
    let asked = Asked { n_nodes: 3, ..tokens(50, 50) };
    let mut admitted = 0;
    for key in &nodes {
        while let Ok(permit) = admit(Scopes::of_key(Arc::clone(key)), asked, now) {
            admitted += 1;
            permit.settle(used(50, 50));
        }
    }
    assert_eq!(admitted, 30);
    let places = limits(Document { concurrency: Some(6), ..Document::default() });
    let held: Vec<_> = std::iter::from_fn(|| admit(Scopes::of_key(Arc::clone(&places)), asked, now).ok()).collect();
    assert_eq!(held.len(), 2);
}
