//! Judges the world while it runs. The first thing that must not be is kept and ends it.

mod doors;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use campusgrid_core::durable::Durable;
use campusgrid_core::effect::{Change, TaskEnd, TaskResult, Verdict};
use campusgrid_core::policy::Policy;
use campusgrid_core::time::Timestamp;
use campusgrid_manager::store::{Store, StoreError};
use campusgrid_protocol::id::{AttemptId, JobId, TaskId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};

use crate::model;
use crate::record::{Record, RecordedAttempt};

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// After every batch, `grid.durable()` is what the store loads.
    MemoryIsDisk,
    /// The store takes every batch.
    StoreTakesAll,
    /// The store's own check finds nothing.
    BooksBalance,
    /// What runs on a machine fits in it.
    NeverOverfilled,
    /// No GPU is granted to two attempts that nobody has ended.
    GpusNeverShared,
    /// All tasks of a job install the same packages: those that the manager's disk knows.
    OneLock,
    /// A machine is told to run only what it offers all labels for.
    LabelsRespected,
    /// No attempt runs twice, and no two of one task run at once on machines that both believe in
    /// their leases.
    NeverTwice,
    /// No worker is told to forget what the manager's disk does not know to be over.
    ToldIsOnDisk,
    /// What a person was told exists after every recovery.
    PromisesKept,
    /// A result that leaves a worker's spool is on the manager's disk, or no longer wanted.
    ResultsSurvive,
    /// What a worker reports is synced on its disk.
    ReportedIsSynced,
    /// One submit is one job, however often it was repeated.
    OneJobPerKey,
    /// The end of a task is what its worker reported for the attempt that held the lease.
    ResultIsTrue,
    /// No attempt begins before the disk knows the end of the one before it.
    AttemptsEnd,
    /// Once a person knows that a job is cancelled, it starts nothing more.
    CancelledStays,
    /// Once the faults are over, everything comes to its end.
    EverythingEnds,
    /// Every task ends once.
    EndsOnce,
    /// Every balance is what a naive model makes of the outcomes.
    MoneyIsRight,
    /// A voucher lets in as many as it is for, of those whom it is for, until it is over or revoked.
    VouchersHold,
    /// Only a machine whose key is a worker's is spoken to as that worker, and gets tasks.
    RemovedStaysOut,
    /// A machine that is set aside gets no task until somebody asks for it.
    SetAsideRests,
    /// While nothing is taken in, nothing begins, ends or moves.
    ShutIsShut,
    /// When the manager stood still, no lease is over for that.
    StandstillIsForgiven,
    /// What a worker finds in its spool was written there.
    SpoolIsTrue,
}

/// What an oracle found.
#[derive(Debug, Clone)]
pub struct Finding {
    pub oracle: Oracle,
    /// Since the world began.
    pub at_ms: u64,
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.oracle, self.at_ms, self.words)
    }
}

/// What happened, counted, so that a test can tell a world in which nothing did.
pub type Report = BTreeMap<&'static str, u64>;

/// An attempt that runs on a machine which believes in its lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Believer {
    pub(crate) machine: usize,
    pub(crate) attempt: AttemptId,
}

impl fmt::Display for Believer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on laptop {}", self.attempt, self.machine)
    }
}

/// What is known of the batch that is on disk now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) at: Timestamp,
    /// Nothing was taken in.
    pub(crate) is_shut: bool,
    /// How long after the batch before.
    pub(crate) after_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) now_ms: u64,
    pub(crate) record: Record,
    pub(crate) report: Report,
    pub(crate) finding: Option<Finding>,
    /// What machines reported, after it was synced.
    truths: BTreeMap<AttemptId, Vec<Ended>>,
    /// What machines wrote into their spools.
    written: BTreeMap<AttemptId, Vec<Ended>>,
    ran: BTreeSet<AttemptId>,
    /// GPUs as workers were told, with the machine.
    granted: BTreeMap<AttemptId, (usize, Vec<u16>)>,
    /// What the first task of a job installed.
    installed: BTreeMap<JobId, String>,
    /// What each machine offers.
    labels: Vec<Vec<String>>,
    promised: BTreeMap<JobId, String>,
    known_users: BTreeSet<UserId>,
    cancelled: BTreeSet<JobId>,
    revoked: BTreeSet<VoucherId>,
    releases: BTreeSet<WorkerId>,
    /// Workers that were set aside since somebody looked.
    pub(crate) set_aside: Vec<WorkerId>,
}

