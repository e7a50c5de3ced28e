//! Locks that lists of requirements came to, kept on the disk for as long as an index is taken to say
//! the same.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::message::LOCK_MAX_BYTES;

use crate::clock;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    dir: PathBuf,
    fresh: Duration,
}

impl Answers {
    pub(super) fn open(dir: PathBuf, fresh: Duration) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, fresh })
    }

    /// The lock of an earlier answer, if that is young enough.
    ///
    /// An empty lock is none: it would become that of the whole job, and nothing else tells it from
    /// a file that was never written to its end.
    pub(super) fn find(&self, key: &blake3::Hash) -> Option<Lock> {
        let path = self.path(key);
        self.is_fresh(&path).ok().filter(|is_fresh| *is_fresh)?;
        let text = fs::read_to_string(path).ok().filter(|text| text.len() <= LOCK_MAX_BYTES)?;
        Lock::check(&text).ok().filter(|lock| lock.packages() > 0)
    }

    /// Keeps an answer, whole or not at all; `draft` is a path of the same file system that nobody
    /// else uses. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system; nothing is kept then.
    pub(super) fn keep(&self, key: &blake3::Hash, lock: &Lock, draft: &Path) -> io::Result<()> {
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(draft)?;
            file.write_all(lock.text().as_bytes())?;
            file.sync_all()?; // Or the name could outlive a loss of power without the text.
            fs::rename(draft, self.path(key))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(draft); // Also swept at the next start.
        })
    }

    /// Removes those that are too old. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn forget_old(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !self.is_fresh(&path)? {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn is_fresh(&self, answer: &Path) -> io::Result<bool> {
        let modified = fs::metadata(answer)?.modified()?;
        let asked_s = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(clock::unix_s().saturating_sub(asked_s) < self.fresh.as_secs())
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.dir.join(key.to_hex().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn lock() -> Lock {
        Lock::check(&format!("six==1.16.0 --hash=sha256:{:064}", 0)).unwrap()
    }

    #[test]
    fn an_answer_is_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::open(dir.path().join("answers"), HOUR).unwrap();
        let key = blake3::hash(b"six");
        assert_eq!(answers.find(&key), None);
        let nowhere = dir.path().join("missing/draft");
        answers.keep(&key, &lock(), &nowhere).unwrap_err();
        assert_eq!(answers.find(&key), None);
        let draft = dir.path().join(".draft");
        answers.keep(&key, &lock(), &draft).unwrap();
        assert_eq!(answers.find(&key), Some(lock()));
        assert!(!draft.exists());
    }

    #[test]
    fn an_empty_file_is_no_answer_and_an_old_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::open(dir.path().join("answers"), HOUR).unwrap();
        let key = blake3::hash(b"six");
        for nothing in ["", "# requires-python: >=3.10\n"] {
            fs::write(answers.path(&key), nothing).unwrap();
            assert_eq!(answers.find(&key), None, "{nothing:?} would be a lock of no packages");
        }
        answers.keep(&key, &lock(), &dir.path().join(".draft")).unwrap();
        answers.forget_old().unwrap();
        assert!(answers.find(&key).is_some());
        let old = UNIX_EPOCH + Duration::from_secs(clock::unix_s() - 2 * HOUR.as_secs());
        File::open(answers.path(&key)).unwrap().set_modified(old).unwrap();
        assert_eq!(answers.find(&key), None);
        answers.forget_old().unwrap();
        assert!(!answers.path(&key).exists());
    }
}
