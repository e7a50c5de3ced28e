//! Jobs and their tasks while they have not ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Saved, TaskSpec};
use campusgrid_protocol::terms::{Terms, When};

use crate::ask::Deal;
use crate::gpus::GpuSet;
use crate::losses::Losses;
use crate::market::{Award, Market, Stage};
use crate::money::Micros;
use crate::time::Timestamp;
use crate::votes::Votes;

/// A job with at least one task that has not ended. Tasks are known by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub owner: UserId,
    pub name: String,
    pub spec: Arc<TaskSpec>,
    pub terms: Arc<Terms>,
    /// The most that one run of a task costs. Held for each task until it ends, as many times as it may
    /// still run: [`Job::held`]. Zero while nothing is held, since no bid is accepted.
    pub quote: Micros,
    /// Factor on the grid's formula as it was at submit, in thousandths.
    pub rate_permille: u32,
    /// Of one that is sold by bids.
    pub market: Option<Market>,
    pub submitted_at: Timestamp,
    /// Among its owner's jobs; higher goes first.
    pub priority: i8,
    /// Its submitter keeps what waits of it from starting.
    pub on_hold: bool,
    /// What other open jobs must come to before it, or each task of it, may start.
    pub after: Vec<After>,
    /// Tasks that never started and were not cancelled. These alone take no room of their own.
    pub untouched: Ranges,
    /// Tasks that started at least once and have not ended.
    pub tasks: BTreeMap<u32, Task>,
    /// Those of `tasks` that wait again and may start: not those that pause.
    pub requeued: BTreeSet<u32>,
    pub ended: EndedTasks,
    /// What the job's packages came to, as the first worker said that had found it out.
    pub lock: Option<Arc<str>>,
    /// What waits of it is to be cancelled: its submitter asked when nothing could be settled.
    pub cancelling: bool,
}

/// What must have come how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct After {
    pub job: JobId,
    pub when: When,
    /// Whether each task waits for the one at its own position alone.
    pub each: bool,
}

/// Which tasks of a job ended, and how, by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedTasks {
    pub succeeded: Ranges,
    pub failed: Ranges,
    pub cancelled: Ranges,
}

/// A task that started at least once and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Attempts so far; the newest has this number.
    pub attempts: u32,
    pub tries_left: u32,
    /// Runs that its hold still covers, the present one included: at least 1.
    pub runs_left: u8,
    pub losses: Losses,
    pub state: TaskState,
    /// What the next attempt goes on from.
    pub checkpoint: Option<Saved>,
    /// Charged for earlier attempts of the present run, out of its quote; for as much of them as a
    /// checkpoint covers.
    pub paid: Micros,
    /// How far the task has come that was paid for. Milliseconds of its own running time.
    pub paid_ms: u64,
    pub votes: Votes,
    /// Held of the fee account, beside the quotes, to have the result checked.
    pub audit: Micros,
}

/// Whether a task waits again, may not start yet, or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Queued,
    /// It has failed, and waits again from then on.
    Pausing {
        until: Timestamp,
    },
    Leased(Lease),
}

/// What ties the newest attempt of a task to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub worker: WorkerId,
    pub leased_at: Timestamp,
    /// When the environment stood and the task's clock began.
    pub started_at: Option<Timestamp>,
    /// Its submitter no longer wants it.
    pub cancelling: bool,
    /// Granted to it alone.
    pub gpus: GpuSet,
    pub deal: Deal,
}

impl EndedTasks {
    /// How many tasks have ended.
    pub fn len(&self) -> u32 {
        self.succeeded.len() + self.failed.len() + self.cancelled.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether none has ended otherwise than by succeeding.
    pub fn is_ok(&self) -> bool {
        self.failed.is_empty() && self.cancelled.is_empty()
    }
}

impl Job {
    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> u32 {
        self.untouched.len() + self.touched()
    }

