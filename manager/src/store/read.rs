//! What pages and the API read: read-only connections, one short transaction each, every row with
//! its owner in the query. Jobs, tasks, logs and outputs are in `read_jobs`, people in `read_people`.

use std::path::Path;

use campusgrid_core::ledger::AccountId;
use campusgrid_core::snapshot::Shape;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{AttemptId, JobId, UserId};
use campusgrid_protocol::rest;
use campusgrid_protocol::task::Log;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{StoreError, open_reader, statements};

statements! {
    CREDITS = "SELECT balance, earned, spent FROM account WHERE id = ?1";
    HELD = "SELECT coalesce(sum(quote * (tasks - succeeded - failed - cancelled)), 0)
        FROM job INDEXED BY job_by_owner WHERE owner = ?1 AND ended_at IS NULL";
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
    COUNTS = "SELECT (SELECT coalesce(max(id), 0) FROM job), tasks_ended FROM total WHERE id = 1";
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
}

/// A job as pages need it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// `waiting` is not filled in here; it is in the snapshot under `shape`.
    pub detail: rest::JobDetail,
    pub shape: Shape,
}

/// Where the log of a task is to be had.
#[derive(Debug, Clone)]
pub enum StoredLog {
    /// The task has not ended; its newest attempt, if there was one.
    Live(Option<AttemptId>),
    /// The log as its worker reported it.
    Kept(Log),
}

/// A row of the event table; `job` is None for what is not about a job.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub job: Option<JobId>,
    /// `job.submitted`, `task.leased`, `job.locked`, `attempt.started`, `task.requeued`,
    /// `task.ended`, `tasks.cancelled`, `job.ended`, `worker.approved`, `worker.removed`,
    /// `user.registered`, `user.role`, `user.password`, `worker.set_aside`, `worker.released`,
    /// `job.cancelling`, `voucher.made`, `voucher.over`.
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
        Ok(Self { connection: open_reader(path)? })
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

/// A cursor as SQLite compares it: from the newest if there is none.
pub(super) fn below(before: Option<u64>) -> i64 {
    before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX))
}
