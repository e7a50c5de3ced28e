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
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::batch::apply_and_commit;
use super::deliver::Delivery;
use super::handle::{EngineHandle, Letter};
use crate::clock::Clock;
use crate::live::LiveLogs;
use crate::store::{Store, StoreError};

/// Letters that wait; beyond, requests are turned away and sessions stop reading. About what one
/// fsync's time brings in at 60,000 inputs a second, many times over.
const INBOX: usize = 1024;

/// Inputs of one transaction: larger batches no longer gain, and the first in them wait longer.
const BATCH: usize = 256;

/// People cannot follow faster, and a snapshot costs time that grows with the grid.
const SNAPSHOT_EVERY_MS: u64 = 250;

/// The engine before its thread starts.
#[derive(Debug)]
pub struct Engine {
    grid: Grid,
    store: Store,
    clock: Clock,
    delivery: Delivery,
    inbox: mpsc::Receiver<Letter>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    tickets: u64,
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
        clock: Clock,
        live: LiveLogs,
    ) -> Result<(Self, EngineHandle), StoreError> {
        let durable = store.load()?;
        for (attempt, lease) in durable.jobs.values().flat_map(Job::leases) {
            live.open(lease.worker, attempt);
        }
        let grid = Grid::recover(Arc::clone(&policy), durable, clock.now());
        let (sender, inbox) = mpsc::channel(INBOX);
        let snapshots = watch::Sender::new(Arc::new(grid.snapshot()));
        let events = watch::Sender::new(store.newest_event()?);
        let handle = EngineHandle {
            inbox: sender,
            snapshots: snapshots.subscribe(),
            events: events.subscribe(),
            policy,
        };
        let delivery =
            Delivery { waiting: BTreeMap::new(), outboxes: BTreeMap::new(), events, live };
        let engine = Self { grid, store, clock, delivery, inbox, snapshots, tickets: 0 };
        Ok((engine, handle))
    }

    /// Starts the thread. It ends after [`EngineHandle::stop`], or with the error of a commit that
    /// failed, upon which the process must end as well; either way it cancels `ended`.
    ///
    /// # Panics
    ///
    /// If the system has no thread left to give.
    pub fn start(self, ended: CancellationToken) -> Engineering {
        let thread = std::thread::Builder::new().name("engine".to_owned());
        let body = move || {
            let _ended = ended.drop_guard();
            self.run()
        };
        thread.spawn(body).expect("a daemon that starts gets one more thread")
    }

    fn run(mut self) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a timer needs nothing from the system");
        let mut snapshot_due = None;
        while let Some((inputs, stop)) = runtime.block_on(self.next_inputs(snapshot_due)) {
            let now = self.clock.now();
            let quiet = inputs.iter().all(|input| matches!(input, Input::Tick));
            let committed = apply_and_commit(&mut self.grid, &mut self.store, now, inputs)?;
            self.delivery.deliver(committed);
            snapshot_due = self.publish(now, snapshot_due, quiet);
            if stop {
                break;
            }
        }
        self.store.checkpoint()
    }

    /// Waits for the first input, then takes what else is there. None when every handle is gone.
    async fn next_inputs(&mut self, snapshot_due: Option<Timestamp>) -> Option<(Vec<Input>, bool)> {
        let deadline = self.grid.next_deadline().into_iter().chain(snapshot_due).min();
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
            Letter::Stop => None,
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
