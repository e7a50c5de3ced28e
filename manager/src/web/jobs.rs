//! Jobs as they stand: a list of them, one of them, its tasks; waiting for a job's end.

pub(super) mod chain;
pub(super) mod change;
pub(super) mod launch;
pub(super) mod lines;
pub(super) mod quote;
pub(super) mod receipt;
pub(super) mod submit;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::arrays::TaskMap;
use campusgrid_protocol::rest::{self, JobDetail, JobState, Page, TaskState, WorkKind};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::etag;
use super::extract::{Named, Params};
use super::words;
use crate::store::read::{JobFilter, TaskFilter, Viewer};

/// Rows of a list, unless asked for fewer or more.
const LIMIT_DEFAULT: u32 = 50;
/// Most rows of a list.
const LIMIT_MAX: u32 = 200;
/// Longest wait for a job's end. Milliseconds.
const WAIT_MAX_MS: u64 = 60_000;
/// Cells of a map, unless asked for fewer or more.
const CELLS_DEFAULT: u32 = 1000;
/// Most cells of a map.
const CELLS_MAX: u32 = 10_000;

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Rows with a number below this: `next` of the page before.
    pub(super) before: Option<u64>,
    /// At most so many rows, 1 to 200; 50 if absent.
    pub(super) limit: Option<u32>,
}

impl Part {
    pub(super) fn limit(&self) -> u32 {
        bounded(self.limit)
    }
}

/// Which jobs.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobPart {
    /// Jobs with a number below this: `next` of the page before.
    pub(super) before: Option<u64>,
    /// At most so many rows, 1 to 200; 50 if absent.
    pub(super) limit: Option<u32>,
    /// For operators: jobs of all users.
    #[serde(default)]
    pub(super) everyone: bool,
    /// In one of these states, separated by commas, such as `queued,running`.
    pub(super) state: Option<String>,
    /// Of this kind.
    #[param(inline)]
    pub(super) kind: Option<WorkKind>,
    /// With this as a part of their names, in whatever case.
    pub(super) name: Option<String>,
}

impl JobPart {
    /// The newest of the viewer's own.
    pub(super) fn first(limit: u32) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }
}

/// How long to wait for an answer.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Answer when the job has ended, or after so many milliseconds (60,000 at most).
    #[serde(default)]
    wait_ms: u64,
}

/// Which tasks of a job.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TaskPart {
    /// Tasks from this index on: `next` of the page before.
    #[serde(default)]
    pub(super) from: u32,
    /// At most so many rows, 1 to 200; 50 if absent.
    pub(super) limit: Option<u32>,
    /// In this state; if absent, tasks that have begun.
    #[param(inline)]
    pub(super) state: Option<TaskState>,
}

/// How coarse a map is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Cells {
    /// At most so many cells, 1 to 10,000; 1,000 if absent.
    cells: Option<u32>,
}

/// List jobs
///
/// Newest first, one's own; drafts are among them.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobPart),
    responses((status = 200, body = Page<rest::Job>)))]
pub(super) async fn list(
    State(site): State<Site>,
    login: Login,
    Params(part): Params<JobPart>,
) -> Result<Json<Page<rest::Job>>, WebError> {
    Ok(Json(read_list(&site, login.viewer(), part).await?))
}

/// Show a job
///
/// With all that it asks for, why what waits of it does so, and its first tasks.
/// `wait_ms` makes it a long poll for the job's end.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(Wait, ("If-None-Match" = Option<String>, Header, description = "`ETag` of an answer before.")),
    responses(
        (status = 200, body = JobDetail, headers(("ETag" = String, description = "Changes with the answer."))),
        (status = 304, description = "It is as it was.")
    ))]
pub(super) async fn one(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(wait): Params<Wait>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let until = Instant::now() + Duration::from_millis(wait.wait_ms.min(WAIT_MAX_MS));
    let mut events = site.engine.events();
    loop {
        events.mark_unchanged(); // Before reading, so that what is committed meanwhile wakes us.
        let detail = read_one(&site, login.viewer(), job).await?;
        let left = until.saturating_duration_since(Instant::now());
        if detail.job.ended_at_ms.is_some() || left.is_zero() {
            return Ok(etag::json(&headers, &detail));
        }
        tokio::select! {
            biased;
            () = site.shutdown.cancelled() => return Ok(etag::json(&headers, &detail)),
            risen = tokio::time::timeout(left, events.changed()) => {
                let Ok(Ok(())) = risen else { return Ok(etag::json(&headers, &detail)) };
            }
        }
    }
}

