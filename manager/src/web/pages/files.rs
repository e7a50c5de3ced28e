//! The input files of a job or draft, a part of them or page by page.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::files::JobFile;
use serde::Deserialize;

use super::account::encode;
use super::{Frame, PageError, Visitor};
use crate::store::read::Viewer;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::files::read_files;
use crate::web::jobs::read_one;
use crate::web::{Site, words};

/// Files on one page.
const PAGE: u32 = 500;

/// A part of the files.
pub(super) struct FilesView {
    pub(super) rows: Vec<FileRow>,
    /// How many there are in all, in words.
    pub(super) counted: String,
    /// Of all of them.
    pub(super) size: String,
    /// The last of these, if there are more.
    pub(super) next: Option<String>,
}

/// A file to download.
pub(super) struct FileRow {
    pub(super) path: String,
    /// With its hidden characters made visible.
    pub(super) shown: String,
    pub(super) href: String,
    pub(super) size: String,
}

impl FilesView {
    /// These, of so many.
    pub(super) fn of(mut self, count: u32, bytes: u64) -> Self {
        self.counted = words::counted(count.into(), "file", "files");
        self.size = words::bytes(bytes);
        self
    }
}

impl FileRow {
    fn new(job: JobId, file: JobFile) -> Self {
        Self {
            href: format!("/api/v1/jobs/{job}/files/{}", encode(&file.path)),
            shown: words::visible(&file.path),
            size: words::bytes(file.size_bytes),
            path: file.path,
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "files.html")]
pub(in crate::web) struct FilesPage {
    frame: Frame,
    id: u64,
    name: String,
    files: FilesView,
    /// Where the page after this one is, if there is one.
    next: Option<String>,
}

/// The files after this path.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Part {
    after: Option<String>,
}

/// `GET /jobs/{id}/files`.
pub(in crate::web) async fn files(
    State(site): State<Site>,
    visitor: Visitor,
    Named(job): Named<JobId>,
    Params(Part { after }): Params<Part>,
) -> Result<FilesPage, PageError> {
    let viewer = visitor.login.viewer();
    let detail = read_one(&site, viewer, job).await?;
    let files = view_files(&site, viewer, job, after, PAGE).await?;
    let next = files.next.as_ref().map(|last| format!("/jobs/{job}/files?after={}", encode(last)));
    Ok(FilesPage {
        frame: visitor.frame,
        id: job.0,
        name: words::visible(&detail.job.name),
        files: files.of(detail.files, detail.files_bytes),
        next,
    })
}

/// Files by path, from the one after `after` on.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn view_files(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    after: Option<String>,
    limit: u32,
) -> Result<FilesView, WebError> {
    let files = read_files(site, viewer, job, after, limit).await?;
    let rows = files.items.into_iter().map(|file| FileRow::new(job, file)).collect();
    let (counted, size) = (String::new(), String::new());
    Ok(FilesView { rows, counted, size, next: files.next })
}
