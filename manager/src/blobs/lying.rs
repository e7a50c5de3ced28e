//! Blobs as they lie there, and how those go that nothing refers to.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use campusgrid_protocol::id::BlobHash;

use super::{BlobError, Blobs, touch, unfinished};

/// Of a blob that may go: the mode says so, so that it is known after a restart as well.
const CONDEMNED_MODE: u32 = 0o400;

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
        self.unless_touched(lying, |path| fs::remove_file(path))
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
