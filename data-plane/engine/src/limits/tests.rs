//! Admission and settlement.

use super::*;

/// Somebody with limits.
struct Owner(Arc<Limits>);

impl Limited for Owner {
    fn limits(&self) -> &Arc<Limits> {
        &self.0
    }
}

fn owner(rpm: Option<u64>, now: Instant) -> Owner {
    Owner(Arc::new(Limits::new("vk_1".into(), Spec { rpm }, now)))
}

#[test]
fn a_refusal_has_the_shape_that_clients_know() {
    let now = Instant::now();
    let caller = owner(Some(120), now);
    for remaining in (0..120).rev() {
        let permit = admit(&caller, now).expect("within the limit");
        assert_eq!(permit.rate(), Some(Rate { limit: 120, remaining }));
    }
    let failure = admit(&caller, now).expect_err("over the limit");
    assert_eq!(failure.message, "Key vk_1 exceeded its 120 req/min limit.");
    assert_eq!((failure.code, failure.status, failure.limit_kind), (Code::RateLimited, 429, Some("rpm")));
    assert_eq!(failure.retry_after, Some(Duration::from_millis(500)));
    assert!(admit(&caller, now + Duration::from_millis(500)).is_ok(), "after what the refusal said");
}

#[test]
fn no_limit_is_no_limit() {
    let now = Instant::now();
    let caller = owner(None, now);
    for _ in 0..10_000 {
        assert_eq!(admit(&caller, now).expect("unlimited").rate(), None);
    }
}

#[test]
fn one_refusal_gives_the_others_back() {
    let now = Instant::now();
    let limit =
        |limit| Limit { kind: Kind::RequestsPerMinute, rate: rate::Rate::new(limit, Duration::from_secs(60), now) };
    let limits = Limits { owner: "vk_1".into(), list: Box::new([limit(10), limit(3)]), n_open: AtomicUsize::new(0) };
    let caller = Owner(Arc::new(limits));
    for remaining in [2, 1, 0] {
        let permit = admit(&caller, now).expect("both have room");
        assert_eq!(permit.rate(), Some(Rate { limit: 3, remaining }), "the tightest is shown");
    }
    for _ in 0..50 {
        assert!(admit(&caller, now).is_err());
    }
    assert_eq!(caller.0.list[0].rate.take(now), Ok(6), "refused requests took nothing from the wider limit");
}

#[test]
fn every_permit_settles_once_whatever_happens_to_it() {
    let now = Instant::now();
    let caller = owner(Some(100), now);
    let permits: Vec<Permit> = (0..4).map(|_| admit(&caller, now).expect("within the limit")).collect();
    assert_eq!(caller.0.n_open(), 4);
    for (n, permit) in permits.into_iter().enumerate() {
        match n {
            0 => permit.settle(Settlement { usage: Usage { input: 5, ..Usage::default() } }),
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
    assert_eq!(caller.0.n_open(), 0);
}
