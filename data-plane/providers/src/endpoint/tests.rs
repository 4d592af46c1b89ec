//! Endpoints by kind of provider.

use std::collections::BTreeMap;

use gateway_ir::task::Form;
use gateway_model::catalog;
use gateway_model::kind::provider::{Azure, AzureAuth};

use super::*;

fn provider(kind: &str, base_url: Option<&str>) -> Provider {
    Provider {
        name: "p".to_owned(),
        kind: kind.to_owned(),
        base_url: base_url.map(str::to_owned),
        api_key: Some(gateway_model::secret::Secret::new("the-secret")),
        api_keys: Vec::new(),
        headers: BTreeMap::new(),
        allow_private_networks: base_url.is_some_and(|url| url.starts_with("http:")),
        quirks: Vec::new(),
        azure: None,
        aws: None,
        gcp: (kind == "vertex").then(|| vertex::gcp("global")),
        retry: None,
        timeouts: None,
        continuation: None,
        breaker: None,
        concurrency: None,
        on_client_gone: Default::default(),
        limits: None,
        probe: None,
        discovery: None,
    }
}

fn compiled(provider: &Provider) -> Endpoint {
    let row = catalog::row(&provider.kind).expect("a row of the catalogue");
    Endpoint::compile(provider, row).unwrap_or_else(|problems| panic!("{}: {problems:?}", provider.kind))
}

fn problems(provider: &Provider) -> Vec<(String, Code)> {
    let row = catalog::row(&provider.kind).expect("a row of the catalogue");
    let problems = Endpoint::compile(provider, row).expect_err("must be refused");
    problems.into_iter().map(|problem| (problem.path, problem.code)).collect()
}

#[test]
fn requests_go_to_the_base_url_and_the_tail_of_the_dialect() {
    let cases = [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", Some("https://proxy.example/team/a/"), "https://proxy.example/team/a/v1/messages"),
        ("openai-compatible", Some("http://[::1]:8000/v1"), "http://[::1]:8000/v1/chat/completions"),
        ("openai-compatible", Some("http://127.0.0.1:9"), "http://127.0.0.1:9/chat/completions"),
        ("ollama", Some("http://127.0.0.1:11434"), "http://127.0.0.1:11434/api/chat"),
        (
            "azure",
            Some("https://r.openai.azure.com"),
            "https://r.openai.azure.com/openai/deployments/a%2Fb%20%C3%BC%3F/chat/completions?api-version=2024-10-21",
        ),
        (
            "azure",
            Some("https://r.openai.azure.com/openai/v1/"),
            "https://r.openai.azure.com/openai/v1/chat/completions",
        ),
    ];
    for (kind, base_url, expected) in cases {
        assert_eq!(
            compiled(&provider(kind, base_url)).uri(Dialect::OpenAiChat, "a/b ü?", false).to_string(),
            expected,
            "{kind} {base_url:?}"
        );
    }
}

#[test]
fn azure_versions_are_configurable() {
    for (base_url, expected) in [
        ("https://r.example", "https://r.example/openai/deployments/m/chat/completions?api-version=2025-01-01-preview"),
        ("https://r.example/openai/v1", "https://r.example/openai/v1/chat/completions?api-version=2025-01-01-preview"),
        ("https://r.example/models", "https://r.example/models/chat/completions?api-version=2025-01-01-preview"),
    ] {
        let azure = Some(Azure { api_version: Some("2025-01-01-preview".to_owned()), auth: AzureAuth::ApiKey });
        let endpoint = compiled(&Provider { azure, ..provider("azure", Some(base_url)) });
        assert_eq!(endpoint.uri(Dialect::OpenAiChat, "m", false).to_string(), expected);
    }
}

