//! The database's part in backups: a copy of one moment beside the daemon that writes it, and what a
//! restored database is told before anybody uses it.

use std::path::Path;

use rusqlite::Connection;

use super::{Store, StoreError, open_reader, statements};

statements! {
    LOGINS_CLOSE = "DELETE FROM login";
    VOUCHERS_CLOSE = "DELETE FROM voucher";
    NUMBERS_RAISE = "UPDATE total
        SET jobs_from = max(jobs_from, (SELECT coalesce(max(id), 0) FROM job)) + 1000000";
    EVENTS_RAISE = "UPDATE sqlite_sequence SET seq = seq + 1000000 WHERE name = 'event'";
}

/// Copies the database as it is at one moment to a file that is not there yet. Whoever writes it goes on
/// meanwhile. The copy is not synced.
///
/// # Errors
///
/// `Open`, and `Copy`; what is then at `to` is of no use.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = open_reader(from)?;
    let run = |connection: &Connection| {
        let name = to.to_string_lossy();
        connection.execute("VACUUM INTO ?1", [name])
    };
    let copied = run(&connection);
    copied.map(drop).map_err(|source| StoreError::Copy { path: to.to_owned(), source })
}

impl Store {
    /// Sets a restored database right about the time that it has lost.
    ///
    /// Numbers of jobs that were given out then are never given out again, since workers may still hold
    /// results under them; so are those of events, for viewers that have seen later ones. Secrets that were
    /// used up or revoked then would be good again, so that logins and vouchers are closed; API tokens
    /// stay, or every script would stop.
    ///
    /// # Errors
    ///
    /// `Commit`; nothing is then changed.
    pub fn settle_restored(&mut self) -> Result<(), StoreError> {
        let mut run = || {
            let transaction = self.connection.transaction()?;
            for sql in [LOGINS_CLOSE, VOUCHERS_CLOSE, NUMBERS_RAISE, EVENTS_RAISE] {
                transaction.execute(sql, [])?;
            }
            transaction.commit()
        };
        run().map_err(|source| StoreError::Commit { changes: 4, source })
    }
}
