//! A fleet and all that happens to it, one thing after another, and what must hold after each.

mod checks;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gateway_engine::limits::Asked;
use gateway_model::kind::Kind;
use gateway_model::kind::budget::{Budget, OnExhausted, Window};
use gateway_model::limits::Limits;
use gateway_model::unit::Usd;
use gateway_store::Store;
use gateway_wire::v1::{Charge, LeaseAsk, UsageBatch};
use serde_json::json;

use super::control::Control;
use super::node::{End, Ended, Node, Terms, wanted};

/// Shortly before a day ends.
const NOW: i64 = 1_799_971_200_000 - BEFORE_MIDNIGHT_MS as i64;
const BEFORE_MIDNIGHT_MS: u64 = 3_600_000;
/// A node lends nothing of its parts before it was connected for a minute, and is counted on some seconds later.
const SETTLES_S: u64 = 75;

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) n_nodes: usize,
    pub(super) n_clients: usize,
    pub(super) is_capped: bool,
    /// Rates are lent from the beginning on.
    pub(super) is_settled: bool,
    /// Nano-dollars that all clients share, and that each has.
    pub(super) shared: i64,
    pub(super) own: i64,
    pub(super) allowance: i64,
    pub(super) rpm: u64,
    pub(super) tpm: u64,
    pub(super) steps: Vec<Step>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    /// Its answer is lost.
    Unanswered,
    Twice,
    /// The connection breaks, and it arrives when others have.
    Late,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Ask {
        node: usize,
        client: usize,
        input: u64,
        output: u64,
    },
    End {
        node: usize,
        which: usize,
        end: End,
    },
    Grow {
        node: usize,
        which: usize,
        part: i64,
    },
    Talk {
        node: usize,
        fate: Fate,
    },
    Deliver {
        node: usize,
        n_events: usize,
        fate: Fate,
    },
    Arrive {
        which: usize,
    },
    /// In which nodes that are connected talk.
    Seconds(u64),
    /// Milliseconds in which nobody does.
    Away(u64),
    Kill {
        node: usize,
    },
    /// Killed, revoked, and another one in its place.
    Expel {
        node: usize,
    },
    Restart,
    NodeClock {
        node: usize,
        ms: i64,
    },
    ControlClock(i64),
    /// The shared budget has so many hundredths of its first amount.
    Amend(i64),
    Revoke {
        client: usize,
    },
    /// A node hears of changes.
    Hear {
        node: usize,
    },
}

enum Late {
    Ask(Box<LeaseAsk>),
    Usage(UsageBatch),
}

/// What was let pass.
struct Passed {
    client: usize,
    at_ms: u64,
    tokens: u64,
}

struct World<'a> {
    case: &'a Case,
    name: String,
    control: Control,
    control_ahead_ms: i64,
    began: Instant,
    elapsed_ms: u64,
    nodes: Vec<Node>,
    n_boots: u32,
    n_killed: u64,
    terms: Terms,
    late: Vec<Late>,
    /// By budget and window: what requests that are over have spent.
    spent: BTreeMap<(String, i64), i64>,
    /// By budget: the largest amount, and what may be spent beyond that.
    most: BTreeMap<String, i64>,
    beyond: BTreeMap<String, i64>,
    passed: Vec<Passed>,
    /// Tokens beyond what requests asked for.
    n_overrun: u64,
}

/// One case in a database that others have used. Says what does not hold.
pub(super) async fn run(store: &Store, number: u32, case: &Case) -> Result<(), String> {
    let mut world = World::new(store, number, case).await;
    if case.is_settled {
        (0..case.n_nodes).for_each(|node| world.nodes[node].connect(world.began));
        for node in 0..case.n_nodes {
            world.talk(node, Fate::Arrives).await;
        }
        world.seconds(SETTLES_S).await;
    }
    for step in &case.steps {
        world.happen(step).await;
        world.check().map_err(|why| format!("after {step:?}: {why}"))?;
    }
    world.finish().await;
    world.check()?;
    world.check_rates()?;
    world.check_end().await
}