#[test]
fn other_dialects_have_urls_where_the_vendor_speaks_them() {
    let (responses, completions) = (Dialect::OpenAiResponses, Dialect::OpenAiCompletions);
    let azure = Some("https://r.example");
    let v1 = Some("https://r.example/openai/v1");
    let cases = [
        ("openai", None, responses, Some("https://api.openai.com/v1/responses")),
        ("openai", None, completions, Some("https://api.openai.com/v1/completions")),
        ("openai-compatible", Some("https://h.example/v1"), completions, Some("https://h.example/v1/completions")),
        ("openai-compatible", Some("https://h.example/v1"), responses, None),
        ("groq", None, completions, None),
        ("anthropic", None, completions, None),
        ("azure", azure, responses, None),
        (
            "azure",
            azure,
            completions,
            Some("https://r.example/openai/deployments/m/completions?api-version=2024-10-21"),
        ),
        ("azure", v1, responses, Some("https://r.example/openai/v1/responses")),
        ("azure", v1, completions, Some("https://r.example/openai/v1/completions")),
        ("azure", Some("https://r.example/models"), completions, None),
    ];
    for (kind, base_url, dialect, expected) in cases {
        let endpoint = compiled(&provider(kind, base_url));
        let found = endpoint.also_speaks(dialect).then(|| endpoint.uri(dialect, "m", false).to_string());
        assert_eq!(found.as_deref(), expected, "{kind} {base_url:?} {dialect}");
    }
    let legacy = compiled(&provider("openai-completions", Some("https://h.example/v1")));
    assert_eq!(legacy.uri(completions, "m", true), "https://h.example/v1/completions");
}

