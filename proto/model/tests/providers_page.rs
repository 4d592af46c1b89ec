//! docs/providers.md is what the catalogue says. `UPDATE_GENERATED=1 cargo test -p gateway-model --test providers_page` writes it anew.

use std::fmt::Write as _;

use gateway_model::catalog::{self, Auth, Row, models};

#[test]
fn the_page_of_providers_is_current() {
    let page = page();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).expect("docs/providers.md can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == page, "docs/providers.md is not what the catalogue says; run with UPDATE_GENERATED=1");
}

fn page() -> String {
    let mut page = format!(
        "# Providers\n\nGenerated from [providers.toml](../proto/model/catalog/providers.toml), in which a vendor is one row:\n\
         `UPDATE_GENERATED=1 cargo test -p gateway-model --test providers_page`.\n\n\
         `kind` is what a provider of the configuration is. The key is looked for by `gatewayctl up` in the variables named; elsewhere it\n\
         is `api_key`. What a provider does not speak itself is translated ([dialects](dialects.md)).\n\n\
         Facts on models (context, prices) are of {}.\n\n{} kinds:\n\n\
         | kind | provider | dialect | base URL | key | models known |\n|---|---|---|---|---|---|\n",
        models::source(),
        catalog::rows().len(),
    );
    for row in catalog::rows() {
        let n_models = models::of_kind(&row.id).count();
        let _ = writeln!(
            page,
            "| `{}` | [{}]({}) | {} | {} | {} | {} |",
            row.id,
            row.title,
            if row.docs.starts_with("http") { row.docs.clone() } else { format!("../{}", row.docs) },
            spoken(row),
            place(row),
            key(row),
            if n_models == 0 { String::new() } else { n_models.to_string() },
        );
    }
    page.push_str("\n## What they lack\n\nWhat a provider cannot be told is mapped or dropped with a note, or refused in strict mode.\n");
    page.push_str("\n| kind | models | departures |\n|---|---|---|\n");
    for row in catalog::rows() {
        departures(&mut page, &row.id, "all", &row.quirks, row.max_stops);
        for profile in &row.profiles {
            departures(&mut page, &row.id, &code(&profile.models), &profile.quirks, profile.max_stops);
        }
    }
    page.push_str("\n## Words for it\n\nA provider of the configuration, or a target of a model, may declare more of them in `quirks`.\n");
    page.push_str("\n| quirk | the upstream |\n|---|---|\n");
    for (name, meaning) in catalog::QUIRKS {
        let _ = writeln!(page, "| `{name}` | {meaning} |");
    }
    page
}

fn spoken(row: &Row) -> String {
    let more = [
        (row.responses, "openai-responses"),
        (row.completions, "openai-completions"),
        (row.counts_tokens, "counts tokens"),
        (row.files, "files"),
        (row.batches, "batches"),
        (row.realtime, "realtime"),
        (row.background, "background"),
    ];
    let more = more.iter().filter(|(holds, _)| *holds).map(|(_, word)| format!(", {word}")).collect::<String>();
    format!("{}{more}", row.dialect)
}

fn place(row: &Row) -> String {
    match (&row.base_url, &row.base_url_form) {
        (Some(url), _) => format!("`{url}`"),
        (None, Some(form)) => format!("must be given, like `{form}`"),
        (None, None) => "inside the gateway".to_owned(),
    }
}

fn key(row: &Row) -> String {
    let env = code(&row.env);
    match (row.auth == Auth::None, env.is_empty()) {
        (true, _) => "none".to_owned(),
        (false, true) => "`api_key`".to_owned(),
        (false, false) => env,
    }
}

fn departures(page: &mut String, kind: &str, models: &str, quirks: &[String], max_stops: Option<usize>) {
    let stops = max_stops.map(|most| format!("at most {most} stop texts"));
    let all: Vec<String> = quirks.iter().map(|quirk| format!("`{quirk}`")).chain(stops).collect();
    if !all.is_empty() {
        let _ = writeln!(page, "| `{kind}` | {models} | {} |", all.join(", "));
    }
}

fn code(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
