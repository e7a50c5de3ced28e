//! The table of all routes, and what holds for all of them: limits, origin, headers.

mod pages;

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use axum::{Extension, Router};

use super::access::Access::{self, Anyone, Operate, Own, Person, Read, Submit};
use super::error::WebError;
use super::openapi::{Described, Says};
use super::pages::{PageError, show_errors};
use super::places::{self, Places};
use super::{
    Site, accounts, assets, credits, docs, events, files, headers, health, jobs, logs, market,
    metrics, notices, openapi, origin, vouchers, workers,
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
    pub(super) listed: Listed,
    handler: MethodRouter<Site>,
    /// What its handler says of itself, for the API's description.
    pub(super) says: Option<Says>,
    /// Whether its handler counts the bytes of a body itself.
    takes_streams: bool,
}

/// Every route there is, beside the answers to addresses that lead nowhere.
pub fn listed() -> Vec<Listed> {
    table().into_iter().map(|route| route.listed).collect()
}

/// All routes.
pub(super) fn all(site: Site) -> Router {
    let places = Places::new(site.config.proxies.clone());
    let mut router = Router::new();
    for Route { listed: Listed { path, access, .. }, handler, takes_streams, .. } in table() {
        let limit = if path.starts_with("/api/") { BODY_MAX_BYTES } else { FORM_MAX_BYTES };
        let limit = match takes_streams {
            false => DefaultBodyLimit::max(limit),
            true => DefaultBodyLimit::disable(),
        };
        let handler = handler
            .route_layer(from_fn_with_state(site.clone(), origin::check_form))
            .route_layer(Extension(access))
            .route_layer(limit);
        router = router.route(path, handler);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(site.clone(), health::refuse_while_stuck))
        .layer(from_fn_with_state(site.clone(), origin::check))
        .layer(from_fn_with_state(places, places::limit_requests))
        .layer(from_fn_with_state(site.clone(), show_errors))
        .layer(from_fn_with_state(site.clone(), headers::add))
        .with_state(site)
}

/// Every row.
pub(super) fn table() -> Vec<Route> {
    [for_machines(), accounts(), jobs(), job_files(), workers(), on_market(), pages::all()]
        .into_iter()
        .flatten()
        .collect()
}

fn for_machines() -> Vec<Route> {
    vec![
        get("/health", Anyone, health::health).says::<health::__path_health>(),
        get("/metrics", Anyone, metrics::metrics),
        get("/jobs/count", Anyone, credits::jobs_count).says::<credits::__path_jobs_count>(),
        get("/openapi.json", Anyone, openapi::json),
        get("/docs", Anyone, docs::page),
        get("/static/{version}/{name}", Anyone, assets::asset),
    ]
}

fn accounts() -> Vec<Route> {
    use accounts::{invitations, sessions, tokens, users, verify};
    vec![
        post("/api/v1/register", Anyone, accounts::register).says::<accounts::__path_register>(),
        post("/api/v1/login", Anyone, accounts::log_in).says::<accounts::__path_log_in>(),
        post("/api/v1/logout", Person, accounts::log_out).says::<accounts::__path_log_out>(),
        get("/api/v1/me", Read, accounts::me).says::<accounts::__path_me>(),
        post("/api/v1/verify", Anyone, verify::verify).says::<verify::__path_verify>(),
        post("/api/v1/verify/resend", Person, verify::send_again)
            .says::<verify::__path_send_again>(),
        get("/api/v1/sessions", Person, sessions::list).says::<sessions::__path_list>(),
        delete("/api/v1/sessions", Person, sessions::revoke_all)
            .says::<sessions::__path_revoke_all>(),
        delete("/api/v1/sessions/{id}", Person, sessions::revoke).says::<sessions::__path_revoke>(),
        post("/api/v1/password", Person, sessions::change_password)
            .says::<sessions::__path_change_password>(),
        get("/api/v1/tokens", Person, tokens::list).says::<tokens::__path_list>(),
        post("/api/v1/tokens", Person, tokens::make).says::<tokens::__path_make>(),
        delete("/api/v1/tokens/{id}", Person, tokens::revoke).says::<tokens::__path_revoke>(),
        post("/api/v1/webhook-secret", Person, notices::make_secret)
            .says::<notices::__path_make_secret>(),
        get("/api/v1/users", Operate, users::list).says::<users::__path_list>(),
        patch("/api/v1/users/{id}", Operate, users::change).says::<users::__path_change>(),
        get("/api/v1/invitations", Operate, invitations::list).says::<invitations::__path_list>(),
        post("/api/v1/invitations", Operate, invitations::make).says::<invitations::__path_make>(),
        delete("/api/v1/invitations/{id}", Operate, invitations::revoke)
            .says::<invitations::__path_revoke>(),
        get("/api/v1/credits", Read, credits::credits).says::<credits::__path_credits>(),
        get("/api/v1/credits/transfers", Read, credits::transfers)
            .says::<credits::__path_transfers>(),
        get("/api/v1/leaderboard", Read, credits::leaderboard)
            .says::<credits::__path_leaderboard>(),
        get("/api/v1/stats", Read, credits::stats).says::<credits::__path_stats>(),
        get("/api/v1/events", Read, events::events).says::<events::__path_events>(),
    ]
}

