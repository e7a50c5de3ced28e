//! What waits until its deadline does not start any more.

use std::sync::Arc;

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;

use crate::effect::Effects;
use crate::grid::Grid;
use crate::job::Job;
use crate::time::Timestamp;

/// Why it was cancelled.
const OVERDUE: &str = "its deadline was over before it could start";

impl Grid {
    /// Notes when what waits of a job is to be cancelled.
    pub(crate) fn watch_deadline(&mut self, job: &Job) {
        if let Some(deadline) = job.terms.deadline_at_ms {
            self.job_deadlines.renew(job.id, Timestamp(deadline));
        }
    }

    /// The deadline of a job is over: what runs of it goes on.
    pub(crate) fn on_deadline(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get(&id) else { return };
        let all = Ranges::below(job.spec.tasks);
        self.cancel_waiting(id, &all, Some(Self::overdue()), effects);
        self.close_if_over(id, effects);
    }

    pub(crate) fn overdue() -> Arc<str> {
        OVERDUE.into()
    }
}
