//! What has been committed since the world began, as plain facts: what the database must know, kept
//! apart from both the database and the grid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::effect::{Change, Verdict};
use campusgrid_core::input::{FilesOf, Submission};
use campusgrid_core::job::{After, EndedTasks};
use campusgrid_core::ledger::Transfer;
use campusgrid_core::market::BidFate;
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::Voucher;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::terms::{Terms, When};

use crate::recorded::{RecordedAttempt, RecordedEnd, RecordedJob, RecordedTask, index_of};

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) users: BTreeMap<UserId, String>,
    pub(crate) workers: BTreeMap<WorkerId, RecordedWorker>,
    pub(crate) jobs: BTreeMap<JobId, RecordedJob>,
    pub(crate) drafts: BTreeMap<JobId, RecordedDraft>,
    /// What people asked for, by the name of the job.
    pub(crate) wanted: BTreeMap<String, Wanted>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) vouchers: BTreeMap<VoucherId, RecordedVoucher>,
    /// The time of the newest batch.
    pub(crate) newest: Timestamp,
}

/// A draft that was made at some time.
#[derive(Debug)]
pub(crate) struct RecordedDraft {
    pub(crate) owner: UserId,
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) files: BTreeMap<String, InputFile>,
    /// Launched, discarded, or too old.
    pub(crate) over: bool,
}

/// The terms of a job as its submitter asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) terms: Terms,
    pub(crate) after: Vec<After>,
}

/// A voucher as it was made.
#[derive(Debug)]
pub(crate) struct RecordedVoucher {
    pub(crate) voucher: Voucher,
    pub(crate) let_in: BTreeSet<LetIn>,
}

/// Who came in by a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LetIn {
    Machine(KeyHash),
    Person(UserId),
}

/// A machine that was approved at some time.
#[derive(Debug)]
pub(crate) struct RecordedWorker {
    pub(crate) key_hash: KeyHash,
    pub(crate) owner: UserId,
    pub(crate) removed: bool,
    pub(crate) set_aside: bool,
    pub(crate) rules: Arc<Rules>,
    pub(crate) ask: Ask,
}

