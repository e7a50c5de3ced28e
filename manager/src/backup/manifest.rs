//! The manifest: what a backup consists of. It is written last.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::{FileEntry, write_file};

/// Raised when a backup of another layout is written.
const FORMAT: u32 = 1;

const NAME: &str = "manifest.json";

/// What a backup consists of. Blobs are named by their hashes and listed by the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Milliseconds since the Unix epoch.
    pub made_at_ms: u64,
    /// The version of the program that made it.
    pub made_by: String,
    /// The database and the certificate authority.
    pub files: Vec<FileEntry>,
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Hashes of blobs that were missing or damaged already.
    pub missing: Vec<String>,
    /// What was broken already, in words.
    pub broken: Vec<String>,
}

impl Manifest {
    pub(super) fn new(made_at_ms: u64) -> Self {
        Self {
            format: FORMAT,
            made_at_ms,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            files: Vec::new(),
            blobs: 0,
            blob_bytes: 0,
            missing: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Reads that of a backup.
    ///
    /// # Errors
    ///
    /// `NoManifest`, `Manifest`, `Format`, `Read`.
    pub fn read(backup: &Path) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = backup.join(NAME);
        let text = fs::read_to_string(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                BackupError::NoManifest { path: backup.to_owned() }
            } else {
                BackupError::Read { path: path.clone(), source }
            }
        })?;
        let nonsense = |source| BackupError::Manifest { path: path.clone(), source };
        let Format { format: found } = serde_json::from_str(&text).map_err(nonsense)?;
        if found != FORMAT {
            return Err(BackupError::Format { found, known: FORMAT });
        }
        serde_json::from_str(&text).map_err(nonsense)
    }

    pub(super) fn write(&self, backup: &Path) -> Result<(), BackupError> {
        let text = serde_json::to_string_pretty(self).expect("a manifest has no odd parts");
        write_file(&backup.join(NAME), text.as_bytes())
    }
}
