//! A file is applied when its content is new, and a broken one changes nothing.

use gateway_engine::identity::identify;

use super::*;
use crate::state::Live;

const KEY: &str = "sk-test-0123456789abcdef";

struct World {
    dir: tempfile::TempDir,
    source: FileSource,
    live: Arc<Live>,
}

// === impl World ===

impl World {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let live = Arc::new(Live::empty());
        let source = FileSource::new(dir.path().join("gateway.yaml"), Applier::new(Arc::clone(&live)));
        let world = Self { dir, source, live };
        world.write(text);
        world
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("gateway.yaml"), text).expect("write");
    }

    /// The problems, one a line.
    fn refused(&mut self) -> String {
        let refused = self.source.reload().expect_err("a broken file");
        refused.lines(Path::new("gateway.yaml")).join("\n")
    }

    fn revision(&self) -> u64 {
        self.live.load().snapshot.revision
    }

    fn knows(&self, key: &str) -> bool {
        identify(key, &self.live.keys, &self.live.load().peppers, 0).is_ok()
    }
}

fn config(key: &str) -> String {
    format!(
        "providers:\n  - {{name: up, kind: openai, api_key: sk-upstream-0001}}\nkeys:\n  - {{name: k, secret: {key}}}\n"
    )
}

#[test]
fn new_content_is_a_new_revision_and_the_same_is_not() {
    let mut world = World::new(&config(KEY));
    assert!(world.source.reload().expect("valid"));
    assert!(world.live.load().ready && world.knows(KEY));
    world.write(&config(KEY));
    assert!(!world.source.reload().expect("the same"));
    assert_eq!(world.revision(), 1);
    world.write(&config("sk-other-0123456789abcde"));
    assert!(world.source.reload().expect("valid"));
    assert_eq!(world.revision(), 2);
    assert!(!world.knows(KEY) && world.knows("sk-other-0123456789abcde"));
}

#[test]
fn a_broken_file_is_told_once_with_its_line_and_changes_nothing() {
    let mut world = World::new(&config(KEY));
    world.source.reload().expect("valid");
    for (text, told) in [
        ("providers:\n  - {name: up, kind: opnai}\n", "gateway.yaml:2:"),
        ("providers: [\n", "gateway.yaml:"),
        ("keys:\n  - name: k\n", "keys[k].secret"),
        ("keys:\n  - {name: k, secret: \"${NO_SUCH_VARIABLE_OF_OURS}\"}\n", "NO_SUCH_VARIABLE_OF_OURS"),
    ] {
        world.write(text);
        let told_lines = world.refused();
        assert!(told_lines.contains(told), "{told_lines}");
        assert!(!world.source.reload().expect("tried already"));
        assert!(world.revision() == 1 && world.knows(KEY), "{text}");
    }
    std::fs::remove_file(world.dir.path().join("gateway.yaml")).expect("remove");
    assert!(world.refused().contains("cannot be read"));
    world.write(&config("sk-other-0123456789abcde"));
    assert!(world.source.reload().expect("mended"));
    assert_eq!(world.revision(), 2);
}

#[test]
fn an_included_file_belongs_to_the_content() {
    let mut world = World::new("");
    let secret = world.dir.path().join("secret");
    std::fs::write(&secret, KEY).expect("write");
    world.write(&config(&format!("\"${{file:{}}}\"", secret.display())));
    world.source.reload().expect("valid");
    assert!(world.knows(KEY) && !world.source.reload().expect("the same"));
    std::fs::write(&secret, "sk-other-0123456789abcde").expect("write");
    assert!(world.source.reload().expect("valid"));
    assert!(!world.knows(KEY) && world.knows("sk-other-0123456789abcde"));
}

#[test]
fn a_file_without_an_end_is_an_error() {
    let live = Arc::new(Live::empty());
    let mut source = FileSource::new("/dev/zero".into(), Applier::new(live));
    let refused = source.reload().expect_err("no configuration").lines(Path::new("/dev/zero")).join("\n");
    assert!(refused.contains("larger than"), "{refused}");
}