fn jobs() -> Vec<Route> {
    use jobs::{change, launch, quote, receipt, submit};
    vec![
        post("/api/v1/quote", Read, quote::quote).says::<quote::__path_quote>(),
        get("/api/v1/jobs", Read, jobs::list).says::<jobs::__path_list>(),
        post("/api/v1/jobs", Submit, submit::submit).says::<submit::__path_submit>(),
        post("/api/v1/jobs/cancel", Submit, change::cancel_all).says::<change::__path_cancel_all>(),
        get("/api/v1/jobs/{id}", Read, jobs::one).says::<jobs::__path_one>(),
        patch("/api/v1/jobs/{id}", Submit, change::change).says::<change::__path_change>(),
        post("/api/v1/jobs/{id}/launch", Submit, launch::launch).says::<launch::__path_launch>(),
        post("/api/v1/jobs/{id}/cancel", Submit, change::cancel).says::<change::__path_cancel>(),
        post("/api/v1/jobs/{id}/retry", Submit, change::retry).says::<change::__path_retry>(),
        get("/api/v1/jobs/{id}/tasks", Read, jobs::tasks).says::<jobs::__path_tasks>(),
        get("/api/v1/jobs/{id}/map", Read, jobs::map).says::<jobs::__path_map>(),
        get("/api/v1/jobs/{id}/receipt", Read, receipt::show).says::<receipt::__path_show>(),
    ]
}

fn job_files() -> Vec<Route> {
    use files::{inputs, outputs_zip, quota, retention, uploads};
    vec![
        delete("/api/v1/jobs/{id}", Submit, retention::delete).says::<retention::__path_delete>(),
        get("/api/v1/jobs/{id}/files", Read, inputs::list).says::<inputs::__path_list>(),
        post("/api/v1/jobs/{id}/files", Submit, inputs::attach).says::<inputs::__path_attach>(),
        get("/api/v1/jobs/{id}/files/{*path}", Read, inputs::download)
            .says::<inputs::__path_download>(),
        put("/api/v1/jobs/{id}/files/{*path}", Submit, uploads::put)
            .says::<uploads::__path_put>()
            .takes_streams(),
        delete("/api/v1/jobs/{id}/files/{*path}", Submit, inputs::remove)
            .says::<inputs::__path_remove>(),
        get("/api/v1/jobs/{id}/uploads/{*path}", Submit, uploads::progress)
            .says::<uploads::__path_progress>(),
        patch("/api/v1/jobs/{id}/uploads/{*path}", Submit, uploads::patch)
            .says::<uploads::__path_patch>()
            .takes_streams(),
        delete("/api/v1/jobs/{id}/uploads/{*path}", Submit, uploads::discard)
            .says::<uploads::__path_discard>(),
        get("/api/v1/jobs/{id}/outputs", Read, files::list).says::<files::__path_list>(),
        get("/api/v1/jobs/{id}/outputs.zip", Read, outputs_zip::outputs_zip)
            .says::<outputs_zip::__path_outputs_zip>(),
        get("/api/v1/jobs/{id}/outputs/{index}/{*path}", Read, files::download)
            .says::<files::__path_download>(),
        get("/api/v1/jobs/{id}/logs", Read, logs::logs).says::<logs::__path_logs>(),
        get("/api/v1/jobs/{id}/lock", Read, files::lock).says::<files::__path_lock>(),
        get("/api/v1/limits", Read, quota::limits).says::<quota::__path_limits>(),
    ]
}

