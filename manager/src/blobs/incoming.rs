//! A blob that is being written in one go.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;

use super::room::Room;
use super::{BlobError, Blobs, Expected, failed, unfinished};
use crate::disk::Space;

/// A blob that is being written; dropped before it is whole, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    expected: Expected,
    file: File,
    path: OwnFile,
    hasher: blake3::Hasher,
    found: u64,
    room: Room,
    blobs: Blobs,
}

impl Incoming {
    pub(super) fn begin(
        blobs: &Blobs,
        expected: Expected,
        name: &str,
        room: Room,
    ) -> Result<Self, BlobError> {
        let path = unfinished(&blobs.root).join(name);
        let file = File::create(&path).map_err(|source| failed(expected.bytes(), source))?;
        let (path, hasher, blobs) = (OwnFile(path), blake3::Hasher::new(), blobs.clone());
        Ok(Self { expected, file, path, hasher, found: 0, room, blobs })
    }

    /// Adds a piece; yields whether the blob is complete, if its size is known.
    ///
    /// # Errors
    ///
    /// `TooLong`, `DiskFull` and `Write`.
    pub fn add(&mut self, piece: &[u8]) -> Result<bool, BlobError> {
        let expected = self.expected.bytes();
        self.found += piece.len() as u64;
        if self.found > expected {
            return Err(BlobError::TooLong { expected });
        }
        check_reserve(&self.blobs.root, self.blobs.reserve_bytes, piece.len() as u64)?;
        self.hasher.update(piece);
        self.file.write_all(piece).map_err(|source| failed(expected, source))?;
        self.room.written(piece.len() as u64);
        Ok(match self.expected {
            Expected::Blob(_) => self.found == expected,
            Expected::AtMost { .. } => false,
        })
    }

    /// Puts the blob in its place once all of it is on disk.
    ///
    /// # Errors
    ///
    /// `TooShort`, `WrongHash`, `DiskFull`, `Write`; nothing is then left.
    pub fn finish(self) -> Result<BlobRef, BlobError> {
        let blob = self.check()?;
        // The file before its name, the name before its directory: else a power loss between them
        // leaves a name without content.
        let put_in_place = || {
            self.file.sync_all()?;
            self.blobs.name(&self.path.0, blob.hash)?;
            self.blobs.sync_directory(blob.hash)
        };
        put_in_place().map_err(|source| failed(blob.size_bytes, source))?;
        Ok(blob)
    }

    /// The blob as it is to be put in its place by [`Blobs::settle`], together with others.
    ///
    /// # Errors
    ///
    /// `TooShort`, `WrongHash`; nothing is then left.
    pub fn written(self) -> Result<Written, BlobError> {
        let blob = self.check()?;
        Ok(Written { blob, path: self.path })
    }

    fn check(&self) -> Result<BlobRef, BlobError> {
        let (found, hash) = (self.found, BlobHash(*self.hasher.finalize().as_bytes()));
        let expected = match self.expected {
            Expected::Blob(BlobRef { size_bytes: expected, .. }) if found != expected => {
                return Err(BlobError::TooShort { expected, found });
            }
            Expected::Blob(blob) => Some(blob.hash),
            Expected::AtMost { hash, .. } => hash,
        };
        match expected.filter(|&expected| expected != hash) {
            Some(expected) => Err(BlobError::WrongHash { expected, found: hash }),
            None => Ok(BlobRef { hash, size_bytes: found }),
        }
    }
}

impl Expected {
    /// The most that may come.
    fn bytes(self) -> u64 {
        match self {
            Self::Blob(blob) => blob.size_bytes,
            Self::AtMost { bytes, .. } => bytes,
        }
    }
}

/// More may have been let in than fits: what is written first has the room.
pub(super) fn check_reserve(
    folder: &Path,
    reserve_bytes: u64,
    bytes: u64,
) -> Result<(), BlobError> {
    let space = Space::of(folder).map_err(|source| BlobError::Write { source })?;
    let has_room = space.has(reserve_bytes.saturating_add(bytes));
    if has_room { Ok(()) } else { Err(BlobError::DiskFull { bytes }) }
}

/// A blob of which all is written and checked, but not in its place; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Written {
    blob: BlobRef,
    path: OwnFile,
}

impl Written {
    pub fn blob(&self) -> BlobRef {
        self.blob
    }

    /// Where its content is, for as long as this is.
    pub fn path(&self) -> &Path {
        &self.path.0
    }
}

/// A file that goes when this is dropped. Once it has another name there is nothing here to remove.
#[derive(Debug)]
struct OwnFile(PathBuf);

impl Drop for OwnFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
