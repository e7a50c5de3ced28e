//! Judges the world while it runs. The first thing that must not be is kept and ends it.

mod doors;
mod machines;
mod market;
mod results;
mod terms;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use campusgrid_core::durable::Durable;
use campusgrid_core::effect::{Change, TaskResult};
use campusgrid_core::policy::Policy;
use campusgrid_core::time::Timestamp;
use campusgrid_manager::store::{Store, StoreError};
use campusgrid_protocol::id::{AttemptId, JobId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Ended, Outcome};

use self::market::Claims;
use crate::model;
use crate::record::Record;

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
    /// What is to follow something starts once that has come so far and not before, and is given up
    /// only when it can never start.
    ChainsHold,
    /// No more tasks of a job run at once than may.
    AtOnceHolds,
    /// Nothing starts after its deadline.
    DeadlinesHold,
    /// A task that has failed does not run again before its pause is over.
    PausesLast,
    /// Once a person knows that a job is on hold, it starts nothing until they release it.
    HoldsHold,
    /// No job or draft has the number of another; a draft is launched as it is on disk.
    NumbersAreNew,
    /// A program is told the index of its task.
    IndexIsTrue,
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
    /// What is saved of a task, and paid for, its machine has saved, and took the time for.
    CheckpointIsTrue,
    /// Of the bids on a job one is accepted, which its submitter asked for if they are to be asked, and
    /// the job runs on no other machine.
    OneWinner,
    /// A machine is bid with by its owner, and not on their own job.
    BidsHold,
    /// A machine gets nothing that its owner's rules rule out, once they have been told that they hold.
    RulesHold,
    /// A machine that has said that it is not shared gets nothing.
    ClosedRests,
    /// While a machine's owner is at it, no task goes on there.
    FrozenStands,
    /// Nobody is paid for an attempt twice, or for one that gave nothing.
    OnePayEach,
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

#[derive(Debug)]
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
    tasks_cancelled: BTreeMap<JobId, Ranges>,
    held: BTreeSet<JobId>,
    /// Whoever has asked for a release does not know any more whether it is held.
    unheld: BTreeSet<JobId>,
    promised_drafts: BTreeSet<JobId>,
    last_number: JobId,
    revoked: BTreeSet<VoucherId>,
    releases: BTreeSet<WorkerId>,
    claims: Claims,
    /// Workers that were set aside since somebody looked.
    pub(crate) set_aside: Vec<WorkerId>,
}

impl Oracles {
    /// Judges who have seen nothing yet; `labels` are what each machine offers.
    pub(crate) fn new(labels: Vec<Vec<String>>) -> Self {
        Self {
            now_ms: 0,
            record: Record::default(),
            report: Report::new(),
            finding: None,
            truths: BTreeMap::new(),
            written: BTreeMap::new(),
            ran: BTreeSet::new(),
            granted: BTreeMap::new(),
            installed: BTreeMap::new(),
            labels,
            promised: BTreeMap::new(),
            known_users: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            tasks_cancelled: BTreeMap::new(),
            held: BTreeSet::new(),
            unheld: BTreeSet::new(),
            promised_drafts: BTreeSet::new(),
            last_number: JobId(0),
            revoked: BTreeSet::new(),
            releases: BTreeSet::new(),
            claims: Claims::default(),
            set_aside: Vec::new(),
        }
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
                Change::JobSubmitted(job) => {
                    self.one_job_per_key(job.id);
                    self.number_is_new(job);
                }
                Change::TaskLeased { attempt, worker, .. } => {
                    self.leased(*attempt, *worker);
                    self.is_allowed(*attempt, *worker);
                    self.keeps_terms(*attempt, batch.at);
                }
                Change::TaskPausing(pause) => self.pauses(pause),
                Change::UntouchedCancelled { job, tasks, reason, .. } => {
                    self.count("untouched cancelled");
                    self.can_never_start((*job, tasks), reason.as_ref(), batch.at);
                }
                Change::CheckpointSaved { attempt, saved, .. } => {
                    self.checkpoint_is_true(*attempt, *saved, batch.at);
                }
                Change::CheckpointDropped { .. } => self.count("checkpoint dropped"),
                Change::AttemptPaid { attempt, .. } => self.one_pay_each(*attempt),
                Change::TaskChecking(check) => self.vote_is_true(check),
                Change::BidPlaced { job, worker, bid } => self.bid_holds(*job, *worker, *bid),
                Change::BidOver { job, fate, .. } => self.bid_over(*job, *fate),
                Change::JobAwarded { job, award, .. } => self.one_winner(*job, *award),
                Change::JobReopened { .. } => self.count("job opened again"),
                Change::WorkerRulesSet { .. } => self.count("rules set"),
                Change::WorkerAskSet { .. } => self.count("ask set"),
                Change::Drafted { draft, .. } => self.draft_is_new(draft.id),
                Change::DraftChanged { .. } => self.count("draft changed"),
                Change::DraftDiscarded { .. } => self.count("draft discarded"),
                Change::TaskRoused { .. } => self.count("task roused"),
                Change::AfterMet { .. } => self.count("chain met"),
                Change::JobHoldSet { .. } => self.count("hold set"),
                Change::JobPrioritySet { .. } => self.count("priority set"),
                Change::NoticeDue { .. } => self.count("notice due"),
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
                | Change::JobEmptied { .. }
                | Change::NoticeTried { .. }
                | Change::WebhookSecretSet { .. }
                | Change::WorkerRecord { .. }
                | Change::UserVerified { .. }
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
        let is_kept = |draft: &JobId| {
            let known = self.record.drafts.get(draft);
            disk.drafts.contains_key(draft) || known.is_some_and(|draft| draft.over)
        };
        let lost_draft = self.promised_drafts.iter().find(|draft| !is_kept(draft)).copied();
        let forgotten = self.known_users.iter().find(|id| !disk.users.contains_key(id)).copied();
        if let Some(job) = lost {
            self.find(Oracle::PromisesKept, format!("job {job} was acknowledged and is gone"));
        }
        if let Some(draft) = lost_draft {
            let words = format!("draft {draft} was acknowledged and is gone");
            self.find(Oracle::PromisesKept, words);
        }
        if let Some(user) = forgotten {
            self.find(Oracle::PromisesKept, format!("user {user} was registered and is gone"));
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
