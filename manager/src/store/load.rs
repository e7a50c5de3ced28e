//! Loads what recovery needs: everything that is in memory as well, and nothing that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::durable::{Durable, SubmitKey};
use campusgrid_core::job::{EndedTasks, Job, Lease, Task, TaskState};
use campusgrid_core::ledger::{Account, AccountId, ChainHash, Ledger};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, User};
use campusgrid_core::voucher::{Purpose, Voucher};
use campusgrid_core::worker::Worker;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Store, StoreError, statements};

statements! {
    USERS = "SELECT id, name, role FROM user ORDER BY id";
    WORKERS = "SELECT id, key_hash, name, owner, set_aside FROM worker
        WHERE removed_at IS NULL ORDER BY id";
    JOBS = "SELECT id, owner, name, spec, quote, submitted_at, untouched_from, succeeded, failed,
            cancelled, lock, cancelling FROM job WHERE ended_at IS NULL ORDER BY id";
    TASKS = "SELECT task.job, task.idx, task.attempts, task.tries_left, task.state,
            attempt.worker, attempt.leased_at, attempt.started_at, attempt.cancelling,
            attempt.gpus, task.losses
        FROM job JOIN task ON task.job = job.id
        JOIN attempt ON attempt.job = task.job AND attempt.idx = task.idx
            AND attempt.number = task.attempts
        WHERE job.ended_at IS NULL AND task.ended_at IS NULL";
    SUBMIT_KEYS = "SELECT owner, key, job, held, until, body FROM submit_key";
    ACCOUNTS = "SELECT id, balance, earned, spent FROM account";
    CHAIN_END = "SELECT id, hash FROM transfer ORDER BY id DESC LIMIT 1";
    VOUCHERS = "SELECT id, purpose, user, secret_hash, uses_left, made_at, until FROM voucher";
    LAST_JOB = "SELECT max((SELECT coalesce(max(id), 0) FROM job), (SELECT jobs_from FROM total))";
    LAST_WORKER = "SELECT coalesce(max(id), 0) FROM worker";
    LAST_VOUCHER = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'voucher'), 0)";
}

impl Store {
    /// The number that the next job gets.
    ///
    /// # Errors
    ///
    /// `Load`.
    pub fn next_job(&self) -> Result<u64, StoreError> {
        number(&self.connection, LAST_JOB).map(|last| last + 1)
    }

    /// Loads the grid as it was left.
    ///
    /// # Errors
    ///
    /// `Load`, and `Nonsense` for a row that no version of this program writes.
    pub fn load(&self) -> Result<Durable, StoreError> {
        let connection = &self.connection;
        let mut jobs = rows(connection, JOBS, job)?;
        for ((job, index), task) in rows(connection, TASKS, task)? {
            let id = JobId(job);
            let job = jobs.get_mut(&id).expect("the query joins the same jobs");
            if task.state == TaskState::Queued {
                job.requeued.insert(index);
            }
            job.tasks.insert(index, task);
        }
        let (transfers, head) = connection
            .query_row(CHAIN_END, [], |row| Ok((row.get(0)?, row.get::<_, ChainHash>(1)?)))
            .optional()
            .map_err(|source| StoreError::Load { source })?
            .unwrap_or((0, [0; 32]));
        Ok(Durable {
            users: rows(connection, USERS, user)?,
            workers: rows(connection, WORKERS, worker)?,
            jobs,
            submit_keys: rows(connection, SUBMIT_KEYS, submit_key)?,
            vouchers: rows(connection, VOUCHERS, voucher)?,
            ledger: Ledger::from_books(rows(connection, ACCOUNTS, account)?, transfers, head),
            last_job: JobId(number(connection, LAST_JOB)?),
            last_worker: WorkerId(number(connection, LAST_WORKER)?),
            last_voucher: VoucherId(number(connection, LAST_VOUCHER)?),
        })
    }
}

/// What a row is, or the column of it that makes no sense.
type Parsed<T> = rusqlite::Result<Result<T, StoreError>>;

