//! What serves, what is kept and what is told, through crashes, full disks and flipped memory. Time is paused.

use gateway_engine::identity::{KeyEntry, Peppers, identify};
use gateway_testing::figure;
use gateway_wire::seal::{Key as SealKey, Purpose};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{
    Bookmark, BucketRequest, Codec, Delta, ItemList, Key, KeyLimits, Pepper, Repair, SnapshotBegin, SnapshotChunk,
    SnapshotEnd, Status,
};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::state::Live;
use crate::sync::apply::Applier;
use crate::sync::disk::tests::power::PowerFolder;

const EPOCH: &str = "epoch";
const PEPPER: [u8; 32] = [7; 32];

/// A node in one process: dropped, it has crashed.
struct Node {
    holder: Holder<Applier>,
    live: Arc<Live>,
    warnings: Arc<Warnings>,
}

fn secret(number: u64) -> String {
    format!("a-key-of-this-test-{number}")
}

fn key(number: u64, enabled: bool) -> Item {
    let peppers = Peppers::new([(1, PEPPER)]).expect("a pepper");
    let (pepper_version, digest) = peppers.digest(&secret(number)).expect("a pepper");
    let key = Key {
        name: format!("key {number}"),
        pepper_version,
        digest: digest.to_vec(),
        enabled,
        models: vec!["*".to_owned()],
        limits: Some(KeyLimits::default()),
        metadata: [("team".to_owned(), number.to_string())].into(),
        ..Key::default()
    };
    Item { kind: "key".to_owned(), id: format!("vk_{number}"), body: Some(Body::Key(key)), ..Item::default() }
}

/// The pepper and ten keys.
fn identity() -> Vec<Item> {
    let pepper = Some(Body::Pepper(Pepper { version: 1, value: PEPPER.to_vec() }));
    let pepper = Item { kind: "pepper".to_owned(), id: "1".to_owned(), body: pepper, ..Item::default() };
    std::iter::once(pepper).chain((0..10).map(|number| key(number, true))).collect()
}

/// Revision n disables key n.
fn identity_at(revision: u64) -> Vec<Item> {
    let mut items = identity();
    (1..=revision).for_each(|number| items[number as usize + 1] = key(number, number > revision));
    items
}

fn topology_at(revision: u64) -> Vec<Item> {
    let provider = json!({"name": "up", "kind": "openai", "base_url": "https://api.example.com/v1"});
    let target = json!({"provider": "up", "model": format!("model-{revision}")});
    [("provider", "1", provider), ("model", "2", json!({"name": "m", "targets": [target]}))]
        .map(|(kind, id, value)| {
            let body = Some(Body::Document(value.to_string().into_bytes().into()));
            Item { kind: kind.to_owned(), id: id.to_owned(), body, ..Item::default() }
        })
        .into()
}

fn snapshot(class: Class, revision: u64, items: &[Item]) -> Vec<Received> {
    let encoded = ItemList { items: items.to_vec() }.encode_to_vec();
    let data = zstd::encode_all(encoded.as_slice(), 1).expect("compression").into();
    let (nonce, bytes, codec) = (revision, encoded.len() as u64, Codec::Zstd.into());
    let begin =
        SnapshotBegin { nonce, class: class.into(), epoch: EPOCH.to_owned(), revision, bytes, chunks: 1, codec };
    let root_hash = Tree::of(items).root().to_vec();
    vec![
        Received::Begin(begin),
        Received::Chunk(SnapshotChunk { nonce, index: 0, data }),
        Received::End(SnapshotEnd { nonce, root_hash }),
    ]
}

fn delta(class: Class, to: u64) -> Received {
    let (changed, all) = match class {
        Class::Topology => (topology_at(to).remove(1), topology_at(to)),
        _ => (key(to, false), identity_at(to)),
    };
    Received::Delta(Delta {
        nonce: 100 + to,
        class: class.into(),
        epoch: EPOCH.to_owned(),
        from_revision: to - 1,
        to_revision: to,
        upsert: vec![changed],
        root_hash: Tree::of(&all).root().to_vec(),
        ..Delta::default()
    })
}

// === impl Node ===

impl Node {
    async fn start(folder: Option<&Arc<PowerFolder>>) -> Self {
        let live = Arc::new(Live::empty());
        let warnings = Arc::new(Warnings::default());
        let applier = Applier::new(Arc::clone(&live));
        let mut holder = Holder::new(Replica::new(), applier, Arc::clone(&warnings), None);
        if let Some(folder) = folder {
            let key = SealKey::derive(&[b"a node"], Purpose::NodeState);
            // So short that every few changes are merged.
            let (keeper, shelf) = Keeper::over(Arc::clone(folder) as Arc<_>, key, Some(600)).await;
            holder.keep(keeper);
            for found in shelf.found.into_iter().rev() {
                holder.restore(found).expect("it served before");
            }
            while !holder.is_counted() {
                let due = holder.due().await;
                holder.see_to(due);
            }
        }
        Self { holder, live, warnings }
    }

