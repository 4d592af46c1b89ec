//! A whole simulated fleet: one history, replicas on it, nodes on them, and a script that it goes through step by step in
//! simulated time. The same seed gives the same run.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_model::kind::Class;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use turmoil::{Builder, Sim};

use crate::access::{Lie, Line};
use crate::history::{Database, History, Past, epoch_name};
use crate::node::Handle;
use crate::record::{Journal, Record};
use crate::replica::{self, Replica};
use crate::script::{Author, Event, Scale};
use crate::validate::{Rest, SOON, Violation, validate, validate_end};

const N_REPLICAS: usize = 2;
const TICK: Duration = Duration::from_millis(20);
const MAX_LATENCY: Duration = Duration::from_millis(40);
/// A connection that is dead without saying so is found out and waited for: keep-alive, then the longest wait for another try.
const RECONNECT: Duration = Duration::from_secs(50);
/// And whoever has the newest revision still has it after this time.
const KEEPS: Duration = Duration::from_secs(2);
const MEMORY: &str = "/dev/shm";
/// Simulated connections hold this many segments, and listeners this many that want in.
const TCP_CAPACITY: usize = 1024;
/// Keys that are tried after each change: the last ones that were touched.
const MAX_TRIED: usize = 60;

/// What came of a run.
pub struct Outcome {
    pub past: Past,
    pub records: Vec<Record>,
    pub violations: Vec<Violation>,
    /// The longest that any node took to have the newest revision, from when nothing was in its way.
    pub slowest: Duration,
    pub simulated: Duration,
}

struct World<'a> {
    sim: Sim<'a>,
    scale: Scale,
    author: Author,
    history: History,
    lines: Vec<Line>,
    nodes: Vec<Handle>,
    journal: Journal,
    tried: Arc<Mutex<BTreeSet<u32>>>,
    touched: Vec<u32>,
    undo: Vec<(Duration, Undo)>,
    backup: Option<Database>,
    down: BTreeSet<String>,
    had_twin: bool,
}

/// The end of something that was done for a time.
#[derive(Clone, Debug)]
enum Undo {
    Release(String, String),
    Repair(String),
    Hear(String, String),
    Start(String),
    Stop(String),
    Uncut(usize),
    Unhang(usize),
    Unhush(usize),
    Hurry(usize),
    Quicken(usize),
    Unstick(usize),
    NewEpoch,
}

/// One run. `lie` makes the database tell the replicas something else than what there is.
pub fn run(seed: u64, scale: Scale, lie: Option<Lie>) -> Outcome {
    replica::prepare();
    align_tasks();
    let mut world = World::new(seed, scale, lie);
    world.trouble();
    let rests = world.rest();
    let (past, records) = (world.history.past(), world.journal.records());
    let mut violations = validate(&past, &records);
    violations.extend(validate_end(&past, &rests));
    let slowest = rests.iter().filter(|rest| rest.limit == SOON).filter_map(|rest| rest.took).max().unwrap_or_default();
    Outcome { past, records, violations, slowest, simulated: world.sim.elapsed() }
}

/// Starts the run at a fixed place in the round of the runtime's lists of tasks. The lists are picked by a number that counts the
/// tasks of the whole process, and decide in which order a crashed host's connections close: the same seed gives the same run
/// only where no other run counts along.
fn align_tasks() {
    const N_LISTS: u64 = 4;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let next_is_first = || {
        let id = runtime.spawn(std::future::ready(())).id().to_string();
        id.parse::<u64>().is_ok_and(|id| id % N_LISTS == N_LISTS - 1)
    };
    (0..N_LISTS).any(|_| next_is_first());
}

/// In memory where there is such a file system: what is tried is a crash of a process, not of a machine.
fn disk() -> TempDir {
    tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir()).expect("a folder can be made")
}

fn node_name(number: usize) -> String {
    format!("node-{number}")
}

const TWIN: &str = "twin";

// === impl World ===

