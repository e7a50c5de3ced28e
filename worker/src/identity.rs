//! The worker's secret, by which its manager knows it again; made once, readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use campusgrid_protocol::id::WorkerKey;

use crate::error::WorkerError;

/// Reads `data_dir/key`, or makes it if there is none.
///
/// # Errors
///
/// `ReadIdentity`, `DamagedIdentity`, `WriteIdentity`, `Random`.
pub(crate) fn load_or_make(data_dir: &Path) -> Result<WorkerKey, WorkerError> {
    let path = data_dir.join("key");
    match fs::read(&path) {
        Ok(bytes) => match bytes.as_slice().try_into() {
            Ok(key) => Ok(WorkerKey(key)),
            Err(_) => Err(WorkerError::DamagedIdentity { path, found: bytes.len() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => make(data_dir, &path),
        Err(source) => Err(WorkerError::ReadIdentity { path, source }),
    }
}

/// The directory's lock keeps a second worker from making a key at the same moment.
fn make(data_dir: &Path, path: &Path) -> Result<WorkerKey, WorkerError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|source| WorkerError::Random { source })?;
    let new = data_dir.join("key.new");
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|source| WorkerError::WriteIdentity { path: path.to_owned(), source })?;
    Ok(WorkerKey(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let key = load_or_make(dir.path()).unwrap();
        assert!(key == load_or_make(dir.path()).unwrap());
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_an_error_rather_than_a_new_identity() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), b"short").unwrap();
        let error = load_or_make(dir.path()).unwrap_err();
        assert!(matches!(error, WorkerError::DamagedIdentity { found: 5, .. }));
    }
}
