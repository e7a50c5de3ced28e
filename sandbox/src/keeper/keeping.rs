//! The thread of the keeper.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::cgroup::layout::Layout;
use crate::cgroup::{Cgroup, REMOVAL};
use crate::clock::Stopwatch;
use crate::lane::{Berth, Lane};
use crate::plan::{Network, SandboxError};

use super::warm::Warm;
use super::{Kind, LANES_MAX, Prepared, Recipe};

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Chore {
    Prepare(Order),
    Clear(Lane),
    /// The number of a lane that could not be made.
    Forget(u32),
    /// There is a warm lane again, whose time has to be watched.
    Watch,
}

/// A lane to be made.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) whom: Whom,
    /// Where to tell of what nobody wants or could be made.
    pub(super) chores: SyncSender<Chore>,
}

/// Who waits for a lane.
#[derive(Debug)]
pub(super) enum Whom {
    /// Whoever comes: it is parked.
    Anybody,
    /// One of our own tools, for which it has the machine's network.
    Tool(oneshot::Sender<Prepared>),
}

/// Until what did not end in time is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// For all that has not ended yet when the thread has to.
const LAST: Duration = Duration::from_secs(10);

/// Tells the sandboxes of one process apart where they share a directory of cgroups.
static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// What the thread knows.
pub(super) struct Keeping {
    recipe: Arc<Recipe>,
    warm: Arc<Warm>,
    ready: mpsc::Sender<Prepared>,
    instance: u32,
    /// Numbers of lanes.
    taken: BTreeSet<u32>,
    /// Lanes that have not ended in time.
    lingering: Vec<Lane>,
}

impl Keeping {
    pub(super) fn new(recipe: Recipe, warm: Arc<Warm>, ready: mpsc::Sender<Prepared>) -> Self {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self {
            recipe: Arc::new(recipe),
            warm,
            ready,
            instance,
            taken: BTreeSet::new(),
            lingering: Vec::new(),
        }
    }

    /// Does chores until nobody can send any.
    pub(super) fn keep(mut self, inbox: &Receiver<Chore>) {
        loop {
            let again = (!self.lingering.is_empty()).then_some(AGAIN);
            let chore = match again.into_iter().chain(self.warm.time_left()).min() {
                Some(time) => inbox.recv_timeout(time),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match chore {
                Ok(Chore::Prepare(order)) => self.prepare(order),
                Ok(Chore::Clear(lane)) => self.clear(lane),
                Ok(Chore::Forget(number)) => drop(self.taken.remove(&number)),
                Ok(Chore::Watch) => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.expire();
                    self.clear_lingering(Duration::ZERO);
                }
                Err(RecvTimeoutError::Disconnected) => return self.clear_lingering(LAST),
            }
        }
    }

    fn expire(&mut self) {
        while self.warm.time_left() == Some(Duration::ZERO) {
            let Some(lane) = self.warm.take_oldest() else { return };
            self.clear(lane);
        }
    }

    fn clear(&mut self, mut lane: Lane) {
        // A number whose lane has left something is not given to another before that is gone.
        if lane.end(REMOVAL) {
            self.taken.remove(&lane.number);
        } else {
            self.lingering.push(lane);
        }
    }

    /// Looks again at what had not ended in time.
    fn clear_lingering(&mut self, patience: Duration) {
        let watch = Stopwatch::start();
        let taken = &mut self.taken;
        self.lingering.retain_mut(|lane| {
            let is_gone = lane.end(patience.saturating_sub(watch.passed()));
            if is_gone {
                taken.remove(&lane.number);
            }
            !is_gone
        });
    }

    /// Has a lane made by a thread of its own: most of the time that takes is waiting for the
    /// kernel, which several can do at once.
    fn prepare(&mut self, order: Order) {
        let free = |taken: &BTreeSet<u32>| (0..LANES_MAX).find(|number| !taken.contains(number));
        if free(&self.taken).is_none()
            && let Some(lane) = self.warm.take_oldest()
        {
            self.clear(lane);
        }
        let Some(number) = free(&self.taken) else {
            let reason = format!("{LANES_MAX} tasks are running");
            order.deliver(&self.ready, Err(SandboxError::Unavailable { reason }));
            return;
        };
        self.taken.insert(number);
        let (recipe, ready, instance) =
            (Arc::clone(&self.recipe), self.ready.clone(), self.instance);
        let making = move || {
            let prepared = recipe.prepare(instance, number, order.network());
            if prepared.is_err() {
                let _ended = order.chores.send(Chore::Forget(number));
            }
            order.deliver(&ready, prepared);
        };
        let started = std::thread::Builder::new().name("sandbox-lane".to_owned()).spawn(making);
        if let Err(source) = started {
            self.taken.remove(&number);
            // A tool learns it from its channel, which is closed now.
            let error = SandboxError::Host { operation: "start a thread", source };
            let _ended = self.ready.try_send(Err(error));
        }
    }
}

impl Order {
    fn network(&self) -> Network {
        match self.whom {
            Whom::Anybody => Network::None,
            Whom::Tool(_) => Network::Host,
        }
    }

    fn deliver(self, ready: &mpsc::Sender<Prepared>, prepared: Prepared) {
        let unwanted = match self.whom {
            Whom::Anybody => ready.blocking_send(prepared).map_err(|error| error.0),
            Whom::Tool(answer) => answer.send(prepared),
        };
        if let Err(Ok(lane)) = unwanted {
            let _ended = self.chores.send(Chore::Clear(lane));
        }
    }
}

impl Recipe {
    fn prepare(&self, instance: u32, number: u32, network: Network) -> Prepared {
        // What builds packages has one user, so that it can use what it built before.
        let place = match network {
            Network::None => number,
            Network::Host => LANES_MAX,
        };
        let directory = |scratch: &Path| scratch.join(format!("run-{number}"));
        let group =
            |layout: &Layout| Cgroup::make(layout, Layout::name(instance, number)).map(Arc::new);
        let berth = match &self.kind {
            Kind::Confined { layout, first_job_uid } => Berth::Confined {
                cgroup: group(layout)?,
                job_uid: first_job_uid.map(|first| first + place),
                network,
            },
            Kind::Filtered { layout, first_job_uid, scratch } => Berth::Filtered {
                cgroup: group(layout)?,
                job_uid: first_job_uid + place,
                network,
                directory: directory(scratch),
            },
            Kind::Bare { scratch } => Berth::Bare { directory: directory(scratch) },
        };
        let cgroup = match &berth {
            Berth::Confined { cgroup, .. } | Berth::Filtered { cgroup, .. } => {
                Some(Arc::clone(cgroup))
            }
            Berth::Bare { .. } => None,
        };
        Lane::start(&self.helper, number, berth).inspect_err(|_| {
            if let Some(cgroup) = cgroup {
                cgroup.remove(REMOVAL);
            }
        })
    }
}
