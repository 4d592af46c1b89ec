//! How far a batch has come: the answers so far, and a log of which lines they are for, so that a node that was killed goes on
//! where it was. An answer is written before its line is noted; what is not noted is cut off again at the next start.

use std::collections::HashSet;
use std::io::{self, SeekFrom};
use std::path::Path;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// Which of the two files an answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Answer,
    Error,
}

pub(super) struct Progress {
    log: File,
    answers: Written,
    errors: Written,
    /// Numbers of lines.
    done: HashSet<usize>,
}

struct Written {
    file: File,
    n_bytes: u64,
    n_lines: usize,
}

/// What a log tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Noted {
    done: HashSet<usize>,
    /// Where each file ends, and how many lines it has.
    answers: (u64, usize),
    errors: (u64, usize),
    n_bytes: u64,
}

// === impl Progress ===

impl Progress {
    /// Opens the files of a batch, or makes them. What was written and not noted goes.
    pub(super) async fn open(log: &Path, answers: &Path, errors: &Path) -> io::Result<Self> {
        let text = match tokio::fs::read(log).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let length = async |path: &Path| tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len());
        let noted = Noted::read(&text, length(answers).await, length(errors).await);
        let log = opened(log, noted.n_bytes).await?;
        let answers = Written::open(answers, noted.answers).await?;
        let errors = Written::open(errors, noted.errors).await?;
        Ok(Self { log, answers, errors, done: noted.done })
    }

    pub(super) fn is_done(&self, number: usize) -> bool {
        self.done.contains(&number)
    }

    /// Lines with an answer, and with an error.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.answers.n_lines, self.errors.n_lines)
    }

    /// Bytes of the file.
    pub(super) fn len(&self, sort: Sort) -> u64 {
        match sort {
            Sort::Answer => self.answers.n_bytes,
            Sort::Error => self.errors.n_bytes,
        }
    }

    /// Writes what became of a line; when this returns, the process may be killed and it is not asked again.
    pub(super) async fn put(&mut self, number: usize, sort: Sort, line: &str) -> io::Result<()> {
        let (written, letter) = match sort {
            Sort::Answer => (&mut self.answers, 'a'),
            Sort::Error => (&mut self.errors, 'e'),
        };
        written.file.write_all(line.as_bytes()).await?;
        written.file.flush().await?;
        written.n_bytes += line.len() as u64;
        written.n_lines += 1;
        let note = format!("{number} {letter} {}\n", written.n_bytes);
        self.log.write_all(note.as_bytes()).await?;
        self.log.flush().await?;
        self.done.insert(number);
        Ok(())
    }

    /// Returns when the disk has all.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        self.answers.file.sync_all().await?;
        self.errors.file.sync_all().await
    }
}

/// How many answers and errors are noted, for who only asks.
pub(super) fn counts(log: &Path) -> (usize, usize) {
    let text = std::fs::read(log).unwrap_or_default();
    let noted = Noted::read(&text, u64::MAX, u64::MAX);
    (noted.answers.1, noted.errors.1)
}

// === impl Written ===

impl Written {
    async fn open(path: &Path, (n_bytes, n_lines): (u64, usize)) -> io::Result<Self> {
        Ok(Self { file: opened(path, n_bytes).await?, n_bytes, n_lines })
    }
}

// === impl Noted ===

impl Noted {
    /// Notes are believed as far as they are whole and the files are as long as they say.
    fn read(text: &[u8], n_answers: u64, n_errors: u64) -> Self {
        let mut noted = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some((number, letter, end)) = note(line) else { break };
            let (place, n_bytes) = match letter {
                "a" => (&mut noted.answers, n_answers),
                _ => (&mut noted.errors, n_errors),
            };
            if end < place.0 || end > n_bytes {
                break;
            }
            *place = (end, place.1 + 1);
            noted.done.insert(number);
            noted.n_bytes += line.len() as u64;
        }
        noted
    }
}

fn note(line: &[u8]) -> Option<(usize, &str, u64)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut parts = line.split(' ');
    let (number, letter, end) = (parts.next()?, parts.next()?, parts.next()?);
    matches!(letter, "a" | "e").then_some((number.parse().ok()?, letter, end.parse().ok()?))
}

/// At its end, which is there.
async fn opened(path: &Path, n_bytes: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).await?;
    file.set_len(n_bytes).await?;
    file.seek(SeekFrom::End(0)).await?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_not_noted_is_cut_off() {
        let dir = tempfile::tempdir().expect("a directory");
        let [log, answers, errors] = ["log", "answers", "errors"].map(|name| dir.path().join(name));
        let mut progress = Progress::open(&log, &answers, &errors).await.expect("new files");
        progress.put(7, Sort::Answer, "seven\n").await.expect("written");
        progress.put(2, Sort::Error, "two\n").await.expect("written");
        progress.put(3, Sort::Answer, "three\n").await.expect("written");
        drop(progress);
        let append = |path: &Path, text: &str| {
            let mut content = std::fs::read_to_string(path).expect("there");
            content.push_str(text);
            std::fs::write(path, content).expect("written");
        };
        // Killed while it wrote an answer, and while it noted one.
        append(&answers, "hal");
        append(&log, "9 a 1");
        assert_eq!(counts(&log), (2, 1));
        let mut progress = Progress::open(&log, &answers, &errors).await.expect("the files");
        assert_eq!(progress.counts(), (2, 1));
        assert_eq!([2, 3, 7, 9].map(|number| progress.is_done(number)), [true, true, true, false]);
        progress.put(9, Sort::Answer, "nine\n").await.expect("written");
        assert_eq!(progress.len(Sort::Answer), 17);
        drop(progress);
        assert_eq!(std::fs::read_to_string(&answers).expect("there"), "seven\nthree\nnine\n");
        // The disk lost the end of a file: what is gone is done again.
        std::fs::write(&answers, "seven\nthr").expect("written");
        let progress = Progress::open(&log, &answers, &errors).await.expect("the files");
        assert_eq!((progress.counts(), progress.is_done(3), progress.is_done(9)), ((1, 1), false, false));
        drop(progress);
        assert_eq!(std::fs::read_to_string(&answers).expect("there"), "seven\n");
    }
}
