//! Proves the books: every invariant of DESIGN §4, each as a query that finds what breaks it.

use std::path::Path;

use campusgrid_core::ledger::{ChainHash, chain};
use campusgrid_core::time::Timestamp;
use rusqlite::Connection;

use super::{Store, StoreError, open_reader, statements};

statements! {
    BALANCES = "SELECT 'the balances of all accounts sum to ' || total || ', not to 0'
        FROM (SELECT coalesce(sum(balance), 0) AS total FROM account) WHERE total <> 0";
    ACCOUNTS = "SELECT 'account ' || id || ' has ' || balance || ', its transfers say ' || moved
        FROM (SELECT id, balance,
                coalesce((SELECT sum(amount) FROM transfer WHERE credit = account.id), 0)
                - coalesce((SELECT sum(amount) FROM transfer WHERE debit = account.id), 0)
                AS moved
            FROM account)
        WHERE balance <> moved";
    ESCROW = "SELECT 'escrow has ' || escrow || ', the open holds sum to ' || held
        FROM (SELECT coalesce((SELECT balance FROM account WHERE id = 2), 0) AS escrow,
            (SELECT coalesce(sum(quote * (tasks - succeeded - failed - cancelled)), 0)
                FROM job) AS held)
        WHERE escrow <> held";
    HOLDS = "SELECT 'job ' || id || ' has ' || held || ' in escrow, its open tasks hold ' || open
        FROM (SELECT id, quote * (tasks - succeeded - failed - cancelled) AS open,
                (SELECT coalesce(sum(CASE WHEN credit = 2 THEN amount ELSE -amount END), 0)
                    FROM transfer WHERE transfer.job = job.id) AS held
            FROM job)
        WHERE held <> open";
    CHARGES = "SELECT 'job ' || id || ' is charged ' || charged || ', its payments sum to ' || paid
        FROM (SELECT id, charged,
                (SELECT coalesce(sum(amount), 0) FROM transfer
                    WHERE transfer.job = job.id AND (key LIKE 'pay:%' OR key LIKE 'fee:%')) AS paid
            FROM job)
        WHERE charged <> paid";
    PAID_ONCE = "SELECT 'task ' || task || ' is paid ' || count(*) || ' times'
        FROM (SELECT substr(key, 5, instr(substr(key, 5), ':') - 1) AS task
            FROM transfer WHERE key LIKE 'pay:%')
        GROUP BY task HAVING count(*) > 1";
    EARNED = "SELECT 'account ' || id || ' has earned ' || earned || ', its payments say ' || paid
        FROM (SELECT id, earned, coalesce((SELECT sum(amount) FROM transfer
                WHERE credit = account.id AND key LIKE 'pay:%'), 0) AS paid FROM account)
        WHERE earned <> paid";
    SPENT = "SELECT 'account ' || id || ' has spent ' || spent || ', its jobs say ' || charged
        FROM (SELECT id, spent, coalesce((SELECT sum(charged) FROM job
                WHERE job.owner = account.id - 1000), 0) AS charged FROM account)
        WHERE spent <> charged";
    COUNTS = "SELECT 'job ' || id || ' counts ' || succeeded || ' succeeded and ' || failed
            || ' failed, its tasks say otherwise'
        FROM job
        WHERE succeeded <> (SELECT count(*) FROM task WHERE job = job.id AND state = 'succeeded')
            OR failed <> (SELECT count(*) FROM task WHERE job = job.id AND state = 'failed')";
    ENDED = "SELECT 'job ' || id || ' has ended ' || (succeeded + failed + cancelled) || ' of '
            || tasks || ' tasks and is ' || iif(ended_at IS NULL, 'open', 'closed')
        FROM job WHERE (ended_at IS NULL) = (succeeded + failed + cancelled = tasks)";
    TOTAL = "SELECT 'the total of ended tasks is ' || tasks_ended || ', the jobs say ' || ended
        FROM (SELECT tasks_ended, (SELECT coalesce(sum(succeeded + failed + cancelled), 0)
            FROM job) AS ended FROM total)
        WHERE tasks_ended <> ended";
    CHAIN = "SELECT id, key, debit, credit, amount, at, hash FROM transfer ORDER BY id";
    FOREIGN_KEYS = "SELECT 'a row of ' || \"table\" || ' refers to nothing in ' || parent
        FROM pragma_foreign_key_check()";
}

/// The invariants that are one query each.
const INVARIANTS: &[&str] = &[
    BALANCES,
    ACCOUNTS,
    ESCROW,
    HOLDS,
    CHARGES,
    PAID_ONCE,
    EARNED,
    SPENT,
    COUNTS,
    ENDED,
    TOTAL,
    FOREIGN_KEYS,
];

/// Findings of one kind that are told; more of it says nothing new.
const TOLD_MAX: usize = 20;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub transfers: u64,
    /// What is broken, in words; empty if the books balance.
    pub broken: Vec<String>,
}

/// Checks the books of a database, which a daemon may be using.
///
/// # Errors
///
/// `Open` and `Read`.
pub fn fsck(path: &Path) -> Result<Findings, StoreError> {
    check(&open_reader(path)?)
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
        for sql in INVARIANTS {
            let mut statement = connection.prepare(sql)?;
            for row in statement.query_map([], |row| row.get(0))?.take(TOLD_MAX) {
                findings.broken.push(row?);
            }
        }
        check_chain(connection, &mut findings)?;
        connection.execute_batch("COMMIT")?;
        Ok(findings)
    };
    run().map_err(|source| StoreError::Read { what: "the books", source })
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
