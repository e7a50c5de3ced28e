//! Launching drafts: what they are made of, read at one moment, becomes a job.

use std::fs::File;
use std::io;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use campusgrid_core::effect::Refusal;
use campusgrid_core::input::FilesOf;
use campusgrid_protocol::id::{BlobHash, JobId};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::rest::submit::{Brought, Checked};
use campusgrid_protocol::rest::{
    ErrorBody, FieldError, SOURCE_MAX_BYTES, Submit, Submitted, WorkKind,
};
use campusgrid_protocol::task::BlobRef;

use super::lines::{self, Lines, LinesError};
use super::submit::{TRIES, Wish, check, counted, has_moved, idempotency_key, place, text_bytes};
use crate::blobs::Blobs;
use crate::engine::handle::AskError;
use crate::store::read::StoredSpec;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::extract::{MaybeBody, Named};

/// Launches a draft.
///
/// It becomes a job with the files that it has now, and its price is held. With a body, that is run in
/// place of what the draft was made with.
/// A repeated launch under the same `Idempotency-Key` yields the same answer.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/launch", tag = "jobs",
    request_body = inline(Option<Submit>),
    params(("Idempotency-Key" = Option<String>, Header, max_length = 128,
        description = "Made by the client, one for each launch.")),
    responses(
        (status = 201, body = Submitted),
        (status = 402, body = ErrorBody),
        (status = 409, body = ErrorBody)
    ))]
pub(in crate::web) async fn launch(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<Submit>,
) -> Result<(StatusCode, Json<Submitted>), WebError> {
    let key = idempotency_key(&headers)?;
    let launched = launch_draft(&site, &login, job, key, body).await?;
    Ok((StatusCode::CREATED, Json(launched)))
}

/// Launches a draft of this user: what it was made with, or another request in its place.
///
/// # Errors
///
/// `NotFound`; `Fields` for what is wrong with it or its files; `Body` if what it was made with can no
/// longer be read; `TooManyAttempts`; `Ask` if it is refused, with `Launched` if it was launched before
/// under another key; `Read`, `File`.
pub(in crate::web) async fn launch_draft(
    site: &Site,
    login: &Login,
    job: JobId,
    key: Option<String>,
    body: Option<Submit>,
) -> Result<Submitted, WebError> {
    let viewer = login.as_owner();
    let draft = site.readers.read(move |reader| reader.draft(viewer, job)).await?;
    let Some(draft) = draft else { return launched_before(site, login, job, key).await };
    let body = match body {
        Some(body) => body,
        None => serde_json::from_str(&draft.submit).map_err(|error| {
            let words = "what this draft was made with can no longer be read, send it once more";
            WebError::Body(format!("{words}: {error}"))
        })?,
    };
    counted(site, login, text_bytes(&body), async {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let luggage = Luggage::of(site, login, job, &body).await?;
            luggage.keep_manifest(site).await?;
            let files = FilesOf::Draft { job, revision: luggage.revision };
            let checked = luggage.check(body.clone())?;
            match place(site, login, Wish { key: key.clone(), checked, files }).await {
                Err(error) if tries > 0 && has_moved(&error) => {}
                placed => return placed,
            }
        }
    })
    .await
}

/// What is no draft may have been launched by this very request, whose answer was lost: the engine knows
/// its key.
async fn launched_before(
    site: &Site,
    login: &Login,
    job: JobId,
    key: Option<String>,
) -> Result<Submitted, WebError> {
    let user = login.id();
    let stored = site.readers.read(move |reader| reader.spec_of(user, job)).await?;
    let StoredSpec { name, spec, terms, priority, .. } = stored.ok_or(WebError::NotFound)?;
    if key.is_none() {
        return Err(AskError::Refused(Refusal::Launched).into());
    }
    let checked = Checked { name, spec, terms, priority, on_hold: false, after: Vec::new() };
    let files = FilesOf::Draft { job, revision: 0 };
    place(site, login, Wish { key, checked, files }).await
}

/// Files of lines are at most this long: each quote and each launch reads one. Bytes.
const LINES_FILE_MAX_BYTES: u64 = 256 << 20;

/// The arguments of a task are at most this long once they are filled in, as its worker has it. Bytes.
const FILLED_MAX_BYTES: usize = 512 << 10;

/// The files of a draft, as far as launching it needs them.
pub(super) struct Luggage {
    pub(super) revision: u64,
    files: Vec<InputFile>,
    /// None if there are no files.
    manifest: Option<Encoded>,
    /// Of the file whose lines are tasks, if there is one; or what is wrong with it.
    lines: Result<Option<Lines>, FieldError>,
    /// The entry file's text, where it may say what it needs.
    entry: Option<String>,
}

/// A manifest as workers read it.
struct Encoded {
    blob: BlobRef,
    content: Bytes,
}