// === impl World ===

impl<'a> World<'a> {
    async fn new(store: &Store, number: u32, case: &'a Case) -> Self {
        let name = format!("c{number}");
        let budget = |amount| Budget {
            amount_usd: Usd(amount),
            window: Window::Daily,
            on_exhausted: OnExhausted::Refuse,
            offline_allowance_usd: Usd(case.allowance),
            alert_at: None,
            exception: None,
        };
        let own = |client: usize| (format!("key/{name}k{client}"), Some(budget(case.own)));
        let limits = Limits { rpm: Some(case.rpm), tpm: Some(case.tpm), ..Limits::default() };
        let terms = Terms {
            shared: (format!("budget/{name}"), budget(case.shared)),
            own: (0..case.n_clients).map(own).collect(),
            limits,
        };
        let most = terms.own.iter().map(|(name, _)| (name.clone(), case.own));
        let most = most.chain([(terms.shared.0.clone(), case.shared)]).collect();
        let (control, began) = (Control::new(store), Instant::now());
        let mut world = Self {
            case,
            name,
            control,
            control_ahead_ms: 0,
            began,
            elapsed_ms: 0,
            nodes: Vec::new(),
            n_boots: 0,
            n_killed: 0,
            terms,
            late: Vec::new(),
            spent: BTreeMap::new(),
            most,
            beyond: BTreeMap::new(),
            passed: Vec::new(),
            n_overrun: 0,
        };
        for _ in 0..case.n_nodes {
            let node = world.node();
            world.nodes.push(node);
        }
        world.write_shared(case.shared).await;
        for (name, budget) in world.terms.own.clone() {
            let name = name.split_once('/').expect("a kind").1;
            let document = json!({"name": name, "budget": budget});
            world.control.write(Kind::Key, name, Some(&document)).await;
        }
        world
    }

    async fn write_shared(&self, amount: i64) {
        let document = json!({
            "name": self.name, "match": {"models": ["*"]}, "amount_usd": Usd(amount), "window": "daily",
            "offline_allowance_usd": Usd(self.case.allowance),
        });
        self.control.write(Kind::Budget, &self.name, Some(&document)).await;
    }

    /// One that nobody knows yet.
    fn node(&mut self) -> Node {
        let boot = self.boot();
        Node::new(&format!("n-{boot}"), boot, self.case.n_nodes as u32, &self.terms, self.now())
    }

