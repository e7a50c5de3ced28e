//! The list of one's own jobs; for operators, of all jobs.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::Redirect;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::{self, JobState};
use serde::Deserialize;

use super::account::encode;
use super::form::SignedForm;
use super::{Frame, PageError, Visitor};
use crate::web::Site;
use crate::web::extract::Params;
use crate::web::jobs::change::cancel_everything;
use crate::web::jobs::{JobPart, read_list};
use crate::web::words::{self, Moment};

/// A job as a row of a table.
#[derive(Debug)]
pub(super) struct JobRow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
    pub(super) is_draft: bool,
    pub(super) on_hold: bool,
    pub(super) takes_bids: bool,
    pub(super) tasks: u32,
    pub(super) ended: u32,
    pub(super) failed: u32,
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
            name: words::visible(&job.name),
            owner: job.owner.clone(),
            kind: words::kind(job.kind),
            state: words::state(job.state),
            is_draft: job.state == JobState::Draft,
            on_hold: job.on_hold,
            takes_bids: job.takes_bids,
            tasks: job.tasks,
            ended: job.succeeded + job.failed + job.cancelled,
            failed: job.failed,
            submitted: Moment::new(job.submitted_at_ms, now),
            cost: words::credits(cost),
        }
    }
}

/// The states to choose from: as addresses write them, and in words.
const STATES: [(&str, &str); 8] = [
    ("", "all"),
    ("draft", "drafts"),
    ("queued,running", "under way"),
    ("queued", "queued"),
    ("running", "running"),
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
];

#[derive(Template, WebTemplate)]
#[template(path = "jobs.html")]
pub(in crate::web) struct JobsPage {
    frame: Frame,
    jobs: Vec<JobRow>,
    everyone: bool,
    state: String,
    name: String,
    /// What was done just before; empty if nothing was.
    notice: String,
    /// Where the page after this one is, if there is one.
    next: Option<String>,
    /// This page's own address, to fetch it again.
    address: String,
}

impl JobsPage {
    fn is_filtered(&self) -> bool {
        !(self.state.is_empty() && self.name.is_empty())
    }
}

/// Which jobs, as the page's form asks for them: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Wanted {
    before: Option<u64>,
    everyone: bool,
    state: String,
    name: String,
    /// How many jobs were cancelled just before.
    cancelled: Option<u32>,
}

impl Wanted {
    fn address(&self) -> String {
        let Self { everyone, state, name, .. } = self;
        let (state, name) = (encode(state), encode(name));
        format!("/jobs?everyone={everyone}&state={state}&name={name}")
    }
}

/// `GET /jobs`.
pub(in crate::web) async fn jobs(
    State(site): State<Site>,
    visitor: Visitor,
    Params(mut wanted): Params<Wanted>,
) -> Result<JobsPage, PageError> {
    let frame = visitor.frame.following_grid(&site); // Before reading: nothing after it is missed.
    wanted.everyone &= visitor.login.is_operator();
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let part = JobPart {
        before: wanted.before,
        everyone: wanted.everyone,
        state: given(&wanted.state),
        name: given(&wanted.name),
        ..JobPart::default()
    };
    let page = read_list(&site, visitor.login.viewer(), part).await?;
    let now = site.clock.now();
    let here = wanted.before.map(|before| format!("&before={before}")).unwrap_or_default();
    let cancelled =
        |jobs: u32| format!("Cancelled {}.", words::counted(jobs.into(), "job", "jobs"));
    Ok(JobsPage {
        frame,
        jobs: page.items.iter().map(|job| JobRow::new(job, now)).collect(),
        next: page.next.map(|next| format!("{}&before={next}", wanted.address())),
        address: wanted.address() + &here,
        everyone: wanted.everyone,
        notice: wanted.cancelled.map(cancelled).unwrap_or_default(),
        state: wanted.state,
        name: wanted.name,
    })
}

/// `POST /jobs/cancel`: all of one's own jobs that have not ended, after the page has asked again.
pub(in crate::web) async fn cancel_all(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    let jobs = cancel_everything(&site, &form.visitor.login).await?;
    Ok(Redirect::to(&format!("/jobs?cancelled={jobs}")))
}
