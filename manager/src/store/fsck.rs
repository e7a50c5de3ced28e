//! Proves the books: every invariant of DESIGN §4, each as a query that finds what breaks it, and a
//! database file that is damaged, told in words.

pub(super) mod holds;
pub(super) mod jobs;
pub(super) mod market;

use std::path::Path;

use campusgrid_core::ledger::{ChainHash, chain};
use campusgrid_core::time::Timestamp;
use campusgrid_core::voucher::MAX_MS;
use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;
use rusqlite::{Connection, ErrorCode, Row, params_from_iter};

use super::schema::MIGRATIONS;
use super::{Store, StoreError, open_reader, statements};

statements! {
    BALANCES = "SELECT 'the balances of all accounts sum to ' || total || ', not to 0'
        FROM (SELECT coalesce(sum(balance), 0) AS total FROM account) WHERE total <> 0";
    ACCOUNTS = "SELECT 'account ' || id || ' has ' || balance || ', its transfers say ' || moved
        FROM (SELECT id, balance, coalesce(came, 0) - coalesce(went, 0) AS moved FROM account
            LEFT JOIN (SELECT credit, sum(amount) AS came FROM transfer GROUP BY credit)
                ON credit = account.id
            LEFT JOIN (SELECT debit, sum(amount) AS went FROM transfer GROUP BY debit)
                ON debit = account.id)
        WHERE balance <> moved";
    ESCROW = "SELECT 'escrow has ' || escrow || ', the open holds sum to ' || held
        FROM (SELECT coalesce((SELECT balance FROM account WHERE id = 2), 0) AS escrow,
            (SELECT coalesce(sum(quote * open_runs - paid), 0) FROM job)
                + (SELECT coalesce(sum(audit), 0) FROM task INDEXED BY task_open
                    WHERE ended_at IS NULL) AS held)
        WHERE escrow <> held";
    EARNED = "SELECT 'account ' || id || ' has earned ' || earned || ', its payments say ' || paid
        FROM (SELECT id, earned, coalesce((SELECT sum(amount) FROM transfer
                WHERE credit = account.id AND key LIKE 'pay:%'), 0) AS paid FROM account)
        WHERE earned <> paid";
    SPENT = "SELECT 'account ' || id || ' has spent ' || spent || ', its jobs say ' || charged
        FROM (SELECT id, spent, coalesce((SELECT sum(charged) FROM job
                WHERE job.owner = account.id - 1000), 0) AS charged FROM account)
        WHERE spent <> charged";
    PAYMENTS = "SELECT 'attempt ' || attempt.job || '.' || idx || '#' || number || ' has earned ' || earned
            || ', its payment says ' || coalesce(transfer.amount, 0)
        FROM attempt LEFT JOIN transfer ON transfer.id = pay
        WHERE earned <> coalesce(transfer.amount, 0) OR (pay IS NOT NULL AND transfer.key
            <> 'pay:' || attempt.job || '.' || idx || ':' || number)";
    EARNINGS = "SELECT 'worker ' || id || ' has earned ' || earned || ', hour by hour ' || by_hour
            || ', its attempts say ' || paid
        FROM (SELECT worker.id, worker.earned, worker.removed_at,
                coalesce((SELECT sum(micros) FROM earning WHERE earning.worker = worker.id), 0)
                    AS by_hour,
                coalesce((SELECT sum(attempt.earned) FROM attempt WHERE attempt.worker = worker.id), 0)
                    AS paid
            FROM worker)
        WHERE by_hour <> paid OR (earned <> paid AND removed_at IS NULL)";
    GUARDS = "SELECT 'the guard ' || name || ' of the ledger is gone: its rows could be changed'
        FROM (SELECT 'transfer_never_changes' AS name, 'UPDATE' AS what
            UNION SELECT 'transfer_never_goes', 'DELETE') AS guard
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger'
            AND name = guard.name AND tbl_name = 'transfer'
            AND sql LIKE '%BEFORE ' || what || ' ON transfer%SELECT raise(ABORT,%')";
    NO_OPERATOR = "SELECT 'nobody is an operator: campusgrid-manager role NAME operator makes one'
        WHERE EXISTS (SELECT 1 FROM user)
            AND NOT EXISTS (SELECT 1 FROM user WHERE role = 'operator')";
    VOUCHERS = "SELECT 'voucher ' || id || ' is good for longer than one can be made: revoke it'
        FROM voucher WHERE until - made_at > ?1";
    BLOBS = "SELECT hash, size, 'output ' || path || ' of task ' || job || '.' || idx FROM output
        UNION ALL SELECT hash, size, stream || ' of attempt ' || job || '.' || idx || '#' || attempt
            FROM log WHERE hash IS NOT NULL
        UNION ALL SELECT hash, size, 'file ' || path || ' of job ' || job FROM file
        UNION ALL SELECT manifest, manifest_size, 'the list of files of job ' || id
            FROM job WHERE manifest IS NOT NULL
        UNION ALL SELECT checkpoint, checkpoint_size, 'the checkpoint of task ' || job || '.' || idx
            FROM task WHERE checkpoint IS NOT NULL
        UNION ALL SELECT hash, size, 'file ' || path || ' of the checkpoint of task ' || job || '.' || idx
            FROM checkpoint_file
        UNION ALL SELECT hash, size, 'output ' || path || ' of attempt ' || job || '.' || idx || '#'
            || attempt FROM vote_output";
    // Of a database that an older manager has left: a backup of it, or before it is updated.
    BLOBS_BEFORE_5 = "SELECT hash, size, 'output ' || path || ' of task ' || job || '.' || idx FROM output
        UNION ALL SELECT hash, size, stream || ' of attempt ' || job || '.' || idx || '#' || attempt
            FROM log WHERE hash IS NOT NULL
        UNION ALL SELECT hash, size, 'file ' || path || ' of job ' || job FROM file
        UNION ALL SELECT manifest, manifest_size, 'the list of files of job ' || id
            FROM job WHERE manifest IS NOT NULL";
    BLOBS_BEFORE_4 = "SELECT hash, size, 'output ' || path || ' of task ' || job || '.' || idx
            FROM output
        UNION ALL SELECT hash, size, stream || ' of task ' || job || '.' || idx FROM log
            WHERE hash IS NOT NULL";
    CHAIN = "SELECT id, key, debit, credit, amount, at, hash FROM transfer ORDER BY id";
    FOREIGN_KEYS = "SELECT 'a row of ' || \"table\" || ' refers to nothing in ' || parent
        FROM pragma_foreign_key_check()";
}

