//! What a batch lets out once it is on disk: replies, messages, and sessions that end.

use std::mem::take;

use campusgrid_core::effect::Effects;
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::ToWorker;

use crate::engine::Asker;
use crate::event::Event;
use crate::manager::Manager;
use crate::world::Stage;

impl Manager {
    /// Lets the replies out.
    pub(super) fn answer(&mut self, effects: &mut Effects, stage: &mut Stage<'_>) {
        for (ticket, reply) in take(&mut effects.replies) {
            let waiting = self.life.as_mut().and_then(|life| life.waiting.remove(&ticket));
            match waiting {
                Some(Asker::Person(ask)) => {
                    stage.agenda.within(1..300, Event::Answered { ask, reply });
                }
                Some(Asker::Machine { connection, shown }) => {
                    self.let_in(connection, shown, reply, stage);
                }
                None => {}
            }
        }
    }

    /// Lets the messages out and ends the sessions that are over.
    pub(super) fn send_all(&mut self, effects: &mut Effects, stage: &mut Stage<'_>) {
        for (session, message) in take(&mut effects.sends) {
            let message = stage.saboteur.tells(message);
            let machine = self.outbox(session).map(|id| stage.network.machine(id));
            stage.oracles.told(&message, machine);
            self.send(session, &message, stage);
        }
        for (session, reason, comeback) in take(&mut effects.closes) {
            self.send(session, &ToWorker::Closing { reason, comeback }, stage);
            self.drop_outbox(session, stage);
        }
    }

    /// Never waits: a session that does not keep up is given up, and its worker will return.
    fn send(&mut self, session: SessionId, message: &ToWorker, stage: &mut Stage<'_>) {
        let Some(connection) = self.outbox(session) else { return };
        let machine = stage.network.connection(connection).machine;
        if self.is_too_slow(machine, message) {
            stage.oracles.count("start lost");
            self.drop_outbox(session, stage);
        } else {
            stage.network.send_down(connection, message, stage.agenda);
        }
    }
}
