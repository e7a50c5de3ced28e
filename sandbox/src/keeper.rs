//! One thread that makes helpers before they are needed and clears them away afterwards.
//!
//! Both cost milliseconds (joining a cgroup waits for an RCU grace period) that no task has to
//! wait for. Some helpers are always parked for whoever comes; those that have served a task of a
//! family stay warm for its next ones, a few seconds.

mod keeping;
mod warm;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::cgroup::layout::Layout;
use crate::lane::Lane;
use crate::plan::{Network, SandboxError};

use keeping::{Chore, Keeping, Order, Whom};
use warm::Warm;

pub(crate) use warm::Family;

/// Tasks at once, at most. Each has a number, and as root a uid, that no other running task has.
pub(crate) const LANES_MAX: u32 = 256;
/// A chore per lane and some to prepare others: sending never has to wait.
const CHORES_MAX: usize = LANES_MAX as usize + 16;
/// Helpers parked for whoever comes: making one takes several times as long as a short task.
const PARKED: usize = 3;

/// How helpers are made.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) helper: PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Confined { layout: Layout, first_job_uid: Option<u32> },
    Filtered { layout: Layout, first_job_uid: u32, scratch: PathBuf },
    Bare { scratch: PathBuf },
}

type Prepared = Result<Lane, SandboxError>;

/// The handle to the thread; dropping it waits until everything parked is gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    chores: Option<SyncSender<Chore>>,
    parked: Mutex<mpsc::Receiver<Prepared>>,
    warm: Arc<Warm>,
    thread: Option<JoinHandle<()>>,
}

/// A lane with a task in it. Dropping it kills the task and clears the lane away.
#[derive(Debug)]
pub(crate) struct Occupied {
    lane: Option<Lane>,
    chores: SyncSender<Chore>,
    warm: Arc<Warm>,
    pub(crate) was_warm: bool,
}

impl Keeper {
    /// Starts the thread, which at once prepares the first helpers.
    ///
    /// # Errors
    ///
    /// `Host` if there can be no thread.
    pub(crate) fn start(recipe: Recipe) -> Result<Self, SandboxError> {
        let (chores, inbox) = sync_channel(CHORES_MAX);
        let (ready, parked) = mpsc::channel(PARKED); // The next is made when one is taken.
        let warm = Arc::new(Warm::default());
        let theirs = Arc::clone(&warm);
        let thread = std::thread::Builder::new()
            .name("sandbox-keeper".to_owned())
            .spawn(move || Keeping::new(recipe, theirs, ready).keep(&inbox))
            .map_err(|source| SandboxError::Host { operation: "start a thread", source })?;
        let keeper =
            Self { chores: Some(chores), parked: Mutex::new(parked), warm, thread: Some(thread) };
        for _ in 0..PARKED {
            keeper.prepare(Whom::Anybody);
        }
        Ok(keeper)
    }

    /// Takes a warm helper of this family, or the parked one; has the next one made.
    ///
    /// # Errors
    ///
    /// What went wrong when the helper was made.
    pub(crate) async fn take(
        &self,
        family: Option<&Family>,
        network: Network,
    ) -> Result<Occupied, SandboxError> {
        while let Some(mut lane) = family.and_then(|family| self.warm.take(family)) {
            let is_alive = lane.is_alive();
            let occupied = self.occupied(lane, true);
            if is_alive {
                return Ok(occupied);
            }
        }
        match network {
            Network::None => self.take_parked().await,
            Network::Host => {
                let (answer, prepared) = oneshot::channel();
                self.prepare(Whom::Tool(answer));
                let lane = prepared.await.map_err(|_| gone())??;
                Ok(self.occupied(lane, false))
            }
        }
    }

    async fn take_parked(&self) -> Result<Occupied, SandboxError> {
        let mut refused = 0;
        loop {
            // Callers queue at the lock; whoever holds it waits for the one that is being made.
            let prepared = self.parked.lock().await.recv().await;
            // No await in between: a caller that gives up must not leave the place empty.
            self.prepare(Whom::Anybody);
            let mut lane = match prepared.ok_or_else(gone)? {
                Ok(lane) => lane,
                Err(error) if refused == PARKED => return Err(error),
                Err(_) => {
                    refused += 1; // They may be from long ago: only a fresh one counts.
                    continue;
                }
            };
            let is_alive = lane.is_alive();
            let occupied = self.occupied(lane, false);
            // Somebody may have killed it while it was parked.
            if is_alive {
                return Ok(occupied);
            }
        }
    }

    fn occupied(&self, lane: Lane, was_warm: bool) -> Occupied {
        let chores = self.chores.clone().expect("only dropping takes it");
        Occupied { lane: Some(lane), chores, warm: Arc::clone(&self.warm), was_warm }
    }

    fn prepare(&self, whom: Whom) {
        if let Some(chores) = &self.chores {
            let order = Order { whom, chores: chores.clone() };
            let _ended = chores.try_send(Chore::Prepare(order));
        }
    }

    fn send(&self, chore: Chore) {
        if let Some(chores) = &self.chores {
            let _ended = chores.try_send(chore);
        }
    }
}

fn gone() -> SandboxError {
    SandboxError::Unavailable { reason: "its thread has ended".to_owned() }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.parked.get_mut().close();
        while let Ok(prepared) = self.parked.get_mut().try_recv() {
            prepared.into_iter().for_each(|lane| self.send(Chore::Clear(lane)));
        }
        self.warm.take_all().into_iter().for_each(|lane| self.send(Chore::Clear(lane)));
        self.chores = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Occupied {
    pub(crate) fn lane(&mut self) -> &mut Lane {
        self.lane.as_mut().expect("only giving it back takes it")
    }

    /// Gives the lane back for the next task of this family, when its task was collected from.
    pub(crate) fn keep_warm(mut self, family: Family) {
        let Some(lane) = self.lane.take() else { return };
        if !lane.release() {
            self.lane = Some(lane);
            return;
        }
        let (surplus, is_first) = self.warm.add(lane, family);
        if let Some(lane) = surplus {
            lane.dismiss();
            let _ended = self.chores.try_send(Chore::Clear(lane));
        }
        if is_first {
            let _ended = self.chores.try_send(Chore::Watch);
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.dismiss();
            let _ended = self.chores.try_send(Chore::Clear(lane));
        }
    }
}
