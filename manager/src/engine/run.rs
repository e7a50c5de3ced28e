//! The engine's thread: takes what waits in the inbox, at most a batch at a time, and sleeps until
//! the next letter or the grid's next deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use campusgrid_core::grid::Grid;
use campusgrid_core::input::{Input, Ticket, WorkerEvent};
use campusgrid_core::job::Job;
use campusgrid_core::policy::Policy;
use campusgrid_core::snapshot::Snapshot;
use campusgrid_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::batch::apply_and_commit;
use super::deliver::Delivery;
use super::gate::{Gate, Retry};
use super::handle::{EngineHandle, Letter};
use crate::clock::Clock;
use crate::disk::Reserve;
use crate::health::Health;
use crate::live::LiveLogs;
use crate::store::{Fullness, Store, StoreError};
use crate::vitals::Vitals;

/// Letters that wait; beyond, requests are turned away and sessions stop reading. About what one
/// fsync's time brings in at 60,000 inputs a second, many times over.
const INBOX: usize = 1024;

/// Inputs of one transaction: larger batches no longer gain, and the first in them wait longer.
const BATCH: usize = 256;

/// People cannot follow faster, and a snapshot costs time that grows with the grid.
const SNAPSHOT_EVERY_MS: u64 = 250;

/// Who waits for a snapshot at once; beyond, people see it a moment later.
const WAITING_TO_SEE_MAX: usize = 256;

/// How long a batch that has no room on the disk waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The engine before its thread starts.
#[derive(Debug)]
pub struct Engine {
    grid: Grid,
    store: Store,
    clock: Clock,
    delivery: Delivery,
    gate: Gate,
    vitals: Vitals,
    inbox: mpsc::Receiver<Letter>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    tickets: u64,
    /// When the newest batch was applied.
    turned_at: Timestamp,
    /// Whether a batch has waited for room since the grid was last told that it stood still.
    has_waited: bool,
    /// The thread turns at least this often while something can end by itself, so that it notices when
    /// it stood still. A lease that is renewed as it should be has more than two of these left.
    longest_wait_ms: u64,
    /// When the thread was to turn at the latest; None while nothing could end by itself.
    turn_due: Option<Timestamp>,
    /// Who waits for the snapshot that is due.
    waiting_to_see: Vec<oneshot::Sender<()>>,
}

/// What the engine works with beside its grid and its store.
#[derive(Debug)]
pub struct Surroundings {
    pub clock: Clock,
    pub live: LiveLogs,
    pub reserve: Reserve,
    pub health: Health,
    pub vitals: Vitals,
}

/// The engine's thread, to be waited for.
pub type Engineering = JoinHandle<Result<(), StoreError>>;

impl Engine {
    /// Recovers the grid from the store.
    ///
    /// # Errors
    ///
    /// `Load` and `Nonsense`.
    pub fn recover(
        policy: Arc<Policy>,
        store: Store,
        surroundings: Surroundings,
    ) -> Result<(Self, EngineHandle), StoreError> {
        let Surroundings { clock, live, reserve, health, vitals } = surroundings;
        let durable = store.load()?;
        for (attempt, lease) in durable.jobs.values().flat_map(Job::leases) {
            live.open(lease.worker, attempt);
        }
        let (turned_at, longest_wait_ms) = (clock.now(), u64::from(policy.lease_ms) / 4);
        let grid = Grid::recover(Arc::clone(&policy), durable, turned_at);
        let (sender, inbox) = mpsc::channel(INBOX);
        let snapshots = watch::Sender::new(Arc::new(grid.snapshot()));
        let events = watch::Sender::new(store.newest_event()?);
        let handle = EngineHandle {
            inbox: sender,
            snapshots: snapshots.subscribe(),
            events: events.subscribe(),
            policy,
            health: health.clone(),
        };
        let delivery =
            Delivery { waiting: BTreeMap::new(), outboxes: BTreeMap::new(), events, live };
        let gate = Gate::new(reserve, health);
        let engine = Self {
            grid,
            store,
            clock,
            delivery,
            gate,
            vitals,
            inbox,
            snapshots,
            tickets: 0,
            turned_at,
            has_waited: false,
            longest_wait_ms,
            turn_due: None,
            waiting_to_see: Vec::new(),
        };
        Ok((engine, handle))
    }

    /// Starts the thread. It ends after [`EngineHandle::stop`], or with the error of a commit that
    /// failed, upon which the process must end as well; either way it cancels `ended`. A batch for which
    /// the disk has no room is tried again until `ended` is cancelled.
    ///
    /// # Panics
    ///
    /// If the system has no thread left to give.
    pub fn start(self, ended: CancellationToken) -> Engineering {
        let thread = std::thread::Builder::new().name("engine".to_owned());
        let body = move || {
            let result = self.run(&ended);
            ended.cancel();
            result
        };
        thread.spawn(body).expect("a daemon that starts gets one more thread")
    }

