//! Who a laptop is: the key that it made for itself, whether it has a certificate for it, and how it
//! comes by one. A key's hash and a moment stand for a certificate.

use campusgrid_core::time::Timestamp;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::{VoucherId, VoucherSecret};
use campusgrid_protocol::message::{Enrol, EnrolAnswer, Proof};

use crate::event::{Event, Inside};
use crate::machine::Machine;
use crate::network::{ConnectionId, Purpose};
use crate::want::Want;
use crate::world::Stage;

/// A machine that waits for its owner hears its code this often, and gives up after some silence.
pub(crate) const REMIND_MS: u64 = 5000;
const SILENCE_MS: u64 = 3 * REMIND_MS;

/// Of these reminders, one makes the owner look at the machine again.
const LOOKS_EVERY: u32 = 12;

/// What its disk says about the machine itself.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) machine: usize,
    /// How many keys the machine has made.
    keys: u32,
    /// Until when the certificate is good, by the manager's clock; none if there is none.
    pub(crate) certificate: Option<Timestamp>,
    /// What its owner gave it to join by.
    pub(crate) token: Option<Token>,
    /// The user whom it names as its owner.
    claim: Option<String>,
}

/// A join token as a machine shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) id: VoucherId,
    pub(crate) secret: VoucherSecret,
}

impl Identity {
    pub(crate) fn new(machine: usize, claim: Option<String>) -> Self {
        Self { machine, keys: 1, certificate: None, token: None, claim }
    }

    pub(crate) fn key_hash(&self) -> KeyHash {
        let key = format!("key {} of laptop {}", self.keys, self.machine);
        *blake3::hash(key.as_bytes()).as_bytes()
    }

    /// What the next connection is for.
    pub(crate) fn purpose(&self) -> Purpose {
        match self.certificate {
            Some(until) => Purpose::Control { key_hash: self.key_hash(), until },
            None => Purpose::Enrolment { key_hash: self.key_hash() },
        }
    }

    /// The grid does not want this machine any more, so that its owner sets it up anew.
    pub(crate) fn begin_anew(&mut self, makes_a_key: bool) {
        self.certificate = None;
        self.keys += u32::from(makes_a_key);
    }

    fn enrol(&self, name: &str) -> Enrol {
        let proof = match self.token {
            Some(Token { id, secret }) => Proof::Token { id, secret },
            None => Proof::Code { owner: self.claim.clone() },
        };
        Enrol { request: self.key_hash().to_vec(), name: name.to_owned(), proof }
    }
}

impl Machine {
    /// Asks to be let in.
    pub(super) fn enrol(&mut self, connection: ConnectionId, stage: &mut Stage<'_>) {
        let enrol = self.identity.enrol(&self.config.name);
        let payload = frame::encode(&enrol).expect("it is short");
        stage.network.frame_up(connection, payload, stage.agenda);
        self.await_answer(connection, stage);
    }

    pub(super) fn on_answer(
        &mut self,
        connection: ConnectionId,
        answer: EnrolAnswer,
        stage: &mut Stage<'_>,
    ) {
        let Some(life) = &mut self.life else { return };
        life.reminders += 1;
        match answer {
            EnrolAnswer::Waiting { code } => {
                if life.reminders % LOOKS_EVERY == 1 {
                    let want = Want::Approve { code };
                    stage.agenda.within(500..30_000, Event::Wants { person: self.person, want });
                }
                self.await_answer(connection, stage);
            }
            EnrolAnswer::Enrolled { certificate, worker: _, owner: _ } => {
                stage.oracles.count("machine enrolled");
                let until = certificate.try_into().map(u64::from_le_bytes);
                self.identity.certificate = Some(Timestamp(until.expect("eight bytes")));
                self.hang_up(stage);
            }
            EnrolAnswer::Refused { reason: _ } => {
                // Its owner sees that the token is no good, and takes the other way.
                stage.oracles.count("machine turned away");
                self.identity.token = None;
                self.hang_up(stage);
            }
        }
    }

    fn await_answer(&mut self, connection: ConnectionId, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let heard = life.reminders;
        let silent = self.inside(Inside::EnrolmentSilent { connection, heard });
        stage.agenda.within(SILENCE_MS..SILENCE_MS + 1, silent);
    }

    /// Nothing was heard since then.
    pub(super) fn on_enrolment_silent(
        &mut self,
        connection: ConnectionId,
        heard: u32,
        stage: &mut Stage<'_>,
    ) {
        let waits = |life: &crate::machine::Life| {
            life.connection == Some(connection) && life.reminders == heard
        };
        if self.life.as_ref().is_some_and(waits) {
            self.hang_up(stage);
        }
    }
}
