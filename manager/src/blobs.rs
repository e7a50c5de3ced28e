//! Files by the hash of their content, beneath one directory; written whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_protocol::id::{BlobHash, WorkerId};
use campusgrid_protocol::task::BlobRef;

use crate::disk::{self, Space};

/// What others have announced counts for one part in so many of the room at most.
const SHARE_OF_OTHERS: u64 = 2;

/// Several blobs of one machine take one part in so many of the room at most. A single one may be as
/// large as there is room.
const SHARE_OF_ONE: u64 = 4;

/// The directory of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    /// Left free for the database. Bytes.
    reserve_bytes: u64,
    announced: Arc<Mutex<Announced>>,
}

/// What is still to come of all that is being written: it has been let in and is not on disk yet.
/// Bytes, by whom it comes from.
#[derive(Debug, Default)]
struct Announced {
    all: u64,
    of: BTreeMap<WorkerId, u64>,
}

/// Why a blob could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("failed to make the directory {} for blobs", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("failed to write a blob")]
    Write { source: io::Error },
    #[error("the manager's disk has no room for {bytes} bytes now; they can be sent again later")]
    DiskFull { bytes: u64 },
    #[error(
        "this machine has {bytes} bytes more to send than fit now; they can be sent again later"
    )]
    TooMuchAtOnce { bytes: u64 },
    #[error("more than the announced {expected} bytes came")]
    TooLong { expected: u64 },
    #[error("{found} bytes came, {expected} were announced")]
    TooShort { expected: u64, found: u64 },
    #[error("the content's hash is {found}, not {expected}")]
    WrongHash { expected: BlobHash, found: BlobHash },
}

impl Blobs {
    /// Makes the directory if it is not there, and clears it of what was never finished. Blobs leave
    /// `reserve_bytes` of the disk free.
    ///
    /// # Errors
    ///
    /// `Directory`.
    pub fn open(root: PathBuf, reserve_bytes: u64) -> Result<Self, BlobError> {
        let fresh = || {
            let unfinished = unfinished(&root);
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(unfinished)?;
            // All at once, so that no blob has to wait for its directory to be durable.
            for prefix in 0..=u8::MAX {
                fs::create_dir_all(root.join(format!("{prefix:02x}")))?;
            }
            File::open(&root)?.sync_all()
        };
        match fresh() {
            Ok(()) => Ok(Self { root, reserve_bytes, announced: Arc::default() }),
            Err(source) => Err(BlobError::Directory { path: root, source }),
        }
    }

    /// Where a blob's content is, once it is there.
    pub fn path(&self, hash: BlobHash) -> PathBuf {
        place(&self.root, hash)
    }

    /// Whether a blob is here, whole.
    pub fn contains(&self, blob: BlobRef) -> bool {
        fs::metadata(self.path(blob.hash)).is_ok_and(|found| found.len() == blob.size_bytes)
    }

    /// Whether a blob is here and stays here, even if the power fails now: another upload of it may
    /// have put it in its place a moment ago.
    pub fn holds(&self, blob: BlobRef) -> bool {
        let path = self.path(blob.hash);
        let sync = || File::open(path.parent().expect("beneath the root"))?.sync_all();
        self.contains(blob) && sync().is_ok()
    }

    /// Begins to take in a blob from a machine; `name` is unique among what is being written. What
    /// others have announced counts, but for half of the room at most: it costs nothing to announce.
    ///
    /// # Errors
    ///
    /// `DiskFull` if it does not fit beside the reserve and what others have begun; `TooMuchAtOnce` if
    /// the machine has begun several that take a quarter of the room; `Write`.
    pub fn begin(&self, blob: BlobRef, name: &str, of: WorkerId) -> Result<Incoming, BlobError> {
        let room = self.announce(blob.size_bytes, of)?;
        let path = unfinished(&self.root).join(name);
        let file = File::create(&path).map_err(|source| failed(blob, source))?;
        let place = self.path(blob.hash);
        let (root, reserve_bytes) = (self.root.clone(), self.reserve_bytes);
        let hasher = blake3::Hasher::new();
        Ok(Incoming { blob, file, path, place, hasher, found: 0, room, root, reserve_bytes })
    }

