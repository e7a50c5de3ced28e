//! Makes a backup beside a running manager, or of what one has left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::BlobHash;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::files::{self, FileEntry};
use super::{BackupError, DEVICE_KEY, Manifest};
use crate::blobs::place;
use crate::store::{self, Depth, StoreError, fsck, referred_blobs};

/// Ends the name of an earlier backup while it makes way for a newer one.
const EARLIER: &str = ".earlier";

/// What a backup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub manifest: Manifest,
    /// Blobs that an earlier backup in the same place had already.
    pub kept: u64,
}

/// Backs a data directory up to `to`, which must not be there, be empty, or be an earlier backup, whose
/// place is then taken. What is broken already is in the manifest; such a backup takes no earlier one's
/// place.
///
/// # Errors
///
/// All of [`BackupError`] that are not about restoring; `to` is then as it was.
pub fn backup(data_dir: &Path, to: &Path, now: Timestamp) -> Result<Made, BackupError> {
    let to = absolute(to)?;
    if to.starts_with(absolute(data_dir)?) {
        return Err(BackupError::Inside { path: to });
    }
    let unfinished = beside(&to, ".unfinished");
    let lock = lock(&to)?;
    pick_up(&to, &unfinished)?;
    let earlier = match files::names(&to)?.is_empty() {
        true => None,
        false if Manifest::read(&to).is_ok() => Some(to.as_path()),
        false => return Err(BackupError::Foreign { path: to }),
    };
    files::make_dir(&unfinished)?;
    let work = Work { data_dir, earlier, unfinished: &unfinished };
    let made = work.fill(Manifest::new(now.0)).and_then(|made| {
        work.name(&to, &made.manifest)?;
        Ok(made)
    });
    if made.is_err() {
        drop(files::remove_dir(&unfinished)); // The first trouble is the one to tell.
    }
    drop(lock); // Whoever takes it next finds nothing half done.
    made
}

fn absolute(path: &Path) -> Result<PathBuf, BackupError> {
    let read = |source| BackupError::Read { path: path.to_owned(), source };
    let path = std::path::absolute(path).map_err(read)?;
    // What is there may be a link to elsewhere; what is not has no other name.
    Ok(path.canonicalize().unwrap_or(path))
}

/// On the same file system, so that the backup can get its name in one step.
fn beside(to: &Path, end: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The lock is a file of its own that stays: in a directory that is renamed or removed, two runs would
/// hold two locks of one name, and each would sweep away what the other has made.
fn lock(to: &Path) -> Result<Flock<File>, BackupError> {
    let path = beside(to, ".lock");
    files::make_dir(path.parent().unwrap_or(Path::new("/")))?;
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|source| BackupError::Write { path, source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| BackupError::UnderWay { path: to.to_owned() })
}

/// Puts right what a run that was cut short between two renames has left: see [`by_turns`].
fn pick_up(to: &Path, unfinished: &Path) -> Result<(), BackupError> {
    let aside = beside(to, EARLIER);
    if Manifest::read(&aside).is_err() {
        return Ok(()); // It is not there, or not ours.
    }
    let name = |source| BackupError::Name { path: to.to_owned(), source };
    if files::names(to)?.is_empty() {
        return fs::rename(&aside, to).map_err(name);
    }
    // The newer one has its name already.
    files::remove_dir(unfinished)?;
    fs::rename(&aside, unfinished).map_err(name)
}

struct Work<'a> {
    data_dir: &'a Path,
    earlier: Option<&'a Path>,
    unfinished: &'a Path,
}

