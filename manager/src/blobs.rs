//! Files by the hash of their content, beneath one directory; written whole or not at all.

mod incoming;
mod lying;
mod room;
pub mod uploads;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_protocol::id::{BlobHash, UserId, WorkerId};
use campusgrid_protocol::task::BlobRef;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::syncfs;

use crate::disk;
pub use incoming::{Incoming, Written};
pub use lying::Lying;
use room::{Announced, Party};
use uploads::Uploads;

/// Of a blob that is kept: nobody writes it again, but one that may be written is not condemned.
const KEPT_MODE: u32 = 0o600;

/// The directory of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    /// Left free for the database. Bytes.
    reserve_bytes: u64,
    announced: Arc<Mutex<Announced>>,
    /// Held while a blob gets its name, is taken in use, or goes: what is found to be here stays.
    names: Arc<Mutex<()>>,
    /// Names for what is being written by users.
    numbers: Arc<AtomicU64>,
    uploads: Uploads,
    /// Of checkpoints in whose place others have come.
    superseded: Arc<Mutex<BTreeSet<BlobHash>>>,
}

/// What is known of a blob before it comes.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    Blob(BlobRef),
    AtMost { bytes: u64, hash: Option<BlobHash> },
}

/// Why a blob could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("failed to make the directory {} for blobs", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("failed to write a blob")]
    Write { source: io::Error },
    #[error("failed to read what has come of an upload")]
    Reread { source: io::Error },
    #[error("failed to list the blobs in {}", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("failed to remove a blob")]
    Remove { source: io::Error },
    #[error("the manager's disk has no room for {bytes} bytes now; they can be sent again later")]
    DiskFull { bytes: u64 },
    #[error("{bytes} bytes more from the same sender do not fit now; they can be sent again later")]
    TooMuchAtOnce { bytes: u64 },
    #[error("more than the announced {expected} bytes came")]
    TooLong { expected: u64 },
    #[error("{found} bytes came, {expected} were announced")]
    TooShort { expected: u64, found: u64 },
    #[error("the content's hash is {found}, not {expected}")]
    WrongHash { expected: BlobHash, found: BlobHash },
}

impl Blobs {
    /// Makes the directory if it is not there, and clears it of what was never finished, but for uploads
    /// that can go on. Blobs leave `reserve_bytes` of the disk free.
    ///
    /// # Errors
    ///
    /// `Directory`.
    pub fn open(root: PathBuf, reserve_bytes: u64) -> Result<Self, BlobError> {
        let uploads = Uploads::new(root.join("uploads"), reserve_bytes);
        let fresh = || {
            let unfinished = unfinished(&root);
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(unfinished)?;
            fs::create_dir_all(uploads.root())?;
            // All at once, so that no blob has to wait for its directory to be durable.
            for prefix in 0..=u8::MAX {
                fs::create_dir_all(root.join(format!("{prefix:02x}")))?;
            }
            File::open(&root)?.sync_all()
        };
        match fresh() {
            Ok(()) => Ok(Self {
                root,
                reserve_bytes,
                announced: Arc::default(),
                names: Arc::default(),
                numbers: Arc::default(),
                uploads,
                superseded: Arc::default(),
            }),
            Err(source) => Err(BlobError::Directory { path: root, source }),
        }
    }

    /// Uploads that come in pieces.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Where a blob's content is, once it is there.
    pub fn path(&self, hash: BlobHash) -> PathBuf {
        place(&self.root, hash)
    }

    /// Whether a blob is here, whole.
    pub fn contains(&self, blob: BlobRef) -> bool {
        fs::metadata(self.path(blob.hash)).is_ok_and(|found| found.len() == blob.size_bytes)
    }

    /// Whether a blob is here, whole, and stays for as long as what is new does: nothing refers to it
    /// yet, maybe, and whoever asks is about to.
    pub fn touch(&self, blob: BlobRef) -> bool {
        let _named = self.naming();
        let path = self.path(blob.hash);
        let reprieve = || {
            fs::set_permissions(&path, Permissions::from_mode(KEPT_MODE))?;
            touch(&path)
        };
        self.prize(blob.hash);
        self.contains(blob) && reprieve().is_ok()
    }

    /// Whether a blob is here and stays here as after [`Blobs::touch`], even if the power fails now:
    /// another upload of it may have put it in its place a moment ago.
    pub fn holds(&self, blob: BlobRef) -> bool {
        let path = self.path(blob.hash);
        let sync = || File::open(path.parent().expect("beneath the root"))?.sync_all();
        self.touch(blob) && sync().is_ok()
    }

