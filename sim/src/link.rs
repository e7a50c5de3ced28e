//! A laptop's connection to the manager: dials for ever, and carries the agent's messages.

use campusgrid_protocol::frame;
use campusgrid_protocol::message::{EnrolAnswer, ToManager, ToWorker};
use campusgrid_worker::agent::effect::AgentInput;

use crate::event::{Down, Inside};
use crate::machine::{Life, Machine};
use crate::network::{ConnectionId, Purpose};
use crate::saboteur::Bug;
use crate::world::Stage;

/// As the worker has it.
pub(super) const BACKOFF_MS: [u64; 2] = [100, 30_000];

/// For the connection and the hellos together.
const DIAL_LIMIT_MS: u64 = 15_000;

impl Machine {
    pub(crate) fn on_down(&mut self, connection: ConnectionId, what: Down, stage: &mut Stage<'_>) {
        let Some(life) = self.life.as_mut().filter(|life| life.connection == Some(connection))
        else {
            // A kernel that knows nothing of the connection says so.
            if self.life.is_some() && !matches!(what, Down::End) {
                stage.network.end_up(connection, stage.agenda);
            }
            return;
        };
        match what {
            Down::Accepted => {
                life.outbox_open = true;
                match stage.network.connection(connection).purpose {
                    Purpose::Control { .. } => self.feed(AgentInput::Connected, stage),
                    Purpose::Enrolment { .. } => self.enrol(connection, stage),
                }
            }
            Down::Expired => {
                self.identity.certificate = None;
            }
            Down::Frame(payload) if is_enrolling(connection, stage) => {
                let answer: EnrolAnswer = frame::decode(&payload).expect("the fleet answers");
                self.on_answer(connection, answer, stage);
            }
            Down::Frame(payload) => {
                let message = frame::decode(&payload).expect("the manager sends messages");
                if let ToWorker::Welcome { .. } = message {
                    life.backoff_ms = BACKOFF_MS[0];
                }
                self.feed(AgentInput::Received(message), stage);
            }
            Down::End => self.hang_up(stage),
        }
    }

    pub(super) fn send(&mut self, message: ToManager, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let Some(connection) = life.connection.filter(|_| life.outbox_open) else { return };
        let message = stage.saboteur.sends(message);
        stage.network.send_up(connection, &message, stage.agenda);
        if let ToManager::Ended(ended) = &message {
            stage.oracles.reported(ended.attempt, self.disk.is_synced(ended.attempt));
            if stage.saboteur.has(Bug::DeletesUnconfirmed) {
                self.unspool(ended.attempt, stage);
            }
        }
    }

    pub(super) fn dial(&mut self, stage: &mut Stage<'_>) {
        let may_dial = |life: &&mut Life| life.connection.is_none() && !life.dismissed;
        let Some(life) = self.life.as_mut().filter(may_dial) else { return };
        let purpose = self.identity.purpose();
        let connection = stage.network.dial(self.index, purpose, stage.agenda);
        life.connection = Some(connection);
        let late = self.inside(Inside::DialTimesOut { connection });
        stage.agenda.within(DIAL_LIMIT_MS..DIAL_LIMIT_MS + 1, late);
    }

    /// Closes this end, and dials again after a pause of decorrelated jitter.
    pub(super) fn hang_up(&mut self, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let Some(connection) = life.connection.take() else { return };
        life.outbox_open = false;
        stage.network.end_up(connection, stage.agenda);
        let [shortest_ms, longest_ms] = BACKOFF_MS;
        let pause_ms = stage.agenda.dice.u64(shortest_ms..=3 * life.backoff_ms);
        life.backoff_ms = pause_ms.min(longest_ms);
        let again_ms = stage.agenda.now_ms() + life.backoff_ms;
        if let Purpose::Control { .. } = stage.network.connection(connection).purpose {
            self.feed(AgentInput::Disconnected, stage);
        }
        let again = self.inside(Inside::Dial);
        stage.agenda.at(again_ms, again);
    }
}

fn is_enrolling(connection: ConnectionId, stage: &mut Stage<'_>) -> bool {
    match stage.network.connection(connection).purpose {
        Purpose::Enrolment { .. } => true,
        Purpose::Control { .. } => false,
    }
}
