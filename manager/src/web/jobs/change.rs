//! What is done to jobs that are there: cancelling, holding, placing them, running failed tasks again.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use campusgrid_core::input::FilesOf;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest::arrays::{Cancel, Cancelled, ChangeJob, Retry};
use campusgrid_protocol::rest::submit::{Checked, again};
use campusgrid_protocol::rest::{ErrorBody, FieldError, Submitted};
use campusgrid_protocol::task::Program;
use campusgrid_protocol::terms::PRIORITY_MAX;

use super::read_one;
use super::submit::{Wish, counted, idempotency_key, place};
use crate::store::read::StoredSpec;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, MaybeBody, Named};

/// How many times as much a file takes in the database as in its job's manifest, at most.
const ROWS_PER_MANIFEST: u64 = 12;

/// Cancels a job.
///
/// All of it that has not ended, or with a body some of its tasks. What never started is refunded at
/// once, what runs is charged for the time it ran.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    request_body = inline(Option<Cancel>),
    responses((status = 204, description = "It is being cancelled."), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn cancel(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    MaybeBody(body): MaybeBody<Cancel>,
) -> Result<StatusCode, WebError> {
    cancel_job(&site, &login, job, body.unwrap_or_default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels all jobs.
///
/// One's own that have not ended. Drafts stay.
#[utoipa::path(post, path = "/api/v1/jobs/cancel", tag = "jobs",
    responses((status = 200, body = Cancelled)))]
pub(in crate::web) async fn cancel_all(
    State(site): State<Site>,
    login: Login,
) -> Result<Json<Cancelled>, WebError> {
    Ok(Json(Cancelled { jobs: cancel_everything(&site, &login).await? }))
}

/// Runs failed tasks again.
///
/// As a new job with the same program, files and indices. Of a job that has not ended, those tasks that
/// have failed so far.
/// A repeated request under the same `Idempotency-Key` yields the first new job.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs",
    request_body = inline(Option<Retry>),
    params(("Idempotency-Key" = Option<String>, Header, max_length = 128,
        description = "Made by the client, one for each retry.")),
    responses(
        (status = 201, body = Submitted),
        (status = 402, body = ErrorBody),
        (status = 409, body = ErrorBody)
    ))]
pub(in crate::web) async fn retry(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<Retry>,
) -> Result<(StatusCode, Json<Submitted>), WebError> {
    let key = idempotency_key(&headers)?;
    let made = retry_job(&site, &login, job, key, body.unwrap_or_default()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Holds, releases or places a job.
///
/// While it has not ended. What runs of a job that is held goes on.
#[utoipa::path(patch, path = "/api/v1/jobs/{id}", tag = "jobs", request_body = ChangeJob,
    responses((status = 204, description = "It is as asked for."), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn change(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Body(body): Body<ChangeJob>,
) -> Result<StatusCode, WebError> {
    change_job(&site, &login, job, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels what has not ended of a job, or some of its tasks.
///
/// # Errors
///
/// `NotFound`, also for a job of somebody else's, ended or not; `Fields` for tasks that it has not;
/// `Ask`, `Read`.
pub(in crate::web) async fn cancel_job(
    site: &Site,
    login: &Login,
    job: JobId,
    Cancel { tasks }: Cancel,
) -> Result<(), WebError> {
    let viewer = login.viewer();
    let tasks = match tasks {
        None => {
            read_one(site, viewer, job).await?;
            None
        }
        Some(words) => {
            let indices: Ranges = words.parse().map_err(|error| wrong("tasks", &error))?;
            let read = site.readers.read(move |reader| reader.positions(viewer, job, &indices));
            let positions = read.await?.ok_or(WebError::NotFound)?;
            if positions.is_empty() {
                return Err(wrong("tasks", &"names none that this job has"));
            }
            Some(positions)
        }
    };
    Ok(site.engine.cancel(login.id(), job, tasks).await?)
}

/// Cancels all of a user's jobs that have not ended; yields how many.
///
/// # Errors
///
/// `Ask`.
pub(in crate::web) async fn cancel_everything(site: &Site, login: &Login) -> Result<u32, WebError> {
    Ok(site.engine.cancel_all(login.id()).await?)
}

/// Submits a new job of those tasks of another of the same user that failed, or were cancelled, too.
///
/// # Errors
///
/// `NotFound`, `NothingToRetry`; `NotKept` if its files have gone; `Fields` if the tasks lie too far apart
/// to be named; `TooManyAttempts`; `Ask`, `Read`.
pub(in crate::web) async fn retry_job(
    site: &Site,
    login: &Login,
    job: JobId,
    key: Option<String>,
    which: Retry,
) -> Result<Submitted, WebError> {
    let viewer = login.as_owner();
    let read = site.readers.read(move |reader| {
        Ok(reader.spec_of(viewer.user, job)?.zip(reader.failed_tasks(viewer, job, &which)?))
    });
    let (stored, failed) = read.await?.ok_or(WebError::NotFound)?;
    if failed.is_empty() {
        return Err(WebError::NothingToRetry);
    }
    let StoredSpec { name, spec, terms, priority, emptied } = stored;
    if emptied && spec.inputs.is_some() {
        return Err(WebError::NotKept);
    }
    let indices = terms.indices.only(&failed).map_err(|error| wrong("tasks", &error))?;
    let files = if spec.inputs.is_some() { FilesOf::Job(job) } else { FilesOf::None };
    let (spec, terms) = again(spec, terms, indices);
    let text = match spec.work.program() {
        Program::Source(source) => source.len() as u64,
        Program::Entry(_) => 0,
    };
    // Its files are so many rows again.
    let rows = spec.inputs.map_or(0, |manifest| manifest.size_bytes * ROWS_PER_MANIFEST);
    let bytes = text + rows;
    let checked = Checked { name, spec, terms, priority, on_hold: false, after: Vec::new() };
    counted(site, login, bytes, place(site, login, Wish { key, checked, files })).await
}

/// Holds or releases a job, and places it among its owner's.
///
/// # Errors
///
/// `NotFound`, `Fields`, `Read`; `Ask` if it has ended, or is a draft.
pub(in crate::web) async fn change_job(
    site: &Site,
    login: &Login,
    job: JobId,
    ChangeJob { hold, priority }: ChangeJob,
) -> Result<(), WebError> {
    if priority.is_some_and(|priority| priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs()) {
        return Err(wrong("priority", &format!("must be -{PRIORITY_MAX} to {PRIORITY_MAX}")));
    }
    read_one(site, login.viewer(), job).await?;
    if let Some(priority) = priority {
        site.engine.set_priority(login.id(), job, priority).await?;
    }
    if let Some(hold) = hold {
        site.engine.set_hold(login.id(), job, hold).await?;
    }
    Ok(())
}

fn wrong(field: &str, message: &dyn std::fmt::Display) -> WebError {
    let (field, message) = (field.to_owned(), message.to_string());
    WebError::Fields(vec![FieldError { field, message }])
}
