//! The data directory: one manager's own, and nobody else's to read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use crate::store;

/// Held by the manager that runs, or by a restore.
pub const LOCK: &str = "lock";

/// Where a restore puts things before they take their place. While it is there, the rest is of no use.
pub const RESTORING: &str = "restoring";

/// What anybody but the owner may do with a file.
const OTHERS: u32 = 0o077;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("failed to make {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("failed to look at {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("{} is no directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error(
        "{} is open to others (mode {mode:o}) and holds other things than a manager's data: give a \
         directory of its own, or chmod 0700 it", path.display()
    )]
    Shared { path: PathBuf, mode: u32 },
    #[error(
        "{} belongs to user {owner} and not to {us}, who runs this manager: chown it, or run as its owner",
        path.display()
    )]
    Foreign { path: PathBuf, owner: u32, us: u32 },
    #[error("failed to close {} (mode {mode:o}) to others", path.display())]
    Tighten { path: PathBuf, mode: u32, source: io::Error },
    #[error("failed to open {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("another manager uses {}", path.display())]
    InUse { path: PathBuf },
    #[error(
        "a restore to {} did not finish: run it again, with --force", path.display()
    )]
    HalfRestored { path: PathBuf },
}

/// Makes a data directory if it is not there, or closes it to others, and takes it for this process.
///
/// # Errors
///
/// All of [`DataDirError`]; nothing in the directory is then changed but permissions.
pub fn open(path: &Path) -> Result<Flock<File>, DataDirError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DataDirError::NotADirectory { path: path.to_owned() });
        }
        made => made.map_err(|source| DataDirError::Make { path: path.to_owned(), source })?,
    }
    close_to_others(path)?;
    let lock = lock(path)?;
    if path.join(RESTORING).exists() {
        return Err(DataDirError::HalfRestored { path: path.to_owned() });
    }
    Ok(lock)
}

/// Two managers on one database would each believe to be the only writer.
///
/// # Errors
///
/// `Lock` and `InUse`.
pub fn lock(data_dir: &Path) -> Result<Flock<File>, DataDirError> {
    let path = data_dir.join(LOCK);
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|source| DataDirError::Lock { path, source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| DataDirError::InUse { path: data_dir.to_owned() })
}

/// A directory that was made beforehand, or before this program knew better, may be open to others.
fn close_to_others(path: &Path) -> Result<(), DataDirError> {
    let found = look(path)?;
    let (owner, us) = (found.uid(), geteuid().as_raw());
    if owner != us && us != 0 {
        return Err(DataDirError::Foreign { path: path.to_owned(), owner, us });
    }
    let mode = found.mode() & 0o7777;
    let is_ours = [store::FILE, LOCK, RESTORING].iter().any(|name| path.join(name).exists());
    if mode & OTHERS != 0 && !is_ours && !is_empty(path)? {
        // It may be /tmp, and what others need would be closed to them.
        return Err(DataDirError::Shared { path: path.to_owned(), mode });
    }
    tighten(path, 0o700)?;
    let secrets = ["tls", "blobs"].map(|name| (name.to_owned(), 0o700));
    let of_database = ["", "-wal", "-shm"].map(|end| (format!("{}{end}", store::FILE), 0o600));
    for (name, mode) in secrets.into_iter().chain(of_database) {
        let path = path.join(name);
        if path.exists() {
            tighten(&path, mode)?;
        }
    }
    Ok(())
}

fn tighten(path: &Path, allowed: u32) -> Result<(), DataDirError> {
    let mode = look(path)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let closed = fs::set_permissions(path, Permissions::from_mode(allowed));
    closed.map_err(|source| DataDirError::Tighten { path: path.to_owned(), mode, source })?;
    tracing::warn!(
        path = %path.display(), mode = format!("{mode:o}"), "was open to others, closed it to them"
    );
    Ok(())
}

fn look(path: &Path) -> Result<fs::Metadata, DataDirError> {
    fs::metadata(path).map_err(|source| DataDirError::Look { path: path.to_owned(), source })
}

fn is_empty(path: &Path) -> Result<bool, DataDirError> {
    let mut entries = fs::read_dir(path)
        .map_err(|source| DataDirError::Look { path: path.to_owned(), source })?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{DataDirError, RESTORING, open};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_was_made_beforehand_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        drop(open(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        // As a version that knew no better may have left it.
        fs::write(path.join("campusgrid.sqlite"), "").unwrap();
        fs::create_dir(path.join("blobs")).unwrap();
        set_mode(&path.join("campusgrid.sqlite"), 0o644);
        set_mode(&path.join("blobs"), 0o755);
        set_mode(&path, 0o750);
        drop(open(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("campusgrid.sqlite")), 0o600);
        assert_eq!(mode(&path.join("blobs")), 0o700);
    }

    #[test]
    fn a_directory_of_others_things_is_refused_and_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("letter"), "").unwrap();
        set_mode(parent.path(), 0o1777);
        let refused = open(parent.path());
        assert!(matches!(refused, Err(DataDirError::Shared { mode: 0o1777, .. })), "{refused:?}");
        assert_eq!(mode(parent.path()), 0o1777);
        set_mode(parent.path(), 0o700);
        open(parent.path()).unwrap();
    }

    #[test]
    fn a_directory_has_one_manager() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        let lock = open(&path).unwrap();
        assert!(matches!(open(&path), Err(DataDirError::InUse { .. })));
        // By any of its names.
        std::os::unix::fs::symlink(&path, parent.path().join("other")).unwrap();
        assert!(matches!(open(&parent.path().join("other")), Err(DataDirError::InUse { .. })));
        drop(lock);
        drop(open(&path).unwrap());
        fs::create_dir(path.join(RESTORING)).unwrap();
        assert!(matches!(open(&path), Err(DataDirError::HalfRestored { .. })));
        fs::write(parent.path().join("file"), "").unwrap();
        let refused = open(&parent.path().join("file"));
        assert!(matches!(refused, Err(DataDirError::NotADirectory { .. })), "{refused:?}");
    }
}
