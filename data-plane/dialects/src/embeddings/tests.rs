//! What each form's upstream is asked, and what the client is answered.

use bytes::Bytes;
use gateway_ir::failure::Retry;
use gateway_ir::task::{Form, Task};
use serde_json::{Value, json};

use super::Embeddings;
use crate::task::{Answer, Asked, Context, Family, Upstream};

const CONTEXT: Context<'_> = Context { model: "asked", request_id: "id", estimated: 42 };

fn read(body: &Value) -> Box<dyn Asked> {
    Embeddings.read(Form::OpenAiEmbeddings, body.to_string().as_bytes()).expect("a valid request")
}

fn upstream(form: Form, at_once: Option<usize>) -> Upstream<'static> {
    Upstream { form, model: "own", at_once }
}

fn sent(body: &Value, form: Form) -> (Vec<Value>, Vec<String>) {
    let encoded = read(body).encode(&upstream(form, Some(2))).expect("sayable");
    let dropped = encoded.iter().flat_map(|one| one.dropped.clone()).collect();
    (encoded.iter().map(|one| serde_json::from_slice(&one.body).expect("JSON")).collect(), dropped)
}

fn answer(body: &Value, form: Form, replies: &[Value]) -> Result<Answer, String> {
    let replies: Vec<Bytes> = replies.iter().map(|reply| reply.to_string().into()).collect();
    read(body).answer(&upstream(form, Some(2)), &replies, &CONTEXT).map_err(|failure| failure.message.into_owned())
}

#[test]
fn every_form_is_asked_in_its_own_words() {
    let body = json!({"model": "m", "input": ["é\n", "b"], "dimensions": 8, "encoding_format": "base64",
        "input_type": "search_query", "user": "u", "truncate": "END"});
    let gemini = |text: &str| {
        json!({"model": "models/own", "content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_QUERY",
            "outputDimensionality": 8})
    };
    let cases = [
        (
            Form::OpenAiEmbeddings,
            json!({"model": "own", "input": ["é\n", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u",
                "input_type": "search_query", "truncate": "END"}),
            &[][..],
        ),
        (
            Form::MistralEmbeddings,
            json!({"model": "own", "input": ["é\n", "b"], "output_dimension": 8, "encoding_format": "base64"}),
            &["user", "truncate"],
        ),
        (
            Form::VoyageEmbeddings,
            json!({"model": "own", "input": ["é\n", "b"], "output_dimension": 8, "encoding_format": "base64",
                "input_type": "query"}),
            &["user", "truncate"],
        ),
        (
            Form::JinaEmbeddings,
            json!({"model": "own", "input": ["é\n", "b"], "dimensions": 8, "embedding_type": "base64",
                "task": "retrieval.query", "truncate": "END"}),
            &["user"],
        ),
        (
            Form::CohereEmbed,
            json!({"model": "own", "texts": ["é\n", "b"], "input_type": "search_query", "embedding_types": ["float"],
                "output_dimension": 8, "truncate": "END"}),
            &["user"],
        ),
        (
            Form::BedrockCohereEmbed,
            json!({"texts": ["é\n", "b"], "input_type": "search_query", "embedding_types": ["float"],
                "output_dimension": 8, "truncate": "END"}),
            &["user"],
        ),
        (Form::GeminiEmbed, json!({"requests": [gemini("é\n"), gemini("b")]}), &["user", "truncate"]),
        (
            Form::OllamaEmbed,
            json!({"model": "own", "input": ["é\n", "b"], "dimensions": 8, "truncate": "END"}),
            &["user"],
        ),
    ];
    let one = json!({"model": "m", "input": ["é\n", "b"], "dimensions": 8, "input_type": "search_query", "user": "u",
        "normalize": false});
    let titan = |text: &str| json!({"inputText": text, "dimensions": 8, "normalize": false});
    let nova = |text: &str| {
        json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_RETRIEVAL",
            "embeddingDimension": 8, "text": {"truncationMode": "NONE", "value": text}}})
    };
    let lost = ["input_type", "user"];
    assert_eq!(
        sent(&one, Form::BedrockTitanEmbed),
        (vec![titan("é\n"), titan("b")], lost.repeat(2).into_iter().map(str::to_owned).collect())
    );
    let lost = ["user", "normalize"];
    assert_eq!(
        sent(&one, Form::BedrockNovaEmbed),
        (vec![nova("é\n"), nova("b")], lost.repeat(2).into_iter().map(str::to_owned).collect())
    );
    for (form, expected, lost) in cases {
        let (requests, dropped) = sent(&body, form);
        assert_eq!(requests, [expected], "{form:?}");
        assert_eq!(dropped, lost, "{form:?}");
    }
}

