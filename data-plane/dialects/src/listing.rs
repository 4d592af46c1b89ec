//! How providers list their models: `/models` of OpenAI and those like it, Anthropic's and Google's pages, Ollama's tags and details.
//!
//! Nothing here is trusted: names that are none are left out, and so are numbers that no model has.

use gateway_ir::offer::{Format, Known, Modalities, Offer, Rates};
use serde_json::Value;

/// One answer to the question which models there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub offers: Vec<Offer>,
    /// What to ask the next page by.
    pub next: Option<String>,
}

/// The answer is no list of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoList;

/// A longer name is no model's.
const MAX_NAME: usize = 256;
/// More tokens than any model takes.
const MAX_TOKENS: u64 = 100_000_000;

/// Reads one answer.
pub fn read(format: Format, answer: &[u8]) -> Result<Listed, NoList> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| NoList)?;
    let (list, name): (_, &[&str]) = match format {
        // Together's is an array and nothing around it.
        Format::OpenAi => (answer.get("data").unwrap_or(&answer), &["id"]),
        Format::Anthropic => (&answer["data"], &["id"]),
        Format::Gemini => (&answer["models"], &["name"]),
        Format::Ollama => (&answer["models"], &["model", "name"]),
        Format::Cohere => (&answer["models"], &["name"]),
        Format::Azure => (&answer["data"], &["id"]),
        Format::Bedrock => (&answer["modelSummaries"], &["modelId"]),
        Format::Vertex => (&answer["publisherModels"], &["name"]),
    };
    let offers = list.as_array().ok_or(NoList)?.iter().filter_map(|model| {
        let name = name.iter().find_map(|member| model.get(*member)?.as_str())?;
        let name = match format {
            Format::Gemini => name.strip_prefix("models/").unwrap_or(name),
            Format::Vertex => name.strip_prefix("publishers/google/models/")?,
            _ => name,
        };
        if !is_name(name) {
            return None;
        }
        let known = match format {
            Format::OpenAi => openai(model),
            Format::Anthropic => anthropic(model),
            Format::Gemini => gemini(model)?,
            Format::Ollama | Format::Vertex => Known::default(),
            Format::Cohere => cohere(model)?,
            Format::Azure => azure(model)?,
            Format::Bedrock => bedrock(model)?,
        };
        Some(Offer { model: name.to_owned(), known })
    });
    let next = match format {
        Format::Anthropic if answer["has_more"] == true => answer["last_id"].as_str(),
        Format::Gemini | Format::Vertex => answer["nextPageToken"].as_str(),
        Format::Cohere => answer["next_page_token"].as_str(),
        _ => None,
    };
    let next = next.filter(|token| !token.is_empty()).map(str::to_owned);
    Ok(Listed { offers: offers.collect(), next })
}

/// What Ollama's `/api/show` tells about a model.
pub fn ollama_details(answer: &[u8]) -> Result<Known, NoList> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| NoList)?;
    let info = answer["model_info"].as_object();
    // `llama.context_length`, `qwen2.context_length` …
    let context = info.into_iter().flatten().find(|(name, _)| name.ends_with(".context_length"));
    let able: Option<Vec<&str>> =
        answer["capabilities"].as_array().map(|able| able.iter().filter_map(Value::as_str).collect());
    let can = |word: &str| able.as_ref().map(|able| able.contains(&word));
    Ok(Known {
        mode: able.as_ref().map(|able| if able.contains(&"completion") { "chat" } else { "embedding" }),
        context_window: context.and_then(|(_, length)| tokens(length)),
        vision: can("vision"),
        tool_calls: can("tools"),
        reasoning: can("thinking"),
        ..Known::default()
    })
}

