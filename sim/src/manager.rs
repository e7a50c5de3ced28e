//! The manager as a process that can die: its engine's batches, its fleet's sessions, and what it
//! finds on disk when it starts again. Network and clock are made up, grid and store are real.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use campusgrid_core::durable::Durable;
use campusgrid_core::effect::Effects;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Heartbeat, Input, Joined, Request, Ticket, WorkerEvent};
use campusgrid_core::policy::Policy;
use campusgrid_core::worker::KeyHash;
use campusgrid_manager::store::Store;
use campusgrid_protocol::frame;
use campusgrid_protocol::id::{BlobHash, SessionId};
use campusgrid_protocol::message::{Join, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended};

use crate::agenda::Agenda;
use crate::event::{AtManager, Event, Up};
use crate::network::ConnectionId;
use crate::oracle::Oracle;
use crate::saboteur::{Bug, Tampered};
use crate::users::AskId;
use crate::world::Stage;

/// As the fleet has it.
const INTRODUCTION_MS: u64 = 10_000;

/// As the engine has it, beside the tick.
const BATCH: usize = 255;

/// Commits between two checks of the books, which read every row.
const COMMITS_PER_CHECK: u32 = 64;

pub(crate) struct Manager {
    pub(super) policy: Arc<Policy>,
    store: Store,
    /// As it was last loaded.
    pub(super) disk: Durable,
    commits: u32,
    blobs: BTreeSet<BlobHash>,
    pub(super) life: Option<Life>,
    lives: u32,
    doom: Option<Doom>,
    /// The machine whose session will be too slow for its next start.
    pub(super) too_slow: Option<usize>,
}

/// At which point of its next batch the manager dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    BeforeCommit,
    AfterCommit,
}

/// What lasts as long as the process.
pub(super) struct Life {
    number: u32,
    grid: Grid,
    inbox: VecDeque<Letter>,
    pub(super) outboxes: BTreeMap<SessionId, ConnectionId>,
    fleet: BTreeMap<ConnectionId, Session>,
    keys: BTreeMap<SessionId, KeyHash>,
    pub(super) waiting: BTreeMap<Ticket, AskId>,
    last_session: u64,
    last_ticket: u64,
    sleeps_until_ms: Option<u64>,
}

/// A connection as the fleet sees it.
struct Session {
    id: SessionId,
    joined: bool,
    heard_ms: u64,
}

enum Letter {
    Request { ask: AskId, request: Request },
    Connected { session: SessionId, connection: ConnectionId },
    FromWorker { session: SessionId, event: WorkerEvent },
}

impl Manager {
    pub(crate) fn new(policy: Policy, store: Store) -> Self {
        Self {
            policy: Arc::new(policy),
            store,
            disk: Durable::empty(),
            commits: 0,
            blobs: BTreeSet::new(),
            life: None,
            lives: 0,
            doom: None,
            too_slow: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// What waits and why, in words.
    pub(crate) fn why(&self) -> String {
        let Some(life) = &self.life else { return "the manager is down".to_owned() };
        format!("{:?} {:#?}", life.grid.snapshot(), self.disk.jobs)
    }

    /// Starts from what is on disk.
    pub(crate) fn start(&mut self, stage: &mut Stage<'_>) {
        self.load(stage);
        stage.oracles.promises_kept(&self.disk);
        self.lives += 1;
        let durable = stage.saboteur.loaded(self.disk.clone(), &self.policy);
        let now = stage.agenda.timestamp();
        let grid = Grid::recover(Arc::clone(&self.policy), durable, now);
        stage.oracles.memory_is_disk(grid.durable(), &self.disk);
        self.life = Some(Life {
            number: self.lives,
            grid,
            inbox: VecDeque::new(),
            outboxes: BTreeMap::new(),
            fleet: BTreeMap::new(),
            keys: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_session: 0,
            last_ticket: 0,
            sleeps_until_ms: None,
        });
        self.plan_batch(stage.agenda);
    }

    /// Dies at its next batch that changes something.
    pub(crate) fn doom(&mut self, doom: Doom) {
        self.doom = Some(doom);
    }

    /// Dies at once, and starts again later.
    pub(crate) fn die(&mut self, stage: &mut Stage<'_>) {
        if self.life.take().is_some() {
            let its_kernel_lives = stage.agenda.dice.bool();
            stage.network.manager_dies(its_kernel_lives, stage.agenda);
            stage.agenda.within(200..60_000, Event::ManagerStarts);
        }
    }

    /// A request reaches the engine, if there is one.
    pub(crate) fn ask(&mut self, ask: AskId, request: Request, agenda: &mut Agenda) {
        self.post(Letter::Request { ask, request }, agenda);
    }

    /// Keeps blobs; false if it cannot.
    pub(crate) fn take_blobs(&mut self, blobs: &[BlobRef]) -> bool {
        if self.is_up() {
            self.blobs.extend(blobs.iter().map(|blob| blob.hash));
        }
        self.is_up()
    }

    pub(crate) fn on_up(&mut self, connection: ConnectionId, what: Up, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else {
            if let Up::Dial = what {
                stage.network.end_down(connection, stage.agenda);
            }
            return;
        };
        match what {
            Up::Dial => {
                life.last_session += 1;
                let id = SessionId(life.last_session);
                let heard_ms = stage.agenda.now_ms();
                life.fleet.insert(connection, Session { id, joined: false, heard_ms });
                stage.network.accept(connection, id, stage.agenda);
                let over = AtManager::IntroductionOver { connection };
                self.plan(heard_ms + INTRODUCTION_MS, over, stage.agenda);
            }
            Up::Frame(payload) => self.on_frame(connection, &payload, stage),
            Up::End => self.close(connection, stage),
        }
    }

    pub(crate) fn on_event(&mut self, life: u32, what: AtManager, stage: &mut Stage<'_>) {
        let Some(alive) = self.life.as_mut().filter(|alive| alive.number == life) else { return };
        match what {
            AtManager::Batch { at_ms } => {
                if alive.sleeps_until_ms == Some(at_ms) {
                    alive.sleeps_until_ms = None;
                    self.batch(stage);
                }
            }
            AtManager::IntroductionOver { connection } => {
                if alive.fleet.get(&connection).is_some_and(|session| !session.joined) {
                    self.close(connection, stage);
                }
            }
            AtManager::SilenceOver { connection } => {
                let Some(session) = alive.fleet.get(&connection) else { return };
                let at_ms = session.heard_ms + u64::from(self.policy.lease_ms);
                if at_ms <= stage.agenda.now_ms() {
                    self.close(connection, stage);
                } else {
                    self.plan(at_ms, what, stage.agenda);
                }
            }
        }
    }

    fn on_frame(&mut self, connection: ConnectionId, payload: &Bytes, stage: &mut Stage<'_>) {
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
                return self.join(*join, id, connection, stage);
            }
            ToManager::Heartbeat { sequence, attempts, load } => {
                WorkerEvent::Heartbeat(Heartbeat { sequence, attempts, load })
            }
            ToManager::Started { attempt } => WorkerEvent::Started { attempt },
            ToManager::Ended(ended) => {
                assert!(self.has_blobs(&ended), "an agent sends blobs before the end");
                WorkerEvent::Ended(ended)
            }
            ToManager::Preparing { .. } | ToManager::LogPiece { .. } | ToManager::Leaving => return,
        };
        assert!(!first, "an agent joins first");
        self.post(Letter::FromWorker { session: id, event }, stage.agenda);
    }

