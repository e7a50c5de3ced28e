//! One thread that makes helpers before they are needed and clears them away afterwards.
//!
//! Both cost milliseconds (joining a cgroup waits for an RCU grace period) that no task has to
//! wait for. At most one helper is parked at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{Mutex, mpsc};

use crate::cgroup::Cgroup;
use crate::cgroup::layout::Layout;
use crate::lane::{Berth, Lane};
use crate::plan::SandboxError;

/// Tasks at once, at most. Each has a number, and as root a uid, that no other running task has.
pub(crate) const LANES_MAX: u32 = 256;
/// A chore per lane and one to prepare the next: sending never has to wait.
const CHORES_MAX: usize = LANES_MAX as usize + 2;

/// How helpers are made.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) helper: PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Confined { bwrap: Arc<Path>, layout: Layout, first_job_uid: Option<u32> },
    Bare { scratch: PathBuf },
}

enum Chore {
    Prepare,
    Clear(Lane),
}

type Prepared = Result<Lane, SandboxError>;

/// The handle to the thread; dropping it waits until everything parked is gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    chores: Option<SyncSender<Chore>>,
    parked: Mutex<mpsc::Receiver<Prepared>>,
    thread: Option<JoinHandle<()>>,
}

/// A lane with a task in it. Dropping it kills the task and clears the lane away.
#[derive(Debug)]
pub(crate) struct Occupied {
    lane: Option<Lane>,
    chores: SyncSender<Chore>,
}

impl Keeper {
    /// Starts the thread, which at once prepares the first helper.
    ///
    /// # Errors
    ///
    /// `Host` if there can be no thread.
    pub(crate) fn start(recipe: Recipe) -> Result<Self, SandboxError> {
        let (chores, inbox) = sync_channel(CHORES_MAX);
        let (ready, parked) = mpsc::channel(1); // One is parked, the next is made when it is taken.
        let thread = std::thread::Builder::new()
            .name("sandbox-keeper".to_owned())
            .spawn(move || keep(&recipe, &inbox, &ready))
            .map_err(|source| SandboxError::Host { operation: "start a thread", source })?;
        let keeper =
            Self { chores: Some(chores), parked: Mutex::new(parked), thread: Some(thread) };
        keeper.send(Chore::Prepare);
        Ok(keeper)
    }

    /// Takes the parked helper, or waits until there is one, and has the next one made.
    ///
    /// # Errors
    ///
    /// What went wrong when the helper was made.
    pub(crate) async fn take(&self) -> Result<Occupied, SandboxError> {
        let mut was_refused = false;
        loop {
            // Callers queue at the lock; whoever holds it waits for the one that is being made.
            let prepared = self.parked.lock().await.recv().await;
            // No await in between: a caller that gives up must not leave the place empty.
            self.send(Chore::Prepare);
            let gone = || SandboxError::Unavailable { reason: "its thread has ended".to_owned() };
            let mut lane = match prepared.ok_or_else(gone)? {
                Ok(lane) => lane,
                Err(error) if was_refused => return Err(error),
                Err(_) => {
                    was_refused = true; // It may be from long ago: only a fresh one counts.
                    continue;
                }
            };
            let is_alive = lane.is_alive();
            let chores = self.chores.clone().expect("only dropping takes it");
            let occupied = Occupied { lane: Some(lane), chores };
            // Somebody may have killed it while it was parked.
            if is_alive {
                return Ok(occupied);
            }
        }
    }

    fn send(&self, chore: Chore) {
        if let Some(chores) = &self.chores {
            let _ended = chores.try_send(chore);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.parked.get_mut().close();
        if let Ok(Ok(lane)) = self.parked.get_mut().try_recv() {
            self.send(Chore::Clear(lane));
        }
        self.chores = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Occupied {
    pub(crate) fn lane(&mut self) -> &mut Lane {
        self.lane.as_mut().expect("only dropping takes it")
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

/// Tells the sandboxes of one process apart where they share a directory of cgroups.
static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// The thread: does chores until nobody can send any.
fn keep(recipe: &Recipe, inbox: &Receiver<Chore>, ready: &mpsc::Sender<Prepared>) {
    let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
    let mut taken = BTreeSet::new();
    let clear = |taken: &mut BTreeSet<u32>, mut lane: Lane| {
        lane.end();
        taken.remove(&lane.number);
    };
    while let Ok(chore) = inbox.recv() {
        match chore {
            Chore::Prepare => {
                let prepared = recipe.prepare(instance, &mut taken);
                if let Err(mpsc::error::SendError(Ok(lane))) = ready.blocking_send(prepared) {
                    clear(&mut taken, lane);
                }
            }
            Chore::Clear(lane) => clear(&mut taken, lane),
        }
    }
}

impl Recipe {
    fn prepare(&self, instance: u32, taken: &mut BTreeSet<u32>) -> Prepared {
        let number = (0..LANES_MAX).find(|number| !taken.contains(number)).ok_or_else(|| {
            SandboxError::Unavailable { reason: format!("{LANES_MAX} tasks are running") }
        })?;
        let berth = match &self.kind {
            Kind::Confined { bwrap, layout, first_job_uid } => Berth::Confined {
                bwrap: Arc::clone(bwrap),
                cgroup: Arc::new(Cgroup::make(layout, Layout::name(instance, number))?),
                job_uid: first_job_uid.map(|first| first + number),
            },
            Kind::Bare { scratch } => {
                Berth::Bare { directory: scratch.join(format!("run-{number}")) }
            }
        };
        let cgroup = match &berth {
            Berth::Confined { cgroup, .. } => Some(Arc::clone(cgroup)),
            Berth::Bare { .. } => None,
        };
        let lane = Lane::start(&self.helper, number, berth).inspect_err(|_| {
            if let Some(cgroup) = cgroup {
                cgroup.remove();
            }
        })?;
        taken.insert(number);
        Ok(lane)
    }
}
