//! The disk that holds the worker's data: how much is free, when it is full, files for nobody else.

use std::error::Error;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::statvfs::statvfs;

/// With less than this to be had, what failed for want of space failed for want of this disk's. Other
/// things run out with the same error: namespaces, watches, processors of a group.
const FULL_BYTES: u64 = 16 << 20;

/// The same in files, where the file system counts them.
const FULL_FILES: u64 = 16;

/// Free bytes of the file system that holds `path`, for whoever asks, of whatever kind it is.
///
/// # Errors
///
/// When the system does not tell.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let facts = statvfs(path)?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

/// Whether an error means that the disk of `path` is full, or this user's share of it.
pub(crate) fn is_full(path: &Path, error: &(dyn Error + 'static)) -> bool {
    match kind(error) {
        Some(ErrorKind::QuotaExceeded) => true,
        Some(ErrorKind::StorageFull) => statvfs(path).is_ok_and(|facts| {
            let free = facts.blocks_available().saturating_mul(facts.fragment_size());
            free < FULL_BYTES || (facts.files() > 0 && facts.files_available() < FULL_FILES)
        }),
        Some(_) | None => false,
    }
}

/// Whether the directory `path` takes no result of any size any more, for want of space or because this
/// user's share is used up. Blocks on the disk.
///
/// What is free says nothing about a quota, so a little is taken, and given back. A file system that
/// cannot do that is not used up.
pub(crate) fn is_used_up(path: &Path) -> bool {
    let take = || {
        let nameless = OFlag::O_TMPFILE.bits();
        let file = OpenOptions::new().write(true).mode(0o600).custom_flags(nameless).open(path)?;
        Ok::<(), io::Error>(posix_fallocate(&file, 0, FULL_BYTES.cast_signed())?)
    };
    let is_of_space = |error: io::Error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    };
    take().is_err_and(is_of_space)
}

/// Of the first cause that the system has told.
fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        next = error.source();
    }
    None
}

/// Makes a directory that only this user may enter, or takes that from others if it is there.
///
/// # Errors
///
/// When it is something else than a directory, or another user's.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // A link could lead to what others may write.
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(ErrorKind::NotADirectory.into());
            }
            fs::set_permissions(path, Permissions::from_mode(0o700))
        }
        made => made,
    }
}

/// Replaces a file whole, readable for this user alone; when this returns it survives a loss of power.
///
/// # Errors
///
/// What is there then stays as it is.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let write = || {
        // A file that is there might be open to others.
        remove_if_there(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_parent(path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
///
/// When it is there and stays.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_private_becomes_so_wherever_it_was() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        make_private(&open).unwrap();
        assert_eq!(mode(&open), 0o700);
        std::os::unix::fs::symlink(&open, home.path().join("link")).unwrap();
        make_private(&home.path().join("link")).unwrap_err();

        let file = open.join("key.pem");
        fs::write(&file, "old").unwrap();
        fs::write(open.join("key.new"), "of a crash").unwrap();
        fs::set_permissions(open.join("key.new"), Permissions::from_mode(0o644)).unwrap();
        write_private(&file, b"new").unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"new".to_vec(), 0o600));
        assert!(!open.join("key.new").exists());
    }

    #[test]
    fn only_a_full_disk_is_a_full_disk() {
        let home = tempfile::tempdir().unwrap();
        let full: io::Error = ErrorKind::StorageFull.into();
        // The system says the same when it runs out of namespaces.
        let is_roomy = free_bytes(home.path()).unwrap() >= FULL_BYTES;
        assert_eq!(is_full(home.path(), &full), !is_roomy);
        assert_eq!(is_used_up(home.path()), !is_roomy);
        assert!(fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is left of looking");
        assert!(is_full(home.path(), &io::Error::from(ErrorKind::QuotaExceeded)));
        assert!(!is_full(home.path(), &io::Error::from(ErrorKind::NotFound)));
    }
}
