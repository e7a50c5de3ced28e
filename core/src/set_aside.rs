//! Machines that get no tasks until somebody says so, since all that they were given came back.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, UserId, WorkerId};
use campusgrid_protocol::task::WorkerFault;

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::snapshot::Shape;
use crate::suspicion::FailedStart;

/// Characters of a worker's own words that are kept in the reason.
const WORDS_MAX: usize = 300;

impl Grid {
    /// A task came back before it began, because of what its machine lacks.
    pub(crate) fn suspect(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        fault: &WorkerFault,
        effects: &mut Effects,
    ) {
        let job = attempt.task.job;
        let shape = self.shape_of_task(attempt.task);
        let submitter = shape.owner;
        let believed = self.may_act_for(submitter, self.workers[&worker].owner)
            || !self.has_witness(&shape, worker);
        let failed = FailedStart { worker, job, submitter, believed };
        if self.suspicions.failed(failed, self.now) {
            let words: String = fault.to_string().chars().take(WORDS_MAX).collect();
            self.set_aside(worker, &format!("; the last said: {words}"), effects);
        }
    }

    /// Whether a task that came back from a machine could begin on another that takes tasks now and is
    /// not its submitter's: if not, nobody will ever bear the submitter out.
    fn has_witness(&self, shape: &Shape, against: WorkerId) -> bool {
        self.links.iter().any(|(&id, link)| {
            let owner = self.workers[&id].owner;
            id != against
                && owner != shape.owner
                && self.takes_tasks(id, link)
                && self.admits(id, link, shape)
                && link.whole().fits(&shape.needs)
        })
    }

    /// A task has begun, so that its job is sound, unless that is its submitter's own machine.
    pub(crate) fn believe(&mut self, attempt: AttemptId, worker: WorkerId, effects: &mut Effects) {
        let job = attempt.task.job;
        if self.jobs[&job].owner == self.workers[&worker].owner {
            return;
        }
        for other in self.suspicions.began(job, worker, self.now) {
            self.set_aside(other, ", and began elsewhere", effects);
        }
    }

    fn set_aside(&mut self, id: WorkerId, words: &str, effects: &mut Effects) {
        let worker = self.workers.get_mut(&id).expect("only machines with an owner are suspected");
        if worker.set_aside.is_some() {
            return;
        }
        let reason: Arc<str> =
            format!("three different jobs came back from it before they began{words}").into();
        worker.set_aside = Some(Arc::clone(&reason));
        let (reason, at) = (Some(reason), self.now);
        effects.changes.push(Change::WorkerSetAside { worker: id, reason, at });
    }

    pub(crate) fn on_release_worker(
        &mut self,
        user: UserId,
        id: WorkerId,
        effects: &mut Effects,
    ) -> Reply {
        if self.own_worker(user, id).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        let worker = self.workers.get_mut(&id).expect("it has just been looked up");
        if worker.set_aside.take().is_some() {
            let (reason, at) = (None, self.now);
            effects.changes.push(Change::WorkerSetAside { worker: id, reason, at });
            self.suspicions.forget(id);
            self.freed.insert(id); // It has been passed over.
        }
        Reply::Done
    }
}
