//! What a job's packages came to: one answer for all its tasks, that of the first worker.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, SessionId};
use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::{Ended, Outcome, Packages, Work, WorkerFault};

use crate::effect::{Change, Effects};
use crate::grid::Grid;

impl Grid {
    /// A worker has resolved the packages of an attempt's job. It is told the job's lock, which is
    /// its own only if it was the first. It is told to drop an attempt that is not current, and one
    /// for which it says what cannot be: that counts as given back.
    pub(crate) fn on_locked(
        &mut self,
        session: SessionId,
        attempt: AttemptId,
        lock: &str,
        effects: &mut Effects,
    ) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        self.hear_of(worker, attempt);
        if self.is_shut() {
            return; // It asks again.
        }
        let job = self.jobs.get_mut(&attempt.task.job);
        let current = job.and_then(|job| {
            let lease = *job.lease(attempt).filter(|lease| lease.worker == worker)?;
            Some((job, lease))
        });
        let Some((job, lease)) = current else {
            effects.sends.push((session, ToWorker::Drop { attempt }));
            return;
        };
        let lock = match &job.lock {
            Some(first) => Arc::clone(first),
            None => match first_lock(&job.spec.work, lock) {
                Ok(lock) => {
                    let lock: Arc<str> = lock.text().into();
                    job.lock = Some(Arc::clone(&lock));
                    let (id, at) = (job.id, self.now);
                    effects.changes.push(Change::JobLocked {
                        job: id,
                        lock: Arc::clone(&lock),
                        at,
                    });
                    lock
                }
                Err(why) => {
                    let message = format!("its list of packages was refused: {why}");
                    let outcome = Outcome::Returned(WorkerFault::Environment { message });
                    self.settle(lease, Box::new(Ended::empty(attempt, outcome)), effects);
                    effects.sends.push((session, ToWorker::Drop { attempt }));
                    return;
                }
            },
        };
        effects.sends.push((session, ToWorker::Locked { attempt, lock }));
    }
}

/// The lock that all tasks of a job are to have, if this can be it. Whether the versions are those
/// that an honest worker would have found nobody here can know (ADR 0009).
fn first_lock(work: &Work, text: &str) -> Result<Lock, String> {
    let Work::Python { packages: Packages::Names { requirements, .. }, .. } = work else {
        return Err("the job asks for none that have to be found".to_owned());
    };
    let lock = Lock::check(text).map_err(|error| error.to_string())?;
    match lock.lacks(requirements) {
        Some(missing) => Err(format!("it lacks {missing}")),
        None => Ok(lock),
    }
}
