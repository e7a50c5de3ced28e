//! Attempts that come back without an end: whose fault that is, what it costs, what it says about the
//! machine and about the task.

use campusgrid_protocol::id::{AttemptId, TaskId};
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};

use crate::effect::{Change, Effects, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::{Lease, Task};
use crate::losses::{Loss, Losses};
use crate::settle::End;
use crate::snapshot::Shape;
use crate::worker::Grant;

/// How often a task may come back for nothing before a broken engine or a GPU in use counts as one of
/// its tries. With [`PAUSE_MS`] between two of them, this is ten minutes of one machine that takes
/// tasks which it cannot run.
const FREE_RETURNS_MAX: u32 = 20;

/// How long a machine gets nothing of the kind that it has given back because of what it lacks:
/// meanwhile another can have the task, or what is out of reach may come back.
const PAUSE_MS: u64 = 30_000;

/// How long a machine gets nothing of the kind of which its owner has stopped a task by hand.
const STOPPED_PAUSE_MS: u64 = 10 * 60 * 1000;

/// Why an attempt came back that its machine never spoke of.
const NEVER_ARRIVED: &str = "its start never reached the worker";

/// As [`NEVER_ARRIVED`], where the machine does not say so itself.
const NEVER_HEARD_OF: &str = "the worker was lost before it said a word of it";

/// Before the fault of a machine that was lost while the grid stood still, or did not come back.
const OUTAGE: &str = "lost over an outage of the manager";

/// As the fault of a machine that has ended a lease itself, since nobody renewed it.
const STOPPED: &str = "the worker stopped it, since it was out of touch with the manager";

/// An attempt that its machine has given back, or that was taken from it.
pub(crate) struct Return {
    lease: Lease,
    grant: Grant,
    ended: Box<Ended>,
    fault: WorkerFault,
    by: Witness,
}

/// Who says that an attempt is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// Its machine, which is therefore alive.
    Machine,
    /// The grid, by the machine's silence or by what it lists.
    Grid,
}

/// Why a return is neither the machine's fault nor the task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excuse {
    /// The machine may never have had it.
    NeverHeardOf,
    /// The grid stood still, and a lease could not be renewed; or the machine has not been heard of
    /// since, as when one power cut takes down both.
    Outage,
}

impl Return {
    /// By its machine.
    pub(crate) fn told(lease: Lease, grant: Grant, ended: Box<Ended>, fault: WorkerFault) -> Self {
        Self { lease, grant, ended, fault, by: Witness::Machine }
    }

    /// By the grid.
    pub(crate) fn concluded(
        (attempt, lease): (AttemptId, Lease),
        grant: Grant,
        fault: WorkerFault,
    ) -> Self {
        let ended = Box::new(Ended::empty(attempt, Outcome::Returned(fault.clone())));
        Self { lease, grant, ended, fault, by: Witness::Grid }
    }

    fn excuse(&self) -> Option<Excuse> {
        match (self.by, &self.fault) {
            (Witness::Machine, WorkerFault::LeaseOver) => {
                self.grant.spans_outage.then_some(Excuse::Outage)
            }
            (Witness::Grid, WorkerFault::LeaseOver | WorkerFault::Restarted)
                if !self.grant.heard_of =>
            {
                let outage = self.grant.spans_outage;
                Some(if outage { Excuse::Outage } else { Excuse::NeverHeardOf })
            }
            (Witness::Machine | Witness::Grid, _) => None,
        }
    }

    fn words(&self) -> String {
        match (self.excuse(), self.by, &self.fault) {
            (Some(Excuse::Outage), _, fault) => format!("{OUTAGE}: {fault}"),
            (Some(Excuse::NeverHeardOf), _, WorkerFault::Restarted) => NEVER_ARRIVED.to_owned(),
            (Some(Excuse::NeverHeardOf), _, _) => NEVER_HEARD_OF.to_owned(),
            (None, Witness::Machine, WorkerFault::LeaseOver) => STOPPED.to_owned(),
            (None, Witness::Machine | Witness::Grid, fault) => fault.to_string(),
        }
    }