    fn announce(&self, bytes: u64, of: WorkerId) -> Result<Room, BlobError> {
        let space = Space::of(&self.root).map_err(|source| BlobError::Write { source })?;
        let mut announced = lock(&self.announced);
        let own = announced.of.get(&of).copied().unwrap_or(0);
        let free = space.free_bytes.saturating_sub(self.reserve_bytes);
        let others = (announced.all - own).min(free / SHARE_OF_OTHERS);
        let wanted = self.reserve_bytes.saturating_add(others).saturating_add(own);
        if !space.has(wanted.saturating_add(bytes)) {
            return Err(BlobError::DiskFull { bytes });
        }
        if own > 0 && own.saturating_add(bytes) > free / SHARE_OF_ONE {
            return Err(BlobError::TooMuchAtOnce { bytes });
        }
        announced.all += bytes;
        *announced.of.entry(of).or_default() += bytes;
        Ok(Room { of, left_bytes: bytes, announced: Arc::clone(&self.announced) })
    }
}

fn lock(announced: &Mutex<Announced>) -> MutexGuard<'_, Announced> {
    announced.lock().expect("nothing panics while it counts what was announced")
}

/// Where a blob lies beneath a directory of blobs.
pub(crate) fn place(root: &Path, hash: BlobHash) -> PathBuf {
    let name = hash.to_string();
    root.join(&name[..2]).join(&name[2..])
}

/// What a blob that is being written still needs; given back when it is dropped.
#[derive(Debug)]
struct Room {
    of: WorkerId,
    left_bytes: u64,
    announced: Arc<Mutex<Announced>>,
}

impl Room {
    fn written(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left_bytes);
        if bytes == 0 {
            return;
        }
        self.left_bytes -= bytes;
        let mut announced = lock(&self.announced);
        announced.all -= bytes;
        let own = announced.of.get_mut(&self.of).expect("what is announced is somebody's");
        *own -= bytes;
        if *own == 0 {
            announced.of.remove(&self.of);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.written(self.left_bytes);
    }
}

fn failed(blob: BlobRef, source: io::Error) -> BlobError {
    if disk::is_full(&source) {
        BlobError::DiskFull { bytes: blob.size_bytes }
    } else {
        BlobError::Write { source }
    }
}

fn unfinished(root: &Path) -> PathBuf {
    root.join("unfinished")
}

/// A blob that is being written; dropped before it is whole, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    blob: BlobRef,
    file: File,
    path: PathBuf,
    place: PathBuf,
    hasher: blake3::Hasher,
    found: u64,
    room: Room,
    root: PathBuf,
    reserve_bytes: u64,
}

impl Incoming {
    /// Adds a piece; yields whether the blob is complete.
    ///
    /// # Errors
    ///
    /// `TooLong`, `DiskFull` and `Write`.
    pub fn add(&mut self, piece: &[u8]) -> Result<bool, BlobError> {
        let expected = self.blob.size_bytes;
        self.found += piece.len() as u64;
        if self.found > expected {
            return Err(BlobError::TooLong { expected });
        }
        self.check_reserve()?;
        self.hasher.update(piece);
        self.file.write_all(piece).map_err(|source| failed(self.blob, source))?;
        self.room.written(piece.len() as u64);
        Ok(self.found == expected)
    }

    /// More may have been let in than fits: what is written first has the room.
    fn check_reserve(&self) -> Result<(), BlobError> {
        let space = Space::of(&self.root).map_err(|source| BlobError::Write { source })?;
        let is_free = space.free_bytes >= self.reserve_bytes;
        if is_free { Ok(()) } else { Err(BlobError::DiskFull { bytes: self.blob.size_bytes }) }
    }

    /// Puts the blob in its place once all of it is on disk.
    ///
    /// # Errors
    ///
    /// `TooShort`, `WrongHash`, `DiskFull`, `Write`; nothing is then left.
    pub fn finish(self) -> Result<(), BlobError> {
        let (expected, found) = (self.blob.size_bytes, self.found);
        if found != expected {
            return Err(BlobError::TooShort { expected, found });
        }
        let found = BlobHash(*self.hasher.finalize().as_bytes());
        if found != self.blob.hash {
            return Err(BlobError::WrongHash { expected: self.blob.hash, found });
        }
        self.put_in_place().map_err(|source| failed(self.blob, source))
    }

