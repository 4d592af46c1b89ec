//! Log records, or bodies, on disk, for as long as no control plane takes them. Bounded: the oldest file goes when there is no room, and
//! its records are counted. Nothing is synchronised: a killed process loses nothing, a power cut what the kernel still had.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::piece::{Batch, Piece};
use crate::telemetry::batch::Collector;
use crate::telemetry::frame;
use crate::telemetry::segment::{Found, Name, Next, Reader, SEGMENT_BYTES};

/// After the disk refused, it is asked again this much later.
const RETRY: Duration = Duration::from_secs(1);

/// What is written at once, about. A buffer that once was larger is given back.
const PIECE: usize = 1024 * 1024;

/// Which file a batch came from.
pub(super) type FileId = u64;

#[derive(Debug)]
pub(super) struct Files<R> {
    dir: PathBuf,
    boot: String,
    quota: u64,
    /// Earlier boots' first; the last one may be written to.
    segments: VecDeque<Segment<R>>,
    n_made: u64,
    next_id: FileId,
    buffer: Vec<u8>,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Segment<R> {
    id: FileId,
    boot: String,
    path: PathBuf,
    n_bytes: u64,
    n_records: u64,
    /// Handed out, delivered.
    n_read: u64,
    n_acked: u64,
    writer: Option<File>,
    reader: Option<Reader>,
    collector: Collector<R>,
}

// === impl Files ===

impl<R: Piece> Files<R> {
    pub(super) fn open(dir: &Path, boot: &str, quota: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (segments, buffer) = (VecDeque::new(), Vec::new());
        let (dir, boot) = (dir.to_owned(), boot.to_owned());
        Ok(Self { dir, boot, quota, segments, n_made: 0, next_id: 0, buffer, retry_at: None })
    }

    /// Files of earlier boots, found with [`found`].
    pub(super) fn adopt(&mut self, found: Vec<(Found, u64)>) {
        for (file, n_records) in found.into_iter().rev() {
            let segment = self.segment(file.name.boot, file.path, file.n_bytes, n_records);
            self.segments.push_front(segment);
        }
    }

