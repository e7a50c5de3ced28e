//! The list of one's own jobs; for operators, of all jobs.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest;

use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::extract::Params;
use crate::web::jobs::{Part, read_list};
use crate::web::words::{self, Moment};

/// A job as a row of a table.
#[derive(Debug)]
pub(super) struct JobRow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
    pub(super) tasks: u32,
    pub(super) ended: u32,
    pub(super) submitted: Moment,
    /// What it was charged, or what is held for it while it is under way.
    pub(super) cost: String,
}

impl JobRow {
    pub(super) fn new(job: &rest::Job, now: Timestamp) -> Self {
        let open = job.ended_at_ms.is_none();
        let cost = if open { job.held_micros } else { job.charged_micros };
        Self {
            id: job.job,
            name: job.name.clone(),
            owner: job.owner.clone(),
            kind: words::kind(job.kind),
            state: words::state(job.state),
            tasks: job.tasks,
            ended: job.succeeded + job.failed + job.cancelled,
            submitted: Moment::new(job.submitted_at_ms, now),
            cost: words::credits(cost),
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "jobs.html")]
pub(in crate::web) struct JobsPage {
    frame: Frame,
    jobs: Vec<JobRow>,
    everyone: bool,
    next: Option<u64>,
    /// This page's own address, to fetch it again.
    address: String,
}

/// `GET /jobs`.
pub(in crate::web) async fn jobs(
    State(site): State<Site>,
    visitor: Visitor,
    Params(part): Params<Part>,
) -> Result<JobsPage, PageError> {
    let frame = visitor.frame.following_grid(&site); // Before reading: nothing after it is missed.
    let page = read_list(&site, visitor.login.viewer(), part).await?;
    let now = site.clock.now();
    let everyone = part.everyone && visitor.login.is_operator();
    let mut address = format!("/jobs?everyone={everyone}");
    if let Some(before) = part.before {
        address.push_str(&format!("&before={before}"));
    }
    let jobs = page.items.iter().map(|job| JobRow::new(job, now)).collect();
    Ok(JobsPage { frame, jobs, everyone, next: page.next, address })
}
