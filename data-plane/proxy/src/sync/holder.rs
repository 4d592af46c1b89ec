//! What this node holds: the protocol's state, what serves by it and what is kept on disk, moved forward together.
//!
//! Topology is checked, then kept, then served, then answered for. Identity is served at once and kept in the same batch: a
//! revocation waits for no disk. A disk that takes nothing holds back neither.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gateway_wire::tree::Tree;
use gateway_wire::v1::control_msg::Msg as Received;
use gateway_wire::v1::node_msg::Msg as Sent;
use gateway_wire::v1::{Bookmark, Class, ClassState, ConfigError, Item};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::aside::{Counted, Stock, hashed, joined, next};
use super::disk::{CLASSES, Found, Keeper, Kept, Record, Whole, index};
use super::state::{Content, Replica, Step, Target, Update};
use crate::clock;
use crate::state::standing::Standing;
use crate::telemetry::Applied;
use crate::warnings::Warnings;

mod aside;

/// A disk that takes longer than this to keep a topology is not waited for.
const SLOW_DISK: Duration = Duration::from_secs(1);
/// How often what serves is compared with what should.
const RECHECK: Duration = Duration::from_secs(300);
/// How often the age of what is kept is noted on disk.
const TOUCH: Duration = Duration::from_secs(60);
/// Identity that changes while it is copied is copied again, this often; then changes wait for the copy.
const MAX_OVERTAKEN: u32 = 3;

pub(super) struct Holder<T: Target> {
    replica: Replica,
    target: T,
    warnings: Arc<Warnings>,
    applied: Option<Applied>,
    keeper: Option<Keeper>,
    kept: Option<watch::Receiver<[Kept; 2]>>,
    /// Checked, and on its way to disk.
    pending: Option<Pending<T::Checked>>,
    /// Restored, serving, and not hashed yet.
    counting: VecDeque<JoinHandle<Counted>>,
    stocktaking: Option<JoinHandle<Stock>>,
    n_overtaken: u32,
    /// The numbers of the last wholes that went to disk.
    wholes: [u64; 2],
    recheck_at: Instant,
    touched_at: Option<Instant>,
    /// Confirmed by the control plane of this connection.
    current: [bool; 2],
    has_news: bool,
}

struct Pending<C> {
    update: Update,
    checked: C,
    began: Instant,
    /// Of its record.
    number: u64,
    wait_until: Instant,
}

/// What the holder has to see to.
pub(super) enum Due {
    Kept,
    Pending,
    /// `None`: the machine has failed.
    Counted(Option<Counted>),
    Stock(Option<Stock>),
    Recheck,
}

/// Close the stream and come back later.
pub(super) struct Leave {
    pub(super) after: Duration,
    pub(super) reason: String,
}

// === impl Holder ===

impl<T: Target> Holder<T> {
    pub(super) fn new(replica: Replica, target: T, warnings: Arc<Warnings>, applied: Option<Applied>) -> Self {
        Self {
            replica,
            target,
            warnings,
            applied,
            keeper: None,
            kept: None,
            pending: None,
            counting: VecDeque::new(),
            stocktaking: None,
            n_overtaken: 0,
            wholes: [0; 2],
            recheck_at: Instant::now() + RECHECK,
            touched_at: None,
            current: [false; 2],
            has_news: false,
        }
    }

    /// From now on everything is kept.
    pub(super) fn keep(&mut self, keeper: Keeper) {
        self.kept = Some(keeper.watch());
        self.keeper = Some(keeper);
        self.kept_changed();
    }

