//! Lets go what is kept no longer: the files and logs of jobs that ended long ago, uploads into drafts
//! that are none any more, and blobs that nothing refers to.
//!
//! A blob is on disk before anything refers to it, so that one to which nothing refers may be about to be
//! referred to. Whoever is about to has written it a moment ago or has touched it; the sweep passes over
//! whatever is young, and changes nothing that was touched since it looked (`docs/adr/0015-files.md`).

use std::time::Duration;

use campusgrid_core::input::Intake;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId};
use tokio_util::sync::CancellationToken;

use crate::blobs::{BlobError, Blobs, Lying};
use crate::clock::Clock;
use crate::engine::handle::{AskError, EngineHandle};
use crate::readers::Readers;
use crate::store::StoreError;
use crate::store::read::{Reader, Viewer};

/// After the start, workers and users come first.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// From the end of a round to the next one.
const EVERY: Duration = Duration::from_secs(3600);

/// A blob that was touched more lately is left alone. Longer than whoever has touched it takes to refer to
/// it, and than a backup takes to copy what its copy of the database refers to.
pub const GRACE: Duration = Duration::from_secs(48 * 3600);

/// The same of what old checkpoints were made of: kept as long, those of one task would fill a disk. A
/// backup that takes longer says what it has missed of them.
const HASTE: Duration = Duration::from_secs(3600);

/// Jobs that are emptied in one batch.
const JOBS_AT_ONCE: u32 = 100;

/// Blobs that are looked up in one read transaction.
const BLOBS_AT_ONCE: usize = 200;

/// What sweeps, and what it needs for that.
#[derive(Debug, Clone)]
pub struct Sweep {
    pub engine: EngineHandle,
    pub readers: Readers,
    pub blobs: Blobs,
    pub clock: Clock,
    /// How long the files and logs of a job are kept after its end.
    pub keep_ms: u64,
}

/// What has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub jobs: usize,
    pub uploads: usize,
    /// To go next time, unless somebody has use for them.
    pub condemned: usize,
    pub blobs: usize,
    pub bytes: u64,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("failed to read what is due")]
    Read(#[from] StoreError),
    #[error("failed to tell the engine what is due")]
    Tell(#[from] AskError),
    #[error("failed to clear away")]
    Clear(#[from] BlobError),
    #[error("the manager is stopping")]
    Stopping,
}

impl Sweep {
    /// Sweeps every hour until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = FIRST_AFTER;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = EVERY;
            let round = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                round = self.round(GRACE) => round,
            };
            match round {
                Ok(swept) if swept == Swept::default() => tracing::debug!("nothing to clear away"),
                Ok(Swept { jobs, uploads, condemned, blobs, bytes }) => {
                    tracing::info!(
                        jobs,
                        uploads,
                        condemned,
                        blobs,
                        bytes,
                        "cleared away what is kept no longer"
                    );
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "the sweep ended early; it goes on next time");
                }
            }
        }
    }

    /// Lets go what is due; blobs that were not touched for as long as `grace`.
    ///
    /// # Errors
    ///
    /// All of [`SweepError`]; what has gone by then is gone.
    pub async fn round(&self, grace: Duration) -> Result<Swept, SweepError> {
        let mut swept = Swept { jobs: self.empty_jobs().await?, ..Swept::default() };
        swept.uploads = self.drop_uploads().await?;
        for prefix in 0..=u8::MAX {
            // Results may wait in the engine's inbox, with blobs that nothing refers to before they are
            // written: for as long as somebody takes to make room on the disk.
            if self.engine.is_stuck() || self.engine.snapshot().intake != Intake::Open {
                return Ok(swept);
            }
            self.clear(prefix, grace, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn empty_jobs(&self) -> Result<usize, SweepError> {
        let ended_before = self.clock.now().0.saturating_sub(self.keep_ms);
        let ended_before = Timestamp(ended_before);
        let (mut emptied, mut last) = (0, Vec::new());
        loop {
            let due = move |reader: &Reader| reader.jobs_to_empty(ended_before, JOBS_AT_ONCE);
            let jobs: Vec<JobId> = self.readers.read(due).await?;
            if jobs.is_empty() || jobs == last {
                return Ok(emptied);
            }
            emptied += jobs.len();
            last.clone_from(&jobs);
            self.engine.empty_jobs(jobs).await?;
        }
    }

    async fn drop_uploads(&self) -> Result<usize, SweepError> {
        let uploads = self.blobs.uploads().clone();
        let mut dropped = 0;
        for (user, job) in on_disk(move || uploads.drafts()).await? {
            if !self.is_draft(user, job).await? {
                let uploads = self.blobs.uploads().clone();
                dropped += on_disk(move || uploads.remove_of(user, job)).await?;
            }
        }
        Ok(dropped)
    }

    async fn is_draft(&self, user: UserId, job: JobId) -> Result<bool, SweepError> {
        let viewer = Viewer { user, operator: false };
        Ok(self.readers.read(move |reader| reader.draft(viewer, job)).await?.is_some())
    }

    /// Of the blobs that begin with this byte.
    async fn clear(
        &self,
        prefix: u8,
        grace: Duration,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let blobs = self.blobs.clone();
        let (time, lying) = on_disk(move || Ok((blobs.time()?, blobs.lying(prefix)?))).await?;
        let is_old = |it: &Lying| {
            let least = if self.blobs.is_superseded(it.hash) { HASTE.min(grace) } else { grace };
            // What is dated in the future, by a clock that was wrong, waits until that has come.
            time.duration_since(it.touched_at).is_ok_and(|age| age >= least)
        };
        let old: Vec<Lying> = lying.into_iter().filter(is_old).collect();
        for some in old.chunks(BLOBS_AT_ONCE) {
            let some = some.to_vec();
            let find = move |reader: &Reader| {
                let mut unreferred = Vec::new();
                for lying in some {
                    if !reader.is_referred(lying.hash)? {
                        unreferred.push(lying);
                    }
                }
                Ok(unreferred)
            };
            let unreferred = self.readers.read(find).await?;
            let blobs = self.blobs.clone();
            let cleared = on_disk(move || clear_away(&blobs, unreferred)).await?;
            swept.condemned += cleared.condemned;
            swept.blobs += cleared.blobs;
            swept.bytes += cleared.bytes;
        }
        Ok(())
    }
}

/// Condemns what nothing refers to for the first time, and removes what was condemned before.
fn clear_away(blobs: &Blobs, unreferred: Vec<Lying>) -> Result<Swept, BlobError> {
    let mut swept = Swept::default();
    for lying in unreferred {
        if !lying.is_condemned {
            swept.condemned += usize::from(blobs.condemn(lying)?);
        } else if blobs.remove(lying)? {
            swept.blobs += 1;
            swept.bytes += lying.bytes;
        }
    }
    Ok(swept)
}

/// Disks block, and a thread that serves others must not.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, SweepError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| SweepError::Stopping)?;
    Ok(done?)
}
