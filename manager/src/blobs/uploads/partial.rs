//! One upload in pieces: the file that grows, its note, and the hash of what has come.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;

use super::{Note, content_path, note_path};
use crate::blobs::incoming::check_reserve;
use crate::blobs::{BlobError, failed};

/// Read at once when what came in an earlier life is hashed. Bytes.
const REREAD_BYTES: usize = 1 << 20;

/// An upload that grows.
#[derive(Debug)]
pub struct Partial {
    place: PathBuf,
    note: Note,
    reserve_bytes: u64,
    file: File,
    offset_bytes: u64,
    hasher: blake3::Hasher,
    /// Of how much of it. Less than has come if the rest came in an earlier life.
    hashed_bytes: u64,
}

impl Partial {
    pub(super) fn begin(place: PathBuf, note: Note, reserve_bytes: u64) -> Result<Self, BlobError> {
        check_reserve(folder(&place), reserve_bytes, note.size_bytes)?;
        // The note of what was there before goes first: it is not about this content.
        super::remove(&place)?;
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true);
        let file = file.open(content_path(&place));
        let file = file.map_err(|source| failed(note.size_bytes, source))?;
        let hasher = blake3::Hasher::new();
        let mut begun =
            Self { place, note, reserve_bytes, file, offset_bytes: 0, hasher, hashed_bytes: 0 };
        begun.pause()?;
        Ok(begun)
    }

    pub(super) fn open(place: PathBuf, note: Note, reserve_bytes: u64) -> Result<Self, BlobError> {
        let open = || {
            let mut file = File::options().read(true).write(true).open(content_path(&place))?;
            let said = note.offset_bytes.min(note.size_bytes);
            let offset_bytes = said.min(file.metadata()?.len());
            file.set_len(offset_bytes)?;
            file.seek(SeekFrom::Start(offset_bytes))?;
            Ok((file, offset_bytes))
        };
        let (file, offset_bytes) = open().map_err(|source| BlobError::Reread { source })?;
        let hasher = blake3::Hasher::new();
        Ok(Self { place, note, reserve_bytes, file, offset_bytes, hasher, hashed_bytes: 0 })
    }

    /// Where the next piece begins.
    pub fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Whether it is to become this.
    pub fn is_to_be(&self, size_bytes: u64, hash: Option<BlobHash>) -> bool {
        (self.note.size_bytes, self.note.hash) == (size_bytes, hash)
    }

    pub fn is_whole(&self) -> bool {
        self.offset_bytes == self.note.size_bytes
    }

    /// Its content, as far as it has come.
    pub fn path(&self) -> PathBuf {
        content_path(&self.place)
    }

    /// Adds what follows. What fails half way may be there; [`Partial::offset_bytes`] does not count it.
    ///
    /// # Errors
    ///
    /// `TooLong`, `DiskFull`, `Write`.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        let (bytes, expected) = (piece.len() as u64, self.note.size_bytes);
        if self.offset_bytes + bytes > expected {
            return Err(BlobError::TooLong { expected });
        }
        check_reserve(folder(&self.place), self.reserve_bytes, bytes)?;
        if let Err(source) = self.file.write_all(piece) {
            let back = self.file.seek(SeekFrom::Start(self.offset_bytes));
            return Err(failed(bytes, back.err().unwrap_or(source)));
        }
        if self.hashed_bytes == self.offset_bytes {
            self.hasher.update(piece);
            self.hashed_bytes += bytes;
        }
        self.offset_bytes += bytes;
        Ok(())
    }

    /// Makes what has come outlast the manager, and a power loss.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Write`.
    pub fn pause(&mut self) -> Result<(), BlobError> {
        self.note.offset_bytes = self.offset_bytes;
        let note = serde_json::to_vec(&self.note).expect("a note is good JSON");
        let fresh = self.place.with_extension("fresh");
        let write = || {
            // The content before the note that speaks of it.
            self.file.sync_data()?;
            let mut file = File::create(&fresh)?;
            file.write_all(&note)?;
            file.sync_data()?;
            fs::rename(&fresh, note_path(&self.place))
        };
        write().map_err(|source| failed(note.len() as u64, source))
    }

    /// What has come, all of which is on disk then.
    ///
    /// # Errors
    ///
    /// `TooShort`, `WrongHash`, `Reread`, `DiskFull`, `Write`.
    pub fn check(&mut self) -> Result<BlobRef, BlobError> {
        let (expected, found) = (self.note.size_bytes, self.offset_bytes);
        if found != expected {
            return Err(BlobError::TooShort { expected, found });
        }
        self.hash_rest().map_err(|source| BlobError::Reread { source })?;
        let found = BlobHash(*self.hasher.finalize().as_bytes());
        if let Some(expected) = self.note.hash.filter(|&expected| expected != found) {
            return Err(BlobError::WrongHash { expected, found });
        }
        self.pause()?;
        Ok(BlobRef { hash: found, size_bytes: expected })
    }

    fn hash_rest(&mut self) -> io::Result<()> {
        if self.hashed_bytes == self.offset_bytes {
            return Ok(());
        }
        let mut file = File::open(content_path(&self.place))?;
        file.seek(SeekFrom::Start(self.hashed_bytes))?;
        let mut buffer = vec![0; REREAD_BYTES];
        while self.hashed_bytes < self.offset_bytes {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.hasher.update(&buffer[..read]);
            self.hashed_bytes += read as u64;
        }
        Ok(())
    }
}

fn folder(place: &Path) -> &Path {
    place.parent().expect("an upload lies in its user's folder")
}
