//! Connections of their own for blobs, so that a heartbeat never waits behind one; and how those of an
//! ended attempt are brought to the manager.

use std::path::PathBuf;
use std::time::Duration;

use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, CHUNK_MAX_BYTES};
use campusgrid_protocol::task::BlobRef;
use futures_util::{SinkExt, StreamExt};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::error::WorkerError;
use crate::hello::{Door, Frames, ManagerAddress, dial};
use crate::pacing::Pacing;

/// For each answer and each chunk.
const LIMIT: Duration = Duration::from_secs(60);

/// A blob and the file that holds it.
#[derive(Debug, Clone)]
pub(crate) struct LocalBlob {
    pub(crate) blob: BlobRef,
    pub(crate) file: PathBuf,
}

/// Why blobs are not with the manager, or not here.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// For now: they are to be offered again.
    Failed(WorkerError),
    /// For good: this blob, or none of the attempt's.
    Refused { blob: Option<BlobHash>, reason: String },
}

impl From<WorkerError> for UploadError {
    fn from(error: WorkerError) -> Self {
        Self::Failed(error)
    }
}

/// Uploads what the manager does not have yet; a blob that it has costs one message.
///
/// # Errors
///
/// `Failed` with those of the connection, `UploadPutOff`, `UploadAnswer` and `ReadBlob`; `Refused`.
/// Blobs before the one that failed stay with the manager.
pub(crate) async fn upload(
    way: Way<'_>,
    attempt: AttemptId,
    blobs: &[LocalBlob],
) -> Result<(), UploadError> {
    let mut bulk = Bulk::open(way, attempt).await?;
    for local in blobs {
        let refused = |reason| UploadError::Refused { blob: Some(local.blob.hash), reason };
        bulk.send(&BulkToManager::Blob(local.blob)).await?;
        match bulk.answer().await? {
            Answer::Received => continue,
            Answer::Ready => bulk.send_content(local).await?,
            Answer::Refused { reason } => return Err(refused(reason)),
        }
        match bulk.answer().await? {
            Answer::Received => {}
            Answer::Ready => return Err(WorkerError::UploadAnswer.into()),
            Answer::Refused { reason } => return Err(refused(reason)),
        }
    }
    Ok(())
}

enum Answer {
    Ready,
    Received,
    Refused { reason: String },
}

/// A bulk connection on which an attempt is open.
pub(crate) struct Bulk<'a> {
    frames: Frames,
    manager: &'a ManagerAddress,
    pacing: &'a Pacing,
}

/// The way to the manager, and how fast files may go there and come from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) door: &'a Door,
    pub(crate) pacing: &'a Pacing,
}

impl<'a> Bulk<'a> {
    /// Dials, and says for which attempt.
    ///
    /// # Errors
    ///
    /// `Failed` with those of the connection, `UploadPutOff` and `UploadAnswer`; `Refused`.
    pub(crate) async fn open(way: Way<'a>, attempt: AttemptId) -> Result<Self, UploadError> {
        let (frames, _) = dial(way.door, ConnectionKind::Bulk).await?;
        let mut bulk = Self { frames, manager: &way.door.manager, pacing: way.pacing };
        bulk.send(&BulkToManager::Open { attempt }).await?;
        match bulk.answer().await? {
            Answer::Ready => Ok(bulk),
            Answer::Received => Err(WorkerError::UploadAnswer.into()),
            Answer::Refused { reason } => Err(UploadError::Refused { blob: None, reason }),
        }
    }

    pub(crate) async fn send(&mut self, message: &BulkToManager) -> Result<(), WorkerError> {
        let payload = frame::encode(message).map_err(|source| WorkerError::Frame { source })?;
        let sent = timeout(LIMIT, self.frames.send(payload)).await;
        sent.map_err(|_| self.silence())?.map_err(|source| WorkerError::Send { source })
    }

    async fn answer(&mut self) -> Result<Answer, WorkerError> {
        match self.receive().await? {
            BulkToWorker::Ready => Ok(Answer::Ready),
            BulkToWorker::Received => Ok(Answer::Received),
            BulkToWorker::Refused { reason } => Ok(Answer::Refused { reason }),
            BulkToWorker::Later { reason } => Err(WorkerError::UploadPutOff { reason }),
            BulkToWorker::Chunk(_) => Err(WorkerError::UploadAnswer),
        }
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    ///
    /// `Silence`, `Closed`, `Receive`, `Frame`.
    pub(crate) async fn receive(&mut self) -> Result<BulkToWorker, WorkerError> {
        let next = timeout(LIMIT, self.frames.next()).await.map_err(|_| self.silence())?;
        let payload = next.ok_or(WorkerError::Closed)?;
        let payload = payload.map_err(|source| WorkerError::Receive { source })?;
        self.pacing.receive(payload.len()).await;
        frame::decode(&payload).map_err(|source| WorkerError::Frame { source })
    }

    async fn send_content(&mut self, local: &LocalBlob) -> Result<(), WorkerError> {
        let failed = |source| WorkerError::ReadBlob { path: local.file.clone(), source };
        let mut file = File::open(&local.file).await.map_err(failed)?;
        let mut left = local.blob.size_bytes;
        while left > 0 {
            let length = CHUNK_MAX_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut chunk = vec![0; length];
            file.read_exact(&mut chunk).await.map_err(failed)?;
            self.pacing.send(length).await;
            self.send(&BulkToManager::Chunk(chunk)).await?;
            left -= length as u64;
        }
        Ok(())
    }

    fn silence(&self) -> WorkerError {
        WorkerError::Silence { manager: self.manager.to_string(), limit_s: LIMIT.as_secs() }
    }
}
