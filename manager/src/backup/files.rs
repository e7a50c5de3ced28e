//! Files of a backup: copied while their hashes are taken, and brought to the disk together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;
use serde::{Deserialize, Serialize};

use super::BackupError;

/// Read at once. Bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A file of a backup that is not named by its own hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Beneath the backup's directory, with `/` between its parts.
    pub path: String,
    pub size_bytes: u64,
    /// BLAKE3, hexadecimal.
    pub hash: String,
}

impl FileEntry {
    pub(super) fn new(path: &str, content: BlobRef) -> Self {
        let BlobRef { hash, size_bytes } = content;
        Self { path: path.to_owned(), size_bytes, hash: hash.to_string() }
    }

    /// Whether the content is the one of this entry.
    pub(super) fn is_of(&self, content: BlobRef) -> bool {
        *self == Self::new(&self.path, content)
    }
}

/// Copies a file that may be read by its owner only; yields what was copied.
///
/// # Errors
///
/// `Read` and `Write`; what is at `to` is then of no use.
pub(super) fn copy(from: &Path, to: &Path) -> Result<BlobRef, BackupError> {
    let write = |source| BackupError::Write { path: to.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(to).map_err(write)?;
    read_through(from, |piece| file.write_all(piece).map_err(write))
}

/// What a file contains.
///
/// # Errors
///
/// `Read`.
pub(super) fn content(path: &Path) -> Result<BlobRef, BackupError> {
    read_through(path, |_| Ok(()))
}

fn read_through(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<BlobRef, BackupError> {
    let read = |source| BackupError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hasher = blake3::Hasher::new();
    loop {
        let length = match file.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(read(source)),
        };
        if length == 0 {
            let hash = BlobHash(*hasher.finalize().as_bytes());
            return Ok(BlobRef { hash, size_bytes: hasher.count() });
        }
        hasher.update(&chunk[..length]);
        each(&chunk[..length])?;
    }
}

/// Writes a small file.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let mut options = OpenOptions::new();
    let open = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = open.and_then(|mut file| file.write_all(content));
    written.map_err(|source| BackupError::Write { path: path.to_owned(), source })
}

/// Makes a directory, and those above it, that only their owner may enter.
pub(super) fn make_dir(path: &Path) -> Result<(), BackupError> {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.recursive(true).create(path);
    made.map_err(|source| BackupError::Write { path: path.to_owned(), source })
}

/// Removes a directory and all in it; one that is not there is gone already.
pub(super) fn remove_dir(path: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::Write { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Names of what is in a directory, sorted; none if it is not there.
pub(super) fn names(path: &Path) -> Result<Vec<String>, BackupError> {
    let read = |source| BackupError::Read { path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>().map_err(read)?;
    names.sort();
    Ok(names)
}

/// Brings everything that was written to the file system of a directory to its disk.
pub(super) fn sync(directory: &Path) -> Result<(), BackupError> {
    let synced = File::open(directory).and_then(|file| Ok(nix::unistd::syncfs(file)?));
    synced.map_err(|source| BackupError::Write { path: directory.to_owned(), source })
}
