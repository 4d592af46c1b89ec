//! What was admitted is delivered once, whatever happened to the process, the file, or the one who collects.

mod power;

use std::collections::BTreeSet;
use std::path::PathBuf;

use gateway_wire::v1::{IngestAck, SettledBy, UsageBatch};
use proptest::prelude::*;

use super::*;

const BOOT: &str = "boot1";

fn event(id: impl ToString) -> UsageEvent {
    UsageEvent { id: id.to_string(), started_unix_ms: 1, model: "m".to_owned(), ..UsageEvent::default() }
}

fn open(dir: &Path, boot: &str) -> Spool {
    Spool::open(Some(dir), boot, 1, &Arc::default()).expect("a spool")
}

/// Everything that is owed now, acknowledged as it comes.
fn collect(outbox: &mut Outbox) -> Vec<UsageEvent> {
    let mut events = Vec::new();
    while let Some(batch) = outbox.next() {
        outbox.acknowledged(&ack(&batch));
        events.extend(batch.events);
    }
    events
}

fn ack(batch: &UsageBatch) -> IngestAck {
    let up_to_seq = batch.first_seq + batch.events.len() as u64 - 1;
    IngestAck { up_to_seq, lane: batch.lane, boot_id: batch.boot_id.clone() }
}

fn ids(events: &[UsageEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

/// A spool that ends without a word, as by SIGKILL. What was written is in the page cache, where the kernel keeps it.
fn kill(spool: Spool) {
    let keeper = spool.disk.as_ref().and_then(|disk| lock(&disk.keeper).take());
    if let Some(keeper) = keeper {
        keeper.abandon();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    Found::all(&dir.join("spool"), USAGE).expect("a directory").into_iter().map(|found| found.path).collect()
}

#[test]
fn what_settles_is_delivered_once_and_then_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    for id in 0..2500 {
        lane.started(&event(id));
        lane.settled(&event(id));
    }
    assert_eq!(spool.state().usage_pending, 2500);
    let first = outbox.next().expect("a batch");
    assert_eq!((first.first_seq, first.events.len(), first.lane), (1, 1000, 0));
    outbox.rewind();
    assert_eq!(outbox.next(), Some(first.clone()), "sent again where nobody acknowledged");
    outbox.acknowledged(&ack(&first));
    outbox.rewind();
    let rest = collect(&mut outbox);
    assert_eq!((rest.len(), rest[0].id.as_str()), (1500, "1000"));
    assert!(outbox.is_clear());
    lane.settled(&event("late"));
    assert_eq!(ids(&collect(&mut outbox)), ["late"]);
    spool.close();
    assert!(files(dir.path()).is_empty(), "an orderly end with nothing owed leaves nothing to read");
}

#[test]
fn a_killed_process_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let lane = spool.lane(0);
    for id in ["done", "open1", "open2"] {
        lane.started(&event(id));
    }
    lane.settled(&event("done"));
    kill(spool);

    let spool = open(dir.path(), "boot2");
    let mut outbox = spool.outbox();
    let batches: Vec<UsageBatch> = std::iter::from_fn(|| outbox.next()).collect();
    let of = |number: usize| (ids(&batches[number].events), batches[number].boot_id.as_str());
    assert_eq!(of(0), (vec!["done"], BOOT));
    assert_eq!(of(1), (vec!["open1", "open2"], BOOT));
    assert!(batches[1].events.iter().all(|event| event.settled_by() == SettledBy::Recovery));
    outbox.acknowledged(&ack(&batches[0]));
    assert_eq!(files(dir.path()).len(), 1, "not all of it is acknowledged");
    outbox.rewind();
    assert_eq!(outbox.next().map(|batch| batch.events.len()), Some(2), "only what is still owed");
    outbox.acknowledged(&ack(&batches[1]));
    assert!(files(dir.path()).is_empty());
    assert_eq!(spool.state().usage_bytes, 0);
}

#[test]
fn two_processes_do_not_share_a_spool() {
    let dir = tempfile::tempdir().expect("a directory");
    let _spool = open(dir.path(), BOOT);
    let refused = Spool::open(Some(dir.path()), "boot2", 1, &Arc::default()).expect_err("the second one").to_string();
    assert!(refused.contains("another process uses the data directory"), "{refused}");
}

/// Cut after any byte: the whole records before the cut are there, nothing is made up, nothing panics.
#[test]
fn a_torn_tail_at_every_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let lane = spool.lane(0);
    let mut ends = vec![0];
    for id in 0..4 {
        lane.started(&event(id));
        ends.push(spool.state().usage_bytes);
        lane.settled(&event(id));
        ends.push(spool.state().usage_bytes);
    }
    kill(spool);
    let path = files(dir.path()).pop().expect("a file");
    let bytes = std::fs::read(&path).expect("the file");
    let name = path.file_name().expect("a name");
    for cut in 0..=bytes.len() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("spool")).expect("a directory");
        std::fs::write(dir.path().join("spool").join(name), &bytes[..cut]).expect("write");
        let spool = open(dir.path(), "boot2");
        let events = collect(&mut spool.outbox());
        let n_records = ends.iter().filter(|end| **end as usize <= cut).count() - 1;
        // Records alternate: started, settled. Each started one is owed, as settled or as recovered.
        assert_eq!(events.len(), n_records.div_ceil(2), "cut at {cut}");
        let recovered = events.iter().filter(|event| event.settled_by() == SettledBy::Recovery).count();
        assert_eq!(recovered, n_records % 2, "cut at {cut}");
    }
}

