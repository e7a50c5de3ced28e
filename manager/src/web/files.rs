//! The files of a job: what its tasks left, and what its packages came to.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campusgrid_protocol::id::{JobId, TaskId};
use campusgrid_protocol::rest::{OutputFile, Page};
use campusgrid_protocol::task::BlobRef;
use campusgrid_protocol::text::{check_path, is_hidden};
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::extract::{Named, Params};
use super::headers::INERT_CONTENT;
use super::jobs::{TaskPart, read_tasks};

/// Read from disk at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The outputs of one task.
#[derive(Debug, Serialize)]
pub(super) struct TaskOutputs {
    task: u32,
    outputs: Vec<OutputFile>,
    /// What was left behind and why, in words.
    left_behind: String,
}

/// `GET jobs/{id}/outputs`.
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

/// `GET jobs/{id}/outputs/{index}/{*path}`.
pub(super) async fn download(
    State(site): State<Site>,
    login: Login,
    Named((job, index, path)): Named<(JobId, u32, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    check_path(&path).map_err(|_| WebError::NotFound)?;
    let (viewer, name) = (login.viewer(), attachment_name(&path));
    let task = TaskId { job, index };
    let read = site.readers.read(move |reader| reader.output(viewer, task, &path));
    let blob = read.await?.ok_or(WebError::NotFound)?;
    let etag = format!("\"{}\"", blob.hash);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let mut response = stream_blob(&site, blob).await?;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).expect("a hash is hex"));
    headers.insert(header::CONTENT_SECURITY_POLICY, INERT_CONTENT);
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// `GET jobs/{id}/lock`: what the job's packages came to, as a requirements file.
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

async fn stream_blob(site: &Site, blob: BlobRef) -> Result<Response, WebError> {
    let path = site.blobs.path(blob.hash);
    let file = tokio::fs::File::open(path).await.map_err(WebError::File)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK_BYTES));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(blob.size_bytes)),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, body).into_response())
}

/// Names the file for the one who saves it: its last part, twice, as RFC 6266 recommends.
fn attachment_name(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or(path);
    // Who saves the file must read the same name as the system that opens it.
    let name = name.replace(is_hidden, "_");
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_ ".contains(c) { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&value).expect("all other characters were replaced")
}

#[cfg(test)]
mod tests {
    use super::attachment_name;

    #[test]
    fn names_of_files_cannot_break_out_of_the_header() {
        for (path, plain, encoded) in [
            ("pi.txt", "pi.txt", "pi.txt"),
            ("a/b/pi.txt", "pi.txt", "pi.txt"),
            ("my file.txt", "my file.txt", "my%20file.txt"),
            ("\"; x=\".sh", "__ x__.sh", "%22%3B%20x%3D%22.sh"),
            ("größe.csv", "gr__e.csv", "gr%C3%B6%C3%9Fe.csv"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe", "photo_gpj.exe"),
            ("%41.txt", "_41.txt", "%2541.txt"),
        ] {
            let expected = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
            assert_eq!(attachment_name(path).to_str().unwrap(), expected);
        }
    }
}
