//! The manager's engine: takes what waits, applies it to the grid, commits, and lets the rest out.

use campusgrid_core::effect::Change;
use campusgrid_core::input::{Input, Request, Ticket, WorkerEvent};
use campusgrid_protocol::id::SessionId;

use crate::agenda::Agenda;
use crate::event::AtManager;
use crate::manager::{Doom, Manager};
use crate::network::ConnectionId;
use crate::saboteur::{Bug, Tampered};
use crate::users::AskId;
use crate::world::Stage;

/// As the engine has it, beside the tick.
const BATCH: usize = 255;

/// Commits between two checks of the books, which read every row.
const COMMITS_PER_CHECK: u32 = 64;

/// What waits in the engine's inbox.
pub(super) enum Letter {
    Request { ask: AskId, request: Request },
    Connected { session: SessionId, connection: ConnectionId },
    FromWorker { session: SessionId, event: WorkerEvent },
}

impl Manager {
    pub(super) fn post(&mut self, letter: Letter, agenda: &mut Agenda) {
        if let Some(life) = &mut self.life {
            life.inbox.push_back(letter);
            self.plan_batch(agenda);
        }
    }

    /// Wakes the engine for its letters, or for the grid's next deadline.
    pub(super) fn plan_batch(&mut self, agenda: &mut Agenda) {
        let Some(life) = &mut self.life else { return };
        let at_ms = if life.inbox.is_empty() {
            let Some(deadline) = life.grid.next_deadline() else { return };
            Agenda::ms_of(deadline).max(agenda.now_ms())
        } else {
            // While the disk works, the next batch gathers.
            agenda.now_ms() + agenda.dice.u64(0..5)
        };
        if life.sleeps_until_ms.is_none_or(|planned| planned > at_ms) {
            life.sleeps_until_ms = Some(at_ms);
            self.plan(at_ms, AtManager::Batch { at_ms }, agenda);
        }
    }

    /// Apply, commit, tell, as the engine does.
    pub(super) fn batch(&mut self, stage: &mut Stage<'_>) {
        stage.oracles.count("batch");
        let inputs = self.take_inputs(stage.agenda);
        let Some(life) = &mut self.life else { return };
        let tampered = stage.saboteur.inputs(inputs, &self.disk, &life.keys);
        let Tampered { inputs, mut effects } = tampered;
        let now = stage.agenda.timestamp();
        for input in inputs {
            life.grid.handle(now, input, &mut effects);
        }
        life.grid.dispatch(&mut effects);
        effects.changes = stage.saboteur.changes(effects.changes);
        let doom = self.doom.take_if(|_| !effects.changes.is_empty());
        if stage.saboteur.has(Bug::AnswersBeforeCommit) {
            self.answer(&mut effects, stage);
        }
        if stage.saboteur.has(Bug::SendsBeforeCommit) {
            self.send_all(&mut effects, stage);
        }
        if doom == Some(Doom::BeforeCommit) {
            stage.oracles.count("manager died before commit");
            return self.die(stage);
        }
        self.commit(&effects.changes, stage);
        if doom == Some(Doom::AfterCommit) {
            stage.oracles.count("manager died after commit");
            return self.die(stage);
        }
        self.answer(&mut effects, stage);
        self.send_all(&mut effects, stage);
        self.plan_batch(stage.agenda);
    }

    fn take_inputs(&mut self, agenda: &mut Agenda) -> Vec<Input> {
        let mut inputs = vec![Input::Tick];
        let Some(life) = &mut self.life else { return inputs };
        let most = if agenda.chance(100) { 1 } else { BATCH };
        for letter in life.inbox.drain(..life.inbox.len().min(most)) {
            match letter {
                Letter::Request { ask, request } => {
                    life.last_ticket += 1;
                    let ticket = Ticket(life.last_ticket);
                    life.waiting.insert(ticket, ask);
                    inputs.push(Input::Request { ticket, request });
                }
                Letter::Connected { session, connection } => {
                    life.outboxes.insert(session, connection);
                }
                Letter::FromWorker { session, event } => {
                    if let WorkerEvent::Gone = event {
                        life.outboxes.remove(&session);
                        life.keys.remove(&session);
                    }
                    inputs.push(Input::FromWorker { session, event });
                }
            }
        }
        inputs
    }

    fn commit(&mut self, changes: &[Change], stage: &mut Stage<'_>) {
        if !changes.is_empty() {
            let result = self.store.commit(changes).map(drop);
            stage.oracles.committed(result, changes, stage.agenda.timestamp());
            self.load(stage);
            self.commits += 1;
            if self.commits.is_multiple_of(COMMITS_PER_CHECK) {
                stage.oracles.books_balance(&self.store);
            }
        }
        if let Some(life) = &self.life {
            stage.oracles.memory_is_disk(life.grid.durable(), &self.disk);
        }
    }
}
