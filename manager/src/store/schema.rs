//! The numbered migrations. An old one is never edited: a test keeps their hashes.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::StoreError;

/// Every migration, oldest first.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_grid.sql"),
    include_str!("migrations/0002_sandboxes.sql"),
    include_str!("migrations/0003_identities.sql"),
    include_str!("migrations/0004_jobs.sql"),
    include_str!("migrations/0005_market.sql"),
];

/// Brings the schema up to date. Foreign keys are off meanwhile, since a table that others refer to is
/// changed by making it anew; each migration ends with a check of them.
///
/// # Errors
///
/// `TooNew` for a database that a newer binary has written; `Migrate`.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let migrations =
        Migrations::new(MIGRATIONS.iter().map(|sql| M::up(sql).foreign_key_check()).collect());
    set_foreign_keys(connection, false)?;
    migrations.to_latest(connection).map_err(|source| {
        let found = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0));
        match found {
            Ok(found) if found > MIGRATIONS.len() => {
                StoreError::TooNew { found, known: MIGRATIONS.len() }
            }
            Ok(_) | Err(_) => StoreError::Migrate { source },
        }
    })?;
    set_foreign_keys(connection, true)
}

fn set_foreign_keys(connection: &Connection, on: bool) -> Result<(), StoreError> {
    connection
        .pragma_update(None, "foreign_keys", on)
        .map_err(|source| StoreError::Migrate { source: source.into() })
}
