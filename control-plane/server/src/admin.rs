//! The admin API: one table of routes, each with the permission it takes. A path that is not in the table does not exist.

mod error;
mod need;
mod cookie;
mod extract;
mod access;
mod scope;
mod write;
mod resources;
mod config;
mod nodes;
mod rollout;
mod deployments;
mod beside;
mod tokens;
mod epoch;
mod snapshot;
mod logs;
mod bodies;
mod explain;
mod usage;
mod budgets;
mod alerts;
mod exports;
mod providers;
mod spend;
mod audit;
mod alias;
mod status;
mod session;
mod people;
mod oidc;
mod traffic;
mod catalog;
mod pages;
mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::{HeaderValue, Method, header};
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use self::access::Peer;
pub use self::beside::{PATHS as BESIDE, answer as answer_beside};
pub use self::need::Need;
pub use self::openapi::fragment as openapi;

use self::alias::deployments as targets;
use self::alias::{calculate, credentials, gateway, litellm, management, pricing, savings};
use self::error::ApiError;
use crate::app::App;

/// One method of one path.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub need: Need,
    handler: fn() -> MethodRouter<Arc<App>>,
}

const fn row(method: Method, path: &'static str, need: Need, handler: fn() -> MethodRouter<Arc<App>>) -> Route {
    Route { method, path, need, handler }
}

