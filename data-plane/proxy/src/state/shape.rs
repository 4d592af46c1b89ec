//! A model in the words of those who list models: OpenAI (with the members that gateways add), Anthropic, Google.

use gateway_engine::listing::Listed;
use gateway_ir::offer::Modalities;
use serde_json::{Map, Value, json};

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    OpenAi,
    /// <https://docs.anthropic.com/en/api/models-list>
    Anthropic,
    /// <https://ai.google.dev/api/models#Model>
    Gemini,
}

// === impl Shape ===

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    pub(crate) fn model(self, model: &Listed) -> Value {
        match self {
            Self::OpenAi => openai(model),
            Self::Anthropic => anthropic(model),
            Self::Gemini => gemini(model),
        }
    }
}

/// What is not known is `null`, so that every model has the same members.
fn openai(model: &Listed) -> Value {
    let known = &model.known;
    let words = |modalities: Option<Modalities>| modalities.map(|these| these.words().collect::<Vec<_>>());
    let rates = known.rates.as_ref();
    let mut told = json!({
        "id": &*model.name,
        "object": "model",
        // Where nobody has said, a constant: the name's age is not known, and a moving value would defeat caches.
        "created": known.created.unwrap_or_default(),
        "owned_by": &*model.owned_by,
        "mode": known.mode,
        "context_window": known.context_window,
        "max_tokens": known.max_tokens,
        "supports_vision": known.vision,
        "supports_tool_calls": known.tool_calls,
        "supports_reasoning": known.reasoning,
        "input_modalities": words(known.reads),
        "output_modalities": words(known.makes),
        "input_cost_per_1m": price(rates.map(|rates| rates.input)),
        "output_cost_per_1m": price(rates.map(|rates| rates.output)),
        "cache_read_cost_per_1m": price(rates.and_then(|rates| rates.cache_read)),
        "cache_write_cost_per_1m": price(rates.and_then(|rates| rates.cache_write)),
    });
    if let Some(description) = &model.description {
        told["description"] = json!(&**description);
    }
    told
}

fn anthropic(model: &Listed) -> Value {
    let known = &model.known;
    json!({
        "type": "model",
        "id": &*model.name,
        "display_name": &*model.name,
        "created_at": created_at(known.created.unwrap_or_default()),
        "max_input_tokens": known.context_window,
        "max_tokens": known.max_tokens,
        // What is listed here is served here, whatever its vendor plans.
        "lifecycle": "active",
    })
}

fn gemini(model: &Listed) -> Value {
    let known = &model.known;
    let methods: &[&str] = match known.mode {
        None | Some("chat" | "completion") => &["generateContent", "streamGenerateContent", "countTokens"],
        Some(_) => &[],
    };
    let mut told = Map::new();
    told.insert("name".to_owned(), json!(format!("models/{}", model.name)));
    told.insert("baseModelId".to_owned(), json!(&*model.name));
    told.insert("version".to_owned(), json!("1"));
    told.insert("displayName".to_owned(), json!(&*model.name));
    // Protobuf in JSON: what is not known is not there.
    let members = [
        ("description", model.description.as_ref().map(|text| json!(&**text))),
        ("inputTokenLimit", known.context_window.map(|tokens| json!(tokens))),
        ("outputTokenLimit", known.max_tokens.map(|tokens| json!(tokens))),
        ("thinking", known.reasoning.map(|can| json!(can))),
        ("supportedGenerationMethods", Some(json!(methods))),
    ];
    told.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(told)
}

/// Dollars. Nano-dollars stay far below 2^53, so that the nearest float is written with the digits that the price has.
fn price(nano: Option<u64>) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "said above")]
    nano.map_or(Value::Null, |nano| json!(nano as f64 / 1e9))
}

/// RFC 3339.
fn created_at(unix_seconds: u64) -> String {
    let moment = i64::try_from(unix_seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
