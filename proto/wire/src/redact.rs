//! Messages that carry secrets say only what they are when they are printed.

use std::fmt;

use crate::v1::{BodyPart, Item, Pepper, SnapshotChunk};

// === impl Item ===

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

// === impl Pepper ===

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("version", &self.version).finish_non_exhaustive()
    }
}

// === impl SnapshotChunk ===

impl fmt::Debug for SnapshotChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotChunk").field("nonce", &self.nonce).field("index", &self.index).finish_non_exhaustive()
    }
}

// === impl BodyPart ===

impl fmt::Debug for BodyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyPart").field("total_bytes", &self.total_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::item::Body;
    use crate::v1::{ControlMsg, Delta, control_msg};
    use bytes::Bytes;

    #[test]
    fn a_printed_message_holds_no_secret() {
        const CANARY: &str = "sk-canary-0123456789";
        let mut provider = Item { kind: "provider".into(), id: "a".into(), ..Item::default() };
        provider.secrets.insert("api_key".into(), CANARY.as_bytes().to_vec());
        let pepper = Pepper { version: 7, value: CANARY.as_bytes().to_vec() };
        let pepper =
            Item { kind: "pepper".into(), id: "7".into(), body: Some(Body::Pepper(pepper)), ..Item::default() };
        let delta = Delta { upsert: vec![provider, pepper.clone()], ..Delta::default() };
        let chunk = SnapshotChunk { data: Bytes::from_static(CANARY.as_bytes()), ..SnapshotChunk::default() };
        let body = BodyPart { content: Bytes::from_static(CANARY.as_bytes()), ..BodyPart::default() };
        let message = ControlMsg { msg: Some(control_msg::Msg::Delta(delta)) };
        let printed = format!("{message:?} {pepper:?} {chunk:?} {body:?}");
        assert!(printed.contains("provider"), "{printed}");
        for spelling in [CANARY.to_owned(), format!("{:?}", CANARY.as_bytes()).trim_matches(['[', ']']).to_owned()] {
            assert!(!printed.contains(&spelling), "{printed}");
        }
    }
}
