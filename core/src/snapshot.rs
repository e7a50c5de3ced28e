//! The grid as people look at it: a value, published a few times a second, shared by all pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Needs, Speed};
use campusgrid_protocol::rules::{Kind, Rules, Shares};
use campusgrid_protocol::task::TaskSpec;

use crate::ask::Ask;
use crate::input::Intake;
use crate::job::After;
use crate::money::Micros;
use crate::offer::Offer;
use crate::pricing::{Prices, price};
use crate::record::Record;
use crate::sharing::Host;
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
    /// The shapes of jobs whose tasks wait for some machines only: [`Shape::only`], [`Shape::but`].
    pub narrow: BTreeMap<JobId, Vec<Shape>>,
    /// Why nothing may start of those jobs that do not wait for a machine.
    pub stalled: BTreeMap<JobId, Stalled>,
    /// Of machines that bid on open jobs: what they have free, and in how many milliseconds at the
    /// latest, when what runs there has ended.
    pub rooms: BTreeMap<WorkerId, Vec<(u64, Free)>>,
    /// The formula.
    pub prices: Prices,
    /// The factor on prices right now, in thousandths.
    pub rate_permille: u32,
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
    /// For its submitter to accept one of so many bids.
    Bids {
        bids: usize,
    },
    /// For so long, until the best of so many bids is accepted.
    Closing {
        bids: usize,
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
    pub kind: Kind,
    pub time_limit_s: u32,
    /// What a run may cost at most, before the job's own factor: what decides whose ask is low enough.
    pub budget: Micros,
    /// The one machine that may run it, since its bid was accepted.
    pub only: Option<WorkerId>,
    /// Owners whose machines have had their say on the result already. Where it is checked at all, the
    /// submitter's machines have none: [`Job::but`](crate::job::Job::but).
    pub but: But,
}

/// Owners whose machines may not run a task, since its result is checked.
pub type But = [Option<UserId>; 2];

impl Shape {
    /// The shape of a job's tasks that any machine may run; `prices` are the formula's.
    pub fn of(owner: UserId, spec: &TaskSpec, prices: &Prices) -> Self {
        // Most jobs require nothing by name, and these share one empty list.
        let labels =
            if spec.labels.is_empty() { Arc::default() } else { spec.labels.as_slice().into() };
        Self {
            owner,
            needs: spec.needs,
            isolation: spec.isolation,
            labels,
            kind: spec.kind(),
            time_limit_s: spec.time_limit_s,
            budget: price(prices, &spec.needs, spec.limit_ms()),
            only: None,
            but: But::default(),
        }
    }

    /// Whether only some of the machines may run it that otherwise could.
    pub(crate) fn is_narrow(&self) -> bool {
        self.only.is_some() || self.is_checked()
    }

    /// Whether the result of its tasks is checked.
    pub(crate) fn is_checked(&self) -> bool {
        self.but != But::default()
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
    pub rules: Arc<Rules>,
    pub ask: Ask,
    pub record: Record,
    /// From 0 to 1000: [`Record::score_permille`].
    pub score_permille: u32,
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
    /// All that its owner shares of it.
    pub whole: Free,
    pub shares: Option<Arc<Shares>>,
    /// Whether it takes tasks right now, as far as its owner is concerned.
    pub is_open: bool,
    pub speed: Option<Speed>,
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
    /// The shape of a job's tasks that any machine may run.
    pub fn shape(&self, owner: UserId, spec: &TaskSpec) -> Shape {
        Shape::of(owner, spec, &self.prices)
    }

    /// Why tasks of a job wait, in words, if any do.
    pub fn why(&self, job: JobId, owner: UserId, spec: &TaskSpec) -> Option<String> {
        if let Some(stalled) = self.stalled.get(&job) {
            return Some(stalled.to_string());
        }
        let narrow = self.narrow.get(&job).into_iter().flatten();
        let words = narrow.filter_map(|shape| self.waiting.get(shape)).next();
        words.or_else(|| self.waiting.get(&self.shape(owner, spec))).cloned()
    }

    /// Counts the machines that could take a task of this shape, of the submitter of this name.
    pub fn fit(&self, shape: &Shape, submitter: &str) -> Fit {
        let mut fit = Fit::default();
        for worker in &self.workers {
            let Some(link) = &worker.link else { continue };
            fit.online += 1;
            if worker.could_run(shape, submitter) {
                fit.able += 1;
                fit.free += u32::from(link.is_open && link.free.fits(&shape.needs));
            }
        }
        fit
    }
}

impl WorkerView {
    /// Whether it could run a task of this shape when idle, of the submitter of this name.
    pub fn could_run(&self, shape: &Shape, submitter: &str) -> bool {
        self.set_aside.is_none()
            && self.link.as_ref().is_some_and(|link| {
                Host::of_view(self, link).admits(shape, || submitter)
                    && link.whole.fits(&shape.needs)
            })
    }
}
