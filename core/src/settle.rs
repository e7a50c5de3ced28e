//! The end of attempts and tasks, and the money that moves with it (DESIGN §4).

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::task::{Ended, Failure, Outcome, WorkerFault};

use crate::effect::{Change, Effects, TaskEnd, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::{Lease, Task, TaskState};
use crate::ledger::{Payment, Refund, TransferKey};
use crate::money::Micros;
use crate::policy::Billing;
use crate::pricing::price;
use crate::snapshot::Shape;

/// How often a task may come back for nothing before a broken engine or a GPU in use counts as one of
/// its tries. With [`PAUSE_MS`] between two of them, this is ten minutes of one machine that takes
/// tasks which it cannot run.
const FREE_RETURNS_MAX: u32 = 20;

/// How long a machine gets nothing of the kind that it has given back because of what it lacks:
/// meanwhile another can have the task, or what is out of reach may come back.
const PAUSE_MS: u64 = 30_000;

/// How a task ends.
pub(crate) struct End {
    verdict: Verdict,
    /// What its last attempt reported, and who is paid for it.
    result: Option<TaskResult>,
    payee: Option<(WorkerId, Micros)>,
}

impl End {
    pub(crate) fn cancelled() -> Self {
        Self { verdict: Verdict::Cancelled, result: None, payee: None }
    }
}

impl Grid {
    /// Ends the current attempt of a task as its worker reports it. The caller has checked that it
    /// is current.
    pub(crate) fn settle(&mut self, lease: Lease, ended: Box<Ended>, effects: &mut Effects) {
        let attempt = ended.attempt;
        self.release(lease.worker, attempt);
        let verdict = match &ended.outcome {
            Outcome::Succeeded => Verdict::Succeeded,
            Outcome::Failed(failure) => Verdict::Failed { reason: failure.to_string() },
            Outcome::Cancelled if lease.cancelling => Verdict::Cancelled,
            Outcome::Cancelled => {
                // Nobody asked, so nobody pays.
                let message = "it stopped the task though nobody had asked".to_owned();
                return self.take_back(lease, ended, &WorkerFault::Sandbox { message }, effects);
            }
            Outcome::Returned(fault) => {
                let fault = fault.clone();
                return self.take_back(lease, ended, &fault, effects);
            }
        };
        // Before its clock began nothing was used: a task cancelled then, or one whose packages or
        // image do not exist, costs nothing.
        let unused = match &ended.outcome {
            Outcome::Cancelled => lease.started_at.is_none(),
            Outcome::Failed(Failure::Requirements { .. } | Failure::Image { .. }) => true,
            Outcome::Succeeded | Outcome::Failed(_) | Outcome::Returned(_) => false,
        };
        let charge = if unused { Micros::ZERO } else { self.charge(&lease, &ended) };
        let end = End {
            verdict,
            payee: Some((lease.worker, charge)),
            result: Some(TaskResult { attempt, ended }),
        };
        self.end_task(attempt.task, end, effects);
        self.close_if_over(attempt.task.job, effects);
    }

    /// A lease that nobody renewed: the worker is lost, or suspended for too long.
    pub(crate) fn on_lease_over(&mut self, attempt: AttemptId, effects: &mut Effects) {
        self.lose(attempt, WorkerFault::LeaseOver, effects);
    }

    /// Takes a task back from a worker that cannot report on it any more.
    pub(crate) fn lose(&mut self, attempt: AttemptId, fault: WorkerFault, effects: &mut Effects) {
        let job = self.jobs.get(&attempt.task.job);
        let Some(&lease) = job.and_then(|job| job.lease(attempt)) else { return };
        let ended = Box::new(Ended::empty(attempt, Outcome::Returned(fault)));
        self.settle(lease, ended, effects);
    }

    /// The worker's fault: the task waits again at its old place, or ends if its tries are used up.
    fn take_back(
        &mut self,
        lease: Lease,
        ended: Box<Ended>,
        fault: &WorkerFault,
        effects: &mut Effects,
    ) {
        let attempt = ended.attempt;
        if *fault == WorkerFault::Leaving
            && let Some(link) = self.links.get_mut(&lease.worker)
            && lease.leased_at >= link.connected_at
        {
            // Or it would be given the very task that it has just given back, again and again,
            // since that costs no try. What was leased before this connection may have been given
            // back by a worker that has left since, and has returned with that in its spool.
            link.leaving = true;
        }
        if is_of_the_machine(fault) {
            let job = &self.jobs[&attempt.task.job];
            let pause = (lease.worker, Shape::of(job.owner, &job.spec));
            self.pauses.renew(pause, self.now.plus_ms(PAUSE_MS));
        }
        let tries = self.policy.tries;
        let task = self.task_mut(attempt.task);
        let tries_left = task.tries_left - u32::from(costs_a_try(fault, task, tries));
        if lease.cancelling || tries_left == 0 {
            let reason = format!("given up by the grid and refunded: {fault}");
            let verdict =
                if lease.cancelling { Verdict::Cancelled } else { Verdict::Failed { reason } };
            let end = End { verdict, payee: None, result: Some(TaskResult { attempt, ended }) };
            self.end_task(attempt.task, end, effects);
            self.close_if_over(attempt.task.job, effects);
            return;
        }
        task.tries_left = tries_left;
        task.state = TaskState::Queued;
        let job = self.jobs.get_mut(&attempt.task.job).expect("the task has just been there");
        job.requeued.insert(attempt.task.index);
        self.queue.add(&Shape::of(job.owner, &job.spec), job.id);
        let reason = fault.to_string();
        effects.changes.push(Change::TaskRequeued { attempt, reason, tries_left, at: self.now });
    }

    /// What an attempt costs. The worker's clock is believed only as far as the manager's own and
    /// the time limit allow.
    fn charge(&self, lease: &Lease, ended: &Ended) -> Micros {
        let job = &self.jobs[&ended.attempt.task.job];
        let limit_ms = u64::from(job.spec.time_limit_s) * 1000;
        let run_ms = match self.policy.billing {
            Billing::Quoted => limit_ms,
            Billing::Actual => {
                ended.usage.run_ms.min(self.now.since_ms(lease.leased_at)).min(limit_ms)
            }
        };
        price(&self.policy.prices, &job.spec.needs, run_ms).min(job.quote)
    }

    /// Ends a task: counts it, closes its hold.
    pub(crate) fn end_task(&mut self, task: TaskId, end: End, effects: &mut Effects) {
        let job = self.jobs.get_mut(&task.job).expect("a task that ends belongs to an open job");
        let (submitter, quote) = (job.owner, job.quote);
        job.tasks.remove(&task.index).expect("a task ends once");
        job.requeued.remove(&task.index);
        match end.verdict {
            Verdict::Succeeded => job.ended.succeeded += 1,
            Verdict::Failed { .. } => job.ended.failed += 1,
            Verdict::Cancelled => job.ended.cancelled += 1,
        }
        let attempt = end.result.as_ref().map(|result| result.attempt);
        let charged = match attempt.zip(end.payee) {
            Some((attempt, (worker, charge))) => {
                self.pay_owner((submitter, attempt), worker, charge, effects)
            }
            None => Micros::ZERO,
        };
        let rest = quote - charged;
        let refund = Refund { key: TransferKey::Refund(task), user: submitter, amount: rest };
        self.ledger.refund(refund, self.now, &mut effects.changes);
        effects.changes.push(Change::TaskEnded(Box::new(TaskEnd {
            task,
            attempt: end.result,
            verdict: end.verdict,
            charged,
            at: self.now,
        })));
    }

    /// Pays the machine's owner and yields what the submitter is charged: nothing between the two
    /// hands of one person.
    fn pay_owner(
        &mut self,
        (submitter, attempt): (UserId, AttemptId),
        worker: WorkerId,
        charge: Micros,
        effects: &mut Effects,
    ) -> Micros {
        let owner = self.workers[&worker].owner;
        if owner == submitter {
            return Micros::ZERO;
        }
        let fee = Micros(
            i64::try_from(i128::from(charge.0) * i128::from(self.policy.fee_permille) / 1000)
                .expect("a share of an i64 is one"),
        );
        let payment = Payment { attempt, submitter, owner, pay: charge - fee, fee };
        self.ledger.pay(payment, self.now, &mut effects.changes);
        charge
    }

    /// Forgets a job whose tasks have all ended.
    pub(crate) fn close_if_over(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.waiting() == 0 {
            self.queue.remove(&Shape::of(job.owner, &job.spec), id);
        }
        if job.open_tasks() > 0 {
            return;
        }
        let (owner, ended) = (job.owner, job.ended);
        self.jobs.remove(&id);
        let jobs = self.jobs_of.get_mut(&owner).expect("an open job is counted for its owner");
        *jobs -= 1;
        if *jobs == 0 {
            self.jobs_of.remove(&owner);
        }
        effects.changes.push(Change::JobEnded { job: id, ended, at: self.now });
    }

    /// The machine no longer runs the attempt, and may take something else.
    fn release(&mut self, worker: WorkerId, attempt: AttemptId) {
        self.leases.close(&attempt);
        self.update_room(worker, |occupancy| {
            occupancy.remove(&attempt);
        });
        self.freed.insert(worker);
    }

    fn task_mut(&mut self, id: TaskId) -> &mut Task {
        let job = self.jobs.get_mut(&id.job).expect("the caller has looked the job up");
        job.tasks.get_mut(&id.index).expect("the caller has looked the task up")
    }
}

/// Whether a return counts as one of the `tries` that a task is given.
fn costs_a_try(fault: &WorkerFault, task: &Task, tries: u32) -> bool {
    let costly = tries.saturating_sub(task.tries_left);
    let free = (task.attempts - 1).saturating_sub(costly);
    // What came back because owners left counts here and costs nothing, as ever.
    fault.costs_a_try() || (is_of_the_machine(fault) && free >= FREE_RETURNS_MAX)
}

/// Whether the machine lacks something that the next task of this shape would miss as well.
fn is_of_the_machine(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Engine { .. } | WorkerFault::Environment { .. } | WorkerFault::Gpu { .. } => {
            true
        }
        WorkerFault::Sandbox { .. }
        | WorkerFault::LeaseOver
        | WorkerFault::Restarted
        | WorkerFault::Leaving => false,
    }
}