impl Record {
    /// Takes in a change that is on disk since `now`.
    pub(crate) fn take(&mut self, change: &Change, now: Timestamp) {
        self.newest = now;
        match change {
            Change::UserRegistered { user, .. } => {
                self.users.insert(user.id, user.name.clone());
            }
            Change::Transferred(transfer) => self.transfers.push(transfer.clone()),
            Change::JobSubmitted(job) => {
                if let FilesOf::Draft { job, .. } = job.files
                    && let Some(draft) = self.drafts.get_mut(&job)
                {
                    draft.over = true;
                }
                let wanted = self.wanted.get(&job.name).cloned();
                self.jobs.insert(job.id, RecordedJob::new(job, wanted));
            }
            Change::JobHoldSet { job, on_hold, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.on_hold = *on_hold;
                }
            }
            Change::Drafted { draft, .. } => {
                let (owner, name, revision) = (draft.owner, draft.name.clone(), draft.revision);
                let files = BTreeMap::new();
                let made = RecordedDraft { owner, name, revision, files, over: false };
                self.drafts.insert(draft.id, made);
            }
            Change::DraftChanged { job, put, removed, revision, .. } => {
                if let Some(draft) = self.drafts.get_mut(job) {
                    draft.revision = *revision;
                    draft.files.retain(|path, _| !removed.contains(path));
                    draft.files.extend(put.iter().map(|file| (file.path.clone(), file.clone())));
                }
            }
            Change::DraftDiscarded { job, .. } => {
                if let Some(draft) = self.drafts.get_mut(job) {
                    draft.over = true;
                }
            }
            Change::TaskLeased { attempt, worker, deal, .. } => {
                let ask = self.workers.get(worker).map(|worker| worker.ask).unwrap_or_default();
                self.change_task(attempt.task, |task| {
                    task.attempts.push(RecordedAttempt {
                        worker: *worker,
                        leased_at: now,
                        started: false,
                        cancelling: false,
                        requeued: None,
                        paused: None,
                        checked: None,
                        deal: *deal,
                        ask,
                        started_at: None,
                        saved_ms: None,
                        anew: std::mem::take(&mut task.anew),
                        failed_award: false,
                    });
                });
            }
            Change::JobLocked { job, lock, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.lock = Some(Arc::clone(lock));
                }
            }
            Change::AttemptStarted { attempt, .. } => {
                self.change_attempt(*attempt, |known| {
                    (known.started, known.started_at) = (true, Some(now));
                });
            }
            Change::TaskCancelling { attempt } => {
                self.change_attempt(*attempt, |known| known.cancelling = true);
            }
            Change::CheckpointSaved { attempt, saved, .. } => {
                self.change_attempt(*attempt, |known| known.saved_ms = Some(saved.run_ms));
            }
            Change::CheckpointDropped { task } => {
                self.change_task(*task, |task| task.anew = true);
            }
            Change::TaskChecking(check) => {
                self.change_attempt(check.attempt, |known| known.checked = Some(check.clone()));
            }
            Change::BidPlaced { job, worker, bid } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.bids.insert(*worker, *bid);
                }
            }
            Change::BidOver { job, worker, fate, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.bids.remove(worker);
                    job.winners += u32::from(*fate == BidFate::Accepted);
                }
            }
            Change::JobAwarded { job, award, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.award = Some(*award);
                }
            }
            Change::JobReopened { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    (job.award, job.winners) = (None, 0);
                    job.failed_awards += 1;
                    let last = job.tasks.first_mut().and_then(|task| task.attempts.last_mut());
                    if let Some(attempt) = last {
                        attempt.failed_award = true;
                    }
                }
            }
            Change::WorkerRulesSet { worker, rules, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.rules = Arc::clone(rules);
                }
            }
            Change::WorkerAskSet { worker, ask, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.ask = *ask;
                }
            }
            Change::TaskPausing(pause) => {
                self.change_attempt(pause.attempt, |known| known.paused = Some(pause.clone()));
            }
            Change::TaskRequeued { attempt, reason, .. } => {
                self.change_attempt(*attempt, |known| known.requeued = Some(reason.clone()));
            }
            Change::TaskEnded(end) => {
                let ended = RecordedEnd::Ended { end: end.clone(), at: now };
                self.change_task(end.task, |task| task.ends.push(ended));
            }
            Change::UntouchedCancelled { job, tasks, .. } => {
                for index in tasks.numbers() {
                    let task = TaskId { job: *job, index };
                    self.change_task(task, |task| task.ends.push(RecordedEnd::Untouched));
                }
                let first = tasks.first().zip(self.jobs.get_mut(job));
                if let Some((first, job)) = first {
                    job.cancelled.insert(first, tasks.clone());
                }
            }
            Change::JobEnded { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.ended = true;
                }
            }
            Change::WorkerApproved { worker, .. } => {
                let (key_hash, owner) = (worker.key_hash, worker.owner);
                let known = RecordedWorker {
                    key_hash,
                    owner,
                    removed: false,
                    set_aside: false,
                    rules: Arc::clone(&worker.rules),
                    ask: worker.ask,
                };
                self.workers.insert(worker.id, known);
            }
            Change::WorkerRemoved { worker, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.removed = true;
                }
            }
            Change::WorkerSetAside { worker, reason, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.set_aside = reason.is_some();
                }
            }
            Change::VoucherMade(voucher) => {
                let made = RecordedVoucher { voucher: voucher.clone(), let_in: BTreeSet::new() };
                self.vouchers.insert(voucher.id, made);
            }
            Change::LoginOpened { .. }
            | Change::LoginClosed { .. }
            | Change::LoginRevoked { .. }
            | Change::LoginsRevoked { .. }
            | Change::LoginsOver { .. }
            | Change::PasswordChanged { .. }
            | Change::PasswordRehashed { .. }
            | Change::ApiTokenOpened { .. }
            | Change::ApiTokenRevoked { .. }
            | Change::Used { .. }
            | Change::RoleSet { .. }
            | Change::VoucherUsed { .. }
            | Change::VoucherOver { .. }
            | Change::JobCancelling { .. }
            | Change::Account { .. }
            | Change::SubmitKeyKept { .. }
            | Change::SubmitKeyForgotten { .. }
            | Change::TaskRoused { .. }
            | Change::AfterMet { .. }
            | Change::JobPrioritySet { .. }
            | Change::JobEmptied { .. }
            | Change::NoticeDue { .. }
            | Change::NoticeTried { .. }
            | Change::WebhookSecretSet { .. }
            | Change::AttemptPaid { .. }
            | Change::WorkerRecord { .. }
            | Change::UserVerified { .. }
            | Change::WorkerRenamed { .. } => {}
        }
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<&RecordedTask> {
        self.jobs.get(&id.job)?.tasks.get(index_of(id.index))
    }

    pub(crate) fn attempt(&self, id: AttemptId) -> Option<&RecordedAttempt> {
        self.task(id.task)?.attempts.get(index_of(id.number.checked_sub(1)?))
    }

    /// Whether it no longer matters what becomes of an attempt: it has ended its task, or another
    /// has or will.
    pub(crate) fn is_settled(&self, id: AttemptId) -> bool {
        let Some(task) = self.task(id.task) else { return false };
        let newer = task.attempts.len() > index_of(id.number);
        let is_followed = self.attempt(id).is_some_and(RecordedAttempt::is_followed);
        newer || is_followed || !task.ends.is_empty()
    }

    /// A person asks for a job.
    pub(crate) fn want(&mut self, new: &Submission) {
        let wanted = Wanted { terms: new.terms.clone(), after: new.after.clone() };
        self.wanted.entry(new.name.clone()).or_insert(wanted);
    }

    /// How the tasks of a job ended, if it is over.
    pub(crate) fn ended(&self, id: JobId) -> Option<EndedTasks> {
        let job = self.jobs.get(&id).filter(|job| job.ended)?;
        let mut ended = EndedTasks::default();
        for (index, task) in (0..).zip(&job.tasks) {
            match task.verdict() {
                Some(Verdict::Succeeded) => ended.succeeded.insert(index),
                Some(Verdict::Failed { .. }) => ended.failed.insert(index),
                Some(Verdict::Cancelled) | None => ended.cancelled.insert(index),
            };
        }
        Some(ended)
    }

    /// The jobs of a user that are not over.
    pub(crate) fn open_jobs_of(&self, user: UserId) -> Vec<JobId> {
        let open = self.jobs.iter().filter(|(_, job)| job.owner == user && !job.ended);
        open.map(|(&id, _)| id).collect()
    }

    /// Whether what is waited for, by the task of this position, has come so far; none while that is
    /// undecided.
    pub(crate) fn has_come(&self, after: After, index: u32) -> Option<bool> {
        let Some(job) = self.jobs.get(&after.job) else { return Some(false) };
        let tasks: Vec<&RecordedTask> = if after.each {
            job.tasks.get(index_of(index)).into_iter().collect()
        } else {
            job.tasks.iter().collect()
        };
        let started = tasks.iter().any(|task| !task.attempts.is_empty());
        let bad = |task: &&RecordedTask| {
            task.verdict().is_some_and(|verdict| verdict != Verdict::Succeeded)
        };
        let bad = tasks.iter().any(bad);
        let over = tasks.iter().all(|task| !task.ends.is_empty());
        match after.when {
            When::Started => (started || over).then_some(true),
            When::Ok => (over || bad).then_some(!bad),
            When::Any => over.then_some(true),
            When::Failed => over.then_some(bad),
        }
    }

    /// The machine of this key while somebody owns it.
    pub(crate) fn worker_of(&self, key_hash: &KeyHash) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let owned = |worker: &RecordedWorker| !worker.removed && worker.key_hash == *key_hash;
        workers.find(|(_, worker)| owned(worker)).map(|(&id, _)| id)
    }

    pub(crate) fn owner_of(&self, worker: WorkerId) -> Option<UserId> {
        self.workers.get(&worker).map(|worker| worker.owner)
    }

    /// One of a user's machines.
    pub(crate) fn machine_of(&self, user: UserId, pick: usize) -> Option<WorkerId> {
        let own = self.workers.iter().filter(|(_, known)| known.owner == user && !known.removed);
        let own: Vec<WorkerId> = own.map(|(&id, _)| id).collect();
        own.get(pick.checked_rem(own.len())?).copied()
    }

    pub(crate) fn user_of_name(&self, name: &str) -> Option<UserId> {
        self.users.iter().find(|(_, known)| *known == name).map(|(&id, _)| id)
    }

    fn change_task(&mut self, id: TaskId, change: impl FnOnce(&mut RecordedTask)) {
        let job = self.jobs.get_mut(&id.job);
        if let Some(task) = job.and_then(|job| job.tasks.get_mut(index_of(id.index))) {
            change(task);
        }
    }

    fn change_attempt(&mut self, id: AttemptId, change: impl FnOnce(&mut RecordedAttempt)) {
        let index = index_of(id.number.saturating_sub(1));
        self.change_task(id.task, |task| {
            if let Some(attempt) = task.attempts.get_mut(index) {
                change(attempt);
            }
        });
    }
}
