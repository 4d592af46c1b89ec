//! Against a control plane that loses, repeats and mixes up messages, breaks off, and restarts: what is held is always what
//! the control plane had at that revision, never goes back, and catches up once messages come through.

use std::collections::BTreeMap;

use bytes::Bytes;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Bookmark, Codec, Delta, ItemList, Redirect, Repair, SnapshotBegin, SnapshotChunk, SnapshotEnd};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

type Items = BTreeMap<String, Item>;

/// A control plane's history of one class.
struct Source {
    class: Class,
    epoch: &'static str,
    /// By revision.
    history: Vec<Items>,
}

fn item(id: &str, value: u8) -> Item {
    let body = Some(Body::Document(Bytes::from(value.to_string())));
    Item { kind: "model".to_owned(), id: id.to_owned(), body, ..Item::default() }
}

fn root(items: &Items) -> Vec<u8> {
    Tree::of(items.values()).root().to_vec()
}

// === impl Source ===

impl Source {
    fn new(class: Class) -> Self {
        Self { class, epoch: "e", history: vec![Items::new()] }
    }

    fn head(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    fn at(&self, revision: u64) -> &Items {
        &self.history[revision as usize]
    }

    /// `None` deletes.
    fn edit(&mut self, id: &str, value: Option<u8>) {
        let mut items = self.at(self.head()).clone();
        match value {
            Some(value) => drop(items.insert(id.to_owned(), item(id, value))),
            None => drop(items.remove(id)),
        }
        self.history.push(items);
    }

    fn delta(&self, from: u64, to: u64) -> Received {
        let (old, new) = (self.at(from), self.at(to));
        let upsert = new.iter().filter(|(id, item)| old.get(*id) != Some(item)).map(|(_, item)| item.clone()).collect();
        let removed = old.values().filter(|item| !new.contains_key(&item.id));
        Received::Delta(Delta {
            nonce: to,
            class: self.class.into(),
            epoch: self.epoch.to_owned(),
            from_revision: from,
            to_revision: to,
            urgent: false,
            upsert,
            removed: removed.map(|item| ItemId { kind: item.kind.clone(), id: item.id.clone() }).collect(),
            root_hash: root(new),
        })
    }

    fn snapshot(&self, revision: u64, nonce: u64) -> Vec<Received> {
        let items = self.at(revision);
        let encoded = ItemList { items: items.values().cloned().collect() }.encode_to_vec();
        let compressed = zstd::encode_all(encoded.as_slice(), 1).expect("compression");
        let chunks: Vec<&[u8]> = compressed.chunks(compressed.len().div_ceil(3).max(1)).collect();
        let begin = SnapshotBegin {
            nonce,
            class: self.class.into(),
            epoch: self.epoch.to_owned(),
            revision,
            bytes: encoded.len() as u64,
            chunks: chunks.len() as u32,
            codec: Codec::Zstd.into(),
        };
        let mut messages = vec![Received::Begin(begin)];
        for (index, data) in chunks.into_iter().enumerate() {
            let data = Bytes::copy_from_slice(data);
            messages.push(Received::Chunk(SnapshotChunk { nonce, index: index as u32, data }));
        }
        messages.push(Received::End(SnapshotEnd { nonce, root_hash: root(items) }));
        messages
    }

    fn bookmark(&self, revision: u64) -> Received {
        let (class, epoch, root_hash) = (self.class.into(), self.epoch.to_owned(), root(self.at(revision)));
        Received::Bookmark(Bookmark { class, epoch, revision, root_hash, min_resumable: 0, live_nodes: 0 })
    }

    /// What a control plane answers.
    fn answer(&self, sent: &Sent) -> Vec<Received> {
        match sent {
            Sent::Resync(_) => self.snapshot(self.head(), 1000),
            Sent::Buckets(request) if request.revision == self.head() => {
                let items = self.at(self.head());
                vec![Received::Repair(Repair {
                    class: self.class.into(),
                    epoch: self.epoch.to_owned(),
                    revision: self.head(),
                    buckets: (0..256).collect(),
                    items: items.values().cloned().collect(),
                    root_hash: root(items),
                })]
            }
            _ => Vec::new(),
        }
    }
}

/// A node: the machine, and what it serves by.
struct Node {
    replica: Replica,
    class: Class,
    serves: Items,
    revision: u64,
}

// === impl Node ===

impl Node {
    fn new(class: Class) -> Self {
        Self { replica: Replica::new(), class, serves: Items::new(), revision: 0 }
    }