    /// Whether its machine was lost while it ran. One that tells of a lease that was over is there.
    fn is_loss(&self) -> bool {
        let lost = match self.fault {
            WorkerFault::Restarted => true,
            WorkerFault::LeaseOver => self.by == Witness::Grid,
            WorkerFault::Sandbox { .. }
            | WorkerFault::Environment { .. }
            | WorkerFault::Engine { .. }
            | WorkerFault::Gpu { .. }
            | WorkerFault::Disk { .. }
            | WorkerFault::Inputs { .. }
            | WorkerFault::Leaving => false,
        };
        lost && self.lease.started_at.is_some() && self.excuse().is_none()
    }
}

impl Grid {
    /// The worker's fault: the task waits again at its old place, or ends if its tries are used up or
    /// if it takes its machines down.
    pub(crate) fn take_back(&mut self, back: Return, effects: &mut Effects) {
        let (attempt, lease) = (back.ended.attempt, back.lease);
        self.note_fault(&back, effects);
        self.pay_saved(attempt, &lease, effects);
        let tries = self.policy.tries;
        let job = &self.jobs[&attempt.task.job];
        let (runs, is_overdue) = (job.terms.runs(), job.is_overdue(self.now));
        let task = self.task_mut(attempt.task);
        let failed_runs = runs.saturating_sub(task.runs_left).into();
        let tries_left =
            task.tries_left - u32::from(costs_a_try(&back, task, (tries, failed_runs)));
        let loss = Loss { worker: lease.worker, attempt: attempt.number };
        let losses = if back.is_loss() { task.losses.and(loss) } else { Ok(task.losses) };
        let (has_votes, before) = (!task.votes.is_empty(), (task.tries_left, task.losses));
        let over = match losses {
            _ if lease.cancelling || (is_overdue && !has_votes) => {
                return self.give_up(back, Verdict::Cancelled, effects);
            }
            Ok(_) if is_overdue => Self::overdue().to_string(),
            Ok(_) if tries_left == 0 => back.words(),
            Ok(losses) => return self.wait_again(&back, (tries_left, losses), effects),
            Err(three) => self.poison_words(three),
        };
        if has_votes {
            // Its attempt is over before the results that there are count, or do not.
            self.wait_again(&back, before, effects);
            return self.conclude(attempt.task, &over, effects);
        }
        let reason = format!("given up by the grid and refunded: {over}");
        self.give_up(back, Verdict::Failed { reason }, effects);
    }

    /// The task waits again at its old place.
    fn wait_again(
        &mut self,
        back: &Return,
        (tries_left, losses): (u32, Losses),
        effects: &mut Effects,
    ) {
        let attempt = back.ended.attempt;
        let run_ms = self.run_ms(&back.lease, &back.ended);
        let task = self.task_mut(attempt.task);
        (task.tries_left, task.losses) = (tries_left, losses);
        let Task { paid, paid_ms, .. } = *task;
        self.requeue(attempt.task);
        effects.changes.push(Change::TaskRequeued {
            attempt,
            reason: back.words(),
            tries_left,
            losses,
            paid,
            paid_ms,
            run_ms,
            at: self.now,
        });
        self.on_award_returned(attempt.task.job, effects);
    }