impl Work<'_> {
    fn fill(&self, mut manifest: Manifest) -> Result<Made, BackupError> {
        // What a run that was killed has left.
        for name in files::names(self.unfinished)? {
            let path = self.unfinished.join(name);
            if path.is_dir() {
                files::remove_dir(&path)?;
            } else {
                fs::remove_file(&path).map_err(|source| BackupError::Write { path, source })?;
            }
        }
        // Before the blobs: whatever it refers to was there before it was written.
        let database = self.unfinished.join(store::FILE);
        store::copy(&self.data_dir.join(store::FILE), &database)?;
        manifest.broken = match fsck(&database, Depth::Whole) {
            // That of a manager that is about to be updated: a restore brings it up to date.
            Err(StoreError::TooOld { .. }) => Vec::new(),
            checked => checked?.broken,
        };
        manifest.files.push(FileEntry::new(store::FILE, files::content(&database)?));
        self.authority(&mut manifest)?;
        if self.data_dir.join(DEVICE_KEY).exists() {
            let to = self.unfinished.join(DEVICE_KEY);
            let content = files::copy(&self.data_dir.join(DEVICE_KEY), &to)?;
            manifest.files.push(FileEntry::new(DEVICE_KEY, content));
        }
        let kept = self.blobs(&database, &mut manifest)?;
        manifest.write(self.unfinished)?;
        Ok(Made { manifest, kept })
    }

    fn authority(&self, manifest: &mut Manifest) -> Result<(), BackupError> {
        let (from, to) = (self.data_dir.join("tls"), self.unfinished.join("tls"));
        let names = files::names(&from)?;
        if names.is_empty() {
            manifest.broken.push("the manager's certificate authority (tls) is missing".to_owned());
            return Ok(());
        }
        files::make_dir(&to)?;
        for name in names {
            let content = files::copy(&from.join(&name), &to.join(&name))?;
            manifest.files.push(FileEntry::new(&format!("tls/{name}"), content));
        }
        Ok(())
    }

    /// Yields how many an earlier backup had.
    fn blobs(&self, database: &Path, manifest: &mut Manifest) -> Result<u64, BackupError> {
        let mut kept = 0;
        let wanted: BTreeMap<BlobHash, _> = referred_blobs(database)?
            .into_iter()
            .map(|referred| (referred.blob.hash, referred.blob))
            .collect();
        let root = self.unfinished.join("blobs");
        let mut directory = PathBuf::new();
        for (hash, blob) in wanted {
            let to = place(&root, hash);
            let parent = to.parent().expect("a blob's path has a directory");
            if parent != directory {
                files::make_dir(parent)?;
                directory = parent.to_owned();
            }
            let is_kept = self.keep(hash, &to)?;
            if is_kept {
                kept += 1;
            } else if let Err(error) = self.fetch(hash, &to) {
                // A disk that is full would make all the others missing as well.
                let BackupError::Read { .. } = error else { return Err(error) };
                manifest.missing.push(hash.to_string());
                continue;
            }
            manifest.blobs += 1;
            manifest.blob_bytes += blob.size_bytes;
        }
        Ok(kept)
    }

    /// Takes a blob over from the earlier backup, if it has it unharmed.
    fn keep(&self, hash: BlobHash, to: &Path) -> Result<bool, BackupError> {
        let Some(earlier) = self.earlier else { return Ok(false) };
        if fs::hard_link(place(&earlier.join("blobs"), hash), to).is_err() {
            return Ok(false);
        }
        if files::content(to).is_ok_and(|content| content.hash == hash) {
            return Ok(true);
        }
        let removed = fs::remove_file(to);
        removed.map_err(|source| BackupError::Write { path: to.to_owned(), source })?;
        Ok(false)
    }

    /// Copies a blob: a link would share with the original whatever harms it in its place.
    fn fetch(&self, hash: BlobHash, to: &Path) -> Result<(), BackupError> {
        let from = place(&self.data_dir.join("blobs"), hash);
        let copied = files::copy(&from, to);
        match copied {
            Ok(content) if content.hash == hash => return Ok(()),
            Ok(_) | Err(BackupError::Read { .. }) => {}
            Err(error) => return Err(error),
        }
        let removed = fs::remove_file(to);
        removed.map_err(|source| BackupError::Write { path: to.to_owned(), source })?;
        let source = io::Error::new(io::ErrorKind::InvalidData, "missing or damaged");
        Err(BackupError::Read { path: from, source })
    }

    /// Gives the backup its name, once all of it is on disk.
    fn name(&self, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
        if let Some(earlier) = self.earlier
            && !(manifest.broken.is_empty() && manifest.missing.is_empty())
        {
            let missing = manifest.missing.iter();
            let missing = missing.map(|hash| format!("blob {hash} is missing or damaged"));
            let findings = manifest.broken.iter().cloned().chain(missing).take(20).collect();
            return Err(BackupError::WorseThanBefore { path: earlier.to_owned(), findings });
        }
        files::sync(self.unfinished)?;
        let named = match self.earlier {
            None => fs::rename(self.unfinished, to),
            Some(earlier) => exchange(self.unfinished, earlier),
        };
        named.map_err(|source| BackupError::Name { path: to.to_owned(), source })?;
        if self.earlier.is_some() {
            files::remove_dir(self.unfinished)?; // Which is the earlier one now.
        }
        let parent = to.parent().unwrap_or(Path::new("/"));
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(|source| BackupError::Write { path: parent.to_owned(), source })
    }
}