#[test]
fn every_form_of_input_is_understood() {
    let cases = [
        (json!("one"), json!(["one"])),
        (json!([1, 2]), json!([[1, 2]])),
        (json!([[1], [2, 3]]), json!([[1], [2, 3]])),
    ];
    for (input, expected) in cases {
        let body = json!({"model": "m", "input": input});
        assert_eq!(sent(&body, Form::OpenAiEmbeddings).0[0]["input"], expected);
    }
    let tokens = read(&json!({"model": "m", "input": [1, 2]}));
    for form in [Form::CohereEmbed, Form::GeminiEmbed, Form::OllamaEmbed, Form::VoyageEmbeddings] {
        let failure = tokens.encode(&upstream(form, None)).expect_err("tokens of another vocabulary");
        assert_eq!((failure.status, failure.retry), (400, Retry::OnlyElsewhere), "{form:?}");
    }
    assert_eq!(
        (tokens.n_content_bytes(), read(&json!({"model": "m", "input": ["ab", "c"]})).n_content_bytes()),
        (8, 3)
    );
}

#[test]
fn refuses_with_the_field_at_fault() {
    let cases = [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 7}), "input"),
        (json!({"input": ["a", 7]}), "input[1]"),
        (json!({"input": ["a", []]}), "input[1]"),
        (json!({"input": [[1], [-1]]}), "input[1]"),
        (json!({"input": "a", "encoding_format": "int8"}), "encoding_format"),
        (json!({"input": "a", "dimensions": 0}), "dimensions"),
        (json!({"input": "a", "user": 1}), "user"),
    ];
    for (body, param) in cases {
        let refused = Embeddings.read(Form::OpenAiEmbeddings, body.to_string().as_bytes());
        let failure = refused.err().expect("refused");
        assert_eq!((failure.status, failure.param.as_deref()), (400, Some(param)), "{body}");
    }
}

