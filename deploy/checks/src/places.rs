//! What is done in one place only: reading the environment, asking for the time, starting tasks and threads. Then a reader
//! knows what a process depends on, tests can replace it, and shutdown knows what to wait for.

use crate::source::Source;

/// A thing, how it looks in code, and the files (or folders, ending in `/`) that may do it.
struct Place {
    what: &'static str,
    patterns: &'static [&'static str],
    files: &'static [&'static str],
}

const PLACES: &[Place] = &[
    Place {
        what: "read the environment",
        patterns: &["env::var", "env::vars", "env::var_os"],
        files: &[
            "data-plane/proxy/src/config.rs",
            "control-plane/server/src/config.rs",
            "cli/src/host.rs",
            "deploy/testing/",
        ],
    },
    Place {
        what: "ask for the time of day",
        patterns: &["SystemTime::now", "Timestamp::now", "Zoned::now"],
        files: &[
            "data-plane/proxy/src/clock.rs",
            "control-plane/server/src/clock.rs",
            "cli/src/host.rs",
            "deploy/testing/",
        ],
    },
    Place {
        what: "start tasks",
        patterns: &["tokio::spawn(", "tokio::task::spawn(", "spawn_local("],
        files: &[
            "data-plane/proxy/src/task.rs",
            "control-plane/server/src/task.rs",
            "control-plane/store/src/follow.rs",
        ],
    },
    Place {
        what: "start threads",
        patterns: &["thread::spawn(", "thread::Builder"],
        files: &[
            "data-plane/proxy/src/server/worker.rs",
            "data-plane/proxy/src/telemetry/logs.rs",
            "data-plane/proxy/src/telemetry/spool/keeper.rs",
        ],
    },
    Place {
        what: "end the process",
        patterns: &["process::exit", "process::abort"],
        files: &["cli/src/main.rs", "data-plane/proxy/src/main.rs", "control-plane/server/src/main.rs"],
    },
];

/// Production code that does one of these elsewhere.
pub fn check(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.is_test() || source.is_generated() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for place in PLACES {
        if place.files.iter().any(|file| source.path == *file || file.ends_with('/') && source.path.starts_with(file)) {
            continue;
        }
        for (line, code) in source.code() {
            if place.patterns.iter().any(|pattern| code.contains(pattern)) {
                findings.push(format!("{}:{line}: only {:?} may {}", source.path, place.files, place.what));
            }
        }
    }
    findings
}

/// Entries of the table whose file is gone.
pub fn check_table(sources: &[Source]) -> Vec<String> {
    let files = PLACES.iter().flat_map(|place| place.files);
    let gone = files.filter(|file| !sources.iter().any(|source| source.path.starts_with(**file)));
    gone.map(|file| format!("the table of places names {file}, which is not there")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misplaced_code_is_found() {
        for (path, code, expected) in [
            ("data-plane/proxy/src/config.rs", "let x = std::env::var(\"A\");", 0),
            ("data-plane/proxy/src/relay.rs", "let x = std::env::var(\"A\");", 1),
            ("data-plane/proxy/src/relay.rs", "// unlike std::env::var", 0),
            ("data-plane/proxy/src/relay.rs", "tokio::spawn(async {});", 1),
            ("data-plane/proxy/tests/it/main.rs", "tokio::spawn(async {});", 0),
            ("control-plane/server/src/vault.rs", "SystemTime::now()", 1),
            ("control-plane/server/src/vault.rs", "std::process::exit(1)", 1),
        ] {
            assert_eq!(check(&Source::new(path, code)).len(), expected, "{path}: {code}");
        }
        assert!(!check_table(&[]).is_empty());
    }
}
