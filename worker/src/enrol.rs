//! How a machine without a good certificate is let in: by a token at once, or by a code that its owner
//! approves.

use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_protocol::frame;
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::message::{Enrol, EnrolAnswer};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::info;

use crate::connection::ConnectionEvent;
use crate::error::WorkerError;
use crate::hello::{Door, Frames, ManagerAddress, dial};
use crate::identity::Identity;

/// A manager that waits for an owner says so every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// What a machine says of itself before it is let in.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    pub(crate) name: String,
    /// The user who is said to own it.
    pub(crate) owner: Option<String>,
}

/// Asks to be let in, and waits for as long as that takes. The identity then has its certificate.
///
/// # Errors
///
/// Those of the connection; `TokenRefused`; `CodeRefused`, after which a new code may be asked for;
/// `BadCertificate`.
pub(crate) async fn enrol(
    manager: &ManagerAddress,
    identity: &mut Identity,
    stranger: &Stranger,
    events: &mpsc::Sender<ConnectionEvent>,
) -> Result<(), WorkerError> {
    let door = Door { manager: manager.clone(), tls: identity.as_stranger()? };
    let (mut frames, fingerprint) = dial(&door, ConnectionKind::Enrolment).await?;
    identity.met(fingerprint);
    let enrol = Enrol {
        request: identity.request(&stranger.name)?,
        name: stranger.name.clone(),
        proof: identity.proof(stranger.owner.as_deref()),
    };
    let payload = frame::encode(&enrol).map_err(|source| WorkerError::Frame { source })?;
    let sent = timeout(SILENCE, frames.send(payload)).await.map_err(|_| silence(manager))?;
    sent.map_err(|source| WorkerError::Send { source })?;
    loop {
        match answer(&mut frames, manager).await? {
            EnrolAnswer::Waiting { code } => {
                tell_code(events, code, fingerprint).await;
            }
            EnrolAnswer::Enrolled { certificate, worker, owner: _ } => {
                identity.take(fingerprint, certificate).await?;
                info!(worker.id = worker.0, "this machine has joined");
                return Ok(());
            }
            EnrolAnswer::Refused { reason } if identity.has_token() => {
                return Err(WorkerError::TokenRefused { reason });
            }
            EnrolAnswer::Refused { reason } => return Err(WorkerError::CodeRefused { reason }),
        }
    }
}

async fn tell_code(events: &mpsc::Sender<ConnectionEvent>, code: String, manager: Fingerprint) {
    let _ = events.send(ConnectionEvent::Waiting { code, manager }).await;
}

async fn answer(frames: &mut Frames, manager: &ManagerAddress) -> Result<EnrolAnswer, WorkerError> {
    let next = timeout(SILENCE, frames.next()).await.map_err(|_| silence(manager))?;
    let payload = next.ok_or(WorkerError::Closed)?;
    let payload = payload.map_err(|source| WorkerError::Receive { source })?;
    frame::decode(&payload).map_err(|source| WorkerError::Frame { source })
}

fn silence(manager: &ManagerAddress) -> WorkerError {
    WorkerError::Silence { manager: manager.to_string(), limit_s: SILENCE.as_secs() }
}