    /// What a return says about the machine.
    fn note_fault(&mut self, back: &Return, effects: &mut Effects) {
        let Return { lease, ended, fault, .. } = back;
        let (worker, attempt) = (lease.worker, ended.attempt);
        let job = &self.jobs[&attempt.task.job];
        let (submitter, shape) = (job.owner, self.shape_of_task(attempt.task));
        if *fault == WorkerFault::Leaving
            && let Some(link) = self.links.get_mut(&worker)
            && lease.leased_at >= link.connected_at
        {
            // Or it would be given the very task that it has just given back, again and again,
            // since that costs no try. What was leased before this connection may have been given
            // back by a worker that has left since, and has returned with that in its spool.
            match link.shares.as_ref().map(|shares| shares.phase) {
                None => link.leaving = true,
                // It is shared, so its owner has stopped just this.
                Some(Phase::Open) => {
                    let until = self.now.plus_ms(STOPPED_PAUSE_MS);
                    self.pauses.renew((worker, shape.clone()), until);
                }
                Some(Phase::Frozen | Phase::Closed) => {}
            }
        }
        let is_at_start = lease.started_at.is_none() && is_at_start(fault);
        if is_at_start || is_of_the_machine(fault) {
            self.pauses.renew((worker, shape), self.now.plus_ms(PAUSE_MS));
        }
        if is_at_start {
            self.suspect(worker, attempt, fault, effects);
        }
        if is_by_owner(fault) {
            self.tally(
                worker,
                submitter,
                |record| record.handed_back = record.handed_back.saturating_add(1),
                effects,
            );
        } else if back.excuse().is_none() {
            self.tally(worker, submitter, |record| record.lost += 1, effects);
        }
    }

    /// Ends a task that its machine has given back; nobody is paid.
    fn give_up(&mut self, back: Return, verdict: Verdict, effects: &mut Effects) {
        let attempt = back.ended.attempt;
        let result = TaskResult { attempt, ended: back.ended };
        let unwanted = verdict == Verdict::Cancelled && !back.lease.cancelling;
        let reason = unwanted.then(Self::overdue);
        self.end_task(attempt.task, End::unpaid(verdict, result).because(reason), effects);
        self.close_if_over(attempt.task.job, effects);
    }

    fn poison_words(&self, losses: [Loss; 3]) -> String {
        let [one, two, three] = losses.map(|Loss { worker, attempt }| {
            let name = self.workers.get(&worker).map_or("a removed one", |worker| &worker.name);
            format!("worker {worker} ({name}) in attempt {attempt}")
        });
        format!("three different workers were lost while they ran it: {one}, {two} and {three}")
    }

    /// The shape that a task which has started waits under, if it does.
    pub(crate) fn shape_of_task(&self, id: TaskId) -> Shape {
        let job = &self.jobs[&id.job];
        Shape { but: job.but(id.index), ..self.shape_of(job) }
    }

    pub(crate) fn task_mut(&mut self, id: TaskId) -> &mut Task {
        let job = self.jobs.get_mut(&id.job).expect("the caller has looked the job up");
        job.tasks.get_mut(&id.index).expect("the caller has looked the task up")
    }
}

/// Whether a return counts as one of the `tries` that a run of a task is given, of which so many have
/// failed by the task's own doing.
fn costs_a_try(back: &Return, task: &Task, (tries, failed_runs): (u32, u32)) -> bool {
    let costly = tries.saturating_sub(task.tries_left);
    let free = (task.attempts - 1).saturating_sub(costly + failed_runs);
    if back.excuse().is_some() {
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
        | WorkerFault::Inputs { .. }
        | WorkerFault::Disk { .. } => true,
        WorkerFault::Sandbox { .. }
        | WorkerFault::LeaseOver
        | WorkerFault::Restarted
        | WorkerFault::Leaving => false,
    }
}

/// Whether it is the machine's owner who wants what the task had.
fn is_by_owner(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Leaving | WorkerFault::Gpu { .. } => true,
        WorkerFault::Engine { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Inputs { .. }
        | WorkerFault::Disk { .. }
        | WorkerFault::Sandbox { .. }
        | WorkerFault::LeaseOver
        | WorkerFault::Restarted => false,
    }
}

/// Whether a machine that gives tasks back so before they begin may do so with all of them.
fn is_at_start(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Sandbox { .. }
        | WorkerFault::Engine { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Inputs { .. }
        | WorkerFault::Disk { .. } => true,
        WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving => false,
    }
}
