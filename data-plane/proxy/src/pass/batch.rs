//! What a provider says of batches: which are over, whose they are, what they used. Whose one is stands in its own metadata, which
//! its provider keeps and tells again, so that no node has to remember it.

use bytes::Bytes;
use gateway_dialects::registry;
use gateway_engine::handle::{self, Handle};
use gateway_engine::identity::Peppers;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::{Edit, splice};
use gateway_ir::failure::Failure;
use gateway_ir::json::{self, Member};
use gateway_ir::usage::Usage;
use memchr::memmem;
use serde_json::{Map, Value};

/// The pair of a batch's metadata that names the key that made it. Clients never see it.
const OWNER: &str = "gateway_key";
/// Pairs that metadata may have, <https://platform.openai.com/docs/api-reference/batch/create>.
const MAX_PAIRS: usize = 16;

/// How a batch may end, and the member that says when.
const OVER: [(&str, &str); 4] =
    [("completed", "completed_at"), ("failed", "failed_at"), ("expired", "expired_at"), ("cancelled", "cancelled_at")];

/// A batch that is over, however it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// The vendor's own.
    pub(super) id: String,
    /// Unix milliseconds.
    pub(super) created_ms: i64,
    pub(super) ended_ms: i64,
    /// The path that all its requests are for.
    pub(super) endpoint: String,
    /// Whose it is, if it was made through the gateway.
    pub(super) owner: Option<String>,
    /// The model and what it used, where the object says so.
    pub(super) used: Option<(String, Usage)>,
    /// The file with an answer in each line.
    pub(super) output: Option<String>,
}

/// What asks for a batch, with its owner in it; `key` is the owner's id. Refused where the owner could not be told again.
pub(super) fn owned(body: &Bytes, peppers: &Peppers, key: &str, provider: &str) -> Result<Bytes, Box<Failure>> {
    let (mut files, mut metadata) = (Vec::new(), Vec::new());
    let scanned = json::scan_object(body, |member: Member<'_>| {
        if member.is("input_file_id") {
            files.push(member.value);
        } else if member.is("metadata") {
            metadata.push(member.value);
        }
    });
    if let Err(fault) = scanned {
        let message = format!("the request body is not valid JSON: {fault}");
        return Err(Box::new(Failure::invalid(message)));
    }
    if files.len() > 1 || metadata.len() > 1 {
        return Err(Box::new(Failure::invalid("`input_file_id` or `metadata` is given twice")));
    }
    let Some(file) = files.pop().and_then(|at| json::string(&body[at]).map(std::borrow::Cow::into_owned)) else {
        return Err(Box::new(Failure::invalid("`input_file_id` must be the id of a file").at("input_file_id")));
    };
    let Some(owner) = handle::seal(peppers, &scope(&file), Handle { id: key, provider }) else {
        return Ok(body.clone());
    };
    let at = metadata.pop();
    let mut pairs = match at.as_ref().map(|at| serde_json::from_slice::<Option<Map<String, Value>>>(&body[at.clone()]))
    {
        None => Map::new(),
        Some(Ok(pairs)) => pairs.unwrap_or_default(),
        Some(Err(_)) => return Err(metadata_refused("must be an object")),
    };
    if pairs.contains_key(OWNER) {
        return Err(metadata_refused("may not have `gateway_key`: the gateway writes there whose the batch is"));
    }
    if pairs.len() >= MAX_PAIRS {
        return Err(metadata_refused("may have 15 pairs: the gateway adds one"));
    }
    pairs.insert(OWNER.to_owned(), owner.into());
    let pairs = Value::Object(pairs);
    let edit = match at {
        Some(at) => Edit { at, with: pairs.to_string().into() },
        None => {
            // There is a member already, the file.
            let behind = 1 + body.iter().position(|byte| *byte == b'{').unwrap_or_default();
            Edit { at: behind..behind, with: format!("\"metadata\":{pairs},").into() }
        }
    };
    Ok(splice(body, vec![edit]).concat().into())
}

