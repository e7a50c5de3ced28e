//! What tasks leave to go on from, when their machine has to give them back.

use campusgrid_protocol::id::{AttemptId, SessionId, TaskId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::task::Saved;

use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::votes::Votes;

impl Grid {
    /// A task that runs has saved something, which the next attempt finds if this one comes back. How far
    /// the task has come is believed only as far as the manager's own clock allows, since it is paid for.
    pub(crate) fn on_checkpoint(
        &mut self,
        session: SessionId,
        (attempt, saved): (AttemptId, Saved),
        files: Vec<InputFile>,
        effects: &mut Effects,
    ) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        self.hear_of(worker, attempt);
        if self.is_shut() {
            return; // The next one is due soon.
        }
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&attempt.task.job) else { return };
        let Some(lease) = job.lease(attempt).filter(|lease| lease.worker == worker) else { return };
        let Some(started_at) = lease.started_at else { return };
        let limit_ms = job.limit_ms();
        let is_checked = job.terms.verify;
        let task = job.tasks.get_mut(&attempt.task.index).expect("a task with a lease");
        if is_checked || task.votes != Votes::None {
            return; // A result that is compared is one machine's alone.
        }
        let most = limit_ms.min(task.paid_ms + now.since_ms(started_at)).max(task.paid_ms);
        let saved = Saved { run_ms: saved.run_ms.clamp(task.paid_ms, most), ..saved };
        if task.checkpoint.is_none_or(|before| before.manifest != saved.manifest) {
            task.checkpoint = Some(saved);
            let (files, at) = (files.into(), now);
            effects.changes.push(Change::CheckpointSaved { attempt, saved, files, at });
        }
    }

    /// The task's next attempt begins anew.
    pub(crate) fn drop_checkpoint(&mut self, id: TaskId, effects: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(task) = job.tasks.get_mut(&id.index) else { return };
        if task.checkpoint.take().is_some() {
            task.paid_ms = 0;
            effects.changes.push(Change::CheckpointDropped { task: id });
        }
    }
}
