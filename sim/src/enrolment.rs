//! The manager's side of a machine that asks to be let in.

use bytes::Bytes;
use campusgrid_core::effect::{Refusal, Reply};
use campusgrid_core::input::{Enrolment, EnrolmentProof, Request};
use campusgrid_core::voucher::Shown;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::frame;
use campusgrid_protocol::message::{Enrol, EnrolAnswer, Proof};

use crate::engine::{Asker, Letter};
use crate::event::AtManager;
use crate::identity::REMIND_MS;
use crate::manager::Manager;
use crate::network::ConnectionId;
use crate::users::shown;
use crate::world::Stage;

/// How long a certificate is good.
const CERTIFICATE_MS: u64 = 30 * 24 * 3600 * 1000;

impl Manager {
    pub(super) fn on_enrol(
        &mut self,
        connection: ConnectionId,
        key_hash: KeyHash,
        payload: &Bytes,
        stage: &mut Stage<'_>,
    ) {
        let Enrol { name, proof, .. } = frame::decode(payload).expect("a machine asks");
        let known = self.life.as_mut().and_then(|life| life.fleet.get_mut(&connection));
        let Some(session) = known else { return };
        assert!(!std::mem::replace(&mut session.joined, true), "a machine asks once");
        let (proof, shown) = match proof {
            Proof::Token { id, secret } => {
                stage.oracles.count("token shown");
                let shown = shown(id, secret);
                (EnrolmentProof::Token(shown), Some(shown))
            }
            Proof::Code { owner: claimed_owner } => {
                let code = format!("{:08X}", stage.agenda.dice.u32(..));
                session.code = Some(code.clone());
                (EnrolmentProof::Code { code, claimed_owner }, None)
            }
        };
        let (session, address) = (session.id, "127.0.0.1".to_owned());
        let request = Request::Enrol(Enrolment { session, key_hash, name, address, proof });
        let asker = Asker::Machine { connection, shown };
        self.post(Letter::Request { asker, request }, stage.agenda);
        self.remind(connection, stage);
    }

    pub(super) fn remind(&mut self, connection: ConnectionId, stage: &mut Stage<'_>) {
        let session = self.life.as_ref().and_then(|life| life.fleet.get(&connection));
        let Some(code) = session.and_then(|session| session.code.clone()) else { return };
        stage.network.answer(connection, &EnrolAnswer::Waiting { code }, stage.agenda);
        let again_ms = stage.agenda.now_ms() + REMIND_MS;
        self.plan(again_ms, AtManager::Remind { connection }, stage.agenda);
    }

    /// The grid has answered, which may be long after it was asked.
    pub(super) fn let_in(
        &mut self,
        connection: ConnectionId,
        shown: Option<Shown>,
        reply: Reply,
        stage: &mut Stage<'_>,
    ) {
        let Some(life) = &self.life else { return };
        if let Reply::Enrolled { worker, .. } = reply {
            stage.oracles.let_in(worker, shown, life.turned_at);
        }
        if !life.fleet.contains_key(&connection) {
            return;
        }
        let answer = match reply {
            Reply::Enrolled { worker, owner } => {
                let now = life.clock.now(stage.agenda.now_ms());
                let certificate = now.plus_ms(CERTIFICATE_MS).0.to_le_bytes().to_vec();
                Some(EnrolAnswer::Enrolled { certificate, worker, owner })
            }
            Reply::Refused(Refusal::DiskFull | Refusal::BooksBroken | Refusal::Withdrawn) => None,
            Reply::Refused(refusal) => Some(EnrolAnswer::Refused { reason: refusal.to_string() }),
            Reply::Registered { .. }
            | Reply::Submitted { .. }
            | Reply::Drafted { .. }
            | Reply::Cancelled { .. }
            | Reply::Approved { .. }
            | Reply::VoucherMade { .. }
            | Reply::Done => panic!("{reply:?} to a machine"),
        };
        if let Some(answer) = answer {
            stage.network.answer(connection, &answer, stage.agenda);
        }
        self.close(connection, stage);
    }
}
