//! A worker's control connection: frames to inputs, and what the engine leaves for it to frames.

use std::time::Duration;

use campusgrid_core::input::{Heartbeat, Joined, WorkerEvent};
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::{SessionId, WorkerId};
use campusgrid_protocol::message::{Approval, ToManager, ToWorker};
use campusgrid_protocol::task::{Content, Ended, Outcome, WorkerFault};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::check::bad;
use super::{Fleet, FleetError, Frames, check, code, introduction};
use crate::live::Tail;

/// Messages that may wait for one worker; one that is slower is closed, and returns with its list.
/// One batch may start a task on every core of the largest machine that may join.
const OUTBOX: usize = 8192;

/// Kept of the words about what is being made ready.
const STEP_CHARS: usize = 200;

impl Fleet {
    pub(super) async fn control(
        &self,
        mut frames: Frames,
        session: SessionId,
    ) -> Result<(), FleetError> {
        let first = introduction(frames.next()).await?.ok_or(FleetError::NotAJoin)??;
        let ToManager::Join(join) = frame::decode(&first)? else {
            return Err(FleetError::NotAJoin);
        };
        check::join(&join)?;
        let gpus = join.capacity.gpus.len();
        let key_hash = *blake3::hash(&join.key.0).as_bytes();
        tracing::info!(session = session.0, worker = %join.name, "a worker has connected");
        let (outbox, mail) = mpsc::channel(OUTBOX);
        self.engine.connected(session, outbox).await.map_err(|_| FleetError::Stopping)?;
        let joined = Joined::from_join(*join, key_hash, code::fresh());
        self.report(session, WorkerEvent::Joined(Box::new(joined))).await?;
        Session { fleet: self, id: session, key_hash, gpus, frames, mail, worker: None }.run().await
    }

    async fn report(&self, session: SessionId, event: WorkerEvent) -> Result<(), FleetError> {
        self.engine.report(session, event).await.map_err(|_| FleetError::Stopping)
    }
}

struct Session<'a> {
    fleet: &'a Fleet,
    id: SessionId,
    key_hash: KeyHash,
    /// How many it has.
    gpus: usize,
    frames: Frames,
    mail: mpsc::Receiver<ToWorker>,
    /// Known once the engine has welcomed it.
    worker: Option<WorkerId>,
}

impl Session<'_> {
    async fn run(mut self) -> Result<(), FleetError> {
        let silence = self.silence();
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                message = self.mail.recv() => match message {
                    Some(message) => self.send_in_time(message).await?,
                    None => return Ok(()), // The engine has closed it.
                },
                frame = self.frames.next() => {
                    let Some(frame) = frame else { return Ok(()) };
                    heard = tokio::time::Instant::now();
                    self.take(frame::decode(&frame?)?).await?;
                }
                () = tokio::time::sleep_until(heard + silence) => {
                    return Err(FleetError::Silence { seconds: silence.as_secs() });
                }
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
        let sent = tokio::time::timeout(silence, self.send(message)).await;
        sent.map_err(|_| FleetError::Silence { seconds })?
    }

    async fn send(&mut self, message: ToWorker) -> Result<(), FleetError> {
        self.feed(&message).await?;
        // What else waits goes into the same segment.
        while let Ok(more) = self.mail.try_recv() {
            self.feed(&more).await?;
        }
        SinkExt::<bytes::Bytes>::flush(&mut self.frames).await?;
        Ok(())
    }

    async fn feed(&mut self, message: &ToWorker) -> Result<(), FleetError> {
        let owned = match message {
            ToWorker::Welcome { worker, approval, .. } => {
                self.worker = Some(*worker);
                matches!(approval, Approval::Owned { .. })
            }
            ToWorker::Approved { .. } => true,
            ToWorker::Start { .. }
            | ToWorker::Locked { .. }
            | ToWorker::Cancel { .. }
            | ToWorker::Drop { .. }
            | ToWorker::Stored { .. }
            | ToWorker::Renewed { .. }
            | ToWorker::Closing { .. } => false,
        };
        if let Some(worker) = self.worker.filter(|_| owned) {
            self.fleet.roster.enter(self.key_hash, self.id, worker);
        }
        Ok(self.frames.feed(frame::encode(message)?).await?)
    }

    async fn take(&mut self, message: ToManager) -> Result<(), FleetError> {
        let event = match message {
            ToManager::Join(_) => return Err(bad("a second join")),
            ToManager::Heartbeat { sequence, attempts, load } => {
                check::attempts(&attempts)?;
                let load = check::load(load, self.gpus);
                WorkerEvent::Heartbeat(Heartbeat { sequence, attempts, load })
            }
            ToManager::Preparing { attempt, step } => {
                let step = step.chars().filter(|c| !c.is_control()).take(STEP_CHARS).collect();
                if let Some(worker) = self.worker {
                    self.fleet.live.set_step(worker, attempt, step);
                }
                return Ok(());
            }
            ToManager::Locked { attempt, lock } => WorkerEvent::Locked { attempt, lock },
            ToManager::Started { attempt } => {
                if let Some(worker) = self.worker {
                    self.fleet.live.set_step(worker, attempt, String::new()); // It runs.
                }
                WorkerEvent::Started { attempt }
            }
            ToManager::LogPiece { attempt, stream, offset_bytes, bytes } => {
                if let Some(worker) = self.worker {
                    let piece = Tail { offset_bytes, bytes };
                    self.fleet.live.append(worker, attempt, stream, &piece);
                }
                return Ok(());
            }
            ToManager::Ended(ended) => WorkerEvent::Ended(self.acceptable(ended)),
            ToManager::Leaving => {
                tracing::info!(session = self.id.0, "a worker is leaving");
                return Ok(());
            }
        };
        self.fleet.report(self.id, event).await
    }

    /// A result that cannot be stored counts as the worker's fault: turned away, it would come back
    /// for ever, and all behind it would wait.
    fn acceptable(&self, ended: Box<Ended>) -> Box<Ended> {
        let Err(error) = self.check_ended(&ended) else { return ended };
        tracing::warn!(session = self.id.0, attempt = %ended.attempt, %error, "refused a result");
        let message = format!("its result was refused: {error}");
        Box::new(Ended::empty(ended.attempt, Outcome::Returned(WorkerFault::Sandbox { message })))
    }

    /// A result may be stored only with all that it refers to.
    fn check_ended(&self, ended: &Ended) -> Result<(), FleetError> {
        check::ended(ended)?;
        let of_log = |content: &Content| match content {
            Content::Inline(_) => None,
            Content::Blob(blob) => Some(*blob),
        };
        let logs = [&ended.stdout.content, &ended.stderr.content].into_iter().filter_map(of_log);
        let outputs = ended.outputs.iter().map(|output| output.blob);
        let missing = logs.chain(outputs).find(|blob| !self.fleet.blobs.contains(*blob));
        match missing {
            None => Ok(()),
            Some(blob) => Err(bad(&format!("a result that refers to {}, not sent yet", blob.hash))),
        }
    }
}