#[test]
fn a_full_spool_holds_and_counts_and_takes_again_when_there_is_room() {
    const N: usize = 60_000;
    let (dir, warnings) = (tempfile::tempdir().expect("a directory"), Arc::new(Warnings::default()));
    let spool = Spool::open_bounded(Some(dir.path()), BOOT, 1, &warnings, 1_000_000).expect("a spool");
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    for id in 0..N {
        lane.started(&event(id));
        lane.settled(&event(id));
    }
    let state = spool.state();
    assert!(state.usage_bytes < 1_100_000 && state.usage_dropped > 0 && state.usage_pending > 16 * 1024, "{state:?}");
    assert_eq!(state.usage_pending + state.usage_dropped, N as u64);
    assert!(warnings.list()[0].contains("takes nothing more"), "{:?}", warnings.list());
    let Inner::Disk(disk) = &lane.0 else { panic!("a spool on disk") };
    let mut delivered = BTreeSet::new();
    while spool.state().usage_pending > 0 {
        delivered.extend(collect(&mut outbox).into_iter().map(|event| event.id));
        // The keeper gives up whole files; here, the one that is written now is closed to let it.
        disk.seal(&mut disk.lock());
        std::thread::yield_now();
    }
    assert_eq!(delivered.len() as u64 + spool.state().usage_dropped, N as u64);
    lane.settled(&event("after"));
    assert_eq!(ids(&collect(&mut outbox)), ["after"]);
    assert!(warnings.list().is_empty(), "{:?}", warnings.list());
}

/// The directory goes away under a running node, and comes back.
#[test]
fn a_disk_that_fails_loses_nothing_that_memory_can_hold() {
    let (dir, warnings) = (tempfile::tempdir().expect("a directory"), Arc::new(Warnings::default()));
    let spool = Spool::open(Some(dir.path()), BOOT, 1, &warnings).expect("a spool");
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    lane.settled(&event("before"));
    let Inner::Disk(disk) = &lane.0 else { panic!("a spool on disk") };
    std::fs::rename(dir.path().join("spool"), dir.path().join("away")).expect("rename");
    disk.seal(&mut disk.lock());
    lane.started(&event("during"));
    lane.settled(&event("during"));
    assert!(warnings.list()[0].contains("on this node's disk"), "{:?}", warnings.list());
    assert_eq!(spool.state().usage_pending, 2);
    std::fs::rename(dir.path().join("away"), dir.path().join("spool")).expect("rename");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !disk.lock().held_is_empty() {
        assert!(std::time::Instant::now() < deadline, "the keeper tries again by itself");
        std::thread::yield_now();
    }
    assert_eq!(ids(&collect(&mut outbox)), ["before", "during"]);
    assert_eq!((spool.state().usage_dropped, warnings.list().len()), (0, 0));
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_not_believed() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    lane.settled(&event("sent"));
    let batch = outbox.next().expect("a batch");
    lane.settled(&event("not sent"));
    outbox.acknowledged(&IngestAck { up_to_seq: u64::MAX, ..ack(&batch) });
    outbox.rewind();
    assert_eq!(ids(&collect(&mut outbox)), ["not sent"]);
}

#[test]
fn a_boot_whose_file_is_gone_holds_up_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    for boot in ["boot1", "boot2"] {
        let spool = open(dir.path(), boot);
        spool.lane(0).settled(&event(boot));
        kill(spool);
    }
    let spool = open(dir.path(), "boot3");
    let mut outbox = spool.outbox();
    let first = files(dir.path()).into_iter().find(|path| path.to_string_lossy().contains("boot1")).expect("a file");
    std::fs::remove_file(first).expect("it is there");
    assert_eq!(ids(&collect(&mut outbox)), ["boot2"]);
}