    fn receive(&mut self, messages: impl IntoIterator<Item = Received>) -> Vec<Sent> {
        let receive = |message| self.holder.receive(message).unwrap_or_else(|leave| panic!("{}", leave.reason));
        messages.into_iter().flat_map(receive).collect()
    }

    /// Sees to things until this holds; returns what was to be sent.
    async fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> Vec<Sent> {
        let mut sent = Vec::new();
        while !holds(self) {
            let due = self.holder.due().await;
            sent.extend(self.holder.see_to(due));
        }
        sent
    }

    fn state(&mut self, class: Class) -> ClassState {
        self.holder.have().into_iter().find(|have| have.class() == class).expect("both are named")
    }

    fn is_kept(&mut self) -> bool {
        CLASSES.into_iter().all(|class| {
            let state = self.state(class);
            state.persisted == state.revision
        })
    }

    fn lets_in(&self, number: u64) -> bool {
        identify(&secret(number), &self.live.keys, &self.live.load().peppers, 0).is_ok()
    }

    /// What serves is what its revision says, in both classes.
    fn check(&mut self, what: &str) {
        let identity = self.state(Class::Identity);
        if identity.revision > 0 {
            assert_eq!(identity.root_hash, Tree::of(&identity_at(identity.revision)).root(), "{what}");
            for number in 1..10 {
                let revoked = number <= identity.revision;
                assert_eq!(self.lets_in(number), !revoked, "{what}: key {number} at {}", identity.revision);
            }
        }
        let topology = self.state(Class::Topology);
        assert_eq!(self.live.load().snapshot.revision, topology.revision, "{what}");
    }
}

/// A life that crashes at one operation of the disk: what was told to be safe serves again, a revocation stays one.
async fn life(folder: &Arc<PowerFolder>, off_at: Option<u64>) -> (u64, [u64; 2]) {
    let mut node = Node::start(Some(folder)).await;
    if let Some(off_at) = off_at {
        folder.cut_at(off_at);
    }
    let mut told = [0, 0];
    let mut note = |node: &mut Node, sent: &[Sent]| {
        for sent in sent {
            if let Sent::Ack(ack) = sent {
                let told = &mut told[index(ack.class())];
                *told = (*told).max(ack.persisted);
            }
        }
        for state in node.holder.have() {
            let told = &mut told[index(state.class())];
            *told = (*told).max(state.persisted);
        }
    };
    let have = [node.state(Class::Topology).revision, node.state(Class::Identity).revision];
    let mut messages = Vec::new();
    if have[0] == 0 {
        messages.extend(snapshot(Class::Topology, 1, &topology_at(1)));
    }
    if have[1] == 0 {
        messages.extend(snapshot(Class::Identity, 1, &identity_at(1)));
    }
    for to in 2..=8 {
        messages.extend([delta(Class::Identity, to), delta(Class::Topology, to)]);
    }
    for message in messages {
        if let Received::Delta(delta) = &message
            && delta.to_revision <= have[index(delta.class())]
        {
            continue;
        }
        let sent = node.receive([message]);
        note(&mut node, &sent);
        // A few turns, in which the disk may or may not get somewhere.
        for _ in 0..2 {
            if let Ok(due) = tokio::time::timeout(Duration::from_millis(30), node.holder.due()).await {
                let sent = node.holder.see_to(due);
                note(&mut node, &sent);
            }
        }
        node.check("while it lives");
    }
    if off_at.is_none() {
        node.until(Node::is_kept).await;
        note(&mut node, &[]);
    }
    let n_operations = folder.n_operations();
    // The process is gone; its writers are not waited for.
    drop(node);
    (n_operations, told)
}

#[tokio::test(start_paused = true)]
async fn never_goes_back() {
    let (n_operations, told) = life(&Arc::new(PowerFolder::default()), None).await;
    assert_eq!(told, [8, 8]);
    let mut n_cases = 0;
    let mut word = 1_u64;
    for off_at in 0..=n_operations {
        let folder = Arc::new(PowerFolder::default());
        let (_, told) = life(&folder, Some(off_at)).await;
        for luck in 0..3_u64 {
            let rebooted = Arc::new(folder.reboot(|n_more| {
                word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_add(luck);
                [0, n_more, (word >> 16) as usize % (n_more + 1)][luck as usize]
            }));
            let what = format!("power off at operation {off_at} of {n_operations}, luck {luck}");
            let mut node = Node::start(Some(&rebooted)).await;
            node.check(&what);
            for class in CLASSES {
                let state = node.state(class);
                assert!(state.revision >= told[index(class)], "{what}: {state:?} after {told:?}");
            }
            drop(node);
            // The control plane goes on from what the node says it has.
            let (_, told) = life(&rebooted, None).await;
            assert_eq!(told, [8, 8], "{what}");
            n_cases += 1;
        }
    }
    figure::note("never_goes_back", "crashes after which an older revision served", 0.0, "cases", 0.0);
    figure::note_at_least("never_goes_back", "crashes tried", f64::from(n_cases), "cases", f64::from(n_cases));
}