    /// Takes a message and whatever the control plane answers to its answers. False if it left.
    fn take(&mut self, source: &Source, message: Received) -> bool {
        let sent = match self.replica.receive(message) {
            Step::Nothing => return true,
            Step::Leave { .. } => return false,
            Step::Reply(sent) => vec![sent],
            Step::Apply(update) => {
                match &update.content {
                    Content::Topology(items) => {
                        self.serves = items.iter().map(|item| (item.id.clone(), item.clone())).collect();
                    }
                    Content::Identity { upsert, removed } => {
                        removed.iter().for_each(|id| drop(self.serves.remove(&id.id)));
                        self.serves.extend(upsert.iter().map(|item| (item.id.clone(), item.clone())));
                    }
                }
                self.revision = update.revision;
                self.replica.applied(*update, Vec::new(), 1)
            }
        };
        let answers: Vec<Received> = sent.iter().flat_map(|sent| source.answer(sent)).collect();
        answers.into_iter().all(|answer| self.take(source, answer))
    }

    fn held(&mut self) -> (u64, String) {
        let have = self.replica.have().into_iter().find(|have| have.class() == self.class).expect("the class");
        (have.revision, have.epoch)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Edit(u8, Option<u8>),
    /// From the node's revision plus an error, to the head minus a lag.
    Delta {
        error: u8,
        lag: u8,
    },
    Snapshot {
        lag: u8,
        lost: Option<u8>,
        swapped: bool,
    },
    Bookmark {
        lag: u8,
    },
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u8..12, proptest::option::weighted(0.8, any::<u8>())).prop_map(|(id, value)| Event::Edit(id, value)),
        4 => (0_u8..3, 0_u8..3).prop_map(|(error, lag)| Event::Delta { error, lag }),
        2 => (0_u8..3, proptest::option::of(0_u8..5), any::<bool>())
            .prop_map(|(lag, lost, swapped)| Event::Snapshot { lag, lost, swapped }),
        2 => (0_u8..3).prop_map(|lag| Event::Bookmark { lag }),
        1 => Just(Event::Reconnect),
    ]
}

