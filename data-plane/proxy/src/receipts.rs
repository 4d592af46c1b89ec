//! Receipts: what a request asked, was answered and cost, signed by the node and chained to the receipt before, so that none can be
//! changed, left out or put between afterwards without it showing. Opt-in by `settings.receipts`; off, nothing here is asked.
//!
//! A node has one chain, in one file that only grows, and goes on with it after a restart. Signing and writing is done under one lock, some
//! 50 µs: that is the price of an order that means something.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::private_file;

/// The node's chain of receipts; opened when the first one is written.
pub(crate) struct Receipts {
    dir: PathBuf,
    chain: Mutex<Option<Chain>>,
}

struct Chain {
    key: Ed25519KeyPair,
    key_id: String,
    file: File,
    last: Link,
}

/// What the next receipt names of the one before; empty before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Link {
    id: String,
    /// SHA-256 of the line, in hexadecimal.
    hash: String,
}

/// What is signed, as it stands in its line: members in the order of their names, without white space.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Receipt {
    pub(crate) alias: String,
    pub(crate) api_key_id: String,
    /// What the same would have cost at the first target of the model that was asked for; absent where nobody knows.
    pub(crate) baseline_nano_usd: Option<i64>,
    pub(crate) completion_tokens: u64,
    /// Absent where no price is known.
    pub(crate) cost_nano_usd: Option<i64>,
    pub(crate) ending: String,
    pub(crate) id: String,
    pub(crate) org_id: String,
    pub(crate) prev_hash: String,
    pub(crate) prev_receipt_id: String,
    pub(crate) price: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) provider: String,
    pub(crate) provider_model: String,
    pub(crate) public_key_id: String,
    /// SHA-256 of the request's body, in hexadecimal; of the reply's as it was sent, a stream's bytes included.
    pub(crate) req_hash: String,
    pub(crate) resp_hash: String,
    /// Below zero where it cost more.
    pub(crate) saved_nano_usd: Option<i64>,
    pub(crate) status: u32,
    pub(crate) total_tokens: u64,
    pub(crate) ts_unix_ms: i64,
}

#[derive(Serialize)]
struct Line<'a> {
    receipt: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
struct Written {
    receipt: WrittenReceipt,
}

#[derive(Deserialize)]
struct WrittenReceipt {
    id: String,
}

const KEY_FILE: &str = "receipts.key";
const CHAIN_FILE: &str = "receipts.jsonl";

// === impl Receipts ===

impl Receipts {
    /// Touches nothing yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), chain: Mutex::new(None) }
    }

    /// Signs it behind the one before and writes it. After an error nothing is remembered, and the next one opens the chain again as it
    /// stands on the disk.
    pub(crate) fn write(&self, receipt: Receipt) -> io::Result<()> {
        self.with_chain(|chain| chain.append(receipt))
    }

    /// The public key as people and programs take it; makes the key where there is none.
    pub(crate) fn published(&self) -> io::Result<Value> {
        self.with_chain(|chain| Ok(chain.published()))
    }

    fn with_chain<T>(&self, act: impl FnOnce(&mut Chain) -> io::Result<T>) -> io::Result<T> {
        let mut held = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = match &mut *held {
            Some(chain) => chain,
            none => none.insert(Chain::open(&self.dir)?),
        };
        let done = act(chain);
        if done.is_err() {
            *held = None;
        }
        done
    }
}

// === impl Chain ===

impl Chain {
    fn open(dir: &Path) -> io::Result<Self> {
        let key = key(&dir.join(KEY_FILE))?;
        let key_id = hex(&digest::digest(&SHA256, key.public_key().as_ref()).as_ref()[..16]);
        let path = dir.join(CHAIN_FILE);
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
        let last = last(&mut file)?;
        Ok(Self { key, key_id, file, last })
    }

