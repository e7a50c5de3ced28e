//! The market: jobs that take bids, and what work costs. Bids are in `bids`.

pub(super) mod bids;
mod offer;
pub(super) mod prices;

use axum::Json;
use axum::extract::State;
use campusgrid_core::money::Micros;
use campusgrid_core::pricing::quote;
use campusgrid_core::snapshot::{Shape, Snapshot, WorkerView};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::Page;
use campusgrid_protocol::rest::market::{OpenJob, OwnMachine, SoldBy};
use campusgrid_protocol::terms::Sale;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::Params;
use super::jobs::{Part, is_full};
use crate::store::read_market::StoredOpenJob;

/// Pages of open jobs that are looked through for those that fit one's machines.
const PAGES_MAX: u32 = 5;

/// Which open jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OpenPart {
    /// Jobs with a number below this: `next` of the page before.
    before: Option<u64>,
    /// At most so many rows, 1 to 200; 50 if absent.
    limit: Option<u32>,
    /// Only those that one of one's own machines could run.
    #[serde(default)]
    fits: bool,
}

/// List open jobs
///
/// All that take bids, newest first, with one's own machines that could run each.
#[utoipa::path(get, path = "/api/v1/market/jobs", tag = "market", params(OpenPart),
    responses((status = 200, body = Page<OpenJob>)))]
pub(super) async fn list(
    State(site): State<Site>,
    login: Login,
    Params(OpenPart { before, limit, fits }): Params<OpenPart>,
) -> Result<Json<Page<OpenJob>>, WebError> {
    let limit = Part { before, limit }.limit();
    Ok(Json(read_open_jobs(&site, &login, before, limit, fits).await?))
}

/// A part of the jobs that take bids, newest first; with `fits`, only those that one of the viewer's
/// machines could run, of which a page may have fewer than there are.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_open_jobs(
    site: &Site,
    login: &Login,
    before: Option<u64>,
    limit: u32,
    fits: bool,
) -> Result<Page<OpenJob>, WebError> {
    let (viewer, mut before) = (login.viewer(), before);
    let snapshot = site.engine.snapshot();
    let eyes = Eyes::of(login, &snapshot);
    let mut items = Vec::new();
    let mut next = None;
    for _ in 0..PAGES_MAX {
        let read = site.readers.read(move |reader| reader.open_jobs(viewer, before, limit));
        let stored = read.await?;
        next = stored.last().filter(|_| is_full(&stored, limit)).map(|job| job.job.0);
        let described = stored.into_iter().map(|job| describe(&eyes, job));
        items.extend(described.filter(|job| !fits || !job.machines.is_empty()));
        if !fits || next.is_none() || is_full(&items, limit) {
            break;
        }
        before = next;
    }
    if items.len() > limit as usize {
        items.truncate(limit as usize);
        next = items.last().map(|job| job.job);
    }
    Ok(Page { items, next })
}

/// A job that takes bids, as its row in the list.
///
/// # Errors
///
/// `NotFound` once it takes none; `Read`.
pub(super) async fn read_open_job(
    site: &Site,
    login: &Login,
    job: JobId,
) -> Result<OpenJob, WebError> {
    let viewer = login.viewer();
    let stored = site.readers.read(move |reader| reader.open_job(viewer, job)).await?;
    let stored = stored.ok_or(WebError::NotFound)?;
    Ok(describe(&Eyes::of(login, &site.engine.snapshot()), stored))
}

/// Who looks, and at what.
struct Eyes<'a> {
    login: &'a Login,
    snapshot: &'a Snapshot,
    /// Their machines.
    own: Vec<&'a WorkerView>,
}

impl<'a> Eyes<'a> {
    fn of(login: &'a Login, snapshot: &'a Snapshot) -> Self {
        let own = snapshot.workers.iter().filter(|view| view.owner == login.id()).collect();
        Self { login, snapshot, own }
    }
}

fn describe(eyes: &Eyes<'_>, job: StoredOpenJob) -> OpenJob {
    let Eyes { login, snapshot, own } = eyes;
    let limit_ms = u64::from(job.time_limit_s) * 1000;
    let rate_permille = job.rate_permille;
    let (sold_by, max_price_micros) = match job.sale {
        Sale::Rule { max_price_micros, .. } => (SoldBy::Rule, Some(max_price_micros)),
        Sale::Hand | Sale::Formula => (SoldBy::Hand, None),
    };
    let mut machines = Vec::new();
    if !job.own {
        // Whatever a machine asks, its owner may bid less.
        let shape = snapshot.shape(job.owner, &job.spec);
        let shape = Shape { budget: Micros(i64::MAX), ..shape };
        let able = own.iter().filter(|view| view.could_run(&shape, &job.submitter));
        machines.extend(able.map(|view| {
            let prices = view.ask.prices.unwrap_or(snapshot.prices);
            let ask = quote(&prices, &job.needs, limit_ms, rate_permille);
            OwnMachine { worker: view.id.0, name: view.name.clone(), ask_micros: ask.0 }
        }));
    }
    // What a submitter would pay at most is theirs to know: bidders name what it is worth to them.
    let may_see = job.own || login.is_operator();
    OpenJob {
        job: job.job.0,
        name: job.name,
        submitter: job.submitter,
        own: job.own,
        kind: job.kind,
        needs: job.needs,
        time_limit_s: job.time_limit_s,
        labels: job.labels,
        image: job.image,
        isolation: job.isolation,
        sold_by,
        max_price_micros: max_price_micros.filter(|_| may_see),
        submitted_at_ms: job.submitted_at.0,
        closes_at_ms: job.closes_at.map(|at| at.0),
        round: job.round,
        bids: job.bids,
        formula_micros: quote(&snapshot.prices, &job.needs, limit_ms, rate_permille).0,
        machines,
    }
}
