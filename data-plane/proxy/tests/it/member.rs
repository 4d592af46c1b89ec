//! The node as a member of its fleet: how it joins, how it stays, and that losing its place never costs a request.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Conditions, Link, Upstream};
use gateway_model::secret::Secret;
use gateway_model::token::{Prefix, encode};
use gateway_proxy::config::{Drain, Endpoint, JoinToken, Options, Remote, Source};
use gateway_proxy::{Node, start};
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::{Class, Hello, Redirect};
use serde_json::{Value, json};

use crate::control::{Control, Stream, identity, topology};
use crate::fleet::Fleet;
use crate::gateway::{KEY, client, read, within};

/// A control plane behind a link, with somewhere to send requests.
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) control: Control,
    pub(crate) link: Link,
    pub(crate) upstream: Upstream,
    pub(crate) dir: tempfile::TempDir,
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        let fleet = Fleet::new();
        let (mut control, addr) = Control::join(&fleet).await;
        control.take_usage();
        let upstream = Upstream::start().await;
        upstream.respond_with(|received| openai::answer(received, "hello"));
        let dir = tempfile::tempdir().expect("a directory");
        Self { fleet, control, link: Link::start(addr).await, upstream, dir }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.link.addr())
    }

    /// Starts a node that reaches the control plane over the link.
    pub(crate) fn start(&self, token: Option<Secret>) -> impl Future<Output = anyhow::Result<Node>> + use<> {
        start(self.options(&[self.url()], token))
    }

    fn start_at(&self, urls: &[String], token: Option<Secret>) -> impl Future<Output = anyhow::Result<Node>> + use<> {
        start(self.options(urls, token))
    }

    pub(crate) fn options(&self, urls: &[String], token: Option<Secret>) -> Options {
        let urls = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        let remote = Remote { urls, join_token: token.map(JoinToken::Given) };
        Options {
            data_dir: Some(self.dir.path().to_owned()),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            workers: Some(1),
            drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            ..Options::new(Source::Fleet(Endpoint::Remote(remote)))
        }
    }

    /// A node that starts like this and is fed.
    pub(crate) async fn served(
        &mut self,
        starting: impl Future<Output = anyhow::Result<Node>>,
    ) -> (Node, Stream, Hello) {
        let (node, (stream, hello)) = tokio::join!(starting, self.feed());
        let node = node.expect("the node starts");
        node.ready().await;
        (node, stream, hello)
    }

    /// The node's first stream; it gets revision 1 of everything.
    pub(crate) async fn feed(&mut self) -> (Stream, Hello) {
        let (mut stream, hello) = self.control.stream().await;
        stream.snapshot(Class::Topology, 1, &topology(self.upstream.addr())).await;
        stream.snapshot(Class::Identity, 1, &identity(KEY)).await;
        for _ in 0..2 {
            assert_eq!(stream.ack().await.revision, 1);
        }
        (stream, hello)
    }

    /// A new member that serves, its stream, and what it said first.
    pub(crate) async fn member(&mut self) -> (Node, Stream, Hello) {
        let starting = self.start(Some(self.fleet.token()));
        self.served(starting).await
    }

    fn asked(&self, what: &str) -> usize {
        self.fleet.rules().asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    fn member_file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("member").join(name)
    }
}

pub(crate) async fn chat(node: &Node) -> u16 {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    read(client().post(format!("http://{}/v1/chat/completions", node.addr())).bearer_auth(KEY).json(&body)).await.status
}

/// Status and body of an operator's path.
pub(crate) async fn look(node: &Node, path: &str) -> (u16, Value) {
    let answer = read(client().get(format!("http://{}{path}", node.addr()))).await;
    (answer.status, answer.json())
}

/// Ready, and nothing is amiss.
async fn assert_well(node: &Node) {
    let (status, body) = look(node, "/ready").await;
    assert_eq!((status, &body["status"], &body["warnings"]), (200, &json!("ready"), &Value::Null), "{body}");
}

