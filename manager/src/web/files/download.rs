//! Sends what is kept: all of it, the part that is asked for, or nothing to whoever has it already.

use std::io::SeekFrom;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campusgrid_protocol::task::{BlobRef, Content};
use campusgrid_protocol::text::is_hidden;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::range::{Asked, asked};
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::etag::is_known;
use crate::web::headers::INERT_CONTENT;

/// Read from disk at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What a client says of what it wants to have.
pub(in crate::web) struct Wish {
    method: Method,
    headers: HeaderMap,
}

impl Wish {
    pub(in crate::web) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Wish {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _state: &S,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self { method: parts.method.clone(), headers: parts.headers.clone() })
    }
}

/// Sends a file that is to be saved under this name.
///
/// # Errors
///
/// `PartMissing`, `File`.
pub(in crate::web) async fn send_file(
    site: &Site,
    wish: &Wish,
    blob: BlobRef,
    name: &str,
) -> Result<Response, WebError> {
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = send(site, wish, Content::Blob(blob), kind).await?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment_name(name));
    Ok(response)
}

/// Sends content of this type, which may be anything that a user or a job has made.
///
/// # Errors
///
/// `PartMissing`, `File`.
pub(in crate::web) async fn send(
    site: &Site,
    wish: &Wish,
    content: Content,
    kind: HeaderValue,
) -> Result<Response, WebError> {
    let (hash, size_bytes) = match &content {
        Content::Blob(blob) => (blob.hash.to_string(), blob.size_bytes),
        Content::Inline(bytes) => (blake3::hash(bytes).to_string(), bytes.len() as u64),
    };
    let tag = format!("\"{hash}\"");
    let always: [(HeaderName, HeaderValue); 4] = [
        (header::ETAG, HeaderValue::from_str(&tag).expect("a hash is hex")),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::CONTENT_SECURITY_POLICY, INERT_CONTENT),
    ];
    if is_known(&wish.headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, always).into_response());
    }
    let (status, from, bytes) = match asked(&wish.method, &wish.headers, &tag, size_bytes) {
        Asked::All => (StatusCode::OK, 0, size_bytes),
        Asked::Part { from, bytes } => (StatusCode::PARTIAL_CONTENT, from, bytes),
        Asked::Nothing => return Err(WebError::PartMissing { size_bytes }),
    };
    let body = match content {
        Content::Blob(blob) => part_of_blob(site, blob, from, bytes).await?,
        Content::Inline(all) => Body::from(part_of(all, from, bytes)),
    };
    let of_body = [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, bytes.into())];
    let mut response = (status, always, of_body, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{size_bytes}", from + bytes - 1);
        let range = HeaderValue::from_str(&range).expect("digits are good in a header");
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

async fn part_of_blob(site: &Site, blob: BlobRef, from: u64, bytes: u64) -> Result<Body, WebError> {
    let mut file = File::open(site.blobs.path(blob.hash)).await.map_err(WebError::File)?;
    if from > 0 {
        file.seek(SeekFrom::Start(from)).await.map_err(WebError::File)?;
    }
    Ok(Body::from_stream(ReaderStream::with_capacity(file.take(bytes), CHUNK_BYTES)))
}

fn part_of(mut all: Vec<u8>, from: u64, bytes: u64) -> Vec<u8> {
    let of = |number: u64| usize::try_from(number).expect("a part of what is in memory");
    all.truncate(of(from + bytes));
    all.drain(..of(from));
    all
}

/// Names the file for the one who saves it: its last part, twice, as RFC 6266 recommends.
pub(in crate::web) fn attachment_name(path: &str) -> HeaderValue {
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
    use super::{attachment_name, part_of};

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

    #[test]
    fn a_part_of_what_is_in_memory_is_that_part() {
        assert_eq!(part_of(b"0123456789".to_vec(), 3, 4), b"3456");
        assert_eq!(part_of(b"0123456789".to_vec(), 0, 10), b"0123456789");
    }
}
