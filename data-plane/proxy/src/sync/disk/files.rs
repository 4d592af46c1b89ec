//! Writing a class to disk: a snapshot, a journal of what changed since, and both of the generation before.
//!
//! A snapshot takes its name when it is whole and on disk. The generation before stays readable up to the present, because
//! its journal leads to the newer one.

use std::io;

use gateway_wire::seal::{Appender, Error, Header, ItemWriter, What};
use gateway_wire::v1::{Class, Delta, Item};
use prost::Message as _;

use super::folder::Output;
use super::names::Names;
use super::read::{Content, Source, Survey};

/// The files of one class. All calls block on the disk.
pub(super) struct Files {
    source: Source,
    names: Names,
    generation: u64,
    /// `None` where what is on disk is not what is held: a whole snapshot is due.
    journal: Option<Journal>,
}

struct Journal {
    appender: Appender<Box<dyn Output>>,
    epoch: String,
    revision: u64,
    n_bytes: usize,
    is_merging: bool,
}

/// A snapshot that was made of an older one and its journal.
pub(super) struct Merged {
    generation: u64,
}

/// A journal that has grown to this is merged into the next snapshot.
const COMPACT_AT: usize = 16 << 20;

// === impl Files ===

impl Files {
    /// What is on disk, and the files to go on with. What is damaged is told and left out.
    pub(super) fn open(source: Source) -> (Self, Option<Content>, Vec<String>) {
        let mut survey = Survey::of(source.clone());
        let generation = survey.generation();
        let mut content = survey.read();
        let journal = content.as_mut().and_then(|content| content.journal.take());
        let names = Names::of(source.class);
        let journal = journal.and_then(|tail| {
            let at_end = content.as_ref().is_some_and(|content| content.revision == tail.revision);
            // A cut journal is gone on with at its last whole record; a damaged one is left for people to look at.
            if !at_end || !survey.damage.is_empty() {
                return None;
            }
            let end = tail.frames.end();
            // A disk that is only read from is noticed with the first write.
            let output = source.folder.resume(&names.journals[0], end).ok()?;
            let (epoch, revision) = (tail.epoch, tail.revision);
            let appender = Appender::resume(tail.frames, output);
            Some(Journal { appender, epoch, revision, n_bytes: usize::try_from(end).ok()?, is_merging: false })
        });
        (Self { source, names, generation, journal }, content, survey.damage)
    }

    /// Epoch and revision that the last `sync` or `replace` has made safe; `None` where a whole snapshot is due.
    pub(super) fn kept(&self) -> Option<(&str, u64)> {
        self.journal.as_ref().map(|journal| (journal.epoch.as_str(), journal.revision))
    }