/// The whole API. `{kind}` is a plural: providers, models, routes, prices, keys.
pub const ROUTES: &[Route] = {
    use self::need::Need::*;
    use crate::permission::{Doing::*, Permission::*};
    &[
        row(Method::GET, "/", Nothing, || get(pages::dashboard)),
        row(Method::GET, "/ui/{version}/{folder}/{file}", Nothing, || get(pages::asset)),
        row(Method::GET, "/docs", Nothing, || get(pages::docs)),
        row(Method::GET, "/docs/style.css", Nothing, || get(pages::style)),
        row(Method::GET, "/docs/openapi.yaml", Nothing, || get(pages::openapi_yaml)),
        row(Method::GET, "/openapi.json", Nothing, || get(pages::openapi)),
        row(Method::GET, "/health", Nothing, || get(status::health)),
        row(Method::GET, "/ready", Nothing, || get(status::ready)),
        row(Method::GET, "/metrics", Nothing, || get(status::metrics)),
        row(Method::GET, "/admin/session", Anybody, || get(session::show)),
        row(Method::POST, "/admin/session", Greeting, || post(session::begin)),
        row(Method::DELETE, "/admin/session", Anybody, || delete(session::end)),
        row(Method::PUT, "/admin/session/password", Anybody, || put(people::change_own_password)),
        row(Method::GET, "/admin/session/own", Anybody, || get(people::own_sessions)),
        row(Method::DELETE, "/admin/session/own/{id}", Anybody, || delete(people::end_own_session)),
        row(Method::GET, "/admin/oidc/begin", Greeting, || get(oidc::begin)),
        row(Method::GET, "/admin/oidc/callback", Greeting, || get(oidc::callback)),
        row(Method::GET, "/admin/sessions", Of(PeopleRead), || get(people::sessions)),
        row(Method::DELETE, "/admin/sessions/{id}", Of(PeopleWrite), || delete(people::end_session)),
        row(Method::PUT, "/admin/users/{name}/password", Of(PeopleWrite), || put(people::set_password)),
        row(Method::POST, "/admin/users/{name}/invitation", Of(PeopleWrite), || post(people::invite)),
        row(Method::GET, "/admin/teams/{name}/leaders", Of(AccountsRead), || get(people::leaders)),
        row(Method::POST, "/admin/invitation", Greeting, || post(people::accept)),
        row(Method::GET, "/admin/status", Of(StatusRead), || get(status::get)),
        row(Method::POST, "/admin/apply", Of(ConfigWrite), || post(config::apply)),
        row(Method::GET, "/admin/config/revisions", Of(ConfigRead), || get(config::revisions)),
        row(Method::GET, "/admin/config/diff", Of(ConfigRead), || get(config::difference)),
        row(Method::POST, "/admin/config/rollback", Of(ConfigWrite), || post(config::rollback)),
        row(Method::GET, "/admin/nodes", Of(FleetRead), || get(nodes::list)),
        row(Method::GET, "/admin/nodes/{id}", Of(FleetRead), || get(nodes::get)),
        row(Method::GET, "/admin/rollout", Of(FleetRead), || get(rollout::get)),
        row(Method::POST, "/admin/nodes/{id}/revoke", Of(FleetWrite), || post(nodes::revoke)),
        row(Method::GET, "/admin/nodes/tokens", Of(FleetRead), || get(tokens::list)),
        row(Method::POST, "/admin/nodes/tokens", Of(FleetWrite), || post(tokens::create)),
        row(Method::DELETE, "/admin/nodes/tokens/{id}", Of(FleetWrite), || delete(tokens::delete)),
        row(Method::POST, "/admin/epoch", Of(Ownership), || post(epoch::create)),
        row(Method::POST, "/admin/snapshot", Of(Ownership), || post(snapshot::create)),
        row(Method::GET, "/admin/logs", Of(RequestsRead), || get(logs::list)),
        row(Method::GET, "/admin/logs/follow", Of(RequestsRead), || get(logs::follow)),
        row(Method::GET, "/admin/logs/sessions", Of(RequestsRead), || get(logs::sessions::list)),
        row(Method::GET, "/admin/logs/{id}", Of(RequestsRead), || get(logs::get)),
        row(Method::GET, "/admin/logs/{id}/body", Of(BodiesRead), || get(bodies::get)),
        row(Method::POST, "/admin/explain", Of(RequestsRead), || post(explain::answer)),
        row(Method::GET, "/admin/usage", Of(RequestsRead), || get(usage::list)),
        row(Method::GET, "/admin/usage/summary", Of(RequestsRead), || get(usage::summary)),
        row(Method::GET, "/admin/usage/budgets", Of(MoneyRead), || get(budgets::list)),
        row(Method::GET, "/admin/alerts", Of(MoneyRead), || get(alerts::list)),
        row(Method::POST, "/admin/alerts/test", Of(MoneyWrite), || post(alerts::test)),
        row(Method::POST, "/admin/alerts/{id}/acknowledge", Of(MoneyWrite), || post(alerts::acknowledge)),
        row(Method::GET, "/admin/exporters/{name}/health", Of(ConfigRead), || get(exports::health)),
        row(Method::POST, "/admin/exporters/{name}/test", Of(ConfigWrite), || post(exports::test)),
        row(Method::POST, "/admin/providers/{name}/test", Of(ConfigWrite), || post(providers::test)),
        row(Method::POST, "/admin/catalog/test", Of(ConfigWrite), || post(providers::test_document)),
        row(Method::GET, "/admin/spend", Of(SpendRead), || get(spend::get)),
        row(Method::POST, "/admin/spend/reprice", Of(MoneyWrite), || post(spend::reprice::post)),
        row(Method::GET, "/admin/traffic", Of(StatusRead), || get(traffic::list)),
        row(Method::GET, "/admin/catalog", Of(ConfigRead), || get(catalog::list)),
        row(Method::GET, "/admin/audit", Of(AuditRead), || get(audit::list)),
        row(Method::GET, "/admin/deployments", Of(ConfigRead), || get(deployments::list)),
        row(Method::POST, "/admin/deployments/disable", Of(ConfigWrite), || post(deployments::disable)),
        row(Method::POST, "/admin/deployments/enable", Of(ConfigWrite), || post(deployments::enable)),
        row(Method::GET, "/admin/settings", Of(ConfigRead), || get(resources::get_settings)),
        row(Method::PUT, "/admin/settings", Of(ConfigWrite), || put(resources::put_settings)),
        row(Method::PATCH, "/admin/settings", Of(ConfigWrite), || patch(resources::patch_settings)),
        row(Method::POST, "/admin/keys/{id}/rotate", Of(KeysWrite), || post(resources::rotate)),
        row(Method::GET, "/admin/{kind}", OfKind(Reading), || get(resources::list)),
        row(Method::POST, "/admin/{kind}", OfKind(Writing), || post(resources::create)),
        row(Method::GET, "/admin/{kind}/{name}", OfKind(Reading), || get(resources::get)),
        row(Method::PUT, "/admin/{kind}/{name}", OfKind(Writing), || put(resources::put)),
        row(Method::PATCH, "/admin/{kind}/{name}", OfKind(Writing), || patch(resources::patch)),
        row(Method::DELETE, "/admin/{kind}/{name}", OfKind(Writing), || delete(resources::delete)),
        row(Method::POST, "/key/generate", Of(KeysWrite), || post(litellm::generate_key)),
        row(Method::GET, "/key/info", Of(KeysRead), || get(litellm::key_info)),
        row(Method::POST, "/key/update", Of(KeysWrite), || post(litellm::update_key)),
        row(Method::POST, "/key/delete", Of(KeysWrite), || post(litellm::delete_keys)),
        row(Method::POST, "/team/new", Of(AccountsWrite), || post(litellm::new_team)),
        row(Method::GET, "/team/info", Of(AccountsRead), || get(litellm::team_info)),
        row(Method::GET, "/team/info/{id}", Of(AccountsRead), || get(litellm::team_by_path)),
        row(Method::POST, "/budget/new", Of(MoneyWrite), || post(litellm::new_budget)),
        row(Method::POST, "/user/new", Of(AccountsWrite), || post(litellm::new_user)),
        row(Method::GET, "/user/info", Of(AccountsRead), || get(litellm::user_info)),
        row(Method::GET, "/model/info", Of(ConfigRead), || get(litellm::model_info)),
        row(Method::GET, "/spend/logs", Of(RequestsRead), || get(litellm::spend_logs)),
        row(Method::POST, "/spend/calculate", Of(MoneyRead), || post(calculate::post)),
        row(Method::GET, "/v1/management/keys", Of(KeysRead), || get(management::list)),
        row(Method::POST, "/v1/management/keys", Of(KeysWrite), || post(management::make)),
        row(Method::GET, "/v1/management/keys/{id}", Of(KeysRead), || get(management::get)),
        row(Method::PUT, "/v1/management/keys/{id}", Of(KeysWrite), || put(management::put)),
        row(Method::DELETE, "/v1/management/keys/{id}", Of(KeysWrite), || delete(management::remove)),
        row(Method::GET, "/v1/management/teams", Of(AccountsRead), || get(management::list)),
        row(Method::POST, "/v1/management/teams", Of(AccountsWrite), || post(management::make)),
        row(Method::GET, "/v1/management/teams/{id}", Of(AccountsRead), || get(management::get)),
        row(Method::PUT, "/v1/management/teams/{id}", Of(AccountsWrite), || put(management::put)),
        row(Method::DELETE, "/v1/management/teams/{id}", Of(AccountsWrite), || delete(management::remove)),
        row(Method::GET, "/v1/management/users", Of(AccountsRead), || get(management::list)),
        row(Method::POST, "/v1/management/users", Of(AccountsWrite), || post(management::make)),
        row(Method::GET, "/v1/management/users/{id}", Of(AccountsRead), || get(management::get)),
        row(Method::PUT, "/v1/management/users/{id}", Of(AccountsWrite), || put(management::put)),
        row(Method::DELETE, "/v1/management/users/{id}", Of(AccountsWrite), || delete(management::remove)),
        row(Method::GET, "/v1/management/organizations", Of(AccountsRead), || get(management::list)),
        row(Method::POST, "/v1/management/organizations", Of(AccountsWrite), || post(management::make)),
        row(Method::GET, "/v1/management/organizations/{id}", Of(AccountsRead), || get(management::get)),
        row(Method::PUT, "/v1/management/organizations/{id}", Of(AccountsWrite), || put(management::put)),
        row(Method::DELETE, "/v1/management/organizations/{id}", Of(AccountsWrite), || delete(management::remove)),
        row(Method::GET, "/v1/management/pricing", Of(MoneyRead), || get(management::list)),
        row(Method::GET, "/v1/management/providers", Of(ConfigRead), || get(management::list)),
        row(Method::GET, "/v1/management/keys/{id}/usage", Of(SpendRead), || get(management::key_usage)),
        row(Method::GET, "/v1/management/keys/{id}/usage/daily", Of(SpendRead), || get(management::key_usage_daily)),
        row(Method::GET, "/v1/management/deployments", Of(ConfigRead), || get(deployments::list)),
        row(Method::PUT, "/v1/management/deployments/{id}", Of(ConfigWrite), || put(management::switch)),
        row(Method::POST, "/v1/management/deployments", Of(ConfigWrite), || post(targets::make)),
        row(Method::GET, "/v1/management/deployments/{id}", Of(ConfigRead), || get(targets::get)),
        row(Method::DELETE, "/v1/management/deployments/{id}", Of(ConfigWrite), || delete(targets::remove)),
        row(Method::PUT, "/v1/management/deployments/alias-strategy", Of(ConfigWrite), || put(targets::put_strategy)),
        row(Method::GET, "/v1/management/routing-policy", Of(ConfigRead), || get(targets::policies)),
        row(Method::GET, "/v1/management/routing-policy/{alias}", Of(ConfigRead), || get(targets::policy)),
        row(Method::PUT, "/v1/management/routing-policy/{alias}", Of(ConfigWrite), || put(targets::put_policy)),
        row(Method::POST, "/v1/management/pricing", Of(MoneyWrite), || post(pricing::make)),
        row(Method::GET, "/v1/management/pricing/{provider}/{model}", Of(MoneyRead), || get(pricing::get)),
        row(Method::PUT, "/v1/management/pricing/{provider}/{model}", Of(MoneyWrite), || put(pricing::put)),
        row(Method::DELETE, "/v1/management/pricing/{provider}/{model}", Of(MoneyWrite), || delete(pricing::remove)),
        row(Method::GET, "/v1/management/credentials", Of(ConfigRead), || get(credentials::list)),
        row(Method::POST, "/v1/management/credentials", Of(ConfigWrite), || post(credentials::make)),
        row(Method::GET, "/v1/management/credentials/{id}", Of(ConfigRead), || get(credentials::get)),
        row(Method::PUT, "/v1/management/credentials/{id}", Of(ConfigWrite), || put(credentials::put)),
        row(Method::DELETE, "/v1/management/credentials/{id}", Of(ConfigWrite), || delete(credentials::remove)),
        row(Method::POST, "/v1/management/credentials/{id}/test", Of(ConfigWrite), || post(providers::test)),
        row(Method::POST, "/v1/management/credentials/test-raw", Of(ConfigWrite), || post(credentials::test_raw)),
        row(Method::POST, "/v1/management/providers/discover", Of(ConfigWrite), || post(credentials::discover)),
        row(Method::GET, "/v1/management/callbacks", Of(ConfigRead), || get(management::list)),
        row(Method::POST, "/v1/management/callbacks", Of(ConfigWrite), || post(gateway::make_callback)),
        row(Method::POST, "/v1/management/callbacks/test", Of(ConfigWrite), || post(gateway::test_callback)),
        row(Method::POST, "/v1/management/users/login", Greeting, || post(session::begin)),
        row(Method::POST, "/v1/management/users/register", Greeting, || post(people::accept)),
        row(Method::GET, "/v1/management/audit", Of(AuditRead), || get(audit::list)),
        row(Method::GET, "/v1/audit", Of(AuditRead), || get(audit::list)),
        row(Method::GET, "/api/config", Of(ConfigRead), || get(gateway::config)),
        row(Method::PUT, "/api/config", Of(ConfigWrite), || put(gateway::put_config)),
        row(Method::GET, "/v1/management/usage", Of(RequestsRead), || get(usage::list)),
        row(Method::GET, "/v1/management/usage/daily", Of(RequestsRead), || get(management::usage_daily)),
        row(Method::GET, "/v1/management/savings", Of(RequestsRead), || get(savings::list)),
        row(Method::GET, "/v1/management/savings/daily", Of(RequestsRead), || get(savings::daily)),
        row(Method::GET, "/v1/management/savings/{id}", Of(RequestsRead), || get(savings::get)),
    ]
};