/// The invariants about money that are one query each.
const INVARIANTS: &[&str] =
    &[BALANCES, ACCOUNTS, ESCROW, EARNED, SPENT, PAYMENTS, EARNINGS, GUARDS, FOREIGN_KEYS];

/// Findings of one kind that are told; more of it says nothing new.
const TOLD_MAX: usize = 20;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub transfers: u64,
    /// What is broken, in words; empty if the books balance.
    pub broken: Vec<String>,
    /// What a person should look at though the books balance.
    pub notes: Vec<String>,
}

/// How closely the file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every page of a table, as at each start.
    Quick,
    /// Also whether every index says what its table says.
    Whole,
}

/// A blob that a row refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferredBlob {
    pub blob: BlobRef,
    /// What refers to it, in words.
    pub by: String,
}

/// Checks the books of a database, which a daemon may be using. One that is damaged, or no database, is
/// a finding.
///
/// # Errors
///
/// `Open` and `Read` where nothing could be looked at; `TooNew` and `TooOld`.
pub fn fsck(path: &Path, depth: Depth) -> Result<Findings, StoreError> {
    let told = || {
        let connection = open_reader(path)?;
        if check_version(&connection)? == 0 {
            return Ok(damaged("the database is empty".to_owned()));
        }
        let damage = check_file(&connection, depth)?;
        if damage.is_empty() {
            check(&connection)
        } else {
            Ok(Findings { broken: damage, ..Findings::default() })
        }
    };
    told().or_else(damage)
}

/// All blobs that rows refer to, some of them more than once. The database may be of an older version.
///
/// # Errors
///
/// `Open` and `Read`.
pub fn referred_blobs(path: &Path) -> Result<Vec<ReferredBlob>, StoreError> {
    let connection = open_reader(path)?;
    let read = || {
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let sql = match version {
            0..4 => BLOBS_BEFORE_4,
            4 => BLOBS_BEFORE_5,
            _ => BLOBS,
        };
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], referred_blob)?.collect::<Result<Vec<_>, _>>()
    };
    read().map_err(|source| StoreError::Read { what: "what blobs there should be", source })
}