fn rows<K: Ord, V>(
    connection: &Connection,
    sql: &str,
    parse: impl Fn(&Row<'_>) -> Parsed<(K, V)>,
) -> Result<BTreeMap<K, V>, StoreError> {
    let load = |source| StoreError::Load { source };
    let mut statement = connection.prepare(sql).map_err(load)?;
    let parsed = statement.query_map([], |row| parse(row)).map_err(load)?;
    parsed.map(|row| row.map_err(load)?).collect()
}

fn number(connection: &Connection, sql: &str) -> Result<u64, StoreError> {
    connection.query_row(sql, [], |row| row.get(0)).map_err(|source| StoreError::Load { source })
}

fn nonsense<T>(table: &'static str, column: &'static str, value: String) -> Parsed<T> {
    Ok(Err(StoreError::Nonsense { table, column, value }))
}

pub(super) fn parse_role(text: &str) -> Option<Role> {
    match text {
        "member" => Some(Role::Member),
        "operator" => Some(Role::Operator),
        _ => None,
    }
}

fn user(row: &Row<'_>) -> Parsed<(UserId, User)> {
    let text: String = row.get(2)?;
    let Some(role) = parse_role(&text) else { return nonsense("user", "role", text) };
    let id = UserId(row.get(0)?);
    Ok(Ok((id, User { id, name: row.get(1)?, role })))
}

fn worker(row: &Row<'_>) -> Parsed<(WorkerId, Worker)> {
    let id = WorkerId(row.get(0)?);
    let owner = UserId(row.get(3)?);
    let set_aside = row.get::<_, Option<String>>(4)?.map(Arc::from);
    Ok(Ok((id, Worker { id, key_hash: row.get(1)?, name: row.get(2)?, owner, set_aside })))
}

fn job(row: &Row<'_>) -> Parsed<(JobId, Job)> {
    let text: String = row.get(3)?;
    let Ok(spec) = serde_json::from_str(&text) else { return nonsense("job", "spec", text) };
    let id = JobId(row.get(0)?);
    let ended = EndedTasks { succeeded: row.get(7)?, failed: row.get(8)?, cancelled: row.get(9)? };
    let job = Job {
        id,
        owner: UserId(row.get(1)?),
        name: row.get(2)?,
        spec: Arc::new(spec),
        quote: Micros(row.get(4)?),
        submitted_at: Timestamp(row.get(5)?),
        untouched_from: row.get(6)?,
        tasks: BTreeMap::new(),
        requeued: BTreeSet::new(),
        ended,
        lock: row.get::<_, Option<String>>(10)?.map(Arc::from),
        cancelling: row.get(11)?,
    };
    Ok(Ok((id, job)))
}

fn task(row: &Row<'_>) -> Parsed<((u64, u32), Task)> {
    let text: String = row.get(4)?;
    let state = match text.as_str() {
        "queued" => TaskState::Queued,
        "leased" => {
            let gpus: String = row.get(9)?;
            let Ok(gpus) = gpus.parse() else { return nonsense("attempt", "gpus", gpus) };
            TaskState::Leased(Lease {
                worker: WorkerId(row.get(5)?),
                leased_at: Timestamp(row.get(6)?),
                started_at: row.get::<_, Option<u64>>(7)?.map(Timestamp),
                cancelling: row.get(8)?,
                gpus,
            })
        }
        _ => return nonsense("task", "state", text),
    };
    let losses: String = row.get(10)?;
    let Ok(losses) = losses.parse() else { return nonsense("task", "losses", losses) };
    let task = Task { attempts: row.get(2)?, tries_left: row.get(3)?, losses, state };
    Ok(Ok(((row.get(0)?, row.get(1)?), task)))
}

fn submit_key(row: &Row<'_>) -> Parsed<((UserId, String), SubmitKey)> {
    let key = (UserId(row.get(0)?), row.get(1)?);
    let (job, held) = (JobId(row.get(2)?), Micros(row.get(3)?));
    Ok(Ok((key, SubmitKey { job, held, until: Timestamp(row.get(4)?), body: row.get(5)? })))
}

pub(super) fn parse_purpose(text: &str, user: UserId) -> Option<Purpose> {
    match text {
        "join" => Some(Purpose::Join { owner: user }),
        "invitation" => Some(Purpose::Invitation { by: user }),
        _ => None,
    }
}

fn voucher(row: &Row<'_>) -> Parsed<(VoucherId, Voucher)> {
    let (id, user) = (VoucherId(row.get(0)?), UserId(row.get(2)?));
    let text: String = row.get(1)?;
    let Some(purpose) = parse_purpose(&text, user) else {
        return nonsense("voucher", "purpose", text);
    };
    let voucher = Voucher {
        id,
        purpose,
        secret_hash: row.get(3)?,
        uses_left: row.get(4)?,
        made_at: Timestamp(row.get(5)?),
        until: Timestamp(row.get(6)?),
    };
    Ok(Ok((id, voucher)))
}

fn account(row: &Row<'_>) -> Parsed<(AccountId, Account)> {
    let code: i64 = row.get(0)?;
    let Some(id) = AccountId::from_code(code) else {
        return nonsense("account", "id", code.to_string());
    };
    let (balance, earned) = (Micros(row.get(1)?), Micros(row.get(2)?));
    Ok(Ok((id, Account { balance, earned, spent: Micros(row.get(3)?) })))
}
