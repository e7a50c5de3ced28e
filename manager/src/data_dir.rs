//! The data directory: one manager's own, and nobody else's to read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::store;

/// Held by the manager that runs, or by a restore.
pub const LOCK: &str = "lock";

/// Where a restore puts things before they take their place. While it is there, the rest is of no use.
pub const RESTORING: &str = "restoring";

/// What the last check of the books found broken; not there if they balanced.
const BOOKS_BROKEN: &str = "books-broken";

/// What lies in the directory may be a link to anywhere, or a pipe that nobody writes to.
const AS_IT_IS: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

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
    #[error(
        "{} is a link to something that is open to others (mode {mode:o}), and is not followed: close it \
         to them where it is", path.display()
    )]
    Linked { path: PathBuf, mode: u32 },
    #[error("failed to close {} (mode {mode:o}) to others", path.display())]
    Tighten { path: PathBuf, mode: u32, source: io::Error },
    #[error("failed to open {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("failed to note in {} how the books are", path.display())]
    Mark { path: PathBuf, source: io::Error },
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
/// `Look`, `Foreign`, `Lock` and `InUse`.
pub fn lock(data_dir: &Path) -> Result<Flock<File>, DataDirError> {
    let directory = open_dir(data_dir)?;
    check_owner(data_dir, &directory)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | AS_IT_IS;
    let file =
        openat(&directory, LOCK, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|source| {
            DataDirError::Lock { path: data_dir.join(LOCK), source: source.into() }
        })?;
    Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock)
        .map_err(|_| DataDirError::InUse { path: data_dir.to_owned() })
}

/// Root is no exception: an owner can put links in its way.
fn check_owner(path: &Path, directory: &File) -> Result<(), DataDirError> {
    let (owner, us) = (look(path, directory)?.uid(), geteuid().as_raw());
    if owner == us {
        return Ok(());
    }
    Err(DataDirError::Foreign { path: path.to_owned(), owner, us })
}

/// Notes durably what a check of the books found, so that the next start settles nothing before somebody
/// has mended them.
///
/// # Errors
///
/// `Mark`; whether the note is there is then unknown.
pub fn note_books(data_dir: &Path, broken: &[String]) -> Result<(), DataDirError> {
    let path = data_dir.join(BOOKS_BROKEN);
    let note = || {
        if broken.is_empty() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed?,
            }
        } else {
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(broken.join("\n").as_bytes())?;
            file.sync_all()?;
        }
        File::open(data_dir)?.sync_all()
    };
    note().map_err(|source| DataDirError::Mark { path: path.clone(), source })
}

/// What the last check of the books found broken; None if they balanced. A note that cannot be read says
/// that they did not.
pub fn broken_books(data_dir: &Path) -> Option<Vec<String>> {
    let findings = match fs::read_to_string(data_dir.join(BOOKS_BROKEN)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => String::new(),
        Ok(findings) => findings,
    };
    if findings.is_empty() {
        return Some(vec!["the last check found the books broken".to_owned()]);
    }
    Some(findings.lines().map(str::to_owned).collect())
}

/// A directory that was made beforehand, or before this program knew better, may be open to others.
fn close_to_others(path: &Path) -> Result<(), DataDirError> {
    let directory = open_dir(path)?;
    let mode = look(path, &directory)?.mode() & 0o7777;
    let is_ours = [store::FILE, LOCK, RESTORING].iter().any(|name| path.join(name).exists());
    if mode & OTHERS != 0 && !is_ours && !is_empty(path)? {
        // It may be /tmp, and what others need would be closed to them.
        return Err(DataDirError::Shared { path: path.to_owned(), mode });
    }
    check_owner(path, &directory)?;
    tighten(path, &directory, 0o700)?;
    let secrets = ["tls", "blobs"].map(|name| (name.to_owned(), 0o700));
    let of_database = ["", "-wal", "-shm"].map(|end| (format!("{}{end}", store::FILE), 0o600));
    for (name, allowed) in secrets.into_iter().chain(of_database) {
        let path = path.join(&name);
        match openat(&directory, name.as_str(), OFlag::O_RDONLY | AS_IT_IS, Mode::empty()) {
            Ok(file) => tighten(&path, &File::from(file), allowed)?,
            Err(Errno::ENOENT) => {}
            Err(Errno::ELOOP) => check_link(path)?,
            Err(source) => return Err(DataDirError::Look { path, source: source.into() }),
        }
    }
    Ok(())
}

