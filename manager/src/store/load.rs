//! Loads what recovery needs: everything that is in memory as well, and nothing that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::draft::Draft;
use campusgrid_core::durable::{Durable, SubmitKey};
use campusgrid_core::job::{After, EndedTasks, Job, Lease, Task, TaskState};
use campusgrid_core::ledger::{Account, AccountId, ChainHash, Ledger};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, User};
use campusgrid_core::voucher::{Purpose, Voucher};
use campusgrid_core::worker::Worker;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::TaskSpec;
use campusgrid_protocol::terms::When;
use rusqlite::{Connection, OptionalExtension, Row};

use super::progress::{Run, positions};
use super::{Store, StoreError, statements};

statements! {
    USERS = "SELECT id, name, role FROM user ORDER BY id";
    WORKERS = "SELECT id, key_hash, name, owner, set_aside FROM worker
        WHERE removed_at IS NULL ORDER BY id";
    JOBS = "SELECT job.id, job.owner, job.name, job_spec.spec, job_spec.terms, job.quote,
            job.submitted_at, job.priority, job.on_hold, job_spec.lock, job.cancelling
        FROM job JOIN job_spec ON job_spec.job = job.id WHERE job.state IN ('queued', 'running')";
    PROGRESS = "SELECT progress.job, progress.chunk, progress.states
        FROM job JOIN progress ON progress.job = job.id WHERE job.state IN ('queued', 'running')";
    WAITS = "SELECT waits_for.job, waits_for.other, waits_for.condition, waits_for.each
        FROM job JOIN waits_for ON waits_for.job = job.id WHERE job.state IN ('queued', 'running')
        ORDER BY waits_for.job, waits_for.place";
    TASKS = "SELECT task.job, task.idx, task.attempts, task.tries_left, task.state,
            attempt.worker, attempt.leased_at, attempt.started_at, attempt.cancelling,
            attempt.gpus, task.losses, task.runs_left, task.paused_until
        FROM job JOIN task INDEXED BY task_open ON task.job = job.id
        JOIN attempt ON attempt.job = task.job AND attempt.idx = task.idx
            AND attempt.number = task.attempts
        WHERE job.state IN ('queued', 'running') AND task.ended_at IS NULL";
    DRAFTS = "SELECT job.id, job.owner, job.name, job.submitted_at, draft.touched_at, draft.revision
        FROM draft JOIN job ON job.id = draft.job";
    DRAFT_FILES = "SELECT file.job, file.path, file.size FROM draft JOIN file ON file.job = draft.job";
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
        let jobs = jobs(connection)?;
        let (transfers, head) = connection
            .query_row(CHAIN_END, [], |row| Ok((row.get(0)?, row.get::<_, ChainHash>(1)?)))
            .optional()
            .map_err(|source| StoreError::Load { source })?
            .unwrap_or((0, [0; 32]));
        Ok(Durable {
            users: rows(connection, USERS, user)?,
            workers: rows(connection, WORKERS, worker)?,
            jobs,
            drafts: drafts(connection)?,
            submit_keys: rows(connection, SUBMIT_KEYS, submit_key)?,
            vouchers: rows(connection, VOUCHERS, voucher)?,
            ledger: Ledger::from_books(rows(connection, ACCOUNTS, account)?, transfers, head),
            last_job: JobId(number(connection, LAST_JOB)?),
            last_worker: WorkerId(number(connection, LAST_WORKER)?),
            last_voucher: VoucherId(number(connection, LAST_VOUCHER)?),
        })
    }
}

