//! Judges what becomes of the terms of jobs: what they wait for, how many of their tasks run at once,
//! deadlines, pauses, holds, drafts and numbers.

use std::sync::Arc;

use campusgrid_core::effect::{NewJob, TaskPause};
use campusgrid_core::input::FilesOf;
use campusgrid_core::job::After;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{AttemptId, JobId, UserId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::terms::Sale;

use super::{Oracle, Oracles};
use crate::recorded::RecordedTask;

impl Oracles {
    /// A person has read that some tasks of a job are cancelled.
    pub(crate) fn tasks_cancelled(&mut self, job: JobId, tasks: &Ranges) {
        self.count("tasks cancelled");
        self.tasks_cancelled.entry(job).or_default().insert_all(tasks);
    }

    /// A person has read that a job is on hold.
    pub(crate) fn held(&mut self, job: JobId) {
        self.count("job held");
        if !self.unheld.contains(&job) {
            self.held.insert(job);
        }
    }

    /// A person asks that a job is released.
    pub(crate) fn unhold_asked(&mut self, job: JobId) {
        self.held.remove(&job);
        self.unheld.insert(job);
    }

    /// A person has read that they have a draft.
    pub(crate) fn draft_promised(&mut self, job: JobId, name: &str) {
        self.promised_drafts.insert(job);
        let is_it = |known: &&crate::record::RecordedDraft| known.name == name;
        if self.record.drafts.values().filter(is_it).count() > 1 {
            self.find(Oracle::OneJobPerKey, format!("two drafts of the name {name}"));
        }
    }

    /// A task starts.
    pub(super) fn keeps_terms(&mut self, attempt: AttemptId, at: Timestamp) {
        let AttemptId { task: id, number } = attempt;
        let Some(job) = self.record.jobs.get(&id.job) else { return };
        let terms = &job.wanted.terms;
        let early = |after: &&After| self.record.has_come(**after, id.index) != Some(true);
        let running = job.tasks.iter().filter(|task| RecordedTask::is_running(task)).count();
        let task = self.record.task(id);
        let before = task.and_then(|task| task.attempts.iter().rev().nth(1));
        let pause = before.and_then(|before| before.paused.as_deref());
        let is_early = |pause: &TaskPause| pause.until > at;
        let (oracle, words) = if let Some(after) =
            job.wanted.after.iter().find(early).filter(|_| number == 1)
        {
            (Oracle::ChainsHold, format!("starts before {after:?}"))
        } else if terms.at_once.is_some_and(|at_once| running > at_once as usize) {
            (Oracle::AtOnceHolds, format!("makes {running} at once, of {:?}", terms.at_once))
        } else if terms.deadline_at_ms.is_some_and(|deadline| deadline <= at.0) {
            (Oracle::DeadlinesHold, format!("starts at {at:?}, after {:?}", terms.deadline_at_ms))
        } else if pause.is_some_and(is_early) {
            (Oracle::PausesLast, format!("starts at {at:?} in the pause {pause:?}"))
        } else if self.held.contains(&id.job) {
            (Oracle::HoldsHold, "starts though its job is on hold".to_owned())
        } else if self.tasks_cancelled.get(&id.job).is_some_and(|tasks| tasks.contains(id.index)) {
            (Oracle::CancelledStays, "starts after it was cancelled".to_owned())
        } else {
            return;
        };
        self.find(oracle, format!("{attempt} {words}"));
    }

    /// Tasks that never started are over though nobody asked for that: all that they wait for can
    /// never come, or it is too late.
    pub(super) fn can_never_start(
        &mut self,
        (id, tasks): (JobId, &Ranges),
        reason: Option<&Arc<str>>,
        at: Timestamp,
    ) {
        let Some(reason) = reason else { return };
        let Some(job) = self.record.jobs.get(&id) else { return };
        if job.wanted.terms.deadline_at_ms.is_some_and(|deadline| deadline <= at.0) {
            return self.count("deadline over");
        }
        if let Sale::Rule { .. } = job.wanted.terms.sale {
            return self.count("nobody's bid was good enough");
        }
        let is_broken = |index: u32| {
            let after = &job.wanted.after;
            after.iter().any(|after| self.record.has_come(*after, index) == Some(false))
        };
        if let Some(index) = tasks.numbers().find(|&index| !is_broken(index)) {
            let words = format!("{id}.{index} could have started: {reason}");
            return self.find(Oracle::ChainsHold, words);
        }
        self.count("chain broken");
    }

    /// A run has failed and is to be followed by another.
    pub(super) fn pauses(&mut self, pause: &TaskPause) {
        self.count("run failed");
        let told = self.truths.get(&pause.attempt);
        if !told.is_some_and(|told| told.contains(&pause.ended)) {
            let words = format!("{pause:?} is not what its machine reported: {told:?}");
            self.find(Oracle::ResultIsTrue, words);
        }
        let id = pause.attempt.task;
        let wanted = self.record.jobs.get(&id.job).map_or(0, |job| job.wanted.terms.backoff_s);
        let attempts = self.record.task(id).map_or(&[][..], |task| &task.attempts);
        let failed = attempts.iter().filter(|attempt| attempt.paused.is_some()).count();
        let least_ms = (u64::from(wanted) << failed.saturating_sub(1)) * 1000;
        if pause.until.since_ms(pause.at) < least_ms {
            self.find(Oracle::PausesLast, format!("{pause:?}, and not {least_ms} ms"));
        }
    }

    /// A job begins under a number of its own, or as the draft that it was.
    pub(super) fn number_is_new(&mut self, job: &NewJob) {
        let known = |id: JobId| self.record.drafts.get(&id);
        let words = match job.files {
            FilesOf::None | FilesOf::Job(_) if job.id > self.last_number => {
                self.last_number = job.id;
                return;
            }
            FilesOf::None | FilesOf::Job(_) => format!("job {} has an old number", job.id),
            FilesOf::Draft { job: draft, revision } => {
                let is_it = |owner: UserId, of: u64| owner == job.owner && of == revision;
                match known(draft) {
                    Some(known) if is_it(known.owner, known.revision) && draft == job.id => {
                        return self.count("draft launched");
                    }
                    known => format!("job {} is launched from {known:?}", job.id),
                }
            }
        };
        self.find(Oracle::NumbersAreNew, words);
    }

    pub(super) fn draft_is_new(&mut self, draft: JobId) {
        self.count("draft made");
        if draft <= self.last_number {
            self.find(Oracle::NumbersAreNew, format!("draft {draft} has an old number"));
        }
        self.last_number = self.last_number.max(draft);
    }
}
