//! Blobs as they lie there, and how those go that nothing refers to.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::MutexGuard;
use std::time::SystemTime;

use campusgrid_protocol::id::BlobHash;

use super::{BlobError, Blobs, touch, unfinished};

/// Of a blob that may go: the mode says so, so that it is known after a restart as well.
const CONDEMNED_MODE: u32 = 0o400;

/// Blobs of old checkpoints that are remembered. What is more goes at its time, as all others do.
const SUPERSEDED_MAX: usize = 200_000;

/// A blob as it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lying {
    pub hash: BlobHash,
    pub bytes: u64,
    /// When it came, was last found to be here, or was condemned.
    pub touched_at: SystemTime,
    /// Whether nothing referred to it when it was looked at before.
    pub is_condemned: bool,
}

impl Blobs {
    /// The time as blobs are dated: that of their file system, whatever any clock of ours says.
    ///
    /// # Errors
    ///
    /// `Write`.
    pub fn time(&self) -> Result<SystemTime, BlobError> {
        let path = unfinished(&self.root).join("time");
        let time = || {
            drop(File::create(&path)?);
            touch(&path)?;
            fs::metadata(&path)?.modified()
        };
        time().map_err(|source| BlobError::Write { source })
    }

    /// All blobs whose hash begins with this byte.
    ///
    /// # Errors
    ///
    /// `List`.
    pub fn lying(&self, prefix: u8) -> Result<Vec<Lying>, BlobError> {
        let path = self.root.join(format!("{prefix:02x}"));
        let list = || {
            let mut lying = Vec::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let name = format!("{prefix:02x}{}", entry.file_name().to_string_lossy());
                // Whatever else is there, it is not ours; and a blob may go while it is listed.
                let Ok(hash) = blake3::Hash::from_hex(name) else { continue };
                let Ok(found) = entry.metadata() else { continue };
                lying.push(Lying {
                    hash: BlobHash(*hash.as_bytes()),
                    bytes: found.len(),
                    touched_at: found.modified()?,
                    is_condemned: found.permissions().readonly(),
                });
            }
            Ok(lying)
        };
        list().map_err(|source| BlobError::List { path: path.clone(), source })
    }

    /// Notes of blobs that a checkpoint was made of that another has taken the place of: there are new
    /// ones every few minutes, and whoever was told that they are here is told so no longer.
    pub fn supersede(&self, hashes: impl IntoIterator<Item = BlobHash>) {
        let mut superseded = self.superseded();
        for hash in hashes {
            if superseded.len() < SUPERSEDED_MAX {
                superseded.insert(hash);
            }
        }
    }

    /// Whether that was noted of a blob. Something else may refer to it all the same.
    pub fn is_superseded(&self, hash: BlobHash) -> bool {
        self.superseded().contains(&hash)
    }

    /// Forgets that it was: somebody has use for it.
    pub(super) fn prize(&self, hash: BlobHash) {
        self.superseded().remove(&hash);
    }

    fn superseded(&self) -> MutexGuard<'_, BTreeSet<BlobHash>> {
        self.superseded.lock().expect("nothing panics while it holds the list")
    }

    /// Notes on a blob that nothing refers to it, so that it can go when that is so for long enough; not
    /// if somebody has touched it since it was found there. Backups under way may refer to it.
    ///
    /// # Errors
    ///
    /// `Remove`.
    pub fn condemn(&self, lying: Lying) -> Result<bool, BlobError> {
        self.unless_touched(lying, |path| {
            fs::set_permissions(path, Permissions::from_mode(CONDEMNED_MODE))?;
            touch(path)
        })
    }

    /// Removes a blob that nothing refers to, unless somebody has touched it since it was found there;
    /// yields whether it is gone.
    ///
    /// # Errors
    ///
    /// `Remove`.
    pub fn remove(&self, lying: Lying) -> Result<bool, BlobError> {
        let is_gone = self.unless_touched(lying, |path| fs::remove_file(path))?;
        if is_gone {
            self.prize(lying.hash);
        }
        Ok(is_gone)
    }

    fn unless_touched(
        &self,
        lying: Lying,
        change: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<bool, BlobError> {
        let path = self.path(lying.hash);
        let _named = self.naming();
        let changed = match fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(touched_at) if touched_at != lying.touched_at => return Ok(false),
            Ok(_) => change(&path),
            Err(error) => Err(error),
        };
        match changed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            changed => changed.map(|()| true).map_err(|source| BlobError::Remove { source }),
        }
    }
}