#[test]
fn tokens_are_counted_where_the_vendor_does() {
    let cases = [
        ("anthropic", None, Some((Dialect::AnthropicMessages, "https://api.anthropic.com/v1/messages/count_tokens"))),
        ("openai", None, Some((Dialect::OpenAiResponses, "https://api.openai.com/v1/responses/input_tokens"))),
        (
            "gemini",
            Some("https://h.example/v1"),
            Some((Dialect::GeminiGenerate, "https://h.example/v1/models/m:countTokens")),
        ),
        (
            "bedrock",
            Some("https://h.example"),
            Some((Dialect::BedrockConverse, "https://h.example/model/m/count-tokens")),
        ),
        ("groq", None, None),
        ("demo", None, None),
    ];
    for (kind, base_url, expected) in cases {
        let found = compiled(&provider(kind, base_url)).count_uri("m");
        let expected = expected.map(|(dialect, uri)| (dialect, uri.parse().expect("a URI")));
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn an_entra_token_goes_as_a_bearer_token() {
    let azure = Some(Azure { api_version: None, auth: AzureAuth::Entra });
    let endpoint = compiled(&Provider { azure, ..provider("azure", Some("https://r.example")) });
    let sent = endpoint.headers().get("authorization").expect("a credential");
    assert!(sent == "Bearer the-secret" && sent.is_sensitive() && !endpoint.headers().contains_key("api-key"));
}

#[test]
fn a_model_in_the_path_stays_one_segment_however_long() {
    let endpoint = compiled(&provider("azure", Some("https://r.example")));
    let uri = endpoint.uri(Dialect::OpenAiChat, &"ü/../".repeat(20_000), false);
    assert!(uri.path().starts_with("/openai/deployments/%C3%BC%2F..%2F"), "{uri}");
    assert_eq!(uri.path().matches('/').count(), 5);
}

#[test]
fn where_to_connect() {
    let cases = [
        ("https://host.example/v1", true, "host.example", 443, "host.example"),
        ("https://host.example:8443/v1", true, "host.example", 8443, "host.example:8443"),
        ("http://127.0.0.1/v1", false, "127.0.0.1", 80, "127.0.0.1"),
        ("http://[::1]:9/v1", false, "[::1]", 9, "[::1]:9"),
    ];
    for (base_url, tls, host, port, authority) in cases {
        let endpoint = compiled(&provider("openai-compatible", Some(base_url)));
        let found = (endpoint.tls(), endpoint.host().as_ref(), endpoint.port(), endpoint.authority().as_ref());
        assert_eq!(found, (tls, host, port, authority.as_bytes()), "{base_url}");
    }
    let demo = compiled(&provider("demo", None));
    assert!(demo.is_demo() && !demo.tls());
}

#[test]
fn the_credential_is_sent_in_the_style_of_the_kind_and_never_shown() {
    let cases: [(&str, Option<&str>, &str, &str); 3] = [
        ("openai", None, "authorization", "Bearer the-secret"),
        ("anthropic", None, "x-api-key", "the-secret"),
        ("azure", Some("https://r.example"), "api-key", "the-secret"),
    ];
    for (kind, base_url, name, value) in cases {
        let endpoint = compiled(&provider(kind, base_url));
        assert_eq!(endpoint.headers().get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{kind}");
        let shown = format!("{endpoint:?} {:?}", endpoint.headers());
        assert!(!shown.contains("the-secret"), "{shown}");
        assert_eq!(endpoint.headers().contains_key("anthropic-version"), kind == "anthropic");
        let keyless = compiled(&Provider { api_key: None, ..provider(kind, base_url) });
        assert!(!keyless.headers().contains_key(name), "{kind}");
    }
}

#[test]
fn own_headers_go_over_the_dialects_and_under_the_credential() {
    let own = [("anthropic-version", "2099-01-01"), ("x-api-key", "another"), ("x-team", "search")];
    let headers = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let endpoint = compiled(&Provider { headers, ..provider("anthropic", None) });
    let sent = |name: &str| endpoint.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(sent("anthropic-version"), Some("2099-01-01"));
    assert_eq!((sent("x-api-key"), sent("x-team")), (Some("the-secret"), Some("search")));
}

#[test]
fn bad_providers_are_refused_with_the_field_at_fault() {
    let invalid = |field: &str| vec![(format!("providers[p].{field}"), Code::InvalidValue)];
    for base_url in
        ["", "host/v1", "/v1", "ftp://host/v1", "https://user:pass@host/v1", "https://host/v1?a=b", "https://"]
    {
        assert_eq!(problems(&provider("openai", Some(base_url))), invalid("base_url"), "{base_url}");
    }
    let cleartext = Provider { allow_private_networks: false, ..provider("openai", Some("http://host/v1")) };
    assert_eq!(problems(&cleartext), [("providers[p].base_url".to_owned(), Code::InsecureDestination)]);
    let homeless = provider("openai-compatible", None);
    assert_eq!(problems(&homeless), [("providers[p].base_url".to_owned(), Code::MissingField)]);
    let broken = Provider { api_key: Some(gateway_model::secret::Secret::new("a\nb")), ..provider("openai", None) };
    assert_eq!(problems(&broken), invalid("api_key"));
    for (name, value, field) in [("x y", "1", "headers"), ("x-y", "1\r\n", "headers.x-y")] {
        let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(problems(&Provider { headers, ..provider("openai", None) }), invalid(field));
    }
}

#[test]
fn every_row_of_the_catalogue_compiles() {
    for row in catalog::rows() {
        let base_url = row.base_url.is_none().then_some("https://host.example");
        let endpoint = compiled(&Provider { allow_private_networks: true, ..provider(&row.id, base_url) });
        assert!(endpoint.is_demo() || endpoint.uri(Dialect::OpenAiChat, "m", false).scheme().is_some(), "{}", row.id);
        for task in &row.tasks {
            let form = Form::parse(&task.form).unwrap_or_else(|| panic!("{}: no form is named {}", row.id, task.form));
            let model = task.models.first().map_or("m".to_owned(), |pattern| pattern.replace('*', "m"));
            let operation = endpoint.task(form.task(), &model).unwrap_or_else(|| panic!("{}: {}", row.id, task.form));
            assert_eq!((operation.form, operation.at_once), (form, task.at_once), "{}: a task occurs twice", row.id);
        }
    }
}

/// All that is needed of a vendor which speaks a known dialect.
#[test]
fn a_vendor_is_one_row() {
    let text = r#"
        [[provider]]
        id = "vendor"
        title = "Vendor"
        dialect = "openai-chat"
        base_url = "https://api.vendor.example/v1"
        auth = "bearer"
        docs = "https://vendor.example/docs"
    "#;
    let rows = catalog::parse(text).expect("a row");
    let endpoint = Endpoint::compile(&provider("vendor", None), &rows[0]).expect("a destination");
    assert_eq!(
        endpoint.uri(Dialect::OpenAiChat, "m", false).to_string(),
        "https://api.vendor.example/v1/chat/completions"
    );
    let key = gateway_model::secret::Secret::new("sk");
    let keyed = Provider { api_key: Some(key), ..provider("vendor", None) };
    let endpoint = Endpoint::compile(&keyed, &rows[0]).expect("a destination");
    assert_eq!(endpoint.headers()["authorization"], "Bearer sk");
}

#[test]
fn vertex_has_project_and_location_in_the_path_and_the_location_in_the_host() {
    let cases = [
        (None, "global", "https://aiplatform.googleapis.com/v1"),
        (None, "us-central1", "https://us-central1-aiplatform.googleapis.com/v1"),
        (Some("https://proxy.example/v1beta1"), "eu", "https://proxy.example/v1beta1"),
    ];
    for (base_url, location, root) in cases {
        let provider = Provider { gcp: Some(vertex::gcp(location)), api_key: None, ..provider("vertex", base_url) };
        let endpoint = compiled(&provider);
        let models = format!("{root}/projects/my-project/locations/{location}/publishers/google/models/m");
        for (stream, method) in [(false, "generateContent"), (true, "streamGenerateContent?alt=sse")] {
            assert_eq!(endpoint.uri(Dialect::GeminiGenerate, "m", stream).to_string(), format!("{models}:{method}"));
        }
        let (dialect, count) = endpoint.count_uri("m").expect("it counts");
        assert_eq!((dialect, count.to_string()), (Dialect::GeminiGenerate, format!("{models}:countTokens")));
    }
}

#[test]
fn vertex_takes_a_key_or_tokens_of_an_account_or_of_the_machine() {
    let by_key = compiled(&provider("vertex", None));
    assert!(by_key.token_source().is_none() && by_key.headers().contains_key("x-goog-api-key"));
    let by_machine = compiled(&Provider { api_key: None, ..provider("vertex", None) });
    let source = by_machine.token_source().expect("a source");
    assert!(source.is_metadata_server() && source.host().as_ref() == "169.254.169.254");
    let request = source.request(0);
    assert_eq!(
        (request.headers()["metadata-flavor"].as_bytes(), request.method()),
        (&b"Google"[..], &http::Method::GET)
    );
    let (token, lifetime) =
        source.read(br#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#).expect("one");
    assert!(token == "Bearer t" && token.is_sensitive() && lifetime.as_secs() == 3599);
    for answer in
        [&b"{}"[..], b"x", br#"{"access_token":"","expires_in":1}"#, br#"{"access_token":"a\nb","expires_in":1}"#]
    {
        assert!(source.read(answer).is_err());
    }
    let invalid = |field: &str, code| vec![(format!("providers[p].gcp.{field}"), code)];
    let secret = |text: &str| Some(gateway_model::secret::Secret::new(text));
    for text in ["", "{}", r#"{"client_email":"a","private_key":"no key"}"#] {
        let gcp =
            Some(gateway_model::kind::provider::Gcp { service_account_json: secret(text), ..vertex::gcp("global") });
        let broken = Provider { gcp, api_key: None, ..provider("vertex", None) };
        assert_eq!(problems(&broken), invalid("service_account_json", Code::InvalidValue), "{text}");
    }
    let metadata_url = Some("http://127.0.0.1:1".to_owned());
    let gcp = Some(gateway_model::kind::provider::Gcp { metadata_url, ..vertex::gcp("global") });
    let in_clear = Provider { gcp, api_key: None, ..provider("vertex", None) };
    assert_eq!(problems(&in_clear), invalid("metadata_url", Code::InsecureDestination));
}
