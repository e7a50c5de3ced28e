//! A machine's enrolment connection: why it should be let in, and its certificate once it is.

use std::net::IpAddr;
use std::time::Duration;

use campusgrid_core::effect::Refusal;
use campusgrid_core::input::{Enrolment, EnrolmentProof, WorkerEvent};
use campusgrid_core::voucher::Shown;
use campusgrid_identity::request::ProvenKey;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::message::{Enrol, EnrolAnswer, Proof};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::check::bad;
use super::door::{Guest, see_out};
use super::strangers::Place;
use super::{Fleet, FleetError, Frames, INTRODUCTION, Visit, check, code, introduction};
use crate::engine::handle::AskError;

/// How often a machine that waits is told its code again, so that both ends know that the other is
/// there.
const REMIND_EVERY: Duration = Duration::from_secs(5);

/// Machines that may show a code at once: fewer than the grid keeps, for some of those who were pushed
/// out it has not forgotten yet.
pub(super) const WAITING_MAX: usize = 900;

/// Of these, from one address, or one network of IPv6.
const WAITING_OF_ADDRESS_MAX: usize = 32;

/// How long a machine may show one code; then it asks for another.
const WAITING_LIMIT: Duration = Duration::from_secs(60 * 60);

/// What becomes of a machine that asks.
enum Outcome {
    LetIn {
        worker: WorkerId,
        owner: String,
    },
    Refused {
        reason: String,
    },
    /// It is to ask again: the connection ends without a word.
    NotNow,
}

impl Fleet {
    pub(super) async fn enrolment(&self, guest: Guest, visit: Visit) -> Result<(), FleetError> {
        let Guest { mut frames, place, .. } = guest;
        let end = self.enrol(&mut frames, &place, visit).await;
        if let Err(error) = &end
            && let Some(reason) = error.to_peer()
        {
            let refused = EnrolAnswer::Refused { reason };
            drop(send(&mut frames, &refused).await); // It may be gone.
        }
        see_out(frames.get_mut()).await;
        end
    }

    async fn enrol(
        &self,
        frames: &mut Frames,
        place: &Place,
        visit: Visit,
    ) -> Result<(), FleetError> {
        let first = place.staying(introduction(frames.next())).await??;
        let first = first.ok_or(FleetError::FirstMessage)??;
        let Enrol { request, name, proof } = frame::decode(&first)?;
        check::enrolment(&request, &name, &proof)?;
        let key = ProvenKey::from_request(&request).map_err(|error| bad(&error.to_string()))?;
        let Visit { session, address } = visit;
        let (proof, code) = proof_and_code(proof);
        let key_hash = key.hash();
        let asking = Enrolment {
            session,
            key_hash,
            name: name.clone(),
            address: address.to_string(),
            proof,
        };
        let outcome = place.staying(async {
            match code {
                Some(code) => self.outcome_of_code(frames, asking, (code, address)).await,
                None => self.outcome(frames, asking, None).await,
            }
        });
        let outcome = outcome.await.flatten();
        // However it ended, it no longer waits. An engine that is gone has forgotten it.
        drop(self.engine.report(session, WorkerEvent::Gone).await);
        match outcome? {
            Outcome::LetIn { worker, owner } => {
                let (now, life) = (self.around.clock.system_time(), self.limits.certificate_life);
                let issued = self.around.authority.issue(&key, &name, now, life);
                let certificate = issued.map_err(FleetError::Issue)?.der;
                tracing::info!(session = session.0, worker.id = worker.0, %name, "a machine has joined");
                send(frames, &EnrolAnswer::Enrolled { certificate, worker, owner }).await
            }
            Outcome::Refused { reason } => {
                if self.quiet.may_tell() {
                    tracing::info!(session = session.0, %name, reason, "a machine was not let in");
                }
                send(frames, &EnrolAnswer::Refused { reason }).await
            }
            Outcome::NotNow => Ok(()),
        }
    }

    /// What comes of a code, for as long as it may be shown.
    async fn outcome_of_code(
        &self,
        frames: &mut Frames,
        asking: Enrolment,
        (code, address): (String, IpAddr),
    ) -> Result<Outcome, FleetError> {
        let Some(waiting) = self.waiting.enter(address, WAITING_OF_ADDRESS_MAX) else {
            return Ok(Outcome::Refused { reason: Refusal::TooManyNewcomers.to_string() });
        };
        let outcome = waiting.staying(self.outcome(frames, asking, Some(code)));
        timeout(WAITING_LIMIT, outcome).await.unwrap_or(Ok(Ok(Outcome::NotNow))).flatten()
    }

    /// What the grid says, which may be an hour later; an error if the machine has gone before.
    async fn outcome(
        &self,
        frames: &mut Frames,
        asking: Enrolment,
        code: Option<String>,
    ) -> Result<Outcome, FleetError> {
        let asked = self.engine.enrol(asking);
        tokio::pin!(asked);
        let mut reminders = interval(REMIND_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                answer = &mut asked => return Ok(outcome_of(answer)),
                frame = frames.next() => {
                    return match frame {
                        None => Err(gone()),
                        Some(Err(error)) => Err(error.into()),
                        Some(Ok(_)) => Err(bad("more than one message")),
                    };
                }
                _ = reminders.tick() => {
                    if let Some(code) = &code {
                        send(frames, &EnrolAnswer::Waiting { code: code.clone() }).await?;
                    }
                }
            }
        }
    }
}

/// What the machine has shown, and the code to show on its own screen if it has shown nothing.
fn proof_and_code(proof: Proof) -> (EnrolmentProof, Option<String>) {
    match proof {
        Proof::Token { id, secret } => {
            let secret_hash = *blake3::hash(&secret.0).as_bytes();
            (EnrolmentProof::Token(Shown { id, secret_hash }), None)
        }
        Proof::Code { owner: claimed_owner } => {
            let code = code::fresh();
            (EnrolmentProof::Code { code: code.clone(), claimed_owner }, Some(code))
        }
    }
}

fn outcome_of(answer: Result<(WorkerId, String), AskError>) -> Outcome {
    match answer {
        Ok((worker, owner)) => Outcome::LetIn { worker, owner },
        Err(
            AskError::Refused(Refusal::DiskFull | Refusal::BooksBroken | Refusal::Withdrawn)
            | AskError::Busy
            | AskError::Stopping,
        ) => Outcome::NotNow,
        Err(AskError::Refused(refusal)) => Outcome::Refused { reason: refusal.to_string() },
    }
}

fn gone() -> FleetError {
    FleetError::Connection(std::io::ErrorKind::UnexpectedEof.into())
}

async fn send(frames: &mut Frames, answer: &EnrolAnswer) -> Result<(), FleetError> {
    let seconds = INTRODUCTION.as_secs();
    let sent = timeout(INTRODUCTION, frames.send(frame::encode(answer)?)).await;
    Ok(sent.map_err(|_| FleetError::Silence { seconds })??)
}