/// List a job's tasks
///
/// In the order of their indices: those that have begun, or those in one state.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/tasks", tag = "jobs", params(TaskPart),
    responses((status = 200, body = Page<rest::Task>)))]
pub(super) async fn tasks(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(part): Params<TaskPart>,
) -> Result<Json<Page<rest::Task>>, WebError> {
    Ok(Json(read_tasks(&site, login.viewer(), job, part).await?))
}

/// Map a job's tasks
///
/// All of them in a few cells, however many there are: what a heat map is drawn from.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/map", tag = "jobs", params(Cells),
    responses((status = 200, body = TaskMap)))]
pub(super) async fn map(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(Cells { cells }): Params<Cells>,
) -> Result<Json<TaskMap>, WebError> {
    let cells = cells.unwrap_or(CELLS_DEFAULT).clamp(1, CELLS_MAX);
    Ok(Json(read_map(&site, login.viewer(), job, cells).await?))
}

/// A part of the list of jobs, newest first.
///
/// # Errors
///
/// `Query` for a state that is none; `Read`.
pub(super) async fn read_list(
    site: &Site,
    viewer: Viewer,
    part: JobPart,
) -> Result<Page<rest::Job>, WebError> {
    let limit = bounded(part.limit);
    let states = part.state.as_deref().map(states).transpose()?.unwrap_or_default();
    let JobPart { before, everyone, kind, name, .. } = part;
    let filter = JobFilter { everyone, before, limit, states, kind, name };
    let items = site.readers.read(move |reader| reader.jobs(viewer, &filter)).await?;
    let next = items.last().filter(|_| is_full(&items, limit)).map(|job| job.job);
    Ok(Page { items, next })
}

/// The states in a list of them.
fn states(text: &str) -> Result<Vec<JobState>, WebError> {
    let all = [
        ("draft", JobState::Draft),
        ("queued", JobState::Queued),
        ("running", JobState::Running),
        ("succeeded", JobState::Succeeded),
        ("failed", JobState::Failed),
        ("cancelled", JobState::Cancelled),
    ];
    let state = |word: &str| {
        let found = all.iter().find(|(name, _)| *name == word).map(|(_, state)| *state);
        found.ok_or_else(|| {
            let names = all.map(|(name, _)| name).join(", ");
            WebError::Query(format!("state must be some of {names}, separated by commas"))
        })
    };
    text.split(',').map(|word| state(word.trim())).collect()
}

/// A job as it stands, and why what waits of it does so.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn read_one(
    site: &Site,
    viewer: Viewer,
    job: JobId,
) -> Result<JobDetail, WebError> {
    let stored = site.readers.read(move |reader| reader.job(viewer, job)).await?;
    let mut stored = stored.ok_or(WebError::NotFound)?;
    if stored.detail.job.queued > 0 && stored.detail.job.state != JobState::Draft {
        let snapshot = site.engine.snapshot();
        stored.detail.waiting = snapshot.why(job, stored.owner, &stored.spec);
        let award = stored.detail.market.as_ref().and_then(|market| market.award.as_ref());
        if let Some(waiting) = &mut stored.detail.waiting
            && let Some(start_by_ms) = award.and_then(|award| award.start_by_ms)
        {
            let left_ms = start_by_ms.saturating_sub(site.clock.now().0);
            let left = words::span(left_ms.div_ceil(1000) * 1000);
            waiting.push_str(&format!("; if it has not started in {left}, it takes bids again"));
        }
    }
    Ok(stored.detail)
}

/// A part of the tasks of a job, by index.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn read_tasks(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    part: TaskPart,
) -> Result<Page<rest::Task>, WebError> {
    let limit = bounded(part.limit);
    let filter = TaskFilter { from: part.from, limit, state: part.state };
    let items = site.readers.read(move |reader| reader.tasks(viewer, job, filter)).await?;
    let items = items.ok_or(WebError::NotFound)?;
    let next = items.last().filter(|_| is_full(&items, limit));
    let next = next.map(|task| u64::from(task.index) + 1);
    Ok(Page { items, next })
}

/// The tasks of a job in at most so many cells.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn read_map(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    cells: u32,
) -> Result<TaskMap, WebError> {
    let map = site.readers.read(move |reader| reader.task_map(viewer, job, cells)).await?;
    map.ok_or(WebError::NotFound)
}

fn bounded(limit: Option<u32>) -> u32 {
    limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}

/// Whether a list has as many rows as were asked for, so that there may be more.
pub(super) fn is_full<T>(items: &[T], limit: u32) -> bool {
    items.len() >= limit as usize
}