    /// The file before its name, the name before its directory: else a power loss between them
    /// leaves a name without content.
    fn put_in_place(&self) -> io::Result<()> {
        self.file.sync_all()?;
        let directory = self.place.parent().expect("a blob's path has a directory");
        fs::rename(&self.path, &self.place)?;
        File::open(directory)?.sync_all()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Once it is in its place there is nothing here to remove.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::id::{BlobHash, WorkerId};
    use campusgrid_protocol::task::BlobRef;

    use super::{BlobError, Blobs};

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("cg-blobs-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        path
    }

    fn blob(content: &[u8]) -> BlobRef {
        let hash = BlobHash(*blake3::hash(content).as_bytes());
        BlobRef { hash, size_bytes: content.len() as u64 }
    }

    #[test]
    fn a_blob_is_there_when_it_is_whole_and_not_before() {
        let root = scratch("whole");
        let blobs = Blobs::open(root.clone(), 0).unwrap();
        let blob = blob(b"hello");
        let mut incoming = blobs.begin(blob, "a", WorkerId(1)).unwrap();
        assert!(!incoming.add(b"hel").unwrap());
        assert!(!blobs.contains(blob));
        assert!(incoming.add(b"lo").unwrap());
        incoming.finish().unwrap();
        assert!(blobs.contains(blob));
        assert_eq!(std::fs::read(blobs.path(blob.hash)).unwrap(), b"hello");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_blob_that_lies_leaves_nothing() {
        let root = scratch("lies");
        let blobs = Blobs::open(root.clone(), 0).unwrap();
        let announced = blob(b"hello");
        let mut wrong = blobs.begin(announced, "a", WorkerId(1)).unwrap();
        wrong.add(b"hullo").unwrap();
        assert!(matches!(wrong.finish(), Err(BlobError::WrongHash { .. })));
        let mut long = blobs.begin(announced, "b", WorkerId(1)).unwrap();
        assert!(matches!(long.add(b"hello!"), Err(BlobError::TooLong { expected: 5 })));
        drop(long);
        let short = blobs.begin(announced, "c", WorkerId(1)).unwrap();
        assert!(matches!(short.finish(), Err(BlobError::TooShort { .. })));
        assert!(!blobs.contains(announced));
        assert!(blobs.announced.lock().unwrap().all == 0);
        assert!(blobs.announced.lock().unwrap().of.is_empty());
        assert_eq!(std::fs::read_dir(root.join("unfinished")).unwrap().count(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_others_have_begun_counts_and_the_reserve_stays_free() {
        let root = scratch("room");
        let free = crate::disk::Space::of(&std::env::temp_dir()).unwrap().free_bytes;
        let blobs = Blobs::open(root.clone(), free / 4).unwrap();
        // One of them fits beside the reserve, two do not; other tests use the same disk.
        let large = BlobRef { hash: BlobHash([1; 32]), size_bytes: free / 20 * 9 };
        let first = blobs.begin(large, "a", WorkerId(1)).unwrap();
        for other in [WorkerId(1), WorkerId(2)] {
            assert!(matches!(blobs.begin(large, "b", other), Err(BlobError::DiskFull { .. })));
        }
        drop(first);
        drop(blobs.begin(large, "c", WorkerId(1)).unwrap());
        let whole = BlobRef { size_bytes: u64::MAX, ..large };
        assert!(matches!(blobs.begin(whole, "d", WorkerId(1)), Err(BlobError::DiskFull { .. })));
        std::fs::remove_dir_all(root).unwrap();
    }

    /// To announce costs nothing, so that it must not keep others out.
    #[test]
    fn what_is_only_announced_leaves_half_of_the_room_to_others() {
        let root = scratch("announced");
        let free = crate::disk::Space::of(&std::env::temp_dir()).unwrap().free_bytes;
        let blobs = Blobs::open(root.clone(), free / 4).unwrap();
        let of = |name: &str, worker, size_bytes| {
            let blob = BlobRef { hash: BlobHash([1; 32]), size_bytes };
            blobs.begin(blob, name, WorkerId(worker))
        };
        // Sixteenths of the disk, of which twelve are beside the reserve: one machine, then its accomplices.
        let held = of("a", 1, free / 16).unwrap();
        let more = of("b", 1, free / 16).unwrap();
        assert!(matches!(of("c", 1, free / 4), Err(BlobError::TooMuchAtOnce { .. })));
        let much: Vec<_> =
            (2..5).map(|worker| of(&worker.to_string(), worker, free / 4).unwrap()).collect();
        assert!(blobs.announced.lock().unwrap().all > free / 4 * 3, "more than there is");
        drop(of("d", 9, free / 4).unwrap());
        drop((held, more, much));
        assert!(blobs.announced.lock().unwrap().of.is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