    /// Tasks that started at least once and have not ended.
    fn touched(&self) -> u32 {
        u32::try_from(self.tasks.len()).expect("a job has at most u32 tasks")
    }

    /// Whether a task of it has ever been given to a machine, as far as that can be told: one that
    /// was cancelled may have been, or not.
    pub fn has_started(&self) -> bool {
        !self.tasks.is_empty() || !self.ended.succeeded.is_empty() || !self.ended.failed.is_empty()
    }

    /// What is held for tasks that never started.
    pub(crate) fn held_for_untouched(&self, tasks: u32) -> Micros {
        let runs = tasks.checked_mul(self.terms.runs().into());
        runs.and_then(|runs| self.quote.checked_times(runs))
            .expect("the whole hold fitted at submit")
    }

    /// What escrow holds for the job: the quote for every run that a task which has not ended may
    /// still have, less what was paid of it, and what checks of results are paid from. Costs O(tasks
    /// that have started).
    pub fn held(&self) -> Micros {
        self.held_of_submitter() + self.tasks.values().map(|task| task.audit).sum()
    }

    /// Of [`Job::held`], what is its submitter's.
    pub(crate) fn held_of_submitter(&self) -> Micros {
        let left = self.tasks.values().map(|task| u32::from(task.runs_left)).sum();
        let touched = self.quote.checked_times(left).expect("the whole hold fitted at submit");
        self.held_for_untouched(self.untouched.len()) + touched
            - self.tasks.values().map(|task| task.paid).sum()
    }

    /// The bid that was accepted, of a job that is sold by bids.
    pub fn award(&self) -> Option<&Award> {
        match &self.market.as_ref()?.stage {
            Stage::Open { .. } => None,
            Stage::Awarded(award) => Some(award),
        }
    }

    /// The lease of an attempt, if that is the newest of its task and the task runs.
    pub fn lease(&self, attempt: AttemptId) -> Option<&Lease> {
        let task = self.tasks.get(&attempt.task.index)?;
        match &task.state {
            TaskState::Leased(lease) if task.attempts == attempt.number => Some(lease),
            TaskState::Leased(_) | TaskState::Queued | TaskState::Pausing { .. } => None,
        }
    }

    /// As [`Job::lease`], to be changed.
    pub(crate) fn lease_mut(&mut self, attempt: AttemptId) -> Option<&mut Lease> {
        let task = self.tasks.get_mut(&attempt.task.index)?;
        match &mut task.state {
            TaskState::Leased(lease) if task.attempts == attempt.number => Some(lease),
            TaskState::Leased(_) | TaskState::Queued | TaskState::Pausing { .. } => None,
        }
    }

    /// The running tasks with their leases.
    pub fn leases(&self) -> impl Iterator<Item = (AttemptId, Lease)> {
        self.tasks.iter().filter_map(|(&index, task)| match task.state {
            TaskState::Queued | TaskState::Pausing { .. } => None,
            TaskState::Leased(lease) => {
                let task_id = TaskId { job: self.id, index };
                Some((AttemptId { task: task_id, number: task.attempts }, lease))
            }
        })
    }

    /// The tasks that pause before their next run, and until when.
    pub fn pausing(&self) -> impl Iterator<Item = (TaskId, Timestamp)> {
        self.tasks.iter().filter_map(|(&index, task)| match task.state {
            TaskState::Pausing { until } => Some((TaskId { job: self.id, index }, until)),
            TaskState::Queued | TaskState::Leased(_) => None,
        })
    }

    /// What waits that is not paused, started before or not; whether it may start or not.
    pub fn waiting(&self) -> u32 {
        let requeued = u32::try_from(self.requeued.len()).expect("fewer than u32 tasks");
        self.untouched.len() + requeued
    }

    /// Whether what waits of it is to be cancelled by now.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.terms.deadline_at_ms.is_some_and(|deadline| deadline <= now.0)
    }
}
