//! Jobs: what one would cost, submitting, looking at, waiting for and cancelling them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use campusgrid_core::effect::Refusal;
use campusgrid_core::pricing::price;
use campusgrid_core::snapshot::Shape;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{
    self, FieldError, JobDetail, Page, Quote, Submit, Submitted, WorkKind,
};
use campusgrid_protocol::task::{Packages, TaskSpec, Work};
use serde::Deserialize;
use tokio::time::Instant;

use super::Site;
use super::auth::Login;
use super::credits::read_credits;
use super::error::WebError;
use super::extract::{Body, Named, Params};
use super::pep723::{self, Header};
use crate::engine::handle::AskError;
use crate::store::read::Viewer;

/// Rows of a list, unless asked for fewer or more.
const LIMIT_DEFAULT: u32 = 50;
/// Most rows of a list.
const LIMIT_MAX: u32 = 200;
/// Longest wait for a job's end. Milliseconds.
const WAIT_MAX_MS: u64 = 60_000;
/// Longest idempotency key. Bytes.
const KEY_MAX_BYTES: usize = 128;

/// Which part of a list.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Rows with an id below this.
    pub(super) before: Option<u64>,
    limit: Option<u32>,
    /// For operators: jobs of all users.
    #[serde(default)]
    pub(super) everyone: bool,
}

impl Part {
    /// The newest rows.
    pub(super) fn first(limit: u32) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
    }
}

/// How long to wait for an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

/// Which tasks of a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskPart {
    /// Tasks from this index on.
    #[serde(default)]
    from: u32,
    limit: Option<u32>,
}

impl TaskPart {
    /// One task only.
    pub(super) fn one(index: u32) -> Self {
        Self { from: index, limit: Some(1) }
    }
}

/// `POST quote`.
pub(super) async fn quote(
    State(site): State<Site>,
    login: Login,
    Body(body): Body<Submit>,
) -> Result<Json<Quote>, WebError> {
    Ok(Json(make_quote(&site, &login, body).await?))
}

/// `POST jobs`.
pub(super) async fn submit(
    State(site): State<Site>,
    login: Login,
    headers: HeaderMap,
    Body(body): Body<Submit>,
) -> Result<(StatusCode, Json<Submitted>), WebError> {
    let key = idempotency_key(&headers)?;
    let submitted = make_job(&site, &login, key, body).await?;
    Ok((StatusCode::CREATED, Json(submitted)))
}

/// `GET jobs`.
pub(super) async fn list(
    State(site): State<Site>,
    login: Login,
    Params(part): Params<Part>,
) -> Result<Json<Page<rest::Job>>, WebError> {
    Ok(Json(read_list(&site, login.viewer(), part).await?))
}

/// `GET jobs/{id}`.
pub(super) async fn one(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(wait): Params<Wait>,
) -> Result<Json<JobDetail>, WebError> {
    let until = Instant::now() + Duration::from_millis(wait.wait_ms.min(WAIT_MAX_MS));
    let mut events = site.engine.events();
    loop {
        events.mark_unchanged(); // Before reading, so that what is committed meanwhile wakes us.
        let detail = read_one(&site, login.viewer(), job).await?;
        let left = until.saturating_duration_since(Instant::now());
        if detail.job.ended_at_ms.is_some() || left.is_zero() {
            return Ok(Json(detail));
        }
        tokio::select! {
            biased;
            () = site.shutdown.cancelled() => return Ok(Json(detail)),
            risen = tokio::time::timeout(left, events.changed()) => {
                let Ok(Ok(())) = risen else { return Ok(Json(detail)) };
            }
        }
    }
}

/// `GET jobs/{id}/tasks`.
pub(super) async fn tasks(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(part): Params<TaskPart>,
) -> Result<Json<Page<rest::Task>>, WebError> {
    Ok(Json(read_tasks(&site, login.viewer(), job, part).await?))
}

