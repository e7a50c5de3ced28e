//! What pages and the API read: read-only connections, one short transaction each, every row with
//! its owner in the query. Lists of jobs are in `read_jobs`, one job in `read_details`, its tasks, logs and
//! outputs in `read_tasks`, files and drafts in `read_files`, people in `read_people`, jobs that take bids in
//! `read_market`, bids in `read_bids`, what machines have earned in `read_earnings`.

use std::path::Path;

use campusgrid_core::effect::NoticeKind;
use campusgrid_core::ledger::AccountId;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{AttemptId, JobId, UserId};
use campusgrid_protocol::rest;
use campusgrid_protocol::task::{BlobRef, Log, Stream, TaskSpec};
use campusgrid_protocol::terms::Terms;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{StoreError, open_reader, statements};

statements! {
    CREDITS = "SELECT balance, earned, spent FROM account WHERE id = ?1";
    HELD = "SELECT coalesce(sum(quote * open_runs - paid), 0) FROM job INDEXED BY job_open
        WHERE owner = ?1 AND state IN ('queued', 'running')";
    TRANSFERS = "SELECT id, key, at, amount FROM (
            SELECT * FROM (SELECT id, key, at, -amount AS amount FROM transfer
                WHERE debit = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)
            UNION ALL
            SELECT * FROM (SELECT id, key, at, amount FROM transfer
                WHERE credit = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)
        ) ORDER BY id DESC LIMIT ?3";
    LEADERS = "SELECT user.name, account.earned,
            (SELECT count(*) FROM worker WHERE owner = user.id AND removed_at IS NULL)
        FROM account INDEXED BY account_by_earned JOIN user ON user.id = account.id - 1000
        ORDER BY account.earned DESC LIMIT ?1";
    JOB_EVENTS = "SELECT event.id, event.at, event.job, event.kind, event.message
        FROM event JOIN job ON job.id = event.job
        WHERE event.job = ?1 AND event.id > ?2 AND (job.owner = ?3 OR ?4)
        ORDER BY event.id LIMIT ?5";
    COUNTS = "SELECT jobs, tasks_ended FROM total WHERE id = 1";
}

/// Who looks: sees own rows only, an operator all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    pub user: UserId,
    pub operator: bool,
}

/// One read-only connection.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    /// How long files and logs of a job are kept after its end, if that is to be told. Milliseconds.
    pub(super) keep_ms: Option<u64>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of all users, if the viewer is an operator.
    pub everyone: bool,
    /// Those with a lower number.
    pub before: Option<u64>,
    pub limit: u32,
    /// All if empty, drafts included.
    pub states: Vec<rest::JobState>,
    pub kind: Option<rest::WorkKind>,
    /// A part of the name, in whatever case.
    pub name: Option<String>,
}

/// Which tasks of a job to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskFilter {
    /// The lowest index.
    pub from: u32,
    pub limit: u32,
    /// Without it, all that have begun; with it, also those that never did, which have no attempts.
    pub state: Option<rest::TaskState>,
}

/// A job as pages need it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// `waiting` is not filled in here; the snapshot knows it.
    pub detail: rest::JobDetail,
    pub owner: UserId,
    pub spec: TaskSpec,
    pub terms: Terms,
    /// Its files and logs are gone.
    pub emptied: bool,
}

/// What a job runs, and on what terms: what it takes to run some of it again.
#[derive(Debug, Clone)]
pub struct StoredSpec {
    pub name: String,
    pub spec: TaskSpec,
    pub terms: Terms,
    pub priority: i8,
    /// Its files are gone.
    pub emptied: bool,
}

/// A log of a job.
#[derive(Debug, Clone, Copy)]
pub struct WhichLog {
    /// Of the task.
    pub index: u32,
    /// The newest if there is none.
    pub attempt: Option<u32>,
    pub stream: Stream,
}

/// Where the log of a task is to be had.
#[derive(Debug, Clone)]
pub enum StoredLog {
    /// This attempt runs; None if none has begun.
    Live(Option<AttemptId>),
    /// An attempt that is over, None if the task is without one.
    Kept {
        attempt: Option<AttemptId>,
        /// As its worker reported it; empty if it never did.
        log: Log,
        /// Whether no other attempt follows.
        task_over: bool,
    },
    /// The job's logs are kept no longer.
    Gone,
}

/// A file that a task left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOutput {
    /// Of the task, as its program saw it.
    pub index: u32,
    pub path: String,
    pub blob: BlobRef,
}

/// A job that waits for files and to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDraft {
    pub job: JobId,
    pub owner: UserId,
    pub name: String,
    /// The request as it came, JSON.
    pub submit: String,
    pub revision: u64,
    pub files: u32,
    pub bytes: u64,
    pub made_at: Timestamp,
    pub touched_at: Timestamp,
}

/// Something that a user is to be told, in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNotice {
    pub id: u64,
    pub job: JobId,
    /// Of the job.
    pub name: String,
    pub owner: UserId,
    pub kind: NoticeKind,
    /// When it happened.
    pub at: Timestamp,
    /// Tries that have failed so far.
    pub tries: u32,
    pub channel: Channel,
    /// Of the job, as they are now.
    pub tasks: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// To the address of their account, if it has one.
    Mail { address: Option<String> },
    /// Signed with the secret, if they have made one.
    Webhook { url: String, secret: Option<String> },
}

