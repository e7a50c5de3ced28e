//! A file that comes in one go, and what every upload goes through.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::rest::files::Uploaded;
use futures_util::{Stream, StreamExt};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Put;
use crate::blobs::{BlobError, Expected, Incoming};
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::files::churn::Brought;
use crate::web::files::inputs::{check_draft, checked_path, settle};
use crate::web::files::quota::{check_brought, check_storage};
use crate::web::files::unpack::Unpacking;
use crate::web::patience::TooSlow;

/// Gathered before it is written: a thread is woken for it. Bytes.
pub(super) const GATHERED_BYTES: usize = 1 << 20;

/// Takes in a file of a draft whose content comes as a stream; an error in that breaks it off.
///
/// # Errors
///
/// `NotFound`, `Fields`, `Archive`, `WrongHash`, `FileTooLarge`, `StorageFull`, `WrittenTooMuch`,
/// `UploadsBusy`, `TooSlow`, `Body` if it broke off; `Ask`, `Keep`, `Read`. The draft is then as it was.
pub(in crate::web) async fn take_in<S, E>(
    site: &Site,
    login: &Login,
    job: JobId,
    put: Put,
    content: S,
) -> Result<Uploaded, WebError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    take_announced(site, login, job, put, (None, content, given_up)).await
}

/// Takes it in as [`take_in`]; an archive only until `given_up`, when nobody waits for it any more.
pub(super) async fn take_announced<S, E>(
    site: &Site,
    login: &Login,
    job: JobId,
    put: Put,
    (announced_bytes, mut content, given_up): (Option<u64>, S, CancellationToken),
) -> Result<Uploaded, WebError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (user, path, kind) = (login.id(), checked_path(put.path.clone())?, put.kind()?);
    let _place = site.files.upload(user)?;
    check_draft(site, login, job).await?;
    let announced_bytes = announced_bytes.unwrap_or(0);
    let begun_bytes = begun_bytes(site, user).await?;
    let most = check_size(site, user, announced_bytes, begun_bytes).await?;
    let (blobs, hash) = (site.blobs.clone(), put.blake3);
    let expected = Expected::AtMost { bytes: most.bytes, hash };
    let mut incoming = on_disk(move || blobs.receive(expected, announced_bytes, user)).await?;
    let (mut gathered, mut came) = (BytesMut::new(), 0);
    while let Some(piece) = next(site, &mut content).await? {
        came += piece.len() as u64;
        gathered.extend_from_slice(&piece);
        if gathered.len() >= GATHERED_BYTES {
            incoming =
                add(incoming, gathered.split().freeze()).await.map_err(|it| most.told(it))?;
        }
    }
    incoming = add(incoming, gathered.freeze()).await.map_err(|it| most.told(it))?;
    let Some(kind) = kind else {
        let brought = Brought { files: 1, bytes: came };
        check_brought(site, user, begun_bytes, brought).await?;
        let blob = on_disk(move || incoming.finish()).await?;
        let file = InputFile { path, blob, executable: put.executable };
        return settle(site, login, job, vec![file], begun_bytes).await;
    };
    let archive = on_disk(move || incoming.written()).await?;
    let files = unpack(
        site,
        begun_bytes,
        Unpacking {
            blobs: site.blobs.clone(),
            user,
            kind,
            archive: archive.path().to_owned(),
            path,
            file_bytes: site.config.files.file_max_bytes,
            all_bytes: most.left_bytes,
            given_up,
            clock: site.clock,
        },
    );
    let files = files.await?;
    settle(site, login, job, files, begun_bytes).await
}

