//! A worker's control connection: frames to inputs, and what the engine leaves for it to frames.

use std::time::Duration;

use campusgrid_core::input::{Heartbeat, WorkerEvent};
use campusgrid_identity::request::ProvenKey;
use campusgrid_protocol::id::{AttemptId, SessionId, WorkerId};
use campusgrid_protocol::message::{Comeback, Join, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Content, Ended, Outcome, Saved, WorkerFault};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::budget::Grant;
use super::check::bad;
use super::checkpoint::CheckpointError;
use super::door::{Guest, Member, see_out};
use super::roster::OneOfFew;
use super::strangers::Place;
use super::wire::Wire;
use super::{Fleet, FleetError, Frames, INTRODUCTION, Surroundings, check, introduction};
use crate::live::Tail;

/// Messages that may wait for one worker; one that is slower is closed, and returns with its list.
/// One batch may start a task on every core of the largest machine that may join.
const OUTBOX: usize = 8192;

/// Kept of the words about what is being made ready.
const STEP_CHARS: usize = 200;

/// A certificate costs a signature, so a worker gets at most one in this time.
const RENEWAL_EVERY: Duration = Duration::from_secs(1);

impl Fleet {
    pub(super) async fn control(&self, guest: Guest, id: SessionId) -> Result<(), FleetError> {
        let member = guest.member();
        let Guest { mut frames, wire, place, .. } = guest;
        let end = match member {
            Ok(member) => self.attend((&mut frames, wire), place, member, id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &end
            && let Some(reason) = error.to_peer()
        {
            let closing = ToWorker::Closing { reason, comeback: Comeback::Later };
            if let Some(payload) = wire.to_worker(closing)? {
                // It may be gone.
                drop(timeout(INTRODUCTION, frames.send(payload)).await);
            }
        }
        see_out(frames.get_mut()).await;
        end
    }

    /// Stays with a worker from its join to its end.
    async fn attend(
        &self,
        (frames, wire): (&mut Frames, Wire),
        place: Place,
        member: Member,
        id: SessionId,
    ) -> Result<(), FleetError> {
        let first = place.staying(introduction(frames.next())).await??;
        let first = first.ok_or(FleetError::FirstMessage)??;
        let ToManager::Join(mut join) = wire.to_manager(&first)? else {
            return Err(FleetError::FirstMessage);
        };
        check::join(&mut join, self.around.clock.now())?;
        tracing::info!(session = id.0, worker = %join.name, "a worker has connected");
        let (outbox, mail) = mpsc::channel(OUTBOX);
        self.engine.connected(id, outbox).await.map_err(|_| FleetError::Stopping)?;
        let left = member.until.duration_since(self.around.clock.system_time());
        let session = Session {
            fleet: self,
            id,
            member,
            place,
            counted: None,
            machine: Machine::of(&join),
            frames,
            wire,
            mail,
            worker: None,
            until: Instant::now() + left.unwrap_or_default(),
            renewed_at: None,
        };
        let end = session.run(*join).await;
        self.roster.strike(&member.key_hash, id);
        // An engine that is gone has forgotten its sessions.
        drop(self.engine.report(id, WorkerEvent::Gone).await);
        end
    }

    async fn report(&self, session: SessionId, event: WorkerEvent) -> Result<(), FleetError> {
        self.engine.report(session, event).await.map_err(|_| FleetError::Stopping)
    }
}

struct Session<'a> {
    fleet: &'a Fleet,
    id: SessionId,
    member: Member,
    place: Place,
    /// Since it was welcomed, if it has not too many sessions already.
    counted: Option<OneOfFew>,
    machine: Machine,
    frames: &'a mut Frames,
    wire: Wire,
    mail: mpsc::Receiver<ToWorker>,
    /// Known once the engine has welcomed it.
    worker: Option<WorkerId>,
    /// When its certificate is out of date.
    until: Instant,
    renewed_at: Option<Instant>,
}

/// What a machine has said of itself, as far as it matters here.
struct Machine {
    name: String,
    gpus: usize,
}

impl Machine {
    fn of(join: &Join) -> Self {
        let Join { name, capacity, .. } = join;
        Self { name: name.clone(), gpus: capacity.gpus.len() }
    }
}

impl Session<'_> {
    async fn run(mut self, join: Join) -> Result<(), FleetError> {
        let joined = self.wire.joined(join, self.member.key_hash);
        self.fleet.report(self.id, WorkerEvent::Joined(Box::new(joined))).await?;
        let silence = self.silence();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = self.mail.recv() => match message {
                    Some(message) => self.send_in_time(message).await?,
                    None => return Ok(()), // The engine has closed it.
                },
                frame = self.frames.next() => {
                    let Some(frame) = frame else { return Ok(()) };
                    heard = Instant::now();
                    self.take(self.wire.to_manager(&frame?)?).await?;
                }
                () = sleep_until(heard + silence) => {
                    return Err(FleetError::Silence { seconds: silence.as_secs() });
                }
                () = sleep_until(self.until) => return Err(FleetError::CertificateOver),
            }
        }
    }

    /// Nothing heard for as long as a lease lasts: whatever it runs is lost already.
    fn silence(&self) -> Duration {
        Duration::from_millis(self.fleet.engine.policy().lease_ms.into())
    }

    /// A worker that does not read is as silent as one that does not write.
    async fn send_in_time(&mut self, message: ToWorker) -> Result<(), FleetError> {
        let silence = self.silence();
        let seconds = silence.as_secs();
        let sent = timeout(silence, self.send(message)).await;
        sent.map_err(|_| FleetError::Silence { seconds })?
    }

    async fn send(&mut self, message: ToWorker) -> Result<(), FleetError> {
        self.feed(message).await?;
        // What else waits goes into the same segment.
        while let Ok(more) = self.mail.try_recv() {
            self.feed(more).await?;
        }
        SinkExt::<bytes::Bytes>::flush(&mut self.frames).await?;
        Ok(())
    }

    async fn feed(&mut self, message: ToWorker) -> Result<(), FleetError> {
        match &message {
            ToWorker::Welcome { worker, .. } => {
                self.worker = Some(*worker);
                self.fleet.roster.enter(self.member.key_hash, self.id, *worker);
                self.counted = self.fleet.roster.begin_control(self.member.key_hash);
                if self.counted.is_some() {
                    self.place.know();
                }
            }
            ToWorker::Start { attempt, spec, checkpoint, .. } => {
                if let Some(worker) = self.worker {
                    let grant = Grant {
                        disk_mib: spec.needs.disk_mib,
                        inputs: spec.inputs,
                        checkpoint: checkpoint.map(|saved| saved.manifest),
                    };
                    self.fleet.budgets.grant(worker, *attempt, grant);
                }
            }
            // Who has been removed sends no more files, whether or not it reads this.
            ToWorker::Closing { .. } => self.fleet.roster.strike(&self.member.key_hash, self.id),
            ToWorker::Locked { .. }
            | ToWorker::Cancel { .. }
            | ToWorker::Drop { .. }
            | ToWorker::Stored { .. }
            | ToWorker::Renewed { .. }
            | ToWorker::Rules(_)
            | ToWorker::Earned { .. }
            | ToWorker::Certificate { .. } => {}
        }
        let Some(payload) = self.wire.to_worker(message)? else { return Ok(()) };
        Ok(self.frames.feed(payload).await?)
    }

    /// A certificate that lasts longer, for the same key and no other.
    async fn renew(&mut self, request: &[u8]) -> Result<(), FleetError> {
        let now = Instant::now();
        if self.renewed_at.is_some_and(|last| now < last + RENEWAL_EVERY) {
            return Err(bad("renewals faster than one a second"));
        }
        check::request(request)?;
        let key = ProvenKey::from_request(request).map_err(|error| bad(&error.to_string()))?;
        if key.hash() != self.member.key_hash {
            return Err(bad("a renewal for another key"));
        }
        let life = self.fleet.limits.certificate_life;
        let Surroundings { authority, clock, .. } = &self.fleet.around;
        let issued = authority.issue(&key, &self.machine.name, clock.system_time(), life);
        let certificate = issued.map_err(FleetError::Issue)?.der;
        (self.renewed_at, self.until) = (Some(now), now + life);
        tracing::info!(session = self.id.0, "renewed a worker's certificate");
        self.send_in_time(ToWorker::Certificate { certificate }).await
    }

    async fn take(&mut self, message: ToManager) -> Result<(), FleetError> {
        let event = match message {
            ToManager::Join(_) => return Err(bad("a second join")),
            ToManager::Heartbeat { sequence, attempts, load } => {
                check::attempts(&attempts)?;
                // An engine that waits for room on its disk hears nobody, and what runs must not end for
                // that. Once it is done, it gives every lease its full time anew: later than this.
                if self.worker.is_some() && self.fleet.engine.is_stuck() {
                    return self.send_in_time(ToWorker::Renewed { sequence }).await;
                }
                let load = check::load(load, self.machine.gpus);
                WorkerEvent::Heartbeat(Heartbeat { sequence, attempts, load })
            }
            ToManager::Preparing { attempt, step } => {
                let step = step.chars().filter(|c| !c.is_control()).take(STEP_CHARS).collect();
                if let Some(worker) = self.worker {
                    self.fleet.around.live.set_step(worker, attempt, step);
                }
                return Ok(());
            }
            ToManager::Locked { attempt, lock } => WorkerEvent::Locked { attempt, lock },
            ToManager::Started { attempt } => {
                if let Some(worker) = self.worker {
                    self.fleet.around.live.set_step(worker, attempt, String::new()); // It runs.
                }
                WorkerEvent::Started { attempt }
            }
            ToManager::LogPiece { attempt, stream, offset_bytes, bytes } => {
                if let Some(worker) = self.worker {
                    let piece = Tail { offset_bytes, bytes };
                    self.fleet.around.live.append(worker, attempt, stream, &piece);
                }
                return Ok(());
            }
            ToManager::Checkpoint { attempt, saved } => {
                if self.fleet.budgets.may_check(attempt, Instant::now()) {
                    self.take_checkpoint(attempt, saved).await?;
                } else {
                    self.pass_over(attempt, &CheckpointError::TooSoon);
                }
                return Ok(());
            }
            ToManager::Shares(shares) => {
                let now = self.fleet.around.clock.now();
                WorkerEvent::Shares(Box::new(check::shares(*shares, now)?))
            }
            ToManager::Ended(mut ended) => {
                if let Some(saved) = ended.checkpoint
                    && !self.take_checkpoint(ended.attempt, saved).await?
                {
                    ended.checkpoint = None;
                }
                WorkerEvent::Ended(self.acceptable(ended).await?)
            }
            ToManager::Renew { request } => return self.renew(&request).await,
            ToManager::Leaving => {
                tracing::info!(session = self.id.0, "a worker is leaving");
                return Ok(());
            }
        };
        self.fleet.report(self.id, event).await
    }

    /// Tells the engine of what a task has left to go on from, and whether that is in order. Where it is
    /// not, what was there before it stays.
    async fn take_checkpoint(
        &mut self,
        attempt: AttemptId,
        saved: Saved,
    ) -> Result<bool, FleetError> {
        if self.fleet.runner(&self.member, attempt).is_err() {
            return Ok(false); // Over, or another machine's.
        }
        let files = match self.fleet.checkpoint(attempt, saved.manifest).await? {
            Ok(files) => files,
            Err(error) => {
                self.pass_over(attempt, &error);
                return Ok(false);
            }
        };
        let blobs = files.iter().map(|file| file.blob.hash).chain([saved.manifest.hash]);
        let forgotten = self.fleet.budgets.replace_checkpoint(attempt, blobs.collect());
        self.fleet.around.blobs.supersede(forgotten);
        self.fleet.report(self.id, WorkerEvent::Checkpoint { attempt, saved, files }).await?;
        Ok(true)
    }

    fn pass_over(&self, attempt: AttemptId, error: &CheckpointError) {
        let error: &dyn std::error::Error = error;
        tracing::debug!(session = self.id.0, %attempt, error, "passed over a checkpoint");
    }

    /// A result that cannot be stored counts as the worker's fault: turned away, it would come back
    /// for ever, and all behind it would wait.
    async fn acceptable(&self, ended: Box<Ended>) -> Result<Box<Ended>, FleetError> {
        let refused = match check::ended(&ended) {
            Ok(()) => self.missing(&ended).await?.map(|blob| {
                bad(&format!("a result that refers to {}, not sent yet", blob.hash)).to_string()
            }),
            Err(error) => Some(error.to_string()),
        };
        let Some(error) = refused else { return Ok(ended) };
        tracing::warn!(session = self.id.0, attempt = %ended.attempt, error, "refused a result");
        let message = format!("its result was refused: {error}");
        let fault = Outcome::Returned(WorkerFault::Sandbox { message });
        Ok(Box::new(Ended::empty(ended.attempt, fault)))
    }

    /// A result may be stored only with all that it refers to; yields the first that is not here.
    async fn missing(&self, ended: &Ended) -> Result<Option<BlobRef>, FleetError> {
        let of_log = |content: &Content| match content {
            Content::Inline(_) => None,
            Content::Blob(blob) => Some(*blob),
        };
        let logs = [&ended.stdout.content, &ended.stderr.content].into_iter().filter_map(of_log);
        let outputs = ended.outputs.iter().map(|output| output.blob);
        let referred: Vec<BlobRef> = logs.chain(outputs).collect();
        if referred.is_empty() {
            return Ok(None);
        }
        // One that is here for somebody else would be handed to whoever knows its hash.
        let strange = |blob: &&BlobRef| !self.fleet.budgets.has(ended.attempt, blob);
        if let Some(blob) = referred.iter().find(strange) {
            return Ok(Some(*blob));
        }
        // Up to a thousand looks at the disk, for which other sessions need not wait.
        let blobs = self.fleet.around.blobs.clone();
        let look = move || referred.into_iter().find(|blob| !blobs.touch(*blob));
        tokio::task::spawn_blocking(look).await.map_err(|_| FleetError::Stopping)
    }
}