/// A row of the event table; `job` is None for what is not about a job.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub job: Option<JobId>,
    /// `job.drafted`, `job.files`, `job.submitted`, `task.leased`, `job.locked`, `attempt.started`,
    /// `task.requeued`, `task.pausing`, `task.checking`, `task.saved`, `bid.placed`, `bid.withdrawn`,
    /// `bid.failed`, `job.awarded`, `job.reopened`, `worker.rules`, `worker.ask`, `user.verified`,
    /// `task.ended`, `tasks.cancelled`, `job.hold`, `job.priority`,
    /// `job.cancelling`, `job.ended`, `job.emptied`, `draft.discarded`, `notice.given_up`,
    /// `worker.approved`, `worker.removed`, `worker.set_aside`, `worker.released`, `user.registered`,
    /// `user.role`, `user.password`, `user.webhook_secret`, `voucher.made`, `voucher.over`. Of a job with
    /// many tasks only the newest of each kind that begins with `task.` or `attempt.` is there.
    pub kind: String,
    /// In words.
    pub message: String,
}

impl Reader {
    /// Opens a connection to a database that a `Store` has set up.
    ///
    /// # Errors
    ///
    /// `Open`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_reader(path)?, keep_ms: None })
    }

    /// Tells of ended jobs until when their files and logs are kept.
    #[must_use]
    pub fn keeping(self, keep_ms: u64) -> Self {
        Self { keep_ms: Some(keep_ms), ..self }
    }

    /// Runs `read` in one read transaction, so that all it sees is of one moment.
    ///
    /// # Errors
    ///
    /// What `read` yields, and `Read`.
    pub fn in_transaction<T>(
        &mut self,
        read: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let control = |sql| {
            self.connection
                .execute_batch(sql)
                .map_err(|source| StoreError::Read { what: "a consistent state", source })
        };
        control("BEGIN")?;
        let result = read(self);
        control("COMMIT")?;
        result
    }

    /// The user's account, with what is held for open jobs; `rate_permille` is passed through.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn credits(&self, user: UserId, rate_permille: u32) -> Result<rest::Credits, StoreError> {
        let account = params![AccountId::User(user).code()];
        let sums = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (balance_micros, sharing_credit_micros, using_credit_micros) =
            self.first("an account", CREDITS, account, sums)?.unwrap_or((0, 0, 0));
        let held = self.first("holds", HELD, params![user.0], |row| row.get(0))?;
        Ok(rest::Credits {
            balance_micros,
            held_micros: held.unwrap_or(0),
            sharing_credit_micros,
            using_credit_micros,
            rate_permille,
        })
    }

    /// Rows of the ledger that touch the user's account, newest first, those with an id below
    /// `before`.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn transfers(
        &self,
        user: UserId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<rest::Transfer>, StoreError> {
        let values = params![AccountId::User(user).code(), below(before), limit];
        self.list("transfers", TRANSFERS, values, |row| {
            Ok(rest::Transfer {
                transfer: row.get(0)?,
                key: row.get(1)?,
                at_ms: row.get(2)?,
                amount_micros: row.get(3)?,
            })
        })
    }

    /// Who earned most by sharing.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn leaderboard(&self, limit: u32) -> Result<Vec<rest::Leader>, StoreError> {
        let mut rank = 0;
        self.list("the leaderboard", LEADERS, params![limit], |row| {
            rank += 1;
            Ok(rest::Leader {
                rank,
                user: row.get(0)?,
                sharing_credit_micros: row.get(1)?,
                workers: row.get(2)?,
            })
        })
    }

    /// Events of one job after event number `after`, oldest first.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn job_events(
        &self,
        viewer: Viewer,
        job: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let values = params![job.0, after, viewer.user.0, viewer.operator, limit];
        self.list("events", JOB_EVENTS, values, |row| {
            Ok(Event {
                id: row.get(0)?,
                at: Timestamp(row.get(1)?),
                job: row.get::<_, Option<u64>>(2)?.map(JobId),
                kind: row.get(3)?,
                message: row.get(4)?,
            })
        })
    }

    /// All jobs ever submitted, and all tasks that have ended.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn counts(&self) -> Result<(u64, u64), StoreError> {
        let counts =
            self.first("counts", COUNTS, params![], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(counts.unwrap_or((0, 0)))
    }

    /// The first row of a query, if there is one.
    pub(super) fn first<T>(
        &self,
        what: &'static str,
        sql: &str,
        values: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let query = || self.connection.prepare_cached(sql)?.query_row(values, map).optional();
        query().map_err(|source| StoreError::Read { what, source })
    }

    /// All rows of a query.
    pub(super) fn list<T>(
        &self,
        what: &'static str,
        sql: &str,
        values: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let query = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare_cached(sql)?.query_map(values, map)?.collect()
        };
        query().map_err(|source| StoreError::Read { what, source })
    }
}

/// An id from outside may be any number; SQLite's are signed.
pub(super) fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// A text that is not what it should be.
pub(super) fn unread(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A cursor as SQLite compares it: from the newest if there is none.
pub(super) fn below(before: Option<u64>) -> i64 {
    before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX))
}