/// What is said of a batch or of several, as a client may see it.
pub(super) fn shown(body: &Bytes) -> Bytes {
    if memmem::find(body, OWNER.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(mut told) = serde_json::from_slice::<Value>(body) else { return body.clone() };
    let batches = match told.get("data").is_some_and(Value::is_array) {
        true => told["data"].as_array_mut().map(|data| data.iter_mut().collect()).unwrap_or_default(),
        false => vec![&mut told],
    };
    for batch in batches {
        let Some(pairs) = batch.get_mut("metadata").and_then(Value::as_object_mut) else { continue };
        if pairs.remove(OWNER).is_some() && pairs.is_empty() {
            batch["metadata"] = Value::Null;
        }
    }
    told.to_string().into()
}

/// The vendor's id of a batch that is not over.
pub(super) fn open(body: &[u8]) -> Option<String> {
    let told = serde_json::from_slice::<Value>(body).ok().filter(|told| told["object"] == "batch")?;
    let is_over = OVER.iter().any(|(status, _)| told["status"] == *status);
    told["id"].as_str().filter(|id| !id.is_empty() && !is_over).map(str::to_owned)
}

/// Those that are over, of a batch or of a list of them.
pub(super) fn finished(body: &[u8], peppers: &Peppers, provider: &str) -> Vec<Finished> {
    let Ok(told) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let batches = match told["data"].as_array() {
        Some(data) => data.as_slice(),
        None => std::slice::from_ref(&told),
    };
    batches.iter().filter_map(|batch| Finished::read(batch, peppers, provider)).collect()
}

// === impl Finished ===

impl Finished {
    fn read(batch: &Value, peppers: &Peppers, provider: &str) -> Option<Self> {
        let text = |name: &str| batch[name].as_str().filter(|text| !text.is_empty());
        let (object, status) = (text("object")?, text("status")?);
        let (_, ended_at) = OVER.iter().find(|(over, _)| object == "batch" && status == *over)?;
        let created_ms = batch["created_at"].as_i64()?.checked_mul(1000)?;
        let ended_ms = batch[ended_at].as_i64().and_then(|seconds| seconds.checked_mul(1000));
        Some(Self {
            id: text("id")?.to_owned(),
            created_ms,
            ended_ms: ended_ms.unwrap_or(created_ms),
            endpoint: text("endpoint").unwrap_or_default().to_owned(),
            owner: owner(batch, peppers, provider),
            used: used(batch),
            output: text("output_file_id").map(str::to_owned),
        })
    }
}

/// A tag that was not made here, or for another batch, names nobody.
fn owner(batch: &Value, peppers: &Peppers, provider: &str) -> Option<String> {
    let (file, sealed) = (batch["input_file_id"].as_str()?, batch["metadata"][OWNER].as_str()?);
    let found = handle::open(peppers, &scope(file), sealed)?;
    (found.provider == provider).then(|| found.id.to_owned())
}

/// In the words of the Responses API, whatever the batch asked for. A batch of which requests were answered has used something,
/// so that zero then means that its provider does not count.
fn used(batch: &Value) -> Option<(String, Usage)> {
    let model = batch["model"].as_str().filter(|model| !model.is_empty())?;
    let reply = Value::from_iter([("usage", batch.get("usage")?.clone())]).to_string();
    let usage = registry::client_dialect(Dialect::OpenAiResponses)?.usage_of_reply(reply.as_bytes())?;
    let n_answered = batch["request_counts"]["completed"].as_u64().unwrap_or_default();
    (usage.total() > 0 || n_answered == 0).then(|| (model.to_owned(), usage))
}

/// What the tag of an owner is good for: no tenant is called so.
fn scope(file: &str) -> String {
    format!("batch of {file}")
}

fn metadata_refused(what: &str) -> Box<Failure> {
    Box::new(Failure::invalid(format!("`metadata` of a batch {what}")).at("metadata"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peppers() -> Peppers {
        Peppers::new([(1, b"pepper")]).expect("a pepper")
    }

    #[test]
    fn the_owner_goes_along_and_comes_back_and_is_not_shown() {
        let cases = [
            (r#"{"input_file_id":"f"}"#, json!(null)),
            (r#"{ "metadata" : null, "input_file_id":"f"}"#, json!(null)),
            (r#"{"metadata":{},"input_file_id":"f"}"#, json!(null)),
            (r#"{"input_file_id":"f","metadata":{"a":"b"}}"#, json!({"a": "b"})),
        ];
        for (asked, shown_metadata) in cases {
            let sent = owned(&Bytes::from(asked), &peppers(), "vk_1", "up").expect("sent");
            let mut batch: Value = serde_json::from_slice(&sent).expect("JSON");
            let more = json!({"object": "batch", "id": "b", "status": "failed", "created_at": 7});
            batch.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let found = |peppers: &Peppers, provider: &str, batch: &Value| {
                let list = json!({"object": "list", "data": [batch, {"object": "batch", "status": "in_progress"}]});
                let found = finished(list.to_string().as_bytes(), peppers, provider);
                assert_eq!(found.len(), 1);
                found[0].owner.clone()
            };
            assert_eq!(found(&peppers(), "up", &batch).as_deref(), Some("vk_1"), "{asked}");
            assert_eq!(found(&peppers(), "other", &batch), None);
            assert_eq!(found(&Peppers::new([(1, b"x")]).expect("a pepper"), "up", &batch), None);
            let shown: Value = serde_json::from_slice(&shown(&batch.to_string().into())).expect("JSON");
            assert_eq!(shown["metadata"], shown_metadata, "{asked}");
            batch["input_file_id"] = json!("another");
            assert_eq!(found(&peppers(), "up", &batch), None, "copied from another batch");
        }
        let many: Map<String, Value> = (0..16).map(|n| (n.to_string(), json!("x"))).collect();
        let many = json!({"input_file_id": "f", "metadata": many}).to_string();
        for refused in [
            "[]",
            "{}",
            r#"{"input_file_id":3}"#,
            r#"{"input_file_id":"f","metadata":"x"}"#,
            r#"{"input_file_id":"f","metadata":{"gateway_key":"vk_2"}}"#,
            r#"{"input_file_id":"f","metadata":{},"m\u0065tadata":{}}"#,
            &many,
        ] {
            let refused = owned(&Bytes::from(refused.to_owned()), &peppers(), "vk_1", "up");
            assert_eq!(refused.map_err(|failure| failure.status), Err(400));
        }
    }

    #[test]
    fn what_was_used_is_told_by_the_object_if_it_counts() {
        let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 107});
        let expected = Usage { input: 60, cache_read: 40, output: 7, reasoning: 3, ..Usage::default() };
        let nothing = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0});
        let cases = [
            ("completed", json!("m"), usage.clone(), 2, Some(expected)),
            ("cancelled", json!("m"), usage.clone(), 1, Some(expected)),
            ("failed", json!("m"), nothing.clone(), 0, Some(Usage::default())),
            ("completed", json!("m"), nothing, 2, None),
            ("completed", json!(null), usage, 2, None),
            ("expired", json!("m"), json!(null), 2, None),
        ];
        for (status, model, usage, n_answered, expected) in cases {
            let batch = json!({"object": "batch", "id": "b", "status": status, "created_at": 7, "cancelled_at": 9,
                "model": model, "usage": usage, "request_counts": {"completed": n_answered}});
            let found = finished(batch.to_string().as_bytes(), &peppers(), "up");
            assert_eq!(found[0].used, expected.map(|usage| ("m".to_owned(), usage)), "{batch}");
            assert_eq!(found[0].ended_ms, if status == "cancelled" { 9000 } else { 7000 });
        }
        for other in ["{", "[]", "3", r#"{"object":"batch","status":"completed","id":"b"}"#, r#"{"data":[3]}"#] {
            assert_eq!(finished(other.as_bytes(), &peppers(), "up"), [], "{other}");
        }
    }
}