    /// Serves what was found. An error says why it cannot serve; nothing of its class is held then. What is served is counted
    /// beside it, which takes as long again: see [`Holder::is_counted`].
    pub(super) fn restore(&mut self, found: Found) -> Result<(), Vec<ConfigError>> {
        let Found { class, epoch, revision, items, confirmed_unix_ms } = found;
        let began = Instant::now();
        if class == Class::Topology {
            let checked = self.target.check(&items, revision)?;
            self.target.topology(checked);
        } else {
            self.target.identity(&items, &[]);
        }
        let age_ms = confirmed_unix_ms.map_or(0, |confirmed| (clock::unix_ms() - confirmed).max(0));
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
        if let Some(standing) = self.target.standing() {
            let now = Instant::now();
            standing.serves(class, &epoch, revision, now.checked_sub(age).unwrap_or(now));
        }
        let (word, age_s, took) = (class.word(), age.as_secs(), began.elapsed().as_millis());
        tracing::info!("revision {revision} of {word} serves from disk, confirmed {age_s} s ago, applied in {took} ms");
        let count = move || {
            let tree = hashed(&items);
            let topology = if class == Class::Topology { items } else { Vec::new() };
            Counted { class, epoch, revision, tree, topology }
        };
        self.counting.push_back(tokio::task::spawn_blocking(count));
        Ok(())
    }

    /// What was restored can be told to a control plane.
    pub(super) fn is_counted(&self) -> bool {
        self.counting.is_empty()
    }

    /// For whoever keeps a record of what serves.
    fn tell(&mut self, class: Class) {
        if let Some(applied) = &self.applied {
            self.replica.have().iter().filter(|have| have.class() == class).for_each(applied);
        }
    }

    /// Everything of a class goes to disk, because nothing is there yet.
    pub(super) fn keep_whole(&mut self, class: Class, items: Vec<Item>) {
        let held = self.replica.held(class).map(|(epoch, revision)| (epoch.to_owned(), revision));
        if let (Some(keeper), Some((epoch, revision))) = (&self.keeper, held) {
            let whole = Whole { epoch, revision, items };
            self.wholes[index(class)] = keeper.keep(class, Record::Whole(whole));
        }
    }

    pub(super) fn standing(&self) -> Option<&Standing> {
        self.target.standing()
    }

    /// A new stream: what to say first.
    pub(super) fn connected(&mut self) -> Vec<ClassState> {
        self.serve_pending();
        self.current = [false; 2];
        self.replica.connected()
    }

    pub(super) fn have(&mut self) -> Vec<ClassState> {
        self.replica.have()
    }

    pub(super) fn holds(&self, class: Class) -> bool {
        self.replica.held(class).is_some()
    }

    /// The control plane of this connection has said that both classes are the newest.
    pub(super) fn is_current(&self) -> bool {
        self.current == [true; 2]
    }

    /// Something became safe since the last call that no answer has told.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Answers to one message.
    pub(super) fn receive(&mut self, received: Received) -> Result<Vec<Sent>, Leave> {
        if let Received::Bookmark(Bookmark { live_nodes: live_nodes @ 1.., .. }) = received
            && let Some(standing) = self.target.standing()
        {
            standing.shares_with(live_nodes);
        }
        // The state machine goes by what serves, so that has to be settled first.
        let mut replies = if is_about_identity(&received) { Vec::new() } else { self.serve_pending() };
        match self.replica.receive(received) {
            Step::Nothing => {}
            Step::Reply(reply) => replies.push(reply),
            Step::Apply(update) => replies.extend(self.apply(*update)),
            Step::Leave { after, reason } => return Err(Leave { after, reason }),
        }
        self.note();
        Ok(replies)
    }

    /// Returns when something is to be seen to: [`Holder::see_to`]. Nothing is lost when it is dropped.
    pub(super) async fn due(&mut self) -> Due {
        let pending_at = self.pending.as_ref().map(|pending| pending.wait_until);
        tokio::select! {
            biased;
            () = changed(&mut self.kept) => Due::Kept,
            () = until(pending_at) => Due::Pending,
            counted = next(&mut self.counting) => Due::Counted(counted),
            stock = joined(&mut self.stocktaking) => Due::Stock(stock),
            () = tokio::time::sleep_until(self.recheck_at) => Due::Recheck,
        }
    }

    /// Returns what to send, where there is a stream.
    pub(super) fn see_to(&mut self, due: Due) -> Vec<Sent> {
        let replies = match due {
            Due::Kept => {
                let replies = if self.is_pending_kept() { self.serve_pending() } else { Vec::new() };
                self.kept_changed();
                replies
            }
            Due::Pending => {
                tracing::warn!("the disk takes long to keep a topology, which serves before it is kept");
                self.serve_pending()
            }
            Due::Counted(counted) => {
                if let Some(Counted { class, epoch, revision, tree, topology }) = counted {
                    self.replica.restored(class, epoch, revision, tree, topology);
                    self.kept_changed();
                    self.tell(class);
                }
                Vec::new()
            }
            Due::Stock(stock) => self.stock_taken(stock),
            Due::Recheck => {
                self.recheck_at = Instant::now() + RECHECK;
                self.take_stock();
                let found = Tree::of(self.replica.topology().iter());
                self.replica.recheck(Class::Topology, found).into_iter().collect()
            }
        };
        self.note();
        replies
    }

