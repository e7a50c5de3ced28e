//! What may change about a job while it has not ended, and what goes of it afterwards.

use campusgrid_protocol::id::{JobId, UserId};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;

impl Grid {
    pub(crate) fn on_set_hold(
        &mut self,
        user: UserId,
        id: JobId,
        on_hold: bool,
        effects: &mut Effects,
    ) -> Reply {
        let job = match self.open_job(user, id) {
            Ok(job) => job,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if job.market.is_some() && on_hold {
            return Reply::Refused(Refusal::OnMarket); // It would fail its bid for its machine.
        }
        if job.on_hold != on_hold {
            job.on_hold = on_hold;
            effects.changes.push(Change::JobHoldSet { job: id, on_hold, at: self.now });
            self.line_up(id);
        }
        Reply::Done
    }

    pub(crate) fn on_set_priority(
        &mut self,
        user: UserId,
        id: JobId,
        priority: i8,
        effects: &mut Effects,
    ) -> Reply {
        let job = match self.open_job(user, id) {
            Ok(job) => job,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if job.priority != priority {
            job.priority = priority;
            effects.changes.push(Change::JobPrioritySet { job: id, priority, at: self.now });
            self.line_up(id);
        }
        Reply::Done
    }

    pub(crate) fn on_empty_jobs(&self, jobs: Vec<JobId>, effects: &mut Effects) -> Reply {
        let over = jobs.into_iter().filter(|id| self.was_job(*id));
        effects.changes.extend(over.map(|job| Change::JobEmptied { job, at: self.now }));
        Reply::Done
    }
}