impl Luggage {
    /// Reads the files of a draft of this user for what a request says of them: of one draft of a user at
    /// a time, since it may be much.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Read`, `File`.
    pub(super) async fn of(
        site: &Site,
        login: &Login,
        draft: JobId,
        body: &Submit,
    ) -> Result<Self, WebError> {
        let viewer = login.as_owner();
        let found = site.readers.read(move |reader| reader.all_files(viewer, draft)).await?;
        let (revision, files) = found.ok_or(WebError::NotFound)?;
        let blobs = site.blobs.clone();
        let lines_file = body.lines_file.clone();
        let entry_file = body.entry.clone().filter(|_| body.kind == WorkKind::Python);
        let turn = site.files.reading.take(login.id()).await;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let blob_at = |path: Option<String>| {
                files.iter().find(|file| Some(&file.path) == path.as_ref()).map(|file| file.blob)
            };
            let lines = lines_file_of(&blobs, blob_at(lines_file))?;
            let entry = blob_at(entry_file).map(|blob| text(&blobs, blob)).transpose()?.flatten();
            let manifest = encoded(&files);
            Ok(Self { revision, files, manifest, lines, entry })
        });
        work.await.unwrap_or_else(|panic| Err(WebError::File(io::Error::other(panic))))
    }

    /// Checks a request that brings these files.
    ///
    /// # Errors
    ///
    /// `Fields`: all that are wrong.
    pub(super) fn check(&self, body: Submit) -> Result<Checked, WebError> {
        let wrong = |problem: FieldError| WebError::Fields(vec![problem]);
        let lines = self.lines.clone().map_err(wrong)?;
        if let Some(problem) = lines.and_then(|lines| too_long(&body.arguments, lines)) {
            return Err(wrong(problem));
        }
        let has = |path: &str| self.files.iter().any(|file| file.path == path);
        let manifest = self.manifest.as_ref().map(|manifest| manifest.blob);
        let lines = lines.map(|lines| lines.count);
        check(body, Brought::Files { manifest, has: &has, lines }, self.entry.as_deref())
    }

    /// Keeps what workers find all of the job's files by.
    async fn keep_manifest(&self, site: &Site) -> Result<(), WebError> {
        let Some(Encoded { content, .. }) = &self.manifest else { return Ok(()) };
        let (blobs, content) = (site.blobs.clone(), content.clone());
        let kept = tokio::task::spawn_blocking(move || blobs.keep(&content)).await;
        kept.map_err(|panic| WebError::File(io::Error::other(panic)))??;
        Ok(())
    }
}

fn encoded(files: &[InputFile]) -> Option<Encoded> {
    if files.is_empty() {
        return None;
    }
    let manifest = Manifest::check(files.to_vec()).expect("a draft's files were checked");
    let content = Bytes::from(manifest.encode());
    let hash = BlobHash(*blake3::hash(&content).as_bytes());
    Some(Encoded { blob: BlobRef { hash, size_bytes: content.len() as u64 }, content })
}

/// What is wrong with arguments that the longest line would make too long for a worker.
fn too_long(arguments: &[String], lines: Lines) -> Option<FieldError> {
    let filled = arguments.iter().map(|argument| {
        let places = argument.matches("{line}").count();
        argument.len().saturating_add(places.saturating_mul(lines.longest_bytes))
    });
    (filled.fold(0, usize::saturating_add) > FILLED_MAX_BYTES).then(|| FieldError {
        field: "arguments".to_owned(),
        message: format!(
            "must be at most {FILLED_MAX_BYTES} bytes with the longest line filled in"
        ),
    })
}

/// How many tasks the lines of a file make; for what is wrong with them, a field is to blame.
fn lines_file_of(
    blobs: &Blobs,
    file: Option<BlobRef>,
) -> Result<Result<Option<Lines>, FieldError>, WebError> {
    let Some(file) = file else { return Ok(Ok(None)) };
    let wrong = |message| Ok(Err(FieldError { field: "lines_file".to_owned(), message }));
    if file.size_bytes > LINES_FILE_MAX_BYTES {
        return wrong(format!("must be at most {LINES_FILE_MAX_BYTES} bytes"));
    }
    let content = File::open(blobs.path(file.hash)).map_err(WebError::File)?;
    match lines::count(content) {
        Ok(lines) => Ok(Ok(Some(lines))),
        Err(LinesError::Read(error)) => Err(WebError::File(error)),
        Err(error) => wrong(error.to_string()),
    }
}

/// A program's text; None if it is no text, or too long to be looked at.
fn text(blobs: &Blobs, file: BlobRef) -> Result<Option<String>, WebError> {
    if file.size_bytes > SOURCE_MAX_BYTES as u64 {
        return Ok(None);
    }
    let content = std::fs::read(blobs.path(file.hash)).map_err(WebError::File)?;
    Ok(String::from_utf8(content).ok())
}

#[cfg(test)]
mod tests {
    use super::{FILLED_MAX_BYTES, Lines, too_long};

    #[test]
    fn arguments_fit_with_the_longest_line_filled_in() {
        let lines = Lines { count: 2, longest_bytes: FILLED_MAX_BYTES / 4 };
        let refused = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
            too_long(&arguments, lines).is_some()
        };
        assert!(!refused(&["{line}", "{line} {line}", "{index}"]));
        assert!(refused(&["{line}{line}{line}{line}"]));
        assert!(refused(&["{line}", "{line}", "{line}", "{line}"]));
    }
}