/// Whoever put a link there may have more room elsewhere; what it leads to is not changed.
fn check_link(path: PathBuf) -> Result<(), DataDirError> {
    match fs::metadata(&path) {
        Ok(found) if found.mode() & OTHERS != 0 => {
            Err(DataDirError::Linked { path, mode: found.mode() & 0o7777 })
        }
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DataDirError::Look { path, source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn tighten(path: &Path, file: &File, allowed: u32) -> Result<(), DataDirError> {
    let mode = look(path, file)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let closed = file.set_permissions(Permissions::from_mode(allowed));
    closed.map_err(|source| DataDirError::Tighten { path: path.to_owned(), mode, source })?;
    tracing::warn!(
        path = %path.display(), mode = format!("{mode:o}"), "was open to others, closed it to them"
    );
    Ok(())
}

/// By any of its names.
fn open_dir(path: &Path) -> Result<File, DataDirError> {
    let opened = File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path);
    opened.map_err(|source| DataDirError::Look { path: path.to_owned(), source })
}

fn look(path: &Path, file: &File) -> Result<fs::Metadata, DataDirError> {
    file.metadata().map_err(|source| DataDirError::Look { path: path.to_owned(), source })
}

fn is_empty(path: &Path) -> Result<bool, DataDirError> {
    let mut entries = fs::read_dir(path)
        .map_err(|source| DataDirError::Look { path: path.to_owned(), source })?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::Path;

    use super::{
        BOOKS_BROKEN, DataDirError, LOCK, RESTORING, broken_books, lock, note_books, open,
    };

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
    fn what_is_noted_of_the_books_stays_until_they_balance() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(broken_books(path), None);
        note_books(path, &[]).unwrap();
        let findings = ["it does not add up", "nor does this"].map(str::to_owned);
        note_books(path, &findings).unwrap();
        assert_eq!(broken_books(path).unwrap(), findings);
        // Whatever became of it, it is there.
        fs::write(path.join(BOOKS_BROKEN), [0xff, 0xfe]).unwrap();
        assert_eq!(broken_books(path).unwrap().len(), 1);
        note_books(path, &[]).unwrap();
        assert_eq!(broken_books(path), None);
    }

    #[test]
    fn a_directory_has_one_manager() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        let lock = open(&path).unwrap();
        assert!(matches!(open(&path), Err(DataDirError::InUse { .. })));
        // By any of its names.
        symlink(&path, parent.path().join("other")).unwrap();
        assert!(matches!(open(&parent.path().join("other")), Err(DataDirError::InUse { .. })));
        drop(lock);
        drop(open(&path).unwrap());
        fs::create_dir(path.join(RESTORING)).unwrap();
        assert!(matches!(open(&path), Err(DataDirError::HalfRestored { .. })));
        fs::write(parent.path().join("file"), "").unwrap();
        let refused = open(&parent.path().join("file"));
        assert!(matches!(refused, Err(DataDirError::NotADirectory { .. })), "{refused:?}");
    }

    #[test]
    fn links_in_it_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (path, victim) = (parent.path().join("data"), parent.path().join("victim"));
        fs::create_dir(&path).unwrap();
        fs::write(&victim, "secret").unwrap();
        set_mode(&victim, 0o600);
        symlink(&victim, path.join(LOCK)).unwrap();
        for refused in [open(&path), lock(&path)] {
            assert!(matches!(refused, Err(DataDirError::Lock { .. })), "{refused:?}");
        }
        fs::remove_file(path.join(LOCK)).unwrap();
        // Nor does a link to nowhere make something there.
        symlink(parent.path().join("new"), path.join(LOCK)).unwrap();
        assert!(matches!(lock(&path), Err(DataDirError::Lock { .. })));
        assert!(!parent.path().join("new").exists());
        fs::remove_file(path.join(LOCK)).unwrap();

        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        for (name, target, open_mode, closed) in
            [("blobs", &elsewhere, 0o755, 0o700), ("campusgrid.sqlite", &victim, 0o644, 0o600)]
        {
            symlink(target, path.join(name)).unwrap();
            set_mode(target, open_mode);
            let refused = open(&path);
            assert!(matches!(refused, Err(DataDirError::Linked { .. })), "{name}: {refused:?}");
            assert_eq!(mode(target), open_mode, "{name}");
            set_mode(target, closed);
            drop(open(&path).unwrap());
        }
    }

    #[test]
    fn a_directory_of_another_user_is_refused_to_root_as_well() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can give a directory away");
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        chown(&path, Some(4242), Some(4242)).unwrap();
        for refused in [open(&path), lock(&path)] {
            let Err(DataDirError::Foreign { owner, us, .. }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!((owner, us), (4242, 0));
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }
}
