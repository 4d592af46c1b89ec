//! What is no conversation on recorded traffic: vendors' answers read whole, refusals in their own words.

use gateway_dialects::registry;
use gateway_dialects::task::{Context, Upstream};
use gateway_ir::dialect::Dialect;
use gateway_ir::task::{Form, Task};
use serde_json::{Value, json};

use crate::recorded::{Fixture, fixtures};

const CONTEXT: Context<'_> = Context { model: "asked", request_id: "r1", estimated: 1 };

/// A client's answer from a recorded one, asked for in `form`.
fn answer(fixture: &Fixture, form: Form, question: &Value, inbound: Form) -> Value {
    let upstream = Upstream { form, model: "own", at_once: None };
    let asked = registry::family(form.task()).read(inbound, question.to_string().as_bytes());
    let asked = asked.unwrap_or_else(|failure| panic!("{}: {failure}", fixture.id));
    assert_eq!(asked.encode(&upstream).expect("sayable").len(), 1, "{}", fixture.id);
    let told = asked.answer(&upstream, &[fixture.reply.clone().into()], &CONTEXT);
    let told = told.unwrap_or_else(|failure| panic!("{}: {failure}", fixture.id));
    serde_json::from_slice(&told.bytes).expect("JSON")
}

/// Every failure of these folders is told with the vendor's status and words.
fn refused(fixture: &Fixture, dialect: Dialect) {
    let failure = registry::dialect(dialect).decode_error(fixture.status, fixture.reply.as_bytes());
    let expected = &fixture.expected["error"];
    let told = (&expected["message"], &expected["status"]);
    assert_eq!(told, (&failure.message.as_ref().into(), &failure.status.into()), "{}", fixture.id);
}

#[test]
fn recorded_embeddings_reach_the_client_digit_by_digit() {
    let folders = [
        ("openai-embeddings", Form::OpenAiEmbeddings, Dialect::OpenAiChat),
        ("cohere-embed", Form::CohereEmbed, Dialect::CohereV2),
        ("gemini-embed", Form::GeminiEmbed, Dialect::GeminiGenerate),
    ];
    for (folder, form, dialect) in folders {
        for mut fixture in fixtures(folder) {
            if fixture.status >= 400 {
                refused(&fixture, dialect);
                continue;
            }
            let mut said: Value = serde_json::from_str(&fixture.reply).expect("JSON");
            // Gemini's other operation says the same of one input.
            if let Some(one) = said.get("embedding") {
                said = json!({"embeddings": [one]});
                fixture.reply = said.to_string();
            }
            let n_inputs = fixture.expected["embeddings"].as_u64().expect("how many");
            let inputs: Vec<String> = (0..n_inputs).map(|at| at.to_string()).collect();
            let first = &fixture.expected["first"];
            let encoding = if first.is_string() { "base64" } else { "float" };
            let told =
                answer(&fixture, form, &json!({"input": inputs, "encoding_format": encoding}), Form::OpenAiEmbeddings);
            assert_eq!(told["data"].as_array().map(Vec::len), Some(inputs.len()), "{}", fixture.id);
            let vector = &told["data"][0]["embedding"];
            match (first, vector) {
                (Value::String(first), Value::String(vector)) => assert!(vector.starts_with(first), "{}", fixture.id),
                _ => {
                    assert_eq!(vector.as_array().map(|vector| &vector[..4]), first.as_array().map(|first| &first[..4]))
                }
            }
            if let Some(n_tokens) =
                fixture.expected["usage"]["prompt_tokens"].as_u64().filter(|_| said.get("data").is_some())
            {
                assert_eq!(told["usage"]["prompt_tokens"], n_tokens, "{}", fixture.id);
            }
        }
    }
}

#[test]
fn recorded_embeddings_of_bedrock_reach_the_client_digit_by_digit() {
    for fixture in fixtures("bedrock-invoke") {
        let said: Value = serde_json::from_str(&fixture.reply).unwrap_or_default();
        let (form, vector) = if said["embedding"].is_array() {
            (Form::BedrockTitanEmbed, &said["embedding"])
        } else if said["embeddings"][0]["embedding"].is_array() {
            (Form::BedrockNovaEmbed, &said["embeddings"][0]["embedding"])
        } else {
            // Conversations in forms that gateways do not speak to Bedrock: it has one for all of its models.
            continue;
        };
        let told = answer(&fixture, form, &json!({"input": "a"}), Form::OpenAiEmbeddings);
        assert_eq!(&told["data"][0]["embedding"], vector, "{}", fixture.id);
    }
}

#[test]
fn recorded_rankings_reach_clients_of_every_form() {
    for fixture in fixtures("rerank").into_iter().chain(fixtures("cohere-rerank")) {
        if fixture.status >= 400 {
            refused(&fixture, Dialect::OpenAiChat);
            continue;
        }
        let said: Value = serde_json::from_str(&fixture.reply).expect("JSON");
        let (form, list) = match fixture.provider.as_str() {
            "voyage" => (Form::VoyageRerank, "data"),
            "cohere" => (Form::CohereRerank, "results"),
            _ => (Form::JinaRerank, "results"),
        };
        for inbound in Form::ALL.into_iter().filter(|form| form.task() == Task::Rerank) {
            let told = answer(&fixture, form, &fixture.request, inbound);
            let results = told.get("results").or_else(|| told.get("data")).and_then(Value::as_array).expect("results");
            let scores = |result: &Value| (result["index"].clone(), result["relevance_score"].clone());
            let expected: Vec<_> = said[list].as_array().expect("results").iter().map(scores).collect();
            assert_eq!(results.iter().map(scores).collect::<Vec<_>>(), expected, "{} {inbound:?}", fixture.id);
        }
    }
}
