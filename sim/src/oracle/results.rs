//! Judges attempts on the manager's disk: when they begin, and whether they end as their machines said.

use campusgrid_core::effect::{TaskEnd, Verdict};
use campusgrid_protocol::id::{AttemptId, TaskId, WorkerId};
use campusgrid_protocol::task::{Outcome, WorkerFault};

use super::{Oracle, Oracles};
use crate::recorded::RecordedAttempt;

impl Oracles {
    pub(super) fn leased(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.count("attempt leased");
        self.may_have_tasks(attempt, worker);
        let last = attempt.number.saturating_sub(1);
        let before = AttemptId { number: last, ..attempt };
        if last > 0 && !self.record.attempt(before).is_some_and(RecordedAttempt::is_followed) {
            self.find(Oracle::AttemptsEnd, format!("{attempt} begins while {before} goes on"));
        }
        if self.cancelled.contains(&attempt.task.job) {
            self.find(Oracle::CancelledStays, format!("{attempt} starts after its job's cancel"));
        }
    }

    /// Whether there were earlier results of a task.
    fn is_checked(&self, task: TaskId) -> bool {
        let attempts = self.record.task(task).map_or(&[][..], |task| &task.attempts);
        attempts.iter().any(|attempt| attempt.checked.is_some())
    }

    pub(super) fn result_is_true(&mut self, end: &TaskEnd) {
        self.count(match end.verdict {
            Verdict::Succeeded => "task succeeded",
            Verdict::Failed { .. } => "task failed",
            Verdict::Cancelled => "task cancelled",
        });
        let Some(result) = &end.attempt else { return };
        let newest = self.record.task(end.task).map_or(0, |task| task.attempts.len());
        if result.attempt.number as usize != newest || result.attempt != result.ended.attempt {
            let words = format!("{} ends its task, which is at {newest}", result.attempt);
            return self.find(Oracle::ResultIsTrue, words);
        }
        let told = self.truths.get(&result.attempt);
        let is_told = told.is_some_and(|told| told.contains(&result.ended));
        let attempt = self.record.attempt(result.attempt);
        let is_unwanted = attempt.is_some_and(|attempt| attempt.cancelling);
        let job = self.record.jobs.get(&end.task.job);
        // Nobody will confirm it any more.
        let is_unconfirmed = is_unwanted && job.is_some_and(|job| job.wanted.terms.verify);
        let fits = match (&result.ended.outcome, &end.verdict) {
            (Outcome::Succeeded | Outcome::Failed(_), verdict) if is_unconfirmed => {
                is_told && *verdict == Verdict::Cancelled
            }
            (Outcome::Succeeded, Verdict::Succeeded)
            | (Outcome::Failed(_), Verdict::Failed { .. })
            | (Outcome::Cancelled, Verdict::Cancelled) => is_told,
            (Outcome::Returned(fault), Verdict::Failed { .. } | Verdict::Cancelled) => {
                is_told || is_the_managers(fault)
            }
            (Outcome::Succeeded | Outcome::Failed(_) | Outcome::Cancelled, _)
            | (Outcome::Returned(_), Verdict::Succeeded) => {
                // Three machines, three results.
                is_told && self.is_checked(end.task)
            }
        };
        if !fits {
            let words = format!("{end:?} is not what its machine reported: {told:?}");
            self.find(Oracle::ResultIsTrue, words);
        }
    }
}

/// Faults that the manager concludes itself.
fn is_the_managers(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving => true,
        WorkerFault::Sandbox { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Engine { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Inputs { .. }
        | WorkerFault::Disk { .. } => false,
    }
}