/// Jobs that have not ended, each with what has become of its tasks and what it waits for.
fn jobs(connection: &Connection) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let mut jobs: BTreeMap<JobId, Job> = rows(connection, JOBS, job)?;
    let of = |jobs: &mut BTreeMap<JobId, Job>, id: u64, add: &mut dyn FnMut(&mut Job)| {
        add(jobs.get_mut(&JobId(id)).expect("the query joins the same jobs"));
    };
    each(connection, PROGRESS, |row| {
        let (chunk, states): (u32, String) = (row.get(1)?, row.get(2)?);
        of(&mut jobs, row.get(0)?, &mut |job| {
            let positions = positions(chunk, job.spec.tasks);
            job.untouched.remove_range(positions.start, positions.end.saturating_sub(1));
            for run in Run::of(chunk, states.as_bytes()) {
                run.sort_into(&mut job.untouched, &mut job.ended);
            }
        });
        Ok(Ok(()))
    })?;
    each(connection, WAITS, |row| {
        let text: String = row.get(2)?;
        let Some(when) = parse_condition(&text) else {
            return nonsense("waits_for", "condition", text);
        };
        let after = After { job: JobId(row.get(1)?), when, each: row.get(3)? };
        of(&mut jobs, row.get(0)?, &mut |job| job.after.push(after));
        Ok(Ok(()))
    })?;
    each(connection, TASKS, |row| {
        let ((id, index), task) = match task(row)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        of(&mut jobs, id, &mut |job| {
            if task.state == TaskState::Queued {
                job.requeued.insert(index);
            }
            job.tasks.insert(index, task);
        });
        Ok(Ok(()))
    })?;
    Ok(jobs)
}

fn drafts(connection: &Connection) -> Result<BTreeMap<JobId, Draft>, StoreError> {
    let mut drafts: BTreeMap<JobId, Draft> = rows(connection, DRAFTS, draft)?;
    each(connection, DRAFT_FILES, |row| {
        let draft = drafts.get_mut(&JobId(row.get(0)?)).expect("the query joins the same drafts");
        draft.files.insert(row.get(1)?, row.get(2)?);
        Ok(Ok(()))
    })?;
    Ok(drafts)
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

/// Does something for every row, in their order.
fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Parsed<()>,
) -> Result<(), StoreError> {
    let load = |source| StoreError::Load { source };
    let mut statement = connection.prepare(sql).map_err(load)?;
    let mut rows = statement.query([]).map_err(load)?;
    while let Some(row) = rows.next().map_err(load)? {
        take(row).map_err(load)??;
    }
    Ok(())
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
    let Ok(spec) = serde_json::from_str::<TaskSpec>(&text) else {
        return nonsense("job_spec", "spec", text);
    };
    let text: String = row.get(4)?;
    let Ok(terms) = serde_json::from_str(&text) else { return nonsense("job_spec", "terms", text) };
    let id = JobId(row.get(0)?);
    let job = Job {
        id,
        owner: UserId(row.get(1)?),
        name: row.get(2)?,
        terms: Arc::new(terms),
        quote: Micros(row.get(5)?),
        submitted_at: Timestamp(row.get(6)?),
        priority: row.get(7)?,
        on_hold: row.get(8)?,
        after: Vec::new(),
        untouched: Ranges::below(spec.tasks),
        spec: Arc::new(spec),
        tasks: BTreeMap::new(),
        requeued: BTreeSet::new(),
        ended: EndedTasks::default(),
        lock: row.get::<_, Option<String>>(9)?.map(Arc::from),
        cancelling: row.get(10)?,
    };
    Ok(Ok((id, job)))
}

fn draft(row: &Row<'_>) -> Parsed<(JobId, Draft)> {
    let id = JobId(row.get(0)?);
    let draft = Draft {
        id,
        owner: UserId(row.get(1)?),
        name: row.get(2)?,
        made_at: Timestamp(row.get(3)?),
        touched_at: Timestamp(row.get(4)?),
        revision: row.get(5)?,
        files: BTreeMap::new(),
    };
    Ok(Ok((id, draft)))
}

pub(super) fn parse_condition(text: &str) -> Option<When> {
    match text {
        "started" => Some(When::Started),
        "ok" => Some(When::Ok),
        "any" => Some(When::Any),
        "failed" => Some(When::Failed),
        _ => None,
    }
}

fn task(row: &Row<'_>) -> Parsed<((u64, u32), Task)> {
    let text: String = row.get(4)?;
    let state = match text.as_str() {
        "queued" => TaskState::Queued,
        "pausing" => TaskState::Pausing { until: Timestamp(row.get(12)?) },
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
    let (attempts, tries_left, runs_left) = (row.get(2)?, row.get(3)?, row.get(11)?);
    let task = Task { attempts, tries_left, runs_left, losses, state };
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
