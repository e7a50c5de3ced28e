//! Puts a backup in the place of a data directory that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::BlobHash;

use super::files::{self, FileEntry};
use super::{BackupError, DEVICE_KEY, Manifest};
use crate::blobs::place;
use crate::data_dir::{self, DataDirError, RESTORING};
use crate::store::{self, Depth, Store, fsck, referred_blobs};

/// Findings that are told.
const TOLD_MAX: usize = 20;

/// What may be in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Nothing.
    Never,
    /// Anything that no manager runs on; it is moved aside.
    Force,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub manifest: Manifest,
    /// Where what was there before is now.
    pub aside: Option<PathBuf>,
    /// The number of the first job that is submitted from now on.
    pub next_job: u64,
}

/// Restores a backup to a data directory. Every file is checked against its hash, and the books are
/// checked, before anything takes its place.
///
/// # Errors
///
/// Those of [`BackupError`] that are about restoring; the data directory is then as it was, but for a
/// failure to move files at the very end, after which a manager refuses to start on it until a restore
/// has gone through.
pub fn restore(
    backup: &Path,
    data_dir: &Path,
    overwrite: Overwrite,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(backup)?;
    files::make_dir(data_dir)?;
    let _lock = data_dir::lock(data_dir).map_err(|error| {
        if matches!(error, DataDirError::InUse { .. }) {
            return BackupError::Live { path: data_dir.to_owned() };
        }
        BackupError::Take(error)
    })?;
    let present: Vec<String> = files::names(data_dir)?
        .into_iter()
        .filter(|name| name != data_dir::LOCK && name != RESTORING)
        .collect();
    if !present.is_empty() && overwrite == Overwrite::Never {
        return Err(BackupError::NotEmpty { path: data_dir.to_owned() });
    }
    let staging = data_dir.join(RESTORING);
    files::remove_dir(&staging)?;
    files::make_dir(&staging)?;
    let next_job = match stage(backup, &staging, &manifest) {
        Ok(next_job) => next_job,
        Err(error) => {
            drop(files::remove_dir(&staging)); // The first trouble is the one to tell.
            return Err(error);
        }
    };
    let aside = move_aside(data_dir, &present, now)?;
    // The database comes last: without it nothing takes this for a data directory.
    let mut names = files::names(&staging)?;
    names.sort_by_key(|name| name == store::FILE);
    for name in names {
        rename(&staging.join(&name), &data_dir.join(&name))?;
    }
    files::sync(data_dir)?;
    files::remove_dir(&staging)?;
    sync_dir(data_dir)?;
    Ok(Restored { manifest, aside, next_job })
}

/// Copies and checks all of a backup. Yields the number that the next job gets.
fn stage(backup: &Path, staging: &Path, manifest: &Manifest) -> Result<u64, BackupError> {
    let mut findings = Vec::new();
    for entry in &manifest.files {
        copy_entry(backup, staging, entry, &mut findings)?;
    }
    let database = staging.join(store::FILE);
    if !database.exists() && findings.is_empty() {
        findings.push("the manifest names no database".to_owned());
    }
    if findings.is_empty() {
        copy_blobs(backup, staging, manifest, &mut findings)?;
    }
    if !findings.is_empty() {
        findings.truncate(TOLD_MAX);
        return Err(BackupError::Damaged { findings });
    }
    // It may be of an earlier version, which this brings up to date.
    let mut store = Store::open(&database)?;
    store.settle_restored()?;
    let next_job = store.next_job()?;
    store.checkpoint()?;
    drop(store);
    let known: BTreeSet<&String> = manifest.broken.iter().collect();
    let mut findings = fsck(&database, Depth::Whole)?.broken;
    // A manager that starts on a backup of what was broken already settles nothing before its own check.
    let note = data_dir::note_books(staging, &findings);
    note.map_err(|source| BackupError::Note { source })?;
    findings.retain(|finding| !known.contains(finding));
    if !findings.is_empty() {
        return Err(BackupError::Damaged { findings });
    }
    files::sync(staging)?;
    Ok(next_job)
}

fn copy_entry(
    backup: &Path,
    staging: &Path,
    entry: &FileEntry,
    findings: &mut Vec<String>,
) -> Result<(), BackupError> {
    // A manifest comes from outside: a path in it must not lead out of the directory.
    let is_ours = entry.path == store::FILE
        || entry.path == DEVICE_KEY
        || entry.path.strip_prefix("tls/").is_some_and(|name| {
            !name.is_empty() && !name.contains('/') && name != "." && name != ".."
        });
    if !is_ours {
        findings.push(format!("the manifest names {:?}, which no backup has", entry.path));
        return Ok(());
    }
    let to = staging.join(&entry.path);
    files::make_dir(to.parent().expect("beneath the staging directory"))?;
    match files::copy(&backup.join(&entry.path), &to) {
        Ok(content) if entry.is_of(content) => {}
        Ok(_) => findings.push(format!("{} is not what was backed up", entry.path)),
        Err(BackupError::Read { source, .. }) => {
            findings.push(format!("{} cannot be read: {source}", entry.path));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn copy_blobs(
    backup: &Path,
    staging: &Path,
    manifest: &Manifest,
    findings: &mut Vec<String>,
) -> Result<(), BackupError> {
    let missing: BTreeSet<&str> = manifest.missing.iter().map(String::as_str).collect();
    let wanted: BTreeMap<BlobHash, String> = referred_blobs(&staging.join(store::FILE))?
        .into_iter()
        .map(|referred| (referred.blob.hash, referred.by))
        .collect();
    for (hash, by) in wanted {
        if missing.contains(hash.to_string().as_str()) {
            continue;
        }
        let to = place(&staging.join("blobs"), hash);
        files::make_dir(to.parent().expect("a blob's path has a directory"))?;
        match files::copy(&place(&backup.join("blobs"), hash), &to) {
            Ok(content) if content.hash == hash => {}
            Ok(_) => findings.push(format!("blob {hash} ({by}) is not what was backed up")),
            Err(BackupError::Read { source, .. }) => {
                findings.push(format!("blob {hash} ({by}) cannot be read: {source}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves what is there into one directory beside it all; yields which.
fn move_aside(
    data_dir: &Path,
    present: &[String],
    now: Timestamp,
) -> Result<Option<PathBuf>, BackupError> {
    let is_earlier = |name: &&String| name.starts_with("replaced-");
    let present: Vec<&String> = present.iter().filter(|name| !is_earlier(name)).collect();
    if present.is_empty() {
        return Ok(None);
    }
    let aside = data_dir.join(format!("replaced-{}", now.0));
    files::make_dir(&aside)?;
    for name in present {
        rename(&data_dir.join(name), &aside.join(name))?;
    }
    Ok(Some(aside))
}

fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::rename(from, to).map_err(|source| BackupError::Write { path: to.to_owned(), source })
}

fn sync_dir(path: &Path) -> Result<(), BackupError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| BackupError::Write { path: path.to_owned(), source })
}