    fn run(mut self, ended: &CancellationToken) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a timer needs nothing from the system");
        let mut snapshot_due = None;
        while let Some((mut inputs, stop)) = runtime.block_on(self.next_inputs(snapshot_due)) {
            let now = self.clock.now();
            let quiet = inputs.iter().all(|input| matches!(input, Input::Tick));
            let news = self.gate.news(now);
            let quiet = quiet && news.is_none();
            // Whether anything is settled is told before anything that could be.
            inputs.splice(0..0, news.into_iter().chain(self.pause(now)));
            let (gate, clock) = (&mut self.gate, &self.clock);
            let mend = |error| match gate.make_room(clock.now(), error)? {
                Retry::AtOnce => Ok(()),
                Retry::Later(error) => runtime.block_on(wait_for_room(ended, error)),
            };
            let count = inputs.len();
            let committed = apply_and_commit(&mut self.grid, &mut self.store, now, inputs, mend)?;
            self.has_waited |= self.gate.written(self.clock.now());
            if let Some(wrote_for) = committed.wrote_for {
                self.vitals.batch(count, wrote_for);
            }
            self.delivery.deliver(committed);
            snapshot_due = self.publish(now, snapshot_due, quiet);
            if snapshot_due.is_none() {
                // Who has gone meanwhile looks at nothing.
                for waiting in self.waiting_to_see.drain(..) {
                    let _ = waiting.send(());
                }
            }
            if stop {
                break;
            }
        }
        match self.store.checkpoint() {
            // All of it is in the log, from which the next start takes it.
            Err(error) if error.fullness() != Fullness::Other => {
                tracing::warn!("no room to empty the database's log; the next start will");
                Ok(())
            }
            end => end,
        }
    }

    /// What the grid is to be told if it stood still meanwhile: stopped, suspended, or without room on
    /// the disk. Nobody could renew a lease then, so none of them is over; and while a batch waits for
    /// room, sessions answer heartbeats without the grid, however short that was.
    fn pause(&mut self, now: Timestamp) -> Option<Input> {
        let still_ms = now.since_ms(std::mem::replace(&mut self.turned_at, now));
        // A thread that had nothing to wake for has slept as it should.
        let late_ms = self.turn_due.take().map_or(0, |due| now.since_ms(due));
        if !std::mem::take(&mut self.has_waited) && late_ms <= self.longest_wait_ms {
            return None;
        }
        tracing::warn!(still_ms, "the manager stood still: every lease gets its full time anew");
        Some(Input::Paused)
    }

    /// Waits for the first input, then takes what else is there. None when every handle is gone.
    async fn next_inputs(&mut self, snapshot_due: Option<Timestamp>) -> Option<(Vec<Input>, bool)> {
        let grid = self.grid.next_deadline();
        self.turn_due = grid.map(|_| self.turned_at.plus_ms(self.longest_wait_ms));
        let due = [grid, self.turn_due, self.gate.deadline(), snapshot_due];
        let deadline = due.into_iter().flatten().min();
        let first = match deadline {
            None => Some(self.inbox.recv().await?),
            Some(deadline) => {
                let wait = Duration::from_millis(deadline.since_ms(self.clock.now()));
                match tokio::time::timeout(wait, self.inbox.recv()).await {
                    Ok(letter) => Some(letter?),
                    Err(_) => None,
                }
            }
        };
        let mut inputs = vec![Input::Tick];
        let mut next = first;
        while let Some(letter) = next {
            if matches!(letter, Letter::Stop) {
                return Some((inputs, true));
            }
            inputs.extend(self.open(letter));
            next = if inputs.len() < BATCH { self.inbox.try_recv().ok() } else { None };
        }
        Some((inputs, false))
    }

    fn open(&mut self, letter: Letter) -> Option<Input> {
        match letter {
            Letter::Request { request, reply } => {
                self.tickets += 1;
                let ticket = Ticket(self.tickets);
                self.delivery.waiting.insert(ticket, reply);
                Some(Input::Request { ticket, request })
            }
            Letter::Connected { session, outbox } => {
                self.delivery.outboxes.insert(session, outbox);
                None
            }
            Letter::FromWorker { session, event } => {
                if matches!(event, WorkerEvent::Gone) {
                    self.delivery.outboxes.remove(&session);
                }
                Some(Input::FromWorker { session, event })
            }
            Letter::Intake(intake) => {
                self.gate.note_books(intake);
                None
            }
            Letter::Compare { reply } => {
                drop(reply.send(self.difference())); // Whoever asked may have gone.
                None
            }
            Letter::Show { reply } => {
                if self.waiting_to_see.len() < WAITING_TO_SEE_MAX {
                    self.waiting_to_see.push(reply);
                }
                None
            }
            Letter::Stop => None,
        }
    }

    /// In what memory and disk differ, in words; they are one between two batches, and what is collected
    /// for the next has not been applied. Costs as much as a start.
    fn difference(&self) -> Option<String> {
        match self.store.load() {
            Ok(disk) if disk == self.grid.durable() => None,
            Ok(_) => Some(
                "memory and disk differ: somebody else has written to the database. Stop the manager, \
                 put the books right, start it"
                    .to_owned(),
            ),
            Err(error) => Some(format!("what is on disk cannot be loaded: {error}")),
        }
    }

    /// Publishes a snapshot if one is due, or notes when the next is. A batch that brought nothing
    /// but the time wakes nobody's page.
    fn publish(&self, now: Timestamp, due: Option<Timestamp>, quiet: bool) -> Option<Timestamp> {
        if quiet && due.is_none() {
            return None;
        }
        let soonest = self.snapshots.borrow().at.plus_ms(SNAPSHOT_EVERY_MS);
        if now < soonest {
            return Some(due.unwrap_or(soonest));
        }
        self.snapshots.send_replace(Arc::new(self.grid.snapshot()));
        None
    }
}