#[test]
fn more_inputs_than_fit_are_asked_in_parts_and_answered_in_order() {
    let body = json!({"model": "m", "input": ["a", "b", "c", "d", "e"]});
    let (requests, _) = sent(&body, Form::OpenAiEmbeddings);
    let parts: Vec<_> = requests.iter().map(|request| &request["input"]).collect();
    assert_eq!(parts, [&json!(["a", "b"]), &json!(["c", "d"]), &json!(["e"])]);
    assert_eq!(Embeddings.n_inputs(body.to_string().as_bytes()), 5);
    assert_eq!(Embeddings.n_inputs(br#"{"input":[1,2,3]}"#), 1);
    // Within an answer the numbers tell, not the places.
    let part = |vectors: &[(u32, f64)], n_tokens: u32| {
        let data: Vec<_> = vectors.iter().map(|(at, x)| json!({"index": at, "embedding": [x]})).collect();
        json!({"data": data, "model": "told", "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}})
    };
    let replies = [part(&[(1, 2.5), (0, 1.5)], 3), part(&[(0, 3.5), (1, 4.5)], 4), part(&[(0, 5.5)], 5)];
    let told = answer(&body, Form::OpenAiEmbeddings, &replies).expect("whole");
    let expected: Vec<_> =
        (0_u32..5).map(|at| json!({"object": "embedding", "index": at, "embedding": [f64::from(at) + 1.5]})).collect();
    let usage = json!({"prompt_tokens": 12, "total_tokens": 12});
    let json: Value = serde_json::from_slice(&told.bytes).expect("JSON");
    assert_eq!(json, json!({"object": "list", "data": expected, "model": "told", "usage": usage}));
    assert_eq!(told.usage.map(|usage| usage.input), Some(12));
    let missing = answer(&body, Form::OpenAiEmbeddings, &replies[..2]).expect_err("a part is missing");
    assert_eq!(missing, "the upstream gave 4 vectors for 5 inputs");
}

#[test]
fn answers_of_every_form_read_alike() {
    let cases = [
        (
            Form::OpenAiEmbeddings,
            json!({"data": [{"embedding": [0.10, -2.5e-1]}], "usage": {"prompt_tokens": 3}}),
            Some(3),
        ),
        (Form::VoyageEmbeddings, json!({"data": [{"embedding": [0.1, -0.25]}], "usage": {"total_tokens": 3}}), Some(3)),
        (
            Form::VoyageEmbeddings,
            json!({"data": [{"embedding": "zczMPQAAgL4="}], "usage": {"total_tokens": 3}}),
            Some(3),
        ),
        (
            Form::CohereEmbed,
            json!({"embeddings": {"float": [[0.1, -0.25]]}, "meta": {"billed_units": {"input_tokens": 3}}}),
            Some(3),
        ),
        (Form::CohereEmbed, json!({"embeddings": [[0.1, -0.25]]}), None),
        (
            Form::GeminiEmbed,
            json!({"embeddings": [{"values": [0.1, -0.25]}], "usageMetadata": {"promptTokenCount": 3}}),
            Some(3),
        ),
        (Form::GeminiEmbed, json!({"embeddings": [{"values": [0.1, -0.25]}]}), None),
        (Form::OllamaEmbed, json!({"embeddings": [[0.1, -0.25]], "prompt_eval_count": 3}), Some(3)),
        (Form::BedrockCohereEmbed, json!({"embeddings": {"float": [[0.1, -0.25]]}}), None),
        (Form::BedrockTitanEmbed, json!({"embedding": [0.1, -0.25], "inputTextTokenCount": 3}), Some(3)),
        (Form::BedrockNovaEmbed, json!({"embeddings": [{"embeddingType": "TEXT", "embedding": [0.1, -0.25]}]}), None),
    ];
    for (form, reply, counted) in cases {
        let n_tokens = counted.unwrap_or(CONTEXT.estimated);
        for (encoding, vector) in [("float", json!([0.1, -0.25])), ("base64", json!("zczMPQAAgL4="))] {
            let body = json!({"model": "m", "input": "a", "encoding_format": encoding});
            let told = answer(&body, form, std::slice::from_ref(&reply)).expect("an answer");
            let json: Value = serde_json::from_slice(&told.bytes).expect("JSON");
            let expected = json!({"object": "list", "model": "asked",
                "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}});
            assert_eq!((json, told.usage.map(|usage| usage.input)), (expected, counted), "{form:?} {encoding}");
        }
    }
    for form in Form::ALL.into_iter().filter(|form| form.task() == Task::Embeddings) {
        for nonsense in
            [json!([]), json!({}), json!({"data": [{}]}), json!({"embeddings": [7], "data": [{"embedding": 7}]})]
        {
            let body = json!({"model": "m", "input": "a"});
            assert!(answer(&body, form, std::slice::from_ref(&nonsense)).is_err(), "{form:?}: {nonsense}");
        }
    }
}

fn googles(form: Form, body: &Value) -> Result<Box<dyn Asked>, String> {
    Embeddings.read(form, body.to_string().as_bytes()).map_err(|failure| failure.message.into_owned())
}

#[test]
fn google_embeddings_for_clients() {
    let one = |text: &str| {
        json!({"model": "models/asked", "content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_QUERY",
            "title": "t", "output_dimensionality": 8})
    };
    let batch = googles(Form::GeminiEmbed, &json!({"requests": [one("a"), one("b"), one("c")]})).expect("a batch");
    let encoded = |asked: &dyn Asked, form| {
        let encoded = asked.encode(&upstream(form, Some(2))).map_err(|failure| failure.param.unwrap_or_default())?;
        let sent: Vec<Value> = encoded.iter().map(|one| serde_json::from_slice(&one.body).expect("JSON")).collect();
        Ok::<_, std::borrow::Cow<'static, str>>((sent, encoded[0].dropped.clone()))
    };
    // Google is asked as the client asked, in parts, by its own name for the model.
    let (sent, dropped) = encoded(&*batch, Form::GeminiEmbed).expect("sayable");
    let expected = json!({"model": "models/own", "content": {"parts": [{"text": "c"}]}, "taskType": "RETRIEVAL_QUERY",
        "title": "t", "outputDimensionality": 8});
    assert_eq!((sent[0]["requests"].as_array().map(Vec::len), &sent[1]["requests"][0]), (Some(2), &expected));
    assert!(dropped.is_empty());
    let (sent, dropped) = encoded(&*batch, Form::CohereEmbed).expect("sayable");
    assert_eq!((&sent[0]["texts"], &sent[1]["texts"]), (&json!(["a", "b"]), &json!(["c"])));
    assert_eq!((&sent[0]["input_type"], &sent[0]["output_dimension"]), (&json!("search_query"), &json!(8)));
    assert_eq!(dropped, ["title"]);
    let (sent, _) = encoded(&*batch, Form::OpenAiEmbeddings).expect("sayable");
    assert_eq!(sent[0], json!({"model": "own", "input": ["a", "b"], "dimensions": 8, "encoding_format": "float"}));
    let replies = [
        json!({"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
        json!({"data": [{"index": 0, "embedding": "AACAPw=="}], "usage": {"prompt_tokens": 2, "total_tokens": 2}}),
    ];
    let replies = replies.map(|reply| Bytes::from(reply.to_string()));
    let answer = batch.answer(&upstream(Form::OpenAiEmbeddings, Some(2)), &replies, &CONTEXT).expect("an answer");
    let told: Value = serde_json::from_slice(&answer.bytes).expect("JSON");
    let expected = json!({"embeddings": [{"values": [1]}, {"values": [2]}, {"values": [1.0]}],
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}});
    assert_eq!((told, answer.usage.map(|usage| usage.input)), (expected, Some(5)));
    // Without being a batch; several parts are one text, and what nobody counted is estimated.
    let body = json!({"content": {"role": "user", "parts": [{"text": "a\n"}, {"text": "b"}]}});
    let one = googles(Form::GeminiEmbedOne, &body).expect("a request");
    let (sent, _) = encoded(&*one, Form::OllamaEmbed).expect("sayable");
    assert_eq!(sent, [json!({"model": "own", "input": ["a\nb"]})]);
    let reply = [Bytes::from(json!({"embeddings": [[0.5]]}).to_string())];
    let answer = one.answer(&upstream(Form::OllamaEmbed, None), &reply, &CONTEXT).expect("an answer");
    let told: Value = serde_json::from_slice(&answer.bytes).expect("JSON");
    assert_eq!(
        told,
        json!({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 42, "totalTokenCount": 42}})
    );
}

#[test]
fn what_only_google_can_be_asked_is_asked_of_nobody_else() {
    let text = json!({"parts": [{"text": "a"}]});
    let picture = json!({"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]});
    let cases = [
        (json!([{"content": picture}]), "content"),
        (json!([{"content": text, "taskType": "CLUSTERING"}, {"content": text}]), "taskType"),
        (json!([{"content": text, "outputDimensionality": 3}, {"content": text}]), "outputDimensionality"),
    ];
    for (requests, param) in cases {
        let asked = googles(Form::GeminiEmbed, &json!({"requests": requests})).expect("a batch");
        assert!(asked.encode(&upstream(Form::GeminiEmbed, None)).is_ok(), "{requests}");
        let failure = asked.encode(&upstream(Form::OpenAiEmbeddings, None)).expect_err("refused");
        assert_eq!((failure.param.as_deref(), failure.retry), (Some(param), Retry::OnlyElsewhere), "{requests}");
    }
    for (form, body) in [
        (Form::GeminiEmbed, json!({})),
        (Form::GeminiEmbed, json!({"requests": []})),
        (Form::GeminiEmbed, json!({"requests": [{}]})),
        (Form::GeminiEmbed, json!({"requests": [{"content": {"parts": [{"text": 7}]}}]})),
        (Form::GeminiEmbedOne, json!({"content": "a"})),
        (Form::GeminiEmbedOne, json!({"content": {"parts": []}})),
        (Form::GeminiEmbedOne, json!({"content": text, "outputDimensionality": 0})),
    ] {
        assert!(googles(form, &body).is_err(), "{body}");
    }
}