/// The table as a service. Who calls is known before what they may do is asked, and that before the handler.
pub fn router(app: Arc<App>) -> Router {
    let (mut open, mut door, mut guarded) = (Router::new(), Router::new(), Router::new());
    for route in ROUTES {
        let side = match route.need {
            Need::Nothing => &mut open,
            Need::Greeting => &mut door,
            Need::Anybody | Need::Of(_) | Need::OfKind(_) => &mut guarded,
        };
        let handler = (route.handler)().route_layer(from_fn_with_state(route.need, access::allow));
        *side = std::mem::take(side).route(route.path, handler);
    }
    // What is not in the table takes a credential as well, so that strangers learn nothing about what there is.
    let guarded = guarded
        .fallback(|| async { ApiError::not_found("there is nothing at this path; the admin API is under /admin") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(Arc::clone(&app), access::authenticate));
    let door = door.layer(from_fn_with_state(Arc::clone(&app), access::greet));
    open.merge(door)
        .merge(guarded)
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| -> Response {
            ApiError::internal().into_response()
        }))
        .layer(from_fn(harmless))
        .layer(from_fn_with_state(Arc::clone(&app), access::observe))
        .with_state(app)
}

/// Answers are data for programs: never stored by a cache (unless they say so themselves), never guessed to be something else by a
/// browser.
async fn harmless(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
