//! What opens a breaker and closes it, who cools down for how long, and what fades.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RULES: Breaker = Breaker { failures: 3, open: Duration::from_secs(30), trials: 1 };

/// What befalls one target, second by second.
struct Course {
    health: Arc<Health>,
    now: Instant,
}

impl Course {
    fn new() -> Self {
        let (health, now) = (Arc::<Health>::default(), Instant::now());
        health.ms(now);
        Self { health, now }
    }

    fn seat(&self) -> Result<Seat, Skip> {
        Seat::take(&self.health, Some(RULES), self.now)
    }

    fn fails(&self, code: Code) {
        self.fails_with(&Failure::new(code, "x"));
    }

    fn fails_with(&self, failure: &Failure) {
        let mut seat = Seat::force(&self.health, Some(RULES), self.now);
        seat.failed(failure, self.now);
    }

    fn answers(&self) {
        let mut seat = self.seat().expect("a place");
        seat.answered(self.now + SECOND);
    }

    fn state(&self) -> &'static str {
        self.health.state(self.now).name()
    }

    /// In seconds; `None`: it may be asked.
    fn skipped(&self) -> Option<(&'static str, Option<u64>)> {
        let skip = self.health.look(Some(&RULES), self.now).err()?;
        Some((skip.name(), skip.left().map(|left| left.as_secs_f64().round() as u64)))
    }
}

#[test]
fn breaker_three_states() {
    let mut course = Course::new();
    for expected in ["closed", "closed", "open"] {
        course.fails(Code::UpstreamError);
        assert_eq!(course.state(), expected);
    }
    let (name, left) = course.skipped().expect("open");
    assert!(name == "breaker_open" && (28..=32).contains(&left.expect("a time")), "{left:?}");
    course.now += 32 * SECOND;
    assert_eq!((course.state(), course.skipped()), ("half_open", None));
    // One tries; while it does the others stay away; that it is given up without a result changes nothing.
    let trial = course.seat().expect("one trial");
    assert_eq!(course.seat().err(), Some(Skip::OnTrial));
    drop(trial);
    assert_eq!(course.state(), "half_open");
    let mut trial = course.seat().expect("one trial");
    trial.failed(&Failure::new(Code::UpstreamError, "x"), course.now);
    drop(trial);
    let left = course.skipped().expect("open again").1.expect("a time");
    assert!((57..=63).contains(&left), "the second time is twice as long: {left}");
    course.now += 63 * SECOND;
    course.answers();
    assert_eq!((course.state(), course.skipped()), ("closed", None));
    course.fails(Code::UpstreamError);
    assert_eq!(course.state(), "closed", "the count begins anew");
}

#[test]
fn only_what_the_target_is_at_fault_for_counts() {
    for (code, expected) in [
        (Code::UpstreamError, "open"),
        (Code::UpstreamOverloaded, "open"),
        (Code::UpstreamUnreachable, "open"),
        (Code::UpstreamGarbage, "open"),
        (Code::UpstreamCut, "open"),
        (Code::ConnectTimeout, "open"),
        (Code::FirstByteTimeout, "open"),
        (Code::IdleTimeout, "open"),
        (Code::TotalTimeout, "open"),
        (Code::UpstreamRefused, "closed"),
        (Code::UpstreamRateLimited, "closed"),
        (Code::UpstreamCredential, "closed"),
        (Code::InvalidRequest, "closed"),
        (Code::NoProviderCredential, "closed"),
        (Code::ClientGone, "closed"),
        (Code::ShuttingDown, "closed"),
    ] {
        let course = Course::new();
        (0..5).for_each(|_| course.fails(code));
        assert_eq!(course.state(), expected, "{code:?}");
    }
}

#[test]
fn half_of_many_is_enough() {
    let mut course = Course::new();
    for n in 0..10 {
        assert_eq!(course.state(), "closed", "{n}");
        course.answers();
        course.fails(Code::UpstreamError);
    }
    assert_eq!(course.state(), "open");
    // What is long ago does not count.
    let late = Course::new();
    (0..19).for_each(|_| late.answers());
    course = Course { now: late.now + 40 * SECOND, ..late };
    course.fails(Code::UpstreamError);
    assert_eq!(course.state(), "closed");
}

#[test]
fn pauses_by_what_the_target_says() {
    let limited = || Failure::new(Code::UpstreamRateLimited, "x");
    let quota = Failure { upstream_code: Some("insufficient_quota".to_owned()), ..limited() };
    let cases = [
        (Failure::new(Code::UpstreamCredential, "x"), 120),
        (limited().with_retry_after(Some(7 * SECOND)), 7),
        (limited().with_retry_after(Some(7000 * SECOND)), 300),
        (quota, 60),
        (Failure::new(Code::UpstreamOverloaded, "x").with_retry_after(Some(4 * SECOND)), 4),
    ];
    for (failure, expected) in cases {
        let course = Course::new();
        course.fails_with(&failure);
        assert_eq!(course.skipped(), Some(("cooling_down", Some(expected))), "{failure:?}");
    }
    let mut course = Course::new();
    for expected in [1, 1, 2, 4, 8] {
        course.fails_with(&limited());
        assert_eq!(course.skipped(), Some(("cooling_down", Some(expected))), "0.5 s, doubled each time");
        course.now += expected as u32 * SECOND;
    }
    course.answers();
    course.fails_with(&limited());
    assert_eq!(course.skipped(), Some(("cooling_down", Some(1))), "an answer ends the row");
}

#[test]
fn what_is_off_is_never_passed_over() {
    let course = Course::new();
    for _ in 0..50 {
        let mut seat = Seat::take(&course.health, None, course.now).expect("no breaker");
        seat.failed(&Failure::new(Code::UpstreamError, "x"), course.now);
    }
    assert_eq!((course.state(), course.health.in_flight()), ("closed", 0));
}

#[test]
fn a_reply_from_before_does_not_close_it() {
    let course = Course::new();
    let mut early = course.seat().expect("closed");
    early.answered(course.now);
    (0..3).for_each(|_| course.fails(Code::UpstreamError));
    drop(early);
    assert_eq!(course.state(), "open");
}

#[test]
fn the_latency_is_an_average_that_fades_and_streams_have_their_own() {
    let mut course = Course::new();
    assert_eq!(course.health.latency_us(false, course.now), 0.0);
    course.answers();
    course.seat().expect("a place").begun(course.now + SECOND / 10);
    course.now += SECOND;
    let fresh = |stream| course.health.latency_us(stream, course.now);
    assert!((999_000.0..=1_000_000.0).contains(&fresh(false)), "{}", fresh(false));
    assert!((98_000.0..=100_000.0).contains(&fresh(true)), "{}", fresh(true));
    course.now += 60 * SECOND;
    let older = course.health.latency_us(false, course.now);
    assert!((499_000.0..=501_000.0).contains(&older), "{older}");
}
