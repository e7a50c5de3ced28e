//! Credits, the leaderboard and the figures of the grid.

use axum::Json;
use axum::extract::State;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::rest::operate::{JobsCount, Stats};
use campusgrid_protocol::rest::{self, Credits, Leader, Page};

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::Params;
use super::jobs::{Part, is_full};
use super::workers::silent_ms;

/// Rows of the leaderboard.
pub(super) const LEADERS_MAX: u32 = 100;

/// Says what one has, has earned and has spent.
#[utoipa::path(get, path = "/api/v1/credits", tag = "account",
    responses((status = 200, body = Credits)))]
pub(super) async fn credits(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Credits>, WebError> {
    Ok(Json(read_credits(&site, login.id()).await?))
}

/// Lists the rows of the ledger that concern one, newest first.
#[utoipa::path(get, path = "/api/v1/credits/transfers", tag = "account",
    params(Part), responses((status = 200, body = Page<rest::Transfer>)))]
pub(super) async fn transfers(
    State(site): State<Site>,
    login: Login,
    Params(part): Params<Part>,
) -> Result<Json<Page<rest::Transfer>>, WebError> {
    Ok(Json(read_transfers(&site, &login, part).await?))
}

/// Lists those who have shared most.
#[utoipa::path(get, path = "/api/v1/leaderboard", tag = "grid",
    responses((status = 200, body = Vec<Leader>)))]
pub(super) async fn leaderboard(
    State(site): State<Site>,
    _login: Login,
) -> Result<Json<Vec<Leader>>, WebError> {
    Ok(Json(site.readers.read(|reader| reader.leaderboard(LEADERS_MAX)).await?))
}

/// Counts machines, tasks and users.
#[utoipa::path(get, path = "/api/v1/stats", tag = "grid",
    responses((status = 200, body = Stats)))]
pub(super) async fn stats(
    State(site): State<Site>,
    _login: Login,
) -> Result<Json<Stats>, WebError> {
    Ok(Json(read_stats(&site).await?))
}

/// Counts the jobs that were ever submitted.
#[utoipa::path(get, path = "/jobs/count", tag = "grid",
    responses((status = 200, body = JobsCount)))]
pub(super) async fn jobs_count(State(site): State<Site>) -> Result<Json<JobsCount>, WebError> {
    let (num_jobs, _) = site.readers.read(|reader| reader.counts()).await?;
    Ok(Json(JobsCount { num_jobs }))
}

/// A user's account.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_credits(site: &Site, user: UserId) -> Result<Credits, WebError> {
    let rate_permille = site.engine.snapshot().rate_permille;
    Ok(site.readers.read(move |reader| reader.credits(user, rate_permille)).await?)
}

/// A part of the ledger's rows that concern a user, newest first.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_transfers(
    site: &Site,
    login: &Login,
    part: Part,
) -> Result<Page<rest::Transfer>, WebError> {
    let (user, limit) = (login.id(), part.limit());
    let read = site.readers.read(move |reader| reader.transfers(user, part.before, limit));
    let items = read.await?;
    let next = items.last().filter(|_| is_full(&items, limit)).map(|row| row.transfer);
    Ok(Page { items, next })
}

/// The grid in figures.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_stats(site: &Site) -> Result<Stats, WebError> {
    let (_, tasks_ended) = site.readers.read(|reader| reader.counts()).await?;
    let snapshot = site.engine.snapshot();
    let mut stats = Stats {
        workers_online: 0,
        cpu_millis: 0,
        cpu_free_millis: 0,
        gpus: 0,
        gpus_free: 0,
        tasks_queued: snapshot.tasks_queued,
        tasks_running: snapshot.tasks_running,
        tasks_ended,
        users: snapshot.users,
    };
    let links = snapshot.workers.iter().filter_map(|worker| worker.link.as_ref());
    for link in links.filter(|link| silent_ms(site, link).is_none()) {
        stats.workers_online += 1;
        stats.cpu_millis += link.capacity.cpu_millis;
        stats.gpus += count(link.capacity.gpus.len());
        if link.is_open {
            stats.cpu_free_millis += link.free.cpu_millis;
            stats.gpus_free += count(link.free.gpus.len());
        }
    }
    Ok(stats)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
