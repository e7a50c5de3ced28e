//! What a task goes on from, between the sandbox and the manager: fetched before it begins, brought
//! there while it runs, kept with its end when it was handed back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::task::{BlobRef, Saved, TaskSpec};
use campusgrid_sandbox::plan::{Checkpoints, Collected, Restored};
use tracing::{debug, warn};

use super::blocking;
use crate::bulk::{LocalBlob, UploadError, Way, upload};
use crate::connection::Door;
use crate::error::WorkerError;
use crate::inputs::Tree;
use crate::pacing::Pacing;
use crate::spool::NewBlob;

/// The files of a checkpoint and their manifest, as they lie on the disk.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) manifest: BlobRef,
    /// Each content once, the manifest's among them.
    pub(super) blobs: Vec<LocalBlob>,
}

/// Writes the manifest of these files beside their directory. Blocks on the disk.
///
/// # Errors
///
/// `KeepCheckpoint`.
pub(super) fn pack(files: Vec<Collected>, directory: &Path) -> Result<Packed, WorkerError> {
    let path = directory.with_extension("manifest");
    let mut blobs: Vec<LocalBlob> = files
        .iter()
        .map(|file| LocalBlob {
            blob: BlobRef { hash: file.hash, size_bytes: file.size_bytes },
            file: file.file.clone(),
        })
        .collect();
    let named = |(file, local): (Collected, &LocalBlob)| InputFile {
        path: file.path,
        blob: local.blob,
        executable: false,
    };
    let named = files.into_iter().zip(&blobs).map(named).collect();
    let manifest =
        Manifest::check(named).map_err(|source| WorkerError::NameCheckpoint { source })?.encode();
    let hash = BlobHash(*blake3::hash(&manifest).as_bytes());
    let reference = BlobRef { hash, size_bytes: manifest.len() as u64 };
    fs::write(&path, manifest)
        .map_err(|source| WorkerError::KeepCheckpoint { path: path.clone(), source })?;
    blobs.push(LocalBlob { blob: reference, file: path });
    blobs.sort_by_key(|local| local.blob.hash);
    blobs.dedup_by_key(|local| local.blob.hash);
    Ok(Packed { manifest: reference, blobs })
}

impl Packed {
    /// As what goes into the spool.
    pub(super) fn into_new(self) -> impl Iterator<Item = NewBlob> {
        self.blobs.into_iter().map(|local| NewBlob { hash: local.blob.hash, file: local.file })
    }
}

/// What the sandbox is to do about a task's checkpoints, and what it finds of an earlier one.
pub(super) fn checkpoints(spec: &TaskSpec, saved: Option<&Tree>) -> Checkpoints {
    let every = (spec.checkpoint_s > 0).then(|| Duration::from_secs(u64::from(spec.checkpoint_s)));
    Checkpoints { restore: saved.map(restored).unwrap_or_default(), every }
}

fn restored(tree: &Tree) -> Vec<Restored> {
    let restored = |path: &String| {
        let file = tree.path().join(path);
        let size_bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        Restored { path: path.clone(), file, size_bytes }
    };
    tree.files().iter().map(restored).collect()
}

/// A checkpoint of a task that runs, on its way to the manager.
pub(super) struct Offer {
    pub(super) attempt: AttemptId,
    pub(super) files: Vec<Collected>,
    pub(super) directory: PathBuf,
    /// Over all attempts.
    pub(super) run_ms: u64,
    pub(super) door: Option<Door>,
    pub(super) pacing: Pacing,
}

impl Offer {
    /// Brings it to the manager; none if that cannot be done now: the next one is due soon. Its files
    /// are removed in any case.
    pub(super) async fn bring(self) -> Option<Saved> {
        let Self { attempt, files, directory, run_ms, door, pacing } = self;
        let brought = bring(attempt, files, &directory, (door, &pacing)).await;
        for _gone in [
            tokio::fs::remove_dir_all(&directory).await,
            tokio::fs::remove_file(directory.with_extension("manifest")).await,
        ] {}
        match brought {
            Ok(manifest) => Some(Saved { manifest, run_ms }),
            Err(UploadError::Failed(error)) => {
                debug!("a checkpoint was not brought away: {:#}", anyhow::Error::new(error));
                None
            }
            Err(UploadError::Refused { reason, .. }) => {
                warn!("the manager does not want a checkpoint: {reason}");
                None
            }
        }
    }
}

async fn bring(
    attempt: AttemptId,
    files: Vec<Collected>,
    directory: &Path,
    (door, pacing): (Option<Door>, &Pacing),
) -> Result<BlobRef, UploadError> {
    let place = directory.to_owned();
    let packed = blocking(move || pack(files, &place)).await?;
    let door = door.ok_or(WorkerError::Closed)?;
    upload(Way { door: &door, pacing }, attempt, &packed.blobs).await?;
    Ok(packed.manifest)
}
