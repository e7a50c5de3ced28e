//! Tasks that have failed by their own doing and are to be run again, after a pause.

use campusgrid_protocol::id::{AttemptId, TaskId};
use campusgrid_protocol::task::{Ended, Failure};
use campusgrid_protocol::terms::BACKOFF_MAX_S;

use crate::effect::{Change, Effects, TaskPause};
use crate::grid::Grid;
use crate::job::{Lease, TaskState};
use crate::ledger::{Purse, Refund, TransferKey};
use crate::money::Micros;
use crate::time::Timestamp;

/// A run that has failed.
pub(crate) struct FailedRun {
    pub(crate) lease: Lease,
    pub(crate) ended: Box<Ended>,
    /// In words.
    pub(crate) reason: String,
    pub(crate) charge: Micros,
}

impl Grid {
    /// When a task that has just failed so is to run again, if it is: it has a run left, its submitter
    /// still wants it, and its deadline will not be over by then.
    pub(crate) fn next_run_at(
        &self,
        lease: &Lease,
        attempt: AttemptId,
        failure: &Failure,
    ) -> Option<Timestamp> {
        let job = &self.jobs[&attempt.task.job];
        let task = &job.tasks[&attempt.task.index];
        let is_checked = job.terms.verify || !task.votes.is_empty();
        if task.runs_left <= 1 || is_checked || lease.cancelling || !may_pass(failure) {
            return None;
        }
        let failed = u32::from(job.terms.runs().saturating_sub(task.runs_left));
        let pause_s = u64::from(job.terms.backoff_s).saturating_mul(1 << failed.min(32));
        let until = self.now.plus_ms(pause_s.min(BACKOFF_MAX_S.into()) * 1000);
        (!job.is_overdue(until)).then_some(until)
    }

    /// Pays for a failed run, and lets its task pause before the next, which begins anew. The machine has
    /// been released.
    pub(crate) fn pause_task(&mut self, run: FailedRun, until: Timestamp, effects: &mut Effects) {
        let FailedRun { lease, ended, reason, charge } = run;
        let attempt = ended.attempt;
        let id = attempt.task.job;
        let (submitter, quote) = (self.jobs[&id].owner, self.jobs[&id].quote);
        let payee = self.payee(&lease, &ended, charge);
        let charged = self.pay_owner(payee, (submitter, Purse::Submitter(submitter)), effects);
        let paid = self.jobs[&id].tasks[&attempt.task.index].paid;
        let key = TransferKey::RefundRun(attempt);
        let refund = Refund { key, user: submitter, amount: quote - paid - charged };
        self.ledger.refund(refund, self.now, &mut effects.changes);
        self.drop_checkpoint(attempt.task, effects);
        let tries_left = self.policy.tries;
        let job = self.jobs.get_mut(&id).expect("the task has just been there");
        let task = job.tasks.get_mut(&attempt.task.index).expect("it has just run");
        (task.paid, task.paid_ms) = (Micros::ZERO, 0);
        task.runs_left -= 1;
        task.tries_left = tries_left;
        task.state = TaskState::Pausing { until };
        let (runs_left, at) = (task.runs_left, self.now);
        self.task_pauses.renew(attempt.task, until);
        effects.changes.push(Change::TaskPausing(Box::new(TaskPause {
            attempt,
            ended,
            reason,
            charged,
            tries_left,
            runs_left,
            until,
            at,
        })));
        self.line_up(id);
    }

    /// The pause is over: the task waits again.
    pub(crate) fn rouse(&mut self, id: TaskId, effects: &mut Effects) {
        effects.changes.push(Change::TaskRoused { task: id });
        self.requeue(id);
    }
}

/// Whether a task that failed so may do better another time.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::ExitCode(_)
        | Failure::Signal(_)
        | Failure::OutOfMemory { .. }
        | Failure::TimeLimit { .. }
        | Failure::ScratchFull { .. }
        | Failure::TooManyFiles { .. }
        | Failure::FileTooLarge { .. }
        | Failure::Processes { .. }
        | Failure::OutputFlood { .. } => true,
        Failure::CompileError { .. }
        | Failure::Requirements { .. }
        | Failure::Image { .. }
        | Failure::Inputs { .. } => false,
    }
}