/// Unpacks an archive when it is its turn.
pub(super) async fn unpack(
    site: &Site,
    begun_bytes: u64,
    unpacking: Unpacking,
) -> Result<Vec<InputFile>, WebError> {
    let (user, blobs) = (unpacking.user, unpacking.blobs.clone());
    let turn = tokio::select! {
        biased;
        () = unpacking.given_up.cancelled() => return Err(WebError::UploadReplaced),
        () = site.shutdown.cancelled() => return Err(WebError::Ask(AskError::Stopping)),
        turn = site.files.unpacking.take(user) => turn,
    };
    let unpacking = spawn_blocking(move || {
        let unpacked = unpacking.run();
        drop(turn); // Not before: whoever waits here may go.
        unpacked
    });
    let (files, written) = unpacking.await.map_err(|_| WebError::Ask(AskError::Stopping))??;
    let bytes = written.iter().map(|it| it.blob().size_bytes).sum();
    let brought = Brought { files: written.len() as u64, bytes };
    check_brought(site, user, begun_bytes, brought).await?;
    on_disk(move || blobs.settle(written)).await?;
    Ok(files)
}

/// How much more a user may bring now. Bytes.
///
/// # Errors
///
/// `Read`.
pub(in crate::web) async fn left_bytes(site: &Site, user: UserId) -> Result<u64, WebError> {
    let begun_bytes = begun_bytes(site, user).await?;
    check_storage(site, user, begun_bytes, 0).await
}

/// The most that may come of a user now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of one file.
    bytes: u64,
    file_max_bytes: u64,
    pub(super) left_bytes: u64,
    storage_max_bytes: u64,
}

impl Most {
    /// What it means that more came.
    fn told(self, error: BlobError) -> WebError {
        let Self { bytes, file_max_bytes, left_bytes, storage_max_bytes: max_bytes } = self;
        if !matches!(error, BlobError::TooLong { .. }) {
            error.into()
        } else if bytes == file_max_bytes {
            WebError::FileTooLarge { max_bytes: file_max_bytes }
        } else {
            WebError::StorageFull { wanted_bytes: left_bytes + 1, left_bytes, max_bytes }
        }
    }
}

/// Checks a file of this size against all limits.
pub(super) async fn check_size(
    site: &Site,
    user: UserId,
    bytes: u64,
    begun_bytes: u64,
) -> Result<Most, WebError> {
    let limits = site.config.files;
    if bytes > limits.file_max_bytes {
        return Err(WebError::FileTooLarge { max_bytes: limits.file_max_bytes });
    }
    let left_bytes = check_storage(site, user, begun_bytes, bytes).await?;
    let bytes = limits.file_max_bytes.min(left_bytes);
    let (file_max_bytes, storage_max_bytes) = (limits.file_max_bytes, limits.storage_max_bytes);
    Ok(Most { bytes, file_max_bytes, left_bytes, storage_max_bytes })
}

/// What a user's uploads in pieces are to come to.
pub(super) async fn begun_bytes(site: &Site, user: UserId) -> Result<u64, WebError> {
    let uploads = site.blobs.uploads().clone();
    let pending = spawn_blocking(move || uploads.pending(user)).await;
    Ok(pending.map_err(|_| WebError::Ask(AskError::Stopping))?.bytes)
}

/// The next of a body, which comes in time or ends (see `patience`); None at its end.
pub(super) async fn next<S, E>(site: &Site, content: &mut S) -> Result<Option<Bytes>, WebError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let next = tokio::select! {
        biased;
        () = site.shutdown.cancelled() => return Err(WebError::Ask(AskError::Stopping)),
        next = content.next() => next,
    };
    match next {
        None => Ok(None),
        Some(Ok(piece)) => Ok(Some(piece)),
        Some(Err(error)) => {
            let error: Box<dyn Error + Send + Sync> = error.into();
            let is_slow = TooSlow::is_behind(error.as_ref());
            let broken = || WebError::Body("the upload broke off".to_owned());
            Err(if is_slow { WebError::TooSlow } else { broken() })
        }
    }
}

async fn add(mut incoming: Incoming, piece: Bytes) -> Result<Incoming, BlobError> {
    let adding = spawn_blocking(move || incoming.add(&piece).map(|_| incoming));
    adding
        .await
        .unwrap_or_else(|error| Err(BlobError::Write { source: std::io::Error::other(error) }))
}

/// Disks block, and a thread that serves others must not.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, WebError> {
    let done = spawn_blocking(work).await.map_err(|_| WebError::Ask(AskError::Stopping))?;
    Ok(done?)
}
