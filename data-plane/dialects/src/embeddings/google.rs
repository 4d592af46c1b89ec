//! Google's form for clients, `:batchEmbedContents` and `:embedContent`, <https://ai.google.dev/api/embeddings>, whatever the upstream
//! speaks. Google itself is asked in the client's own words, but for the model, which stands in each request of a batch.

use bytes::{Bytes, BytesMut};
use gateway_ir::embeddings::{Encoding, Input, Purpose, Request};
use gateway_ir::failure::Failure;
use gateway_ir::task::Form;
use serde_json::value::{RawValue, to_raw_value};

use super::{purpose, vector};
use crate::dialect::Encoded;
use crate::fields::{self, Fields, Path};
use crate::reading::text;
use crate::task::{Answer, Asked, Context, Upstream, unsupported};
use crate::writer::{Array, object};

/// A request, or a batch of them.
pub(super) struct Googles {
    /// What it asks of anybody.
    plain: Request,
    /// The members of each request as the client wrote them, without the model.
    said: Vec<Vec<(String, Box<RawValue>)>>,
    /// What only Google can be asked.
    own: Option<&'static str>,
    /// Members that have no meaning elsewhere.
    lost: Vec<String>,
    /// It is told without being a batch.
    is_one: bool,
}

/// What one request says.
struct One {
    /// `None` where it is more than text.
    text: Option<Box<RawValue>>,
    purpose: Option<Purpose>,
    dimensions: Option<u64>,
    said: Vec<(String, Box<RawValue>)>,
}

/// Members that are said to others, too.
const KNOWN: [&str; 3] = ["content", "taskType", "outputDimensionality"];

/// A client's request, of which `is_one` is no batch.
pub(super) fn decode(body: &[u8], is_one: bool) -> Result<Googles, Box<Failure>> {
    let whole = fields::document(body)?;
    let all = if is_one { vec![One::read(whole, &Path::ROOT)?] } else { batch(whole)? };
    let (purpose, dimensions) = (all[0].purpose, all[0].dimensions);
    let own = if all.iter().any(|one| one.text.is_none()) {
        Some("content")
    } else if all.iter().any(|one| one.purpose != purpose) {
        Some("taskType")
    } else if all.iter().any(|one| one.dimensions != dimensions) {
        Some("outputDimensionality")
    } else {
        None
    };
    let names = all.iter().flat_map(|one| one.said.iter().map(|(name, _)| name));
    let lost = |name: &&String| match name.as_str() {
        "taskType" => purpose.is_none(),
        name => !KNOWN.contains(&name),
    };
    let mut lost: Vec<String> = names.filter(lost).cloned().collect();
    lost.sort();
    lost.dedup();
    let (inputs, said) = all.into_iter().map(|one| (one.text.unwrap_or_default(), one.said)).unzip::<_, _, Vec<_>, _>();
    let inputs = inputs.into_iter().map(Input::Text).collect();
    Ok(Googles { plain: Request { inputs, purpose, dimensions, ..Request::default() }, said, own, lost, is_one })
}

fn batch(whole: &RawValue) -> Result<Vec<One>, Box<Failure>> {
    let path = Path::ROOT.name("requests");
    let mut top = Fields::read(whole, &Path::ROOT)?;
    let requests = top.array("requests")?.ok_or_else(|| top.missing("requests"))?;
    if requests.is_empty() {
        return Err(path.must_be("an array that is not empty"));
    }
    requests.iter().enumerate().map(|(at, raw)| One::read(raw, &path.index(at))).collect()
}

// === impl One ===

