//! What a batch lets out once it is on disk: replies, messages, and sessions that end.

use campusgrid_core::effect::Effects;
use campusgrid_protocol::id::SessionId;
use campusgrid_protocol::message::ToWorker;

use crate::event::Event;
use crate::manager::Manager;
use crate::world::Stage;

impl Manager {
    /// In the engine's order: replies, messages, sessions that end.
    pub(super) fn tell(&mut self, effects: &Effects, stage: &mut Stage<'_>) {
        for (ticket, reply) in &effects.replies {
            let waiting = self.life.as_mut().and_then(|life| life.waiting.remove(ticket));
            if let Some(ask) = waiting {
                let answer = Event::Answered { ask, reply: reply.clone() };
                stage.agenda.within(1..300, answer);
            }
        }
        for (session, message) in &effects.sends {
            stage.oracles.told(message);
            self.send(*session, message, stage);
        }
        for (session, reason) in &effects.closes {
            self.send(*session, &ToWorker::Closing { reason: reason.clone() }, stage);
            self.drop_outbox(*session, stage);
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