impl Oracles {
    /// Judges who have seen nothing yet; `labels` are what each machine offers.
    pub(crate) fn new(labels: Vec<Vec<String>>) -> Self {
        Self { labels, ..Self::default() }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.report.entry(what).or_default() += 1;
    }

    /// The world is over.
    pub(crate) fn lasted(&mut self) {
        self.report.insert("simulated ms", self.now_ms);
    }

    pub(crate) fn find(&mut self, oracle: Oracle, words: String) {
        let at_ms = self.now_ms;
        self.finding.get_or_insert(Finding { oracle, at_ms, words });
    }

    /// A batch is on disk, or the store refused it.
    pub(crate) fn committed(
        &mut self,
        result: Result<(), StoreError>,
        changes: &[Change],
        batch: Batch,
    ) {
        if let Err(error) = result {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            return self.find(Oracle::StoreTakesAll, format!("{error}: {source:?}"));
        }
        for change in changes {
            self.record.take(change, batch.at);
            self.shut_is_shut(change, batch);
            match change {
                Change::JobSubmitted(job) => self.one_job_per_key(job.id),
                Change::TaskLeased { attempt, worker, .. } => self.leased(*attempt, *worker),
                Change::TaskEnded(end) => {
                    self.result_is_true(end);
                    if let Some(TaskResult { attempt, ended }) = &end.attempt
                        && let Outcome::Returned(fault) = &ended.outcome
                    {
                        self.nobody_was_lost(*attempt, &fault.to_string(), batch);
                    }
                }
                Change::TaskRequeued { attempt, reason, .. } => {
                    self.count("task requeued");
                    self.nobody_was_lost(*attempt, reason, batch);
                }
                Change::WorkerSetAside { worker, reason: Some(_), .. } => {
                    self.count("worker set aside");
                    self.set_aside.push(*worker);
                }
                Change::WorkerSetAside { worker, reason: None, .. } => self.released(*worker),
                Change::JobCancelling { .. } => self.count("job cancelled while shut"),
                Change::VoucherOver { .. } => self.count("voucher over"),
                Change::RoleSet { .. } => self.count("role set"),
                Change::JobLocked { .. } => self.count("job locked"),
                Change::WorkerRemoved { .. } => self.count("worker removed"),
                Change::WorkerRenamed { .. } => self.count("worker renamed"),
                Change::SubmitKeyForgotten { .. } => self.count("submit key forgotten"),
                Change::UntouchedCancelled { .. } => self.count("untouched cancelled"),
                Change::UserRegistered { .. }
                | Change::LoginOpened { .. }
                | Change::LoginClosed { .. }
                | Change::LoginRevoked { .. }
                | Change::LoginsRevoked { .. }
                | Change::LoginsOver { .. }
                | Change::PasswordChanged { .. }
                | Change::PasswordRehashed { .. }
                | Change::ApiTokenOpened { .. }
                | Change::ApiTokenRevoked { .. }
                | Change::Used { .. }
                | Change::VoucherMade(_)
                | Change::VoucherUsed { .. }
                | Change::Account { .. }
                | Change::Transferred(_)
                | Change::SubmitKeyKept { .. }
                | Change::AttemptStarted { .. }
                | Change::TaskCancelling { .. }
                | Change::JobEnded { .. }
                | Change::WorkerApproved { .. } => {}
            }
        }
    }

    pub(crate) fn memory_is_disk(&mut self, memory: &Durable, disk: &Durable) {
        if memory != disk {
            let words = difference(&format!("{memory:#?}"), &format!("{disk:#?}"));
            self.find(Oracle::MemoryIsDisk, words);
        }
    }

