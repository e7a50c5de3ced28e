//! What one transaction changes many times, gathered and written once: balances, the counts of jobs, what
//! was earned and charged in an hour, and what is told of jobs with many tasks.

use std::collections::BTreeMap;

use campusgrid_core::ledger::{Account, AccountId};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use rusqlite::{Connection, params};

use super::event::TaskKind;
use super::numbering::{Numberings, Priced};
use super::progress::Moves;
use super::statements;

statements! {
    ACCOUNT_SET = "INSERT INTO account (id, balance, earned, spent) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET
            balance = excluded.balance, earned = excluded.earned, spent = excluded.spent";
    JOB_TALLY = "UPDATE job SET
            leased = leased + ?2, open_runs = open_runs + ?3, succeeded = succeeded + ?4,
            failed = failed + ?5, cancelled = cancelled + ?6, charged = charged + ?7,
            paid = paid + ?11, stored_bytes = stored_bytes + ?8, ended_at = coalesce(?9, ended_at),
            state = CASE
                WHEN ?9 IS NULL THEN iif(?10 AND state = 'queued', 'running', state)
                WHEN failed + ?5 > 0 THEN 'failed'
                WHEN cancelled + ?6 > 0 THEN 'cancelled'
                ELSE 'succeeded'
            END
        WHERE id = ?1";
    EARNING_ADD = "INSERT INTO earning (worker, hour, micros) VALUES (?1, ?2, ?3)
        ON CONFLICT (worker, hour) DO UPDATE SET micros = micros + excluded.micros";
    PRICE_ADD = "INSERT INTO price_hour (hour, cpu_charged, core_ms, gpu_charged, gpu_ms)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (hour) DO UPDATE SET cpu_charged = cpu_charged + excluded.cpu_charged,
            core_ms = core_ms + excluded.core_ms, gpu_charged = gpu_charged + excluded.gpu_charged,
            gpu_ms = gpu_ms + excluded.gpu_ms";
    TOTAL_ADD = "UPDATE total SET tasks_ended = tasks_ended + ?1 WHERE id = 1";
}

/// What machines have earned, and what work has cost, is kept by the hour.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// What is still to be written of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// As they stand at its end.
    accounts: BTreeMap<AccountId, Account>,
    tallies: BTreeMap<JobId, Tally>,
    /// Positions of tasks of crowded jobs, by what happened to them, and when to the last.
    pub(super) crowds: BTreeMap<(JobId, TaskKind), (Ranges, Timestamp)>,
    /// By machine and hour. Micro-credits.
    earned: BTreeMap<(WorkerId, u64), i64>,
    /// By hour: cpu_charged, core_ms, gpu_charged, gpu_ms.
    priced: BTreeMap<u64, [i64; 4]>,
}

/// By how much the counts of a job change.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) leased: i64,
    pub(super) open_runs: i64,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
    /// Micro-credits.
    pub(super) charged: i64,
    /// Out of holds of runs that may still be had. Micro-credits.
    pub(super) paid: i64,
    pub(super) stored_bytes: i64,
    pub(super) ended_at: Option<Timestamp>,
    /// Whether a task has been given to a worker.
    pub(super) begun: bool,
    pub(super) moves: Moves,
}

impl Batch {
    pub(super) fn account(&mut self, id: AccountId, account: Account) {
        self.accounts.insert(id, account);
    }

    pub(super) fn tally(&mut self, job: JobId) -> &mut Tally {
        self.tallies.entry(job).or_default()
    }

    /// Counts what the owner of a machine was paid for it.
    pub(super) fn earned(&mut self, worker: WorkerId, at: Timestamp, micros: i64) {
        if micros > 0 {
            *self.earned.entry((worker, at.0 / HOUR_MS)).or_default() += micros;
        }
    }

    /// Counts what was charged for a running time, towards the going rate.
    pub(super) fn priced(&mut self, at: Timestamp, needs: Priced, charged: i64, run_ms: i64) {
        if charged == 0 {
            return; // A check is paid from fees, and nobody has agreed to its price.
        }
        let [cpu_charged, core_ms, gpu_charged, gpu_ms] =
            self.priced.entry(at.0 / HOUR_MS).or_default();
        if needs.gpus == 0 {
            *cpu_charged += charged;
            *core_ms = core_ms.saturating_add(run_ms.saturating_mul(needs.cpu_millis) / 1000);
        } else {
            *gpu_charged += charged;
            *gpu_ms = gpu_ms.saturating_add(run_ms.saturating_mul(needs.gpus));
        }
    }

    pub(super) fn crowd(&mut self, job: JobId, kind: TaskKind, position: u32, at: Timestamp) {
        let (positions, last) = self.crowds.entry((job, kind)).or_default();
        positions.insert(position);
        *last = at;
    }

    /// Writes what was gathered about one job, so that what follows finds it written.
    pub(super) fn write_job(
        &mut self,
        connection: &Connection,
        numberings: &mut Numberings,
        job: JobId,
    ) -> rusqlite::Result<()> {
        let Some(tally) = self.tallies.remove(&job) else { return Ok(()) };
        if !tally.moves.is_empty() {
            tally.moves.write(connection, job, numberings.of(connection, job)?.tasks)?;
        }
        let Tally { leased, open_runs, succeeded, failed, cancelled, charged, .. } = tally;
        let ended_at = tally.ended_at.map(|at| at.0);
        let counts = params![
            job.0,
            leased,
            open_runs,
            succeeded,
            failed,
            cancelled,
            charged,
            tally.stored_bytes,
            ended_at,
            tally.begun,
            tally.paid
        ];
        connection.prepare_cached(JOB_TALLY)?.execute(counts)?;
        let ended = succeeded + failed + cancelled;
        if ended > 0 {
            connection.prepare_cached(TOTAL_ADD)?.execute(params![ended])?;
        }
        Ok(())
    }

    /// Writes all but what is to be told.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        numberings: &mut Numberings,
    ) -> rusqlite::Result<()> {
        for (id, account) in std::mem::take(&mut self.accounts) {
            let (balance, earned, spent) = (account.balance, account.earned, account.spent);
            let values = params![id.code(), balance.0, earned.0, spent.0];
            connection.prepare_cached(ACCOUNT_SET)?.execute(values)?;
        }
        for ((worker, hour), micros) in std::mem::take(&mut self.earned) {
            connection.prepare_cached(EARNING_ADD)?.execute(params![worker.0, hour, micros])?;
        }
        for (hour, [cpu_charged, core_ms, gpu_charged, gpu_ms]) in std::mem::take(&mut self.priced)
        {
            let values = params![hour, cpu_charged, core_ms, gpu_charged, gpu_ms];
            connection.prepare_cached(PRICE_ADD)?.execute(values)?;
        }
        while let Some(job) = self.tallies.keys().next().copied() {
            self.write_job(connection, numberings, job)?;
        }
        Ok(())
    }
}
