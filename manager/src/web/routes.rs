//! Which address leads where, and what holds for all of them: limits, origin, headers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::error::WebError;
use super::pages::{self, PageError};
use super::{Site, accounts, assets, credits, events, files, jobs, logs, origin, workers};

/// Largest body of a request. Bytes.
pub(super) const BODY_MAX_BYTES: usize = 1 << 20;

/// Scripts, styles and everything else come from here; nobody may frame our pages.
const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'; \
     object-src 'none'",
);

/// All routes.
pub(super) fn all(site: Site) -> Router {
    Router::new()
        .nest("/api/v1", api())
        .merge(pages::routes())
        .route("/health", get(credits::health))
        .route("/jobs/count", get(credits::jobs_count))
        .route("/static/{version}/{name}", get(assets::asset))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn(origin::check))
        .layer(from_fn_with_state(site.clone(), pages::show_errors))
        .layer(map_response(add_headers))
        .with_state(site)
}

fn api() -> Router<Site> {
    Router::new()
        .route("/register", post(accounts::register))
        .route("/login", post(accounts::log_in))
        .route("/logout", post(accounts::log_out))
        .route("/me", get(accounts::me))
        .route("/quote", post(jobs::quote))
        .route("/jobs", get(jobs::list).post(jobs::submit))
        .route("/jobs/{id}", get(jobs::one))
        .route("/jobs/{id}/tasks", get(jobs::tasks))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/outputs", get(files::list))
        .route("/jobs/{id}/outputs/{index}/{*path}", get(files::download))
        .route("/jobs/{id}/logs", get(logs::logs))
        .route("/jobs/{id}/lock", get(files::lock))
        .route("/workers", get(workers::list))
        .route("/workers/approve", post(workers::approve))
        .route("/workers/{id}", delete(workers::remove))
        .route("/credits", get(credits::credits))
        .route("/credits/transfers", get(credits::transfers))
        .route("/leaderboard", get(credits::leaderboard))
        .route("/stats", get(credits::stats))
        .route("/events", get(events::events))
}

async fn not_found(uri: Uri) -> Response {
    answer(&uri, WebError::NotFound)
}

async fn method_not_allowed(uri: Uri) -> Response {
    answer(&uri, WebError::MethodNotAllowed)
}

/// Programs get JSON, people a page.
fn answer(uri: &Uri, error: WebError) -> Response {
    if uri.path().starts_with("/api/") {
        error.into_response()
    } else {
        PageError::from(error).into_response()
    }
}

async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
