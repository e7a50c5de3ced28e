//! The table of all routes, and what holds for all of them: limits, origin, headers.

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use axum::{Extension, Router};

use super::access::Access::{self, Anyone, Operate, Own, Person, Read, Submit};
use super::error::WebError;
use super::pages::{self, PageError};
use super::places::{self, Places};
use super::{
    Site, accounts, assets, credits, events, files, headers, health, jobs, logs, metrics, origin,
    vouchers, workers,
};

/// Largest body of a request to the API. Bytes.
pub(super) const BODY_MAX_BYTES: usize = 1 << 20;

/// Largest form. Bytes: texts may take three times their size in a form's encoding.
pub(super) const FORM_MAX_BYTES: usize = 3 << 20;

/// A route as it is listed: what tests walk through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub method: Method,
    /// With what it names in braces, as in `/jobs/{id}`.
    pub path: &'static str,
    pub access: Access,
}

/// A row of the table.
pub(super) struct Route {
    listed: Listed,
    handler: MethodRouter<Site>,
}

/// Every route there is, beside the answers to addresses that lead nowhere.
pub fn listed() -> Vec<Listed> {
    table().into_iter().map(|route| route.listed).collect()
}

/// All routes.
pub(super) fn all(site: Site) -> Router {
    let places = Places::new(site.config.proxies.clone());
    let mut router = Router::new();
    for Route { listed: Listed { path, access, .. }, handler } in table() {
        let limit = if path.starts_with("/api/") { BODY_MAX_BYTES } else { FORM_MAX_BYTES };
        let handler = handler
            .route_layer(from_fn_with_state(site.clone(), origin::check_form))
            .route_layer(Extension(access))
            .route_layer(DefaultBodyLimit::max(limit));
        router = router.route(path, handler);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(site.clone(), health::refuse_while_stuck))
        .layer(from_fn_with_state(site.clone(), origin::check))
        .layer(from_fn_with_state(places, places::limit_requests))
        .layer(from_fn_with_state(site.clone(), pages::show_errors))
        .layer(from_fn_with_state(site.clone(), headers::add))
        .with_state(site)
}

fn table() -> Vec<Route> {
    [for_machines(), accounts(), jobs(), workers(), account_pages(), job_pages(), worker_pages()]
        .into_iter()
        .flatten()
        .collect()
}

fn for_machines() -> Vec<Route> {
    vec![
        get("/health", Anyone, health::health),
        get("/metrics", Anyone, metrics::metrics),
        get("/jobs/count", Anyone, credits::jobs_count),
        get("/static/{version}/{name}", Anyone, assets::asset),
    ]
}

fn accounts() -> Vec<Route> {
    vec![
        post("/api/v1/register", Anyone, accounts::register),
        post("/api/v1/login", Anyone, accounts::log_in),
        post("/api/v1/logout", Person, accounts::log_out),
        get("/api/v1/me", Read, accounts::me),
        get("/api/v1/sessions", Person, accounts::sessions::list),
        delete("/api/v1/sessions", Person, accounts::sessions::revoke_all),
        delete("/api/v1/sessions/{id}", Person, accounts::sessions::revoke),
        post("/api/v1/password", Person, accounts::sessions::change_password),
        get("/api/v1/tokens", Person, accounts::tokens::list),
        post("/api/v1/tokens", Person, accounts::tokens::make),
        delete("/api/v1/tokens/{id}", Person, accounts::tokens::revoke),
        get("/api/v1/users", Operate, accounts::users::list),
        patch("/api/v1/users/{id}", Operate, accounts::users::change),
        get("/api/v1/invitations", Operate, accounts::invitations::list),
        post("/api/v1/invitations", Operate, accounts::invitations::make),
        delete("/api/v1/invitations/{id}", Operate, accounts::invitations::revoke),
        get("/api/v1/credits", Read, credits::credits),
        get("/api/v1/credits/transfers", Read, credits::transfers),
        get("/api/v1/leaderboard", Read, credits::leaderboard),
    ]
}

