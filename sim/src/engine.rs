//! The manager's engine: takes what waits, applies it to the grid, commits, and lets the rest out. The
//! disk may take its time, and so may the engine.

use std::collections::BTreeSet;

use campusgrid_core::effect::{Change, Effects};
use campusgrid_core::input::{Input, Intake, Request, Shut, Ticket, WorkerEvent};
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::Shown;
use campusgrid_protocol::id::{SessionId, WorkerId};
use campusgrid_protocol::rules::Phase;

use crate::agenda::Agenda;
use crate::event::AtManager;
use crate::manager::{Doom, Manager};
use crate::network::ConnectionId;
use crate::oracle::Batch;
use crate::saboteur::{Bug, Tampered};
use crate::users::AskId;
use crate::world::Stage;

/// As the engine has it, beside the tick.
const BATCH: usize = 255;

/// Commits between two checks of the books, which read every row.
const COMMITS_PER_CHECK: u32 = 64;

/// What waits in the engine's inbox.
pub(super) enum Letter {
    Request { asker: Asker, request: Request },
    Connected { session: SessionId, connection: ConnectionId },
    FromWorker { session: SessionId, event: WorkerEvent },
}

/// Who waits for a reply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Person(AskId),
    /// On its enrolment connection, by what it has shown.
    Machine {
        connection: ConnectionId,
        shown: Option<Shown>,
    },
}

/// A batch that the disk is taking.
pub(super) struct Writing {
    effects: Effects,
    batch: Batch,
    /// Machines that were not shared before and are not after it.
    resting: BTreeSet<WorkerId>,
}

impl Manager {
    pub(super) fn post(&mut self, letter: Letter, agenda: &mut Agenda) {
        if let Some(life) = &mut self.life {
            life.inbox.push_back(letter);
            self.plan_batch(agenda);
        }
    }

    /// Nothing is taken in until then.
    pub(crate) fn shut(&mut self, why: Shut, until_ms: u64, stage: &mut Stage<'_>) {
        stage.oracles.count(match why {
            Shut::DiskFull => "manager's disk full",
            Shut::BooksBroken { .. } => "books broken",
        });
        self.shut = Some((why, until_ms));
        self.plan_batch(stage.agenda);
    }

    /// What the gate would say.
    fn intake(&self, now_ms: u64) -> Intake {
        match &self.shut {
            Some((why, until_ms)) if *until_ms > now_ms => Intake::Shut(why.clone()),
            Some(_) | None => Intake::Open,
        }
    }

    /// As the engine turns at least this often while something can end by itself.
    fn longest_wait_ms(&self) -> u64 {
        u64::from(self.policy.lease_ms) / 4
    }

    /// Wakes the engine for its letters, for the grid's next deadline, or for its gate.
    pub(super) fn plan_batch(&mut self, agenda: &mut Agenda) {
        let now_ms = agenda.now_ms();
        let Some(life) = self.life.as_ref().filter(|life| life.writing.is_none()) else { return };
        let at_ms = if life.inbox.is_empty() {
            let ms_of = |moment: Timestamp| life.clock.ms_of(moment);
            let deadline = life.grid.next_deadline();
            let turn = deadline.map(|_| life.turned_at.plus_ms(self.longest_wait_ms()));
            let gate = match &self.shut {
                _ if self.intake(now_ms) != life.told => Some(now_ms),
                Some((_, until_ms)) if *until_ms > now_ms => Some(*until_ms),
                Some(_) | None => None,
            };
            let due = [deadline.map(ms_of), turn.map(ms_of), gate];
            let Some(due_ms) = due.into_iter().flatten().min() else { return };
            due_ms.max(now_ms)
        } else {
            // While the disk works, the next batch gathers.
            now_ms + agenda.dice.u64(0..5)
        };
        let Some(life) = &mut self.life else { return };
        if life.sleeps_until_ms.is_none_or(|planned| planned > at_ms) {
            life.sleeps_until_ms = Some(at_ms);
            self.plan(at_ms, AtManager::Batch { at_ms }, agenda);
        }
    }

