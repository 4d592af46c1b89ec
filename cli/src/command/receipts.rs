//! `receipts`: whether a node's signed receipts are what it wrote, all of them and in this order.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::output::dollars;

/// Check signed receipts
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl receipts verify receipts.jsonl --key key.json")]
pub(crate) struct Receipts {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand, Debug)]
enum Act {
    Verify(Verify),
}

/// Check files of receipts, offline
#[derive(Args, Debug)]
#[command(
    after_help = "Each receipt must be signed by the key, and name the one before it by its hash, so that nothing was changed, left out, put between
or moved. Cut off at the end shows only where the next receipt is known. Exit code 1 with the first line that is not right.

The key is what a node tells at /.well-known/gateway-llm-receipts.json; keep it from a time at which you trust the node.

Examples:
  curl -s http://localhost:8080/.well-known/gateway-llm-receipts.json > key.json
  gatewayctl receipts verify receipts.jsonl --key key.json
  gatewayctl receipts verify receipts.000001.jsonl receipts.000002.jsonl receipts.jsonl --key key.json"
)]
struct Verify {
    /// The node's files in their order, from `receipts.000001.jsonl` in its data directory to `receipts.jsonl`, the one that it writes
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The published key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(receipts: Receipts) -> Result<Exit, Failure> {
    let Act::Verify(verify) = receipts.act;
    let report = verified(&verify.files, &key(&verify.key)?)?;
    let is_right = report.reason.is_none();
    verify.output.format.print(&report.value(), |_| report.drawn(&verify.files))?;
    Ok(if is_right { Exit::Done } else { Exit::Refused })
}

/// A line is not longer than this: names in it are bounded by the gateway.
const MAX_LINE: u64 = 64 * 1024;

struct Key {
    id: String,
    public: Vec<u8>,
}

#[derive(Default)]
struct Report {
    n_receipts: u64,
    cost_nano_usd: i64,
    /// Of those whose baseline is known; losses are taken off.
    saved_nano_usd: i64,
    key_id: String,
    /// What is wrong, with the file and the line that it is in.
    reason: Option<(PathBuf, u64, String)>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    receipt: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
    prev_hash: String,
    prev_receipt_id: String,
    public_key_id: String,
    cost_nano_usd: Option<i64>,
    saved_nano_usd: Option<i64>,
}

fn key(path: &Path) -> Result<Key, Failure> {
    let shown = path.display();
    let unusable = || {
        let message = format!("`{shown}` is not what a node publishes at /.well-known/gateway-llm-receipts.json");
        Failure::new(Exit::Refused, message)
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LINE).read_to_string(&mut text));
    read.map_err(|error| Failure::new(Exit::NotFound, format!("`{shown}` cannot be read: {error}")))?;
    let published: Value = serde_json::from_str(&text).map_err(|_| unusable())?;
    let member = |name: &str| published.get(name).and_then(Value::as_str).ok_or_else(unusable);
    let public = STANDARD.decode(member("public_key")?).map_err(|_| unusable())?;
    Ok(Key { id: member("public_key_id")?.to_owned(), public })
}

/// One chain through all files. An error where one cannot be read.
fn verified(files: &[PathBuf], key: &Key) -> Result<Report, Failure> {
    let mut report = Report { key_id: key.id.clone(), ..Report::default() };
    let mut so_far = SoFar::default();
    for path in files {
        if let Some((line, reason)) = one(path, key, &mut report, &mut so_far)? {
            report.reason = Some((path.clone(), line, reason));
            break;
        }
    }
    Ok(report)
}

/// What the next receipt is held against.
#[derive(Default)]
struct SoFar {
    /// Id and hash of the one before.
    before: (String, String),
    ids: HashSet<String>,
}

/// Line by line, so that the file may be of any length; the first line that is not right.
fn one(path: &Path, key: &Key, report: &mut Report, so_far: &mut SoFar) -> Result<Option<(u64, String)>, Failure> {
    let unreadable = |error| Failure::new(Exit::NotFound, format!("`{}` cannot be read: {error}", path.display()));
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut n_lines, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_line(&mut line).map_err(unreadable)? == 0 {
            return Ok(None);
        }
        n_lines += 1;
        let whole = line.strip_suffix('\n').unwrap_or(&line);
        match checked(whole, key, &so_far.before) {
            Ok(receipt) if so_far.ids.insert(receipt.id.clone()) => {
                report.n_receipts += 1;
                report.cost_nano_usd = report.cost_nano_usd.saturating_add(receipt.cost_nano_usd.unwrap_or(0));
                report.saved_nano_usd = report.saved_nano_usd.saturating_add(receipt.saved_nano_usd.unwrap_or(0));
                so_far.before = (receipt.id, hash(whole));
            }
            Ok(receipt) => return Ok(Some((n_lines, format!("`{}` is there twice", receipt.id)))),
            Err(reason) => return Ok(Some((n_lines, reason))),
        }
    }
}

fn checked(line: &str, key: &Key, (id, hash): &(String, String)) -> Result<Receipt, String> {
    let Line { receipt: signed, signature } =
        serde_json::from_str(line).map_err(|error| format!("is no receipt: {error}"))?;
    let receipt: Receipt = serde_json::from_str(signed.get()).map_err(|error| format!("is no receipt: {error}"))?;
    if receipt.public_key_id != key.id {
        return Err(format!("is signed by the key `{}`, not by `{}`", receipt.public_key_id, key.id));
    }
    let signature = STANDARD.decode(&signature).map_err(|_| "has no signature in base64".to_owned())?;
    let public = UnparsedPublicKey::new(&ED25519, &key.public);
    if public.verify(signed.get().as_bytes(), &signature).is_err() {
        return Err(format!("`{}` is not what was signed", receipt.id));
    }
    if (&receipt.prev_receipt_id, &receipt.prev_hash) != (id, hash) {
        let named = if receipt.prev_receipt_id.is_empty() { "none" } else { &receipt.prev_receipt_id };
        return Err(format!("`{}` does not follow the receipt before it, but `{named}`", receipt.id));
    }
    Ok(receipt)
}

