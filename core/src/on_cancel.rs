//! Cancelling jobs, some of their tasks, or everything of a user.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::ranges::Ranges;

use crate::chain::News;
use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::job::{Job, TaskState};
use crate::ledger::{Refund, TransferKey};
use crate::settle::End;

impl Grid {
    pub(crate) fn on_cancel(
        &mut self,
        user: UserId,
        id: JobId,
        tasks: Option<Ranges>,
        effects: &mut Effects,
    ) -> Reply {
        if let Err(refusal) = self.open_job(user, id) {
            return Reply::Refused(refusal);
        }
        match (tasks, self.shut()) {
            (None, _) => {
                self.cancel_job(id, effects);
            }
            // Only that all of a job is to be cancelled can be noted for later.
            (Some(_), Some(refusal)) => return Reply::Refused(refusal),
            (Some(tasks), None) => {
                self.stop_running(id, &tasks, effects);
                self.cancel_waiting(id, &tasks, None, effects);
                self.close_if_over(id, effects);
            }
        }
        Reply::Done
    }

    pub(crate) fn on_cancel_all(&mut self, user: UserId, effects: &mut Effects) -> Reply {
        let jobs: Vec<JobId> = self.jobs_of.get(&user).into_iter().flatten().copied().collect();
        let mut cancelled = 0;
        for id in jobs {
            cancelled += u32::from(self.cancel_job(id, effects));
        }
        Reply::Cancelled { jobs: cancelled }
    }

    /// A job that has not ended, if this user may decide about it.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotLaunched`, `HasEnded`.
    pub(crate) fn open_job(&mut self, user: UserId, id: JobId) -> Result<&mut Job, Refusal> {
        if let Some(draft) = self.drafts.get(&id) {
            let is_theirs = self.may_act_for(user, draft.owner);
            return Err(if is_theirs { Refusal::NotLaunched } else { Refusal::NotFound });
        }
        if self.was_job(id) {
            return Err(Refusal::HasEnded);
        }
        let owner = self.jobs.get(&id).map(|job| job.owner);
        if owner.is_none_or(|owner| !self.may_act_for(user, owner)) {
            return Err(Refusal::NotFound);
        }
        self.jobs.get_mut(&id).ok_or(Refusal::NotFound)
    }

    /// Cancels all of a job that is open, what waits of it later if nothing is settled now; yields
    /// whether there was anything.
    fn cancel_job(&mut self, id: JobId, effects: &mut Effects) -> bool {
        let before = effects.changes.len();
        let all = Ranges::below(self.jobs[&id].spec.tasks);
        self.stop_running(id, &all, effects);
        if self.is_shut() {
            self.cancel_later(id, effects);
        } else {
            self.cancel_waiting(id, &all, None, effects);
            self.close_if_over(id, effects);
        }
        effects.changes.len() > before
    }

    /// Asks the machines that run these tasks of a job to stop them.
    fn stop_running(&mut self, id: JobId, tasks: &Ranges, effects: &mut Effects) {
        let job = self.jobs.get_mut(&id).expect("the caller has looked it up");
        let mut stops = Vec::new();
        for (first, last) in tasks.ranges() {
            for (&index, task) in job.tasks.range_mut(first..=last) {
                let attempt = AttemptId { task: TaskId { job: id, index }, number: task.attempts };
                match &mut task.state {
                    TaskState::Leased(lease) if !lease.cancelling => {
                        lease.cancelling = true;
                        stops.push((attempt, lease.worker));
                    }
                    TaskState::Leased(_) | TaskState::Queued | TaskState::Pausing { .. } => {}
                }
            }
        }
        for (attempt, worker) in stops {
            effects.changes.push(Change::TaskCancelling { attempt });
            self.send(worker, ToWorker::Cancel { attempt }, effects);
        }
    }

    /// Cancels those of these tasks of a job that wait or pause, and says why if not because its
    /// submitter asked. The caller closes the job if it is over.
    pub(crate) fn cancel_waiting(
        &mut self,
        id: JobId,
        tasks: &Ranges,
        reason: Option<Arc<str>>,
        effects: &mut Effects,
    ) {
        self.cancel_untouched(id, tasks, reason.clone(), effects);
        let Some(job) = self.jobs.get(&id) else { return };
        let mut waiting = Vec::new();
        for (first, last) in tasks.ranges() {
            for (&index, task) in job.tasks.range(first..=last) {
                match task.state {
                    TaskState::Queued | TaskState::Pausing { .. } => {
                        waiting.push(TaskId { job: id, index });
                    }
                    TaskState::Leased(_) => {}
                }
            }
        }
        for task in waiting {
            if !self.conclude_waiting(task, reason.as_ref(), effects) {
                self.end_task(task, End::cancelled(reason.clone()), effects);
            }
        }
    }

    /// Cancels those of these tasks of a job that never started. The caller closes the job if it is
    /// over.
    pub(crate) fn cancel_untouched(
        &mut self,
        id: JobId,
        tasks: &Ranges,
        reason: Option<Arc<str>>,
        effects: &mut Effects,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let tasks = job.untouched.common(tasks);
        let (Some(first), Some(last)) = (tasks.first(), tasks.last()) else { return };
        let (user, amount) = (job.owner, job.held_for_untouched(tasks.len()));
        job.untouched.remove_all(&tasks);
        job.ended.cancelled.insert_all(&tasks);
        let lineup = self.lineups.get_mut(&id).expect("every open job has one");
        if let Some(ready) = &mut lineup.ready {
            ready.remove_all(&tasks);
        }
        let at = self.now;
        let change = Change::UntouchedCancelled { job: id, tasks: tasks.clone(), reason, at };
        effects.changes.push(change);
        let key = TransferKey::RefundUntouched { job: id, first, last };
        self.ledger.refund(Refund { key, user, amount }, self.now, &mut effects.changes);
        self.chains.tell(News::Ended { job: id, tasks, ok: false });
    }
}
