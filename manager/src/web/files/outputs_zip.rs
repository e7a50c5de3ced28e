//! The outputs of a job as one archive, made while it is sent: never on disk, and in memory only what its
//! directory at the end needs.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::pattern::matches;
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::text::check_pattern;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::download::attachment_name;
use super::zip::{Zip, Zipped};
use crate::store::read::{StoredOutput, Viewer};
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::headers::INERT_CONTENT;

/// Read from disk at once. Bytes: a file that is no larger is read once, and a larger one twice, first
/// for its checksum, which stands before it.
const CHUNK_BYTES: usize = 256 << 10;

/// Rows read from the store at once.
const ROWS: u32 = 500;

/// Most files of one archive: each takes some hundred bytes of memory until its end.
const FILES_MAX: u64 = 250_000;

/// Pieces that wait for a slow client.
const PIECES_WAITING: usize = 2;

/// Which outputs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct Wanted {
    /// Of the task of this index only.
    task: Option<u32>,
    /// Of paths such as `*.csv` or `results/**` only.
    pattern: Option<String>,
}

/// Download outputs as a zip archive
///
/// Those of a job of one task by their paths, those of several in a folder for each index. It is made
/// while it is sent, so that its size is not known before.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/outputs.zip", tag = "files", params(Wanted),
    responses((status = 200, description = "The archive.", content_type = "application/zip",
        body = Vec<u8>)))]
pub(in crate::web) async fn outputs_zip(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(wanted): Params<Wanted>,
    method: Method,
) -> Result<Response, WebError> {
    if let Some(pattern) = &wanted.pattern {
        check_pattern(pattern).map_err(|error| {
            let (field, message) = ("pattern".to_owned(), error.to_string());
            WebError::Fields(vec![FieldError { field, message }])
        })?;
    }
    let place = site.files.zips.take(login.id()).ok_or(WebError::TooManyStreams)?;
    let viewer = login.viewer();
    let read = site.readers.read(move |reader| reader.job(viewer, job));
    let tasks = read.await?.ok_or(WebError::NotFound)?.detail.job.tasks;
    let name =
        wanted.task.map_or(format!("job-{job}.zip"), |index| format!("job-{job}-{index}.zip"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, attachment_name(&name)),
        (header::CONTENT_SECURITY_POLICY, INERT_CONTENT),
    ];
    if method == Method::HEAD {
        return Ok(headers.into_response());
    }
    let (sink, pieces) = mpsc::channel(PIECES_WAITING);
    let maker = Maker { site, viewer, job, wanted, in_folders: tasks > 1, sink };
    tokio::spawn(async move {
        maker.run().await;
        drop(place);
    });
    let body = Body::from_stream(stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    }));
    Ok((headers, body).into_response())
}

/// A piece of the archive; an error breaks the answer off, so that nobody takes it for a whole one.
type Piece = Result<Bytes, io::Error>;

/// What makes the archive, for as long as somebody takes it.
struct Maker {
    site: Site,
    viewer: Viewer,
    job: JobId,
    wanted: Wanted,
    in_folders: bool,
    sink: mpsc::Sender<Piece>,
}

/// Why an archive was not finished.
#[derive(Debug, thiserror::Error)]
enum ZipError {
    #[error("whoever asked for it has gone")]
    Gone,
    #[error("failed to list the outputs")]
    List(#[source] WebError),
    #[error("more files than one archive takes: ask for those of one task, or by a pattern")]
    TooMany,
    #[error("failed to read the output {path:?} of task {index}")]
    Read { path: String, index: u32, source: io::Error },
}

impl Maker {
    async fn run(self) {
        let made = tokio::select! {
            biased;
            () = self.site.shutdown.cancelled() => Err(ZipError::Gone),
            made = self.make() => made,
        };
        match made {
            Ok(()) => {}
            Err(ZipError::Gone) => tracing::debug!(job.id = self.job.0, "nobody takes the archive"),
            Err(error) => {
                tracing::warn!(job.id = self.job.0, %error, "an archive of outputs broke off");
                drop(self.sink.send(Err(io::Error::other(error))).await); // They may have gone.
            }
        }
    }

