//! What a job's packages came to: one answer for all its tasks, that of the first worker.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, SessionId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::{Packages, Work};

use crate::effect::{Change, Effects};
use crate::grid::Grid;

impl Grid {
    /// A worker has resolved the packages of an attempt's job. It is told the job's lock, which is
    /// its own only if it was the first, and none at all for an attempt that is not current.
    pub(crate) fn on_locked(
        &mut self,
        session: SessionId,
        attempt: AttemptId,
        lock: String,
        effects: &mut Effects,
    ) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        let job = self.jobs.get_mut(&attempt.task.job);
        let Some(job) =
            job.filter(|job| job.lease(attempt).is_some_and(|lease| lease.worker == worker))
        else {
            effects.sends.push((session, ToWorker::Drop { attempt }));
            return;
        };
        if !has_packages(&job.spec.work) {
            return; // No worker of ours says this, and nobody is to keep what he invents.
        }
        let lock = match &job.lock {
            Some(first) => Arc::clone(first),
            None => {
                let lock: Arc<str> = lock.into();
                job.lock = Some(Arc::clone(&lock));
                let (id, at) = (job.id, self.now);
                effects.changes.push(Change::JobLocked { job: id, lock: Arc::clone(&lock), at });
                lock
            }
        };
        effects.sends.push((session, ToWorker::Locked { attempt, lock }));
    }
}

fn has_packages(work: &Work) -> bool {
    match work {
        Work::Python { packages, .. } => *packages != Packages::None,
        Work::C { .. } | Work::Shell { .. } => false,
    }
}
