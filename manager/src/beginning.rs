//! Whether a start goes on with the grid of its data directory or begins a new one, and whether that is
//! meant: who has lost a part of a grid should not find another in its place.

use std::fs;
use std::path::{Path, PathBuf};

use crate::store::{self, Store, StoreError};

/// Where the certificate authority is kept, within the data directory.
pub const AUTHORITY: &str = "tls";

/// Where the files of jobs are kept, within the data directory.
pub const BLOBS: &str = "blobs";

/// Whether a start may put something new in the place of what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Only where there is nothing at all.
    OnNothing,
    /// As an operator has said.
    Anew,
}

/// Why a manager does not start on what it finds.
#[derive(Debug, thiserror::Error)]
pub enum BeginningError {
    #[error(
        "the database is missing from {}, where other parts of a grid are: restore a backup, or start \
         with --new to begin anew", path.display()
    )]
    NoDatabase { path: PathBuf },
    #[error(
        "the certificate authority is missing ({}), and machines that have joined know this manager by \
         no other: restore a backup, or start with --new to make another, after which every machine has \
         to join anew", path.display()
    )]
    NoAuthority { path: PathBuf },
    #[error("{} holds a whole grid, which --new does not replace: leave it out", path.display())]
    Whole { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Beginning {
    /// Checks what a data directory lacks, before anything is made there. Says loudly if a grid begins.
    ///
    /// # Errors
    ///
    /// `NoDatabase` and `Whole`.
    pub fn check_parts(self, data_dir: &Path) -> Result<(), BeginningError> {
        let path = data_dir.to_owned();
        let has_database = data_dir.join(store::FILE).exists();
        let has_authority = data_dir.join(AUTHORITY).exists();
        let has_others = has_authority || has_files(&data_dir.join(BLOBS));
        match self {
            Self::OnNothing if !has_database && has_others => {
                return Err(BeginningError::NoDatabase { path });
            }
            Self::Anew if has_database && has_authority => {
                return Err(BeginningError::Whole { path });
            }
            Self::OnNothing | Self::Anew => {}
        }
        if !has_database {
            tracing::warn!("a new grid begins in {}", data_dir.display());
        }
        Ok(())
    }

    /// Checks whether an authority may be made, if there is none: no machine that has joined would know it.
    ///
    /// # Errors
    ///
    /// `NoAuthority` and `Store`.
    pub fn check_authority(self, data_dir: &Path, store: &Store) -> Result<(), BeginningError> {
        let path = data_dir.join(AUTHORITY);
        if path.exists() || self == Self::Anew || !store.has_machines()? {
            return Ok(());
        }
        Err(BeginningError::NoAuthority { path })
    }
}

/// Whether there is a file in this directory or, as blobs lie, in one within it.
fn has_files(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => has_files(&entry.path()),
        Ok(_) | Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{AUTHORITY, BLOBS, Beginning, BeginningError};
    use crate::store;

    fn place(path: &Path, name: &str) {
        fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        fs::write(path.join(name), "").unwrap();
    }

    #[test]
    fn a_grid_that_lost_its_database_does_not_begin_anew_unasked() {
        for left in ["tls/ca.key", "blobs/00/0011"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            fs::create_dir_all(path.join(BLOBS).join("00")).unwrap();
            Beginning::OnNothing.check_parts(path).unwrap(); // A start that was cut short.
            place(path, left);
            let refused = Beginning::OnNothing.check_parts(path);
            assert!(matches!(refused, Err(BeginningError::NoDatabase { .. })), "{left}");
            Beginning::Anew.check_parts(path).unwrap();
            place(path, store::FILE);
            Beginning::OnNothing.check_parts(path).unwrap();
        }
    }

    #[test]
    fn a_whole_grid_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        place(path, store::FILE);
        Beginning::Anew.check_parts(path).unwrap();
        fs::create_dir(path.join(AUTHORITY)).unwrap();
        let refused = Beginning::Anew.check_parts(path);
        assert!(matches!(refused, Err(BeginningError::Whole { .. })), "{refused:?}");
    }
}
