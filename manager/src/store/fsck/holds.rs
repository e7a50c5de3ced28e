//! What became of each job's hold: every transfer about it goes to its tasks, and what each of them says
//! is compared with that. In one pass over the ledger, which is read by job.

use rusqlite::{CachedStatement, Connection, Row, params};

use super::TOLD_MAX;
use crate::store::statements;

statements! {
    JOBS = "SELECT id, quote, runs, open_runs, charged, tasks, paid,
            coalesce((SELECT sum(audit) FROM task INDEXED BY task_open
                WHERE task.job = job.id AND ended_at IS NULL), 0),
            EXISTS (SELECT 1 FROM market WHERE market.job = job.id)
        FROM job ORDER BY id";
    TRANSFERS = "SELECT id, key, amount, credit = 2 FROM transfer WHERE job = ?1 ORDER BY id";
    TASKS = "SELECT idx, state, charged, runs_left, ended_at IS NULL, attempts, paid, audit
        FROM task WHERE job = ?1";
}

/// What a transfer about a job is for, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Of all tasks, or of several that never started, or of a whole round of bids.
    Many,
    /// Of the fee account, for checks of a task.
    Audit(u32),
    AuditRefund(u32),
    Pay(u32),
    Fee(u32),
    Refund(u32),
    /// None of what this program writes.
    Unknown,
}

impl Purpose {
    /// Reads keys such as `hold:7`, `hold:7:round1`, `hold:audit:7.0`, `pay:7.0:1`, `refund:7.0`,
    /// `refund:7.0:1`, `refund:7.2-3`, `refund:7:round0` and `refund:audit:7.0`.
    fn of(key: &str, job: u64) -> Self {
        let of_task = |rest: &str| {
            let task = rest.split_once(':').map_or(rest, |(task, _)| task);
            let (of, index) = task.split_once('.')?;
            index.parse().ok().filter(|_| of.parse() == Ok(job))
        };
        let is_round = |rest: &str| {
            let round = rest.split_once(":round");
            round.is_some_and(|(of, round)| of.parse() == Ok(job) && round.parse::<u32>().is_ok())
        };
        match key.split_once(':') {
            Some(("hold", of)) if of.parse() == Ok(job) || is_round(of) => Self::Many,
            Some(("refund", rest)) if is_round(rest) => Self::Many,
            Some((kind @ ("hold" | "refund"), rest)) if rest.starts_with("audit:") => {
                match (kind, of_task(&rest["audit:".len()..])) {
                    (_, None) => Self::Unknown,
                    ("hold", Some(index)) => Self::Audit(index),
                    (_, Some(index)) => Self::AuditRefund(index),
                }
            }
            Some(("refund", rest)) if rest.contains('-') => Self::Many,
            Some(("pay", rest)) => of_task(rest).map_or(Self::Unknown, Self::Pay),
            Some(("fee", rest)) => of_task(rest).map_or(Self::Unknown, Self::Fee),
            Some(("refund", rest)) => of_task(rest).map_or(Self::Unknown, Self::Refund),
            Some(_) | None => Self::Unknown,
        }
    }
}

/// What the ledger says of one task. Micro-credits.
#[derive(Debug, Clone, Copy, Default)]
struct Closed {
    all: i64,
    charged: i64,
    /// Held of the fee account for it, less what went back there.
    audited: i64,
    pays: u32,
    /// The last transfer about it; 0 if there is none.
    transfer: u64,
}

/// A job's row.
struct Job {
    id: u64,
    quote: i64,
    runs: i64,
    open_runs: i64,
    charged: i64,
    tasks: u32,
    /// Out of the hold of its open runs.
    paid: i64,
    /// Still held of the fee account.
    audits: i64,
    is_sold_by_bids: bool,
}

/// Findings, of each kind as many as are told.
struct Told<'a> {
    lines: &'a mut Vec<String>,
    of_kind: [usize; 5],
}

impl Told<'_> {
    fn say(&mut self, kind: usize, line: impl FnOnce() -> String) {
        self.of_kind[kind] += 1;
        if self.of_kind[kind] <= TOLD_MAX {
            self.lines.push(line());
        }
    }
}

/// Checks the holds of all jobs.
pub(super) fn check(connection: &Connection, broken: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut told = Told { lines: broken, of_kind: [0; 5] };
    let mut jobs = connection.prepare(JOBS)?;
    let mut rows = jobs.query([])?;
    let mut closed = Vec::new();
    while let Some(row) = rows.next()? {
        let job = Job {
            id: row.get(0)?,
            quote: row.get(1)?,
            runs: row.get(2)?,
            open_runs: row.get(3)?,
            charged: row.get(4)?,
            tasks: row.get(5)?,
            paid: row.get(6)?,
            audits: row.get(7)?,
            is_sold_by_bids: row.get(8)?,
        };
        closed.clear();
        check_job(connection, &job, &mut closed, &mut told)?;
        check_tasks(connection, &job, &mut closed, &mut told)?;
        for (index, closed) in closed.iter().enumerate().filter(|(_, closed)| closed.transfer > 0) {
            told.say(4, || {
                let (transfer, id) = (closed.transfer, job.id);
                format!("transfer {transfer} is about task {id}.{index}, which is not there")
            });
        }
    }
    Ok(())
}

