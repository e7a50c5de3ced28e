//! The manager as a process that can die: its engine's batches, its fleet's sessions, and what it
//! finds on disk when it starts again. Network and clock are made up, grid and store are real.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use campusgrid_core::durable::Durable;
use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Intake, Request, Shut, Ticket};
use campusgrid_core::policy::Policy;
use campusgrid_core::time::Timestamp;
use campusgrid_core::worker::KeyHash;
use campusgrid_manager::store::Store;
use campusgrid_protocol::id::{BlobHash, SessionId, WorkerId};
use campusgrid_protocol::rules::Phase;

use crate::agenda::Agenda;
use crate::clock::Clock;
use crate::engine::{Asker, Letter, Writing};
use crate::event::{AtManager, Event};
use crate::fleet::Session;
use crate::network::ConnectionId;
use crate::oracle::Oracle;
use crate::users::AskId;
use crate::world::Stage;

pub(crate) struct Manager {
    pub(super) policy: Arc<Policy>,
    pub(super) store: Store,
    /// As it was last loaded.
    pub(super) disk: Durable,
    pub(super) commits: u32,
    pub(super) blobs: BTreeSet<BlobHash>,
    pub(super) life: Option<Life>,
    pub(super) lives: u32,
    pub(super) doom: Option<Doom>,
    /// The machine whose session will be too slow for its next start.
    pub(super) too_slow: Option<usize>,
    /// Until then it does nothing, and what comes waits.
    pub(crate) still_until_ms: u64,
    /// Until then its disk is slow.
    pub(crate) slow_until_ms: u64,
    /// Why nothing is taken in, and until when.
    pub(super) shut: Option<(Shut, u64)>,
    /// How far its wall clock is set beside the right time.
    pub(crate) wall_ms: i64,
}

/// At which point of its next batch the manager dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    BeforeCommit,
    AfterCommit,
}

/// What lasts as long as the process.
pub(super) struct Life {
    pub(super) number: u32,
    pub(super) clock: Clock,
    pub(super) grid: Grid,
    pub(super) inbox: VecDeque<Letter>,
    pub(super) outboxes: BTreeMap<SessionId, ConnectionId>,
    pub(super) fleet: BTreeMap<ConnectionId, Session>,
    pub(super) keys: BTreeMap<SessionId, KeyHash>,
    /// What the machines in session have last said of their sharing, in what the grid was given.
    pub(super) phases: BTreeMap<SessionId, Phase>,
    pub(super) waiting: BTreeMap<Ticket, Asker>,
    pub(super) last_session: u64,
    pub(super) last_ticket: u64,
    pub(super) sleeps_until_ms: Option<u64>,
    pub(super) writing: Option<Writing>,
    /// What the grid was told about its intake.
    pub(super) told: Intake,
    /// When the newest batch was applied, and how long after the one before.
    pub(super) turned_at: Timestamp,
    pub(super) stood_still_ms: u64,
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
            still_until_ms: 0,
            slow_until_ms: 0,
            shut: None,
            wall_ms: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// What has not ended and why, in words.
    pub(crate) fn why(&self) -> String {
        let Some(life) = &self.life else { return "the manager is down".to_owned() };
        let jobs = self.disk.jobs.values().map(|job| {
            let leases: Vec<String> = job
                .leases()
                .map(|(id, lease)| format!("{id} on worker {}", lease.worker))
                .collect();
            format!("job {}: {} wait, {} run {leases:?}", job.id, job.waiting(), leases.len())
        });
        let open: Vec<String> = jobs.collect();
        format!("{open:?}; {:?}", life.grid.snapshot().waiting.values())
    }

    /// Starts from what is on disk.
    pub(crate) fn start(&mut self, stage: &mut Stage<'_>) {
        self.load(stage);
        stage.oracles.promises_kept(&self.disk);
        self.lives += 1;
        let durable = stage.saboteur.loaded(self.disk.clone(), &self.policy);
        let now_ms = stage.agenda.now_ms();
        let latest = self.store.latest().unwrap_or_default();
        let clock = Clock::start(now_ms, self.wall_ms, latest);
        let now = clock.now(now_ms);
        let grid = Grid::recover(stage.saboteur.policy(&self.policy), durable, now);
        stage.oracles.memory_is_disk(&grid.durable(), &self.disk);
        self.life = Some(Life {
            number: self.lives,
            clock,
            grid,
            inbox: VecDeque::new(),
            outboxes: BTreeMap::new(),
            fleet: BTreeMap::new(),
            keys: BTreeMap::new(),
            phases: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_session: 0,
            last_ticket: 0,
            sleeps_until_ms: None,
            writing: None,
            told: Intake::Open,
            turned_at: now,
            stood_still_ms: 0,
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
            self.still_until_ms = 0;
            stage.agenda.within(200..60_000, Event::ManagerStarts);
        }
    }

    /// A request reaches the engine, if there is one.
    pub(crate) fn ask(&mut self, ask: AskId, request: Request, agenda: &mut Agenda) {
        self.post(Letter::Request { asker: Asker::Person(ask), request }, agenda);
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
            AtManager::Written => self.on_written(stage),
            AtManager::Remind { connection } => self.remind(connection, stage),
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

    /// Machines in session that have said that they are not shared.
    pub(super) fn resting(&self) -> BTreeSet<WorkerId> {
        let Some(life) = &self.life else { return BTreeSet::new() };
        let phases = life.phases.iter().filter(|(_, phase)| **phase != Phase::Open);
        let newest = |key: &KeyHash| {
            life.keys.iter().rev().find(|(_, other)| *other == key).map(|(session, _)| *session)
        };
        let keys = phases.filter_map(|(session, _)| {
            life.keys.get(session).filter(|key| newest(key) == Some(*session))
        });
        let worker_of =
            |key: &KeyHash| self.disk.workers.values().find(|worker| worker.key_hash == *key);
        keys.filter_map(worker_of).map(|worker| worker.id).collect()
    }

    pub(super) fn plan(&self, at_ms: u64, what: AtManager, agenda: &mut Agenda) {
        if let Some(life) = &self.life {
            agenda.at(at_ms, Event::AtManager { life: life.number, what });
        }
    }

    pub(super) fn load(&mut self, stage: &mut Stage<'_>) {
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
}