fn referred_blob(row: &Row<'_>) -> rusqlite::Result<ReferredBlob> {
    let blob = BlobRef { hash: BlobHash(row.get(0)?), size_bytes: row.get(1)? };
    Ok(ReferredBlob { blob, by: row.get(2)? })
}

impl Store {
    /// Checks the books.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn fsck(&self) -> Result<Findings, StoreError> {
        check(&self.connection)
    }
}

fn check(connection: &Connection) -> Result<Findings, StoreError> {
    let run = || {
        let mut findings = Findings::default();
        connection.execute_batch("BEGIN")?;
        for sql in INVARIANTS.iter().chain(jobs::INVARIANTS).chain(market::INVARIANTS) {
            tell(connection, sql, [], &mut findings.broken)?;
        }
        holds::check(connection, &mut findings.broken)?;
        tell(connection, NO_OPERATOR, [], &mut findings.notes)?;
        tell(connection, VOUCHERS, [MAX_MS], &mut findings.notes)?;
        check_chain(connection, &mut findings)?;
        connection.execute_batch("COMMIT")?;
        Ok(findings)
    };
    run().map_err(|source| StoreError::Read { what: "the books", source })
}

fn tell<const N: usize>(
    connection: &Connection,
    sql: &str,
    numbers: [u64; N],
    told: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    for row in statement.query_map(params_from_iter(numbers), |row| row.get(0))?.take(TOLD_MAX) {
        told.push(row?);
    }
    Ok(())
}

/// What is damaged about the file itself.
fn check_file(connection: &Connection, depth: Depth) -> Result<Vec<String>, StoreError> {
    let sql = match depth {
        Depth::Quick => "PRAGMA quick_check(20)",
        Depth::Whole => "PRAGMA integrity_check(20)",
    };
    let run = || {
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
    };
    let lines =
        run().map_err(|source| StoreError::Read { what: "the database's pages", source })?;
    let damaged = lines.into_iter().filter(|line| line != "ok");
    Ok(damaged.map(|line| format!("the database is damaged: {}", line.trim())).collect())
}

/// The schema's version: the one that this program knows, or 0.
fn check_version(connection: &Connection) -> Result<usize, StoreError> {
    let found = connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0))
        .map_err(|source| StoreError::Read { what: "the schema's version", source })?;
    let known = MIGRATIONS.len();
    match found {
        found if found > known => Err(StoreError::TooNew { found, known }),
        found if found == 0 || found == known => Ok(found),
        found => Err(StoreError::TooOld { found, known }),
    }
}

/// A file that is no database any more is a finding; one that could not be looked at is an error.
fn damage(error: StoreError) -> Result<Findings, StoreError> {
    let (StoreError::Open { source, .. } | StoreError::Read { source, .. }) = &error else {
        return Err(error);
    };
    let words = match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "the file is no database, or its beginning is overwritten".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the database is damaged: pages are missing or torn".to_owned()
        }
        // A table or a column is not there, or a value is none of its kind.
        Some(ErrorCode::Unknown) | None => format!("the database is damaged: {source}"),
        Some(_) => return Err(error),
    };
    Ok(damaged(words))
}

fn damaged(words: String) -> Findings {
    Findings { broken: vec![format!("{words}; restore it from a backup")], ..Findings::default() }
}

/// Follows the audit chain from its start; the first row that does not fit ends it.
fn check_chain(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let mut previous: ChainHash = [0; 32];
    let mut statement = connection.prepare(CHAIN)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, key): (u64, String) = (row.get(0)?, row.get(1)?);
        let numbers = [row.get(2)?, row.get(3)?, row.get(4)?];
        let hash: ChainHash = row.get(6)?;
        previous = chain(&previous, id, &key, numbers, Timestamp(row.get(5)?));
        findings.transfers += 1;
        if id != findings.transfers || hash != previous {
            findings.broken.push(format!("the audit chain breaks at transfer {id} ({key})"));
            return Ok(());
        }
    }
    Ok(())
}