fn jobs() -> Vec<Route> {
    vec![
        post("/api/v1/quote", Read, jobs::quote),
        get("/api/v1/jobs", Read, jobs::list),
        post("/api/v1/jobs", Submit, jobs::submit),
        get("/api/v1/jobs/{id}", Read, jobs::one),
        get("/api/v1/jobs/{id}/tasks", Read, jobs::tasks),
        post("/api/v1/jobs/{id}/cancel", Submit, jobs::cancel),
        get("/api/v1/jobs/{id}/outputs", Read, files::list),
        get("/api/v1/jobs/{id}/outputs/{index}/{*path}", Read, files::download),
        get("/api/v1/jobs/{id}/logs", Read, logs::logs),
        get("/api/v1/jobs/{id}/lock", Read, files::lock),
        get("/api/v1/stats", Read, credits::stats),
        get("/api/v1/events", Read, events::events),
    ]
}

fn workers() -> Vec<Route> {
    vec![
        get("/api/v1/workers", Read, workers::list),
        get("/api/v1/workers/waiting", Read, workers::waiting),
        post("/api/v1/workers/approve", Own, workers::approve),
        get("/api/v1/workers/tokens", Read, vouchers::list),
        post("/api/v1/workers/tokens", Own, vouchers::make),
        delete("/api/v1/workers/tokens/{id}", Own, vouchers::revoke),
        delete("/api/v1/workers/{id}", Own, workers::remove),
        post("/api/v1/workers/{id}/release", Own, workers::release),
    ]
}

fn account_pages() -> Vec<Route> {
    vec![
        get("/register", Anyone, pages::account::register_form),
        post("/register", Anyone, pages::account::register),
        get("/login", Anyone, pages::account::login_form),
        post("/login", Anyone, pages::account::log_in),
        post("/logout", Person, pages::account::log_out),
        get("/account", Person, pages::settings::account),
        post("/account/password", Person, pages::settings::change_password),
        post("/account/sessions/close", Person, pages::settings::close_all_sessions),
        post("/account/sessions/{id}/close", Person, pages::settings::close_session),
        post("/account/tokens", Person, pages::settings::open_token),
        post("/account/tokens/{id}/revoke", Person, pages::settings::close_token),
        get("/users", Operate, pages::users::users),
        post("/users/{id}/role", Operate, pages::users::change_role),
        post("/users/invitations", Operate, pages::users::invite),
        post("/users/invitations/{id}/revoke", Operate, pages::users::revoke),
        get("/leaderboard", Read, pages::standing::leaderboard),
        get("/credits", Read, pages::standing::credits),
    ]
}

fn job_pages() -> Vec<Route> {
    vec![
        get("/", Read, pages::overview::overview),
        get("/submit", Read, pages::submit::empty_form),
        post("/submit", Submit, pages::submit::submit),
        post("/submit/quote", Read, pages::submit::quote),
        get("/jobs", Read, pages::jobs::jobs),
        get("/jobs/{id}", Read, pages::job::job),
        post("/jobs/{id}/cancel", Submit, pages::job::cancel),
    ]
}

fn worker_pages() -> Vec<Route> {
    vec![
        get("/workers", Read, pages::workers::workers),
        get("/workers/add", Read, pages::add_worker::add_form),
        post("/workers/add", Own, pages::add_worker::add),
        post("/workers/tokens/{id}/revoke", Own, pages::add_worker::revoke),
        get("/workers/approve", Read, pages::workers::approve_form),
        post("/workers/approve", Own, pages::workers::approve),
        post("/workers/{id}/remove", Own, pages::workers::remove),
        post("/workers/{id}/release", Own, pages::workers::release),
    ]
}

fn get<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { listed: Listed { method: Method::GET, path, access }, handler: routing::get(handler) }
}

fn post<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route { listed: Listed { method: Method::POST, path, access }, handler: routing::post(handler) }
}

fn patch<H, T>(path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Site>,
    T: 'static,
{
    let handler = routing::patch(handler);
    Route { listed: Listed { method: Method::PATCH, path, access }, handler }
}

fn delete<H, T>(path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Site>,
    T: 'static,
{
    let handler = routing::delete(handler);
    Route { listed: Listed { method: Method::DELETE, path, access }, handler }
}

async fn not_found(uri: Uri) -> Response {
    answer(&uri, WebError::NotFound)
}

async fn method_not_allowed(uri: Uri) -> Response {
    answer(&uri, WebError::MethodNotAllowed)
}

/// Programs get JSON, people a page.
pub(super) fn answer(uri: &Uri, error: WebError) -> Response {
    if uri.path().starts_with("/api/") {
        error.into_response()
    } else {
        PageError::from(error).into_response()
    }
}
