//! `generationConfig`.

use gateway_ir::chat::{ChatRequest, Reasoning, ResponseFormat, Sampling};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::{contents, object, schema};
use crate::fields::{self, Fields, Path};

/// What the schema of a reply is called where it needs a name.
const SCHEMA_NAME: &str = "response";

pub(super) fn read(
    top: &mut Fields<'_, '_>,
    request: &mut ChatRequest,
    kept: &mut Vec<(String, Box<RawValue>)>,
) -> Result<(), Box<Failure>> {
    let Some(raw) = top.take("generationConfig") else { return Ok(()) };
    let path = top.path().name("generationConfig");
    let mut config = object(raw, &path)?;
    let mut own = Vec::new();
    request.response_format = format(&mut config, &mut own)?;
    if let Some(raw) = config.take("thinkingConfig") {
        request.reasoning = thinking(raw, &path.name("thinkingConfig"))?;
    }
    request.sampling = sampling(&mut config)?;
    own.extend(config.rest().filter(|(_, raw)| raw.get() != "null"));
    kept.extend(own.into_iter().map(|(name, raw)| (format!("generationConfig.{name}"), raw)));
    Ok(())
}

fn sampling(config: &mut Fields<'_, '_>) -> Result<Sampling, Box<Failure>> {
    let stops_path = config.path().name("stopSequences");
    let stops = contents::list(config.take("stopSequences"), &stops_path)?;
    let stops = stops.into_iter().enumerate();
    Ok(Sampling {
        max_output_tokens: whole(config, "maxOutputTokens")?,
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        top_k: whole(config, "topK")?,
        stop: stops
            .map(|(index, raw)| fields::string(raw, &stops_path.index(index)).map(Into::into))
            .collect::<Result<_, _>>()?,
        n: whole(config, "candidateCount")?,
        seed: signed(config, "seed")?,
        presence_penalty: config.number("presencePenalty")?,
        frequency_penalty: config.number("frequencyPenalty")?,
        logprobs: config.boolean("responseLogprobs")?,
        top_logprobs: whole(config, "logprobs")?,
    })
}

/// A schema in either of Google's forms, or JSON of any form. Another type of media is for Google alone.
fn format(
    config: &mut Fields<'_, '_>,
    own: &mut Vec<(String, Box<RawValue>)>,
) -> Result<Option<ResponseFormat>, Box<Failure>> {
    const TYPE: &str = "responseMimeType";
    let schema_path = config.path().name("responseSchema");
    let google = config.take("responseSchema");
    let plain = config.take("responseJsonSchema").or_else(|| config.take("_responseJsonSchema"));
    let raw_type = config.peek(TYPE);
    let media_type = config.string(TYPE)?;
    Ok(match media_type.as_deref().unwrap_or_default() {
        "application/json" => Some(match (plain, google) {
            (None, None) => ResponseFormat::JsonObject,
            (plain, google) => ResponseFormat::JsonSchema {
                name: SCHEMA_NAME.to_owned(),
                description: None,
                schema: match (plain, google) {
                    (Some(plain), _) => Some(plain.to_owned()),
                    (None, google) => google.map(|raw| schema::json_schema(raw, &schema_path)).transpose()?,
                },
                strict: None,
            },
        }),
        "text/plain" => Some(ResponseFormat::Text),
        _ => {
            let kept = [(TYPE, raw_type), ("responseSchema", google), ("responseJsonSchema", plain)];
            own.extend(kept.into_iter().filter_map(|(name, raw)| Some((name.to_owned(), raw?.to_owned()))));
            None
        }
    })
}

/// By level, by budget, or left to the model.
fn thinking(raw: &RawValue, path: &Path<'_>) -> Result<Option<Reasoning>, Box<Failure>> {
    let mut thinking = object(raw, path)?;
    let level = thinking.string("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
    if let Some(level) = level.filter(|level| level != "thinking_level_unspecified") {
        return Ok(Some(Reasoning::Effort(level)));
    }
    let budget = signed(&mut thinking, "thinkingBudget")?;
    let is_shown = thinking.boolean("includeThoughts")?.unwrap_or(false);
    Ok(match budget {
        Some(0) => Some(Reasoning::Off),
        Some(budget) => Some(u64::try_from(budget).map_or(Reasoning::Adaptive, Reasoning::BudgetTokens)),
        None => is_shown.then_some(Reasoning::Adaptive),
    })
}

fn whole(object: &mut Fields<'_, '_>, name: &str) -> Result<Option<u64>, Box<Failure>> {
    let number = signed(object, name)?.map(u64::try_from).transpose();
    number.map_err(|_| object.path().name(name).must_be("a whole number of at least 0"))
}

/// The JSON of protocol buffers writes whole numbers as numbers, as `40.0` and as texts.
fn signed(object: &mut Fields<'_, '_>, name: &str) -> Result<Option<i64>, Box<Failure>> {
    let Some(raw) = object.take(name) else { return Ok(None) };
    let text = raw.get().trim_matches('"');
    let number = text.parse().ok().or_else(|| {
        let float: f64 = text.parse().ok()?;
        // Far below where floats skip whole numbers, so that the conversion is exact.
        (float.fract() == 0.0 && float.abs() <= 1e15).then_some(float as i64)
    });
    number.map(Some).ok_or_else(|| object.path().name(name).must_be("a whole number"))
}
