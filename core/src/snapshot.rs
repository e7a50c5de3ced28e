//! The grid as people look at it: a value, published a few times a second, shared by all pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Needs};
use campusgrid_protocol::task::TaskSpec;

use crate::input::Intake;
use crate::job::After;
use crate::offer::Offer;
use crate::time::Timestamp;
use crate::worker::Free;

/// What all pages show of the live grid.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub at: Timestamp,
    /// Machines with an owner, connected or not, by id.
    pub workers: Vec<WorkerView>,
    /// Machines that wait for somebody's approval.
    pub newcomers: Vec<NewcomerView>,
    pub tasks_queued: u64,
    pub tasks_running: u64,
    pub users: u64,
    pub intake: Intake,
    /// Why the tasks of each shape that waits do so.
    pub waiting: BTreeMap<Shape, String>,
    /// Why nothing may start of those jobs that do not wait for a machine.
    pub stalled: BTreeMap<JobId, Stalled>,
}

/// Why nothing of a job may start, whatever machines there are. In words: its `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    /// As soon as the intake opens.
    Cancelling,
    OnHold,
    /// For this, and so many others.
    After {
        after: After,
        others: usize,
    },
    /// So many of its tasks run, and no more may at once.
    AtOnce {
        running: u32,
    },
    /// A task pauses for so long before it is run again.
    Pausing {
        ms: u64,
    },
    /// Nothing keeps it.
    Turn,
}

/// Tasks that the scheduler cannot tell apart: of one submitter, with equal needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    pub owner: UserId,
    pub needs: Needs,
    pub isolation: Isolation,
    /// What the machine must offer; sorted, each once.
    pub labels: Arc<[String]>,
}

impl Shape {
    /// The shape of a job's tasks.
    pub fn of(owner: UserId, spec: &TaskSpec) -> Self {
        // Most jobs require nothing by name, and these share one empty list.
        let labels =
            if spec.labels.is_empty() { Arc::default() } else { spec.labels.as_slice().into() };
        Self { owner, needs: spec.needs, isolation: spec.isolation, labels }
    }
}

/// A machine with an owner.
#[derive(Debug, Clone)]
pub struct WorkerView {
    pub id: WorkerId,
    pub name: String,
    pub owner: UserId,
    pub owner_name: String,
    pub running: u32,
    /// Why it gets no tasks until its owner says so, if it is set aside.
    pub set_aside: Option<Arc<str>>,
    /// Absent while it is not connected.
    pub link: Option<LinkView>,
}

/// A machine's connection.
#[derive(Debug, Clone)]
pub struct LinkView {
    pub capacity: Capacity,
    pub free: Free,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    pub offer: Arc<Offer>,
    pub load: Load,
    pub connected_at: Timestamp,
    pub heard_at: Timestamp,
    /// Whether it has missed so many reports that it gets nothing new.
    pub silent: bool,
}

/// A machine that waits for approval; its code is on its own screen only.
#[derive(Debug, Clone)]
pub struct NewcomerView {
    pub name: String,
    pub address: String,
    pub claimed_owner: Option<String>,
}

/// How many machines could take a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fit {
    pub online: u32,
    /// Could run it when idle.
    pub able: u32,
    /// Could run it right now.
    pub free: u32,
}

impl Snapshot {
    /// Counts the machines that could take a task of this shape.
    pub fn fit(&self, shape: &Shape) -> Fit {
        let mut fit = Fit::default();
        for worker in &self.workers {
            let Some(link) = &worker.link else { continue };
            fit.online += 1;
            if worker.set_aside.is_none()
                && admits((link.isolation, &link.offer), worker.owner, shape)
                && Free::whole(&link.capacity).fits(&shape.needs)
            {
                fit.able += 1;
                fit.free += u32::from(link.free.fits(&shape.needs));
            }
        }
        fit
    }
}

/// Whether a machine of this confinement and these labels may run this shape at all: it confines at
/// least as the submitter asks, offers all that the shape requires by name, and one that does not
/// confine at all runs its owner's jobs only.
pub fn admits(
    (isolation, offer): (Isolation, &Offer),
    worker_owner: UserId,
    shape: &Shape,
) -> bool {
    confines(isolation, worker_owner, shape) && offer.has_all(&shape.labels)
}

/// The part of [`admits`] that is about confinement.
pub(crate) fn confines(isolation: Isolation, worker_owner: UserId, shape: &Shape) -> bool {
    isolation >= shape.isolation && (isolation > Isolation::None || worker_owner == shape.owner)
}
