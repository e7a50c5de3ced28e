//! Writes what changed, and the events that tell of it, in one transaction.

use campusgrid_core::durable::SubmitKey;
use campusgrid_core::effect::{Change, NewJob, TaskEnd, TaskResult, Verdict};
use campusgrid_core::ledger::Transfer;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::Role;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Content, Ended, Log, Outcome, Stream};
use rusqlite::{Connection, Params, params};

use super::event::Event;
use super::{Store, StoreError, statements};

statements! {
    ACCOUNT_SET = "INSERT INTO account (id, balance, earned, spent) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET
            balance = excluded.balance, earned = excluded.earned, spent = excluded.spent";
    TRANSFER_NEW = "INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    JOB_NEW = "INSERT INTO job (id, owner, name, spec, tasks, quote, submitted_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    JOB_LOCK = "UPDATE job SET lock = ?2 WHERE id = ?1";
    JOB_TOUCHED = "UPDATE job SET untouched_from = ?2 WHERE id = ?1";
    JOB_COUNT = "UPDATE job SET succeeded = succeeded + ?2, failed = failed + ?3,
            cancelled = cancelled + ?4, charged = charged + ?5 WHERE id = ?1";
    TOTAL_ADD = "UPDATE total SET tasks_ended = tasks_ended + ?1 WHERE id = 1";
    JOB_CANCEL = "UPDATE job SET cancelling = 1 WHERE id = ?1";
    JOB_END = "UPDATE job SET ended_at = ?2 WHERE id = ?1";
    SUBMIT_KEY_NEW = "INSERT INTO submit_key (owner, key, job, held, until, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    SUBMIT_KEY_FORGET = "DELETE FROM submit_key WHERE owner = ?1 AND key = ?2";
    TASK_LEASE = "INSERT INTO task (job, idx, attempts, tries_left, state)
        VALUES (?1, ?2, ?3, ?4, 'leased')
        ON CONFLICT (job, idx) DO UPDATE SET
            attempts = excluded.attempts, tries_left = excluded.tries_left, state = 'leased'";
    TASK_REQUEUE = "UPDATE task SET state = 'queued', tries_left = ?3, losses = ?4
        WHERE job = ?1 AND idx = ?2";
    TASK_END = "UPDATE task SET state = ?3, reason = ?4, left_behind = ?5, charged = ?6,
            ended_at = ?7 WHERE job = ?1 AND idx = ?2";
    ATTEMPT_NEW = "INSERT INTO attempt (job, idx, number, worker, leased_at, gpus)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    ATTEMPT_START = "UPDATE attempt SET started_at = ?4 WHERE job = ?1 AND idx = ?2 AND number = ?3";
    ATTEMPT_CANCEL = "UPDATE attempt SET cancelling = 1 WHERE job = ?1 AND idx = ?2 AND number = ?3";
    ATTEMPT_END = "UPDATE attempt SET ended_at = ?4, outcome = ?5, run_ms = ?6, cpu_ms = ?7,
            ram_peak_mib = ?8, charged = ?9 WHERE job = ?1 AND idx = ?2 AND number = ?3";
    LOG_NEW = "INSERT INTO log (job, idx, stream, content, hash, size, cut_bytes)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    OUTPUT_NEW = "INSERT INTO output (job, idx, path, hash, size) VALUES (?1, ?2, ?3, ?4, ?5)";
    WORKER_NEW = "INSERT INTO worker (id, key_hash, name, owner, approved_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    WORKER_RENAME = "UPDATE worker SET name = ?2 WHERE id = ?1";
    WORKER_SET_ASIDE = "UPDATE worker SET set_aside = ?2 WHERE id = ?1";
    WORKER_REMOVE = "UPDATE worker SET removed_at = ?2 WHERE id = ?1";
    EVENT_NEW = "INSERT INTO event (at, job, kind, message) VALUES (?1, ?2, ?3, ?4)";
}

impl Store {
    /// Writes a batch of changes and yields the number of the newest event, if there was one.
    ///
    /// # Errors
    ///
    /// `Commit`; nothing of the batch is then on disk, and the caller must not go on.
    pub fn commit(&mut self, changes: &[Change]) -> Result<Option<u64>, StoreError> {
        self.write(changes).map_err(|source| StoreError::Commit { changes: changes.len(), source })
    }

    fn write(&mut self, changes: &[Change]) -> rusqlite::Result<Option<u64>> {
        let transaction = self.connection.transaction()?;
        let writer = Writer { connection: &transaction };
        let mut newest = None;
        for change in changes {
            writer.change(change)?;
            if let Some(event) = Event::of(change) {
                tracing::debug!(job.id = event.job, event = event.kind, "{}", event.message);
                writer.run(EVENT_NEW, params![event.at.0, event.job, event.kind, event.message])?;
                newest = u64::try_from(transaction.last_insert_rowid()).ok();
            }
        }
        transaction.commit()?;
        Ok(newest)
    }
}

pub(super) struct Writer<'a> {
    connection: &'a Connection,
}

