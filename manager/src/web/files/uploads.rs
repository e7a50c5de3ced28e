//! Files that come: whole, or in pieces that go on after whatever has broken off.

mod pieces;
mod whole;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use campusgrid_protocol::id::{BlobHash, JobId};
use campusgrid_protocol::rest::files::{Upload, Uploaded};
use campusgrid_protocol::rest::{ErrorBody, FieldError};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::inputs::{checked_path, parse_hash};
use crate::archive::Kind;
use crate::blobs::uploads::Key;
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use pieces::Piece;
use whole::take_announced;
pub(in crate::web) use whole::{left_bytes, take_in};

/// What is to become of an upload.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct How {
    /// The BLAKE3 hash of all of it, 64 hexadecimal digits. If what came has another, it is refused.
    blake3: Option<String>,
    /// Whether tasks may run it.
    #[serde(default)]
    executable: bool,
    /// Whether the files in it are wanted, and not the archive: .zip, .tar, .tar.gz, .tgz or .tar.zst,
    /// unpacked beside its own path.
    #[serde(default)]
    unpack: bool,
}

/// A file that is to be a draft's.
#[derive(Debug, Clone)]
pub(in crate::web) struct Put {
    pub(in crate::web) path: String,
    pub(in crate::web) executable: bool,
    /// Whether it is an archive whose files are wanted instead.
    pub(in crate::web) unpack: bool,
    /// What it must have.
    pub(in crate::web) blake3: Option<BlobHash>,
}

impl Put {
    fn new(path: String, how: How) -> Result<Self, WebError> {
        let How { blake3, executable, unpack } = how;
        let blake3 = blake3.as_deref().map(parse_hash).transpose()?;
        Ok(Self { path, executable, unpack, blake3 })
    }

    /// As what to unpack it, if at all.
    fn kind(&self) -> Result<Option<Kind>, WebError> {
        if !self.unpack {
            return Ok(None);
        }
        Kind::of_name(&self.path).map(Some).ok_or_else(|| {
            let message = "must end with .zip, .tar, .tar.gz, .tgz or .tar.zst to be unpacked";
            let (field, message) = ("path".to_owned(), message.to_owned());
            WebError::Fields(vec![FieldError { field, message }])
        })
    }
}

/// Upload a file
///
/// As the body, of any length. One of the same path is replaced. What is large, or comes over a connection
/// that may break, is better sent in pieces: `PATCH uploads/{path}`.
#[utoipa::path(put, path = "/api/v1/jobs/{id}/files/{path}", tag = "files", params(How),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Uploaded), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(in crate::web) async fn put(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
    Params(how): Params<How>,
    request: Request,
) -> Result<(StatusCode, Json<Uploaded>), WebError> {
    let put = Put::new(path, how)?;
    let announced = number(request.headers(), header::CONTENT_LENGTH.as_str())?;
    let content = request.into_body().into_data_stream();
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    // On its own: a client that breaks off takes nothing with it that is half done.
    let taking = tokio::spawn(async move {
        take_announced(&site, &login, job, put, (announced, content, given_up)).await
    });
    let uploaded = taking.await.map_err(|_| WebError::Ask(AskError::Stopping))??;
    Ok((StatusCode::CREATED, Json(uploaded)))
}

/// Upload a piece of a file
///
/// `Upload-Offset` says where it begins, `Upload-Length` how long all of it is; the query is the same for
/// every piece. The answer to the last one is 201 and what has become a file. After a break, ask where to
/// go on (`GET`); the answer to a piece that begins elsewhere says so as well. One that begins at 0 and is
/// to be another file takes the place of the upload under way.
#[utoipa::path(patch, path = "/api/v1/jobs/{id}/uploads/{path}", tag = "files",
    params(How,
        ("Upload-Offset" = u64, Header, description = "Where the piece begins. Bytes."),
        ("Upload-Length" = u64, Header, description = "How long all of the file is. Bytes.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "At most 64 MiB; empty only for an empty file, or to end an upload that is whole."),
    responses(
        (status = 200, body = Upload, description = "There is more to come."),
        (status = 201, body = Uploaded, description = "It was the last piece."),
        (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody)
    ))]
pub(in crate::web) async fn patch(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
    Params(how): Params<How>,
    request: Request,
) -> Result<Response, WebError> {
    let put = Put::new(checked_path(path)?, how)?;
    let headers = request.headers();
    let place = (required(headers, "upload-offset")?, required(headers, "upload-length")?);
    let announced = number(headers, header::CONTENT_LENGTH.as_str())?;
    let content = request.into_body().into_data_stream();
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    let piece = Piece::new(site, login, (job, put), place, given_up);
    let taking = tokio::spawn(piece.take(announced, content));
    taking.await.map_err(|_| WebError::Ask(AskError::Stopping))?
}

/// Show an upload in pieces
#[utoipa::path(get, path = "/api/v1/jobs/{id}/uploads/{path}", tag = "files",
    responses((status = 200, body = Upload)))]
pub(in crate::web) async fn progress(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
) -> Result<Json<Upload>, WebError> {
    let uploads = site.blobs.uploads().clone();
    let key = Key { user: login.id(), job, path };
    let found = spawn_blocking(move || uploads.find(&key)).await.ok().flatten();
    let note = found.ok_or(WebError::NotFound)?;
    let (offset_bytes, size_bytes) = (note.offset_bytes, note.size_bytes);
    Ok(Json(Upload { path: note.path, offset_bytes, size_bytes }))
}

/// Drop an upload in pieces
#[utoipa::path(delete, path = "/api/v1/jobs/{id}/uploads/{path}", tag = "files",
    responses((status = 204, description = "It is gone.")))]
pub(in crate::web) async fn discard(
    State(site): State<Site>,
    login: Login,
    Named((job, path)): Named<(JobId, String)>,
) -> Result<StatusCode, WebError> {
    let key = Key { user: login.id(), job, path };
    let mut turn = site.blobs.uploads().take(key.clone()).await;
    let uploads = site.blobs.uploads().clone();
    let discarding = spawn_blocking(move || {
        let is_there = uploads.find(&key).is_some();
        turn.discard().map(|()| is_there)
    });
    let is_there = discarding.await.map_err(|_| WebError::Ask(AskError::Stopping))??;
    if is_there { Ok(StatusCode::NO_CONTENT) } else { Err(WebError::NotFound) }
}

/// A header with a number, if it is there.
fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, WebError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().unwrap_or_default();
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number);
    number.map(Some).ok_or_else(|| missing(name))
}

fn required(headers: &HeaderMap, name: &str) -> Result<u64, WebError> {
    number(headers, name)?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> WebError {
    let message = "must be a number of bytes".to_owned();
    WebError::Fields(vec![FieldError { field: name.to_owned(), message }])
}