    async fn make(&self) -> Result<(), ZipError> {
        let mut zip = Zip::default();
        let mut files = 0;
        let mut last = self.wanted.task.map(|index| (index, String::new()));
        loop {
            let rows = self.list(last.take()).await?;
            let is_full = rows.len() >= ROWS as usize;
            last = rows.last().map(|row| (row.index, row.path.clone()));
            let of_task = |row: &StoredOutput| self.wanted.task.is_none_or(|it| it == row.index);
            let ended = rows.iter().any(|row| !of_task(row));
            for row in rows.into_iter().filter(of_task).filter(|row| self.is_wanted(&row.path)) {
                files += 1;
                if files > FILES_MAX || zip.is_full() {
                    return Err(ZipError::TooMany);
                }
                self.file(&mut zip, row).await?;
            }
            if ended || !is_full {
                return self.send(zip.finish()).await;
            }
        }
    }

    fn is_wanted(&self, path: &str) -> bool {
        self.wanted.pattern.as_ref().is_none_or(|pattern| matches(pattern, path))
    }

    async fn list(&self, after: Option<(u32, String)>) -> Result<Vec<StoredOutput>, ZipError> {
        let (viewer, job) = (self.viewer, self.job);
        let read = self.site.readers.read(move |reader| {
            let after = after.as_ref().map(|(index, path)| (*index, path.as_str()));
            reader.outputs(viewer, job, after, ROWS)
        });
        let rows = read.await.map_err(|error| ZipError::List(error.into()))?;
        rows.ok_or(ZipError::List(WebError::NotFound))
    }

    async fn file(&self, zip: &mut Zip, row: StoredOutput) -> Result<(), ZipError> {
        let StoredOutput { index, path, blob } = row;
        let unread = |source| ZipError::Read { path: path.clone(), index, source };
        let bytes = blob.size_bytes;
        let from = self.site.blobs.path(blob.hash);
        let sum = blocking(move || sum(from, bytes)).await.map_err(&unread)?;
        let name = if self.in_folders { format!("{index}/{path}") } else { path.clone() };
        self.send(zip.begin(&Zipped { name: &name, bytes, crc: sum.crc })).await?;
        if let Some(all) = sum.all {
            return self.send(all).await;
        }
        let mut file = sum.file;
        let mut left = bytes;
        while left > 0 {
            let read = blocking(move || {
                let piece = read_piece(&mut file, left)?;
                Ok((file, piece))
            });
            let (back, piece) = read.await.map_err(&unread)?;
            file = back;
            left -= piece.len() as u64;
            self.send(piece).await?;
        }
        Ok(())
    }

    async fn send(&self, piece: Bytes) -> Result<(), ZipError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.sink.send(Ok(piece)).await.map_err(|_| ZipError::Gone)
    }
}

/// A file of which the checksum is known.
struct Summed {
    crc: u32,
    /// All of it, if that is little.
    all: Option<Bytes>,
    /// At its beginning.
    file: File,
}

fn sum(path: PathBuf, bytes: u64) -> io::Result<Summed> {
    let mut hasher = crc32fast::Hasher::new();
    let mut file = File::open(&path)?;
    if bytes <= CHUNK_BYTES as u64 {
        let all = if bytes > 0 { read_piece(&mut file, bytes)? } else { Bytes::new() };
        hasher.update(&all);
        if all.len() as u64 != bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(Summed { crc: hasher.finalize(), all: Some(all), file });
    }
    let mut left = bytes;
    while left > 0 {
        let piece = read_piece(&mut file, left)?;
        hasher.update(&piece);
        left -= piece.len() as u64;
    }
    Ok(Summed { crc: hasher.finalize(), all: None, file: File::open(path)? })
}

/// As much as is read at once, but no more than is left.
fn read_piece(file: &mut File, left: u64) -> io::Result<Bytes> {
    let mut piece = Vec::new();
    let most = left.min(CHUNK_BYTES as u64);
    let read = file.by_ref().take(most).read_to_end(&mut piece)?;
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(piece.into()) }
}

/// Disks block, and a thread that serves others must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
