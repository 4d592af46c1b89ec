//! Places, queues, and what an account bears.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::*;

fn gate(max: u32, queue: u32) -> Gate {
    Gate::compile(&Concurrency { max, queue: Some(queue), adaptive: None }, None)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn place(gate: &Gate) -> Slot {
    match gate.enter(Instant::now()) {
        Entry::Place(slot) => slot,
        other => panic!("{other:?}"),
    }
}

fn ticket(gate: &Gate) -> Ticket {
    match gate.enter(Instant::now()) {
        Entry::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn standing(gate: &Gate) -> (u32, u32, usize) {
    let Standing { limit, n_under_way, n_waiting } = gate.standing();
    (limit, n_under_way, n_waiting)
}

#[test]
fn places_are_given_in_order_and_the_queue_ends() {
    let gate = gate(2, 2);
    let (one, two) = (place(&gate), place(&gate));
    let (mut first, mut second) = (ticket(&gate), ticket(&gate));
    assert!(matches!(gate.enter(Instant::now()), Entry::Full));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(first.poll(&waker, Instant::now()).is_pending() && second.poll(&waker, Instant::now()).is_pending());
    drop(one);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "one place is one request's");
    assert!(second.poll(&waker, Instant::now()).is_pending(), "who came first is first");
    let Poll::Ready(three) = first.poll(&waker, Instant::now()) else { panic!("it is its turn") };
    assert_eq!(standing(&gate), (2, 2, 1));
    drop((two, three));
    // Whoever leaves the queue with a place in hand gives it back.
    drop(second);
    assert_eq!(standing(&gate), (2, 0, 0));
    let (_one, _two) = (place(&gate), place(&gate));
    drop(ticket(&gate));
    assert_eq!(standing(&gate), (2, 2, 0));
}

#[test]
fn other_rules_hold_for_those_who_wait_already() {
    let old = gate(1, 5);
    let _one = place(&old);
    let mut waits = ticket(&old);
    let new = Gate::compile(&Concurrency { max: 3, queue: Some(0), adaptive: None }, Some(&old));
    let _two = place(&new);
    let Poll::Ready(_three) = waits.poll(Waker::noop(), Instant::now()) else { panic!("there is room now") };
    assert_eq!(standing(&new), (3, 3, 0));
    assert!(matches!(new.enter(Instant::now()), Entry::Full));
}

/// An account that answers in 100 ms up to `capacity` requests at once, and later in proportion to more.
fn settled(max: u32, capacity: u32) -> u32 {
    let document = Concurrency { max, queue: None, adaptive: Some(true) };
    let gate = Gate::compile(&document, None);
    let (began, mut limits) = (Instant::now(), Vec::new());
    for round in 0..2000 {
        let now = began + Duration::from_millis(100) * round;
        let mut slots = Vec::new();
        while let Entry::Place(slot) = gate.enter(now) {
            slots.push(slot);
        }
        let n = u32::try_from(slots.len()).expect("few");
        let took = Duration::from_millis(100) * n.max(capacity) / capacity;
        slots.iter_mut().for_each(|slot| slot.answered(now + took));
        // Beyond three times what it bears it says so.
        if n > 3 * capacity {
            slots[0].failed(&Failure::new(Code::UpstreamOverloaded, "x"), now + took);
        }
        drop(slots);
        limits.push(gate.standing().limit);
    }
    // The usual one of the second half: now and then the load is taken back to look.
    let half = &mut limits[1000..];
    half.sort_unstable();
    half[half.len() / 2]
}

#[test]
fn what_an_account_bears_is_found() {
    for (max, capacity) in [(200, 10), (200, 40), (1000, 100)] {
        let found = settled(max, capacity);
        assert!((capacity..=4 * capacity).contains(&found), "{found} of {capacity}");
    }
    assert_eq!(settled(20, 1000), 20, "never more than it may");
}

#[test]
fn too_much_shrinks_it_once_for_all_who_were_told() {
    let gate = Gate::compile(&Concurrency { max: 100, queue: None, adaptive: Some(true) }, None);
    let now = Instant::now();
    let mut slots: Vec<Slot> = (0..5).map(|_| place(&gate)).collect();
    slots[0].answered(now + Duration::from_secs(1));
    let before = gate.standing().limit;
    for slot in &mut slots {
        slot.failed(&Failure::new(Code::UpstreamRateLimited, "x"), now);
    }
    assert_eq!(gate.standing().limit, before * 3 / 4);
    slots[0].failed(&Failure::new(Code::UpstreamRefused, "x"), now + Duration::from_secs(9));
    assert_eq!(gate.standing().limit, before * 3 / 4, "a bad request says nothing");
    for second in 0..200 {
        slots[0].failed(&Failure::new(Code::UpstreamRateLimited, "x"), now + Duration::from_secs(10 * second));
    }
    assert_eq!(gate.standing().limit, 1);
}
