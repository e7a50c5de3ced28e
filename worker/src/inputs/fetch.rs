//! Fetches contents over one bulk connection, several of them asked for ahead.

use std::io;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker};
use campusgrid_protocol::task::BlobRef;
use tokio::sync::mpsc;

use super::cache::Fetching;
use super::telling::Telling;
use super::writer::{Part, WriteError, write};
use crate::bulk::{Bulk, UploadError, Way};
use crate::error::WorkerError;

/// Asked for before the first of them has come: small files then take no round trip each.
const AHEAD: usize = 32;

/// Why not everything has come. What has come is kept.
#[derive(Debug)]
pub(super) enum FetchError {
    /// There is no session yet by which the manager could be found.
    NoSession,
    /// The connection, or the manager for now.
    Failed(WorkerError),
    Refused {
        reason: String,
    },
    /// It has another hash; nothing of it is kept.
    Damaged(BlobHash),
    Disk(io::Error),
}

impl From<WorkerError> for FetchError {
    fn from(error: WorkerError) -> Self {
        Self::Failed(error)
    }
}

/// A content as it is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    blob: BlobRef,
    offset_bytes: u64,
}

/// Fetches all that is claimed, each from where it was left.
///
/// # Errors
///
/// Why, and what is still claimed then.
pub(super) async fn fetch(
    way: Way<'_>,
    attempt: AttemptId,
    claims: Vec<Fetching>,
    telling: &mut Telling,
) -> Result<(), (FetchError, Vec<Fetching>)> {
    telling.resume(&claims);
    let asked: Vec<Asked> = claims.iter().map(Asked::of).collect();
    let (parts, writing) = write(claims);
    let received = receive(way, attempt, &asked, &parts, telling).await;
    drop(parts);
    let written = match writing.await {
        Ok(written) => written,
        Err(error) => return Err((FetchError::Disk(io::Error::other(error)), Vec::new())),
    };
    match (written.error, received) {
        (Some(WriteError::Damaged(hash)), _) => Err((FetchError::Damaged(hash), written.left)),
        (Some(WriteError::Disk(error)), _) => Err((FetchError::Disk(error), written.left)),
        (None, Err(error)) => Err((error, written.left)),
        (None, Ok(())) if written.left.is_empty() => Ok(()),
        (None, Ok(())) => Err((FetchError::Failed(WorkerError::Closed), written.left)),
    }
}

impl Asked {
    fn of(claim: &Fetching) -> Self {
        let blob = claim.blob();
        Self { blob, offset_bytes: blob.size_bytes - claim.missing_bytes() }
    }

    fn missing_bytes(self) -> u64 {
        self.blob.size_bytes - self.offset_bytes
    }
}

async fn receive(
    way: Way<'_>,
    attempt: AttemptId,
    asked: &[Asked],
    parts: &mpsc::Sender<Part>,
    telling: &mut Telling,
) -> Result<(), FetchError> {
    let mut bulk = Bulk::open(way, attempt).await.map_err(|error| match error {
        UploadError::Failed(error) => FetchError::Failed(error),
        UploadError::Refused { reason, .. } => FetchError::Refused { reason },
    })?;
    // What is here already is only to be looked at.
    let mut ahead = asked.iter().filter(|asked| asked.missing_bytes() > 0);
    for next in ahead.by_ref().take(AHEAD) {
        ask(&mut bulk, next).await?;
    }
    for asked in asked {
        let mut missing = asked.missing_bytes();
        if parts.send(Part::Next).await.is_err() {
            return Ok(()); // The writer has an error, which says more.
        }
        if missing > 0
            && let Some(next) = ahead.next()
        {
            ask(&mut bulk, next).await?;
        }
        while missing > 0 {
            let bytes = match bulk.receive().await? {
                BulkToWorker::Chunk(bytes) => bytes,
                BulkToWorker::Refused { reason } => return Err(FetchError::Refused { reason }),
                BulkToWorker::Later { reason } => {
                    return Err(WorkerError::FetchPutOff { reason }.into());
                }
                BulkToWorker::Ready | BulkToWorker::Received => {
                    return Err(WorkerError::FetchAnswer.into());
                }
            };
            let length = bytes.len() as u64;
            if length == 0 || length > missing {
                return Err(WorkerError::FetchAnswer.into());
            }
            missing -= length;
            telling.add(length);
            if parts.send(Part::Data(bytes)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn ask(bulk: &mut Bulk<'_>, asked: &Asked) -> Result<(), FetchError> {
    let Asked { blob, offset_bytes } = *asked;
    Ok(bulk.send(&BulkToManager::Fetch { blob, offset_bytes }).await?)
}