#[tokio::test(start_paused = true)]
async fn a_topology_is_kept_before_it_serves_and_a_revocation_serves_at_once() {
    let folder = Arc::new(PowerFolder::default());
    let mut node = Node::start(Some(&folder)).await;
    node.receive(snapshot(Class::Topology, 1, &topology_at(1)));
    node.receive(snapshot(Class::Identity, 1, &identity_at(1)));
    node.until(Node::is_kept).await;
    let sent = node.receive([delta(Class::Topology, 2)]);
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(node.live.load().snapshot.revision, 1);
    // Nothing of the topology holds it up.
    let sent = node.receive([delta(Class::Identity, 2)]);
    assert!(matches!(&sent[..], [Sent::Ack(ack)] if ack.revision == 2 && ack.persisted == 1), "{sent:?}");
    assert!(!node.lets_in(2));
    let sent = node.until(|node| node.live.load().snapshot.revision == 2).await;
    assert!(matches!(&sent[..], [Sent::Ack(ack)] if ack.revision == 2 && ack.persisted == 2), "{sent:?}");
    node.until(Node::is_kept).await;
    assert!(node.holder.take_news(), "that it is safe by now is worth telling");
    let (replica, _) = node.holder.close().await;
    assert_eq!(replica.held(Class::Identity), Some((EPOCH, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_nothing_and_is_recovered_from() {
    let folder = Arc::new(PowerFolder::default());
    let mut node = Node::start(Some(&folder)).await;
    node.receive(snapshot(Class::Topology, 1, &topology_at(1)));
    node.receive(snapshot(Class::Identity, 1, &identity_at(1)));
    node.until(Node::is_kept).await;
    folder.fill(true);
    for to in 2..=5 {
        node.receive([delta(Class::Identity, to), delta(Class::Topology, to)]);
        let warnings = Arc::clone(&node.warnings);
        node.until(|node| node.live.load().snapshot.revision == to && warnings.list().len() == 2).await;
        node.check("with a full disk");
        assert_eq!((node.state(Class::Identity).persisted, node.state(Class::Topology).persisted), (1, 1));
    }
    let said = node.warnings.list().join("\n");
    assert!(said.contains("identity is served from memory") && said.contains("back to revision 1"), "{said}");
    assert_eq!(node.live.standing.counts().unkept, 1);
    // A process that ends now starts at what was kept.
    let mut restarted = Node::start(Some(&Arc::new(folder.reboot(|_| 0)))).await;
    assert_eq!(restarted.state(Class::Identity).revision, 1);
    restarted.check("after a full disk");
    folder.fill(false);
    let began = Instant::now();
    node.until(Node::is_kept).await;
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert_eq!((node.warnings.list(), node.live.standing.counts().unkept), (Vec::new(), 0));
    node.receive([delta(Class::Identity, 6)]);
    node.until(Node::is_kept).await;
    let mut restarted = Node::start(Some(&Arc::new(folder.reboot(|_| 0)))).await;
    assert_eq!(
        (restarted.state(Class::Identity).revision, restarted.state(Class::Topology).revision),
        (6, 5),
        "what was missed in between is in a snapshot, and changes follow it"
    );
    restarted.check("when the disk is back");
}

/// What a control plane answers.
fn repaired(request: &BucketRequest, items: &[Item]) -> Received {
    let ours = Tree::of(items).bucket_hashes();
    let differ = |at: &usize| request.bucket_hashes.chunks(32).nth(*at) != ours.chunks(32).nth(*at);
    let buckets: Vec<usize> = (0..256).filter(differ).collect();
    let is_in = |item: &&Item| buckets.contains(&usize::from(gateway_wire::tree::bucket(&item.kind, &item.id)));
    Received::Repair(Repair {
        class: request.class,
        epoch: EPOCH.to_owned(),
        revision: request.revision,
        items: items.iter().filter(is_in).cloned().collect(),
        buckets: buckets.iter().map(|bucket| *bucket as u32).collect(),
        root_hash: Tree::of(items).root().to_vec(),
    })
}

#[tokio::test(start_paused = true)]
async fn drift_repair() {
    let mut slowest = Duration::ZERO;
    let peppers = Peppers::new([(1, PEPPER)]).expect("a pepper");
    let entry = |number, enabled| {
        let (_, digest) = peppers.digest(&secret(number)).expect("a pepper");
        KeyEntry {
            id: format!("vk_{number}").into(),
            digest,
            enabled,
            models: vec!["*".to_owned()],
            ..KeyEntry::default()
        }
    };
    let folder = Arc::new(PowerFolder::default());
    let mut node = Node::start(Some(&folder)).await;
    node.receive(snapshot(Class::Topology, 1, &topology_at(1)));
    node.receive(snapshot(Class::Identity, 1, &identity_at(1)));
    node.until(Node::is_kept).await;
    type Harm<'a> = &'a dyn Fn(&Live);
    let harms: [(&str, Harm<'_>); 3] = [
        ("a revoked key works again", &|live| drop(live.keys.upsert(&entry(1, true)))),
        ("a key is gone", &|live| assert!(live.keys.remove("vk_5"))),
        ("a key is there that nobody made", &|live| {
            drop(live.keys.upsert(&entry(77, true)));
        }),
    ];
    for (n_before, (what, harm)) in (0..).zip(harms) {
        harm(&node.live);
        let began = Instant::now();
        let mut sent = Vec::new();
        while sent.is_empty() {
            let due = node.holder.due().await;
            sent = node.holder.see_to(due);
        }
        slowest = slowest.max(began.elapsed());
        let [Sent::Buckets(request)] = &sent[..] else { panic!("{what}: {sent:?}") };
        assert_eq!(node.live.standing.counts().drifted, n_before + 1, "{what}");
        let answers = node.receive([repaired(request, &identity_at(1))]);
        assert!(matches!(&answers[..], [Sent::Ack(ack)] if ack.status() == Status::Applied), "{what}: {answers:?}");
        node.check(what);
        assert!(!node.lets_in(77), "{what}");
    }
    // It is found at a bookmark too, and counted once, whatever is heard until the repair comes.
    node.receive([delta(Class::Identity, 2)]);
    let bookmark = |items: &[Item]| {
        Received::Bookmark(Bookmark {
            live_nodes: 0,
            class: Class::Identity.into(),
            epoch: EPOCH.to_owned(),
            revision: 2,
            root_hash: Tree::of(items).root().to_vec(),
            min_resumable: 0,
        })
    };
    let mut elsewhere = identity_at(2);
    elsewhere[9] = key(8, false);
    node.receive([bookmark(&elsewhere)]);
    let sent = node.receive([bookmark(&elsewhere)]);
    let [Sent::Buckets(request)] = &sent[..] else { panic!("{sent:?}") };
    node.receive([repaired(request, &elsewhere)]);
    assert!(!node.lets_in(8));
    assert_eq!(node.live.standing.counts().drifted, 4);
    // What was repaired is kept as repaired.
    node.until(Node::is_kept).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let restarted = Node::start(Some(&Arc::new(folder.reboot(|_| 0)))).await;
    assert!(!restarted.lets_in(8) && restarted.lets_in(5));
    figure::note("drift_repair", "time until a flipped record was found", slowest.as_secs_f64(), "s", 300.0);
    assert!(slowest <= Duration::from_secs(301), "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn what_serves_is_what_is_compared() {
    // Everything that the table cannot give back exactly: denied, displaced, written otherwise.
    let mut odd = identity();
    if let Some(Body::Key(key)) = &mut odd[3].body {
        key.digest.truncate(3);
    }
    if let Some(Body::Key(key)) = &mut odd[4].body {
        key.limits = None;
    }
    odd[5].body = odd[6].body.clone();
    let mut node = Node::start(None).await;
    node.receive(snapshot(Class::Topology, 1, &topology_at(1)));
    node.receive(snapshot(Class::Identity, 1, &odd));
    for _ in 0..3 {
        let checked_at = node.holder.recheck_at;
        let sent = node.until(|node| node.holder.recheck_at != checked_at).await;
        assert!(sent.is_empty(), "{sent:?}");
        let stock = node.holder.due().await;
        assert!(matches!(stock, Due::Stock(Some(_))), "it is counted");
        assert!(node.holder.see_to(stock).is_empty());
    }
    assert_eq!(node.live.standing.counts().drifted, 0);
    // And the topology.
    let mut flipped = topology_at(1);
    flipped[1].body = Some(Body::Document(bytes::Bytes::from_static(b"{}")));
    node.holder.replica.restored(Class::Topology, EPOCH.to_owned(), 1, Tree::of(&topology_at(1)), flipped);
    let sent = node.until(|node| node.live.standing.counts().drifted == 1).await;
    let [Sent::Buckets(request)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(request.class(), Class::Topology);
    node.receive([repaired(request, &topology_at(1))]);
    assert_eq!(node.state(Class::Topology).root_hash, Tree::of(&topology_at(1)).root());
}
