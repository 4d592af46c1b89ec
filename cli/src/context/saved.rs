//! Contexts: gateways that the user has saved under names, with their master keys, in one private file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gateway_model::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::host::{self, private};

/// The name that always means the gateway on this machine.
pub(crate) const LOCAL: &str = "local";
/// Longest name of a context.
const MAX_NAME: usize = 64;

/// A saved gateway.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// Without a trailing slash.
    pub(crate) admin_url: String,
    pub(crate) master_key: Secret,
}

/// All of them, and which one is used where nobody says another.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    pub(crate) current: Option<String>,
    pub(crate) contexts: BTreeMap<String, Entry>,
}

/// Reads the file; one that is not there is empty. One that others can read is refused: the keys in it may be theirs by now.
pub(crate) fn load() -> Result<Saved, Failure> {
    match host::contexts_file() {
        Some(path) => read(&path),
        None => Ok(Saved::default()),
    }
}

/// Changes the file under a lock, so that two commands at a time lose nothing.
pub(crate) fn change<T>(edit: impl FnOnce(&mut Saved) -> Result<T, Failure>) -> Result<T, Failure> {
    let path = host::contexts_file().ok_or_else(|| {
        Failure::new(Exit::Refused, "there is no place to save contexts: neither HOME nor XDG_CONFIG_HOME is set")
    })?;
    let unwritable = |error: io::Error| {
        Failure::new(Exit::Refused, format!("cannot write `{}`: {error}", path.display()))
            .hint("check that this user may write there")
    };
    let _lock = private::lock(&path).map_err(unwritable)?;
    let mut saved = read(&path)?;
    let outcome = edit(&mut saved)?;
    private::write(&path, saved.text().as_bytes()).map_err(unwritable)?;
    Ok(outcome)
}

fn read(path: &Path) -> Result<Saved, Failure> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(error) => return Err(Failure::new(Exit::Refused, format!("cannot read `{shown}`: {error}"))),
    };
    if private::is_open_to_others(path).unwrap_or(true) {
        return Err(Failure::new(Exit::Refused, format!("`{shown}` holds master keys, and other users can read it"))
            .hint(format!("chmod 600 '{shown}'; if others use this machine, change the keys in it too")));
    }
    serde_json::from_str(&text).map_err(|error| {
        // The error's own text may quote what it stumbled over.
        let (line, column) = (error.line(), error.column());
        Failure::new(Exit::Refused, format!("`{shown}` is damaged at line {line}, column {column}"))
            .hint("repair it, or remove it and add the contexts again")
    })
}

/// Names are words in commands and in messages.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) || text.starts_with('-') {
        return Err(format!("a name has 1 to {MAX_NAME} letters, digits, `.`, `_` or `-`"));
    }
    Ok(text.to_owned())
}

/// Where the file is, for messages.
pub(crate) fn place() -> Option<PathBuf> {
    host::contexts_file()
}

// === impl Saved ===

impl Saved {
    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Entry, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).chain([LOCAL]).collect();
            Failure::new(Exit::NotFound, format!("there is no context `{name}`"))
                .hint(format!("there are: {}; `gatewayctl context add` saves another", names.join(", ")))
        })
    }

    /// The key that was saved for this address.
    pub(crate) fn key_of(&self, admin_url: &str) -> Option<&Secret> {
        self.contexts.values().find(|entry| entry.admin_url == admin_url).map(|entry| &entry.master_key)
    }

    fn text(&self) -> String {
        let contexts = self.contexts.iter().map(|(name, entry)| {
            (name.clone(), json!({"admin_url": entry.admin_url, "master_key": entry.master_key.expose()}))
        });
        let contexts: serde_json::Map<String, Value> = contexts.collect();
        format!("{:#}\n", json!({"current": self.current, "contexts": contexts}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for (text, expected) in [
            ("prod", true),
            ("eu-1.a_b", true),
            ("", false),
            ("a b", false),
            ("-x", false),
            ("../x", false),
            ("ü", false),
        ] {
            assert_eq!(name(text).is_ok(), expected, "{text}");
        }
        assert!(name(&"a".repeat(65)).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let entry = Entry { admin_url: "https://x.example".into(), master_key: Secret::new("k\"1") };
        let saved = Saved { current: Some("a".into()), contexts: BTreeMap::from([("a".into(), entry)]) };
        let again: Saved = serde_json::from_str(&saved.text()).expect("it is JSON");
        assert_eq!(again.current.as_deref(), Some("a"));
        assert_eq!(again.key_of("https://x.example").map(Secret::expose), Some("k\"1"));
        assert!(again.key_of("https://y.example").is_none());
        assert!(!format!("{again:?}").contains("k\"1"));
    }
}