/// A long request outlives the file that says it is open.
#[test]
fn an_open_request_is_carried_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    let Inner::Disk(disk) = &lane.0 else { panic!("a spool on disk") };
    lane.started(&event("long"));
    for round in 0..3 {
        lane.settled(&event(round));
        disk.seal(&mut disk.lock());
        collect(&mut outbox);
        while !disk.lock().sealed.is_empty() {
            std::thread::yield_now();
        }
    }
    assert!(files(dir.path()).len() <= 1, "{:?}", files(dir.path()));
    kill(spool);
    let spool = open(dir.path(), "boot2");
    assert_eq!(ids(&collect(&mut spool.outbox())), ["long"]);
}

#[test]
fn without_a_disk_usage_is_kept_in_memory_and_without_a_directory_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    // A file where the directory should be cannot be written to by anybody, root included.
    std::fs::write(dir.path().join("spool"), "").expect("write");
    let spool = open(dir.path(), BOOT);
    let (lane, mut outbox) = (spool.lane(0), spool.outbox());
    for id in 0..20_000 {
        lane.settled(&event(id));
    }
    let events = collect(&mut outbox);
    assert_eq!(events.len() as u64 + spool.state().usage_dropped, 20_000);
    assert!(!events.is_empty() && outbox.is_clear());

    let spool = Spool::open(None, BOOT, 1, &Arc::default()).expect("a spool");
    spool.lane(0).settled(&event(1));
    assert_eq!(spool.outbox().next(), None);
}

#[test]
fn a_node_alone_keeps_only_what_is_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let lane = spool.lane(0);
    lane.started(&event("open"));
    lane.started(&event("done"));
    lane.settled(&event("done"));
    kill(spool);
    let spool = open(dir.path(), "boot2");
    assert_eq!(ids(&spool.settle_locally()), ["open"]);
    assert!(files(dir.path()).is_empty());
    spool.lane(0).settled(&event("next"));
    assert_eq!(spool.state().usage_pending, 0);
}

#[test]
fn a_record_is_cheap() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = open(dir.path(), BOOT);
    let lane = spool.lane(0);
    let events: Vec<UsageEvent> = (0..20_000).map(|id| UsageEvent { key_id: "vk_01".repeat(6), ..event(id) }).collect();
    let began = std::time::Instant::now();
    events.iter().for_each(|event| lane.started(event));
    let started = began.elapsed().as_nanos() / events.len() as u128;
    let began = std::time::Instant::now();
    events.iter().for_each(|event| lane.settled(event));
    let settled = began.elapsed().as_nanos() / events.len() as u128;
    println!("spool: started {started} ns, settled {settled} ns");
}

proptest! {
    // Each case is a dozen processes.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order of events, acknowledgements, rewinds, closed files and deaths: nothing is lost, nothing twice after
    /// removal of equal ids, which is what ingest does.
    #[test]
    fn nothing_is_lost(steps in proptest::collection::vec(0_u8..7, 1..80)) {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut boot, mut next_id) = (0, 0_u32);
        let (mut owed, mut open_requests, mut stored) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let mut spool = open(dir.path(), "boot0");
        let mut outbox = spool.outbox();
        for step in steps {
            let lane = spool.lane(0);
            match step {
                0 | 1 => {
                    lane.started(&event(next_id));
                    owed.insert(next_id.to_string());
                    open_requests.push(next_id);
                    next_id += 1;
                }
                2 => if let Some(id) = open_requests.pop() { lane.settled(&event(id)) },
                3 => if let Some(batch) = outbox.next() {
                    stored.extend(batch.events.iter().map(|event| event.id.clone()));
                    outbox.acknowledged(&ack(&batch));
                },
                4 => {
                    // Sent and stored, but the answer got lost.
                    if let Some(batch) = outbox.next() {
                        stored.extend(batch.events.iter().map(|event| event.id.clone()));
                    }
                    outbox.rewind();
                }
                5 => if let Inner::Disk(disk) = &lane.0 { disk.seal(&mut disk.lock()) },
                _ => {
                    drop((lane, outbox));
                    kill(spool);
                    boot += 1;
                    open_requests.clear();
                    spool = open(dir.path(), &format!("boot{boot}"));
                    outbox = spool.outbox();
                }
            }
        }
        for id in open_requests {
            spool.lane(0).settled(&event(id));
        }
        outbox.rewind();
        stored.extend(collect(&mut outbox).into_iter().map(|event| event.id));
        prop_assert_eq!(stored, owed);
        prop_assert!(outbox.is_clear());
    }
}
