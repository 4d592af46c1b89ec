//! What each form's upstream is asked, and what each form's client is answered.

use bytes::Bytes;
use gateway_ir::task::Form;
use serde_json::{Value, json};

use super::Rerank;
use crate::task::{Asked, Context, Family, Upstream};

const FORMS: [Form; 3] = [Form::JinaRerank, Form::CohereRerank, Form::VoyageRerank];

fn read(form: Form, body: &Value) -> Box<dyn Asked> {
    Rerank.read(form, body.to_string().as_bytes()).expect("a valid request")
}

fn upstream(form: Form) -> Upstream<'static> {
    Upstream { form, model: "own", at_once: None }
}

fn answer(inbound: Form, body: &Value, form: Form, reply: &Value) -> Result<Value, String> {
    let context = Context { model: "asked", request_id: "r1", estimated: 42 };
    let replies = [Bytes::from(reply.to_string())];
    let told = read(inbound, body).answer(&upstream(form), &replies, &context);
    let told = told.map_err(|failure| failure.message.into_owned())?;
    Ok(serde_json::from_slice(&told.bytes).expect("JSON"))
}

#[test]
fn every_form_is_asked_in_its_own_words() {
    let body = json!({"model": "m", "query": "q\n", "documents": ["a", {"text": "b"}, {"title": "c"}], "top_n": 2,
        "return_documents": true, "truncation": true, "max_tokens_per_doc": 7});
    let texts = json!(["a", "b", "{\"title\":\"c\"}"]);
    let base = json!({"model": "own", "query": "q\n", "documents": texts});
    let with = |more: Value| {
        let mut whole = base.clone();
        whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        whole
    };
    let cases = [
        (
            Form::JinaRerank,
            with(json!({"top_n": 2, "return_documents": false, "truncation": true})),
            "max_tokens_per_doc",
        ),
        (Form::CohereRerank, with(json!({"top_n": 2, "max_tokens_per_doc": 7})), "truncation"),
        (Form::VoyageRerank, with(json!({"top_k": 2, "truncation": true})), "max_tokens_per_doc"),
    ];
    for (form, expected, lost) in cases {
        let encoded = read(Form::JinaRerank, &body).encode(&upstream(form)).expect("sayable");
        assert_eq!(serde_json::from_slice::<Value>(&encoded[0].body).expect("JSON"), expected, "{form:?}");
        assert_eq!(encoded[0].dropped, [lost], "{form:?}");
    }
}

#[test]
fn every_client_is_answered_in_its_own_form() {
    let jina = json!({"query": "q", "documents": ["a", {"text": "b"}], "top_n": 2, "return_documents": true});
    let voyage = json!({"query": "q", "documents": ["a", {"text": "b"}], "top_k": 2, "return_documents": true});
    let results = json!([{"index": 1, "relevance_score": 0.90}, {"index": 0, "relevance_score": -4.5e-1}]);
    let said = [
        json!({"id": "i", "results": results, "model": "told", "usage": {"total_tokens": 9}}),
        json!({"id": "i", "results": results, "meta": {"billed_units": {"search_units": 1}}}),
        json!({"object": "list", "data": results, "model": "told", "usage": {"total_tokens": 9}}),
    ];
    for (form, reply) in FORMS.into_iter().zip(&said) {
        let counts_searches = form == Form::CohereRerank;
        let told = answer(Form::JinaRerank, &jina, form, reply).expect("an answer");
        assert_eq!(told["results"][0], json!({"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}));
        assert_eq!(told["results"][1], json!({"index": 0, "relevance_score": -0.45, "document": {"text": "a"}}));
        assert_eq!(told["usage"]["total_tokens"], if counts_searches { 0 } else { 9 }, "{form:?}");
        assert_eq!(told["meta"]["billed_units"]["search_units"].as_u64(), counts_searches.then_some(1));
        let told = answer(Form::JinaRerank, &voyage, form, reply).expect("an answer");
        assert_eq!(told["data"][1], json!({"index": 0, "relevance_score": -0.45, "document": "a"}), "{form:?}");
        let told = answer(Form::CohereRerank, &jina, form, reply).expect("an answer");
        assert_eq!(told["results"], results, "{form:?}");
        assert_eq!(told["id"], if form == Form::VoyageRerank { "r1" } else { "i" });
        let unit =
            if counts_searches { &told["meta"]["billed_units"] } else { &told["meta"]["tokens"]["input_tokens"] };
        assert_eq!(*unit, if counts_searches { json!({"search_units": 1}) } else { json!(9) });
    }
}

#[test]
fn an_answer_of_nonsense_is_none() {
    let body = json!({"query": "q", "documents": ["a"]});
    for form in FORMS {
        for entry in [json!({"index": 1, "relevance_score": 1}), json!({"index": 0}), json!({"relevance_score": 1})] {
            let reply = json!({"results": [entry], "data": [entry]});
            assert!(answer(Form::JinaRerank, &body, form, &reply).is_err(), "{form:?}: {entry}");
        }
        assert!(answer(Form::JinaRerank, &body, form, &json!({})).is_err());
        let failure = answer(Form::JinaRerank, &body, form, &json!({"error": {"message": "no", "type": "t"}}));
        assert_eq!(failure, Err("no".to_owned()));
    }
}

#[test]
fn more_results_than_asked_for_are_cut() {
    let body = json!({"query": "q", "documents": ["a", "b"], "top_n": 1});
    let reply = json!({"results": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": 1}]});
    let told = answer(Form::JinaRerank, &body, Form::JinaRerank, &reply).expect("an answer");
    assert_eq!(
        (&told["results"], &told["usage"]["total_tokens"]),
        (&json!([{"index": 1, "relevance_score": 2}]), &json!(42))
    );
}

#[test]
fn refuses_with_the_field_at_fault() {
    let cases = [
        (json!({"documents": ["a"]}), "query"),
        (json!({"query": 1, "documents": ["a"]}), "query"),
        (json!({"query": "q"}), "documents"),
        (json!({"query": "q", "documents": []}), "documents"),
        (json!({"query": "q", "documents": ["a", 1]}), "documents[1]"),
        (json!({"query": "q", "documents": ["a"], "top_n": -1}), "top_n"),
        (json!({"query": "q", "documents": ["a"], "return_documents": "yes"}), "return_documents"),
    ];
    for (body, param) in cases {
        let failure = Rerank.read(Form::JinaRerank, body.to_string().as_bytes()).err().expect("refused");
        assert_eq!((failure.status, failure.param.as_deref()), (400, Some(param)), "{body}");
    }
}
