//! The files of a job: what it brings, what its tasks left, and what its packages came to.

mod churn;
mod download;
pub(super) mod inputs;
pub(super) mod outputs_zip;
pub(super) mod quota;
mod range;
pub(super) mod retention;
pub(super) mod turns;
mod unpack;
pub(super) mod uploads;
mod zip;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{ErrorBody, OutputFile, Page};
use campusgrid_protocol::text::check_path;
use serde::Serialize;
use utoipa::ToSchema;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::{Named, Params};
use super::headers::INERT_CONTENT;
use super::jobs::{TaskPart, read_tasks};
pub(super) use download::{Wish, send};
use download::{attachment_name, send_file};
pub(super) use inputs::{read_files, remove_file};
pub(super) use quota::Traffic;
pub(super) use uploads::{Put, left_bytes, take_in};

/// The outputs of one task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskOutputs {
    /// Its index.
    task: u32,
    outputs: Vec<OutputFile>,
    /// What was left behind and why, in words.
    left_behind: String,
}

/// List the outputs of a job
///
/// Task by task, as long as it is kept.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/outputs", tag = "files", params(TaskPart),
    responses((status = 200, body = Page<TaskOutputs>)))]
pub(super) async fn list(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(part): Params<TaskPart>,
) -> Result<Json<Page<TaskOutputs>>, WebError> {
    let Page { items, next } = read_tasks(&site, login.viewer(), job, part).await?;
    let items = items.into_iter().map(|task| TaskOutputs {
        task: task.index,
        outputs: task.outputs,
        left_behind: task.left_behind,
    });
    Ok(Json(Page { items: items.collect(), next }))
}

/// Download an output
#[utoipa::path(get, path = "/api/v1/jobs/{id}/outputs/{index}/{path}", tag = "files",
    responses(
        (status = 200, description = "The file.", content_type = "application/octet-stream",
            body = Vec<u8>),
        (status = 206, description = "The part asked for.",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The client has it already."),
        (status = 416, body = ErrorBody)
    ))]
pub(super) async fn download(
    State(site): State<Site>,
    login: Login,
    Named((job, index, path)): Named<(JobId, u32, String)>,
    wish: Wish,
) -> Result<Response, WebError> {
    check_path(&path).map_err(|_| WebError::NotFound)?;
    let (viewer, name) = (login.viewer(), path.clone());
    let read = site.readers.read(move |reader| reader.output(viewer, job, index, &path));
    let blob = read.await?.ok_or(WebError::NotFound)?;
    send_file(&site, &wish, blob, &name).await
}

/// Download the resolved packages
///
/// As a requirements file with versions and hashes.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/lock", tag = "files",
    responses((status = 200, description = "The requirements.", content_type = "text/plain",
        body = String)))]
pub(super) async fn lock(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
) -> Result<Response, WebError> {
    let viewer = login.viewer();
    let read = site.readers.read(move |reader| reader.lock(viewer, job));
    let lock = read.await?.ok_or(WebError::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_DISPOSITION, attachment_name("requirements.lock")),
        (header::CONTENT_SECURITY_POLICY, INERT_CONTENT),
    ];
    Ok((headers, lock).into_response())
}
