//! A worker's bulk connection: blobs in, each confirmed when it is on disk.

use std::time::Duration;

use campusgrid_core::input::{Intake, Shut};
use campusgrid_protocol::id::{AttemptId, SessionId};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker};
use campusgrid_protocol::task::BlobRef;
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;

use super::check::bad;
use super::door::{Guest, Member, see_out};
use super::wire::Wire;
use super::{Fleet, FleetError, Frames, introduction};
use crate::blobs::{BlobError, Incoming};

/// A bulk connection that sends nothing for this long is closed.
const SILENCE: Duration = Duration::from_secs(60);

/// A bulk connection, whose other end is a machine that has joined.
struct Bulk<'a> {
    fleet: &'a Fleet,
    frames: &'a mut Frames,
    wire: Wire,
    member: Member,
    session: SessionId,
    /// Blobs so far, for names of what is being written.
    number: u64,
}

/// Why nothing more is taken in on a connection.
enum Stop {
    /// These blobs are never wanted.
    Refused(String),
    /// They are, but not now.
    Later(String),
}

impl Fleet {
    pub(super) async fn bulk(&self, guest: Guest, session: SessionId) -> Result<(), FleetError> {
        let member = guest.member();
        let Guest { mut frames, wire, .. } = guest;
        let end = match member {
            Ok(member) => {
                let frames = &mut frames;
                Bulk { fleet: self, frames, wire, member, session, number: 0 }.run().await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &end
            && let Some(reason) = error.to_peer()
        {
            drop(send(&mut frames, wire, BulkToWorker::Later { reason }).await); // It may be gone.
        }
        see_out(frames.get_mut()).await;
        end
    }

    /// Why blobs of a machine's attempt are not taken in now, if they are not. Asked again for each:
    /// meanwhile the machine may have been removed, and the attempt be over.
    fn stop(&self, member: &Member, attempt: AttemptId) -> Option<Stop> {
        match &self.engine.snapshot().intake {
            Intake::Open => {}
            Intake::Shut(Shut::DiskFull) => {
                return Some(Stop::Later("the manager's disk is full".to_owned()));
            }
            Intake::Shut(Shut::BooksBroken { .. }) => {
                return Some(Stop::Later("the manager's books do not balance".to_owned()));
            }
        }
        let Some(present) = self.roster.present(&member.key_hash) else {
            return Some(Stop::Later("this machine is not connected".to_owned()));
        };
        // Only who was given a task may fill our disk with what came of it.
        if !self.around.live.is_open(present.worker, attempt) {
            let reason = format!("attempt {attempt} is not this machine's, or no longer");
            return Some(Stop::Refused(reason));
        }
        // One that began before this manager did has said elsewhere what it may take.
        self.budgets.grant(present.worker, attempt, present.disk_mib);
        None
    }

    async fn has(&self, blob: BlobRef) -> bool {
        let blobs = self.around.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.holds(blob)).await.unwrap_or(false)
    }
}

impl Bulk<'_> {
    async fn run(mut self) -> Result<(), FleetError> {
        let first = introduction(self.frames.next()).await?.ok_or(FleetError::FirstMessage)??;
        let BulkToManager::Open { attempt } = self.wire.bulk_to_manager(&first)? else {
            return Err(FleetError::FirstMessage);
        };
        let Some(_one_of_few) = self.fleet.roster.begin_bulk(self.member.key_hash) else {
            return self.stop(Stop::Later("this machine sends too much at once".to_owned())).await;
        };
        if let Some(stop) = self.fleet.stop(&self.member, attempt) {
            return self.stop(stop).await;
        }
        self.send(BulkToWorker::Ready).await?;
        while let Some(message) = self.next().await? {
            let BulkToManager::Blob(blob) = message else {
                return Err(bad("a chunk of no blob"));
            };
            if let Some(stop) = self.take_in(attempt, blob).await? {
                return self.stop(stop).await;
            }
            self.send(BulkToWorker::Received).await?;
        }
        Ok(())
    }

    /// Takes in one blob, unless it is here.
    async fn take_in(
        &mut self,
        attempt: AttemptId,
        blob: BlobRef,
    ) -> Result<Option<Stop>, FleetError> {
        if let Some(stop) = self.fleet.stop(&self.member, attempt) {
            return Ok(Some(stop));
        }
        let max = self.fleet.limits.blob_max_bytes;
        if blob.size_bytes > max {
            let reason = format!("a blob of {} bytes, more than {max}", blob.size_bytes);
            return Ok(Some(Stop::Refused(reason)));
        }
        if self.fleet.has(blob).await {
            return Ok(None);
        }
        let taken = match self.fleet.budgets.take(attempt, blob.size_bytes) {
            Ok(taken) => taken,
            Err(over) => return Ok(Some(Stop::Refused(over.to_string()))),
        };
        self.number += 1;
        let name = format!("{}-{}", self.session, self.number);
        let blobs = self.fleet.around.blobs.clone();
        let received = match blocking(move || blobs.begin(blob, &name)).await {
            Ok(incoming) => self.receive(blob, incoming).await,
            Err(error) => Err(error),
        };
        match received {
            Ok(()) => {
                taken.keep();
                Ok(None)
            }
            Err(FleetError::Blob(BlobError::DiskFull { .. })) => {
                Ok(Some(Stop::Later("the manager's disk is full".to_owned())))
            }
            Err(error) => Err(error),
        }
    }

    async fn receive(&mut self, blob: BlobRef, mut incoming: Incoming) -> Result<(), FleetError> {
        self.send(BulkToWorker::Ready).await?;
        let mut whole = blob.size_bytes == 0;
        while !whole {
            let Some(BulkToManager::Chunk(piece)) = self.next().await? else {
                return Err(bad("only a part of a blob"));
            };
            (incoming, whole) = blocking(move || {
                let whole = incoming.add(&piece)?;
                Ok((incoming, whole))
            })
            .await?;
        }
        blocking(move || incoming.finish()).await
    }

    async fn stop(&mut self, stop: Stop) -> Result<(), FleetError> {
        self.send(match stop {
            Stop::Refused(reason) => BulkToWorker::Refused { reason },
            Stop::Later(reason) => BulkToWorker::Later { reason },
        })
        .await
    }

    async fn next(&mut self) -> Result<Option<BulkToManager>, FleetError> {
        let seconds = SILENCE.as_secs();
        let frame = timeout(SILENCE, self.frames.next())
            .await
            .map_err(|_| FleetError::Silence { seconds })?;
        match frame {
            Some(frame) => Ok(Some(self.wire.bulk_to_manager(&frame?)?)),
            None => Ok(None),
        }
    }

    async fn send(&mut self, message: BulkToWorker) -> Result<(), FleetError> {
        send(self.frames, self.wire, message).await
    }
}

/// Disks block, and a thread that serves other sessions must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, FleetError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| FleetError::Stopping)??)
}

async fn send(frames: &mut Frames, wire: Wire, message: BulkToWorker) -> Result<(), FleetError> {
    let Some(payload) = wire.bulk_to_worker(message)? else { return Ok(()) };
    let seconds = SILENCE.as_secs();
    let sent = timeout(SILENCE, frames.send(payload)).await;
    Ok(sent.map_err(|_| FleetError::Silence { seconds })??)
}
