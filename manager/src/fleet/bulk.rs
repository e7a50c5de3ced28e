//! A worker's bulk connection: blobs in, each confirmed when it is on disk, and a task's files out.

use std::time::Duration;

use campusgrid_core::input::{Intake, Shut};
use campusgrid_protocol::id::{AttemptId, SessionId, UserId, WorkerId};
use campusgrid_protocol::message::{BulkToManager, BulkToWorker};
use campusgrid_protocol::task::BlobRef;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};

use super::budget::Grant;
use super::check::bad;
use super::door::{Guest, Member, see_out};
use super::hand_out::NamedBy;
use super::pace::Pace;
use super::strangers::Place;
use super::wire::Wire;
use super::{Fleet, FleetError, Frames, introduction};
use crate::blobs::{BlobError, Incoming};
use crate::store::read::{Reader, StoredJob, Viewer};

/// A bulk connection that sends nothing for this long is closed.
const SILENCE: Duration = Duration::from_secs(60);

/// A bulk connection, whose other end is a machine that has joined.
pub(super) struct Bulk<'a> {
    pub(super) fleet: &'a Fleet,
    frames: &'a mut Frames,
    wire: Wire,
    pub(super) member: Member,
    session: SessionId,
    place: Place,
    /// Blobs so far, for names of what is being written.
    number: u64,
    /// What the attempt's files are, once those were asked for.
    pub(super) named: NamedBy,
}

/// What has become of a blob.
enum Taken {
    Whole,
    Stopped(Stop),
}

/// Why nothing more is taken in or handed out on a connection.
pub(super) enum Stop {
    /// These blobs are never wanted.
    Refused(String),
    /// They are, but not now.
    Later(String),
}

impl Fleet {
    pub(super) async fn bulk(&self, guest: Guest, session: SessionId) -> Result<(), FleetError> {
        let member = guest.member();
        let Guest { mut frames, wire, place, .. } = guest;
        let end = match member {
            Ok(member) => {
                let frames = &mut frames;
                let (number, named) = (0, NamedBy::default());
                Bulk { fleet: self, frames, wire, member, session, place, number, named }
                    .run()
                    .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &end
            && let Some(reason) = error.to_peer()
        {
            let later = BulkToWorker::Later { reason };
            drop(send(&mut frames, wire, later, SILENCE).await); // It may be gone.
        }
        see_out(frames.get_mut()).await;
        end
    }

    /// The machine as which blobs of an attempt are taken in now, if they are. Asked again for each
    /// piece.
    fn sender(&self, member: &Member, attempt: AttemptId) -> Result<WorkerId, Stop> {
        match &self.engine.snapshot().intake {
            Intake::Open => {}
            Intake::Shut(Shut::DiskFull) => {
                return Err(Stop::Later("the manager's disk is full".to_owned()));
            }
            Intake::Shut(Shut::BooksBroken { .. }) => {
                return Err(Stop::Later("the manager's books do not balance".to_owned()));
            }
        }
        self.runner(member, attempt)
    }

    /// The machine that runs an attempt, if this is it: only who was given a task may fill our disk
    /// with what came of it, or have what it is made of. Asked again for each piece: meanwhile the
    /// machine may have been removed, and the attempt be over.
    pub(super) fn runner(&self, member: &Member, attempt: AttemptId) -> Result<WorkerId, Stop> {
        let Some(worker) = self.roster.present(&member.key_hash) else {
            return Err(Stop::Later("this machine is not connected".to_owned()));
        };
        if !self.around.live.is_open(worker, attempt) {
            let reason = format!("attempt {attempt} is not this machine's, or no longer");
            return Err(Stop::Refused(reason));
        }
        Ok(worker)
    }

    /// Grants an attempt what its job has asked for, if it began before this manager did: what its
    /// worker says of itself is no bound.
    async fn grant(&self, worker: WorkerId, attempt: AttemptId) -> Result<(), FleetError> {
        if self.budgets.knows(attempt) {
            return Ok(());
        }
        // Everybody's jobs, as an operator sees them; whose it is does not matter here.
        let viewer = Viewer { user: UserId(0), operator: true };
        let job = attempt.task.job;
        let find = move |reader: &Reader| {
            let saved = reader.checkpoint_of(attempt.task)?;
            Ok((reader.job(viewer, job)?, reader.manifest_of(job)?, saved))
        };
        let found = self.around.readers.read(find).await.map_err(FleetError::Budget)?;
        if let (Some(StoredJob { spec, .. }), inputs, saved) = found {
            let checkpoint = saved.map(|saved| saved.manifest);
            let grant = Grant { disk_mib: spec.needs.disk_mib, inputs, checkpoint };
            self.budgets.grant(worker, attempt, grant);
        }
        Ok(())
    }

    async fn has(&self, blob: BlobRef) -> bool {
        let blobs = self.around.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.holds(blob)).await.unwrap_or(false)
    }
}

impl Bulk<'_> {
    async fn run(mut self) -> Result<(), FleetError> {
        let first = self.place.staying(introduction(self.frames.next())).await??;
        let first = first.ok_or(FleetError::FirstMessage)??;
        let BulkToManager::Open { attempt } = self.wire.bulk_to_manager(&first)? else {
            return Err(FleetError::FirstMessage);
        };
        let Some(_one_of_few) = self.fleet.roster.begin_bulk(self.member.key_hash) else {
            return self.stop(Stop::Later("this machine sends too much at once".to_owned())).await;
        };
        let worker = match self.fleet.runner(&self.member, attempt) {
            Ok(worker) => worker,
            Err(stop) => return self.stop(stop).await,
        };
        self.place.know();
        self.fleet.grant(worker, attempt).await?;
        self.send(BulkToWorker::Ready).await?;
        while let Some(message) = self.next().await? {
            match message {
                BulkToManager::Blob(blob) => match self.take_in(attempt, blob).await? {
                    Taken::Whole => self.send(BulkToWorker::Received).await?,
                    Taken::Stopped(stop) => return self.stop(stop).await,
                },
                BulkToManager::Fetch { blob, offset_bytes } => {
                    if let Err(stop) = self.hand_out(attempt, blob, offset_bytes).await? {
                        return self.stop(stop).await;
                    }
                }
                BulkToManager::Chunk(_) => return Err(bad("a chunk of no blob")),
                BulkToManager::Open { .. } => return Err(bad("a second opening")),
            }
        }
        Ok(())
    }

