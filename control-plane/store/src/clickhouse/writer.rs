//! Batches that go together. Each insert makes a part on disk that ClickHouse has to merge, so it wants few and large ones: whoever
//! comes while one is written goes with the next, and that waits a little where the last was not long ago.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::fault::Fault;
use super::table;

/// Between two inserts of a process.
const PACE: Duration = Duration::from_millis(100);
/// Of one insert, in bytes.
const MAX_INSERT: usize = 16 << 20;
/// What has waited longer is stored when it is written, not when it came: those who read by that time would have passed it.
const LATE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Writer {
    waiting: Mutex<Vec<Batch>>,
    /// Held by who writes; when the last was written.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Batch {
    at_ms: i64,
    came: Instant,
    rows: Vec<String>,
    told: oneshot::Sender<Result<(), Fault>>,
}

// === impl Writer ===

impl Writer {
    /// Returns when these rows were inserted, with others or alone. Dropped before, they may be inserted all the same.
    pub(super) async fn write<F>(
        &self,
        at_ms: i64,
        rows: Vec<String>,
        insert: impl Fn(Vec<u8>) -> F,
    ) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let (told, mut answer) = oneshot::channel();
        self.waiting().push(Batch { at_ms, came: Instant::now(), rows, told });
        let mut last = self.turn.lock().await;
        loop {
            match answer.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Empty) => {}
                // Who wrote it has gone in the middle.
                Err(TryRecvError::Closed) => return Err(given_up()),
            }
            if let Some(last) = *last {
                tokio::time::sleep_until(last + PACE).await;
            }
            let group = self.next();
            let outcome = insert(lines(&group)).await;
            *last = Some(Instant::now());
            for batch in group {
                // Who has gone comes again.
                let _ = batch.told.send(outcome.clone());
            }
        }
    }

    /// In the order in which they came, as many as one insert takes.
    fn next(&self) -> Vec<Batch> {
        let mut waiting = self.waiting();
        let mut n_bytes = 0;
        let n_fitting = waiting.iter().take_while(|batch| {
            let fits = n_bytes < MAX_INSERT;
            n_bytes += batch.rows.iter().map(String::len).sum::<usize>();
            fits
        });
        let n_fitting = n_fitting.count();
        waiting.drain(..n_fitting).collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Batch>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines(group: &[Batch]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(group.iter().flat_map(|batch| &batch.rows).map(|row| row.len() + 80).sum());
    for batch in group {
        let waited = batch.came.elapsed();
        let waited_ms = if waited < LATE { 0 } else { i64::try_from(waited.as_millis()).unwrap_or_default() };
        let end = table::end(batch.at_ms.saturating_add(waited_ms));
        for row in &batch.rows {
            lines.extend_from_slice(row.as_bytes());
            lines.extend_from_slice(end.as_bytes());
            lines.push(b'\n');
        }
    }
    lines
}

fn given_up() -> Fault {
    Fault::Away { place: "ClickHouse".to_owned(), told: "the call was given up".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What was inserted, by insert.
    type Inserted = Arc<Mutex<Vec<Vec<u8>>>>;

    async fn send(writer: &Writer, inserted: &Inserted, row: &str, outcome: Result<(), Fault>) -> Result<(), Fault> {
        let insert = |lines| async {
            inserted.lock().expect("not poisoned").push(lines);
            tokio::time::sleep(Duration::from_millis(10)).await;
            outcome.clone()
        };
        writer.write(5, vec![row.to_owned()], insert).await
    }

    fn n_rows(inserted: &Inserted) -> Vec<usize> {
        let inserted = inserted.lock().expect("not poisoned");
        inserted.iter().map(|lines| lines.iter().filter(|byte| **byte == b'\n').count()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_one_is_written_goes_with_the_next() {
        let (writer, inserted) = (Writer::default(), Inserted::default());
        let began = Instant::now();
        let row = |row| send(&writer, &inserted, row, Ok(()));
        let (one, two, three) = tokio::join!(row("{\"id\":1"), row("{\"id\":2"), row("{\"id\":3"));
        assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
        assert_eq!(n_rows(&inserted), [1, 2]);
        let first = inserted.lock().expect("not poisoned")[0].clone();
        assert_eq!(first, b"{\"id\":1,\"stored_ms\":5,\"precedence\":9223372036854775802}\n");
        assert!(began.elapsed() >= PACE);
    }

    #[tokio::test(start_paused = true)]
    async fn all_hear_of_a_failure_and_none_of_anothers() {
        let (writer, inserted) = (Writer::default(), Inserted::default());
        let row = |outcome| send(&writer, &inserted, "{\"id\":1", outcome);
        let (one, two, three) = tokio::join!(row(Ok(())), row(Err(Fault::NoTable)), row(Ok(())));
        // The second writes for the third.
        assert_eq!((one, two, three), (Ok(()), Err(Fault::NoTable), Err(Fault::NoTable)));
        assert_eq!(row(Ok(())).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_in_the_middle_leaves_nobody_waiting() {
        let (writer, inserted) = (Writer::default(), Inserted::default());
        send(&writer, &inserted, "{\"id\":0", Ok(())).await.expect("inserted");
        // Gone before its turn is over, with the rows of the other.
        let row = |row| send(&writer, &inserted, row, Ok(()));
        let gone = tokio::time::timeout(PACE + Duration::from_millis(5), row("{\"id\":1"));
        let (gone, left) = tokio::join!(gone, row("{\"id\":2"));
        assert!(gone.is_err());
        assert_eq!(left, Err(given_up()));
        assert_eq!(row("{\"id\":2").await, Ok(()));
    }
}
