//! Bids: those on a job, one's own, placing and withdrawing one, accepting one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_core::effect::Refusal;
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::rest::market::{Accept, Bid, BidState, JobBids, PlaceBid};
use campusgrid_protocol::rest::{ErrorBody, Page};

use super::offer::{Wanted, describe};
use crate::engine::handle::AskError;
use crate::store::read::Viewer;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named, Params};
use crate::web::jobs::submit::counted;
use crate::web::jobs::{Part, is_full, read_one};

/// List a job's bids
///
/// All of them for its submitter and operators, who see no price of others while it is sold by rule and
/// open; their own for everybody else. Each with its machine as it stands now.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/bids", tag = "market",
    responses((status = 200, body = JobBids)))]
pub(in crate::web) async fn of_job(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
) -> Result<Json<JobBids>, WebError> {
    Ok(Json(read_bids(&site, &login, job).await?))
}

/// Bid on a job
///
/// For one of one's machines that could run it when idle. It takes the place of the machine's bid that
/// stands.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/bids", tag = "market", request_body = PlaceBid,
    responses((status = 201, body = JobBids), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn place(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Body(body): Body<PlaceBid>,
) -> Result<(StatusCode, Json<JobBids>), WebError> {
    Ok((StatusCode::CREATED, Json(place_bid(&site, &login, job, body).await?)))
}

/// Withdraw a bid
///
/// Of one's machine, as long as it stands.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}/bids/{worker}", tag = "market",
    responses((status = 204, description = "It stands no longer."), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn withdraw(
    State(site): State<Site>,
    login: Login,
    Named((job, worker)): Named<(JobId, WorkerId)>,
) -> Result<StatusCode, WebError> {
    withdraw_bid(&site, &login, job, worker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accept a bid
///
/// Its price is held, the job starts on its machine, and the other bids are refused, all at once. If the
/// bid has another price by now, nothing happens. Accepting again what is accepted changes nothing.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/accept", tag = "market", request_body = Accept,
    responses(
        (status = 200, body = JobBids),
        (status = 402, body = ErrorBody),
        (status = 409, body = ErrorBody)
    ))]
pub(in crate::web) async fn accept(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Body(body): Body<Accept>,
) -> Result<Json<JobBids>, WebError> {
    Ok(Json(accept_bid(&site, &login, job, body).await?))
}

/// List one's bids
///
/// Those of one's machines, newest first, and what has become of them.
#[utoipa::path(get, path = "/api/v1/market/bids", tag = "market", params(Part),
    responses((status = 200, body = Page<Bid>)))]
pub(in crate::web) async fn own(
    State(site): State<Site>,
    login: Login,
    Params(part): Params<Part>,
) -> Result<Json<Page<Bid>>, WebError> {
    Ok(Json(read_own_bids(&site, &login, part).await?))
}

/// The bids on a job that this user may see.
///
/// # Errors
///
/// `NotFound` for a job that is not on the market, or no longer for everybody; `Read`.
pub(in crate::web) async fn read_bids(
    site: &Site,
    login: &Login,
    job: JobId,
) -> Result<JobBids, WebError> {
    let viewer = login.viewer();
    let read = site.readers.read(move |reader| {
        let Some(market) = reader.market(viewer, job)? else { return Ok(None) };
        let Some(bids) = reader.bids(viewer, job)? else { return Ok(None) };
        Ok(Some((market, bids, reader.market_job(job)?)))
    });
    let (market, bids, about) = read.await?.ok_or(WebError::NotFound)?;
    let about = about.ok_or(WebError::NotFound)?;
    let snapshot = site.engine.snapshot();
    let wanted = Wanted {
        shape: Some(snapshot.shape(about.owner, &about.spec)),
        limit_ms: u64::from(about.spec.time_limit_s) * 1000,
        open: market.open,
    };
    let mut bids: Vec<Bid> =
        bids.into_iter().map(|bid| describe(site, &snapshot, login, bid, &wanted)).collect();
    bids.sort_by_key(|bid| {
        let is_over = bid.state != BidState::Open;
        let by_price = bid.price_micros.filter(|_| !is_over).unwrap_or(i64::MAX);
        (is_over, by_price, std::cmp::Reverse(bid.at_ms))
    });
    Ok(JobBids { job: job.0, name: about.name, own: about.owner == login.id(), market, bids })
}