impl World<'_> {
    fn new(seed: u64, scale: Scale, lie: Option<Lie>) -> Self {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .max_message_latency(MAX_LATENCY)
            .tcp_capacity(TCP_CAPACITY)
            .simulation_duration(Duration::MAX)
            .build();
        let mut author = Author::new(StdRng::seed_from_u64(seed));
        let history = History::new();
        history.commit(&author.foundation());
        let connected: Arc<[AtomicUsize]> = (0..N_REPLICAS).map(|_| AtomicUsize::new(0)).collect();
        let lines: Vec<Line> = (0..N_REPLICAS).map(|_| Line::new(history.heads())).collect();
        for (number, line) in lines.iter().enumerate() {
            let (history, line, connected) = (history.clone(), line.clone(), Arc::clone(&connected));
            let replica = Replica { number, history, line, seed: seed.wrapping_add(number as u64), lie, connected };
            sim.host(replica::name(number), move || replica.clone().run());
        }
        let (journal, tried) = (Journal::default(), Arc::default());
        let handle = |number: usize, of: usize, disk: Option<TempDir>| {
            let node_id = format!("node_{of}");
            Handle::new(number, node_id, Arc::clone(&connected), journal.clone(), Arc::clone(&tried), disk)
        };
        let nodes: Vec<Handle> =
            (0..scale.n_nodes).map(|number| handle(number, number, scale.disks.then(disk))).collect();
        for node in &nodes {
            let node = node.clone();
            sim.host(node_name(node.number()), move || node.clone().run());
        }
        let twin = handle(scale.n_nodes, 0, None);
        sim.host(TWIN, move || twin.clone().run());
        sim.crash(TWIN);
        let down = BTreeSet::from([TWIN.to_owned()]);
        let (touched, undo, backup) = (vec![1], Vec::new(), None);
        Self { sim, scale, author, history, lines, nodes, journal, tried, touched, undo, backup, down, had_twin: false }
    }

    /// Things go wrong.
    fn trouble(&mut self) {
        let mut next = Duration::ZERO;
        while self.sim.elapsed() < self.scale.trouble {
            while next <= self.sim.elapsed() {
                let event = self.author.event(&self.scale, N_REPLICAS);
                self.happen(event);
                next += self.author.pause(&self.scale);
            }
            self.undo_until(self.sim.elapsed());
            self.step();
        }
    }

    /// Everything is mended; returns what each node had when it had the newest revision, or in the end.
    fn rest(&mut self) -> Vec<Rest> {
        self.undo_until(Duration::MAX);
        let edits = self.author.mend(&self.history);
        self.commit(&edits);
        let healed = self.sim.elapsed();
        let heads = self.history.head_versions();
        let past = self.history.past();
        // Whom a twin has driven out waits before it comes back, over the same connection.
        let had_twin = self.had_twin;
        let limit = |node: usize| if node == 0 && had_twin { RECONNECT } else { SOON };
        let mut rests: Vec<Rest> = Vec::new();
        let mut waiting: Vec<(usize, Class, usize)> = Vec::new();
        for node in 0..self.nodes.len() {
            waiting.extend(heads.iter().map(|head| (node, past.versions[*head].class, *head)));
        }
        while !waiting.is_empty() && self.sim.elapsed() < healed + RECONNECT {
            self.step();
            waiting.retain(|(node, class, head)| {
                let handle = &self.nodes[*node];
                let Some(last) = self.journal.last(*node, handle.boot(), *class) else { return true };
                let version = &past.versions[*head];
                if last.epoch != epoch_name(version.epoch) || last.revision != version.revision {
                    return true;
                }
                let free_since = handle.connected_at().max(healed);
                let took = Some(last.at.saturating_sub(free_since));
                rests.push(Rest {
                    node: *node,
                    class: *class,
                    head: *head,
                    last: Some(last),
                    took,
                    limit: limit(*node),
                });
                false
            });
        }
        for (node, class, head) in waiting {
            let last = self.journal.last(node, self.nodes[node].boot(), class);
            rests.push(Rest { node, class, head, last, took: None, limit: limit(node) });
        }
        // Whoever has it keeps it.
        let until = self.sim.elapsed() + KEEPS;
        while self.sim.elapsed() < until {
            self.step();
        }
        for rest in &mut rests {
            rest.last = self.journal.last(rest.node, self.nodes[rest.node].boot(), rest.class);
        }
        rests
    }

    fn step(&mut self) {
        self.sim.step().expect("no host fails");
    }

    fn commit(&mut self, edits: &[crate::history::Edit]) {
        for key in edits.iter().filter_map(|edit| edit.thing().key()) {
            self.touched.retain(|touched| *touched != key);
            self.touched.push(key);
        }
        let recent = self.touched.iter().rev().take(MAX_TRIED).copied().collect();
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = recent;
        let heads = self.history.commit(edits);
        tracing::info!(?heads, n_edits = edits.len(), "is committed");
        self.lines.iter().for_each(|line| line.hint(heads.clone()));
    }

    fn happen(&mut self, event: Event) {
        let now = self.sim.elapsed();
        tracing::info!(?now, ?event, "happens");
        match event {
            Event::Edit => {
                let edits = self.author.edits(&self.history);
                self.commit(&edits);
            }
            Event::Hold { node, replica, time } => {
                let (node, replica) = (node_name(node), replica::name(replica));
                self.sim.hold(node.as_str(), replica.as_str());
                self.later(time, Undo::Release(node, replica));
            }
            Event::Isolate { node, time } => {
                let node = node_name(node);
                for replica in 0..N_REPLICAS {
                    self.sim.partition(node.as_str(), replica::name(replica).as_str());
                }
                self.later(time, Undo::Repair(node));
            }
            Event::Deafen { node, replica, time } => {
                let (node, replica) = (node_name(node), replica::name(replica));
                self.sim.partition_oneway(replica.as_str(), node.as_str());
                self.later(time, Undo::Hear(replica, node));
            }
            Event::CrashNode { node, time } => self.crash(node_name(node), time),
            Event::CrashReplica { replica, time } => self.crash(replica::name(replica), time),
            Event::CutDatabase { replica, time } => {
                self.lines[replica].cut(true);
                self.later(time, Undo::Uncut(replica));
            }
            Event::HangDatabase { replica, time } => {
                self.lines[replica].hang(true);
                self.later(time, Undo::Unhang(replica));
            }
            Event::HushDatabase { replica, time } => {
                self.lines[replica].hush(true);
                self.later(time, Undo::Unhush(replica));
            }
            Event::SlowDatabase { replica, time } => {
                self.lines[replica].slow(Duration::from_millis(400));
                self.later(time, Undo::Hurry(replica));
            }
            Event::SlowNode { node, time } => {
                self.nodes[node].slow_down(Duration::from_millis(700));
                self.later(time, Undo::Quicken(node));
            }
            Event::StuckNode { node, time } => {
                self.nodes[node].read_nothing(true);
                self.later(time, Undo::Unstick(node));
            }
            Event::Compact => {
                let keep = now.as_millis() as u64 % 7;
                Class::ALL.into_iter().for_each(|class| self.history.compact(class, keep));
            }
            Event::BackUp => self.backup = Some(self.history.back_up()),
            Event::Restore { new_epoch_after, with_edits } => self.restore(new_epoch_after, with_edits),
            Event::Twin { time } => {
                if self.down.remove(TWIN) {
                    self.sim.bounce(TWIN);
                    self.had_twin = true;
                    self.later(time, Undo::Stop(TWIN.to_owned()));
                }
            }
        }
    }

    fn restore(&mut self, new_epoch_after: Duration, with_edits: bool) {
        let Some(copy) = self.backup.take() else { return };
        self.history.restore(copy);
        if with_edits {
            let edits = self.author.edits(&self.history);
            self.commit(&edits);
        }
        self.later(new_epoch_after, Undo::NewEpoch);
    }

    fn crash(&mut self, host: String, time: Duration) {
        if self.down.insert(host.clone()) {
            self.sim.crash(host.as_str());
            self.later(time, Undo::Start(host));
        }
    }

    fn later(&mut self, time: Duration, undo: Undo) {
        self.undo.push((self.sim.elapsed() + time, undo));
    }

    fn undo_until(&mut self, until: Duration) {
        let mut due: Vec<(Duration, Undo)> = Vec::new();
        self.undo.retain(|(at, undo)| {
            let is_due = *at <= until;
            if is_due {
                due.push((*at, undo.clone()));
            }
            !is_due
        });
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().for_each(|(_, undo)| self.undo(undo));
    }

    fn undo(&mut self, undo: Undo) {
        tracing::info!(now = ?self.sim.elapsed(), ?undo, "is over");
        match undo {
            Undo::Release(one, other) => self.sim.release(one.as_str(), other.as_str()),
            Undo::Repair(node) => {
                for replica in 0..N_REPLICAS {
                    self.sim.repair(node.as_str(), replica::name(replica).as_str());
                }
            }
            Undo::Hear(from, to) => self.sim.repair_oneway(from.as_str(), to.as_str()),
            Undo::Start(host) => {
                self.down.remove(&host);
                self.sim.bounce(host.as_str());
            }
            Undo::Stop(host) => {
                self.down.insert(host.clone());
                self.sim.crash(host.as_str());
            }
            Undo::Uncut(replica) => self.lines[replica].cut(false),
            Undo::Unhang(replica) => self.lines[replica].hang(false),
            Undo::Unhush(replica) => self.lines[replica].hush(false),
            Undo::Hurry(replica) => self.lines[replica].slow(Duration::from_millis(5)),
            Undo::Quicken(node) => self.nodes[node].slow_down(Duration::ZERO),
            Undo::Unstick(node) => self.nodes[node].read_nothing(false),
            Undo::NewEpoch => self.history.begin_epoch(),
        }
    }
}
