//! Receipts: what a request asked, was answered and cost, signed by the node and chained to the receipt before, so that none can be
//! changed, left out or put between afterwards without it showing. Opt-in by `settings.receipts`; off, nothing here is asked.
//!
//! A node has one chain and goes on with it after a restart. It writes `receipts.jsonl`; one that has grown to its bound is put aside as
//! `receipts.000001.jsonl` and so on, and the chain goes on in a new one. Nothing is ever deleted here. Signing and writing is done under
//! one lock, some 50 µs: that is the price of an order that means something.

use std::collections::BTreeMap;
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
    max_bytes: u64,
    chain: Mutex<Option<Chain>>,
}

struct Chain {
    key: Ed25519KeyPair,
    key_id: String,
    dir: PathBuf,
    file: File,
    n_bytes: u64,
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
/// Some 100,000 receipts.
const MAX_BYTES: u64 = 64 << 20;

// === impl Receipts ===

impl Receipts {
    /// Touches nothing yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self::bounded(dir, MAX_BYTES)
    }

    /// A file that has so many bytes takes no more receipts.
    fn bounded(dir: &Path, max_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), max_bytes, chain: Mutex::new(None) }
    }

    /// Signs it behind the one before and writes it. After an error nothing is remembered, and the next one opens the chain again as it
    /// stands on the disk.
    pub(crate) fn write(&self, receipt: Receipt) -> io::Result<()> {
        self.with_chain(|chain| {
            if chain.n_bytes >= self.max_bytes {
                chain.put_aside()?;
            }
            chain.append(receipt)
        })
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
        let mut file = chain_file(dir)?;
        let (mut last, n_bytes) = last(&mut file)?;
        if n_bytes == 0
            && let Some((_, path)) = put_aside(dir)?.pop_last()
        {
            // The one before was put aside, and nothing has been written since.
            last = self::last(&mut File::options().read(true).append(true).open(path)?)?.0;
        }
        Ok(Self { key, key_id, dir: dir.to_owned(), file, n_bytes, last })
    }

    /// The file is full: the chain goes on in a new one.
    fn put_aside(&mut self) -> io::Result<()> {
        let number = put_aside(&self.dir)?.last_key_value().map_or(1, |(number, _)| number + 1);
        std::fs::rename(self.dir.join(CHAIN_FILE), self.dir.join(format!("receipts.{number:06}.jsonl")))?;
        self.file = chain_file(&self.dir)?;
        self.n_bytes = 0;
        Ok(())
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
        self.n_bytes += line.len() as u64;
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

fn chain_file(dir: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).mode(0o600).open(dir.join(CHAIN_FILE))
}

/// The files that were full, by their numbers.
fn put_aside(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("receipts.")?.strip_suffix(".jsonl")?.parse().ok());
        files.extend(number.map(|number| (number, entry.path())));
    }
    Ok(files)
}

/// The last whole line, and how long the file is up to its end. What a killed process has left of another one goes.
fn last(file: &mut File) -> io::Result<(Link, u64)> {
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
        return Ok((Link::default(), n_whole));
    }
    let written: Written = serde_json::from_slice(&last)?;
    Ok((Link { id: written.receipt.id, hash: hash(&last) }, n_whole))
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
    fn a_chain_goes_on_in_the_next_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut expected = String::new();
        // Each is begun anew in the middle, and where a file has just been put aside.
        for part in 0..3 {
            let receipts = Receipts::bounded(dir.path(), 1_000);
            for number in 0..4 {
                receipts.write(receipt(&format!("{part}-{number}"))).expect("written");
            }
            if part == 1 {
                let chain = receipts.chain.lock().expect("a chain").take();
                chain.expect("open").put_aside().expect("put aside");
            }
        }
        let mut files: Vec<PathBuf> = put_aside(dir.path()).expect("readable").into_values().collect();
        assert!(files.len() > 2, "{files:?}");
        assert!(files[0].ends_with("receipts.000001.jsonl"), "{files:?}");
        files.push(dir.path().join(CHAIN_FILE));
        let (mut before, mut n_receipts) = (Link::default(), 0);
        for file in files {
            let text = std::fs::read_to_string(&file).expect("readable");
            assert!(text.len() < 2_000, "{}: {} bytes", file.display(), text.len());
            for line in text.lines() {
                let told: Value = serde_json::from_str(line).expect("JSON");
                let text = |name: &str| told["receipt"][name].as_str().expect("a text").to_owned();
                assert_eq!(Link { id: text("prev_receipt_id"), hash: text("prev_hash") }, before, "{line}");
                before = Link { id: text("id"), hash: hash(line.as_bytes()) };
                expected.push_str(&before.id);
                n_receipts += 1;
            }
        }
        assert_eq!((n_receipts, expected.ends_with("2-3")), (12, true), "{expected}");
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
