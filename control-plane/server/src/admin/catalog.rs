//! `/admin/catalog`: the kinds of providers that a configuration can name, for who chooses one.

use axum::Json;
use gateway_model::catalog;
use schemars::JsonSchema;
use serde::Serialize;

/// All of them, by id.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Catalog {
    data: Vec<ProviderKind>,
}

/// A row of the provider catalogue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProviderKind {
    /// What `kind` of a provider says.
    id: &'static str,
    /// Its name as the vendor spells it.
    title: &'static str,
    dialect: &'static str,
    /// Where it is, unless `base_url` says something else; null: that must be given.
    base_url: Option<&'static str>,
    /// What a base URL looks like where there is no default.
    base_url_form: Option<&'static str>,
    /// Environment variables in which its key is commonly kept.
    env: Vec<&'static str>,
    /// A model that a first request could name.
    model: Option<&'static str>,
    /// The vendor's documents.
    docs: &'static str,
}

pub(crate) async fn list() -> Json<Catalog> {
    let data = catalog::rows().iter().map(|row| ProviderKind {
        id: &row.id,
        title: &row.title,
        dialect: &row.dialect,
        base_url: row.base_url.as_deref(),
        base_url_form: row.base_url_form.as_deref(),
        env: row.env.iter().map(String::as_str).collect(),
        model: row.model.as_deref(),
        docs: &row.docs,
    });
    Json(Catalog { data: data.collect() })
}
