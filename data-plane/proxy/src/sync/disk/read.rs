//! Reading what a class has on disk: the newest snapshot that is whole, and behind it every change that follows.
//!
//! The files are believed for what they say of themselves, under the seal, and not for their names: a rotation that was
//! interrupted anywhere leaves files that read as before it or as after it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use gateway_wire::seal::{Error, Frames, Header, ItemReader, Key, What};
use gateway_wire::v1::{Class, Delta, Item};
use prost::Message as _;

use super::folder::Folder;
use super::names::Names;

/// Where the files of a class are and what opens them.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) folder: Arc<dyn Folder>,
    pub(super) key: Arc<Key>,
    pub(super) class: Class,
}

/// What was found.
pub(super) struct Content {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) items: Vec<Item>,
    /// The newest journal, to be written on; `None` where it is not what follows.
    pub(super) journal: Option<Tail>,
    /// The newest journal ended within a record, which was not told to be safe.
    pub(super) is_torn: bool,
}

/// The end of a journal.
pub(super) struct Tail {
    pub(super) frames: Frames<Box<dyn Read + Send>>,
    pub(super) epoch: String,
    pub(super) revision: u64,
}

/// What is known about the files of a class before their content is read.
pub(super) struct Survey {
    source: Source,
    names: Names,
    /// Newest first.
    snapshots: Vec<(String, Header)>,
    /// Oldest first.
    journals: Vec<(String, Header)>,
    pub(super) damage: Vec<String>,
}

/// What the journals change; `None` deletes.
pub(super) type Changes = BTreeMap<(String, String), Option<Item>>;

// === impl Survey ===

impl Survey {
    pub(super) fn of(source: Source) -> Self {
        let names = Names::of(source.class);
        let (snapshots, journals) = (Vec::new(), Vec::new());
        let mut survey = Self { source, names, snapshots, journals, damage: Vec::new() };
        let class = survey.source.class;
        survey.snapshots = survey.headers(&survey.names.snapshots.clone(), What::Snapshot(class));
        survey.snapshots.sort_by_key(|(_, header)| std::cmp::Reverse(header.generation));
        survey.journals = survey.headers(&survey.names.journals.clone(), What::Journal(class));
        survey.journals.sort_by_key(|(_, header)| header.generation);
        survey
    }

    /// The newest generation that any file is of.
    pub(super) fn generation(&self) -> u64 {
        let files = self.snapshots.iter().chain(&self.journals);
        files.map(|(_, header)| header.generation).max().unwrap_or_default()
    }

    /// `None` where there is nothing, or nothing that can be used.
    pub(super) fn read(&mut self) -> Option<Content> {
        let snapshots = std::mem::take(&mut self.snapshots);
        let content = snapshots.iter().find_map(|(name, header)| match self.follow(name, header) {
            Ok(content) => Some(content),
            Err(error) => {
                self.damage.push(format!("`{name}` is not used: {error}"));
                None
            }
        });
        if let Some(content) = &content {
            let files = snapshots.iter().chain(&self.journals);
            let of_epoch = files.filter(|(_, header)| header.epoch == content.epoch);
            let known = of_epoch.map(|(_, header)| header.revision(self.source.class)).max().unwrap_or_default();
            if content.revision < known {
                self.damage
                    .push(format!("revision {} is the newest that can be read, {known} was kept", content.revision));
            }
        }
        content
    }

    fn headers(&mut self, names: &[String], expected: What) -> Vec<(String, Header)> {
        let mut found = Vec::new();
        for name in names {
            match self.source.frames(name) {
                Ok(None) => {}
                Ok(Some((header, _))) => match header.expect(expected) {
                    Ok(()) => found.push((name.clone(), header)),
                    Err(error) => self.damage.push(format!("`{name}` is not used: {error}")),
                },
                Err(error) => self.damage.push(format!("`{name}` is not used: {error}")),
            }
        }
        found
    }

    /// This snapshot and what follows it.
    fn follow(&mut self, name: &str, header: &Header) -> Result<Content, Error> {
        let mut replay = Replay::from(header, self.source.class);
        let mut damage = Vec::new();
        let journals = self.journals.clone();
        for (name, journal) in &journals {
            if let Err(reason) = replay.journal(&self.source, name, journal, &self.names.journals[0]) {
                damage.push(format!("`{name}` is used up to revision {} only: {reason}", replay.revision));
                break;
            }
        }
        let Replay { epoch, revision, changes, tail, is_torn, .. } = replay;
        let mut items = Vec::new();
        self.source.merged(name, changes, |item| {
            items.push(item);
            Ok(())
        })?;
        self.damage.append(&mut damage);
        // A rotation was interrupted: everything is there, but not under its name.
        let tail = tail.filter(|_| name == self.names.snapshots[0]);
        Ok(Content { epoch, revision, items, journal: tail, is_torn })
    }
}

