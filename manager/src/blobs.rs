//! Files by the hash of their content, beneath one directory; written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;

/// The directory of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

/// Why a blob could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("failed to make the directory {} for blobs", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("failed to write a blob")]
    Write { source: io::Error },
    #[error("more than the announced {expected} bytes came")]
    TooLong { expected: u64 },
    #[error("{found} bytes came, {expected} were announced")]
    TooShort { expected: u64, found: u64 },
    #[error("the content's hash is {found}, not {expected}")]
    WrongHash { expected: BlobHash, found: BlobHash },
}

impl Blobs {
    /// Makes the directory if it is not there, and clears it of what was never finished.
    ///
    /// # Errors
    ///
    /// `Directory`.
    pub fn open(root: PathBuf) -> Result<Self, BlobError> {
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
            Ok(()) => Ok(Self { root }),
            Err(source) => Err(BlobError::Directory { path: root, source }),
        }
    }

    /// Where a blob's content is, once it is there.
    pub fn path(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(&name[..2]).join(&name[2..])
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

    /// Begins to take in a blob; `name` is unique among what is being written.
    ///
    /// # Errors
    ///
    /// `Write`.
    pub fn begin(&self, blob: BlobRef, name: &str) -> Result<Incoming, BlobError> {
        let path = unfinished(&self.root).join(name);
        let file = File::create(&path).map_err(|source| BlobError::Write { source })?;
        let place = self.path(blob.hash);
        Ok(Incoming { blob, file, path, place, hasher: blake3::Hasher::new(), found: 0 })
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
}

impl Incoming {
    /// Adds a piece; yields whether the blob is complete.
    ///
    /// # Errors
    ///
    /// `TooLong` and `Write`.
    pub fn add(&mut self, piece: &[u8]) -> Result<bool, BlobError> {
        let expected = self.blob.size_bytes;
        self.found += piece.len() as u64;
        if self.found > expected {
            return Err(BlobError::TooLong { expected });
        }
        self.hasher.update(piece);
        self.file.write_all(piece).map_err(|source| BlobError::Write { source })?;
        Ok(self.found == expected)
    }

    /// Puts the blob in its place once all of it is on disk.
    ///
    /// # Errors
    ///
    /// `TooShort`, `WrongHash`, `Write`; nothing is then left.
    pub fn finish(self) -> Result<(), BlobError> {
        let (expected, found) = (self.blob.size_bytes, self.found);
        if found != expected {
            return Err(BlobError::TooShort { expected, found });
        }
        let found = BlobHash(*self.hasher.finalize().as_bytes());
        if found != self.blob.hash {
            return Err(BlobError::WrongHash { expected: self.blob.hash, found });
        }
        self.put_in_place().map_err(|source| BlobError::Write { source })
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
    use campusgrid_protocol::id::BlobHash;
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
        let blobs = Blobs::open(root.clone()).unwrap();
        let blob = blob(b"hello");
        let mut incoming = blobs.begin(blob, "a").unwrap();
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
        let blobs = Blobs::open(root.clone()).unwrap();
        let announced = blob(b"hello");
        let mut wrong = blobs.begin(announced, "a").unwrap();
        wrong.add(b"hullo").unwrap();
        assert!(matches!(wrong.finish(), Err(BlobError::WrongHash { .. })));
        let mut long = blobs.begin(announced, "b").unwrap();
        assert!(matches!(long.add(b"hello!"), Err(BlobError::TooLong { expected: 5 })));
        drop(long);
        let short = blobs.begin(announced, "c").unwrap();
        assert!(matches!(short.finish(), Err(BlobError::TooShort { .. })));
        assert!(!blobs.contains(announced));
        assert_eq!(std::fs::read_dir(root.join("unfinished")).unwrap().count(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }
}
