//! The end of attempts and tasks, and the money that moves with it (DESIGN §4).

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Ended, Failure, Outcome, WorkerFault};

use crate::chain::News;
use crate::effect::{Change, Effects, NoticeKind, TaskEnd, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::{Lease, Task};
use crate::ledger::{Payment, Purse, Refund, TransferKey};
use crate::money::Micros;
use crate::notices::notice;
use crate::pausing::FailedRun;
use crate::pay::{Deed, Payee};
use crate::returns::Return;
use crate::worker::Grant;

/// How a task ends.
pub(crate) struct End {
    pub(crate) verdict: Verdict,
    /// Why it is cancelled, if not because its submitter asked.
    pub(crate) reason: Option<Arc<str>>,
    /// What its last attempt reported.
    pub(crate) result: Option<TaskResult>,
    /// The number of the earlier attempt whose result counts instead.
    pub(crate) kept: Option<u32>,
    /// Who is paid for that, beside those who gave earlier results.
    pub(crate) payee: Option<Payee>,
    /// The number of the attempt that gave a wrong result, for which nobody is paid.
    pub(crate) wrong: Option<u32>,
    /// Two results agree.
    pub(crate) is_confirmed: bool,
}

impl End {
    pub(crate) fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            result: None,
            kept: None,
            payee: None,
            wrong: None,
            is_confirmed: false,
        }
    }

    pub(crate) fn cancelled(reason: Option<Arc<str>>) -> Self {
        Self { reason, ..Self::of(Verdict::Cancelled) }
    }

    pub(crate) fn unpaid(verdict: Verdict, result: TaskResult) -> Self {
        Self { result: Some(result), ..Self::of(verdict) }
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
        let charge = if unused { Micros::ZERO } else { self.charge_run(&lease, &ended) };
        if let (Outcome::Failed(failure), Verdict::Failed { reason }) = (&ended.outcome, &verdict)
            && let Some(until) = self.next_run_at(&lease, attempt, failure)
        {
            let run = FailedRun { lease, reason: reason.clone(), charge, ended };
            return self.pause_task(run, until, effects);
        }
        let mut payee = self.payee(&lease, &ended, charge);
        if unused {
            payee.deed = Deed::Part;
        }
        if self.is_checked(&lease, &ended, effects) {
            return self.check_result(payee, verdict, ended, effects);
        }
        // It is to be cancelled, and nobody will confirm what it came to.
        let is_unconfirmed = self.jobs[&attempt.task.job].terms.verify;
        let verdict = if is_unconfirmed { Verdict::Cancelled } else { verdict };
        let result = Some(TaskResult { attempt, ended });
        let end = End { result, payee: Some(payee), ..End::of(verdict) };
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

    /// Ends a task: counts it, pays for it, closes its hold. Whoever has said what came of it is paid
    /// even if that was never decided on.
    pub(crate) fn end_task(&mut self, task: TaskId, end: End, effects: &mut Effects) {
        self.unqueue(task);
        let job = self.jobs.get_mut(&task.job).expect("a task that ends belongs to an open job");
        let removed = job.tasks.remove(&task.index).expect("a task ends once");
        self.task_pauses.close(&task);
        self.checks.close(&task);
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
        let given = removed.votes.iter().filter(|vote| Some(vote.attempt) != end.wrong);
        let mut payees: Vec<Payee> =
            given.map(|vote| Payee::of(task, vote)).chain(end.payee).collect();
        if removed.audit > Micros::ZERO && !end.is_confirmed {
            // As without the check.
            payees.truncate(1);
        }
        let wrong = removed.votes.iter().find(|vote| Some(vote.attempt) == end.wrong);
        let wrong = wrong.map(|vote| Payee::of(task, vote));
        let charged = self.close_hold((task, &removed), &payees, wrong, effects);
        effects.changes.push(Change::TaskEnded(Box::new(TaskEnd {
            task,
            attempt: end.result,
            kept: end.kept,
            verdict: end.verdict,
            reason: end.reason,
            charged,
            at: self.now,
        })));
    }

    /// Pays for a task that ends and gives back what is left; yields what its submitter is charged now:
    /// for the first of these, and for all of them unless fees are held for it. Then for whoever was
    /// wrong too, though that goes to the fees: or a job that says something else each time would have
    /// machines run it for nothing.
    fn close_hold(
        &mut self,
        (id, task): (TaskId, &Task),
        payees: &[Payee],
        wrong: Option<Payee>,
        effects: &mut Effects,
    ) -> Micros {
        let job = &self.jobs[&id.job];
        let submitter = job.owner;
        let held = job.quote.checked_times(task.runs_left.into()).expect("the whole hold fitted");
        let (mut held, mut audit) = (held - task.paid, task.audit);
        let mut charged = Micros::ZERO;
        for (place, payee) in payees.iter().enumerate() {
            let (purse, left) = if place > 0 && task.audit > Micros::ZERO {
                (Purse::Fees, &mut audit)
            } else {
                (Purse::Submitter(submitter), &mut held)
            };
            let payee = Payee { charge: payee.charge.min(*left), ..*payee };
            let paid = self.pay_owner(payee, (submitter, purse), effects);
            *left -= paid;
            charged += if purse == Purse::Fees { Micros::ZERO } else { paid };
        }
        if let Some(wrong) = wrong.filter(|_| task.audit == Micros::ZERO) {
            let Payee { attempt, worker, owner, run_ms, .. } = wrong;
            let (fee, purse) = (wrong.charge.min(held), Purse::Submitter(submitter));
            let payment = Payment { attempt, purse, owner, pay: Micros::ZERO, fee };
            self.ledger.pay(payment, self.now, &mut effects.changes);
            let (earned, at) = (Micros::ZERO, self.now);
            effects.changes.push(Change::AttemptPaid {
                attempt,
                worker,
                charged: fee,
                earned,
                run_ms,
                at,
            });
            held -= fee;
            charged += fee;
        }
        let refund = Refund { key: TransferKey::Refund(id), user: submitter, amount: held };
        self.ledger.refund(refund, self.now, &mut effects.changes);
        self.ledger.refund_fees(id, audit, self.now, &mut effects.changes);
        self.note_fees(submitter, audit);
        charged
    }

    /// Forgets a job whose tasks have all ended; looks at what may start of any other.
    pub(crate) fn close_if_over(&mut self, id: JobId, effects: &mut Effects) {
        if self.jobs.get(&id).is_none_or(|job| job.open_tasks() > 0) {
            return self.line_up(id);
        }
        self.end_market(id, effects);
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
    pub(crate) fn release(&mut self, worker: WorkerId, attempt: AttemptId) -> Grant {
        self.leases.close(&attempt);
        let mut released = None;
        self.update_room(worker, |occupancy| released = occupancy.remove(&attempt));
        self.freed.insert(worker);
        let lineup = self.lineups.get_mut(&attempt.task.job).expect("every open job has one");
        lineup.running -= 1;
        released.expect("whatever is leased to a machine occupies it")
    }
}
