//! The store over a real server, shared by several nodes, each with a connection of its own.

use gateway_engine::limits::{Owner, Settlement};
use gateway_ir::usage::Usage;
use gateway_model::limits::Limits as Document;
use gateway_testing::Redis as Server;

use super::*;

/// A machine that is busy with other tests answers late, and that is not what these are about.
const PATIENT: Terms = Terms { deadline: Duration::from_secs(5), when_away: WhenAway::LocalShare };
const N_NODES: u32 = 3;

/// A node with limits of its own copy, as nodes have them.
struct Node {
    store: Arc<LimitStore>,
    limits: Arc<Limits>,
}

impl Node {
    fn new(server: &Server, written: &Document) -> Self {
        let store = LimitStore::open(Some(&Secret::new(server.url()))).expect("a URL");
        Self::of(store, written)
    }

    fn of(store: Arc<LimitStore>, written: &Document) -> Self {
        let limits = Arc::new(Limits::new(Owner::key(&"vk_1".into()), written));
        Self { store, limits }
    }

    async fn ask(&self, n_input: u64) -> Result<Permit, Box<Failure>> {
        let asked = Asked { n_input, max_output: Some(0), n_nodes: N_NODES, ..Asked::default() };
        self.store.admit(Scopes::of_key(Arc::clone(&self.limits)), asked, PATIENT).await
    }

    /// How many of `n` requests pass.
    async fn passed(&self, n: usize) -> usize {
        let mut n_passed = 0;
        for _ in 0..n {
            n_passed += usize::from(self.ask(1).await.is_ok());
        }
        n_passed
    }

    /// Returns when there is nothing to tell.
    async fn told(&self) {
        let Some(redis) = &self.store.redis else { return };
        while self.store.tell(redis).await {}
    }
}

fn rpd(rpd: u64) -> Document {
    Document { rpd: Some(rpd), ..Document::default() }
}

async fn nodes(server: &Server, written: &Document) -> [Node; 3] {
    [(); 3].map(|()| Node::new(server, written))
}

#[tokio::test]
async fn one_limit_for_all_nodes_is_exact() {
    let Some(server) = Server::launch() else { return };
    let nodes = nodes(&server, &rpd(30)).await;
    let counts = futures_util::future::join_all(nodes.iter().map(|node| node.passed(30))).await;
    assert_eq!(counts.iter().sum::<usize>(), 30, "{counts:?}");
    let failure = nodes[1].ask(1).await.expect_err("all is used");
    assert_eq!((failure.status, failure.limit_kind), (429, Some("rpd")));
    let wait = failure.retry_after.expect("a time").as_secs();
    assert!((2700..=2880).contains(&wait), "one comes every 48 minutes: {wait}");
}

#[tokio::test]
async fn a_refused_request_takes_nothing_of_its_other_limits() {
    let Some(server) = Server::launch() else { return };
    let written = Document { rpd: Some(10), input_tpd: Some(100), ..Document::default() };
    let node = Node::new(&server, &written);
    let first = node.ask(60).await.expect("room");
    for _ in 0..5 {
        assert_eq!(node.ask(60).await.expect_err("too many tokens").limit_kind, Some("input_tpd"));
    }
    let left = |permit: &Permit| permit.rates().and_then(|rates| rates.requests).map(|rate| rate.remaining);
    assert_eq!(left(&first), Some(9));
    let second = node.ask(10).await.expect("room");
    assert_eq!(left(&second), Some(8), "five refusals took no request");
}

#[tokio::test]
async fn what_was_used_in_truth_is_known_to_all() {
    let Some(server) = Server::launch() else { return };
    let written = Document { tpd: Some(1000), ..Document::default() };
    let (one, other) = (Node::new(&server, &written), Node::new(&server, &written));
    let permit = one.ask(900).await.expect("room");
    assert!(other.ask(200).await.is_err());
    permit.settle(Settlement { usage: Usage { input: 100, ..Usage::default() } });
    one.told().await;
    let permit = other.ask(800).await.expect("what was not used");
    permit.settle(Settlement { usage: Usage { input: 1500, ..Usage::default() } });
    other.told().await;
    let failure = one.ask(0).await.expect_err("something is owed");
    let wait = failure.retry_after.expect("a time").as_secs();
    assert!((51_000..=51_840).contains(&wait), "600 too many: {wait}");
}