    pub(crate) fn books_balance(&mut self, store: &Store) {
        match store.fsck() {
            Ok(findings) if findings.broken.is_empty() => {}
            Ok(findings) => self.find(Oracle::BooksBalance, findings.broken.join("; ")),
            Err(error) => self.find(Oracle::BooksBalance, error.to_string()),
        }
    }

    /// A person has read that a submit of this name made this job.
    pub(crate) fn promised(&mut self, job: JobId, name: &str) {
        self.promised.insert(job, name.to_owned());
        if self.promised.values().filter(|known| *known == name).count() > 1 {
            self.find(Oracle::OneJobPerKey, format!("two answers to the submit {name}"));
        }
    }

    /// A person has read that they have an account.
    pub(crate) fn registered(&mut self, user: UserId) {
        self.known_users.insert(user);
    }

    /// A person has read that a job is cancelled.
    pub(crate) fn cancelled(&mut self, job: JobId) {
        self.count("job cancelled");
        self.cancelled.insert(job);
    }

    /// The manager has loaded what it left.
    pub(crate) fn promises_kept(&mut self, disk: &Durable) {
        let exists = |job: &JobId| {
            disk.jobs.contains_key(job) || self.record.jobs.get(job).is_some_and(|job| job.ended)
        };
        let lost = self.promised.keys().find(|job| !exists(job)).copied();
        let forgotten = self.known_users.iter().find(|id| !disk.users.contains_key(id)).copied();
        if let Some(job) = lost {
            self.find(Oracle::PromisesKept, format!("job {job} was acknowledged and is gone"));
        }
        if let Some(user) = forgotten {
            self.find(Oracle::PromisesKept, format!("user {user} was registered and is gone"));
        }
    }

    /// A machine starts a process, and has in words too much of something, or nothing.
    pub(crate) fn ran(&mut self, believer: Believer, too_much: Option<String>) {
        if let Some(words) = too_much {
            self.find(Oracle::NeverOverfilled, words);
        }
        if !self.ran.insert(believer.attempt) {
            let words = format!("{believer} runs for the second time");
            self.find(Oracle::NeverTwice, words);
        }
    }

    /// All that runs on machines that believe in their leases. One that its owner has removed from
    /// the grid has not heard of it yet, and is not the grid's any more.
    pub(crate) fn never_twice(&mut self, believers: &[Believer]) {
        let mut by_task: BTreeMap<TaskId, Believer> = BTreeMap::new();
        for &believer in believers {
            let worker = self.record.attempt(believer.attempt).map(|attempt| attempt.worker);
            let known = worker.and_then(|worker| self.record.workers.get(&worker));
            if known.is_some_and(|worker| worker.removed) {
                continue;
            }
            if let Some(other) = by_task.insert(believer.attempt.task, believer) {
                let words = format!("{other} and {believer} run at once");
                self.find(Oracle::NeverTwice, words);
            }
        }
    }

    /// An end is on a machine's disk and its agent is told.
    pub(crate) fn finished(&mut self, ended: &Ended) {
        self.truths.entry(ended.attempt).or_default().push(ended.clone());
    }

    /// A machine that starts finds an end in its spool.
    pub(crate) fn recovered(&mut self, ended: &Ended) {
        if !self.written.get(&ended.attempt).is_some_and(|written| written.contains(ended)) {
            let words = format!("the end of {} is not what was written", ended.attempt);
            self.find(Oracle::SpoolIsTrue, words);
        }
        self.finished(ended);
    }

    /// An end is being written to a machine's spool.
    pub(crate) fn spooled(&mut self, ended: &Ended) {
        self.written.entry(ended.attempt).or_default().push(ended.clone());
    }

    /// A machine sends an end.
    pub(crate) fn reported(&mut self, attempt: AttemptId, synced: bool) {
        if !synced {
            let words = format!("the end of {attempt} is sent and would not survive the machine");
            self.find(Oracle::ReportedIsSynced, words);
        }
    }

