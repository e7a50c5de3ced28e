//! While nothing is taken in: neither jobs nor results; nothing starts and no credits move. What runs
//! goes on, its leases are renewed, and what its workers have to tell they tell again later.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::ranges::Ranges;

use crate::effect::{Change, Effects, Refusal};
use crate::grid::Grid;
use crate::input::{Intake, Shut};

impl Grid {
    pub(crate) fn on_intake(&mut self, intake: Intake, effects: &mut Effects) {
        let was_shut = self.is_shut();
        self.intake = intake;
        if was_shut && !self.is_shut() {
            self.markets.resume(self.now); // What was won could not be started.
            for worker in self.markets.take_missed() {
                self.on_machine_ready(worker, effects);
            }
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        match self.intake {
            Intake::Open => false,
            Intake::Shut(_) => true,
        }
    }

    /// Why what moves credits cannot be done now, if it cannot.
    pub(crate) fn shut(&self) -> Option<Refusal> {
        match &self.intake {
            Intake::Open => None,
            Intake::Shut(Shut::DiskFull) => Some(Refusal::DiskFull),
            Intake::Shut(Shut::BooksBroken { findings: _ }) => Some(Refusal::BooksBroken),
        }
    }

    /// Cancels what waits of the jobs whose submitters asked for it when nothing could be settled.
    pub(crate) fn settle_late_cancels(&mut self, effects: &mut Effects) {
        while let Some(id) = self.late_cancels.pop_first() {
            let Some(job) = self.jobs.get(&id) else { continue };
            let all = Ranges::below(job.spec.tasks);
            self.cancel_waiting(id, &all, None, effects);
            self.close_if_over(id, effects);
        }
    }

    /// Notes that what waits of a job is to be cancelled.
    pub(crate) fn cancel_later(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.open_tasks() > self.lineups[&id].running && !job.cancelling {
            job.cancelling = true;
            self.late_cancels.insert(id);
            effects.changes.push(Change::JobCancelling { job: id, at: self.now });
        }
    }
}
