//! What came of attempts, on its way to the manager.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::BlobRef;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::live::Daemon;
use crate::agent::effect::AgentInput;
use crate::bulk::{self, UploadError, Way};
use crate::error::WorkerError;

impl Daemon {
    /// Uploads these blobs, and what a checkpoint names, beside everything else.
    pub(super) fn upload(
        &mut self,
        attempt: AttemptId,
        blobs: Vec<BlobRef>,
        checkpoint: Option<BlobRef>,
    ) {
        let spool = self.runner.spool.clone();
        let pacing = self.runner.inputs.pacing().clone();
        let door = self.door.borrow().clone();
        self.uploads.spawn(async move {
            let local = spawn_blocking(move || spool.local(attempt, blobs, checkpoint)).await;
            let uploaded = match (&door, local) {
                (Some(door), Ok(Ok(blobs))) => {
                    bulk::upload(Way { door, pacing: &pacing }, attempt, &blobs).await
                }
                (Some(_), Ok(Err(reason))) => {
                    // Its manifest is the one that the manager then does without.
                    let blob = checkpoint.map(|manifest| manifest.hash);
                    Err(UploadError::Refused { blob, reason: format!("it {reason}") })
                }
                (Some(_), Err(source)) => {
                    Err(UploadError::Failed(WorkerError::BlockingWork { source }))
                }
                (None, _) => Err(UploadError::Failed(WorkerError::Closed)),
            };
            match uploaded {
                Ok(()) => AgentInput::Uploaded { attempt },
                Err(UploadError::Failed(error)) => {
                    warn!(%attempt, "upload failed: {:#}", anyhow::Error::new(error));
                    AgentInput::UploadFailed { attempt }
                }
                Err(UploadError::Refused { blob, reason }) => {
                    warn!(%attempt, "the manager does not want what came of it: {reason}");
                    AgentInput::UploadRefused { attempt, blob, reason }
                }
            }
        });
    }
}