fn hash(line: &str) -> String {
    digest(&SHA256, line.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

// === impl Report ===

impl Report {
    fn value(&self) -> Value {
        let reason = self.reason.as_ref().map(|(_, line, reason)| format!("line {line}: {reason}"));
        let file = self.reason.as_ref().map(|(file, ..)| file.display().to_string());
        json!({
            "verified": reason.is_none(),
            "reason": reason,
            "file": file,
            "signed_by_key_id": self.key_id,
            "receipts": self.n_receipts,
            "cost_nano_usd": self.cost_nano_usd,
            "saved_nano_usd": self.saved_nano_usd,
        })
    }

    fn drawn(&self, files: &[PathBuf]) -> String {
        let (n_receipts, key_id) = (self.n_receipts, &self.key_id);
        match &self.reason {
            None => format!(
                "{}: {n_receipts} receipts, all signed by {key_id} and in order; cost {}, saved {}\n",
                files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
                dollars(self.cost_nano_usd),
                dollars(self.saved_nano_usd)
            ),
            Some((file, line, reason)) => {
                format!("{}: line {line} {reason}; the {n_receipts} before it are right\n", file.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn chain(pair: &Ed25519KeyPair, key: &Key, saved: &[i64]) -> Vec<String> {
        let (mut lines, mut before) = (Vec::new(), (String::new(), String::new()));
        for (at, saved) in saved.iter().enumerate() {
            let id = format!("r{at}");
            let receipt = json!({"cost_nano_usd": 5, "id": id, "prev_hash": before.1, "prev_receipt_id": before.0,
                "public_key_id": key.id, "saved_nano_usd": saved})
            .to_string();
            let signature = STANDARD.encode(pair.sign(receipt.as_bytes()).as_ref());
            let line = format!("{{\"receipt\":{receipt},\"signature\":\"{signature}\"}}");
            before = (id, hash(&line));
            lines.push(line);
        }
        lines
    }

    /// Whatever is done to the file in between shows, and where.
    #[test]
    fn savings_ledger_verify() {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key");
        let key = Key { id: "k".to_owned(), public: pair.public_key().as_ref().to_vec() };
        let good = chain(&pair, &key, &[10, -3, 4]);
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = good.clone();
            change(&mut lines);
            lines
        };
        let forger = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let forger = Ed25519KeyPair::from_pkcs8(forger.as_ref()).expect("a key");
        type Bad<'a> = Option<(u64, &'a str)>;
        let cases: [(Vec<String>, Bad<'_>); 9] = [
            (good.clone(), None),
            (Vec::new(), None),
            (with(&|lines| lines[1] = lines[1].replace("-3", "33")), Some((2, "is not what was signed"))),
            (with(&|lines| drop(lines.remove(1))), Some((2, "does not follow"))),
            (with(&|lines| drop(lines.remove(0))), Some((1, "does not follow"))),
            (with(&|lines| lines.swap(1, 2)), Some((2, "does not follow"))),
            (with(&|lines| lines.push(lines[2].clone())), Some((4, "does not follow"))),
            (with(&|lines| lines[2].truncate(40)), Some((3, "is no receipt"))),
            (chain(&forger, &key, &[1]), Some((1, "is not what was signed"))),
        ];
        for (lines, expected) in cases {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("receipts.jsonl");
            std::fs::write(&path, lines.join("\n")).expect("written");
            let report = verified(&[path], &key).expect("readable");
            let found = report.reason.as_ref().map(|(_, line, reason)| (*line, reason.as_str()));
            match (found, expected) {
                (Some((line, reason)), Some((at, why))) => {
                    assert!(line == at && reason.contains(why), "{line}: {reason}")
                }
                (found, expected) => assert_eq!(found.is_none(), expected.is_none(), "{found:?}"),
            }
            assert_eq!(report.value()["verified"], expected.is_none());
            if expected.is_none() && !lines.is_empty() {
                assert_eq!((report.n_receipts, report.cost_nano_usd, report.saved_nano_usd), (3, 15, 11));
            }
        }
    }

    /// One chain in several files is right in their order only, and a file that is missing shows where it was.
    #[test]
    fn a_chain_goes_on_in_the_next_file() {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key");
        let key = Key { id: "k".to_owned(), public: pair.public_key().as_ref().to_vec() };
        let lines = chain(&pair, &key, &[1, 2, 3, 4, 5]);
        let dir = tempfile::tempdir().expect("a directory");
        let files: Vec<PathBuf> = [&lines[..2], &lines[2..4], &lines[4..]]
            .iter()
            .enumerate()
            .map(|(at, lines)| {
                let path = dir.path().join(format!("{at}.jsonl"));
                std::fs::write(&path, lines.join("\n") + "\n").expect("written");
                path
            })
            .collect();
        let [first, second, third] = &files[..] else { panic!("three files") };
        let of = |files: &[&PathBuf]| {
            let report =
                verified(&files.iter().map(|file| (*file).clone()).collect::<Vec<_>>(), &key).expect("readable");
            (report.n_receipts, report.reason.map(|(file, line, _)| (file, line)))
        };
        assert_eq!(of(&[first, second, third]), (5, None));
        assert_eq!(of(&[first, third]), (2, Some((third.clone(), 1))));
        assert_eq!(of(&[second, third]), (0, Some((second.clone(), 1))));
        assert_eq!(of(&[first, second, second]), (4, Some((second.clone(), 1))));
    }
}