    fn join(
        &mut self,
        join: Join,
        session: SessionId,
        connection: ConnectionId,
        stage: &mut Stage<'_>,
    ) {
        stage.oracles.count("join");
        let key_hash = *blake3::hash(&join.key.0).as_bytes();
        let code = format!("{:08X}", stage.agenda.dice.u32(..));
        if let Some(life) = &mut self.life {
            let newer = |(&other, key): (&SessionId, &KeyHash)| other > session && *key == key_hash;
            if life.keys.iter().any(newer) {
                stage.oracles.count("join overtaken");
            }
            life.keys.insert(session, key_hash);
        }
        let joined = Joined::from_join(join, key_hash, code);
        let event = WorkerEvent::Joined(Box::new(joined));
        self.post(Letter::Connected { session, connection }, stage.agenda);
        self.post(Letter::FromWorker { session, event }, stage.agenda);
        let at_ms = stage.agenda.now_ms() + u64::from(self.policy.lease_ms);
        self.plan(at_ms, AtManager::SilenceOver { connection }, stage.agenda);
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

    fn post(&mut self, letter: Letter, agenda: &mut Agenda) {
        if let Some(life) = &mut self.life {
            life.inbox.push_back(letter);
            self.plan_batch(agenda);
        }
    }

    fn plan(&self, at_ms: u64, what: AtManager, agenda: &mut Agenda) {
        if let Some(life) = &self.life {
            agenda.at(at_ms, Event::AtManager { life: life.number, what });
        }
    }

    /// Wakes the engine for its letters, or for the grid's next deadline.
    fn plan_batch(&mut self, agenda: &mut Agenda) {
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
    fn batch(&mut self, stage: &mut Stage<'_>) {
        stage.oracles.count("batch");
        let inputs = self.take_inputs(stage.agenda);
        let Some(life) = &mut self.life else { return };
        let Tampered { inputs, sends } = stage.saboteur.inputs(inputs, &self.disk, &life.keys);
        let now = stage.agenda.timestamp();
        let mut effects = Effects::default();
        effects.sends.extend(sends);
        for input in &inputs {
            life.grid.handle(now, input.clone(), &mut effects);
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
        self.commit(&inputs, &effects, stage);
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

    fn commit(&mut self, inputs: &[Input], effects: &Effects, stage: &mut Stage<'_>) {
        stage.oracles.agreed(inputs, effects);
        if !effects.changes.is_empty() {
            let result = self.store.commit(&effects.changes).map(drop);
            stage.oracles.committed(result, &effects.changes, stage.agenda.timestamp());
            self.load(stage);
            self.commits += 1;
            if self.commits % COMMITS_PER_CHECK == 0 {
                stage.oracles.books_balance(&self.store);
            }
        }
        if let Some(life) = &self.life {
            stage.oracles.memory_is_disk(life.grid.durable(), &self.disk);
        }
    }

    fn load(&mut self, stage: &mut Stage<'_>) {
        match self.store.load() {
            Ok(disk) => self.disk = disk,
            Err(error) => stage.oracles.find(Oracle::MemoryIsDisk, error.to_string()),
        }
    }

    /// The last look at the books.
    pub(crate) fn close_the_books(&mut self, stage: &mut Stage<'_>) {
        stage.oracles.books_balance(&self.store);
        stage.oracles.all_is_over(&self.policy, &self.disk);
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
