//! The end of attempts and tasks, and the money that moves with it (DESIGN §4).

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Ended, Failure, Outcome, WorkerFault};

use crate::chain::News;
use crate::effect::{Change, Effects, NoticeKind, TaskEnd, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::Lease;
use crate::ledger::{Payment, Refund, TransferKey};
use crate::money::Micros;
use crate::notices::notice;
use crate::pausing::FailedRun;
use crate::policy::Billing;
use crate::pricing::price;
use crate::returns::Return;
use crate::worker::Grant;

/// How a task ends.
pub(crate) struct End {
    verdict: Verdict,
    /// Why it is cancelled, if not because its submitter asked.
    reason: Option<Arc<str>>,
    /// What its last attempt reported, and who is paid for it.
    result: Option<TaskResult>,
    payee: Option<(WorkerId, Micros)>,
}

impl End {
    pub(crate) fn cancelled(reason: Option<Arc<str>>) -> Self {
        Self { verdict: Verdict::Cancelled, reason, result: None, payee: None }
    }

    pub(crate) fn unpaid(verdict: Verdict, result: TaskResult) -> Self {
        Self { verdict, reason: None, result: Some(result), payee: None }
    }

    pub(crate) fn because(self, reason: Option<Arc<str>>) -> Self {
        Self { reason, ..self }
    }
}

impl Grid {
    /// Ends the current attempt of a task as its worker reports it. The caller has checked that it
    /// is current.
    pub(crate) fn settle(&mut self, lease: Lease, ended: Box<Ended>, effects: &mut Effects) {
        let attempt = ended.attempt;
        let grant = self.release(lease.worker, attempt);
        let verdict = match &ended.outcome {
            Outcome::Succeeded => Verdict::Succeeded,
            Outcome::Failed(failure) => Verdict::Failed { reason: failure.to_string() },
            Outcome::Cancelled if lease.cancelling => Verdict::Cancelled,
            Outcome::Cancelled => {
                // Nobody asked, so nobody pays.
                let message = "it stopped the task though nobody had asked".to_owned();
                let fault = WorkerFault::Sandbox { message };
                return self.take_back(Return::told(lease, grant, ended, fault), effects);
            }
            Outcome::Returned(fault) => {
                let fault = fault.clone();
                return self.take_back(Return::told(lease, grant, ended, fault), effects);
            }
        };
        // Before its clock began nothing was used: a task cancelled then, or one whose packages or
        // image do not exist, costs nothing.
        let unused = match &ended.outcome {
            Outcome::Cancelled => lease.started_at.is_none(),
            Outcome::Failed(
                Failure::Requirements { .. } | Failure::Image { .. } | Failure::Inputs { .. },
            ) => true,
            Outcome::Succeeded | Outcome::Failed(_) | Outcome::Returned(_) => false,
        };
        let charge = if unused { Micros::ZERO } else { self.charge(&lease, &ended) };
        if let (Outcome::Failed(failure), Verdict::Failed { reason }) = (&ended.outcome, &verdict)
            && let Some(until) = self.next_run_at(&lease, attempt, failure)
        {
            let run = FailedRun { lease, reason: reason.clone(), charge, ended };
            return self.pause_task(run, until, effects);
        }
        let end = End {
            verdict,
            reason: None,
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

    /// Takes a task back from a worker that cannot report on it any more; later, by the end of its
    /// lease, if nothing is settled now.
    pub(crate) fn lose(&mut self, attempt: AttemptId, fault: WorkerFault, effects: &mut Effects) {
        let job = self.jobs.get(&attempt.task.job);
        let Some(&lease) = job.and_then(|job| job.lease(attempt)) else { return };
        if self.is_shut() {
            return;
        }
        let grant = self.release(lease.worker, attempt);
        self.take_back(Return::concluded((attempt, lease), grant, fault), effects);
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
        let submitter = job.owner;
        let runs_left = job.tasks.remove(&task.index).expect("a task ends once").runs_left;
        let held = job.quote.checked_times(runs_left.into()).expect("the whole hold fitted");
        job.requeued.remove(&task.index);
        self.task_pauses.close(&task);
        let ended = match end.verdict {
            Verdict::Succeeded => &mut job.ended.succeeded,
            Verdict::Failed { .. } => {
                if job.ended.failed.is_empty() {
                    notice(job, NoticeKind::Failed, self.now, effects);
                }
                &mut job.ended.failed
            }
            Verdict::Cancelled => &mut job.ended.cancelled,
        };
        ended.insert(task.index);
        let (tasks, ok) = (Ranges::one(task.index), end.verdict == Verdict::Succeeded);
        self.chains.tell(News::Ended { job: task.job, tasks, ok });
        let attempt = end.result.as_ref().map(|result| result.attempt);
        let charged = match attempt.zip(end.payee) {
            Some((attempt, (worker, charge))) => {
                self.pay_owner((submitter, attempt), worker, charge, effects)
            }
            None => Micros::ZERO,
        };
        let rest = held - charged;
        let refund = Refund { key: TransferKey::Refund(task), user: submitter, amount: rest };
        self.ledger.refund(refund, self.now, &mut effects.changes);
        effects.changes.push(Change::TaskEnded(Box::new(TaskEnd {
            task,
            attempt: end.result,
            verdict: end.verdict,
            reason: end.reason,
            charged,
            at: self.now,
        })));
    }

    /// Pays the machine's owner and yields what the submitter is charged: nothing between the two
    /// hands of one person.
    pub(crate) fn pay_owner(
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

    /// Forgets a job whose tasks have all ended; looks at what may start of any other.
    pub(crate) fn close_if_over(&mut self, id: JobId, effects: &mut Effects) {
        if self.jobs.get(&id).is_none_or(|job| job.open_tasks() > 0) {
            return self.line_up(id);
        }
        let job = self.jobs.remove(&id).expect("it has just been there");
        self.end_lineup(id);
        self.chains.end(&job);
        self.job_deadlines.close(&id);
        self.suspicions.over(id);
        let jobs = self.jobs_of.get_mut(&job.owner).expect("an open job is one of its owner's");
        jobs.remove(&id);
        if jobs.is_empty() {
            self.jobs_of.remove(&job.owner);
        }
        effects.changes.push(Change::JobEnded { job: id, at: self.now });
        notice(&job, NoticeKind::Ended, self.now, effects);
        self.chains.tell(News::Over { job: id, ok: job.ended.is_ok() });
    }

    /// The machine no longer runs the attempt, and may take something else.
    fn release(&mut self, worker: WorkerId, attempt: AttemptId) -> Grant {
        self.leases.close(&attempt);
        let mut released = None;
        self.update_room(worker, |occupancy| released = occupancy.remove(&attempt));
        self.freed.insert(worker);
        let lineup = self.lineups.get_mut(&attempt.task.job).expect("every open job has one");
        lineup.running -= 1;
        released.expect("whatever is leased to a machine occupies it")
    }
}