/// A part of the bids of one's machines, newest first.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn read_own_bids(
    site: &Site,
    login: &Login,
    part: Part,
) -> Result<Page<Bid>, WebError> {
    let (user, limit) = (login.id(), part.limit());
    let bids = site.readers.read(move |reader| reader.bids_of(user, part.before, limit)).await?;
    let next = bids.last().filter(|_| is_full(&bids, limit)).map(|bid| bid.id);
    let snapshot = site.engine.snapshot();
    let wanted = Wanted { shape: None, limit_ms: 0, open: false };
    let items = bids.into_iter().map(|bid| describe(site, &snapshot, login, bid, &wanted));
    Ok(Page { items: items.collect(), next })
}

/// Places a bid for a machine of this user's.
///
/// # Errors
///
/// `Fields`; `NotFound` for a machine of somebody else's, or no job that is known to be on the market;
/// `TooManyAttempts`; `Ask` if it is refused; `Read`.
pub(in crate::web) async fn place_bid(
    site: &Site,
    login: &Login,
    job: JobId,
    body: PlaceBid,
) -> Result<JobBids, WebError> {
    check_market(site, login.viewer(), job).await?;
    body.check().map_err(WebError::Fields)?;
    let (worker, price) = (WorkerId(body.worker), Micros(body.price_micros));
    let bid = site.engine.bid(login.id(), job, worker, price, body.start_within_s);
    counted(site, login, 0, async { Ok(bid.await?) }).await?;
    tracing::info!(job.id = job.0, worker.id = worker.0, "a bid was placed");
    read_bids(site, login, job).await
}

/// Withdraws the bid of a machine of this user's.
///
/// # Errors
///
/// `NotFound`; `Ask`, with `BidGone` if none stands.
pub(in crate::web) async fn withdraw_bid(
    site: &Site,
    login: &Login,
    job: JobId,
    worker: WorkerId,
) -> Result<(), WebError> {
    check_market(site, login.viewer(), job).await?;
    site.engine.withdraw_bid(login.id(), job, worker).await?;
    tracing::info!(job.id = job.0, worker.id = worker.0, "a bid was withdrawn");
    Ok(())
}

/// Accepts a bid on a job of this user's.
///
/// # Errors
///
/// `NotFound`; `Ask`, with `BidGone` if it is another by now, `MachineBusy`, `Insufficient` or `NotOpen`;
/// `Read`.
pub(in crate::web) async fn accept_bid(
    site: &Site,
    login: &Login,
    job: JobId,
    body: Accept,
) -> Result<JobBids, WebError> {
    read_one(site, login.as_owner(), job).await?; // How others' jobs stand is not told.
    let worker = WorkerId(body.worker);
    if body.price_micros < 0 {
        return Err(AskError::Refused(Refusal::BidGone).into());
    }
    let accepted = site.engine.accept(login.id(), job, worker, Micros(body.price_micros)).await;
    if let Err(error) = accepted {
        // Whoever has not heard the answer asks again.
        return read_bids(site, login, job).await.and_then(|bids| {
            let award = bids.market.award.as_ref();
            let is_it = award.is_some_and(|award| {
                (award.worker, award.price_micros) == (body.worker, body.price_micros)
            });
            if is_it { Ok(bids) } else { Err(error.into()) }
        });
    }
    tracing::info!(job.id = job.0, worker.id = worker.0, "a bid was accepted");
    site.engine.shown().await; // Who looks next sees the machine busy.
    read_bids(site, login, job).await
}

/// Whether somebody may know that a job is on the market, or was: what has become of others' jobs is not
/// told.
async fn check_market(site: &Site, viewer: Viewer, job: JobId) -> Result<(), WebError> {
    let market = site.readers.read(move |reader| reader.market(viewer, job)).await?;
    market.map(drop).ok_or(WebError::NotFound)
}
