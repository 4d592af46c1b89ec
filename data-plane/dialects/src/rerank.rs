//! Reranking: documents ordered by what they say to a question. Clients ask in Jina's, Cohere's or Voyage's form, and are
//! answered in it by upstreams of any.
//!
//! Documents that a client wants back are taken from its own request, so that no upstream need send them.

use bytes::{Bytes, BytesMut};
use gateway_ir::failure::Failure;
use gateway_ir::rerank::{Reply, Request};
use gateway_ir::task::Form;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::dialect::Encoded;
use crate::dropped::Dropped;
use crate::fields::{self, Fields, Path};
use crate::openai_chat;
use crate::reading::{members_of, text};
use crate::task::{Answer, Asked, Context, Family, Upstream};
use crate::writer::{Array, object, quoted};

mod reply;
#[cfg(test)]
mod tests;

/// `POST /v1/rerank` and `/v2/rerank` for clients.
pub(crate) struct Rerank;

/// A request, and in which form its client is answered.
struct Read {
    request: Request,
    form: Form,
}

/// What vendors call the number of results.
const COUNTS: [&str; 2] = ["top_n", "top_k"];

// === impl Rerank ===

impl Family for Rerank {
    fn read(&self, form: Form, body: &[u8]) -> Result<Box<dyn Asked>, Box<Failure>> {
        let mut top = Fields::read(fields::document(body)?, &Path::ROOT)?;
        // The target's own name is written in its place.
        top.take("model");
        // The two forms at one path differ in this name.
        let form = if form == Form::JinaRerank && top.peek("top_k").is_some() { Form::VoyageRerank } else { form };
        let query = top.take("query").ok_or_else(|| top.missing("query"))?;
        fields::string(query, &Path::ROOT.name("query"))?;
        let documents = documents(&mut top)?;
        let top_n = match top.unsigned("top_n")? {
            Some(top_n) => Some(top_n),
            None => top.unsigned("top_k")?,
        };
        let return_documents = top.boolean("return_documents")?.unwrap_or(false);
        let extra = top.rest().filter(|(name, _)| !COUNTS.contains(&name.as_str())).collect();
        let request = Request { query: query.to_owned(), documents, top_n, return_documents, extra };
        Ok(Box::new(Read { request, form }))
    }

    fn n_inputs(&self, _: &[u8]) -> usize {
        1
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        // A reply of which only the end is here has its usage there, but its searches may be gone.
        reply::usage_in(body).or_else(|| openai_chat::usage::last_task_in(body))
    }
}

// === impl Read ===

impl Asked for Read {
    fn encode(&self, upstream: &Upstream<'_>) -> Result<Vec<Encoded>, Box<Failure>> {
        Ok(vec![encode(&self.request, upstream)])
    }

    fn answer(
        &self,
        upstream: &Upstream<'_>,
        replies: &[Bytes],
        context: &Context<'_>,
    ) -> Result<Answer, Box<Failure>> {
        let mut whole = Reply::default();
        for bytes in replies {
            whole = reply::decode(bytes, upstream.form, self.request.documents.len())?;
        }
        if let Some(top_n) = self.request.top_n.and_then(|top_n| usize::try_from(top_n).ok()) {
            whole.results.truncate(top_n);
        }
        Ok(Answer { bytes: reply::encode(&whole, &self.request, self.form, context), usage: whole.usage })
    }

    /// The question stands before each document.
    fn n_content_bytes(&self) -> u64 {
        let query = self.request.query.get().len();
        self.request.documents.iter().map(|document| (query + document.get().len()) as u64).sum()
    }
}

fn documents(top: &mut Fields<'_, '_>) -> Result<Vec<Box<RawValue>>, Box<Failure>> {
    let path = Path::ROOT.name("documents");
    let Some(raw) = top.take("documents") else { return Err(top.missing("documents")) };
    let all = fields::array(raw, &path)?;
    if all.is_empty() {
        return Err(path.must_be("an array that is not empty"));
    }
    for (at, document) in all.iter().enumerate() {
        if !document.get().starts_with(['"', '{']) {
            return Err(path.index(at).must_be("a text or an object"));
        }
    }
    Ok(all.into_iter().map(RawValue::to_owned).collect())
}

fn encode(request: &Request, upstream: &Upstream<'_>) -> Encoded {
    let mut dropped = Dropped::default();
    let (count, own): (_, &[&str]) = match upstream.form {
        Form::CohereRerank => ("top_n", &["max_tokens_per_doc", "priority"]),
        Form::VoyageRerank => ("top_k", &["truncation"]),
        _ => ("top_n", &["max_chunks_per_doc", "rank_fields", "truncate_prompt_tokens", "truncation"]),
    };
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.string("model", upstream.model);
        body.raw("query", request.query.get());
        body.array("documents", |documents| {
            request.documents.iter().for_each(|document| write_text(document, documents));
        });
        if let Some(top_n) = request.top_n {
            body.unsigned(count, top_n);
        }
        if upstream.form == Form::JinaRerank {
            body.boolean("return_documents", false);
        }
        for (name, raw) in &request.extra {
            match own.contains(&name.as_str()) {
                true => body.raw(name, raw.get()),
                false => dropped.note(name),
            }
        }
    });
    Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() }
}

/// The text of a document; one of several fields is told as it is written.
fn write_text(document: &RawValue, documents: &mut Array<'_>) {
    let mut found = None;
    members_of(document, |name, raw| {
        if name == "text" {
            found = text(raw);
        }
    });
    match found {
        Some(text) => documents.string(&text),
        None if document.get().starts_with('"') => documents.raw(document.get()),
        None => {
            let mut text = BytesMut::new();
            quoted(&mut text, document.get());
            documents.raw(std::str::from_utf8(&text).expect("what was text is text when quoted"));
        }
    }
}
