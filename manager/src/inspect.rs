//! Looks at a whole data directory: the database file, the books in it, the blobs against its rows, and
//! what workers know this manager by. Removes blobs that nothing refers to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::BlobHash;

use crate::blobs::place;
use crate::store::{self, Depth, Findings, ReferredBlob, StoreError, fsck, referred_blobs};

/// Findings of one kind that are told; more of it says nothing new.
const TOLD_MAX: usize = 20;

/// A blob that nothing refers to yet may be one of a result that its worker has still to report: it is
/// left alone for so long, counted from when it came. Longer than a worker can be away and still be
/// heard: the longest time limit, and a day to bring its results home.
const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Why a data directory could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("there is no database at {}: is this the right --data-dir?", path.display())]
    NoDatabase { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to list {}", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("failed to remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// What the daemon does every hour: no blob is read.
    Hourly,
    /// Also the indexes of the database.
    Files,
    /// Also the content of every blob.
    Content,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    pub books: Findings,
    /// What is missing or damaged beside the database, in words.
    pub files: Vec<String>,
    pub blobs: u64,
    pub unreferred: Unreferred,
}

/// Blobs that no row refers to: uploads whose result was never reported, or was not wanted any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreferred {
    pub blobs: u64,
    pub bytes: u64,
    /// Those of them that nobody can refer to any more.
    old: Vec<PathBuf>,
}

/// Looks at a data directory, which a daemon may be using.
///
/// # Errors
///
/// `NoDatabase`, `Store`, `List`: nothing is then known.
pub fn inspect(
    data_dir: &Path,
    closeness: Closeness,
    now: Timestamp,
) -> Result<Inspection, InspectError> {
    let database = data_dir.join(store::FILE);
    if !database.exists() {
        return Err(InspectError::NoDatabase { path: database });
    }
    let depth = match closeness {
        Closeness::Hourly => Depth::Quick,
        Closeness::Files | Closeness::Content => Depth::Whole,
    };
    let books = fsck(&database, depth)?;
    let mut inspection = Inspection { books, ..Inspection::default() };
    for name in ["ca.key", "ca.pem"] {
        if !data_dir.join("tls").join(name).exists() {
            let finding = format!("tls/{name} is missing: no worker would know this manager again");
            inspection.files.push(finding);
        }
    }
    // A database that is damaged does not say which blobs there should be.
    if let Ok(referred) = referred_blobs(&database) {
        // One entry for each, whatever refers to it.
        let referred: BTreeMap<BlobHash, ReferredBlob> =
            referred.into_iter().map(|referred| (referred.blob.hash, referred)).collect();
        let root = data_dir.join("blobs");
        check_blobs(&root, &referred, closeness, &mut inspection.files);
        inspection.blobs = referred.len() as u64;
        inspection.unreferred = unreferred(&root, &referred, now)?;
    }
    Ok(inspection)
}

/// Removes the blobs that an inspection found to be referred to by nothing, and that are old enough for
/// nothing to come that would. No daemon may be running: the caller holds its lock. Yields how many.
///
/// # Errors
///
/// `Remove`; those before it are gone.
pub fn prune(inspection: &Inspection) -> Result<u64, InspectError> {
    for path in &inspection.unreferred.old {
        fs::remove_file(path)
            .map_err(|source| InspectError::Remove { path: path.clone(), source })?;
    }
    Ok(inspection.unreferred.old.len() as u64)
}

fn check_blobs(
    root: &Path,
    referred: &BTreeMap<BlobHash, ReferredBlob>,
    closeness: Closeness,
    findings: &mut Vec<String>,
) {
    let mut broken = 0;
    for ReferredBlob { blob, by } in referred.values() {
        let path = place(root, blob.hash);
        let wrong = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is missing".to_owned()),
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(found) if found.len() != blob.size_bytes => {
                Some(format!("has {} bytes, not {}", found.len(), blob.size_bytes))
            }
            Ok(_) if closeness == Closeness::Content => wrong_content(&path, blob.hash),
            Ok(_) => None,
        };
        if let Some(wrong) = wrong {
            broken += 1;
            if broken <= TOLD_MAX {
                findings.push(format!("blob {} ({by}) {wrong}", blob.hash));
            }
        }
    }
    if let Some(more) = broken.checked_sub(TOLD_MAX).filter(|&more| more > 0) {
        findings.push(format!("{more} more blobs are missing or damaged"));
    }
}

fn wrong_content(path: &Path, hash: BlobHash) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
    match read {
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(()) if *hasher.finalize().as_bytes() != hash.0 => {
            Some("is damaged: its content has another hash".to_owned())
        }
        Ok(()) => None,
    }
}

fn unreferred(
    root: &Path,
    referred: &BTreeMap<BlobHash, ReferredBlob>,
    now: Timestamp,
) -> Result<Unreferred, InspectError> {
    let mut found = Unreferred::default();
    for prefix in 0..=u8::MAX {
        let directory = root.join(format!("{prefix:02x}"));
        let list = |source| InspectError::List { path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(list)?,
        };
        for entry in entries {
            let entry = entry.map_err(list)?;
            let name = format!("{prefix:02x}{}", entry.file_name().to_string_lossy());
            let Some(hash) = blob_hash(&name) else { continue }; // Whatever it is, it is not ours.
            let Ok(metadata) = entry.metadata() else { continue };
            if referred.contains_key(&hash) {
                continue;
            }
            found.blobs += 1;
            found.bytes += metadata.len();
            let came = u64::try_from(metadata.mtime()).unwrap_or(0).saturating_mul(1000);
            if now.since_ms(Timestamp(came)) > KEPT_MS {
                found.old.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn blob_hash(name: &str) -> Option<BlobHash> {
    blake3::Hash::from_hex(name).ok().map(|hash| BlobHash(*hash.as_bytes()))
}
