//! Reads what machines have earned, and what work has cost lately.

use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::array::Indices;
use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use rusqlite::{Row, params};

use super::batch::HOUR_MS;
use super::read::{Reader, Viewer, below, number, unread};
use super::{StoreError, statements};

/// What a machine has earned since two hours, and ever.
macro_rules! earnings {
    () => {
        "SELECT worker.id, worker.name, worker.removed_at IS NOT NULL,
            (SELECT sum(micros) FROM earning WHERE earning.worker = worker.id AND hour > ?2),
            (SELECT sum(micros) FROM earning WHERE earning.worker = worker.id AND hour > ?3),
            (SELECT sum(micros) FROM earning WHERE earning.worker = worker.id)
        FROM worker "
    };
}

statements! {
    EARNINGS = concat!(earnings!(), "WHERE worker.owner = ?1 AND (worker.removed_at IS NULL
        OR EXISTS (SELECT 1 FROM earning WHERE earning.worker = worker.id)) ORDER BY worker.id");
    EARNINGS_OF = concat!(earnings!(), "WHERE worker.id = ?1 AND (worker.owner = ?4 OR ?5)");
    BY_HOUR = "SELECT hour, micros FROM earning WHERE worker = ?1 AND hour >= ?2 AND hour < ?3
        ORDER BY hour";
    PAID = "SELECT attempt.pay, attempt.job, job.name, user.name, attempt.idx, attempt.number,
            attempt.earned, attempt.charged, attempt.paid_ms, transfer.at,
            json_extract(job_spec.terms, '$.indices')
        FROM attempt INDEXED BY attempt_by_worker JOIN job ON job.id = attempt.job
        JOIN user ON user.id = job.owner JOIN job_spec ON job_spec.job = attempt.job
        JOIN transfer ON transfer.id = attempt.pay
        WHERE attempt.worker = ?1 AND attempt.pay < ?2 ORDER BY attempt.pay DESC LIMIT ?3";
    PRICES = "SELECT hour, cpu_charged, core_ms, gpu_charged, gpu_ms FROM price_hour
        WHERE hour >= ?1 AND hour < ?2 ORDER BY hour";
}

/// What a machine has earned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEarnings {
    pub worker: WorkerId,
    pub name: String,
    /// Whether it belongs to the grid no longer.
    pub removed: bool,
    /// In the last 24 hours, to the hour.
    pub today: Micros,
    /// In the last seven days, to the hour.
    pub week: Micros,
    pub ever: Micros,
}

/// What a machine was paid for one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPaid {
    /// Of the transfer.
    pub id: u64,
    pub job: JobId,
    pub job_name: String,
    pub submitter: String,
    /// Of the task, as its program saw it.
    pub index: u32,
    pub attempt: u32,
    pub earned: Micros,
    /// By the submitter: nothing, if it was a check.
    pub charged: Micros,
    /// The running time that it is for.
    pub run_ms: u64,
    pub at: Timestamp,
}

/// What was charged in an hour, and for how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceHour {
    /// Since the Unix epoch.
    pub hour: u64,
    /// For attempts without GPUs.
    pub cpu_charged: Micros,
    /// Their running time, once for each core.
    pub core_ms: u64,
    /// For attempts with GPUs.
    pub gpu_charged: Micros,
    /// Their running time, once for each GPU.
    pub gpu_ms: u64,
}

impl Reader {
    /// What each of a user's machines has earned; those that are gone as well, if they did.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn earnings(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<StoredEarnings>, StoreError> {
        let (day, week) = since(now);
        self.list("earnings", EARNINGS, params![user.0, day, week], earnings)
    }

    /// What one machine has earned; None if the viewer has no such machine.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn worker_earnings(
        &self,
        viewer: Viewer,
        worker: WorkerId,
        now: Timestamp,
    ) -> Result<Option<StoredEarnings>, StoreError> {
        let (day, week) = since(now);
        let values = params![number(worker.0), day, week, viewer.user.0, viewer.operator];
        self.first("earnings", EARNINGS_OF, values, earnings)
    }

    /// What a machine has earned in each of some hours since the Unix epoch, without those in which it was
    /// nothing; None if the viewer has no such machine.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn earnings_by_hour(
        &self,
        viewer: Viewer,
        worker: WorkerId,
        from_hour: u64,
        hours: u32,
    ) -> Result<Option<Vec<(u64, Micros)>>, StoreError> {
        if self.worker_earnings(viewer, worker, Timestamp(0))?.is_none() {
            return Ok(None);
        }
        let until = from_hour.saturating_add(hours.into());
        let values = params![worker.0, number(from_hour), number(until)];
        let map = |row: &Row<'_>| Ok((row.get(0)?, Micros(row.get(1)?)));
        self.list("earnings", BY_HOUR, values, map).map(Some)
    }

    /// What a machine was paid, newest first, those with an id below `before`; None if the viewer has no
    /// such machine.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn attempts_paid(
        &self,
        viewer: Viewer,
        worker: WorkerId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Option<Vec<StoredPaid>>, StoreError> {
        if self.worker_earnings(viewer, worker, Timestamp(0))?.is_none() {
            return Ok(None);
        }
        self.list("payments", PAID, params![worker.0, below(before), limit], paid).map(Some)
    }

    /// What was charged in each of some hours, oldest first, without those in which nothing was.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn prices(&self, from_hour: u64, hours: u32) -> Result<Vec<PriceHour>, StoreError> {
        let until = from_hour.saturating_add(hours.into());
        self.list("prices", PRICES, params![number(from_hour), number(until)], |row| {
            Ok(PriceHour {
                hour: row.get(0)?,
                cpu_charged: Micros(row.get(1)?),
                core_ms: row.get(2)?,
                gpu_charged: Micros(row.get(3)?),
                gpu_ms: row.get(4)?,
            })
        })
    }
}

/// The hours after which the last day and the last week are.
fn since(now: Timestamp) -> (i64, i64) {
    let hour = number(now.0 / HOUR_MS);
    (hour - 24, hour - 7 * 24)
}

fn earnings(row: &Row<'_>) -> rusqlite::Result<StoredEarnings> {
    let sum = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.unwrap_or(0));
    Ok(StoredEarnings {
        worker: WorkerId(row.get(0)?),
        name: row.get(1)?,
        removed: row.get(2)?,
        today: Micros(sum(3)?),
        week: Micros(sum(4)?),
        ever: Micros(sum(5)?),
    })
}

fn paid(row: &Row<'_>) -> rusqlite::Result<StoredPaid> {
    let (position, indices): (u32, String) = (row.get(4)?, row.get(10)?);
    let indices: Indices = indices.parse().map_err(|error| unread(10, error))?;
    Ok(StoredPaid {
        id: row.get(0)?,
        job: JobId(row.get(1)?),
        job_name: row.get(2)?,
        submitter: row.get(3)?,
        index: indices.index(position).unwrap_or(position),
        attempt: row.get(5)?,
        earned: Micros(row.get(6)?),
        charged: Micros(row.get(7)?),
        run_ms: row.get(8)?,
        at: Timestamp(row.get(9)?),
    })
}
