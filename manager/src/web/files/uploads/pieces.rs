//! One piece of an upload in pieces, and what it leads to.

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::rest::files::{Upload, Uploaded};
use futures_util::Stream;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Put;
use super::whole::{GATHERED_BYTES, begun_bytes, check_size, next, on_disk, unpack};
use crate::blobs::BlobError;
use crate::blobs::uploads::{Key, Partial, Turn};
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::files::churn::Brought;
use crate::web::files::inputs::{check_draft, settle};
use crate::web::files::quota::{PIECE_MAX_BYTES, UNFINISHED_MAX, check_brought};
use crate::web::files::unpack::Unpacking;

/// A piece that is to be taken.
pub(super) struct Piece {
    site: Site,
    login: Login,
    job: JobId,
    put: Put,
    offset_bytes: u64,
    size_bytes: u64,
    /// Nobody waits for what an archive unpacks to any more.
    given_up: CancellationToken,
}

impl Piece {
    /// One that begins at the first of these places; the second is the size of all.
    pub(super) fn new(
        site: Site,
        login: Login,
        (job, put): (JobId, Put),
        (offset_bytes, size_bytes): (u64, u64),
        given_up: CancellationToken,
    ) -> Self {
        Self { site, login, job, put, offset_bytes, size_bytes, given_up }
    }

