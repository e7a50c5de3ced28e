//! The standing price of one's own machine.

use axum::Json;
use axum::extract::State;
use campusgrid_core::ask;
use campusgrid_core::snapshot::{Snapshot, Stalled};
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::market::Ask;

use super::{check_owner, own_view};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named};
use crate::web::jobs::submit::counted;
use crate::web::market::prices::{prices_of, terms_of};
use crate::web::throttle::{JOB_BYTES, SUBMITTED_MAX_BYTES};

/// Show a machine's price
///
/// That of the grid's formula, if it has none of its own. For its owner and operators: with it they may
/// bid on jobs whose bids are sealed.
#[utoipa::path(get, path = "/api/v1/workers/{id}/ask", tag = "workers",
    responses((status = 200, body = Ask)))]
pub(in crate::web) async fn show(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
) -> Result<Json<Ask>, WebError> {
    let snapshot = site.engine.snapshot();
    Ok(Json(told(&own_view(&snapshot, &login, worker)?.ask)))
}

/// Set a machine's price
///
/// From now on; what was agreed before stays. A machine that asks for more than the formula comes to
/// gets only jobs that it wins by bids.
#[utoipa::path(put, path = "/api/v1/workers/{id}/ask", tag = "workers", request_body = Ask,
    responses((status = 200, body = Ask)))]
pub(in crate::web) async fn replace(
    State(site): State<Site>,
    login: Login,
    Named(worker): Named<WorkerId>,
    Body(body): Body<Ask>,
) -> Result<Json<Ask>, WebError> {
    Ok(Json(set_ask(&site, &login, worker, body).await?))
}

/// Sets the standing price of a machine; yields it.
///
/// # Errors
///
/// `Fields`; `NotFound`, also for a machine of somebody else's; `TooManyAttempts`, `Ask`.
pub(in crate::web) async fn set_ask(
    site: &Site,
    login: &Login,
    worker: WorkerId,
    body: Ask,
) -> Result<Ask, WebError> {
    check_owner(site, login, worker)?;
    body.check().map_err(WebError::Fields)?;
    let ask = ask::Ask { prices: body.prices.as_ref().map(prices_of), automatic: body.automatic };
    let set = site.engine.set_ask(login.id(), worker, ask);
    // It may bid on each of them, and bids are kept.
    let jobs = if ask.automatic { open_jobs(&site.engine.snapshot()) } else { 0 };
    let bytes = jobs.saturating_mul(JOB_BYTES).min(SUBMITTED_MAX_BYTES);
    counted(site, login, bytes, async { Ok(set.await?) }).await?;
    tracing::info!(worker.id = worker.0, user.id = login.id().0, "a worker's price was set");
    site.engine.shown().await; // Who looks next sees it.
    Ok(body)
}

/// Jobs that take bids.
fn open_jobs(snapshot: &Snapshot) -> u64 {
    let takes_bids =
        |stalled: &&Stalled| matches!(stalled, Stalled::Bids { .. } | Stalled::Closing { .. });
    snapshot.stalled.values().filter(takes_bids).count() as u64
}

/// An ask as it is told.
pub(super) fn told(ask: &ask::Ask) -> Ask {
    Ask { prices: ask.prices.as_ref().map(terms_of), automatic: ask.automatic }
}