    /// An end leaves a machine's disk.
    pub(crate) fn unspooled(&mut self, attempt: AttemptId) {
        if !self.record.is_settled(attempt) {
            let words = format!("the end of {attempt} is deleted and the manager does not have it");
            self.find(Oracle::ResultsSurvive, words);
        }
    }

    /// Nothing happens any more: the reckoning.
    pub(crate) fn all_is_over(&mut self, policy: &Policy, disk: &Durable) {
        for id in self.promised.clone().into_keys() {
            if !self.record.jobs.contains_key(&id) {
                self.find(Oracle::PromisesKept, format!("job {id} was acknowledged and is gone"));
            }
        }
        if let Err(words) = model::every_task_ended_once(&self.record) {
            self.find(Oracle::EndsOnce, words);
        }
        if let Err(words) = model::money_is_right(&self.record, policy, &disk.ledger) {
            self.find(Oracle::MoneyIsRight, words);
        }
    }

    fn one_job_per_key(&mut self, id: JobId) {
        self.count("job submitted");
        let Some(name) = self.record.jobs.get(&id).map(|job| job.name.clone()) else { return };
        let jobs = self.record.jobs.values().filter(|job| job.name == name).count();
        if jobs > 1 {
            self.find(Oracle::OneJobPerKey, format!("the submit {name} made {jobs} jobs"));
        }
    }

    fn leased(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.count("attempt leased");
        self.may_have_tasks(attempt, worker);
        let last = attempt.number.saturating_sub(1);
        let before = AttemptId { number: last, ..attempt };
        let ended = |before: &RecordedAttempt| before.requeued.is_some();
        if last > 0 && !self.record.attempt(before).is_some_and(ended) {
            self.find(Oracle::AttemptsEnd, format!("{attempt} begins while {before} goes on"));
        }
        if self.cancelled.contains(&attempt.task.job) {
            self.find(Oracle::CancelledStays, format!("{attempt} starts after its job's cancel"));
        }
    }

    fn result_is_true(&mut self, end: &TaskEnd) {
        self.count(match end.verdict {
            Verdict::Succeeded => "task succeeded",
            Verdict::Failed { .. } => "task failed",
            Verdict::Cancelled => "task cancelled",
        });
        let Some(result) = &end.attempt else { return };
        let newest = self.record.task(end.task).map_or(0, |task| task.attempts.len());
        if result.attempt.number as usize != newest || result.attempt != result.ended.attempt {
            let words = format!("{} ends its task, which is at {newest}", result.attempt);
            return self.find(Oracle::ResultIsTrue, words);
        }
        let told = self.truths.get(&result.attempt);
        let is_told = told.is_some_and(|told| told.contains(&result.ended));
        let fits = match (&result.ended.outcome, &end.verdict) {
            (Outcome::Succeeded, Verdict::Succeeded)
            | (Outcome::Failed(_), Verdict::Failed { .. })
            | (Outcome::Cancelled, Verdict::Cancelled) => is_told,
            (Outcome::Returned(fault), Verdict::Failed { .. } | Verdict::Cancelled) => {
                is_told || is_the_managers(fault)
            }
            (Outcome::Succeeded | Outcome::Failed(_) | Outcome::Cancelled, _)
            | (Outcome::Returned(_), Verdict::Succeeded) => false,
        };
        if !fits {
            let words = format!("{end:?} is not what its machine reported: {told:?}");
            self.find(Oracle::ResultIsTrue, words);
        }
    }
}

/// Faults that the manager concludes itself.
fn is_the_managers(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving => true,
        WorkerFault::Sandbox { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Engine { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Disk { .. } => false,
    }
}

/// The first lines that differ.
fn difference(memory: &str, disk: &str) -> String {
    let mut lines = memory.lines().zip(disk.lines()).enumerate();
    match lines.find(|(_, (memory, disk))| memory != disk) {
        Some((line, (memory, disk))) => {
            format!("line {line}: memory has {:?}, disk {:?}", memory.trim(), disk.trim())
        }
        None => {
            format!("memory has {} lines, disk {}", memory.lines().count(), disk.lines().count())
        }
    }
}
