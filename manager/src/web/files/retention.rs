//! What is kept of a job goes before its time when its owner says so.

use axum::extract::State;
use axum::http::StatusCode;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{ErrorBody, JobState};

use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::Named;

/// Delete what is kept of a job
///
/// Of one that has ended, its files, outputs and logs; the job itself stays in the list, with what it cost.
/// A draft goes as a whole.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "files",
    responses((status = 204, description = "It is gone."), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn delete(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
) -> Result<StatusCode, WebError> {
    remove_job(&site, &login, job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes what is kept of a job that has ended, or a draft.
///
/// # Errors
///
/// `NotFound`, `StillOpen`, `Ask`, `Read`.
pub(in crate::web) async fn remove_job(
    site: &Site,
    login: &Login,
    job: JobId,
) -> Result<(), WebError> {
    let viewer = login.viewer();
    let found = site.readers.read(move |reader| reader.job(viewer, job)).await?;
    let found = found.ok_or(WebError::NotFound)?.detail.job;
    match found.state {
        JobState::Draft => Ok(site.engine.discard_draft(login.id(), job).await?),
        JobState::Queued | JobState::Running => Err(WebError::StillOpen),
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => {
            Ok(site.engine.empty_jobs(vec![job]).await?)
        }
    }
}
