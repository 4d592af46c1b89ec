//! Sealed files: what goes in comes out, and nothing else does, whatever happens to the bytes.

use super::*;
use crate::v1::item::Body;

fn key(secret: &[u8]) -> Key {
    Key::derive(&[b"sixteen bytes or more", secret], Purpose::Export)
}

fn item(kind: &str, id: &str, document: &str) -> Item {
    let body = Some(Body::Document(bytes::Bytes::copy_from_slice(document.as_bytes())));
    let secrets = [("api_key".to_owned(), b"sk-canary".to_vec())].into();
    Item { kind: kind.to_owned(), id: id.to_owned(), body, secrets }
}

fn configuration() -> Configuration {
    let items = |kind: &str, n: usize| (0..n).map(|number| item(kind, &number.to_string(), "{}")).collect();
    Configuration {
        epoch: "0198-epoch".to_owned(),
        topology: Part { revision: 7, items: items("provider", 3) },
        identity: Part { revision: 900, items: items("key", 20) },
    }
}

fn refusal(key: &Key, sealed: &[u8]) -> String {
    open(key, sealed).map(|_| ()).expect_err("it stays closed").to_string()
}

#[test]
fn what_is_sealed_is_opened() {
    let empty = Configuration::default();
    // Incompressible, so that it takes several frames.
    let mut large = configuration();
    let mut word = 1_u64;
    let noise = (0..900_000).map(|_| {
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_add(1);
        char::from(b' ' + (word % 90) as u8)
    });
    large.topology.items.push(item("model", "large", &noise.collect::<String>()));
    for configuration in [empty, configuration(), large] {
        let sealed = seal(&key(b"1"), &configuration);
        assert!(open(&key(b"1"), &sealed).expect("it opens") == configuration);
        assert!(!sealed.windows(9).any(|window| window == b"sk-canary"), "nothing is readable");
        assert_ne!(sealed, seal(&key(b"1"), &configuration), "no two files are sealed alike");
    }
}

#[test]
fn every_cut_and_every_flip_is_found() {
    let key = key(b"1");
    let sealed = seal(&key, &configuration());
    for cut in 0..sealed.len() {
        assert!(matches!(open(&key, &sealed[..cut]), Err(Error::Truncated)), "cut at {cut}");
    }
    for at in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let error = open(&key, &flipped).map(|_| ()).expect_err("a flipped bit is found");
        let expected = match at / 8 {
            0..8 => matches!(error, Error::Foreign),
            _ => matches!(error, Error::Corrupted | Error::Truncated),
        };
        assert!(expected, "bit {at}: {error}");
    }
    let mut longer = sealed;
    longer.push(0);
    assert!(matches!(open(&key, &longer), Err(Error::Corrupted)));
}

#[test]
fn every_refusal_says_why() {
    let sealed = seal(&key(b"1"), &configuration());
    let mut newer = sealed.clone();
    newer[8] = 2;
    // A newer version has its checksum right.
    let len = 12 + usize::from(u16::from_le_bytes([newer[10], newer[11]]));
    let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &newer[..len]);
    newer[len..len + 8].copy_from_slice(&checksum.as_ref()[..8]);
    let mut journal = Vec::new();
    let header =
        Header { what: What::Journal(Class::Identity), epoch: "e".to_owned(), topology: 0, identity: 3, generation: 1 };
    Appender::begin(&key(b"1"), &header, &mut journal).and_then(|appender| appender.finish(b"")).expect("memory");
    let other = Key::derive(&[b"sixteen bytes or more", b"1"], Purpose::NodeState);
    for (key, bytes, expected) in [
        (&key(b"2"), &*sealed, "sealed under another key"),
        (&other, &sealed, "sealed under another key"),
        (&key(b"1"), b"providers: []\nmodels: []\n", "not a sealed file"),
        (&key(b"1"), b"", "ends too early"),
        (&key(b"1"), &newer, "newer version (format 2)"),
        (&key(b"1"), &journal, "a journal of identity where an exported configuration was expected"),
    ] {
        let said = refusal(key, bytes);
        assert!(said.contains(expected), "{said}");
    }
    let parts: [&[&[u8]]; 2] = [&[b"ab", b"c"], &[b"a", b"bc"]];
    let [one, another] = parts.map(|parts| Key::derive(parts, Purpose::Export));
    assert!(refusal(&another, &seal(&one, &configuration())).contains("another key"), "parts do not run together");
    assert_eq!(format!("{one:?}"), "Key(…)");
}

#[test]
fn records_open_only_in_their_file_and_in_their_order() {
    let key = key(b"1");
    let header = |generation| Header {
        what: What::Journal(Class::Identity),
        epoch: "e".to_owned(),
        topology: 0,
        identity: 3,
        generation,
    };
    let journal = |generation, records: &[&[u8]]| {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        let mut appender = Appender::begin(&key, &header(generation), &mut bytes).expect("memory");
        ends.push(appender.writer_mut().len());
        for record in records {
            appender.append(record).expect("memory");
            ends.push(appender.writer_mut().len());
        }
        (bytes, ends)
    };
    let read = |bytes: &[u8]| {
        let (found, mut frames) = Frames::begin(&key, bytes).expect("a head");
        let mut records = Vec::new();
        let error = loop {
            match frames.read() {
                Ok(Some(record)) => records.push(String::from_utf8_lossy(record).into_owned()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        (found.generation, records.concat(), frames.end() as usize, error)
    };
    let (bytes, ends) = journal(1, &[b"a", b"b", b"c"]);
    let (generation, records, end, error) = read(&bytes);
    assert_eq!((generation, &*records, end), (1, "abc", bytes.len()));
    assert!(error.is_none());
    // The tail of a write that did not finish.
    for cut in ends[2] + 1..bytes.len() {
        let (_, records, end, error) = read(&bytes[..cut]);
        assert_eq!((&*records, end), ("ab", ends[2]));
        assert!(matches!(error, Some(Error::Truncated)));
    }
    let record = |number: usize| &bytes[ends[number]..ends[number + 1]];
    let (other, other_ends) = journal(1, &[b"x"]);
    for (what, tail) in [
        ("swapped", [record(1), record(0), record(2)].concat()),
        ("dropped", [record(1), record(2)].concat()),
        ("repeated", [record(0), record(0)].concat()),
        ("moved", other[other_ends[0]..].to_vec()),
    ] {
        let (_, records, _, error) = read(&[&bytes[..ends[0]], &*tail].concat());
        assert!(matches!(error, Some(Error::Corrupted)), "{what}: {records}");
    }
    // A file that is gone on with after a restart is one file.
    let (_, mut frames) = Frames::begin(&key, &*bytes).expect("a head");
    while frames.read().expect("a record").is_some() {}
    let mut longer = bytes.clone();
    Appender::resume(frames, &mut longer).append(b"d").expect("memory");
    assert_eq!(read(&longer).1, "abcd");
}