    /// Returns when everything is on disk that the disk takes, with what is held.
    pub(super) async fn close(mut self) -> (Replica, T) {
        self.serve_pending();
        if let Some(keeper) = self.keeper.take() {
            keeper.close().await;
        }
        (self.replica, self.target)
    }

    fn apply(&mut self, mut update: Update) -> Vec<Sent> {
        let began = Instant::now();
        match &update.content {
            Content::Topology(items) => match self.target.check(items, update.revision) {
                Ok(checked) => self.topology(update, checked, began),
                Err(errors) => vec![self.refuse(&update, errors, began)],
            },
            Content::Identity { upsert, removed } => {
                let quarantined = self.target.identity(upsert, removed);
                let record = update.record();
                if let Some(keeper) = &self.keeper {
                    keeper.keep(Class::Identity, record);
                }
                self.served(update, quarantined, began)
            }
        }
    }

    fn topology(&mut self, mut update: Update, checked: T::Checked, began: Instant) -> Vec<Sent> {
        let Some(keeper) = &self.keeper else {
            self.target.topology(checked);
            return self.served(update, Vec::new(), began);
        };
        let number = keeper.keep(Class::Topology, update.record());
        let wait_until = Instant::now() + SLOW_DISK;
        self.pending = Some(Pending { update, checked, began, number, wait_until });
        // What is known to fail is not waited for.
        if keeper.kept(Class::Topology).is_failing() { self.serve_pending() } else { Vec::new() }
    }

    fn is_pending_kept(&self) -> bool {
        match (&self.pending, &self.keeper) {
            (Some(pending), Some(keeper)) => keeper.kept(Class::Topology).up_to >= pending.number,
            _ => false,
        }
    }

    fn serve_pending(&mut self) -> Vec<Sent> {
        let Some(Pending { update, checked, began, .. }) = self.pending.take() else { return Vec::new() };
        self.target.topology(checked);
        self.read_kept();
        let replies = self.served(update, Vec::new(), began);
        self.note();
        replies
    }

    fn served(&mut self, update: Update, quarantined: Vec<ConfigError>, began: Instant) -> Vec<Sent> {
        let apply_ms = millis(began);
        let (class, revision) = (update.class, update.revision);
        tracing::info!("revision {revision} of {} serves, applied in {apply_ms} ms", class.word());
        if let Some(standing) = self.target.standing() {
            standing.serves(class, update.epoch(), revision, Instant::now());
        }
        let replies = self.replica.applied(update, quarantined, apply_ms);
        self.tell(class);
        replies
    }

    fn refuse(&mut self, update: &Update, errors: Vec<ConfigError>, began: Instant) -> Sent {
        let (class, revision) = (update.class.word(), update.revision);
        log_refusal(class, revision, &errors);
        self.replica.refused(update, errors, millis(began))
    }

    /// What has been found out about classes goes to where it is shown.
    fn note(&mut self) {
        let now = Instant::now();
        let mut is_confirmed = false;
        for class in CLASSES {
            if self.replica.take_confirmed(class) {
                self.current[index(class)] = true;
                is_confirmed = true;
                if let Some(standing) = self.target.standing() {
                    standing.confirmed(class, now);
                }
            }
        }
        let n_drifts = self.replica.take_drifts();
        if let Some(standing) = self.target.standing() {
            (0..n_drifts).for_each(|_| standing.drifted());
        }
        let is_old = self.touched_at.is_none_or(|at| now.duration_since(at) >= TOUCH);
        if let (Some(keeper), true, true) = (&self.keeper, is_confirmed, is_old) {
            keeper.confirmed(clock::unix_ms());
            self.touched_at = Some(now);
        }
    }