    fn boot(&mut self) -> String {
        self.n_boots += 1;
        for budget in self.most.keys() {
            // It may come to need it in two windows, and each is looked at alone.
            *self.beyond.entry(budget.clone()).or_default() += self.case.allowance;
        }
        format!("{}-{}", self.name, self.n_boots)
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.elapsed_ms)
    }

    fn true_ms(&self) -> i64 {
        NOW + self.elapsed_ms as i64
    }

    async fn happen(&mut self, step: &Step) {
        let (n_nodes, now_ms, now) = (self.nodes.len(), self.true_ms(), self.now());
        match *step {
            Step::Ask { node, client, input, output } => self.ask(node % n_nodes, client, input, output),
            Step::End { node, which, end } => {
                let ended = self.nodes[node % n_nodes].end(which, end);
                self.ended(ended);
            }
            Step::Grow { node, which, part } => self.nodes[node % n_nodes].grow(which, part, now_ms),
            Step::Talk { node, fate } => self.talk(node % n_nodes, fate).await,
            Step::Deliver { node, n_events, fate } => {
                self.deliver(node % n_nodes, n_events, fate).await;
            }
            Step::Arrive { which } if !self.late.is_empty() => {
                let late = self.late.swap_remove(which % self.late.len());
                self.arrive(late).await;
            }
            Step::Arrive { .. } => {}
            Step::Seconds(seconds) => self.seconds(seconds).await,
            Step::Away(ms) => self.elapsed_ms += ms,
            Step::Kill { node } => {
                let boot = self.boot();
                let open = self.nodes[node % n_nodes].killed(boot, &self.terms, now);
                self.n_killed += 1;
                open.iter().for_each(|open| self.spend(&open.charges));
            }
            Step::Expel { node } => self.expel(node % n_nodes).await,
            Step::Restart => {
                self.control.restart();
                // What it had not read is gone with it; usage comes again over another connection.
                self.late.retain(|late| matches!(late, Late::Usage(_)));
                self.nodes.iter_mut().for_each(|node| node.talk = None);
            }
            Step::NodeClock { node, ms } => self.nodes[node % n_nodes].ahead_ms = ms,
            Step::ControlClock(ms) => self.control_ahead_ms = ms,
            Step::Amend(part) => {
                let amount = (self.case.shared * part / 100).max(1);
                self.terms.shared.1.amount_usd = Usd(amount);
                let most = self.most.get_mut(&self.terms.shared.0).expect("one of them");
                *most = amount.max(*most);
                self.write_shared(amount).await;
            }
            Step::Revoke { client } => {
                let at = client % self.terms.own.len();
                let (name, budget) = &mut self.terms.own[at];
                if budget.take().is_some() {
                    let name = name.split_once('/').expect("a kind").1.to_owned();
                    self.control.write(Kind::Key, &name, None).await;
                }
            }
            Step::Hear { node } => self.nodes[node % n_nodes].hear(&self.terms),
        }
    }

    fn ask(&mut self, node: usize, client: usize, input: u64, output: u64) {
        let asked = Asked { n_input: input, max_output: Some(output), ..Asked::default() };
        let (now_ms, now, at_ms) = (self.true_ms(), self.now(), self.elapsed_ms);
        let (client, place) = (client % self.case.n_clients, self.passed.len());
        let Some(open) = self.nodes[node].ask(client, asked, now_ms, now) else { return };
        (open.id, open.place) = (format!("{}-r{place}", self.name), place);
        self.passed.push(Passed { client, at_ms, tokens: wanted(asked) });
    }

    fn ended(&mut self, ended: Option<(Ended, u64)>) {
        let Some((Ended { charges, paid, place }, tokens)) = ended else { return };
        for charge in &charges {
            *self.beyond.entry(charge.budget.clone()).or_default() += (charge.nano_usd - paid).max(0);
        }
        self.spend(&charges);
        let passed = &mut self.passed[place];
        self.n_overrun += tokens.saturating_sub(passed.tokens);
        passed.tokens = tokens;
    }

    fn spend(&mut self, charges: &[Charge]) {
        for charge in charges {
            *self.spent.entry((charge.budget.clone(), charge.window_start_ms)).or_default() += charge.nano_usd;
        }
    }

    /// All that the node has to say, each with this fate, until one breaks the connection.
    async fn talk(&mut self, node: usize, fate: Fate) {
        let now = self.now();
        let greeting = match &mut self.nodes[node] {
            node if node.talk.is_none() => {
                node.connect(now);
                Some(node.teller.greeting())
            }
            _ => None,
        };
        if let Some(greeting) = greeting
            && !self.say(node, greeting, fate, true).await
        {
            return;
        }
        for _ in 0..8 {
            let speaker = &mut self.nodes[node];
            let Some(talk) = &mut speaker.talk else { return };
            let next = speaker.teller.next(now);
            let Some(ask) = talk.add(next, || speaker.teller.bare(), now) else { return };
            if !self.say(node, ask, fate, false).await {
                return;
            }
        }
    }

    /// Whether the connection lasts.
    async fn say(&mut self, node: usize, ask: LeaseAsk, fate: Fate, is_first: bool) -> bool {
        let (now, now_ms) = (self.now(), self.true_ms() + self.nodes[node].ahead_ms);
        let control_ms = self.true_ms() + self.control_ahead_ms;
        self.nodes[node].purses.silent(now_ms);
        let answer = match fate {
            Fate::Arrives => Some(self.control.lease(ask, control_ms, now).await),
            // A first message that comes twice is two connections.
            Fate::Twice if is_first => Some(self.control.lease(ask, control_ms, now).await),
            Fate::Twice => {
                self.control.lease(ask.clone(), control_ms, now).await;
                Some(self.control.lease(ask, control_ms, now).await)
            }
            Fate::Unanswered => {
                self.control.lease(ask, control_ms, now).await;
                None
            }
            Fate::Late => {
                self.late.push(Late::Ask(Box::new(ask)));
                None
            }
            Fate::Lost => None,
        };
        let speaker = &mut self.nodes[node];
        let Some(answer) = answer else {
            speaker.talk = None;
            return false;
        };
        speaker.teller.answered(&answer, now_ms);
        if let Some(talk) = &mut speaker.talk {
            talk.answered(&answer);
        }
        true
    }

    /// Whether there was anything.
    async fn deliver(&mut self, node: usize, n_events: usize, fate: Fate) -> bool {
        let Some(batch) = self.nodes[node].batch(n_events) else { return false };
        let (boot, lane) = (batch.boot_id.clone(), batch.lane);
        match fate {
            Fate::Lost => {}
            Fate::Late => self.late.push(Late::Usage(batch)),
            Fate::Unanswered => {
                self.control.usage(batch).await;
            }
            Fate::Arrives | Fate::Twice => {
                if fate == Fate::Twice {
                    self.control.usage(batch.clone()).await;
                }
                let up_to = self.control.usage(batch).await;
                self.nodes[node].acknowledged(&boot, lane, up_to);
            }
        }
        true
    }

    async fn arrive(&mut self, late: Late) {
        match late {
            Late::Ask(ask) => {
                self.control.late(*ask, self.true_ms() + self.control_ahead_ms, self.now()).await;
            }
            Late::Usage(batch) => {
                self.control.usage(batch).await;
            }
        }
    }

    async fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.elapsed_ms += 1000;
            for node in 0..self.nodes.len() {
                let (now, now_ms) = (self.now(), self.true_ms());
                let speaker = &mut self.nodes[node];
                speaker.teller.look(now, now_ms + speaker.ahead_ms);
                if speaker.talk.is_some() {
                    self.talk(node, Fate::Arrives).await;
                }
            }
        }
    }

    /// What it did not tell nobody knows; what was on its way is not heard any more.
    async fn expel(&mut self, node: usize) {
        let next = self.node();
        let gone = std::mem::replace(&mut self.nodes[node], next);
        self.n_killed += 1;
        self.late.retain(|late| match late {
            Late::Ask(ask) => ask.node_id != gone.id,
            Late::Usage(batch) => batch.node_id != gone.id,
        });
        gone.open.iter().for_each(|open| self.spend(&open.charges));
        let events = &self.control.events;
        for charge in gone.undelivered().filter(|event| !events.contains_key(&event.id)).flat_map(|event| event.charges)
        {
            *self.beyond.entry(charge.budget).or_default() += charge.nano_usd;
        }
        let number = self.n_boots;
        let case: u32 = self.name.trim_start_matches('c').parse().expect("a number");
        self.control.admit(&gone.id, case * 1000 + number).await;
        self.control.expel(&gone.id, self.true_ms()).await;
    }

    /// All requests end, everything arrives, and nodes give back what they have.
    async fn finish(&mut self) {
        for node in 0..self.nodes.len() {
            while !self.nodes[node].open.is_empty() {
                let ended = self.nodes[node].end(0, End::Used(50));
                self.ended(ended);
            }
        }
        while let Some(late) = self.late.pop() {
            self.arrive(late).await;
        }
        for node in 0..self.nodes.len() {
            while self.deliver(node, 100, Fate::Arrives).await {}
            self.nodes[node].talk = None;
            for _ in 0..3 {
                self.elapsed_ms += 1000;
                self.nodes[node].teller.give_back_all();
                self.talk(node, Fate::Arrives).await;
            }
        }
        let now_ms = self.true_ms();
        self.control.store.reap_leases(now_ms, now_ms).await.expect("the ledger answers");
    }
}