/// # Errors
///
/// The error itself, if the daemon is asked to stop: nothing of the batch was told.
async fn wait_for_room(ended: &CancellationToken, error: StoreError) -> Result<(), StoreError> {
    tokio::select! {
        biased;
        () = ended.cancelled() => Err(error),
        () = tokio::time::sleep(RETRY) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use campusgrid_core::input::{Input, Intake, Shut};
    use campusgrid_core::time::Timestamp;

    use tokio_util::sync::CancellationToken;

    use super::{Engine, Surroundings};
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::disk::Reserve;
    use crate::engine::handle::EngineHandle;
    use crate::health::Health;
    use crate::live::LiveLogs;
    use crate::store::Store;
    use crate::vitals::Vitals;

    fn engine() -> (Engine, EngineHandle) {
        let data_dir = std::env::temp_dir();
        let surroundings = Surroundings {
            clock: Clock::start(Timestamp(0)),
            live: LiveLogs::default(),
            reserve: Reserve { data_dir: data_dir.clone(), bytes: 0 },
            health: Health::new(data_dir),
            vitals: Vitals::default(),
        };
        let policy = Arc::new(Config::read(None, [], []).unwrap().policy);
        Engine::recover(policy, Store::in_memory().unwrap(), surroundings).unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn an_engine_with_nothing_to_wake_for_has_not_stood_still() {
        let (mut engine, handle) = engine();
        let lease_ms = u64::from(handle.policy().lease_ms);
        runtime().block_on(handle.intake(Intake::Open)).unwrap();
        let (inputs, stop) = runtime().block_on(engine.next_inputs(None)).unwrap();
        assert_eq!((inputs.len(), stop), (1, false), "the tick alone");
        // The letter came after ten leases' time, in which there was none to renew.
        let late = engine.turned_at.plus_ms(10 * lease_ms);
        assert!(engine.pause(late).is_none());
    }

    #[test]
    fn who_waits_to_see_is_told_with_the_snapshot_that_is_due() {
        let (engine, handle) = engine();
        let thread = engine.start(CancellationToken::new());
        let shut = Intake::Shut(Shut::BooksBroken { findings: vec!["gone".to_owned()] });
        runtime().block_on(async {
            handle.intake(shut.clone()).await.unwrap();
            handle.shown().await;
        });
        assert_eq!(handle.snapshot().intake, shut);
        runtime().block_on(handle.stop());
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn an_engine_that_stood_still_says_so_before_anything_else() {
        let (mut engine, handle) = engine();
        let lease_ms = u64::from(handle.policy().lease_ms);
        let mut now = engine.turned_at;
        // While something can end by itself it turns four times in a lease, and may be late once.
        for still_ms in [1, lease_ms / 4, lease_ms / 2] {
            engine.turn_due = Some(now.plus_ms(lease_ms / 4));
            now = now.plus_ms(still_ms);
            assert!(engine.pause(now).is_none(), "{still_ms}");
        }
        engine.turn_due = Some(now.plus_ms(lease_ms / 4));
        now = now.plus_ms(lease_ms / 2 + 1);
        assert!(matches!(engine.pause(now), Some(Input::Paused)));
        assert!(engine.pause(now.plus_ms(10)).is_none());
        engine.has_waited = true;
        assert!(matches!(engine.pause(now.plus_ms(20)), Some(Input::Paused)));
        assert!(engine.pause(now.plus_ms(30)).is_none());
    }
}
