//! A worker's bulk connection: blobs in, each confirmed when it is on disk.

use std::time::Duration;

use campusgrid_protocol::frame;
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::{BulkToManager, BulkToWorker};
use campusgrid_protocol::task::BlobRef;
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;

use super::{Fleet, FleetError, Frames, introduction};
use crate::blobs::{BlobError, Incoming};

/// A bulk connection that sends nothing for this long is closed.
const SILENCE: Duration = Duration::from_secs(60);

impl Fleet {
    pub(super) async fn bulk(
        &self,
        mut frames: Frames,
        session: SessionId,
    ) -> Result<(), FleetError> {
        let first = introduction(frames.next()).await?.ok_or(FleetError::NotAJoin)??;
        let BulkToManager::Open { key, attempt } = frame::decode(&first)? else {
            return Err(FleetError::NotAJoin);
        };
        // Only who was given a task may fill our disk with what came of it.
        let worker = self.roster.worker(blake3::hash(&key.0).as_bytes());
        if !worker.is_some_and(|worker| self.live.is_open(worker, attempt)) {
            let reason = format!("attempt {attempt} is not this machine's, or no longer");
            return send(&mut frames, &BulkToWorker::Refused { reason }).await;
        }
        send(&mut frames, &BulkToWorker::Ready).await?;
        let mut number = 0_u64;
        while let Some(message) = next(&mut frames).await? {
            let BulkToManager::Blob(blob) = message else {
                return Err(FleetError::BadMessage {
                    what: "the worker sent a chunk of no blob".to_owned(),
                });
            };
            if blob.size_bytes > self.limits.blob_max_bytes {
                let max = self.limits.blob_max_bytes;
                let reason = format!("a blob of {} bytes, more than {max}", blob.size_bytes);
                return send(&mut frames, &BulkToWorker::Refused { reason }).await;
            }
            if !self.has(blob).await {
                number += 1;
                let incoming = self.blobs.begin(blob, &format!("{session}-{number}"))?;
                self.receive(&mut frames, blob, incoming).await?;
            }
            send(&mut frames, &BulkToWorker::Received).await?;
        }
        Ok(())
    }

    async fn has(&self, blob: BlobRef) -> bool {
        let blobs = self.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.holds(blob)).await.unwrap_or(false)
    }

    async fn receive(
        &self,
        frames: &mut Frames,
        blob: BlobRef,
        mut incoming: Incoming,
    ) -> Result<(), FleetError> {
        send(frames, &BulkToWorker::Ready).await?;
        let mut whole = blob.size_bytes == 0;
        while !whole {
            let Some(BulkToManager::Chunk(piece)) = next(frames).await? else {
                return Err(FleetError::BadMessage {
                    what: "the worker broke off in the middle of a blob".to_owned(),
                });
            };
            (incoming, whole) = blocking(move || {
                let whole = incoming.add(&piece)?;
                Ok((incoming, whole))
            })
            .await?;
        }
        blocking(move || incoming.finish()).await
    }
}

/// Disks block, and a thread that serves other sessions must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, FleetError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| FleetError::Stopping)??)
}

async fn next(frames: &mut Frames) -> Result<Option<BulkToManager>, FleetError> {
    let seconds = SILENCE.as_secs();
    let frame =
        timeout(SILENCE, frames.next()).await.map_err(|_| FleetError::Silence { seconds })?;
    match frame {
        Some(frame) => Ok(Some(frame::decode(&frame?)?)),
        None => Ok(None),
    }
}

async fn send(frames: &mut Frames, message: &BulkToWorker) -> Result<(), FleetError> {
    let seconds = SILENCE.as_secs();
    let sent = timeout(SILENCE, frames.send(frame::encode(message)?)).await;
    Ok(sent.map_err(|_| FleetError::Silence { seconds })??)
}