    /// Safe after the next [`Files::sync`].
    pub(super) fn append(&mut self, delta: &Delta) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Err(io::Error::other("a whole snapshot is due first")) };
        if delta.epoch != journal.epoch || delta.from_revision != journal.revision {
            self.journal = None;
            return Err(io::Error::other("a change does not follow what was kept"));
        }
        let record = delta.encode_to_vec();
        let appended = journal.appender.append(&record);
        journal.revision = delta.to_revision;
        journal.n_bytes += record.len();
        self.checked(appended)
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.journal.as_mut().map_or(Ok(()), |journal| journal.appender.writer_mut().sync());
        self.checked(synced)
    }

    /// A new generation: safe when this returns.
    pub(super) fn replace(&mut self, epoch: &str, revision: u64, items: &[Item]) -> io::Result<()> {
        let class = self.source.class;
        let replaced = (|| {
            self.source.folder.prepare()?;
            let header = header(What::Snapshot(class), epoch, revision, self.generation + 1);
            let file = self.source.folder.create(&self.names.next_snapshot)?;
            let mut writer = ItemWriter::begin(&self.source.key, &header, file)?;
            items.iter().try_for_each(|item| writer.write(class, item))?;
            writer.finish()?.sync()?;
            self.rotate(&self.names.next_snapshot, epoch, revision)
        })();
        match replaced {
            Ok(journal) => {
                self.journal = Some(journal);
                self.generation += 1;
                Ok(())
            }
            Err(error) => self.checked(Err(error)),
        }
    }

    /// The work of a compaction, to be done beside further appends; `None` while the journal is short.
    pub(super) fn compaction(
        &mut self,
        at: Option<usize>,
    ) -> Option<impl FnOnce() -> Result<Merged, Error> + Send + use<>> {
        let journal = self.journal.as_mut()?;
        if journal.is_merging || journal.n_bytes < at.unwrap_or(COMPACT_AT) {
            return None;
        }
        journal.is_merging = true;
        let (source, generation, revision) = (self.source.clone(), self.generation + 1, journal.revision);
        Some(move || merge(&source, generation, revision))
    }

    /// The compaction is done: its snapshot takes the place of the older one, unless a newer one is there already.
    pub(super) fn adopt(&mut self, merged: Result<Merged, Error>) -> io::Result<()> {
        let merged = match merged {
            Ok(merged) if merged.generation == self.generation + 1 => merged,
            Ok(_) => return Ok(()),
            Err(error) => {
                // What is held is known elsewhere, and a snapshot of it heals whatever this is.
                self.journal = None;
                return Err(io::Error::other(format!("the journal cannot be merged into a snapshot: {error}")));
            }
        };
        let Some(journal) = &self.journal else { return Ok(()) };
        // What was appended meanwhile stays in the older journal, which is followed to its end.
        let rotated = self.rotate(&self.names.merged, &journal.epoch, journal.revision);
        match rotated {
            Ok(journal) => {
                self.journal = Some(journal);
                self.generation = merged.generation;
                Ok(())
            }
            Err(error) => self.checked(Err(error)),
        }
    }

    /// Whether the disk takes anything at all; costs a few bytes.
    pub(super) fn probe(&self) -> io::Result<()> {
        self.source.folder.prepare()?;
        let mut file = self.source.folder.create(&self.names.next_journal)?;
        file.write_all(b"probe")?;
        file.sync()
    }

    /// A control plane has confirmed what is kept.
    pub(super) fn touch(&self, unix_ms: i64) {
        self.source.folder.touch(&self.names.journals[0], unix_ms);
    }

    /// The file of this name becomes the newest snapshot, with an empty journal behind it.
    fn rotate(&self, snapshot: &str, epoch: &str, revision: u64) -> io::Result<Journal> {
        let folder = &self.source.folder;
        let header = header(What::Journal(self.source.class), epoch, revision, self.generation + 1);
        let file = folder.create(&self.names.next_journal)?;
        let mut appender = Appender::begin(&self.source.key, &header, file)?;
        appender.writer_mut().sync()?;
        let [newest, before] = &self.names.snapshots;
        let [newest_journal, journal_before] = &self.names.journals;
        folder.rename(newest, before)?;
        folder.rename(newest_journal, journal_before)?;
        folder.rename(snapshot, newest)?;
        folder.rename(&self.names.next_journal, newest_journal)?;
        folder.sync()?;
        Ok(Journal { appender, epoch: epoch.to_owned(), revision, n_bytes: 0, is_merging: false })
    }

    /// After an error nobody knows where the journal ends.
    fn checked(&mut self, done: io::Result<()>) -> io::Result<()> {
        if done.is_err() {
            self.journal = None;
        }
        done
    }
}

/// The next snapshot, from the newest one and its journal; neither is in memory whole.
fn merge(source: &Source, generation: u64, at_least: u64) -> Result<Merged, Error> {
    let names = Names::of(source.class);
    let Some((snapshot, _)) = source.frames(&names.snapshots[0])? else { return Err(Error::Truncated) };
    let replay = source.replayed(&snapshot);
    if replay.revision < at_least {
        return Err(Error::Corrupted);
    }
    let header = header(What::Snapshot(source.class), &replay.epoch, replay.revision, generation);
    let file = source.folder.create(&names.merged).map_err(Error::Unreadable)?;
    let mut writer = ItemWriter::begin(&source.key, &header, file).map_err(Error::Unreadable)?;
    source.merged(&names.snapshots[0], replay.changes, |item| writer.write(source.class, &item))?;
    let mut file = writer.finish().map_err(Error::Unreadable)?;
    file.sync().map_err(Error::Unreadable)?;
    Ok(Merged { generation })
}

fn header(what: What, epoch: &str, revision: u64, generation: u64) -> Header {
    let class = match what {
        What::Snapshot(class) | What::Journal(class) => class,
        What::Export => Class::Unspecified,
    };
    let of = |wanted: Class| if class == wanted { revision } else { 0 };
    Header { what, epoch: epoch.to_owned(), topology: of(Class::Topology), identity: of(Class::Identity), generation }
}
