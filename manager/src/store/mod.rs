//! The grid at rest: one SQLite database, one writer, any number of readers. All SQL is here.

mod backup;
mod batch;
mod event;
mod fsck;
mod full;
mod load;
mod load_jobs;
mod load_market;
mod numbering;
mod prices;
mod progress;
pub mod read;
mod read_bids;
mod read_details;
pub mod read_earnings;
mod read_files;
mod read_jobs;
mod read_left;
mod read_map;
pub mod read_market;
mod read_notices;
pub mod read_people;
mod read_tasks;
mod schema;
mod write;
mod write_jobs;
mod write_market;
mod write_people;
mod write_runs;
mod write_tasks;

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_core::time::Timestamp;
use rusqlite::{Connection, OpenFlags};

pub use backup::copy;
pub use fsck::{Depth, Findings, ReferredBlob, fsck, referred_blobs};
pub use full::Fullness;

use numbering::Numberings;

/// The database's name in a data directory.
pub const FILE: &str = "campusgrid.sqlite";

/// How long a statement waits for a lock that another process holds. There is none in the daemon.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps.
const STATEMENTS_CACHED: usize = 128;

/// A database up to this size is checked as a whole before it is used, which takes half a second. Of a
/// larger one, what recovery reads is: the rest could take a minute, and the first check of the books
/// looks at it at once after the start. Bytes.
const CHECKED_WHOLE_BYTES: u64 = 64 << 20;

/// What recovery cannot do without. What it reads of other tables it reads row by row, and finds out.
const RECOVERED: [&str; 13] = [
    "account",
    "draft",
    "file",
    "identity",
    "job",
    "market",
    "progress",
    "submit_key",
    "total",
    "user",
    "voucher",
    "waits_for",
    "worker",
];

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to open the database {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("database is of schema version {found}, this binary knows up to {known}")]
    TooNew { found: usize, known: usize },
    #[error(
        "database is of schema version {found}, older than {known}: start this manager on it once"
    )]
    TooOld { found: usize, known: usize },
    #[error("failed to copy the database to {}", path.display())]
    Copy { path: PathBuf, source: rusqlite::Error },
    #[error("failed to bring the database's schema up to date")]
    Migrate { source: rusqlite_migration::Error },
    #[error("the database is damaged: {finding}; restore it from a backup")]
    Damaged { finding: String },
    #[error("failed to load the grid")]
    Load { source: rusqlite::Error },
    #[error("row of {table} has {column} = {value}, which makes no sense")]
    Nonsense { table: &'static str, column: &'static str, value: String },
    #[error("failed to commit a batch of {changes} changes")]
    Commit { changes: usize, source: rusqlite::Error },
    #[error("failed to read {what}")]
    Read { what: &'static str, source: rusqlite::Error },
    #[error("the reader was stopped")]
    Stopped,
}

/// The write connection.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    numberings: Numberings,
}

impl Store {
    /// Opens the database, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// `Open`, `TooNew`, `Migrate`, and `Damaged` if SQLite's quick check finds something.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = Connection::open(path)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Self::set_up(opened, path)
    }

    /// A database in memory, for the simulator and for tests.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let opened = Connection::open_in_memory()
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Self::set_up(opened, path)
    }

    fn set_up(mut connection: Connection, path: &Path) -> Result<Self, StoreError> {
        prepare(&connection)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        schema::migrate(&mut connection)?;
        let check = || check(&connection);
        let finding =
            check().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        if let Some(finding) = finding {
            return Err(StoreError::Damaged { finding });
        }
        Ok(Self { connection, numberings: Numberings::default() })
    }

    /// The latest time that any row speaks of, so that the clock does not start before it.
    ///
    /// # Errors
    ///
    /// `Load`.
    pub fn latest(&self) -> Result<Timestamp, StoreError> {
        let latest = "SELECT coalesce((SELECT at FROM event ORDER BY id DESC LIMIT 1), 0)";
        self.connection
            .query_row(latest, [], |row| row.get(0))
            .map(Timestamp)
            .map_err(|source| StoreError::Load { source })
    }

    /// Whether any machine has joined and was not removed.
    ///
    /// # Errors
    ///
    /// `Load`.
    pub fn has_machines(&self) -> Result<bool, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM worker WHERE removed_at IS NULL)";
        let read = self.connection.query_row(any, [], |row| row.get(0));
        read.map_err(|source| StoreError::Load { source })
    }

    /// The number of the newest event, 0 if there is none.
    ///
    /// # Errors
    ///
    /// `Load`.
    pub fn newest_event(&self) -> Result<u64, StoreError> {
        self.connection
            .query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))
            .map_err(|source| StoreError::Load { source })
    }

    /// Empties the write-ahead log into the database, at the end of the daemon.
    ///
    /// # Errors
    ///
    /// `Commit`.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|source| StoreError::Commit { changes: 0, source })
    }
}

/// The first sign of damage, if there is one.
fn check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
    let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
    let tables = if bytes <= CHECKED_WHOLE_BYTES { &["1"][..] } else { &RECOVERED };
    for table in tables {
        let sql = format!("PRAGMA quick_check({table})");
        let finding = connection.query_row(&sql, [], |row| row.get::<_, String>(0))?;
        if finding != "ok" {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

/// Opens a read-only connection to a database that a [`Store`] has set up.
fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        Ok(connection)
    };
    open().map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A ledger must survive power loss, which WAL with synchronous=NORMAL does not promise.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // Without them a row that another replaces goes without its guard being asked.
    connection.pragma_update(None, "recursive_triggers", "ON")
}

/// Declares SQL statements as constants, and lists them for the test that prepares every one and
/// reads its query plan.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+

        #[cfg(test)]
        pub(in crate::store) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
use statements;

#[cfg(test)]
mod tests;
