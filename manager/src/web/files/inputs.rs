//! The files that a job brings: listed, downloaded, attached by their hash, taken out again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use campusgrid_core::effect::Refusal;
use campusgrid_protocol::id::{BlobHash, JobId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::rest::files::{Attach, JobFile, JobFiles, Uploaded};
use campusgrid_protocol::rest::{ErrorBody, FieldError};
use campusgrid_protocol::task::BlobRef;
use campusgrid_protocol::text::check_path;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::download::{Wish, send_file};
use super::quota::check_storage;
use crate::engine::handle::AskError;
use crate::store::read::Viewer;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Body, Named, Params};

/// Files of a page, unless asked for fewer or more.
const LIMIT_DEFAULT: u32 = 200;
/// Most files of a page.
const LIMIT_MAX: u32 = 1000;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct Part {
    /// Files whose paths come after this one.
    after: Option<String>,
    /// At most so many, 1 to 1000.
    limit: Option<u32>,
}

/// List the files of a job
///
/// In the order of their paths; those of a draft may still change.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/files", tag = "files", params(Part),
    responses((status = 200, body = JobFiles)))]
pub(in crate::web) async fn list(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(Part { after, limit }): Params<Part>,
) -> Result<Json<JobFiles>, WebError> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    Ok(Json(read_files(&site, login.viewer(), job, after, limit).await?))
}

/// Download a file of a job
#[utoipa::path(get, path = "/api/v1/jobs/{id}/files/{path}", tag = "files",
    responses(
        (status = 200, description = "The file.", content_type = "application/octet-stream",
            body = Vec<u8>),
        (status = 206, description = "The part asked for.",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The client has it already."),
        (status = 416, body = ErrorBody)
    ))]
pub(in crate::web) async fn download(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
    wish: Wish,
) -> Result<Response, WebError> {
    check_path(&path).map_err(|_| WebError::NotFound)?;
    let (viewer, name) = (login.viewer(), path.clone());
    let read = site.readers.read(move |reader| reader.file(viewer, job, &path));
    let file = read.await?.ok_or(WebError::NotFound)?;
    send_file(&site, &wish, file.blob, &name).await
}

/// Attach a file by its hash
///
/// For content that this user has here already, in a file or an output of another job. Otherwise it is to
/// be uploaded.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/files", tag = "files", request_body = Attach,
    responses((status = 201, body = Uploaded), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn attach(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Body(Attach { path, blake3, size_bytes, executable }): Body<Attach>,
) -> Result<(StatusCode, Json<Uploaded>), WebError> {
    let (path, hash) = (checked_path(path)?, parse_hash(&blake3)?);
    check_draft(&site, &login, job).await?;
    let (user, blob) = (login.id(), BlobRef { hash, size_bytes });
    // Whoever only knows a hash must not get at what somebody else has brought.
    let has = site.readers.read(move |reader| reader.has_content(user, blob)).await?;
    let blobs = site.blobs.clone();
    let is_here = has && spawn_blocking(move || blobs.holds(blob)).await.unwrap_or(false);
    if !is_here {
        return Err(WebError::UploadNeeded);
    }
    let file = InputFile { path, blob, executable };
    Ok((StatusCode::CREATED, Json(settle(&site, &login, job, vec![file], 0).await?)))
}

/// Remove a file from a draft
#[utoipa::path(delete, path = "/api/v1/jobs/{id}/files/{path}", tag = "files",
    responses((status = 204, description = "It is gone."), (status = 409, body = ErrorBody)))]
pub(in crate::web) async fn remove(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
) -> Result<StatusCode, WebError> {
    remove_file(&site, &login, job, path).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A part of the files that a job brings, in the order of their paths, from behind `after`.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(in crate::web) async fn read_files(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    after: Option<String>,
    limit: u32,
) -> Result<JobFiles, WebError> {
    let read = site.readers.read(move |reader| reader.files(viewer, job, after.as_deref(), limit));
    let files = read.await?.ok_or(WebError::NotFound)?;
    let is_full = files.len() >= limit as usize;
    let next = files.last().filter(|_| is_full).map(|file| file.path.clone());
    Ok(JobFiles { items: files.iter().map(told).collect(), next })
}

/// Takes a file out of a draft.
///
/// # Errors
///
/// `NotFound`, `Read`; `Ask` if it is a draft no more.
pub(in crate::web) async fn remove_file(
    site: &Site,
    login: &Login,
    job: JobId,
    path: String,
) -> Result<(), WebError> {
    check_path(&path).map_err(|_| WebError::NotFound)?;
    check_draft(site, login, job).await?;
    let (viewer, wanted) = (login.viewer(), path.clone());
    let read = site.readers.read(move |reader| reader.file(viewer, job, &wanted));
    read.await?.ok_or(WebError::NotFound)?;
    Ok(site.engine.remove_file(login.id(), job, path).await?)
}

/// Checks that this is a draft of this user.
///
/// # Errors
///
/// `NotFound`; `Ask` if it was launched; `Read`.
pub(super) async fn check_draft(site: &Site, login: &Login, job: JobId) -> Result<(), WebError> {
    let viewer = Viewer { user: login.id(), operator: false };
    let (is_draft, is_job) = site
        .readers
        .read(move |reader| {
            let is_draft = reader.draft(viewer, job)?.is_some();
            Ok((is_draft, !is_draft && reader.job(viewer, job)?.is_some()))
        })
        .await?;
    match (is_draft, is_job) {
        (true, _) => Ok(()),
        (false, true) => Err(AskError::Refused(Refusal::Launched).into()),
        (false, false) => Err(WebError::NotFound),
    }
}

/// Makes files, whose content is here, a draft's. `begun_bytes` of uploads in pieces are counted as well,
/// but for the one that these files came by.
///
/// # Errors
///
/// `StorageFull`, `Ask`, `Read`; the draft is then as it was.
pub(super) async fn settle(
    site: &Site,
    login: &Login,
    job: JobId,
    files: Vec<InputFile>,
    begun_bytes: u64,
) -> Result<Uploaded, WebError> {
    let user = login.id();
    let bytes = files.iter().fold(0, |sum: u64, it| sum.saturating_add(it.blob.size_bytes));
    let told = files.iter().map(told).collect();
    let counting = site.files.count(user).await;
    check_storage(site, user, begun_bytes, bytes).await?;
    site.engine.put_files(user, job, files).await?;
    drop(counting);
    Ok(Uploaded { files: told })
}

fn told(file: &InputFile) -> JobFile {
    let InputFile { path, blob, executable } = file;
    let (size_bytes, blake3) = (blob.size_bytes, blob.hash.to_string());
    JobFile { path: path.clone(), size_bytes, blake3, executable: *executable }
}

/// A path as it is named in a request.
///
/// # Errors
///
/// `Fields`.
pub(super) fn checked_path(path: String) -> Result<String, WebError> {
    match check_path(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(wrong("path", error.to_string())),
    }
}

/// A hash as it is named in a request.
///
/// # Errors
///
/// `Fields`.
pub(super) fn parse_hash(text: &str) -> Result<BlobHash, WebError> {
    let hash = blake3::Hash::from_hex(text).map(|hash| BlobHash(*hash.as_bytes()));
    hash.map_err(|_| wrong("blake3", "must be 64 hexadecimal digits".to_owned()))
}

fn wrong(field: &str, message: String) -> WebError {
    WebError::Fields(vec![FieldError { field: field.to_owned(), message }])
}
