//! What happens to a simulated fleet, drawn from a seed: edits of all kinds and whatever can go wrong.

use std::time::Duration;

use gateway_model::kind::Class;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::history::{Edit, History};
use crate::thing::{KeyFault, ModelFault, Thing};

/// Keys that exist at a time, at most: enough for merges and snapshots, few enough for many runs.
const MAX_KEYS: usize = 120;
const MAX_MODELS: u32 = 6;
const MAX_PROVIDERS: u32 = 4;
const MAX_BULK: u32 = 30;

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub n_nodes: usize,
    /// How long things go wrong.
    pub trouble: Duration,
    /// Between one thing and the next, on average.
    pub pause: Duration,
    /// Whether nodes that start again have what they had kept.
    pub disks: bool,
}

/// One thing that happens. Nodes and replicas are meant by number; what is done for a time is undone after it.
#[derive(Clone, Debug)]
pub enum Event {
    Edit,
    /// Messages between a node and a replica wait, as on a network that loses and repeats.
    Hold {
        node: usize,
        replica: usize,
        time: Duration,
    },
    /// Messages between a node and all replicas are lost, connections with them.
    Isolate {
        node: usize,
        time: Duration,
    },
    /// As above, but nothing arrives in one direction only.
    Deafen {
        node: usize,
        replica: usize,
        time: Duration,
    },
    CrashNode {
        node: usize,
        time: Duration,
    },
    CrashReplica {
        replica: usize,
        time: Duration,
    },
    CutDatabase {
        replica: usize,
        time: Duration,
    },
    HangDatabase {
        replica: usize,
        time: Duration,
    },
    HushDatabase {
        replica: usize,
        time: Duration,
    },
    SlowDatabase {
        replica: usize,
        time: Duration,
    },
    SlowNode {
        node: usize,
        time: Duration,
    },
    StuckNode {
        node: usize,
        time: Duration,
    },
    Compact,
    BackUp,
    /// The database becomes the last backup, and after this time begins a new epoch. Edits in between make another past.
    Restore {
        new_epoch_after: Duration,
        with_edits: bool,
    },
    /// A second process with the first node's id.
    Twin {
        time: Duration,
    },
}

/// Makes things up.
pub struct Author {
    pub chance: StdRng,
    next_key: u32,
    next_edition: u32,
}

// === impl Author ===

impl Author {
    pub fn new(chance: StdRng) -> Self {
        Self { chance, next_key: 1, next_edition: 1 }
    }

    /// What every history begins with.
    pub fn foundation(&mut self) -> Vec<Edit> {
        let provider = Thing::Provider { number: 0, edition: self.edition() };
        let model = Thing::Model { number: 0, edition: self.edition(), fault: ModelFault::None };
        vec![Edit::Put(Thing::Pepper), Edit::Put(provider), Edit::Put(model), Edit::Put(self.new_key())]
    }

    pub fn pause(&mut self, scale: &Scale) -> Duration {
        scale.pause.mul_f64(self.chance.random_range(0.0..2.0))
    }

    pub fn event(&mut self, scale: &Scale, n_replicas: usize) -> Event {
        let node = self.chance.random_range(0..scale.n_nodes);
        let replica = self.chance.random_range(0..n_replicas);
        let mut time = |from: f64, to: f64| Duration::from_secs_f64(self.chance.random_range(from..to));
        let (short, long) = (time(0.1, 4.0), time(1.0, 20.0));
        let with_edits = self.chance.random_bool(0.3);
        match self.chance.random_range(0..100) {
            0..60 => Event::Edit,
            60..67 => Event::Hold { node, replica, time: short },
            67..71 => Event::Isolate { node, time: long },
            71..73 => Event::Deafen { node, replica, time: short },
            73..77 => Event::CrashNode { node, time: short },
            77..80 => Event::CrashReplica { replica, time: short },
            80..83 => Event::CutDatabase { replica, time: short },
            83..84 => Event::HangDatabase { replica, time: short },
            84..86 => Event::HushDatabase { replica, time: long },
            86..88 => Event::SlowDatabase { replica, time: short },
            88..90 => Event::SlowNode { node, time: long },
            90..91 => Event::StuckNode { node, time: long },
            91..95 => Event::Compact,
            95..97 => Event::BackUp,
            97..98 => Event::Restore { new_epoch_after: short, with_edits },
            _ => Event::Twin { time: short },
        }
    }