/// Waits until `/ready` says something that contains this.
async fn warned(node: &Node, text: &str) -> u16 {
    within(text, || async {
        let (status, body) = look(node, "/ready").await;
        body["warnings"].to_string().contains(text).then_some(status)
    })
    .await
}

#[tokio::test]
async fn a_token_lets_in_once_and_the_directory_knows_it_afterwards() {
    let mut world = World::new().await;
    let (node, stream, hello) = world.member().await;
    assert_eq!(chat(&node).await, 200);
    assert_eq!((&hello.node_id, hello.labels["zone"].as_str()), (&node.node_id(), "a"));
    assert_well(&node).await;
    for name in ["ca.pem", "certificate.pem", "key.pem"] {
        let mode = std::fs::metadata(world.member_file(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!world.member_file("key.next.pem").exists());
    node.shutdown().await;
    drop(stream);

    // Without a token, and with one that would be refused: it is not looked at. Nor does a lost id make it another node.
    std::fs::remove_file(world.dir.path().join("node_id")).expect("it is there");
    for token in [None, Some(Secret::new("rubbish"))] {
        let starting = world.start(token);
        let (node, stream, again) = world.served(starting).await;
        assert_eq!(again.node_id, hello.node_id);
        node.shutdown().await;
        drop(stream);
    }
    assert_eq!((world.asked("enrol"), world.asked("renew")), (1, 0));
}

#[tokio::test]
async fn what_does_not_let_in_ends_the_start_and_says_what_to_do() {
    let world = World::new().await;
    let other = Fleet::new();
    for (what, token, expected) in [
        ("none", None, "no member of a fleet yet: give it a join token"),
        ("mistyped", Some(Secret::new("gw_join_abc")), "mistyped or cut short"),
        ("another kind", Some(encode(Prefix::Master, &[1; 32])), "no join token but another kind of key"),
        ("expired", Some(world.fleet.token_of([1; 32])), "the join token has expired"),
        (
            "of another fleet",
            Some(other.token()),
            "is not a control plane of this fleet: the authority of its certificate",
        ),
    ] {
        let shown = token.clone();
        let error = world.start(token).await.err().unwrap_or_else(|| panic!("{what}: it must not start"));
        let error = format!("{error:#}");
        assert!(error.contains(expected) && error.contains("gatewayctl node token create"), "{what}: {error}");
        assert!(shown.is_none_or(|token| !error.contains(token.expose())), "{what}: {error}");
        assert!(!world.dir.path().join("member").exists(), "{what}: nothing is kept");
    }
    // Only the one that was shown to its own fleet was shown at all.
    assert_eq!(world.asked("enrol"), 1);
}

#[tokio::test]
async fn a_control_plane_that_is_away_is_waited_for() {
    let mut world = World::new().await;
    world.link.set(Conditions { refuse: true, ..Conditions::default() });
    let node = world.start(Some(world.fleet.token())).await.expect("it is live all the same");
    assert_eq!(look(&node, "/health").await.0, 200);
    assert_eq!(warned(&node, "has not joined the fleet yet").await, 503);
    assert_eq!(look(&node, "/ready").await.1["reason"], "no_config");
    world.link.set(Conditions::default());
    let (_stream, _) = world.feed().await;
    node.ready().await;
    assert_eq!(chat(&node).await, 200);
    assert_well(&node).await;
}

#[tokio::test]
async fn a_refusal_that_comes_late_is_told() {
    let world = World::new().await;
    world.link.set(Conditions { refuse: true, ..Conditions::default() });
    let node = world.start(Some(world.fleet.token_of([1; 32]))).await.expect("it is live all the same");
    world.link.set(Conditions::default());
    let reason = tokio::time::timeout(gateway_fake::PATIENCE, node.refused()).await.expect("it is refused");
    assert!(reason.contains("the join token has expired"), "{reason}");
    assert!(!node.is_ready(), "it has nothing to serve");
}

#[tokio::test]
async fn an_id_that_another_node_has_is_given_up() {
    let mut world = World::new().await;
    let taken = "node_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    std::fs::write(world.dir.path().join("node_id"), taken).expect("write");
    world.fleet.rules().taken.push(taken.to_owned());
    let (node, _stream, hello) = world.member().await;
    assert_ne!(hello.node_id, taken);
    assert_eq!(hello.node_id, node.node_id());
    let kept = std::fs::read_to_string(world.dir.path().join("node_id")).expect("it is kept");
    assert_eq!(kept.trim(), hello.node_id);
    assert_eq!(world.asked(&format!("enrol {taken}")), 1);
}

/// Somebody who took over the address learns nothing.
#[tokio::test]
async fn a_control_plane_of_another_authority_gets_nothing() {
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    node.shutdown().await;
    drop(stream);
    let other = Fleet::new();
    let (_control, addr) = Control::join(&other).await;
    let node = world.start_at(&[format!("https://{addr}")], Some(other.token())).await.expect("a member starts");
    within("the node to try", || async { (other.rules().n_strangers > 0).then_some(()) }).await;
    assert!(other.rules().asked.is_empty(), "{:?}", other.rules().asked);
    node.shutdown().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_stream_being_dropped() {
    let mut world = World::new().await;
    world.fleet.rules().life_s = 4;
    let (node, mut stream, _) = world.member().await;
    let read = |name: &str| std::fs::read(world.member_file(name)).expect("it is kept");
    let (first, first_key) = (read("certificate.pem"), read("key.pem"));
    within("the new key on disk", || async { (read("key.pem") != first_key).then_some(()) }).await;
    assert_eq!(world.asked("renew"), 1);
    assert_ne!(read("certificate.pem"), first);
    // The stream of before lives.
    let mut items = topology(world.upstream.addr());
    items.pop();
    stream.snapshot(Class::Topology, 2, &items).await;
    assert_eq!(stream.ack().await.revision, 2);
    let id = node.node_id();
    assert_eq!(world.asked(&format!("fleet {id} #1")), 0, "nothing has connected anew");
    // What connects anew shows the new one.
    world.link.reset_all();
    let (_stream, hello) = world.control.stream().await;
    assert_eq!(hello.have[0].revision, 2);
    assert!(world.asked(&format!("fleet {id} #1")) > 0);
    node.shutdown().await;
}

#[tokio::test]
async fn one_that_expired_in_the_meantime_is_renewed_before_anything_else() {
    let mut world = World::new().await;
    world.fleet.rules().life_s = -5 * 24 * 60 * 60;
    let (node, _stream, _) = world.member().await;
    let id = node.node_id();
    let asked = world.fleet.rules().asked.clone();
    assert_eq!(asked[..2], [format!("enrol {id}"), format!("renew {id}")], "{asked:?}");
    assert!(asked[2..].iter().all(|asked| *asked == format!("fleet {id} #1")), "{asked:?}");
    node.shutdown().await;
}

/// A connection outlives the certificate that it was opened with: when streams are refused on it, there is a newer one.
#[tokio::test]
async fn a_certificate_that_runs_out_under_an_open_connection_is_replaced_there() {
    let mut world = World::new().await;
    world.fleet.rules().life_s = 4;
    let (node, stream, _) = world.member().await;
    within("a renewal", || async { (world.asked("renew") > 0).then_some(()) }).await;
    within("the end of the first", || async { world.fleet.has_ended(0).then_some(()) }).await;
    // Its stream reaches its age; the next one is refused on this connection.
    drop(stream);
    let (_stream, hello) = world.control.stream().await;
    assert_eq!(hello.node_id, node.node_id());
    assert!(world.asked(&format!("fleet {} #1", node.node_id())) > 0);
    assert_eq!(world.asked("renew"), 1, "the newer one was there already");
    node.shutdown().await;
}

#[tokio::test]
async fn a_revoked_node_serves_on_and_says_so() {
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    world.fleet.rules().is_revoked = true;
    drop(stream);
    world.link.reset_all();
    assert_eq!(warned(&node, "the control plane refuses this node: the node was revoked").await, 200);
    assert_eq!(chat(&node).await, 200);
    let (_, ready) = look(&node, "/ready").await;
    assert!(
        ready["warnings"][0].as_str().is_some_and(|text| text.contains("start it with a new join token")),
        "{ready}"
    );
    node.shutdown().await;

    // It never exits for that, at the next start neither.
    let node = world.start(None).await.expect("the node starts");
    assert_eq!(look(&node, "/health").await.0, 200);
    warned(&node, "the node was revoked").await;
    node.shutdown().await;
}

#[tokio::test]
async fn one_of_two_addresses_is_enough() {
    let mut world = World::new().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
    let urls = [format!("https://{closed}"), world.url()];
    for _ in 0..3 {
        // The first that is tried is another one each time.
        let starting = world.start_at(&urls, Some(world.fleet.token()));
        let (node, stream, _) = world.served(starting).await;
        node.shutdown().await;
        drop(stream);
    }
    // A second replica, and the node goes where it is told to.
    let (mut second, addr) = Control::join(&world.fleet).await;
    let urls = [world.url(), format!("https://{addr}")];
    let node = world.start_at(&urls, None).await.expect("the node starts");
    let on_first = tokio::select! {
        (stream, _) = world.control.stream() => (true, stream),
        (stream, _) = second.stream() => (false, stream),
    };
    let redirect = Redirect { endpoint: String::new(), retry_after_ms: 1 };
    on_first.1.send(Msg::Redirect(redirect)).await;
    let other = if on_first.0 { &mut second } else { &mut world.control };
    let (_stream, hello) = other.stream().await;
    assert_eq!(hello.node_id, node.node_id());
}

#[tokio::test]
async fn damaged_files_end_the_start_with_their_name() {
    let mut world = World::new().await;
    let (node, stream, _) = world.member().await;
    node.shutdown().await;
    drop(stream);
    let key = std::fs::read(world.member_file("key.pem")).expect("it is there");
    for (name, content, expected) in [
        (
            "certificate.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "no X.509 certificate",
        ),
        ("certificate.pem", Some("rubbish"), "it holds no certificate"),
        ("ca.pem", Some(""), "it holds no certificate"),
        ("ca.pem", None, "it is missing"),
        ("key.pem", Some("rubbish"), "it is no private key"),
        ("key.pem", None, "it is missing"),
    ] {
        let path = world.member_file(name);
        let good = std::fs::read(&path).expect("it is there");
        match content {
            Some(content) => std::fs::write(&path, content).expect("write"),
            None => std::fs::remove_file(&path).expect("it is there"),
        }
        let error = format!("{:#}", world.start(Some(world.fleet.token())).await.err().expect(name));
        assert!(error.contains(expected) && error.contains(&path.display().to_string()), "{name}: {error}");
        assert!(error.contains("start with a new join token"), "{name}: {error}");
        std::fs::write(&path, good).expect("write");
    }
    // A crash between the certificate and its key is none: the key was there before.
    std::fs::write(world.member_file("key.next.pem"), key).expect("write");
    std::fs::write(world.member_file("key.pem"), rcgen::KeyPair::generate().expect("a key").serialize_pem())
        .expect("write");
    let node = world.start(None).await.expect("it starts");
    assert!(Path::new(&world.member_file("key.pem")).exists() && !world.member_file("key.next.pem").exists());
    node.shutdown().await;
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let mut world = World::new().await;
    world.fleet.rules().skew_ms = 60 * 60 * 1000;
    let (node, mut stream, _) = world.member().await;
    assert_eq!(chat(&node).await, 200);
    assert_eq!(warned(&node, "s behind the control plane's; set it (NTP)").await, 200);
    let warnings = stream.warnings().await;
    assert!(warnings.iter().any(|warning| warning.contains("this node's clock is")), "{warnings:?}");
}
