//! Backups: everything that a manager needs to come back, in one directory that is whole or not there.
//!
//! A backup has the database as of one moment, every blob that it refers to, the certificate authority,
//! and a manifest with their hashes. It lies as a data directory does.

mod files;
mod make;
mod manifest;
mod restore;

use std::io;
use std::path::PathBuf;

use crate::data_dir::DataDirError;
use crate::store::StoreError;

pub use make::{Made, backup};
pub use manifest::Manifest;
pub use restore::{Overwrite, Restored, restore};

/// By which the dashboard knows browsers that have logged in before. A manager that has never served has
/// none.
const DEVICE_KEY: &str = "device.key";

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} lies in the data directory: what destroys the one would destroy the other", path.display())]
    Inside { path: PathBuf },
    #[error("{} holds something else than a backup; give a directory that is not there yet", path.display())]
    Foreign { path: PathBuf },
    #[error("another backup to {} is under way", path.display())]
    UnderWay { path: PathBuf },
    #[error(
        "what is to be backed up is broken, so the earlier backup in {} was left as it is; name another \
         directory to have this one beside it: {}", path.display(), findings.join("; ")
    )]
    WorseThanBefore { path: PathBuf, findings: Vec<String> },
    #[error("failed to give the finished backup its name, {}", path.display())]
    Name { path: PathBuf, source: io::Error },
    #[error("failed to note that the books are broken")]
    Note { source: DataDirError },
    #[error("{} is no backup: it has no manifest", path.display())]
    NoManifest { path: PathBuf },
    #[error("the manifest {} makes no sense", path.display())]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error("the backup is of format {found}, this binary knows {known}")]
    Format { found: u32, known: u32 },
    #[error("the backup is damaged, so nothing was restored: {}", findings.join("; "))]
    Damaged { findings: Vec<String> },
    #[error("the data directory cannot be used")]
    Take(#[source] DataDirError),
    #[error("a manager runs on {}: stop it first", path.display())]
    Live { path: PathBuf },
    #[error(
        "{} is not empty: give --force to put the backup in its place; what is there now is moved \
         aside, not deleted", path.display()
    )]
    NotEmpty { path: PathBuf },
}