// === impl Source ===

impl Source {
    /// The items of a snapshot with these changes. After an error what was given is worth nothing.
    pub(super) fn merged(
        &self,
        snapshot: &str,
        mut changes: Changes,
        mut sink: impl FnMut(Item) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let file = self.folder.open(snapshot).map_err(Error::Unreadable)?;
        let (header, mut reader) = ItemReader::begin(&self.key, file)?;
        header.expect(What::Snapshot(self.class))?;
        while let Some((_, item)) = reader.read()? {
            let changed = if changes.is_empty() { None } else { changes.remove(&(item.kind.clone(), item.id.clone())) };
            match changed {
                None => sink(item).map_err(Error::Unreadable)?,
                Some(Some(item)) => sink(item).map_err(Error::Unreadable)?,
                Some(None) => {}
            }
        }
        changes.into_values().flatten().try_for_each(sink).map_err(Error::Unreadable)
    }

    /// What the journals have made of a snapshot.
    pub(super) fn replayed(&self, snapshot: &Header) -> Replay {
        let names = Names::of(self.class);
        let mut replay = Replay::from(snapshot, self.class);
        for name in names.journals.iter().rev() {
            if let Ok(Some((header, _))) = self.frames(name)
                && header.what == What::Journal(self.class)
            {
                // What cannot be followed is reported where it is read at a start.
                let _ = replay.journal(self, name, &header, &names.journals[0]);
            }
        }
        replay
    }

    /// `None` where there is no such file.
    pub(super) fn frames(&self, name: &str) -> Result<Option<Opened>, Error> {
        match self.folder.open(name) {
            Ok(file) => Frames::begin(&self.key, file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Unreadable(error)),
        }
    }
}

/// A file of which the beginning was read.
type Opened = (Header, Frames<Box<dyn Read + Send>>);

/// Changes on their way from disk, and how far they reach.
pub(super) struct Replay {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) changes: Changes,
    tail: Option<Tail>,
    is_torn: bool,
    class: Class,
    generation: u64,
}

// === impl Replay ===

impl Replay {
    fn from(snapshot: &Header, class: Class) -> Self {
        let (epoch, revision) = (snapshot.epoch.clone(), snapshot.revision(class));
        let generation = snapshot.generation;
        Self { epoch, revision, changes: Changes::new(), tail: None, is_torn: false, class, generation }
    }

    /// Follows one journal to its end, or to where it does not follow. `newest` is the name of the one to be written on.
    fn journal(&mut self, source: &Source, name: &str, header: &Header, newest: &str) -> Result<(), String> {
        let opened = source.frames(name).map_err(|error| error.to_string())?;
        let Some((_, mut frames)) = opened else { return Err("it is gone".to_owned()) };
        // Where an older journal leads elsewhere, the snapshot was made without it.
        let is_before = header.generation < self.generation;
        let ended = loop {
            match frames.read() {
                Ok(Some(record)) => match Delta::decode(record) {
                    Ok(delta) if delta.class() == self.class => {
                        if !self.change(delta) && !is_before {
                            return Err("a change is missing before it".to_owned());
                        }
                    }
                    _ => return Err(Error::Corrupted.to_string()),
                },
                Ok(None) => break Ok(()),
                // The process died or the power went while it was written; what was told to be safe is before it.
                Err(Error::Truncated) if name == newest => {
                    self.is_torn = true;
                    break Ok(());
                }
                Err(_) if is_before => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
        };
        if name == newest {
            self.tail = Some(Tail { frames, epoch: self.epoch.clone(), revision: self.revision });
        }
        ended
    }

    /// False where it does not follow. A change that is in already is no contradiction.
    fn change(&mut self, delta: Delta) -> bool {
        if delta.epoch != self.epoch {
            return false;
        }
        let is_repair = delta.from_revision == delta.to_revision;
        if delta.to_revision < self.revision || delta.to_revision == self.revision && !is_repair {
            return true;
        }
        if delta.from_revision != self.revision {
            return false;
        }
        for id in delta.removed {
            self.changes.insert((id.kind, id.id), None);
        }
        for item in delta.upsert {
            self.changes.insert((item.kind.clone(), item.id.clone()), Some(item));
        }
        self.revision = delta.to_revision;
        true
    }
}
