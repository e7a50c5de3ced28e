//! The manager's fleet: connections that introduce themselves, and their frames as inputs.

use bytes::Bytes;
use campusgrid_core::input::{Heartbeat, Intake, Joined, WorkerEvent};
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::{AttemptId, SessionId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::{Join, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Saved};

use crate::engine::Letter;
use crate::event::{AtManager, Up};
use crate::manager::Manager;
use crate::network::{ConnectionId, Purpose};
use crate::world::Stage;

/// As the fleet has it.
const INTRODUCTION_MS: u64 = 10_000;

/// A connection as the fleet sees it.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) joined: bool,
    pub(super) heard_ms: u64,
    /// Of one that waits for its owner.
    pub(super) code: Option<String>,
}

impl Manager {
    /// Keeps blobs; false if it cannot.
    pub(crate) fn take_blobs(&mut self, blobs: &[BlobRef]) -> bool {
        let takes = self.life.as_ref().is_some_and(|life| life.told == Intake::Open);
        if takes {
            self.blobs.extend(blobs.iter().map(|blob| blob.hash));
        }
        takes
    }

    pub(crate) fn on_up(&mut self, connection: ConnectionId, what: Up, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else {
            if let Up::Dial = what {
                stage.network.end_down(connection, stage.agenda);
            }
            return;
        };
        match what {
            Up::Dial => self.on_dial(connection, stage),
            Up::Frame(payload) => {
                let purpose = stage.network.connection(connection).purpose;
                let is_known = life.fleet.contains_key(&connection);
                match purpose {
                    Purpose::Enrolment { key_hash } if is_known => {
                        self.on_enrol(connection, key_hash, &payload, stage);
                    }
                    Purpose::Enrolment { .. } => stage.network.end_down(connection, stage.agenda),
                    Purpose::Control { key_hash, .. } => {
                        self.on_frame(connection, key_hash, &payload, stage);
                    }
                }
            }
            Up::End => self.close(connection, stage),
        }
    }

    /// What TLS makes of a connection, and the hello.
    fn on_dial(&mut self, connection: ConnectionId, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let heard_ms = stage.agenda.now_ms();
        if let Purpose::Control { until, .. } = stage.network.connection(connection).purpose
            && until < life.clock.now(heard_ms)
        {
            stage.oracles.count("certificate out of date");
            return stage.network.turn_down(connection, stage.agenda);
        }
        life.last_session += 1;
        let id = SessionId(life.last_session);
        let session = Session { id, joined: false, heard_ms, code: None };
        life.fleet.insert(connection, session);
        stage.network.accept(connection, id, stage.agenda);
        let over = AtManager::IntroductionOver { connection };
        self.plan(heard_ms + INTRODUCTION_MS, over, stage.agenda);
    }

    fn on_frame(
        &mut self,
        connection: ConnectionId,
        key_hash: KeyHash,
        payload: &Bytes,
        stage: &mut Stage<'_>,
    ) {
        let now_ms = stage.agenda.now_ms();
        let known = self.life.as_mut().and_then(|life| life.fleet.get_mut(&connection));
        let Some(session) = known else {
            // Nobody listens at this end any more, and its kernel says so.
            return stage.network.end_down(connection, stage.agenda);
        };
        session.heard_ms = now_ms;
        let id = session.id;
        let first = !std::mem::replace(&mut session.joined, true);
        let event = match frame::decode(payload).expect("the agent sends messages") {
            ToManager::Join(join) => {
                assert!(first, "an agent joins once in a session");
                return self.join(*join, key_hash, connection, stage);
            }
            ToManager::Heartbeat { sequence, attempts, load } => {
                WorkerEvent::Heartbeat(Heartbeat { sequence, attempts, load })
            }
            ToManager::Checkpoint { attempt, saved } => self.checkpoint(attempt, saved),
            ToManager::Shares(shares) => WorkerEvent::Shares(shares),
            ToManager::Locked { attempt, lock } => WorkerEvent::Locked { attempt, lock },
            ToManager::Started { attempt } => WorkerEvent::Started { attempt },
            ToManager::Ended(ended) => {
                assert!(self.has_blobs(&ended), "an agent sends blobs before the end");
                if let Some(saved) = ended.checkpoint {
                    let event = self.checkpoint(ended.attempt, saved);
                    self.post(Letter::FromWorker { session: id, event }, stage.agenda);
                }
                WorkerEvent::Ended(ended)
            }
            ToManager::Preparing { .. }
            | ToManager::LogPiece { .. }
            | ToManager::Leaving
            | ToManager::Renew { .. } => return,
        };
        assert!(!first, "an agent joins first");
        self.post(Letter::FromWorker { session: id, event }, stage.agenda);
    }

    fn join(
        &mut self,
        join: Join,
        key_hash: KeyHash,
        connection: ConnectionId,
        stage: &mut Stage<'_>,
    ) {
        stage.oracles.count("join");
        let Some(session) = stage.network.connection(connection).session else { return };
        if let Some(life) = &mut self.life {
            let newer = |(&other, key): (&SessionId, &KeyHash)| other > session && *key == key_hash;
            if life.keys.iter().any(newer) {
                stage.oracles.count("join overtaken");
            }
            life.keys.insert(session, key_hash);
        }
        let joined = Joined::from_join(join, key_hash);
        let event = WorkerEvent::Joined(Box::new(joined));
        self.post(Letter::Connected { session, connection }, stage.agenda);
        self.post(Letter::FromWorker { session, event }, stage.agenda);
        let at_ms = stage.agenda.now_ms() + u64::from(self.policy.lease_ms);
        self.plan(at_ms, AtManager::SilenceOver { connection }, stage.agenda);
    }

    /// As the fleet makes it, once it has read the manifest.
    fn checkpoint(&self, attempt: AttemptId, saved: Saved) -> WorkerEvent {
        assert!(self.blobs.contains(&saved.manifest.hash), "an agent tells of what is there");
        let file = InputFile { path: "state".to_owned(), blob: saved.manifest, executable: false };
        WorkerEvent::Checkpoint { attempt, saved, files: vec![file] }
    }

    fn has_blobs(&self, ended: &Ended) -> bool {
        ended.outputs.iter().all(|output| self.blobs.contains(&output.blob.hash))
    }

    /// The fleet is done with a connection.
    pub(super) fn close(&mut self, connection: ConnectionId, stage: &mut Stage<'_>) {
        let known = self.life.as_mut().and_then(|life| life.fleet.remove(&connection));
        if let Some(Session { id: session, .. }) = known {
            stage.network.end_down(connection, stage.agenda);
            let gone = Letter::FromWorker { session, event: WorkerEvent::Gone };
            self.post(gone, stage.agenda);
        }
    }

    /// The connection of a session that may still be written to.
    pub(super) fn outbox(&self, session: SessionId) -> Option<ConnectionId> {
        self.life.as_ref()?.outboxes.get(&session).copied()
    }

    /// Gives up a session: its connection ends after what was sent.
    pub(super) fn drop_outbox(&mut self, session: SessionId, stage: &mut Stage<'_>) {
        let dropped = self.life.as_mut().and_then(|life| life.outboxes.remove(&session));
        if let Some(connection) = dropped {
            self.close(connection, stage);
        }
    }

    /// Whether this message finds the machine's outbox full.
    pub(super) fn is_too_slow(&mut self, machine: usize, message: &ToWorker) -> bool {
        let starts = matches!(message, ToWorker::Start { .. });
        starts && self.too_slow.take_if(|slow| *slow == machine).is_some()
    }
}