    /// Begins to take in a blob from a machine; `name` is unique among what is being written. What
    /// others have announced counts, but for half of the room at most: it costs nothing to announce.
    ///
    /// # Errors
    ///
    /// `DiskFull` if it does not fit beside the reserve and what others have begun; `TooMuchAtOnce` if
    /// the machine has begun several that take a quarter of the room; `Write`.
    pub fn begin(&self, blob: BlobRef, name: &str, of: WorkerId) -> Result<Incoming, BlobError> {
        let room = self.announce(blob.size_bytes, Party::Worker(of))?;
        Incoming::begin(self, Expected::Blob(blob), name, room)
    }

    /// Begins to take in a blob from a user, of which so many bytes are announced, as [`Blobs::begin`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive(
        &self,
        expected: Expected,
        announced_bytes: u64,
        of: UserId,
    ) -> Result<Incoming, BlobError> {
        let room = self.announce(announced_bytes, Party::User(of))?;
        let name = format!("user-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        Incoming::begin(self, expected, &name, room)
    }

    /// Keeps some content of our own; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Write`.
    pub fn keep(&self, content: &[u8]) -> Result<BlobRef, BlobError> {
        let hash = BlobHash(*blake3::hash(content).as_bytes());
        let blob = BlobRef { hash, size_bytes: content.len() as u64 };
        if self.holds(blob) {
            return Ok(blob);
        }
        let room = self.announce(0, Party::Ourselves)?;
        let name = format!("own-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let mut incoming = Incoming::begin(self, Expected::Blob(blob), &name, room)?;
        incoming.add(content)?;
        incoming.finish()
    }

    /// Gives a file the name of its content, beside the one it has; it is on disk already.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Write`.
    pub fn adopt(&self, file: &Path, blob: BlobRef) -> Result<(), BlobError> {
        let name = format!("adopted-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let beside = unfinished(&self.root).join(name);
        let adopt = || {
            // A link of its own, since nothing but a rename takes a name that may be there.
            fs::hard_link(file, &beside)?;
            touch(&beside)?;
            self.name(&beside, blob.hash)?;
            // Where both names are of one file already, a rename does nothing.
            drop(fs::remove_file(&beside));
            self.sync_directory(blob.hash)
        };
        adopt().map_err(|source| failed(blob.size_bytes, source))
    }

    /// Puts many blobs in their places at once: with one sync of the file system for all of them, since
    /// one for each takes minutes where there are thousands.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Write`; some of them may then be in their places.
    pub fn settle(&self, written: Vec<Written>) -> Result<(), BlobError> {
        let bytes = written.iter().map(|written| written.blob().size_bytes).sum();
        let settle = || {
            syncfs(File::open(&self.root)?)?;
            for written in &written {
                self.name(written.path(), written.blob().hash)?;
            }
            let prefixes: BTreeSet<u8> = written.iter().map(|it| it.blob().hash.0[0]).collect();
            prefixes.into_iter().try_for_each(|prefix| {
                File::open(self.root.join(format!("{prefix:02x}")))?.sync_all()
            })
        };
        settle().map_err(|source| failed(bytes, source))
    }

    /// Checks that so many bytes can be written to the same disk without what is left for the database.
    ///
    /// # Errors
    ///
    /// `DiskFull`; `Write` if the system does not say how much is free.
    pub fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        incoming::check_reserve(&self.root, self.reserve_bytes, bytes)
    }

    fn announce(&self, bytes: u64, of: Party) -> Result<room::Room, BlobError> {
        room::announce(&self.announced, &self.root, self.reserve_bytes, (bytes, of))
    }

    /// Renames a file to its content's hash, in place of what has that name.
    fn name(&self, file: &Path, hash: BlobHash) -> io::Result<()> {
        let _named = self.naming();
        fs::rename(file, self.path(hash))
    }

    fn sync_directory(&self, hash: BlobHash) -> io::Result<()> {
        File::open(self.path(hash).parent().expect("beneath the root"))?.sync_all()
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.names.lock().expect("nothing panics while it names a blob")
    }
}

/// Where a blob lies beneath a directory of blobs.
pub(crate) fn place(root: &Path, hash: BlobHash) -> PathBuf {
    let name = hash.to_string();
    root.join(&name[..2]).join(&name[2..])
}

fn failed(bytes: u64, source: io::Error) -> BlobError {
    if disk::is_full(&source) { BlobError::DiskFull { bytes } } else { BlobError::Write { source } }
}

fn unfinished(root: &Path) -> PathBuf {
    root.join("unfinished")
}

/// Gives a file the time that its file system has now.
fn touch(path: &Path) -> io::Result<()> {
    let (kept, now) = (TimeSpec::UTIME_OMIT, TimeSpec::UTIME_NOW);
    Ok(utimensat(AT_FDCWD, path, &kept, &now, UtimensatFlags::NoFollowSymlink)?)
}

#[cfg(test)]
mod tests;
