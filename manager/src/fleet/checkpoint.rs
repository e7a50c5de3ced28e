//! What a task has left to go on from: believed only with all that it names, sent by this very attempt.

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::OUTPUTS_MAX;
use campusgrid_protocol::task::BlobRef;
use campusgrid_protocol::{id::AttemptId, input::MANIFEST_MAX_BYTES};

use super::inputs::{self, InputsError};
use super::{Fleet, FleetError};

/// Files of one checkpoint, as of outputs.
pub(super) const FILES_MAX: usize = OUTPUTS_MAX;

/// Why a checkpoint is not taken; the one before it stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error("it comes too soon after the last one")]
    TooSoon,
    #[error("its list of files has {bytes} bytes, more than {MANIFEST_MAX_BYTES}")]
    TooLong { bytes: u64 },
    #[error("it has {files} files, more than {FILES_MAX}")]
    TooMany { files: usize },
    #[error("it refers to {hash}, which this attempt has not sent")]
    NotSent { hash: BlobHash },
    #[error("its list of files cannot be read")]
    Manifest(#[source] InputsError),
}

impl Fleet {
    /// The files that a checkpoint of an attempt names, all of which are on disk here.
    ///
    /// # Errors
    ///
    /// Within: all of [`CheckpointError`] but `TooSoon`.
    pub(super) async fn checkpoint(
        &self,
        attempt: AttemptId,
        manifest: BlobRef,
    ) -> Result<Result<Vec<InputFile>, CheckpointError>, FleetError> {
        let bytes = manifest.size_bytes;
        if bytes > MANIFEST_MAX_BYTES as u64 {
            return Ok(Err(CheckpointError::TooLong { bytes }));
        }
        // One that is here for somebody else would be handed to whoever knows its hash.
        if !self.budgets.has(attempt, &manifest) {
            return Ok(Err(CheckpointError::NotSent { hash: manifest.hash }));
        }
        let (blobs, budgets) = (self.around.blobs.clone(), self.budgets.clone());
        let look = move || {
            let read = inputs::read(&blobs, manifest).map_err(CheckpointError::Manifest)?;
            let files = read.files.len();
            if files > FILES_MAX {
                return Err(CheckpointError::TooMany { files });
            }
            let here = |blob: BlobRef| budgets.has(attempt, &blob) && blobs.touch(blob);
            let all = read.files.iter().map(|file| file.blob).chain([manifest]);
            match all.into_iter().find(|blob| !here(*blob)) {
                Some(BlobRef { hash, .. }) => Err(CheckpointError::NotSent { hash }),
                None => Ok(read.files),
            }
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| FleetError::Stopping)
    }
}