    /// All of these or none; returns how many older ones had to go for them.
    pub(super) fn append<'r>(&mut self, records: impl Iterator<Item = (u64, &'r R)>) -> io::Result<u64> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(io::Error::other("it refused a moment ago"));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write(records, &mut buffer);
        buffer.clear();
        buffer.shrink_to(PIECE);
        self.buffer = buffer;
        self.retry_at = written.is_err().then(|| Instant::now() + RETRY);
        written.map(|n_lost| n_lost + self.make_room())
    }

    pub(super) fn has_unread(&self) -> bool {
        self.segments.iter().any(|segment| segment.n_read < segment.n_records)
    }

    /// Written and not delivered.
    pub(super) fn n_pending(&self) -> u64 {
        self.segments.iter().map(|segment| segment.n_records - segment.n_acked).sum()
    }

    /// The oldest records that were not handed out yet. What cannot be read is added to `n_lost`.
    pub(super) fn next(&mut self, n_lost: &mut u64) -> Option<(FileId, Batch<R>)> {
        for segment in &mut self.segments {
            while segment.n_read < segment.n_records {
                if let Some(batch) = segment.next() {
                    segment.n_read += batch.records.len() as u64;
                    return Some((segment.id, batch));
                }
                let n_unreadable = segment.n_records - segment.n_read;
                tracing::warn!("{n_unreadable} {} in `{}` cannot be read", R::WHAT, segment.path.display());
                *n_lost += n_unreadable;
                segment.n_records = segment.n_read;
                segment.writer = None;
            }
        }
        None
    }

    /// So many records of a batch from this file are stored elsewhere.
    pub(super) fn delivered(&mut self, id: FileId, n_records: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.n_acked += n_records;
        }
        self.segments.retain(|segment| {
            let is_done = segment.n_acked >= segment.n_records;
            if is_done {
                remove(&segment.path);
            }
            !is_done
        });
    }

    /// Returns how many can be in no file. What waits is as much as may be in memory, and is not there twice: it is written in pieces.
    fn write<'r>(&mut self, records: impl Iterator<Item = (u64, &'r R)>, buffer: &mut Vec<u8>) -> io::Result<u64> {
        let (mut frame, mut n_records, mut n_bytes, mut n_lost) = (Vec::new(), 0, 0, 0);
        buffer.clear();
        for (seq, record) in records {
            let fits = frame::write(&mut frame, R::KIND, |payload| {
                payload.extend_from_slice(&seq.to_le_bytes());
                // A vector grows; there is no other way for this to fail.
                let _ = record.encode(payload);
            });
            if !fits {
                n_lost += 1;
                continue;
            }
            n_records += 1;
            if buffer.len() + frame.len() > PIECE {
                n_bytes += self.put(buffer)?;
            }
            buffer.extend_from_slice(&frame);
        }
        n_bytes += self.put(buffer)?;
        if let Some(last) = self.segments.back_mut().filter(|_| n_records > 0) {
            last.n_bytes += n_bytes;
            last.n_records += n_records;
            if last.n_bytes >= SEGMENT_BYTES {
                last.writer = None;
            }
        }
        Ok(n_lost)
    }

    /// To the end of the file that is written, which is made if there is none. Where that fails, all that came since a record was last counted
    /// is taken back: the caller keeps it.
    fn put(&mut self, buffer: &mut Vec<u8>) -> io::Result<u64> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.segments.back().is_none_or(|last| last.writer.is_none()) {
            let name = Name { boot: self.boot.clone(), lane: 0, number: self.n_made + 1 };
            let path = name.path(&self.dir, R::FILES);
            let file = File::options().append(true).create_new(true).mode(0o600).open(&path)?;
            self.n_made += 1;
            let mut segment = self.segment(name.boot, path, 0, 0);
            segment.writer = Some(file);
            self.segments.push_back(segment);
        }
        let last = self.segments.back_mut().expect("there was one, or it was made");
        let mut file = last.writer.as_ref().expect("it was looked at, or just opened");
        if let Err(error) = file.write_all(buffer) {
            // If even that fails, nothing may follow.
            if file.set_len(last.n_bytes).is_err() {
                last.writer = None;
            }
            return Err(error);
        }
        let n_bytes = buffer.len() as u64;
        buffer.clear();
        Ok(n_bytes)
    }

    fn make_room(&mut self) -> u64 {
        let mut n_lost = 0;
        while self.segments.len() > 1 && self.segments.iter().map(|segment| segment.n_bytes).sum::<u64>() > self.quota {
            let Some(oldest) = self.segments.pop_front() else { break };
            n_lost += oldest.n_records - oldest.n_read;
            remove(&oldest.path);
        }
        n_lost
    }

    fn segment(&mut self, boot: String, path: PathBuf, n_bytes: u64, n_records: u64) -> Segment<R> {
        self.next_id += 1;
        let (id, collector) = (self.next_id, Collector::default());
        let (n_read, n_acked, writer, reader) = (0, 0, None, None);
        Segment { id, boot, path, n_bytes, n_records, n_read, n_acked, writer, reader, collector }
    }
}

// === impl Segment ===

impl<R: Piece> Segment<R> {
    /// `None` where nothing more can be read.
    fn next(&mut self) -> Option<Batch<R>> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(Reader::open(&self.path).ok()?),
        };
        while let Ok(Next::Frame(kind, payload)) = reader.next() {
            if kind == R::KIND
                && let Some((seq, record)) = logged::<R>(payload)
                && self.collector.push(seq, record)
            {
                break;
            }
        }
        let (first_seq, records) = self.collector.take()?;
        Some(Batch { boot_id: self.boot.clone(), first_seq, records, dropped_total: 0 })
    }
}

/// What earlier boots left behind, and how many records are in each; takes time in proportion to it.
pub(super) fn found<R: Piece>(dir: &Path, boot: &str) -> io::Result<Vec<(Found, u64)>> {
    let earlier = Found::all(dir, R::FILES)?.into_iter().filter(|file| file.name.boot != boot);
    Ok(earlier.map(|file| (count::<R>(&file.path), file)).map(|(n_records, file)| (file, n_records)).collect())
}

fn count<R: Piece>(path: &Path) -> u64 {
    let Ok(mut reader) = Reader::open(path) else { return 0 };
    let mut n_records = 0;
    while let Ok(Next::Frame(kind, payload)) = reader.next() {
        n_records += u64::from(kind == R::KIND && logged::<R>(payload).is_some());
    }
    n_records
}

fn logged<R: Piece>(payload: &[u8]) -> Option<(u64, R)> {
    let (seq, record) = payload.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*seq), R::decode(record).ok()?))
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!("the log's file `{}` cannot be removed: {error}", path.display());
    }
}