#[tokio::test]
async fn places_are_for_all_nodes_and_come_back() {
    let Some(server) = Server::launch() else { return };
    let written = Document { concurrency: Some(2), ..Document::default() };
    let nodes = nodes(&server, &written).await;
    let (first, second) = (nodes[0].ask(1).await.expect("room"), nodes[1].ask(1).await.expect("room"));
    assert_eq!(nodes[2].ask(1).await.expect_err("two at once").limit_kind, Some("parallel"));
    drop(first);
    nodes[0].told().await;
    nodes[2].told().await;
    let third = nodes[2].ask(1).await.expect("a place");
    assert!(nodes[0].ask(1).await.is_err());
    drop((second, third));
}

#[tokio::test]
async fn a_server_that_lost_its_memory_hears_what_nodes_know_once() {
    let Some(mut server) = Server::launch() else { return };
    let nodes = nodes(&server, &rpd(30)).await;
    for node in &nodes {
        assert_eq!(node.passed(7).await, 7);
    }
    server.stop();
    server.start();
    // Whoever comes first, and however many say it: 21 were used, as the last of them knows. Each finds its connection broken first.
    let counts = futures_util::future::join_all(nodes.iter().map(|node| node.passed(10))).await;
    let n_more: usize = counts.iter().sum();
    assert!(n_more <= 9, "{counts:?}");
    assert_eq!(nodes[2].passed(5).await, 0);
}

#[tokio::test]
async fn without_the_server_each_node_has_its_part() {
    let Some(mut server) = Server::launch() else { return };
    let nodes = nodes(&server, &rpd(30)).await;
    for node in &nodes {
        assert_eq!(node.passed(2).await, 2);
    }
    server.stop();
    let mut n_passed = 6;
    for node in &nodes {
        let n_here = node.passed(30).await;
        assert!(n_here <= 10, "{n_here}");
        assert!(node.store.breaker.is_open(Instant::now()), "three failures are enough");
        n_passed += n_here;
    }
    assert!((24..=34).contains(&n_passed), "{n_passed}: parts of what each knew to be left, 28, 26 and 24 of 30");
    let permit = nodes[0].ask(0).await;
    assert!(permit.is_err(), "its part is used");

    // It comes back with nothing, and hears of it.
    server.start();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for node in &nodes {
        node.told().await;
    }
    assert!(nodes[0].store.is_asked());
    let n_more = nodes[1].passed(30).await;
    assert!(n_more <= 5, "{n_more}");
}

#[tokio::test]
async fn what_is_done_without_the_server_is_for_the_configuration_to_say() {
    let away = LimitStore::open(None).expect("no URL");
    let node = Node::of(away, &rpd(3));
    for (when_away, n_expected) in [(WhenAway::Closed, 0), (WhenAway::LocalShare, 1), (WhenAway::Open, 10)] {
        let mut n_passed = 0;
        for _ in 0..10 {
            let asked = Asked { n_nodes: N_NODES, ..Asked::default() };
            let scopes = Scopes::of_key(Arc::clone(&node.limits));
            let admitted = node.store.admit(scopes, asked, Terms { when_away, ..PATIENT }).await;
            if when_away == WhenAway::Closed {
                assert_eq!(admitted.as_ref().expect_err("closed").limit_kind, Some("limit_store"));
            }
            n_passed += usize::from(admitted.is_ok());
        }
        assert_eq!(n_passed, n_expected, "{when_away:?}");
    }
    assert_eq!(node.limits.n_open(), 0);
}

#[tokio::test]
async fn a_server_without_functions_has_a_script() {
    let Some(server) = Server::launch() else { return };
    let mut store = LimitStore::open(Some(&Secret::new(server.url()))).expect("a URL");
    store = Arc::new_cyclic(|this| {
        let old = Arc::into_inner(store).expect("nobody else has it");
        LimitStore { redis: old.redis.map(Redis::without_functions), this: Weak::clone(this), ..old }
    });
    let node = Node::of(store, &rpd(3));
    assert_eq!(node.passed(10).await, 3);
    assert!(node.store.is_asked());
}