impl One {
    fn read(raw: &RawValue, path: &Path<'_>) -> Result<Self, Box<Failure>> {
        let mut fields = Fields::read(raw, path)?.camel_cased()?;
        // The path names it, and the target's own name is written in its place.
        fields.take("model");
        let content = fields.peek("content").ok_or_else(|| fields.missing("content"))?;
        let text_of = content_text(content, &path.name("content"))?;
        let purpose = fields.peek("taskType").and_then(text).and_then(|word| purpose::parse(&word));
        let dimensions = match fields.peek("outputDimensionality").map(RawValue::get) {
            None | Some("null") => None,
            Some(number) => match number.parse() {
                Ok(dimensions) if dimensions > 0 => Some(dimensions),
                _ => return Err(path.name("outputDimensionality").must_be("a number from 1")),
            },
        };
        Ok(Self { text: text_of, purpose, dimensions, said: fields.rest().collect() })
    }
}

/// Its parts as one text; `None` where one is none.
fn content_text(content: &RawValue, path: &Path<'_>) -> Result<Option<Box<RawValue>>, Box<Failure>> {
    let mut content = Fields::read(content, path)?;
    let parts = content.array("parts")?.ok_or_else(|| content.missing("parts"))?;
    let at = path.name("parts");
    if parts.is_empty() {
        return Err(at.must_be("an array that is not empty"));
    }
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let at = at.index(index);
        let part = Fields::read(part, &at)?;
        match part.peek("text") {
            Some(raw) => texts.push((raw, fields::string(raw, &at.name("text"))?)),
            None => return Ok(None),
        }
    }
    if let [(raw, _)] = texts.as_slice() {
        return Ok(Some((*raw).to_owned()));
    }
    let whole: String = texts.iter().map(|(_, text)| text.as_ref()).collect();
    Ok(to_raw_value(&whole).ok())
}

// === impl Googles ===

impl Asked for Googles {
    fn encode(&self, upstream: &Upstream<'_>) -> Result<Vec<Encoded>, Box<Failure>> {
        if upstream.form == Form::GeminiEmbed {
            let at_once = upstream.at_once.unwrap_or(usize::MAX).max(1);
            return Ok(self.said.chunks(at_once).map(|said| as_said(said, upstream.model)).collect());
        }
        if let Some(name) = self.own {
            let message = "the upstream takes texts, all for the same purpose and of the same length of vector; Google's own API takes \
                more";
            return Err(unsupported(name, message));
        }
        let mut encoded = self.plain.encode(upstream)?;
        if let Some(first) = encoded.first_mut() {
            first.dropped.extend(self.lost.iter().cloned());
        }
        Ok(encoded)
    }

    fn answer(
        &self,
        upstream: &Upstream<'_>,
        replies: &[Bytes],
        context: &Context<'_>,
    ) -> Result<Answer, Box<Failure>> {
        let (whole, usage) = super::whole(&self.plain, upstream, replies)?;
        let mut out = BytesMut::with_capacity(1024);
        let n_tokens = usage.map_or(context.estimated, |usage| usage.prompt());
        object(&mut out, |body| {
            if self.is_one {
                let vectors = &whole.vectors;
                body.object("embedding", |entry| {
                    vectors.iter().try_for_each(|vector| vector::write("values", vector, Encoding::Float, entry))
                })?;
            } else {
                body.array("embeddings", |all: &mut Array<'_>| {
                    whole.vectors.iter().try_for_each(|vector| {
                        all.object(|entry| vector::write("values", vector, Encoding::Float, entry))
                    })
                })?;
            }
            body.object("usageMetadata", |usage| {
                usage.unsigned("promptTokenCount", n_tokens);
                usage.unsigned("totalTokenCount", n_tokens);
            });
            Ok::<_, Box<Failure>>(())
        })?;
        Ok(Answer { bytes: out.freeze(), usage })
    }

    fn n_content_bytes(&self) -> u64 {
        self.plain.n_content_bytes()
    }
}

fn as_said(said: &[Vec<(String, Box<RawValue>)>], model: &str) -> Encoded {
    let model = format!("models/{model}");
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.array("requests", |requests| {
            for members in said {
                requests.object(|one| {
                    one.string("model", &model);
                    members.iter().for_each(|(name, raw)| one.raw(name, raw.get()));
                });
            }
        });
    });
    Encoded { body: out.freeze(), dropped: Vec::new(), headers: Vec::new() }
}
