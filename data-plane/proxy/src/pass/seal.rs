//! Ids in a reply about what a vendor keeps, as the tenant is given them.

use bytes::Bytes;
use gateway_engine::handle::{self, Handle};
use gateway_engine::identity::Peppers;
use gateway_ir::facts::{Edit, quoted, splice};
use gateway_ir::json::{self, Member};

/// Members of a file or a batch that hold an id, <https://platform.openai.com/docs/api-reference/batch/object>.
const MEMBERS: [&str; 4] = ["id", "input_file_id", "output_file_id", "error_file_id"];

/// The reply with every id in it sealed for `tenant`; `None` where it is no JSON object, or there is no key to seal with.
pub(super) fn reply(body: &Bytes, peppers: &Peppers, tenant: &str, provider: &str) -> Option<Bytes> {
    let mut ids = Vec::new();
    json::scan_object(body, |member: Member<'_>| {
        if MEMBERS.iter().any(|name| member.is(name)) {
            ids.push(member.value);
        }
    })
    .ok()?;
    let mut edits = Vec::with_capacity(ids.len());
    for at in ids {
        let Some(id) = json::string(&body[at.clone()]) else { continue };
        let given = handle::seal(peppers, tenant, Handle { id: &id, provider })?;
        edits.push(Edit { at, with: quoted(&given) });
    }
    Some(splice(body, edits).concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_sealed_and_nothing_else_changes() {
        let peppers = Peppers::new([(1, b"pepper")]).expect("a pepper");
        let body = Bytes::from_static(
            br#"{ "id":"b_1", "n":1.0, "output_file_id":null, "input_file_id":"f_1", "model":"b_1"}"#,
        );
        let sealed = reply(&body, &peppers, "vk_1", "up").expect("an object");
        let sealed: serde_json::Value = serde_json::from_slice(&sealed).expect("JSON");
        for (member, id) in [("id", "b_1"), ("input_file_id", "f_1")] {
            let given = sealed[member].as_str().expect("a string");
            assert_eq!(handle::open(&peppers, "vk_1", given), Some(Handle { id, provider: "up" }));
        }
        assert_eq!((&sealed["model"], &sealed["output_file_id"]), (&"b_1".into(), &serde_json::Value::Null));
        assert_eq!(reply(&Bytes::from_static(b"[]"), &peppers, "vk_1", "up"), None);
        assert_eq!(reply(&body, &Peppers::default(), "vk_1", "up"), None);
    }
}