fn play(class: Class, events: Vec<Event>) -> Result<(), TestCaseError> {
    let (mut source, mut node) = (Source::new(class), Node::new(class));
    let mut newest_seen = 0;
    for event in events {
        let stays = match event {
            Event::Edit(id, value) => {
                source.edit(&id.to_string(), value);
                true
            }
            Event::Delta { error, lag } => {
                let to = source.head().saturating_sub(lag.into());
                let from = node.revision.saturating_sub(error.into()).min(to);
                let delta = source.delta(from, to);
                node.take(&source, delta.clone()) && node.take(&source, delta)
            }
            Event::Snapshot { lag, lost, swapped } => {
                let mut messages = source.snapshot(source.head().saturating_sub(lag.into()), newest_seen + 1);
                if swapped && messages.len() > 3 {
                    messages.swap(1, 2);
                }
                if let Some(lost) = lost {
                    messages.remove(usize::from(lost) % messages.len());
                }
                messages.into_iter().all(|message| node.take(&source, message))
            }
            Event::Bookmark { lag } => {
                let bookmark = source.bookmark(source.head().saturating_sub(lag.into()));
                node.take(&source, bookmark)
            }
            Event::Reconnect => false,
        };
        if !stays {
            node.replica.connected();
        }
        let (revision, epoch) = node.held();
        prop_assert_eq!(revision, node.revision);
        prop_assert!(revision >= newest_seen, "went back from {} to {}", newest_seen, revision);
        prop_assert!(epoch.is_empty() || &node.serves == source.at(revision), "not what revision {} was", revision);
        newest_seen = revision;
    }
    // Once messages come through, two bookmarks are enough, from wherever it is.
    node.replica.connected();
    if node.held().1.is_empty() {
        let snapshot = source.snapshot(source.head(), u64::MAX);
        prop_assert!(snapshot.into_iter().all(|message| node.take(&source, message)));
    }
    for _ in 0..2 {
        let bookmark = source.bookmark(source.head());
        prop_assert!(node.take(&source, bookmark));
    }
    prop_assert_eq!(node.held().0, source.head());
    prop_assert_eq!(&node.serves, source.at(source.head()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn topology_converges_and_never_goes_back(events in proptest::collection::vec(event(), 0..60)) {
        play(Class::Topology, events)?;
    }

    #[test]
    fn identity_converges_and_never_goes_back(events in proptest::collection::vec(event(), 0..60)) {
        play(Class::Identity, events)?;
    }

    /// Whatever bytes a peer sends, the machine takes a step and nothing else happens.
    #[test]
    fn any_message_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut replica = Replica::new();
        if let Ok(message) = gateway_wire::v1::ControlMsg::decode(bytes.as_slice())
            && let Some(message) = message.msg
        {
            let _ = replica.receive(message);
        }
    }
}

fn at_revision_2(class: Class) -> (Source, Node) {
    let (mut source, mut node) = (Source::new(class), Node::new(class));
    source.edit("a", Some(1));
    source.edit("b", Some(1));
    for message in source.snapshot(2, 1) {
        assert!(node.take(&source, message));
    }
    assert_eq!((node.revision, &node.serves), (2, source.at(2)));
    (source, node)
}

#[test]
fn a_gap_asks_for_everything() {
    let (mut source, mut node) = at_revision_2(Class::Topology);
    source.edit("c", Some(1));
    source.edit("d", Some(1));
    let Step::Reply(Sent::Resync(resync)) = node.replica.receive(source.delta(3, 4)) else { panic!("no resync") };
    let have = resync.have.expect("what it holds");
    assert_eq!((have.class(), have.revision), (Class::Topology, 2));
    assert!(resync.reason.contains("from revision 3 where 2 is held"), "{}", resync.reason);
}

#[test]
fn what_drifted_is_repaired() {
    for class in [Class::Topology, Class::Identity] {
        let (source, mut node) = at_revision_2(class);
        // A faulty memory: the node holds another value than it was sent.
        let mut faulty = Source::new(class);
        faulty.edit("a", Some(1));
        faulty.edit("b", Some(99));
        node = Node { replica: Replica::new(), ..node };
        for message in faulty.snapshot(2, 1) {
            assert!(node.take(&faulty, message));
        }
        assert_ne!(&node.serves, source.at(2));
        assert!(node.take(&source, source.bookmark(2)));
        assert_eq!(&node.serves, source.at(2), "{class:?}");
    }
}

#[test]
fn an_older_copy_of_the_database_changes_nothing_and_a_new_epoch_everything() {
    let (mut source, mut node) = at_revision_2(Class::Topology);
    let Step::Reply(Sent::Ack(ack)) = node.replica.receive(source.bookmark(1)) else { panic!("no answer") };
    assert_eq!((ack.status(), ack.errors[0].code.as_str()), (Status::Rejected, "revision_regressed"));
    assert!(matches!(node.replica.receive(source.bookmark(1)), Step::Nothing), "said once");
    for message in source.snapshot(1, 5) {
        assert!(node.take(&source, message));
    }
    assert_eq!(node.revision, 2);
    source.epoch = "another";
    assert!(node.take(&source, source.bookmark(1)), "it asks for everything and gets it");
    assert_eq!((node.held(), &node.serves), ((2, "another".to_owned()), source.at(2)));
}

#[test]
fn a_refused_revision_leaves_what_was_and_the_next_one_follows_from_it() {
    let (mut source, mut node) = at_revision_2(Class::Topology);
    source.edit("c", Some(1));
    let Step::Apply(update) = node.replica.receive(source.delta(2, 3)) else { panic!("no update") };
    let errors = vec![ConfigError { field_path: "base_url".to_owned(), ..ConfigError::default() }];
    let Sent::Ack(ack) = node.replica.refused(&update, errors, 1) else { panic!("no answer") };
    assert_eq!((ack.status(), ack.revision, ack.nonce), (Status::Rejected, 3, 3));
    assert_eq!(node.held().0, 2);
    for _ in 0..3 {
        assert!(matches!(node.replica.receive(source.bookmark(3)), Step::Nothing), "it knows");
    }
    source.edit("c", None);
    assert!(node.take(&source, source.delta(2, 4)));
    assert_eq!((node.revision, &node.serves), (4, source.at(4)));
}

#[test]
fn it_gives_up_on_a_source_that_makes_no_sense() {
    let (mut source, mut node) = at_revision_2(Class::Topology);
    source.edit("c", Some(1));
    let mut left = None;
    for _ in 0..4 {
        let Received::Delta(mut delta) = source.delta(2, 3) else { panic!("no delta") };
        delta.root_hash = vec![0; 32];
        if let Step::Leave { after, .. } = node.replica.receive(Received::Delta(delta)) {
            left = Some(after);
        }
    }
    assert_eq!(left, Some(Duration::from_secs(10)));
    let redirect = Received::Redirect(Redirect { endpoint: String::new(), retry_after_ms: 70 });
    assert!(matches!(node.replica.receive(redirect), Step::Leave { after, .. } if after.as_millis() == 70));
}

#[test]
fn a_snapshot_that_lies_about_its_size_is_refused() {
    let (source, mut node) = at_revision_2(Class::Topology);
    for lie in [0, 1, u64::MAX] {
        let mut messages = source.snapshot(2, 7);
        let Some(Received::Begin(begin)) = messages.first_mut() else { panic!("no beginning") };
        begin.bytes = lie;
        node.replica.connected();
        let steps: Vec<Step> = messages.into_iter().map(|message| node.replica.receive(message)).collect();
        assert!(steps.iter().any(|step| matches!(step, Step::Reply(Sent::Resync(_)))), "{lie}");
        assert!(!steps.iter().any(|step| matches!(step, Step::Apply(_))), "{lie}");
    }
}
