//! Jobs and their tasks while they have not ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::task::TaskSpec;

use crate::gpus::GpuSet;
use crate::losses::Losses;
use crate::money::Micros;
use crate::time::Timestamp;

/// A job with at least one task that has not ended.
///
/// Tasks that never started take no room of their own: they are those from `untouched_from` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub owner: UserId,
    pub name: String,
    pub spec: Arc<TaskSpec>,
    /// Held for each task until it ends.
    pub quote: Micros,
    pub submitted_at: Timestamp,
    pub untouched_from: u32,
    /// Tasks that started at least once and have not ended.
    pub tasks: BTreeMap<u32, Task>,
    /// Those of `tasks` that wait again.
    pub requeued: BTreeSet<u32>,
    pub ended: EndedTasks,
    /// What the job's packages came to, as the first worker said that had found it out.
    pub lock: Option<Arc<str>>,
    /// What waits of it is to be cancelled: its submitter asked when nothing could be settled.
    pub cancelling: bool,
}

/// How many tasks of a job ended, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedTasks {
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
}

/// A task that started at least once and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Attempts so far; the newest has this number.
    pub attempts: u32,
    pub tries_left: u32,
    pub losses: Losses,
    pub state: TaskState,
}

/// Whether a task waits again or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Queued,
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
}

impl Job {
    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> u32 {
        self.untouched() + u32::try_from(self.tasks.len()).expect("a job has at most u32 tasks")
    }

    /// Tasks that never started.
    pub fn untouched(&self) -> u32 {
        self.spec.tasks - self.untouched_from
    }

    /// What escrow holds for the job: the quote of every task that has not ended.
    pub fn held(&self) -> Micros {
        self.quote.checked_times(self.open_tasks()).expect("the whole hold fitted at submit")
    }

    /// The lease of an attempt, if that is the newest of its task and the task runs.
    pub fn lease(&self, attempt: AttemptId) -> Option<&Lease> {
        let task = self.tasks.get(&attempt.task.index)?;
        match &task.state {
            TaskState::Leased(lease) if task.attempts == attempt.number => Some(lease),
            TaskState::Leased(_) | TaskState::Queued => None,
        }
    }

    /// As [`Job::lease`], to be changed.
    pub(crate) fn lease_mut(&mut self, attempt: AttemptId) -> Option<&mut Lease> {
        let task = self.tasks.get_mut(&attempt.task.index)?;
        match &mut task.state {
            TaskState::Leased(lease) if task.attempts == attempt.number => Some(lease),
            TaskState::Leased(_) | TaskState::Queued => None,
        }
    }

    /// The running tasks with their leases.
    pub fn leases(&self) -> impl Iterator<Item = (AttemptId, Lease)> {
        self.tasks.iter().filter_map(|(&index, task)| match task.state {
            TaskState::Queued => None,
            TaskState::Leased(lease) => {
                let task_id = TaskId { job: self.id, index };
                Some((AttemptId { task: task_id, number: task.attempts }, lease))
            }
        })
    }

    /// The task that is to start next: the lowest index that waits.
    pub(crate) fn next_waiting(&self) -> Option<u32> {
        let untouched = (self.untouched() > 0).then_some(self.untouched_from);
        self.requeued.first().copied().into_iter().chain(untouched).min()
    }

    /// Tasks that wait, started before or not.
    pub fn waiting(&self) -> u32 {
        self.untouched() + u32::try_from(self.requeued.len()).expect("fewer than u32 tasks")
    }
}