    /// Applies what waits, and gives the disk what came of it.
    pub(super) fn batch(&mut self, stage: &mut Stage<'_>) {
        stage.oracles.count("batch");
        let news = self.news(stage);
        let rested = self.resting();
        let inputs = self.take_inputs(stage.agenda);
        let resting = self.resting().intersection(&rested).copied().collect();
        let Some(life) = &mut self.life else { return };
        let tampered = stage.saboteur.inputs(inputs, &self.disk, &life.keys);
        let Tampered { inputs, mut effects } = tampered;
        let now = life.turned_at;
        for input in news {
            life.grid.handle(now, input, &mut effects);
        }
        for input in inputs {
            life.grid.handle(now, input, &mut effects);
            if stage.agenda.chance(20) {
                // A clock that steps back is the grid's to put up with.
                life.grid.handle(Timestamp(now.0 / 2), Input::Tick, &mut effects);
            }
        }
        life.grid.dispatch(&mut effects);
        effects.changes = stage.saboteur.changes(effects.changes);
        let batch =
            Batch { at: now, is_shut: life.told != Intake::Open, after_ms: life.stood_still_ms };
        if stage.saboteur.has(Bug::AnswersBeforeCommit) {
            self.answer(&mut effects, stage);
        }
        if stage.saboteur.has(Bug::SendsBeforeCommit) {
            self.send_all(&mut effects, stage);
        }
        let takes_ms = if effects.changes.is_empty() { 0 } else { self.writing_ms(stage) };
        if let Some(life) = &mut self.life {
            life.writing = Some(Writing { effects, batch, resting });
        }
        if takes_ms == 0 {
            self.on_written(stage);
        } else {
            let at_ms = stage.agenda.now_ms() + takes_ms;
            self.plan(at_ms, AtManager::Written, stage.agenda);
        }
    }

    /// How long the disk takes for a batch; one that is full to the last byte takes it when it has room.
    fn writing_ms(&self, stage: &mut Stage<'_>) -> u64 {
        if stage.agenda.now_ms() >= self.slow_until_ms {
            return 0;
        }
        stage.oracles.count("slow commit");
        let longest_ms = if stage.agenda.chance(100) { 120_000 } else { 8000 };
        stage.agenda.dice.u64(300..longest_ms)
    }

    /// What the engine itself tells the grid before anything else.
    fn news(&mut self, stage: &mut Stage<'_>) -> Vec<Input> {
        let now_ms = stage.agenda.now_ms();
        let (intake, longest_wait_ms) = (self.intake(now_ms), self.longest_wait_ms());
        let Some(life) = &mut self.life else { return Vec::new() };
        let now = life.clock.now(now_ms);
        life.stood_still_ms = now.since_ms(std::mem::replace(&mut life.turned_at, now));
        let mut news = Vec::new();
        if intake != life.told {
            life.told = intake.clone();
            if !stage.saboteur.has(Bug::IgnoresIntake) {
                news.push(Input::Intake(intake));
            }
        }
        if life.stood_still_ms > 2 * longest_wait_ms && !stage.saboteur.has(Bug::ForgetsPauses) {
            stage.oracles.count("leases renewed after a pause");
            news.push(Input::Paused);
        }
        news
    }

    /// The disk has taken the batch: commit, tell, as the engine does.
    pub(super) fn on_written(&mut self, stage: &mut Stage<'_>) {
        let writing = self.life.as_mut().and_then(|life| life.writing.take());
        let Some(Writing { mut effects, batch, resting }) = writing else { return };
        stage.oracles.rests(&effects.changes, &resting);
        let doom = self.doom.take_if(|_| !effects.changes.is_empty());
        if doom == Some(Doom::BeforeCommit) {
            stage.oracles.count("manager died before commit");
            return self.die(stage);
        }
        self.commit(&effects.changes, batch, stage);
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
                Letter::Request { asker, request } => {
                    life.last_ticket += 1;
                    let ticket = Ticket(life.last_ticket);
                    life.waiting.insert(ticket, asker);
                    inputs.push(Input::Request { ticket, request });
                }
                Letter::Connected { session, connection } => {
                    life.outboxes.insert(session, connection);
                }
                Letter::FromWorker { session, event } => {
                    if let WorkerEvent::Gone = event {
                        life.outboxes.remove(&session);
                        life.keys.remove(&session);
                        life.phases.remove(&session);
                    }
                    if let Some(phase) = phase_of(&event) {
                        life.phases.insert(session, phase);
                    }
                    inputs.push(Input::FromWorker { session, event });
                }
            }
        }
        inputs
    }

    fn commit(&mut self, changes: &[Change], batch: Batch, stage: &mut Stage<'_>) {
        if !changes.is_empty() {
            let result = self.store.commit(changes).map(drop);
            stage.oracles.committed(result, changes, batch);
            self.load(stage);
            self.commits += 1;
            if self.commits.is_multiple_of(COMMITS_PER_CHECK) {
                stage.oracles.books_balance(&self.store);
            }
        }
        if let Some(life) = &self.life {
            stage.oracles.memory_is_disk(&life.grid.durable(), &self.disk);
        }
    }
}

/// What a machine says of its sharing.
fn phase_of(event: &WorkerEvent) -> Option<Phase> {
    match event {
        WorkerEvent::Joined(joined) => joined.shares.as_ref().map(|shares| shares.phase),
        WorkerEvent::Shares(shares) => Some(shares.phase),
        WorkerEvent::Heartbeat(_)
        | WorkerEvent::Started { .. }
        | WorkerEvent::Locked { .. }
        | WorkerEvent::Checkpoint { .. }
        | WorkerEvent::Ended(_)
        | WorkerEvent::Gone => None,
    }
}
