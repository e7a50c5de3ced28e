//! Loads what recovery needs: everything that is in memory as well, and nothing that has ended. Jobs
//! are in `load_jobs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_core::draft::Draft;
use campusgrid_core::durable::{Durable, SubmitKey};
use campusgrid_core::ledger::{Account, AccountId, ChainHash, Ledger};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, User};
use campusgrid_core::voucher::{Purpose, Voucher};
use campusgrid_core::worker::Worker;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::load_market::{Parsed, nonsense};
use super::{Store, StoreError, load_jobs, load_market, statements};

statements! {
    USERS = "SELECT id, name, role FROM user ORDER BY id";
    WORKERS = "SELECT id, key_hash, name, owner, set_aside, rules, ask, bids_by_itself, delivered,
            handed_back, lost, bids_failed, valid, invalid, valid_in_row, earned
        FROM worker
        WHERE removed_at IS NULL ORDER BY id";
    IDENTITIES = "SELECT hash FROM identity";
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
        let jobs = load_jobs::jobs(connection)?;
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
            identities: identities(connection)?,
            ledger: Ledger::from_books(rows(connection, ACCOUNTS, account)?, transfers, head),
            last_job: JobId(number(connection, LAST_JOB)?),
            last_worker: WorkerId(number(connection, LAST_WORKER)?),
            last_voucher: VoucherId(number(connection, LAST_VOUCHER)?),
        })
    }
}

fn identities(connection: &Connection) -> Result<BTreeSet<[u8; 32]>, StoreError> {
    let mut identities = BTreeSet::new();
    each(connection, IDENTITIES, |row| {
        identities.insert(row.get(0)?);
        Ok(Ok(()))
    })?;
    Ok(identities)
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

pub(super) fn rows<K: Ord, V>(
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
pub(super) fn each(
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
    let text: String = row.get(5)?;
    let Ok(rules) = serde_json::from_str(&text) else { return nonsense("worker", "rules", text) };
    let ask = match load_market::ask(row, 6)? {
        Ok(ask) => ask,
        Err(error) => return Ok(Err(error)),
    };
    let worker = Worker {
        id,
        key_hash: row.get(1)?,
        name: row.get(2)?,
        owner,
        set_aside,
        rules: Arc::new(rules),
        ask,
        record: load_market::record(row, 8)?,
    };
    Ok(Ok((id, worker)))
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
