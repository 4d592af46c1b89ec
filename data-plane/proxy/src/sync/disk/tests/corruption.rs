//! Files that were cut, flipped, exchanged or brought from elsewhere: never a panic, never a byte that was not written, and
//! the generation before where the newest cannot be read.

use gateway_testing::figure;

use super::*;

/// What became of the files: what serves then, and whether anybody was told.
fn opened(folder: &Arc<PowerFolder>, history: &History, what: &str) -> (Option<u64>, bool) {
    let (_, content, damage) = Files::open(source(folder, history.class));
    if let Some(content) = &content {
        history.check(content, what);
    }
    let is_told = !damage.is_empty() || content.as_ref().is_some_and(|content| content.is_torn);
    (content.map(|content| content.revision), is_told)
}

#[test]
fn lkg_corruption() {
    let (mut n_cases, mut n_told) = (0_u64, 0_u64);
    for class in CLASSES {
        let folder = Arc::new(PowerFolder::default());
        let history = written(&folder, class);
        let [snapshot, snapshot_before, journal, journal_before] =
            ["snapshot", "snapshot.1", "journal", "journal.1"].map(|suffix| format!("{}.{suffix}", class.word()));
        for (name, worst) in [(&snapshot, 12), (&journal, 9), (&snapshot_before, 12), (&journal_before, 12)] {
            let content = folder.content(name);
            let cuts = (0..content.len()).map(|at| (format!("{name} cut at {at}"), content[..at].to_vec()));
            let flips = (0..content.len() * 8).step_by(3).map(|bit| {
                let mut flipped = content.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                (format!("{name}, bit {bit} flipped"), flipped)
            });
            for (what, content) in cuts.chain(flips) {
                let (revision, is_told) = opened(&folder.with(name, content), &history, &what);
                // The generation before and its journal lead to the same revision.
                assert!(revision.is_some_and(|revision| revision >= worst), "{what}: {revision:?}");
                // What is not needed is not read.
                let is_used = *name == snapshot || *name == journal;
                let is_boundary = !is_told && revision.is_some_and(|revision| revision < 12);
                // A journal that was cut between two records has no mark of it: those are the ones not told to be safe.
                assert!(is_told || !is_used || is_boundary && what.contains("cut"), "{what}");
                n_cases += u64::from(is_used);
                n_told += u64::from(is_used && (is_told || is_boundary));
            }
        }
        // The newest snapshot and its journal are both gone: what is older serves, and it is said.
        let bare = folder.with(&snapshot, b"gwsealed".to_vec()).with(&journal, Vec::new());
        assert_eq!(opened(&bare, &history, "newest generation gone"), (Some(9), true));
        let nothing = bare.with(&snapshot_before, b"rubbish".to_vec());
        assert_eq!(opened(&nothing, &history, "nothing left"), (None, true));
    }
    figure::note_at_least(
        "lkg_corruption",
        "harm to files in use that was noticed",
        n_told as f64,
        "cases",
        n_cases as f64,
    );
    assert_eq!(n_told, n_cases);
}

#[test]
fn files_in_the_wrong_place_are_refused() {
    let folder = Arc::new(PowerFolder::default());
    let [topology, identity] = CLASSES.map(|class| written(&folder, class));
    let other_node = Arc::new(PowerFolder::default());
    written(&other_node, Class::Identity);
    // Between classes.
    let swapped = folder.with("identity.snapshot", folder.content("topology.snapshot"));
    assert_eq!(opened(&swapped, &identity, "snapshots of two classes"), (Some(12), true));
    let swapped = folder.with("topology.journal", folder.content("identity.journal"));
    assert_eq!(opened(&swapped, &topology, "journals of two classes"), (Some(9), true));
    // A journal in the place of a snapshot.
    let swapped = folder.with("identity.snapshot", folder.content("identity.journal"));
    assert_eq!(opened(&swapped, &identity, "a journal as a snapshot"), (Some(12), true));
    // Generations exchanged by name lose nothing: files are believed for what they are.
    let exchanged = folder
        .with("identity.snapshot", folder.content("identity.snapshot.1"))
        .with("identity.snapshot.1", folder.content("identity.snapshot"))
        .with("identity.journal", folder.content("identity.journal.1"))
        .with("identity.journal.1", folder.content("identity.journal"));
    assert_eq!(opened(&exchanged, &identity, "generations exchanged").0, Some(12));
    // Of another node.
    let mut stranger = source(&folder, Class::Identity);
    stranger.key = Arc::new(key(b"another node"));
    let (_, content, damage) = Files::open(stranger);
    assert!(content.is_none(), "nothing of another node serves");
    assert_eq!(damage.len(), 4, "{damage:?}");
    assert!(damage.iter().all(|damage| damage.contains("another key")), "{damage:?}");
}