/// `POST jobs/{id}/cancel`.
pub(super) async fn cancel(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
) -> Result<StatusCode, WebError> {
    cancel_job(&site, &login, job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a job would cost this user, and how many machines could take it.
///
/// # Errors
///
/// `Fields`, `Read`; `Ask` if the price is beyond all numbers.
pub(super) async fn make_quote(
    site: &Site,
    login: &Login,
    body: Submit,
) -> Result<Quote, WebError> {
    let (_, spec) = check(body).map_err(WebError::Fields)?;
    let run_ms = u64::from(spec.time_limit_s) * 1000;
    let task = price(&site.engine.policy().prices, &spec.needs, run_ms);
    let overflow = WebError::Ask(AskError::Refused(Refusal::PriceOverflow));
    let total = task.checked_times(spec.tasks).ok_or(overflow)?;
    let credits = read_credits(site, login.id()).await?;
    let (snapshot, shape) = (site.engine.snapshot(), Shape::of(login.id(), &spec));
    let fit = snapshot.fit(&shape);
    let links = || snapshot.workers.iter().filter_map(|worker| worker.link.as_ref());
    let is_missing = |label: &&String| !links().any(|link| link.offer.has(label));
    Ok(Quote {
        task_micros: task.0,
        total_micros: total.0,
        balance_micros: credits.balance_micros,
        workers_fit: fit.able,
        workers_free: fit.free,
        workers_online: fit.online,
        labels_missing: shape.labels.iter().filter(is_missing).cloned().collect(),
    })
}

/// Submits a job.
///
/// # Errors
///
/// `Fields`; `TooManyAttempts` if the user has just submitted too much; `Ask` if it is refused or the
/// engine is busy.
pub(super) async fn make_job(
    site: &Site,
    login: &Login,
    key: Option<String>,
    body: Submit,
) -> Result<Submitted, WebError> {
    let (user, bytes) = (login.id(), text_bytes(&body));
    let (name, spec) = check(body).map_err(WebError::Fields)?;
    site.guard.submit(site.clock.now(), user, bytes)?;
    let submitted = site.engine.submit(user, key, name, spec).await;
    let (job, held) = submitted.inspect_err(|_| {
        site.guard.not_submitted(site.clock.now(), user, bytes);
    })?;
    Ok(Submitted { job: job.0, held_micros: held.0 })
}

/// What the texts of a request take on the disk, but for those with a small bound. Bytes.
fn text_bytes(body: &Submit) -> u64 {
    let lists = [&body.requirements, &body.flags, &body.labels];
    let listed = lists.into_iter().flatten().map(String::len).sum::<usize>();
    let lock = body.uv_lock.as_ref().map_or(0, String::len);
    (body.source.len() + lock + listed) as u64
}

/// Checks a request and the header of its script, which stands in for packages that it does not
/// name; yields the job's name and what each of its tasks is.
///
/// # Errors
///
/// All fields that are wrong.
pub(super) fn check(body: Submit) -> Result<(String, TaskSpec), Vec<FieldError>> {
    let is_python = body.kind == WorkKind::Python;
    let header = if is_python && body.uv_lock.is_none() && !body.names_packages() {
        pep723::read(&body.source)
    } else {
        Ok(Header::default())
    };
    match (body.check(), header) {
        (Ok((name, mut spec)), Ok(header)) => {
            take_header(&mut spec, header);
            Ok((name, spec))
        }
        (checked, header) => {
            Err([checked.err(), header.err()].into_iter().flatten().flatten().collect())
        }
    }
}

fn take_header(spec: &mut TaskSpec, header: Header) {
    if let Work::Python { packages, .. } = &mut spec.work
        && !header.is_empty()
    {
        let Header { dependencies, requires_python } = header;
        *packages = Packages::Names { requirements: dependencies, requires_python };
    }
}

/// A part of the list of jobs, newest first.
///
/// # Errors
///
/// `Read`.
pub(super) async fn read_list(
    site: &Site,
    viewer: Viewer,
    part: Part,
) -> Result<Page<rest::Job>, WebError> {
    let limit = part.limit();
    let Part { before, everyone, .. } = part;
    let read = site.readers.read(move |reader| reader.jobs(viewer, everyone, before, limit));
    let items = read.await?;
    let next = items.last().filter(|_| is_full(&items, limit)).map(|job| job.job);
    Ok(Page { items, next })
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
    let stored = stored.ok_or(WebError::NotFound)?;
    let mut detail = stored.detail;
    if detail.job.queued > 0 {
        detail.waiting = site.engine.snapshot().waiting.get(&stored.shape).cloned();
    }
    Ok(detail)
}

/// Cancels what has not ended of a job.
///
/// # Errors
///
/// `NotFound`, also for a job of somebody else's, ended or not; `Ask`.
pub(super) async fn cancel_job(site: &Site, login: &Login, job: JobId) -> Result<(), WebError> {
    read_one(site, login.viewer(), job).await?;
    Ok(site.engine.cancel(login.id(), job).await?)
}

/// A part of the tasks of a job that have started, by index.
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
    let limit = part.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let read = site.readers.read(move |reader| reader.tasks(viewer, job, part.from, limit));
    let items = read.await?.ok_or(WebError::NotFound)?;
    let next = items.last().filter(|_| is_full(&items, limit));
    let next = next.map(|task| u64::from(task.index) + 1);
    Ok(Page { items, next })
}

/// Whether a list has as many rows as were asked for, so that there may be more.
pub(super) fn is_full<T>(items: &[T], limit: u32) -> bool {
    items.len() >= limit as usize
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, WebError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_MAX_BYTES).contains(&key.len()));
    let Some(key) = key else {
        let message = format!("must be 1 to {KEY_MAX_BYTES} visible ASCII characters");
        let field = "Idempotency-Key".to_owned();
        return Err(WebError::Fields(vec![FieldError { field, message }]));
    };
    Ok(Some(key.to_owned()))
}
