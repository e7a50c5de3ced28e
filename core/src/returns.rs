//! Attempts that come back without an end: whose fault that is, what it costs, what it says about the
//! machine and about the task.

use campusgrid_protocol::id::TaskId;
use campusgrid_protocol::task::{Ended, WorkerFault};

use crate::effect::{Change, Effects, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::{Lease, Task, TaskState};
use crate::losses::Loss;
use crate::settle::End;
use crate::snapshot::Shape;

/// How often a task may come back for nothing before a broken engine or a GPU in use counts as one of
/// its tries. With [`PAUSE_MS`] between two of them, this is ten minutes of one machine that takes
/// tasks which it cannot run.
const FREE_RETURNS_MAX: u32 = 20;

/// How long a machine gets nothing of the kind that it has given back because of what it lacks:
/// meanwhile another can have the task, or what is out of reach may come back.
const PAUSE_MS: u64 = 30_000;

/// Why an attempt came back that its machine never spoke of.
const NEVER_ARRIVED: &str = "its start never reached the worker";

/// An attempt that its machine has given back, or that was taken from it.
pub(crate) struct Return {
    pub(crate) lease: Lease,
    /// Whether the machine ever spoke of it.
    pub(crate) heard_of: bool,
    pub(crate) ended: Box<Ended>,
    pub(crate) fault: WorkerFault,
}

impl Return {
    /// Whether the machine never had it, as it said itself when it returned.
    fn is_of_nobody(&self) -> bool {
        self.fault == WorkerFault::Restarted && !self.heard_of && self.lease.started_at.is_none()
    }

    fn words(&self) -> String {
        if self.is_of_nobody() { NEVER_ARRIVED.to_owned() } else { self.fault.to_string() }
    }

    /// Whether it ran when its machine was lost.
    fn is_loss(&self) -> bool {
        let lost = matches!(self.fault, WorkerFault::LeaseOver | WorkerFault::Restarted);
        lost && self.lease.started_at.is_some()
    }
}

impl Grid {
    /// The worker's fault: the task waits again at its old place, or ends if its tries are used up or
    /// if it takes its machines down.
    pub(crate) fn take_back(&mut self, back: Return, effects: &mut Effects) {
        let (attempt, lease) = (back.ended.attempt, back.lease);
        self.note_fault(&back, effects);
        let tries = self.policy.tries;
        let task = self.task_mut(attempt.task);
        let tries_left = task.tries_left - u32::from(costs_a_try(&back, task, tries));
        let loss = Loss { worker: lease.worker, attempt: attempt.number };
        let losses = if back.is_loss() { task.losses.and(loss) } else { Ok(task.losses) };
        let losses = match losses {
            _ if lease.cancelling => return self.give_up(back, Verdict::Cancelled, effects),
            Err(three) => {
                let reason = self.poison_words(three);
                return self.give_up(back, Verdict::Failed { reason }, effects);
            }
            Ok(_) if tries_left == 0 => {
                let reason = format!("given up by the grid and refunded: {}", back.words());
                return self.give_up(back, Verdict::Failed { reason }, effects);
            }
            Ok(losses) => losses,
        };
        (task.tries_left, task.losses) = (tries_left, losses);
        task.state = TaskState::Queued;
        let job = self.jobs.get_mut(&attempt.task.job).expect("the task has just been there");
        job.requeued.insert(attempt.task.index);
        self.queue.add(&Shape::of(job.owner, &job.spec), job.id);
        let (reason, at) = (back.words(), self.now);
        effects.changes.push(Change::TaskRequeued { attempt, reason, tries_left, losses, at });
    }

    /// What a return says about the machine.
    fn note_fault(&mut self, back: &Return, effects: &mut Effects) {
        let Return { lease, ended, fault, .. } = back;
        if *fault == WorkerFault::Leaving
            && let Some(link) = self.links.get_mut(&lease.worker)
            && lease.leased_at >= link.connected_at
        {
            // Or it would be given the very task that it has just given back, again and again,
            // since that costs no try. What was leased before this connection may have been given
            // back by a worker that has left since, and has returned with that in its spool.
            link.leaving = true;
        }
        let is_at_start = lease.started_at.is_none() && is_at_start(fault);
        if is_at_start || is_of_the_machine(fault) {
            let job = &self.jobs[&ended.attempt.task.job];
            let pause = (lease.worker, Shape::of(job.owner, &job.spec));
            self.pauses.renew(pause, self.now.plus_ms(PAUSE_MS));
        }
        if is_at_start {
            self.suspect(lease.worker, ended.attempt, fault, effects);
        }
    }

    /// Ends a task that its machine has given back; nobody is paid.
    fn give_up(&mut self, back: Return, verdict: Verdict, effects: &mut Effects) {
        let attempt = back.ended.attempt;
        let result = TaskResult { attempt, ended: back.ended };
        self.end_task(attempt.task, End::unpaid(verdict, result), effects);
        self.close_if_over(attempt.task.job, effects);
    }

    fn poison_words(&self, losses: [Loss; 3]) -> String {
        let [one, two, three] = losses.map(|Loss { worker, attempt }| {
            let name = self.workers.get(&worker).map_or("a removed one", |worker| &worker.name);
            format!("worker {worker} ({name}) in attempt {attempt}")
        });
        format!(
            "given up by the grid and refunded: three different workers were lost while they ran it: \
             {one}, {two} and {three}"
        )
    }

    fn task_mut(&mut self, id: TaskId) -> &mut Task {
        let job = self.jobs.get_mut(&id.job).expect("the caller has looked the job up");
        job.tasks.get_mut(&id.index).expect("the caller has looked the task up")
    }
}

/// Whether a return counts as one of the `tries` that a task is given.
fn costs_a_try(back: &Return, task: &Task, tries: u32) -> bool {
    let costly = tries.saturating_sub(task.tries_left);
    let free = (task.attempts - 1).saturating_sub(costly);
    if back.is_of_nobody() {
        return free >= FREE_RETURNS_MAX;
    }
    // What came back because owners left counts here and costs nothing, as ever.
    back.fault.costs_a_try() || (is_of_the_machine(&back.fault) && free >= FREE_RETURNS_MAX)
}

/// Whether the machine lacks something that the next task of this shape would miss as well.
fn is_of_the_machine(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Engine { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Disk { .. } => true,
        WorkerFault::Sandbox { .. }
        | WorkerFault::LeaseOver
        | WorkerFault::Restarted
        | WorkerFault::Leaving => false,
    }
}

/// Whether a machine that gives tasks back so before they begin may do so with all of them.
fn is_at_start(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Sandbox { .. }
        | WorkerFault::Engine { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Disk { .. } => true,
        WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving => false,
    }
}
