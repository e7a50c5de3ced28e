//! The market: jobs that take bids, one's own bids, the bids on one's own jobs, and prices.

pub(in crate::web) mod bidding;
pub(in crate::web) mod bids;
mod chart;
pub(in crate::web) mod prices;
pub(super) mod row;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{JobState, Page};
use serde::Deserialize;

use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::Params;
use crate::web::jobs::{JobPart, read_list};
use crate::web::market::{read_open_job, read_open_jobs};
use row::OpenRow;

/// Open jobs on one page.
const PAGE: u32 = 30;

/// Own jobs among which those that take bids are looked for.
const OWN_JOBS: u32 = 200;

#[derive(Template, WebTemplate)]
#[template(path = "market/jobs.html")]
pub(in crate::web) struct OpenJobsPage {
    frame: Frame,
    jobs: Vec<OpenRow>,
    /// Whether only those are shown that a machine of the visitor's could run.
    fits: bool,
    next: Option<u64>,
    notice: &'static str,
    address: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "market/mine.html")]
pub(in crate::web) struct MinePage {
    frame: Frame,
    jobs: Vec<OpenRow>,
    address: &'static str,
}

/// Which open jobs, as the page's form asks for them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    before: Option<u64>,
    fits: Option<bool>,
    done: String,
}

/// `GET /market`. Whoever shares a machine sees what it could run first.
pub(in crate::web) async fn open_jobs(
    State(site): State<Site>,
    visitor: Visitor,
    Params(wanted): Params<Wanted>,
) -> Result<OpenJobsPage, PageError> {
    let frame = visitor.frame.clone().following_grid(&site); // Before reading.
    let owner = visitor.login.id();
    let shares = || site.engine.snapshot().workers.iter().any(|view| view.owner == owner);
    let fits = wanted.fits.unwrap_or_else(shares);
    let Page { items, next } =
        read_open_jobs(&site, &visitor.login, wanted.before, PAGE, fits).await?;
    let now = site.clock.now();
    let before = wanted.before.map(|before| format!("&before={before}")).unwrap_or_default();
    Ok(OpenJobsPage {
        frame,
        jobs: items.iter().map(|job| OpenRow::new(job, now)).collect(),
        fits,
        next,
        notice: match wanted.done.as_str() {
            "closed" => "That job takes no bids any more.",
            _ => "",
        },
        address: format!("/market?fits={fits}{before}"),
    })
}

/// `GET /market/mine`.
pub(in crate::web) async fn mine(
    State(site): State<Site>,
    visitor: Visitor,
) -> Result<MinePage, PageError> {
    let frame = visitor.frame.clone().following_grid(&site); // Before reading.
    let part =
        JobPart { state: Some("queued".to_owned()), limit: Some(OWN_JOBS), ..JobPart::default() };
    let queued = read_list(&site, visitor.login.viewer(), part).await?;
    let mut jobs = Vec::new();
    for job in queued.items.iter().filter(|job| job.takes_bids && job.state == JobState::Queued) {
        match read_open_job(&site, &visitor.login, JobId(job.job)).await {
            Ok(open) => jobs.push(OpenRow::new(&open, site.clock.now())),
            Err(WebError::NotFound) => {} // It has just ceased to take bids.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(MinePage { frame, jobs, address: "/market/mine" })
}