impl Writer<'_> {
    pub(super) fn run(&self, sql: &str, values: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn change(&self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::UserRegistered { .. }
            | Change::PasswordChanged { .. }
            | Change::PasswordRehashed { .. }
            | Change::RoleSet { .. }
            | Change::LoginOpened { .. }
            | Change::LoginClosed { .. }
            | Change::LoginRevoked { .. }
            | Change::LoginsRevoked { .. }
            | Change::LoginsOver { .. }
            | Change::ApiTokenOpened { .. }
            | Change::ApiTokenRevoked { .. }
            | Change::Used { .. }
            | Change::VoucherMade(_)
            | Change::VoucherUsed { .. }
            | Change::VoucherOver { .. } => self.person_change(change),
            Change::Account { id, account } => {
                let (balance, earned, spent) = (account.balance, account.earned, account.spent);
                self.run(ACCOUNT_SET, params![id.code(), balance.0, earned.0, spent.0])
            }
            Change::Transferred(transfer) => self.transfer(transfer),
            Change::JobSubmitted(job) => self.job(job),
            Change::SubmitKeyKept { user, key, kept } => {
                let SubmitKey { job, held, until, body } = kept;
                self.run(SUBMIT_KEY_NEW, params![user.0, key, job.0, held.0, until.0, body])
            }
            Change::SubmitKeyForgotten { user, key } => {
                self.run(SUBMIT_KEY_FORGET, params![user.0, key])
            }
            Change::TaskLeased { .. }
            | Change::JobLocked { .. }
            | Change::AttemptStarted { .. }
            | Change::TaskCancelling { .. }
            | Change::TaskRequeued { .. }
            | Change::TaskEnded(_)
            | Change::UntouchedCancelled { .. }
            | Change::JobCancelling { .. }
            | Change::JobEnded { .. } => self.task_change(change),
            Change::WorkerApproved { worker, at } => {
                let owner = worker.owner.0;
                let values = params![worker.id.0, worker.key_hash, worker.name, owner, at.0];
                self.run(WORKER_NEW, values)
            }
            Change::WorkerRenamed { worker, name } => {
                self.run(WORKER_RENAME, params![worker.0, name])
            }
            Change::WorkerRemoved { worker, at } => {
                self.run(WORKER_REMOVE, params![worker.0, at.0])
            }
            Change::WorkerSetAside { worker, reason, at: _ } => {
                self.run(WORKER_SET_ASIDE, params![worker.0, reason])
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "change() has sorted out the others")]
    fn task_change(&self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::TaskLeased { attempt, worker, gpus, tries_left, at } => {
                let AttemptId { task, number } = attempt;
                if *number == 1 {
                    self.run(JOB_TOUCHED, params![task.job.0, task.index + 1])?;
                }
                self.run(TASK_LEASE, params![task.job.0, task.index, number, tries_left])?;
                let (job, gpus) = (task.job.0, gpus.to_string());
                self.run(ATTEMPT_NEW, params![job, task.index, number, worker.0, at.0, gpus])
            }
            Change::JobLocked { job, lock, at: _ } => self.run(JOB_LOCK, params![job.0, lock]),
            Change::AttemptStarted { attempt: AttemptId { task, number }, at } => {
                self.run(ATTEMPT_START, params![task.job.0, task.index, number, at.0])
            }
            Change::TaskCancelling { attempt: AttemptId { task, number } } => {
                self.run(ATTEMPT_CANCEL, params![task.job.0, task.index, number])
            }
            Change::TaskRequeued { attempt, reason, tries_left, losses, at } => {
                let AttemptId { task, number } = attempt;
                let requeued = params![task.job.0, task.index, tries_left, losses.to_string()];
                self.run(TASK_REQUEUE, requeued)?;
                let values = params![task.job.0, task.index, number, at.0, reason, 0, 0, 0, 0];
                self.run(ATTEMPT_END, values)
            }
            Change::TaskEnded(end) => self.task_end(end),
            Change::UntouchedCancelled { job, from, to, at: _ } => {
                self.run(JOB_TOUCHED, params![job.0, to])?;
                self.run(TOTAL_ADD, params![to - from])?;
                self.run(JOB_COUNT, params![job.0, 0, 0, to - from, 0])
            }
            Change::JobCancelling { job, at: _ } => self.run(JOB_CANCEL, params![job.0]),
            Change::JobEnded { job, ended: _, at } => self.run(JOB_END, params![job.0, at.0]),
            other => unreachable!("not about a task: {other:?}"),
        }
    }

    fn transfer(&self, transfer: &Transfer) -> rusqlite::Result<()> {
        let Transfer { id, key, from, to, amount, at, hash } = transfer;
        let job = key.job().map(|job| job.0);
        let values =
            params![id, key.to_string(), from.code(), to.code(), amount.0, at.0, job, hash];
        self.run(TRANSFER_NEW, values)
    }

    fn job(&self, job: &NewJob) -> rusqlite::Result<()> {
        let NewJob { id, owner, name, spec, quote, at } = job;
        let text = serde_json::to_string(&**spec).expect("a spec has no maps and no odd numbers");
        self.run(JOB_NEW, params![id.0, owner.0, name, text, spec.tasks, quote.0, at.0])
    }

    fn task_end(&self, end: &TaskEnd) -> rusqlite::Result<()> {
        let TaskEnd { task, attempt, verdict, charged, at } = end;
        let (state, reason, [succeeded, failed, cancelled]) = match verdict {
            Verdict::Succeeded => ("succeeded", "", [1, 0, 0]),
            Verdict::Failed { reason } => ("failed", reason.as_str(), [0, 1, 0]),
            Verdict::Cancelled => ("cancelled", "", [0, 0, 1]),
        };
        let left_behind = attempt.as_ref().map_or("", |result| &result.ended.left_behind);
        let values = params![task.job.0, task.index, state, reason, left_behind, charged.0, at.0];
        self.run(TASK_END, values)?;
        self.run(JOB_COUNT, params![task.job.0, succeeded, failed, cancelled, charged.0])?;
        self.run(TOTAL_ADD, params![1])?;
        match attempt {
            Some(result) => self.result(result, charged.0, *at),
            None => Ok(()),
        }
    }

    fn result(&self, result: &TaskResult, charged: i64, at: Timestamp) -> rusqlite::Result<()> {
        let TaskResult { attempt: AttemptId { task, number }, ended } = result;
        let Ended { outcome, usage, stdout, stderr, outputs, .. } = &**ended;
        let words = outcome_words(outcome);
        let (job, index) = (task.job.0, task.index);
        let (run_ms, cpu_ms) = (clamp(usage.run_ms), clamp(usage.cpu_ms));
        let peak = usage.ram_peak_mib;
        let values = params![job, index, number, at.0, words, run_ms, cpu_ms, peak, charged];
        self.run(ATTEMPT_END, values)?;
        self.log(job, index, Stream::Stdout, stdout)?;
        self.log(job, index, Stream::Stderr, stderr)?;
        for output in outputs {
            let (hash, size) = (output.blob.hash.0, clamp(output.blob.size_bytes));
            self.run(OUTPUT_NEW, params![job, index, output.path, hash, size])?;
        }
        Ok(())
    }

    fn log(&self, job: u64, index: u32, stream: Stream, log: &Log) -> rusqlite::Result<()> {
        let (content, hash, size) = match &log.content {
            Content::Inline(bytes) => (Some(bytes), None, bytes.len() as u64),
            Content::Blob(blob) => (None, Some(blob.hash.0), blob.size_bytes),
        };
        let (size, cut) = (clamp(size), clamp(log.cut_bytes));
        self.run(LOG_NEW, params![job, index, stream_name(stream), content, hash, size, cut])
    }
}

/// A measurement that a worker reports may be any number; SQLite's are signed.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Operator => "operator",
    }
}

pub(super) fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Failed(failure) => failure.to_string(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Returned(fault) => fault.to_string(),
    }
}