fn workers() -> Vec<Route> {
    use workers::{ask, earnings, rules};
    vec![
        get("/api/v1/workers", Read, workers::list).says::<workers::__path_list>(),
        get("/api/v1/workers/waiting", Read, workers::waiting).says::<workers::__path_waiting>(),
        post("/api/v1/workers/approve", Own, workers::approve).says::<workers::__path_approve>(),
        get("/api/v1/workers/tokens", Read, vouchers::list).says::<vouchers::__path_list>(),
        post("/api/v1/workers/tokens", Own, vouchers::make).says::<vouchers::__path_make>(),
        delete("/api/v1/workers/tokens/{id}", Own, vouchers::revoke)
            .says::<vouchers::__path_revoke>(),
        get("/api/v1/workers/{id}", Read, workers::one).says::<workers::__path_one>(),
        delete("/api/v1/workers/{id}", Own, workers::remove).says::<workers::__path_remove>(),
        get("/api/v1/workers/{id}/rules", Read, rules::show).says::<rules::__path_show>(),
        put("/api/v1/workers/{id}/rules", Own, rules::replace).says::<rules::__path_replace>(),
        patch("/api/v1/workers/{id}/rules", Own, rules::change).says::<rules::__path_change>(),
        post("/api/v1/workers/{id}/by-hand", Own, rules::by_hand).says::<rules::__path_by_hand>(),
        delete("/api/v1/workers/{id}/by-hand", Own, rules::by_rules)
            .says::<rules::__path_by_rules>(),
        get("/api/v1/workers/{id}/ask", Read, ask::show).says::<ask::__path_show>(),
        put("/api/v1/workers/{id}/ask", Own, ask::replace).says::<ask::__path_replace>(),
        get("/api/v1/workers/{id}/earnings", Read, earnings::of_worker)
            .says::<earnings::__path_of_worker>(),
        get("/api/v1/earnings", Read, earnings::all).says::<earnings::__path_all>(),
        post("/api/v1/workers/{id}/release", Own, workers::release)
            .says::<workers::__path_release>(),
    ]
}

fn on_market() -> Vec<Route> {
    use market::{bids, prices};
    vec![
        get("/api/v1/market/jobs", Read, market::list).says::<market::__path_list>(),
        get("/api/v1/market/bids", Read, bids::own).says::<bids::__path_own>(),
        get("/api/v1/market/prices", Read, prices::show).says::<prices::__path_show>(),
        get("/api/v1/jobs/{id}/bids", Read, bids::of_job).says::<bids::__path_of_job>(),
        post("/api/v1/jobs/{id}/bids", Own, bids::place).says::<bids::__path_place>(),
        delete("/api/v1/jobs/{id}/bids/{worker}", Own, bids::withdraw)
            .says::<bids::__path_withdraw>(),
        post("/api/v1/jobs/{id}/accept", Submit, bids::accept).says::<bids::__path_accept>(),
    ]
}

impl Route {
    fn of(method: Method, path: &'static str, access: Access, handler: MethodRouter<Site>) -> Self {
        let listed = Listed { method, path, access };
        Self { listed, handler, says: None, takes_streams: false }
    }

    /// With what its handler says of itself.
    fn says<P: Described>(self) -> Self {
        Self { says: Some(Says::of::<P>()), ..self }
    }

    /// With a body of any size, which its handler counts itself.
    fn takes_streams(self) -> Self {
        Self { takes_streams: true, ..self }
    }
}

fn get<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::of(Method::GET, path, access, routing::get(handler))
}

fn post<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::of(Method::POST, path, access, routing::post(handler))
}

fn put<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::of(Method::PUT, path, access, routing::put(handler))
}

fn patch<H: Handler<T, Site>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route::of(Method::PATCH, path, access, routing::patch(handler))
}

fn delete<H: Handler<T, Site>, T: 'static>(
    path: &'static str,
    access: Access,
    handler: H,
) -> Route {
    Route::of(Method::DELETE, path, access, routing::delete(handler))
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