    /// One commit.
    pub fn edits(&mut self, history: &History) -> Vec<Edit> {
        match self.chance.random_range(0..20) {
            0..7 => self.edit_keys(history),
            7..11 => self.revoke(history),
            11..12 => self.import(history),
            12..19 => self.edit_topology(history),
            _ => [self.edit_keys(history), self.edit_topology(history)].concat(),
        }
    }

    /// Leaves nothing in the topology that cannot serve.
    pub fn mend(&mut self, history: &History) -> Vec<Edit> {
        let mut edits: Vec<Edit> =
            history.things(Class::Topology).into_iter().filter(Thing::is_bad).map(Edit::Delete).collect();
        edits.push(Edit::Put(Thing::Model { number: 0, edition: self.edition(), fault: ModelFault::None }));
        edits.push(Edit::Put(self.new_key()));
        edits
    }

    /// Up to three keys, new, changed, broken, disabled or enabled.
    fn edit_keys(&mut self, history: &History) -> Vec<Edit> {
        let keys = keys(history);
        let mut edits: Vec<Edit> = Vec::new();
        for _ in 0..self.chance.random_range(1..=3) {
            let edit = match keys.choose(&mut self.chance) {
                Some(Thing::Key { number, .. }) if keys.len() >= MAX_KEYS || self.chance.random_bool(0.6) => {
                    self.key(*number)
                }
                _ => self.new_key(),
            };
            if edits.iter().all(|other| other.thing().id() != edit.id()) {
                edits.push(Edit::Put(edit));
            }
        }
        edits
    }

    /// Up to ten keys at once.
    fn revoke(&mut self, history: &History) -> Vec<Edit> {
        let keys = keys(history);
        let n_revoked = self.chance.random_range(1..=10);
        let revoked: Vec<Thing> = keys.sample(&mut self.chance, n_revoked).cloned().collect();
        if revoked.is_empty() {
            return vec![Edit::Put(self.new_key())];
        }
        revoked.into_iter().map(Edit::Delete).collect()
    }

    fn import(&mut self, history: &History) -> Vec<Edit> {
        if keys(history).len() + MAX_BULK as usize > MAX_KEYS {
            return self.revoke(history);
        }
        (0..self.chance.random_range(10..=MAX_BULK)).map(|_| Edit::Put(self.new_key())).collect()
    }

    /// Providers and models come, change and go; now and then with something that no node can serve by.
    fn edit_topology(&mut self, history: &History) -> Vec<Edit> {
        let edition = self.edition();
        let model = self.chance.random_range(1..MAX_MODELS);
        let provider = self.chance.random_range(1..MAX_PROVIDERS);
        let things = history.things(Class::Topology);
        let held = |wanted: Thing| things.iter().find(|thing| thing.id() == wanted.id()).cloned();
        let of_model = |fault| Thing::Model { number: model, edition, fault };
        let of_provider = Thing::Provider { number: provider, edition };
        let edit = match self.chance.random_range(0..10) {
            0..3 => Edit::Put(of_model(ModelFault::None)),
            3 => Edit::Put(of_model(ModelFault::UnknownField)),
            4 => Edit::Put(of_model(ModelFault::NoSuchProvider)),
            5..7 => held(of_model(ModelFault::None)).map_or(Edit::Put(of_model(ModelFault::None)), Edit::Delete),
            7..9 => Edit::Put(of_provider),
            _ => held(of_provider.clone()).map_or(Edit::Put(of_provider), Edit::Delete),
        };
        vec![edit]
    }

    fn new_key(&mut self) -> Thing {
        let number = self.next_key;
        self.next_key += 1;
        self.key(number)
    }

    fn key(&mut self, number: u32) -> Thing {
        let fault = match self.chance.random_range(0..20) {
            0 => KeyFault::ShortDigest,
            1 => KeyFault::DamagedDocument,
            _ => KeyFault::None,
        };
        Thing::Key { number, edition: self.edition(), is_enabled: self.chance.random_bool(0.8), fault }
    }

    fn edition(&mut self) -> u32 {
        self.next_edition += 1;
        self.next_edition
    }
}

fn keys(history: &History) -> Vec<Thing> {
    let things = history.things(Class::Identity);
    things.into_iter().filter(|thing| matches!(thing, Thing::Key { .. })).collect()
}