    /// Takes in one blob, unless the attempt has sent it before.
    async fn take_in(&mut self, attempt: AttemptId, blob: BlobRef) -> Result<Taken, FleetError> {
        let worker = match self.fleet.sender(&self.member, attempt) {
            Ok(worker) => worker,
            Err(stop) => return Ok(Taken::Stopped(stop)),
        };
        let max = self.fleet.limits.blob_max_bytes;
        if blob.size_bytes > max {
            let reason = format!("a blob of {} bytes, more than {max}", blob.size_bytes);
            return Ok(Taken::Stopped(Stop::Refused(reason)));
        }
        // Of one that is here for somebody else nothing is said: it is taken in again.
        if self.fleet.budgets.has(attempt, &blob) && self.fleet.has(blob).await {
            return Ok(Taken::Whole);
        }
        let room = match self.fleet.budgets.take(attempt, blob) {
            Ok(room) => room,
            Err(over) => return Ok(Taken::Stopped(Stop::Refused(over.to_string()))),
        };
        self.number += 1;
        let name = format!("{}-{}", self.session, self.number);
        let blobs = self.fleet.around.blobs.clone();
        let received = match blocking(move || blobs.begin(blob, &name, worker)).await {
            Ok(incoming) => self.receive(attempt, blob, incoming).await,
            Err(error) => Err(error),
        };
        match received {
            Ok(Taken::Whole) => {
                room.keep();
                Ok(Taken::Whole)
            }
            Err(FleetError::Blob(BlobError::DiskFull { .. })) => {
                Ok(Taken::Stopped(Stop::Later("the manager's disk is full".to_owned())))
            }
            Err(FleetError::Blob(error @ BlobError::TooMuchAtOnce { .. })) => {
                Ok(Taken::Stopped(Stop::Later(error.to_string())))
            }
            stopped @ (Ok(Taken::Stopped(_)) | Err(_)) => stopped,
        }
    }

    async fn receive(
        &mut self,
        attempt: AttemptId,
        blob: BlobRef,
        mut incoming: Incoming,
    ) -> Result<Taken, FleetError> {
        self.send(BulkToWorker::Ready).await?;
        let mut whole = blob.size_bytes == 0;
        let mut pace = Pace::default();
        while !whole {
            let asked = Instant::now();
            let Some(BulkToManager::Chunk(piece)) = self.next_within(pace.left()).await? else {
                return Err(bad("only a part of a blob"));
            };
            pace.note(asked.elapsed(), piece.len());
            if let Err(stop) = self.fleet.sender(&self.member, attempt) {
                return Ok(Taken::Stopped(stop));
            }
            (incoming, whole) = blocking(move || {
                let whole = incoming.add(&piece)?;
                Ok((incoming, whole))
            })
            .await?;
        }
        blocking(move || incoming.finish()).await?;
        Ok(Taken::Whole)
    }

    async fn stop(&mut self, stop: Stop) -> Result<(), FleetError> {
        self.send(match stop {
            Stop::Refused(reason) => BulkToWorker::Refused { reason },
            Stop::Later(reason) => BulkToWorker::Later { reason },
        })
        .await
    }

    async fn next(&mut self) -> Result<Option<BulkToManager>, FleetError> {
        self.next_within(SILENCE).await
    }

    async fn next_within(&mut self, most: Duration) -> Result<Option<BulkToManager>, FleetError> {
        let most = most.min(SILENCE);
        let seconds = most.as_secs();
        let frame =
            timeout(most, self.frames.next()).await.map_err(|_| FleetError::Silence { seconds })?;
        match frame {
            Some(frame) => Ok(Some(self.wire.bulk_to_manager(&frame?)?)),
            None => Ok(None),
        }
    }

    async fn send(&mut self, message: BulkToWorker) -> Result<(), FleetError> {
        self.send_within(SILENCE, message).await
    }

    pub(super) async fn send_within(
        &mut self,
        most: Duration,
        message: BulkToWorker,
    ) -> Result<(), FleetError> {
        send(self.frames, self.wire, message, most.min(SILENCE)).await
    }
}

/// Disks block, and a thread that serves other sessions must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, FleetError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| FleetError::Stopping)??)
}

async fn send(
    frames: &mut Frames,
    wire: Wire,
    message: BulkToWorker,
    most: Duration,
) -> Result<(), FleetError> {
    let payload = wire.bulk_to_worker(&message)?;
    let seconds = most.as_secs();
    let sent = timeout(most, frames.send(payload)).await;
    Ok(sent.map_err(|_| FleetError::Silence { seconds })??)
}