    fn kept_changed(&mut self) {
        self.read_kept();
        let Some(keeper) = &self.keeper else { return };
        let kept = CLASSES.map(|class| keeper.kept(class));
        if let Some(standing) = self.target.standing() {
            standing.unkept(kept.iter().any(Kept::is_failing));
        }
        for (class, kept) in CLASSES.into_iter().zip(kept) {
            self.warn(class, &kept);
            if kept.wants_whole && kept.up_to >= self.wholes[index(class)] && self.holds(class) {
                match class {
                    Class::Topology => self.keep_whole(class, self.replica.topology()),
                    _ => self.take_stock(),
                }
            }
        }
    }

    /// How far the disk has come.
    fn read_kept(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        for class in CLASSES {
            let kept = keeper.kept(class);
            self.has_news |= self.replica.persisted(class, &kept.epoch, kept.revision);
            if let (Some(standing), Some((epoch, _))) = (self.target.standing(), self.replica.held(class)) {
                standing.persisted(class, kept.revision_in(epoch));
            }
        }
    }

    fn warn(&self, class: Class, kept: &Kept) {
        let subject = if class == Class::Topology { "topology-disk" } else { "identity-disk" };
        match &kept.failure {
            None => self.warnings.clear(subject),
            Some(failure) => {
                let word = class.word();
                let text = format!(
                    "{word} is served from memory and not kept on disk, a restart would go back to revision {}; make \
                     room or repair the disk: {failure}",
                    kept.revision
                );
                self.warnings.set(subject, text);
            }
        }
    }

    /// Begins to find out what of identity serves in truth.
    fn take_stock(&mut self) {
        let held = self.replica.held(Class::Identity).map(|(epoch, revision)| (epoch.to_owned(), revision));
        let (None, Some((epoch, revision)), Some(copy)) = (&self.stocktaking, held, self.target.stock()) else {
            return;
        };
        let take = move || {
            let items = copy();
            let tree = hashed(&items);
            Stock { epoch, revision, items, tree }
        };
        if self.n_overtaken < MAX_OVERTAKEN {
            self.stocktaking = Some(tokio::task::spawn_blocking(take));
        } else {
            let stock = take();
            self.stocktaking = Some(tokio::task::spawn_blocking(|| stock));
        }
    }

    fn stock_taken(&mut self, stock: Option<Stock>) -> Vec<Sent> {
        let Some(stock) = stock else { return Vec::new() };
        if self.replica.held(Class::Identity) != Some((stock.epoch.as_str(), stock.revision)) {
            self.n_overtaken += 1;
            self.take_stock();
            return Vec::new();
        }
        self.n_overtaken = 0;
        let replies = self.replica.recheck(Class::Identity, stock.tree).into_iter().collect();
        let is_wanted = self.keeper.as_ref().is_some_and(|keeper| keeper.kept(Class::Identity).wants_whole);
        if is_wanted {
            self.keep_whole(Class::Identity, stock.items);
        }
        replies
    }
}

/// Says what is wrong with a revision, a line for each finding.
pub(super) fn log_refusal(class: &str, revision: u64, errors: &[ConfigError]) {
    for error in errors {
        let (kind, name, path) = (&error.kind, &error.name, &error.field_path);
        tracing::error!("revision {revision} of {class} is refused: {kind} `{name}` {path}: {}", error.message);
    }
}

fn is_about_identity(received: &Received) -> bool {
    match received {
        Received::Delta(delta) => delta.class() == Class::Identity,
        Received::Begin(begin) => begin.class() == Class::Identity,
        Received::Bookmark(bookmark) => bookmark.class() == Class::Identity,
        Received::Repair(repair) => repair.class() == Class::Identity,
        // The beginnings were seen to; the end is what counts.
        Received::Chunk(_) => true,
        Received::End(_) | Received::Incompatible(_) | Received::Redirect(_) => false,
    }
}

fn millis(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX)
}

async fn changed(kept: &mut Option<watch::Receiver<[Kept; 2]>>) {
    let Some(watched) = kept else { return std::future::pending().await };
    if watched.changed().await.is_err() {
        // Nothing is kept any more.
        *kept = None;
        std::future::pending().await
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
