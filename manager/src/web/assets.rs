//! The files that pages need, embedded in the binary under an address that changes with them.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::error::WebError;
use super::extract::Named;

/// A file as it is served.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/", $name)),
        }
    };
}

const ASSETS: &[Asset] = &[
    asset!("app.css", CSS),
    asset!("app.js", JS),
    asset!("check.svg", SVG),
    asset!("chevron.svg", SVG),
    asset!("docs.css", CSS),
    asset!("docs.js", JS),
    asset!("htmx-2.0.11.min.js", JS),
    asset!("icon.svg", SVG),
    asset!("job.js", JS),
    asset!("pico-2.1.1.indigo.min.css", CSS),
    asset!("submit.js", JS),
    asset!("swagger-ui-5.35.0.min.css", CSS),
    asset!("swagger-ui-5.35.0.min.js", JS),
    asset!("uploads.js", JS),
];

/// Where the files are: `/static/` and a part that changes when any of them does.
pub(super) static ROOT: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for asset in ASSETS {
        hasher.update(&(asset.content.len() as u64).to_le_bytes());
        hasher.update(asset.content);
    }
    format!("/static/{}", &hasher.finalize().to_hex()[..12])
});

/// `GET /static/{version}/{name}`: for a year, if it is the present version.
pub(super) async fn asset(
    Named((version, name)): Named<(String, String)>,
) -> Result<Response, WebError> {
    let found = ASSETS.iter().find(|asset| asset.name == name).ok_or(WebError::NotFound)?;
    let is_present = ROOT.strip_prefix("/static/") == Some(version.as_str());
    let cache = if is_present { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(found.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, found.content).into_response())
}
