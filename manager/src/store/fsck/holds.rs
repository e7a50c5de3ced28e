//! What became of each job's hold: every transfer about it goes to its tasks, and what each of them says
//! is compared with that. In one pass over the ledger, which is read by job.

use rusqlite::{CachedStatement, Connection, Row, params};

use super::TOLD_MAX;
use crate::store::statements;

statements! {
    JOBS = "SELECT id, quote, runs, open_runs, charged, tasks FROM job ORDER BY id";
    TRANSFERS = "SELECT id, key, amount, credit = 2 FROM transfer WHERE job = ?1 ORDER BY id";
    TASKS = "SELECT idx, state, charged, runs_left, ended_at IS NULL FROM task WHERE job = ?1";
}

/// What a transfer about a job is for, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Of all tasks, or of several that never started.
    Many,
    Pay(u32),
    Fee(u32),
    Refund(u32),
    /// None of what this program writes.
    Unknown,
}

impl Purpose {
    /// Reads keys such as `hold:7`, `pay:7.0:1`, `refund:7.0`, `refund:7.0:1` and `refund:7.2-3`.
    fn of(key: &str, job: u64) -> Self {
        let of_task = |rest: &str| {
            let task = rest.split_once(':').map_or(rest, |(task, _)| task);
            let (of, index) = task.split_once('.')?;
            index.parse().ok().filter(|_| of.parse() == Ok(job))
        };
        match key.split_once(':') {
            Some(("hold", of)) if of.parse() == Ok(job) => Self::Many,
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
    let (mut held, mut paid) = (0, 0);
    let mut transfers: CachedStatement<'_> = connection.prepare_cached(TRANSFERS)?;
    let mut rows = transfers.query(params![job.id])?;
    while let Some(row) = rows.next()? {
        let (transfer, key): (u64, &str) = (row.get(0)?, row.get_ref(1)?.as_str()?);
        let (amount, comes): (i64, bool) = (row.get(2)?, row.get(3)?);
        held += if comes { amount } else { -amount };
        let purpose = Purpose::of(key, job.id);
        let (index, is_charge) = match purpose {
            Purpose::Many => continue,
            Purpose::Pay(index) | Purpose::Fee(index) if index < job.tasks => (index, true),
            Purpose::Refund(index) if index < job.tasks => (index, false),
            Purpose::Pay(_) | Purpose::Fee(_) | Purpose::Refund(_) | Purpose::Unknown => {
                told.say(4, || {
                    format!("transfer {transfer} ({key}) is about nothing that is there")
                });
                continue;
            }
        };
        let index = index as usize;
        if closed.len() <= index {
            closed.resize(index + 1, Closed::default());
        }
        let task = &mut closed[index];
        task.all += amount;
        task.transfer = transfer;
        task.pays += u32::from(matches!(purpose, Purpose::Pay(_)));
        if is_charge {
            task.charged += amount;
            paid += amount;
        }
    }
    let (id, open) = (job.id, job.quote.saturating_mul(job.open_runs));
    if held != open {
        told.say(0, || format!("job {id} has {held} in escrow, its open tasks hold {open}"));
    }
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
        if i64::from(found.pays) > job.runs {
            let (pays, runs) = (found.pays, job.runs);
            told.say(2, || format!("task {id}.{index} is paid {pays} times, for {runs} runs"));
        }
        if found.all != quote * (job.runs - left) || found.charged != charged {
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