    fn append(&mut self, receipt: Receipt) -> io::Result<()> {
        let receipt = Receipt {
            prev_hash: self.last.hash.clone(),
            prev_receipt_id: self.last.id.clone(),
            public_key_id: self.key_id.clone(),
            ..receipt
        };
        let signed = serde_json::to_string(&receipt)?;
        let signature = STANDARD.encode(self.key.sign(signed.as_bytes()).as_ref());
        let signed = RawValue::from_string(signed)?;
        let mut line = serde_json::to_vec(&Line { receipt: &signed, signature })?;
        let hash = hash(&line);
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.last = Link { id: receipt.id, hash };
        Ok(())
    }

    fn published(&self) -> Value {
        let public = self.key.public_key().as_ref();
        json!({
            "public_key_id": self.key_id,
            "public_key": STANDARD.encode(public),
            "keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.key_id, "x": URL_SAFE_NO_PAD.encode(public)}],
        })
    }
}

/// The last whole line. What a killed process has left of another one goes.
fn last(file: &mut File) -> io::Result<Link> {
    let (mut n_whole, mut last) = (0, Vec::new());
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(&mut *file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.pop() != Some(b'\n') {
            break;
        }
        n_whole += line.len() as u64 + 1;
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    file.set_len(n_whole)?;
    if last.is_empty() {
        return Ok(Link::default());
    }
    let written: Written = serde_json::from_slice(&last)?;
    Ok(Link { id: written.receipt.id, hash: hash(&last) })
}

/// The node's own, made where there is none.
fn key(path: &Path) -> io::Result<Ed25519KeyPair> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => {
            file.read_to_string(&mut text)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
            text = STANDARD.encode(made.map_err(|_| io::Error::other("no key could be made"))?.as_ref());
            private_file::write(path, text.as_bytes())?;
        }
        Err(error) => return Err(error),
    }
    let unusable = || io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is no Ed25519 key", path.display()));
    let der = STANDARD.decode(text.trim()).map_err(|_| unusable())?;
    Ed25519KeyPair::from_pkcs8(&der).map_err(|_| unusable())
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn receipt(id: &str) -> Receipt {
        Receipt { id: id.to_owned(), cost_nano_usd: Some(7), ..Receipt::default() }
    }

    fn lines(dir: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(dir.join(CHAIN_FILE)).expect("a chain");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_chain_goes_on_after_a_restart_and_a_torn_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Receipts::new(dir.path());
        first.write(receipt("a")).expect("written");
        first.write(receipt("b")).expect("written");
        let published = first.published().expect("a key");
        File::options()
            .append(true)
            .open(dir.path().join(CHAIN_FILE))
            .expect("there")
            .write_all(b"{\"rec")
            .expect("torn");
        let second = Receipts::new(dir.path());
        assert_eq!(second.published().expect("a key"), published, "the key stays");
        second.write(receipt("c")).expect("written");
        let lines = lines(dir.path());
        let linked: Vec<_> =
            lines.iter().map(|line| line["receipt"]["prev_receipt_id"].as_str().expect("a text")).collect();
        assert_eq!(linked, ["", "a", "b"]);
        let whole = std::fs::read_to_string(dir.path().join(CHAIN_FILE)).expect("a chain");
        assert_eq!(lines[2]["receipt"]["prev_hash"], hash(whole.lines().nth(1).expect("three").as_bytes()));
        for name in [KEY_FILE, CHAIN_FILE] {
            let mode = std::fs::metadata(dir.path().join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn names_are_in_order_so_that_what_is_signed_can_be_written_again() {
        let signed = serde_json::to_value(receipt("a")).expect("JSON");
        let names: Vec<&String> = signed.as_object().expect("an object").keys().collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn a_key_that_is_none_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(KEY_FILE), "none").expect("written");
        let error = Receipts::new(dir.path()).write(receipt("a")).expect_err("no key");
        assert!(error.to_string().contains("is no Ed25519 key"), "{error}");
    }
}