/// Sorts the transfers of a job by its tasks, and compares their sums with its row.
fn check_job(
    connection: &Connection,
    job: &Job,
    closed: &mut Vec<Closed>,
    told: &mut Told<'_>,
) -> rusqlite::Result<()> {
    let (mut held, mut paid, mut audited) = (0, 0, 0);
    let mut transfers: CachedStatement<'_> = connection.prepare_cached(TRANSFERS)?;
    let mut rows = transfers.query(params![job.id])?;
    while let Some(row) = rows.next()? {
        let (transfer, key): (u64, &str) = (row.get(0)?, row.get_ref(1)?.as_str()?);
        let (amount, comes): (i64, bool) = (row.get(2)?, row.get(3)?);
        held += if comes { amount } else { -amount };
        let purpose = Purpose::of(key, job.id);
        let index = match purpose {
            Purpose::Many => continue,
            Purpose::Pay(index)
            | Purpose::Fee(index)
            | Purpose::Refund(index)
            | Purpose::Audit(index)
            | Purpose::AuditRefund(index)
                if index < job.tasks =>
            {
                index as usize
            }
            Purpose::Pay(_)
            | Purpose::Fee(_)
            | Purpose::Refund(_)
            | Purpose::Audit(_)
            | Purpose::AuditRefund(_)
            | Purpose::Unknown => {
                told.say(4, || {
                    format!("transfer {transfer} ({key}) is about nothing that is there")
                });
                continue;
            }
        };
        if closed.len() <= index {
            closed.resize(index + 1, Closed::default());
        }
        let task = &mut closed[index];
        task.transfer = transfer;
        match purpose {
            Purpose::Pay(_) | Purpose::Fee(_) => {
                task.all += amount;
                task.charged += amount;
                task.pays += u32::from(matches!(purpose, Purpose::Pay(_)));
                paid += amount;
            }
            Purpose::Refund(_) => task.all += amount,
            Purpose::Audit(_) | Purpose::AuditRefund(_) => {
                let amount = if comes { amount } else { -amount };
                task.audited += amount;
                audited += amount;
            }
            Purpose::Many | Purpose::Unknown => {}
        }
    }
    let id = job.id;
    let open = job.quote.saturating_mul(job.open_runs) - job.paid + job.audits;
    if held != open {
        told.say(0, || format!("job {id} has {held} in escrow, its open tasks hold {open}"));
    }
    // What checks have cost was held of the fee account.
    paid -= audited - job.audits;
    if paid != job.charged {
        let charged = job.charged;
        told.say(1, || format!("job {id} is charged {charged}, its payments sum to {paid}"));
    }
    Ok(())
}

/// Compares what the ledger says of each task with its row, and leaves in `closed` what is of none.
fn check_tasks(
    connection: &Connection,
    job: &Job,
    closed: &mut [Closed],
    told: &mut Told<'_>,
) -> rusqlite::Result<()> {
    let (quote, id) = (job.quote, job.id);
    let mut tasks = connection.prepare_cached(TASKS)?;
    let mut rows = tasks.query(params![id])?;
    while let Some(row) = rows.next()? {
        let (index, charged, left) = (row.get::<_, u32>(0)?, row.get::<_, i64>(2)?, left(row)?);
        let found = closed.get_mut(index as usize).map(std::mem::take).unwrap_or_default();
        let (attempts, paid, audit): (u32, i64, i64) = (row.get(5)?, row.get(6)?, row.get(7)?);
        if found.pays > attempts {
            let pays = found.pays;
            told.say(2, || {
                format!("task {id}.{index} is paid {pays} times, for {attempts} attempts")
            });
        }
        let checks = found.audited - audit;
        // What one that is sold by bids has had before may have been for another quote; it is the only
        // task of its job, whose sum is compared.
        let closed = found.all - checks == quote * (job.runs - left) + paid || job.is_sold_by_bids;
        if !closed || found.charged - checks != charged {
            let state: String = row.get(1)?;
            told.say(3, || {
                let (hold, Closed { all, charged: paid, .. }) = (quote * job.runs, found);
                format!(
                    "task {id}.{index} is {state} and charged {charged}; of its hold of {hold}, \
                     {all} are closed and {paid} were paid"
                )
            });
        }
    }
    Ok(())
}

/// Runs that the hold of a task still covers.
fn left(row: &Row<'_>) -> rusqlite::Result<i64> {
    Ok(if row.get(4)? { row.get(3)? } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::Purpose;

    #[test]
    fn keys_say_what_transfers_are_for() {
        for (key, purpose) in [
            ("hold:7", Purpose::Many),
            ("refund:7.2-3", Purpose::Many),
            ("pay:7.5:1", Purpose::Pay(5)),
            ("fee:7.5:12", Purpose::Fee(5)),
            ("hold:7:round2", Purpose::Many),
            ("refund:7:round0", Purpose::Many),
            ("hold:audit:7.5", Purpose::Audit(5)),
            ("refund:audit:7.5", Purpose::AuditRefund(5)),
            ("hold:audit:8.5", Purpose::Unknown),
            ("hold:8:round2", Purpose::Unknown),
            ("refund:7:roundx", Purpose::Unknown),
            ("refund:7.5", Purpose::Refund(5)),
            ("refund:7.5:2", Purpose::Refund(5)),
            ("pay:8.5:1", Purpose::Unknown),
            ("hold:8", Purpose::Unknown),
            ("grant:7", Purpose::Unknown),
            ("pay:7", Purpose::Unknown),
        ] {
            assert_eq!(Purpose::of(key, 7), purpose, "{key}");
        }
    }
}