/// OpenAI itself says little more than the name; the other members are those of OpenRouter, Groq, Mistral, vLLM and others.
fn openai(model: &Value) -> Known {
    let first = |paths: &[&str]| paths.iter().find_map(|path| tokens(model.pointer(path)?));
    let words = |path: &str| {
        let words = model.pointer(path)?.as_array()?;
        Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let modalities = |path| words(path).map(Modalities::from_words);
    let parameters = words("/supported_parameters");
    let takes = |word: &str| parameters.as_ref().map(|parameters| parameters.contains(&word));
    let says = |path: &str| model.pointer(path).and_then(Value::as_bool);
    let reads = modalities("/architecture/input_modalities");
    Known {
        mode: None,
        context_window: first(&["/context_length", "/context_window", "/max_model_len", "/max_context_length"]),
        max_tokens: first(&["/top_provider/max_completion_tokens", "/max_completion_tokens", "/max_output_tokens"]),
        reads,
        makes: modalities("/architecture/output_modalities"),
        vision: reads.map(|reads| reads.has("image")).or(says("/capabilities/vision")),
        tool_calls: takes("tools").or(says("/capabilities/function_calling")),
        reasoning: takes("reasoning").or(says("/capabilities/reasoning")),
        rates: rates(&model["pricing"]),
        created: model["created"].as_u64(),
    }
}

fn anthropic(model: &Value) -> Known {
    let can = |name: &str| model["capabilities"][name]["supported"].as_bool();
    Known {
        mode: Some("chat"),
        context_window: tokens(&model["max_input_tokens"]),
        max_tokens: tokens(&model["max_tokens"]),
        vision: can("image_input"),
        reasoning: can("thinking"),
        ..Known::default()
    }
}

/// `None` of what we have no operation for.
fn gemini(model: &Value) -> Option<Known> {
    let methods = model["supportedGenerationMethods"].as_array();
    let has = |method: &str| methods.is_none_or(|methods| methods.iter().any(|known| known == method));
    let mode = match (has("generateContent"), has("embedContent")) {
        (true, _) => "chat",
        (false, true) => "embedding",
        (false, false) => return None,
    };
    Some(Known {
        mode: Some(mode),
        context_window: tokens(&model["inputTokenLimit"]),
        max_tokens: tokens(&model["outputTokenLimit"]),
        reasoning: model["thinking"].as_bool(),
        ..Known::default()
    })
}

/// `None` of what we have no operation for.
fn cohere(model: &Value) -> Option<Known> {
    let endpoints: Vec<&str> = model["endpoints"].as_array()?.iter().filter_map(Value::as_str).collect();
    let modes = [("chat", "chat"), ("embed", "embedding"), ("rerank", "rerank")];
    let (_, mode) = modes.into_iter().find(|(endpoint, _)| endpoints.contains(endpoint))?;
    let features = model["features"].as_array();
    let can = |word: &str| features.map(|features| features.iter().any(|feature| feature == word));
    Some(Known {
        mode: Some(mode),
        context_window: tokens(&model["context_length"]),
        vision: can("vision"),
        tool_calls: can("tools"),
        reasoning: can("reasoning"),
        ..Known::default()
    })
}

/// A deployment: its name says nothing of its model, and what is not ready yet serves nobody.
fn azure(deployment: &Value) -> Option<Known> {
    let is_ready = deployment.get("status").is_none_or(|status| status == "succeeded");
    is_ready.then(|| Known { created: deployment["created_at"].as_u64(), ..Known::default() })
}

/// `None` of what is on its way out, and of what we have no operation for.
fn bedrock(model: &Value) -> Option<Known> {
    let words = |name: &str| {
        let words = model[name].as_array()?.iter().filter_map(Value::as_str);
        Some(words.map(str::to_ascii_lowercase).collect::<Vec<_>>())
    };
    let (reads, makes) = (words("inputModalities"), words("outputModalities").unwrap_or_default());
    if model["modelLifecycle"].get("status").is_some_and(|status| status != "ACTIVE") {
        return None;
    }
    let modes = [("text", "chat"), ("embedding", "embedding")];
    let (_, mode) = modes.into_iter().find(|(word, _)| makes.iter().any(|made| made == word))?;
    let reads = reads.map(|words| Modalities::from_words(words.iter().map(String::as_str)));
    Some(Known { mode: Some(mode), reads, vision: reads.map(|reads| reads.has("image")), ..Known::default() })
}

/// OpenRouter's: dollars per token, as texts. What changes from request to request is written `-1`.
fn rates(pricing: &Value) -> Option<Rates> {
    let price = |name: &str| nano_per_million(pricing.get(name)?.as_str()?);
    Some(Rates {
        input: price("prompt")?,
        output: price("completion")?,
        cache_read: price("input_cache_read"),
        cache_write: price("input_cache_write"),
    })
}

/// Exact: the point moves fifteen places, and what is smaller still is cut off.
fn nano_per_million(dollars_per_token: &str) -> Option<u64> {
    const PLACES: usize = 15;
    let (whole, decimals) = dollars_per_token.split_once('.').unwrap_or((dollars_per_token, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && decimals.is_empty() || whole.len() > 3 || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let decimals = &decimals[..decimals.len().min(PLACES)];
    format!("{whole}{decimals:0<PLACES$}").parse().ok()
}

fn tokens(number: &Value) -> Option<u64> {
    number.as_u64().filter(|tokens| (1..=MAX_TOKENS).contains(tokens))
}

/// Up to 256 printable characters without spaces.
fn is_name(name: &str) -> bool {
    let is_printable = |character: char| !character.is_control() && !character.is_whitespace();
    !name.is_empty() && name.chars().count() <= MAX_NAME && name.chars().all(is_printable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(format: Format, answer: Value, expected: &[(&str, Known)], next: Option<&str>) {
        let listed = read(format, answer.to_string().as_bytes()).expect("a list");
        let offers: Vec<(&str, Known)> =
            listed.offers.iter().map(|offer| (&*offer.model, offer.known.clone())).collect();
        assert_eq!(offers, expected, "{format:?}");
        assert_eq!(listed.next.as_deref(), next, "{format:?}");
    }

    fn window(tokens: u64) -> Known {
        Known { context_window: Some(tokens), ..Known::default() }
    }

    #[test]
    fn each_format_is_read() {
        let plain = json!({"object": "list", "data": [{"id": "a", "object": "model", "created": 7, "owned_by": "x"}]});
        check(Format::OpenAi, plain, &[("a", Known { created: Some(7), ..Known::default() })], None);
        let others = json!([{"id": "t", "context_length": 8}, {"id": "v", "max_model_len": 9},
            {"id": "g", "context_window": 10, "max_completion_tokens": 11},
            {"id": "m", "max_context_length": 12, "capabilities": {"function_calling": true, "vision": false}}]);
        check(
            Format::OpenAi,
            others,
            &[
                ("t", window(8)),
                ("v", window(9)),
                ("g", Known { max_tokens: Some(11), ..window(10) }),
                ("m", Known { tool_calls: Some(true), vision: Some(false), ..window(12) }),
            ],
            None,
        );
        let anthropic = json!({"data": [{"type": "model", "id": "c", "max_input_tokens": 5, "max_tokens": 6,
            "capabilities": {"image_input": {"supported": true}, "thinking": {"supported": false}}}],
            "has_more": true, "last_id": "c"});
        let known =
            Known { mode: Some("chat"), max_tokens: Some(6), vision: Some(true), reasoning: Some(false), ..window(5) };
        check(Format::Anthropic, anthropic, &[("c", known)], Some("c"));
        let gemini = json!({"models": [
            {"name": "models/g", "inputTokenLimit": 5, "outputTokenLimit": 6, "thinking": true, "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/e", "inputTokenLimit": 7, "supportedGenerationMethods": ["embedContent"]},
            {"name": "models/video", "supportedGenerationMethods": ["predictLongRunning"]}], "nextPageToken": "p2"});
        let chat = Known { mode: Some("chat"), max_tokens: Some(6), reasoning: Some(true), ..window(5) };
        check(
            Format::Gemini,
            gemini,
            &[("g", chat), ("e", Known { mode: Some("embedding"), ..window(7) })],
            Some("p2"),
        );
        let ollama = json!({"models": [{"name": "llama3:8b", "model": "llama3:8b", "size": 1}]});
        check(Format::Ollama, ollama, &[("llama3:8b", Known::default())], None);
    }

    #[test]
    fn each_cloud_lists_what_can_be_asked() {
        let cohere = json!({"models": [
            {"name": "command", "endpoints": ["generate", "chat"], "context_length": 8, "features": ["tools"]},
            {"name": "embed", "endpoints": ["embed"], "context_length": 9, "features": null},
            {"name": "classify", "endpoints": ["classify"]}], "next_page_token": "p2"});
        let can = |tool_calls, other| Known {
            tool_calls: Some(tool_calls),
            vision: Some(other),
            reasoning: Some(other),
            ..window(8)
        };
        let (chat, embed) = (Some("chat"), Some("embedding"));
        let known =
            [("command", Known { mode: chat, ..can(true, false) }), ("embed", Known { mode: embed, ..window(9) })];
        check(Format::Cohere, cohere, &known, Some("p2"));
        let azure = json!({"data": [{"id": "mine", "model": "gpt-x", "status": "succeeded", "created_at": 7},
            {"id": "old", "model": "gpt-x"}, {"id": "soon", "model": "gpt-x", "status": "notRunning"}]});
        let known = [("mine", Known { created: Some(7), ..Known::default() }), ("old", Known::default())];
        check(Format::Azure, azure, &known, None);
        let bedrock = json!({"modelSummaries": [
            {"modelId": "vendor.text-v1:0", "inputModalities": ["TEXT", "IMAGE"], "outputModalities": ["TEXT"], "modelLifecycle": {"status": "ACTIVE"}},
            {"modelId": "vendor.embed-v1", "inputModalities": ["TEXT"], "outputModalities": ["EMBEDDING"]},
            {"modelId": "vendor.old", "outputModalities": ["TEXT"], "modelLifecycle": {"status": "LEGACY"}},
            {"modelId": "vendor.video", "outputModalities": ["VIDEO"]}]});
        let reads = |words: &[&str], mode| Known {
            mode,
            reads: Some(Modalities::from_words(words.iter().copied())),
            vision: Some(words.len() > 1),
            ..Known::default()
        };
        let known =
            [("vendor.text-v1:0", reads(&["text", "image"], chat)), ("vendor.embed-v1", reads(&["text"], embed))];
        check(Format::Bedrock, bedrock, &known, None);
        let vertex = json!({"publisherModels": [{"name": "publishers/google/models/g"}, {"name": "publishers/x/models/y"}], "nextPageToken": "p2"});
        check(Format::Vertex, vertex, &[("g", Known::default())], Some("p2"));
    }

    #[test]
    fn openrouter_tells_prices_and_what_a_model_reads() {
        let model = json!({"id": "openai/gpt-4o", "created": 5, "context_length": 128_000,
            "architecture": {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]},
            "top_provider": {"context_length": 128_000, "max_completion_tokens": 16_384},
            "pricing": {"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000125", "image": "0"},
            "supported_parameters": ["tools", "seed"]});
        let auto = json!({"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}});
        let known = Known {
            max_tokens: Some(16_384),
            reads: Some(Modalities::from_words(["text", "image", "document"])),
            makes: Some(Modalities::from_words(["text"])),
            vision: Some(true),
            tool_calls: Some(true),
            reasoning: Some(false),
            rates: Some(Rates {
                input: 2_500_000_000,
                output: 10_000_000_000,
                cache_read: Some(1_250_000_000),
                cache_write: None,
            }),
            created: Some(5),
            ..window(128_000)
        };
        check(
            Format::OpenAi,
            json!({"data": [model, auto]}),
            &[("openai/gpt-4o", known), ("openrouter/auto", Known::default())],
            None,
        );
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1_000_000_000_000_000)),
            ("0.0000000000000019", Some(1)),
            ("1e-6", None),
            ("", None),
            ("9999", None),
        ] {
            assert_eq!(nano_per_million(text), expected, "{text}");
        }
    }

    #[test]
    fn ollama_tells_what_a_model_can_do() {
        let details = json!({"capabilities": ["completion", "tools"], "model_info": {"general.architecture": "llama", "llama.context_length": 131_072}});
        let known = ollama_details(details.to_string().as_bytes());
        assert_eq!(
            known,
            Ok(Known {
                mode: Some("chat"),
                vision: Some(false),
                tool_calls: Some(true),
                reasoning: Some(false),
                ..window(131_072)
            })
        );
        assert_eq!(ollama_details(b"{}"), Ok(Known::default()));
        assert_eq!(ollama_details(b"<html>"), Err(NoList));
    }

    #[test]
    fn what_is_no_model_is_left_out_and_what_is_no_list_refused() {
        let long = "x".repeat(257);
        let list = json!({"data": [{"id": "fine"}, {"id": ""}, {"id": 7}, {}, null, {"id": "a b"}, {"id": "a\nb"}, {"id": long},
            {"id": "big", "context_length": u64::MAX}, {"id": "minus", "context_length": -1}]});
        let expected = ["fine", "big", "minus"].map(|name| (name, Known::default()));
        check(Format::OpenAi, list, &expected, None);
        for answer in ["<html>", "{}", "null", "{\"data\": {}}", "\"data\"", ""] {
            let others = [Format::Cohere, Format::Azure, Format::Bedrock, Format::Vertex];
            for format in [Format::OpenAi, Format::Anthropic, Format::Gemini, Format::Ollama].into_iter().chain(others)
            {
                assert_eq!(read(format, answer.as_bytes()), Err(NoList), "{answer}");
            }
        }
    }
}