/// There is a whole backup of this name at every moment, where the file system can do that.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, new, AT_FDCWD, old, RenameFlags::RENAME_EXCHANGE) {
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => by_turns(new, old),
        done => Ok(done?),
    }
}

/// For a moment there is none of this name. If a power loss makes that moment long, the earlier one lies
/// beside it, whole, until the next backup gives it its name back.
fn by_turns(new: &Path, old: &Path) -> io::Result<()> {
    let aside = beside(old, EARLIER);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use campusgrid_core::time::Timestamp;

    use super::{EARLIER, Manifest, Work, backup, beside, by_turns, lock};
    use crate::backup::BackupError;
    use crate::store::{self, Store};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// A data directory in which nothing is missing, and where its backup goes.
    fn places(parent: &Path) -> (PathBuf, PathBuf) {
        let data_dir = parent.join("data");
        fs::create_dir_all(data_dir.join("tls")).unwrap();
        fs::write(data_dir.join("tls/ca.key"), "a key").unwrap();
        drop(Store::open(&data_dir.join(store::FILE)).unwrap());
        (data_dir, parent.join("backup"))
    }

    #[test]
    fn no_other_run_begins_before_this_one_has_cleared_up() {
        let parent = tempfile::tempdir().unwrap();
        let (data_dir, to) = places(parent.path());
        backup(&data_dir, &to, NOW).unwrap();
        let unfinished = beside(&to, ".unfinished");
        let held = lock(&to).unwrap();
        fs::create_dir(&unfinished).unwrap();
        let work = Work { data_dir: &data_dir, earlier: Some(&to), unfinished: &unfinished };
        let refused = || {
            let other = backup(&data_dir, &to, NOW);
            assert!(matches!(other, Err(BackupError::UnderWay { .. })), "{other:?}");
        };
        refused();
        let made = work.fill(Manifest::new(NOW.0 + 1)).unwrap();
        refused();
        work.name(&to, &made.manifest).unwrap();
        refused();
        assert_eq!(Manifest::read(&to).unwrap(), made.manifest);
        drop(held);
        backup(&data_dir, &to, NOW).unwrap();
    }

    #[test]
    fn without_an_exchange_one_of_the_two_is_whole_at_every_moment() {
        let parent = tempfile::tempdir().unwrap();
        let (data_dir, to) = places(parent.path());
        let first = backup(&data_dir, &to, NOW).unwrap().manifest;
        let (aside, unfinished) = (beside(&to, EARLIER), beside(&to, ".unfinished"));
        // The newer one is not to be had: the earlier one has its name back.
        assert!(by_turns(&unfinished, &to).is_err());
        assert_eq!(Manifest::read(&to).unwrap(), first);
        // The power fails after the first rename, and the next backup finds the earlier one again.
        fs::rename(&to, &aside).unwrap();
        let foreign = parent.path().join("nothing");
        assert!(backup(&foreign, &to, NOW).is_err());
        assert_eq!(Manifest::read(&to).unwrap(), first);
        // After the second: both are there, and the newer one has the name.
        backup(&data_dir, &unfinished, NOW.plus_ms(1)).unwrap();
        fs::rename(&to, &aside).unwrap();
        fs::rename(&unfinished, &to).unwrap();
        let third = backup(&data_dir, &to, NOW.plus_ms(2)).unwrap().manifest;
        assert_eq!(Manifest::read(&to).unwrap(), third);
        assert!(!aside.exists() && !unfinished.exists());
    }
}
