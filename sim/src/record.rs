//! What has been committed since the world began, as plain facts: what the database must know, kept
//! apart from both the database and the grid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::effect::{Change, NewJob, TaskEnd};
use campusgrid_core::ledger::Transfer;
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::Voucher;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::task::TaskSpec;

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) users: BTreeMap<UserId, String>,
    pub(crate) workers: BTreeMap<WorkerId, RecordedWorker>,
    pub(crate) jobs: BTreeMap<JobId, RecordedJob>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) vouchers: BTreeMap<VoucherId, RecordedVoucher>,
    /// The time of the newest batch.
    pub(crate) newest: Timestamp,
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
}

#[derive(Debug)]
pub(crate) struct RecordedJob {
    pub(crate) owner: UserId,
    pub(crate) name: String,
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) tasks: Vec<RecordedTask>,
    pub(crate) lock: Option<Arc<str>>,
    pub(crate) ended: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedTask {
    /// The attempt of number `n` is at index `n - 1`.
    pub(crate) attempts: Vec<RecordedAttempt>,
    /// One, if all is well.
    pub(crate) ends: Vec<RecordedEnd>,
}

#[derive(Debug, Clone)]
pub(crate) struct RecordedAttempt {
    pub(crate) worker: WorkerId,
    pub(crate) leased_at: Timestamp,
    pub(crate) started: bool,
    /// Why it was taken back, in words.
    pub(crate) requeued: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum RecordedEnd {
    /// Cancelled before it ever started.
    Untouched,
    Ended {
        end: Box<TaskEnd>,
        at: Timestamp,
    },
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
                self.jobs.insert(job.id, RecordedJob::new(job));
            }
            Change::TaskLeased { attempt, worker, .. } => {
                self.change_task(attempt.task, |task| {
                    task.attempts.push(RecordedAttempt {
                        worker: *worker,
                        leased_at: now,
                        started: false,
                        requeued: None,
                    });
                });
            }
            Change::JobLocked { job, lock, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.lock = Some(Arc::clone(lock));
                }
            }
            Change::AttemptStarted { attempt, .. } => {
                self.change_attempt(*attempt, |known| known.started = true);
            }
            Change::TaskRequeued { attempt, reason, .. } => {
                self.change_attempt(*attempt, |known| known.requeued = Some(reason.clone()));
            }
            Change::TaskEnded(end) => {
                let ended = RecordedEnd::Ended { end: end.clone(), at: now };
                self.change_task(end.task, |task| task.ends.push(ended));
            }
            Change::UntouchedCancelled { job, from, to, .. } => {
                for index in *from..*to {
                    let task = TaskId { job: *job, index };
                    self.change_task(task, |task| task.ends.push(RecordedEnd::Untouched));
                }
            }
            Change::JobEnded { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.ended = true;
                }
            }
            Change::WorkerApproved { worker, .. } => {
                let (key_hash, owner) = (worker.key_hash, worker.owner);
                let known = RecordedWorker { key_hash, owner, removed: false, set_aside: false };
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
            | Change::TaskCancelling { .. }
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
        let taken_back = self.attempt(id).is_some_and(|attempt| attempt.requeued.is_some());
        newer || taken_back || !task.ends.is_empty()
    }

    /// The machine of this key while somebody owns it.
    pub(crate) fn worker_of(&self, key_hash: &KeyHash) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let owned = |worker: &RecordedWorker| !worker.removed && worker.key_hash == *key_hash;
        workers.find(|(_, worker)| owned(worker)).map(|(&id, _)| id)
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

impl RecordedJob {
    fn new(job: &NewJob) -> Self {
        Self {
            owner: job.owner,
            name: job.name.clone(),
            spec: Arc::clone(&job.spec),
            tasks: vec![RecordedTask::default(); index_of(job.spec.tasks)],
            lock: None,
            ended: false,
        }
    }
}

fn index_of(number: u32) -> usize {
    usize::try_from(number).expect("a usize holds every u32")
}
