//! Reads lists of jobs and drafts, without what they run.

use campusgrid_core::money::Micros;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::rest;
use rusqlite::{Row, params};

use super::read::{JobFilter, Reader, Viewer, below, unread};
use super::{StoreError, statements};

/// Jobs with what their rows in a list need. None of it lies behind a long text.
macro_rules! jobs {
    () => {
        "SELECT job.id, job.name, user.name, job.kind, job.state, job.tasks, job.runs, job.quote,
            job.submitted_at, job.priority, job.on_hold, job.leased, job.succeeded, job.failed,
            job.cancelled, job.open_runs, job.charged, job.ended_at, job.emptied_at IS NOT NULL,
            job.owner, job.note, job.paid, job.charged_before,
            market.stage = 'open', job.rate_permille
        FROM job JOIN user ON user.id = job.owner LEFT JOIN market ON market.job = job.id "
    };
}
pub(super) use jobs;

/// What a [`JobFilter`] asks for beyond a page and an owner.
macro_rules! filtered {
    () => {
        "AND (?4 >> CASE job.state WHEN 'draft' THEN 0 WHEN 'queued' THEN 1 WHEN 'running' THEN 2
                WHEN 'succeeded' THEN 3 WHEN 'failed' THEN 4 ELSE 5 END) & 1
            AND (?5 IS NULL OR job.kind = ?5)
            AND (?6 IS NULL OR instr(lower(job.name), lower(?6)) > 0)
        ORDER BY job.id DESC LIMIT ?3"
    };
}

statements! {
    JOBS = concat!(jobs!(), "WHERE job.owner = ?1 AND job.id < ?2 ", filtered!());
    JOBS_OF_ALL = concat!(jobs!(), "WHERE job.id < ?2 AND ?1 > 0 ", filtered!());
    SUBMIT_KEY = "SELECT job, held FROM submit_key WHERE owner = ?1 AND key = ?2";
}

impl Reader {
    /// Jobs and drafts of one user (or of all, for an operator who asks for `everyone`), newest first.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn jobs(&self, viewer: Viewer, filter: &JobFilter) -> Result<Vec<rest::Job>, StoreError> {
        let sql = if filter.everyone && viewer.operator { JOBS_OF_ALL } else { JOBS };
        let states = filter.states.iter().fold(0_u32, |all, state| all | 1 << bit(*state));
        let states = if filter.states.is_empty() { u32::MAX } else { states };
        let kind = filter.kind.map(kind_name);
        let values =
            params![viewer.user.0, below(filter.before), filter.limit, states, kind, filter.name];
        self.list("jobs", sql, values, |row| self.job_row(row))
    }

    /// What a key of a user's has led to, and what was held for it.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn submit_key(
        &self,
        user: UserId,
        key: &str,
    ) -> Result<Option<(JobId, Micros)>, StoreError> {
        let map = |row: &Row<'_>| Ok((JobId(row.get(0)?), Micros(row.get(1)?)));
        self.first("a key", SUBMIT_KEY, params![user.0, key], map)
    }

    /// The columns of `jobs!`.
    pub(super) fn job_row(&self, row: &Row<'_>) -> rusqlite::Result<rest::Job> {
        let (tasks, runs, quote): (u32, i64, i64) = (row.get(5)?, row.get(6)?, row.get(7)?);
        let leased: u32 = row.get(11)?;
        let (succeeded, failed, cancelled): (u32, u32, u32) =
            (row.get(12)?, row.get(13)?, row.get(14)?);
        let (open_runs, charged_micros): (i64, i64) = (row.get(15)?, row.get(16)?);
        let (ended_at_ms, emptied): (Option<u64>, bool) = (row.get(17)?, row.get(18)?);
        let kept_until_ms = ended_at_ms.zip(self.keep_ms).filter(|_| !emptied);
        let (paid, charged_before): (i64, i64) = (row.get(21)?, row.get(22)?);
        // What was charged in rounds of bids that are over was held for them.
        let held_micros = quote * runs * i64::from(tasks) + charged_before;
        Ok(rest::Job {
            job: row.get(0)?,
            name: row.get(1)?,
            owner: row.get(2)?,
            kind: parse(row, 3, parse_kind)?,
            state: parse(row, 4, parse_state)?,
            tasks,
            queued: tasks - succeeded - failed - cancelled - leased,
            running: leased,
            succeeded,
            failed,
            cancelled,
            submitted_at_ms: row.get(8)?,
            ended_at_ms,
            priority: row.get(9)?,
            on_hold: row.get(10)?,
            kept_until_ms: kept_until_ms.map(|(ended, keep)| ended.saturating_add(keep)),
            held_micros,
            charged_micros,
            refunded_micros: held_micros - (quote * open_runs - paid) - charged_micros,
            takes_bids: row.get::<_, Option<bool>>(23)?.unwrap_or(false),
        })
    }
}

/// A word that no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a word for it")]
struct NoWord(String);

fn parse<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| unread(column, NoWord(text)))
}

fn bit(state: rest::JobState) -> u32 {
    match state {
        rest::JobState::Draft => 0,
        rest::JobState::Queued => 1,
        rest::JobState::Running => 2,
        rest::JobState::Succeeded => 3,
        rest::JobState::Failed => 4,
        rest::JobState::Cancelled => 5,
    }
}

fn parse_state(text: &str) -> Option<rest::JobState> {
    match text {
        "draft" => Some(rest::JobState::Draft),
        "queued" => Some(rest::JobState::Queued),
        "running" => Some(rest::JobState::Running),
        "succeeded" => Some(rest::JobState::Succeeded),
        "failed" => Some(rest::JobState::Failed),
        "cancelled" => Some(rest::JobState::Cancelled),
        _ => None,
    }
}

fn kind_name(kind: rest::WorkKind) -> &'static str {
    match kind {
        rest::WorkKind::Python => "python",
        rest::WorkKind::C => "c",
        rest::WorkKind::Shell => "shell",
    }
}

fn parse_kind(text: &str) -> Option<rest::WorkKind> {
    match text {
        "python" => Some(rest::WorkKind::Python),
        "c" => Some(rest::WorkKind::C),
        "shell" => Some(rest::WorkKind::Shell),
        _ => None,
    }
}
