//! What the operations that count tokens have in common: their requests are chat requests without what only a reply needs, and
//! their answers are one number.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::Failure;

use crate::dialect::Encoded;
use crate::reading::{garbage, members, unsigned};
use crate::writer::{Object, object};

/// Writes the members of an encoded chat request that `is_counted` names, as they stand.
pub(crate) fn keep(encoded: &Encoded, object: &mut Object<'_>, is_counted: impl Fn(&str) -> bool) {
    // Our own encoding is one JSON object.
    members(&encoded.body, |name, raw| {
        if is_counted(name) {
            object.raw(name, raw.get());
        }
    })
    .ok();
}

/// The chat request without the members that are not counted, for vendors that refuse them.
pub(crate) fn only(encoded: Encoded, is_counted: impl Fn(&str) -> bool) -> Encoded {
    let mut out = BytesMut::with_capacity(encoded.body.len());
    object(&mut out, |body| keep(&encoded, body, is_counted));
    Encoded { body: out.freeze(), ..encoded }
}

/// The number under `name` of a vendor's answer.
pub(crate) fn number(body: &[u8], name: &str) -> Result<u64, Box<Failure>> {
    let mut number = None;
    let read = members(body, |member, raw| {
        if member == name {
            number = unsigned(raw);
        }
    });
    match (read, number) {
        (Ok(()), Some(number)) => Ok(number),
        _ => Err(garbage(format!("the upstream's answer has no number `{name}`"))),
    }
}

/// `{"<name>": n}`, with what stands before it.
pub(crate) fn answer(before: &[(&str, &str)], name: &str, n_tokens: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    object(&mut out, |body| {
        before.iter().for_each(|(name, text)| body.string(name, text));
        body.unsigned(name, n_tokens);
    });
    out.freeze()
}