    /// Takes it.
    ///
    /// # Errors
    ///
    /// As of an upload in one go, and `UploadOffset`, `UploadReplaced`, `TooManyUploads`. What has come
    /// by then is kept.
    pub(super) async fn take<S, E>(
        self,
        announced_bytes: Option<u64>,
        mut content: S,
    ) -> Result<Response, WebError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (site, user) = (&self.site, self.login.id());
        self.put.kind()?;
        let _place = site.files.upload(user)?;
        check_draft(site, &self.login, self.job).await?;
        if announced_bytes.is_some_and(|bytes| bytes > PIECE_MAX_BYTES) {
            return Err(too_large());
        }
        let key = Key { user, job: self.job, path: self.put.path.clone() };
        let turn = self.begin(site.blobs.uploads().take(key).await).await?;
        let (mut turn, sent) = self.write(turn, &mut content).await?;
        // Whatever became of the rest, what has come is there for whoever goes on.
        let (turn, paused) = blocking(move || {
            let paused = present(&mut turn).and_then(|partial| {
                partial.pause()?;
                Ok(partial.offset_bytes())
            });
            (turn, paused)
        })
        .await?;
        sent?;
        let offset_bytes = paused?;
        if offset_bytes < self.size_bytes {
            let (path, size_bytes) = (self.put.path.clone(), self.size_bytes);
            return Ok(Json(Upload { path, offset_bytes, size_bytes }).into_response());
        }
        let uploaded = self.finish(turn).await?;
        Ok((StatusCode::CREATED, Json(uploaded)).into_response())
    }

    /// Finds the upload that this is the next piece of, or begins it.
    async fn begin(&self, turn: Turn) -> Result<Turn, WebError> {
        let (size_bytes, hash) = (self.size_bytes, self.put.blake3);
        let (turn, found) = with(turn, move |turn| {
            let found = turn.open()?;
            Ok(found.map(|it| (it.is_to_be(size_bytes, hash), it.offset_bytes())))
        })
        .await?;
        match found {
            Some((true, offset_bytes)) if offset_bytes == self.offset_bytes => return Ok(turn),
            Some((true, offset_bytes)) => return Err(WebError::UploadOffset { offset_bytes }),
            Some((false, _)) if self.offset_bytes > 0 => return Err(WebError::UploadReplaced),
            None if self.offset_bytes > 0 => {
                return Err(WebError::UploadOffset { offset_bytes: 0 });
            }
            Some((false, _)) | None => {}
        }
        let (site, user) = (&self.site, self.login.id());
        let uploads = site.blobs.uploads().clone();
        let counting = site.files.count(user).await;
        let pending = blocking(move || uploads.pending(user)).await?;
        if pending.uploads >= UNFINISHED_MAX {
            return Err(WebError::TooManyUploads { max: UNFINISHED_MAX });
        }
        check_size(site, user, size_bytes, pending.bytes).await?;
        let (turn, ()) = with(turn, move |turn| turn.begin(size_bytes, hash).map(drop)).await?;
        drop(counting);
        Ok(turn)
    }

    /// Writes what comes; yields why it ended early, if it did.
    async fn write<S, E>(
        &self,
        mut turn: Turn,
        content: &mut S,
    ) -> Result<(Turn, Result<(), WebError>), WebError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut gathered = BytesMut::new();
        let mut left = PIECE_MAX_BYTES;
        loop {
            let next = tokio::select! {
                biased;
                () = turn.over() => Err(WebError::UploadReplaced),
                next = next(&self.site, content) => next,
            };
            let ended = match next {
                Ok(Some(piece)) if piece.len() as u64 > left => Some(Err(too_large())),
                Ok(Some(piece)) => {
                    left -= piece.len() as u64;
                    gathered.extend_from_slice(&piece);
                    None
                }
                Ok(None) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            if ended.is_some() || gathered.len() >= GATHERED_BYTES {
                let bytes = gathered.split().freeze();
                let added;
                (turn, added) = blocking(move || {
                    let added = present(&mut turn).and_then(|partial| partial.add(&bytes));
                    (turn, added)
                })
                .await?;
                if let Err(error) = added {
                    return Ok((turn, Err(told(error))));
                }
            }
            if let Some(ended) = ended {
                return Ok((turn, ended));
            }
        }
    }

    /// All of it is here.
    async fn finish(&self, turn: Turn) -> Result<Uploaded, WebError> {
        let (site, user) = (&self.site, self.login.id());
        let (turn, checked) = with(turn, |turn| {
            let partial = present(turn)?;
            let checked = partial.check().map(|blob| (blob, partial.path()));
            if let Err(BlobError::WrongHash { .. }) = &checked {
                turn.discard()?; // No piece can mend it.
            }
            Ok(checked)
        })
        .await?;
        let (blob, content) = checked?;
        let begun_bytes = begun_bytes(site, user).await?.saturating_sub(self.size_bytes);
        let path = self.put.path.clone();
        let files = match self.put.kind()? {
            None => {
                let brought = Brought { files: 1, bytes: self.size_bytes };
                check_brought(site, user, begun_bytes, brought).await?;
                let blobs = site.blobs.clone();
                on_disk(move || blobs.adopt(&content, blob)).await?;
                vec![InputFile { path, blob, executable: self.put.executable }]
            }
            Some(kind) => {
                let file_bytes = site.config.files.file_max_bytes;
                let all_bytes = check_size(site, user, 0, begun_bytes).await?.left_bytes;
                let (blobs, archive) = (site.blobs.clone(), content);
                let (given_up, clock) = (self.given_up.clone(), site.clock);
                let unpacking = Unpacking {
                    blobs,
                    user,
                    kind,
                    archive,
                    path,
                    file_bytes,
                    all_bytes,
                    given_up,
                    clock,
                };
                match unpack(site, begun_bytes, unpacking).await {
                    // The same again would come to the same.
                    Err(error @ WebError::Archive(_)) => {
                        with(turn, Turn::discard).await?;
                        return Err(error);
                    }
                    unpacked => unpacked?,
                }
            }
        };
        // Only then is it forgotten: if the draft cannot take it now, the client ends it later.
        let uploaded = settle(site, &self.login, self.job, files, begun_bytes).await?;
        with(turn, Turn::discard).await?;
        Ok(uploaded)
    }
}

fn too_large() -> WebError {
    WebError::TooLarge { max_bytes: usize::try_from(PIECE_MAX_BYTES).unwrap_or(usize::MAX) }
}

fn told(error: BlobError) -> WebError {
    if let BlobError::TooLong { expected } = error {
        WebError::Body(format!("more came than the {expected} bytes announced"))
    } else {
        error.into()
    }
}

fn present(turn: &mut Turn) -> Result<&mut Partial, BlobError> {
    let gone = || BlobError::Reread { source: std::io::ErrorKind::NotFound.into() };
    turn.open()?.ok_or_else(gone)
}

/// Does something with an upload on a thread that may block.
async fn with<T: Send + 'static>(
    mut turn: Turn,
    work: impl FnOnce(&mut Turn) -> Result<T, BlobError> + Send + 'static,
) -> Result<(Turn, T), WebError> {
    Ok(blocking(move || work(&mut turn).map(|done| (turn, done))).await??)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WebError> {
    spawn_blocking(work).await.map_err(|_| WebError::Ask(AskError::Stopping))
}
