//! The files that jobs bring: fetched from the manager by their hashes, kept for later tasks, shown to
//! tasks as a tree that nobody can write to.
//!
//! ```text
//! inputs/content/HASH     what a hash stands for, whole and checked; its time of access is that of its
//!                         last use
//! inputs/partial/HASH     as far as it has come; fetched from there on the next time
//! inputs/trees/HASH-N/    a manifest laid out, its files being further names of contents; made anew
//!                         after a restart
//! inputs/trash/           on its way out; swept at start
//! ```

mod cache;
mod fetch;
mod lines;
mod telling;
mod tree;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::input::{MANIFEST_MAX_BYTES, Manifest};
use campusgrid_protocol::task::BlobRef;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use self::cache::{Cache, Claim, Held, Wanted};
use self::fetch::FetchError;
use self::telling::Telling;
pub(crate) use self::tree::Tree;
use crate::backoff::{Backoff, random};
use crate::bulk::Way;
use crate::clock::boot_ms;
use crate::config::WithoutSandbox;
use crate::connection::Door;
use crate::flights::{Flights, Steps};
use crate::pacing::Pacing;

/// How long to go on trying while no byte comes. The lease may be over before.
const PATIENCE_MS: u64 = 180_000;

/// How long to wait until other tasks no longer need what has no room beside this.
const ROOM_PATIENCE_MS: u64 = 300_000;

/// A content that is not what its hash says is fetched so often in all.
const TRIES_WHOLE: u32 = 3;

/// Why a task has no files, by who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputsError {
    /// The submitter's: they are not what they were said to be.
    #[error("{message}")]
    Refused { message: String },
    /// This machine's, or its way to the manager.
    #[error("{message}")]
    Fetch { message: String },
    /// This machine's: there is no room.
    #[error("{message}")]
    Disk { message: String },
}

impl InputsError {
    fn host(what: &str, error: &io::Error) -> Self {
        Self::Fetch { message: format!("failed to {what}: {error}") }
    }
}

/// The files of one worker; may be asked for by many tasks at once.
#[derive(Debug)]
pub(crate) struct Inputs {
    cache: Arc<Cache>,
    trees: Flights<Arc<Tree>, InputsError>,
    door: watch::Receiver<Option<Door>>,
    pacing: Pacing,
}

impl Inputs {
    /// Sweeps what an earlier worker has laid out, and removes what does not fit into `max_mib`; what
    /// `door` holds is the way to the manager, as long as there is one. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When the directories cannot be made or read.
    pub(crate) fn open(
        data_dir: &Path,
        max_mib: u64,
        without_sandbox: WithoutSandbox,
        door: watch::Receiver<Option<Door>>,
        pacing: Pacing,
    ) -> io::Result<Self> {
        let cache = Cache::open(data_dir.join("inputs"), max_mib << 20, without_sandbox)?;
        Ok(Self { cache: Arc::new(cache), trees: Flights::new(), door, pacing })
    }

    /// The way to the manager, as long as there is one.
    pub(crate) fn door(&self) -> Option<Door> {
        self.door.borrow().clone()
    }

    /// How fast files may travel.
    pub(crate) fn pacing(&self) -> &Pacing {
        &self.pacing
    }

    /// The files of this manifest, laid out.
    ///
    /// Done once however many attempts wait for it, on the connection of one of them. What has come
    /// before a failure need not come again.
    ///
    /// # Errors
    ///
    /// See [`InputsError`].
    pub(crate) async fn ready(
        &self,
        attempt: AttemptId,
        manifest: BlobRef,
        steps: &Steps,
    ) -> Result<Arc<Tree>, InputsError> {
        if let Some(tree) = self.cache.take_tree(&manifest.hash) {
            if let Some(note) = self.cache.note_use(&manifest.hash) {
                drop(tokio::task::spawn_blocking(note)); // Nobody waits for it.
            }
            return Ok(Arc::new(tree));
        }
        let made = self.join(attempt, manifest, steps).await;
        match made {
            // Another attempt asked, which the manager may have had reasons not to answer.
            (false, Err(InputsError::Fetch { .. })) => self.join(attempt, manifest, steps).await.1,
            (_, made) => made,
        }
    }

    /// Waits for the tree; also tells whether it was this attempt that made it.
    async fn join(
        &self,
        attempt: AttemptId,
        manifest: BlobRef,
        steps: &Steps,
    ) -> (bool, Result<Arc<Tree>, InputsError>) {
        let own = AtomicBool::new(false);
        let work = |steps: Steps| {
            own.store(true, Ordering::Relaxed);
            async move {
                match self.cache.take_tree(&manifest.hash) {
                    Some(tree) => Ok(Arc::new(tree)), // Laid out since the question was asked.
                    None => self.make(attempt, manifest, &steps).await.map(Arc::new),
                }
            }
        };
        let made = self.trees.join(manifest.hash.0, steps, work).await;
        (own.load(Ordering::Relaxed), made)
    }

    async fn make(
        &self,
        attempt: AttemptId,
        reference: BlobRef,
        steps: &Steps,
    ) -> Result<Tree, InputsError> {
        if reference.size_bytes > MANIFEST_MAX_BYTES as u64 {
            return Err(refused("the list of its files is too long"));
        }
        let held = Held::of(&self.cache);
        let held = self.gather(attempt, held, Wanted::list(reference), steps).await?;
        let path = self.cache.content(&reference.hash);
        let read = move || {
            let bytes =
                fs::read(&path).map_err(|error| InputsError::host("read a manifest", &error))?;
            Manifest::decode(&bytes)
                .map_err(|error| refused(&format!("the list of its files is none: {error}")))
        };
        let manifest = blocking(read).await?;
        let held = self.gather(attempt, held, Wanted::files(&manifest)?, steps).await?;
        steps.send_replace("putting its files in place".to_owned());
        let cache = Arc::clone(&self.cache);
        blocking(move || tree::lay_out(&cache, held, reference.hash, manifest)).await
    }

    /// Fetches what is not here of some contents, and holds all of them.
    async fn gather(
        &self,
        attempt: AttemptId,
        mut held: Held,
        wanted: Wanted,
        steps: &Steps,
    ) -> Result<Held, InputsError> {
        let wanted = Arc::new(wanted);
        let begun_ms = boot_ms();
        let mut damaged = BTreeMap::new();
        loop {
            let mut changes = self.cache.changes();
            let (cache, these) = (Arc::clone(&self.cache), Arc::clone(&wanted));
            let (claim, now) = blocking(move || {
                let claim = cache.claim(&mut held, &these)?;
                Ok((claim, held))
            })
            .await?;
            held = now;
            match claim {
                Claim::All => return Ok(held),
                Claim::Mine(claims) => self.fetch(attempt, claims, steps, &mut damaged).await?,
                Claim::Others => {
                    steps.send_replace("waiting for files that another job fetches".to_owned());
                    let _ = changes.changed().await;
                }
                Claim::NoRoom { message } => {
                    let waited_ms = boot_ms().saturating_sub(begun_ms);
                    let Some(left_ms) = ROOM_PATIENCE_MS.checked_sub(waited_ms) else {
                        return Err(InputsError::Disk { message });
                    };
                    steps.send_replace(format!("waiting for room for its files: {message}"));
                    let _ = timeout(Duration::from_millis(left_ms), changes.changed()).await;
                }
            }
        }
    }

    /// Fetches contents, on as many connections one after another as it takes.
    async fn fetch(
        &self,
        attempt: AttemptId,
        mut claims: Vec<cache::Fetching>,
        steps: &Steps,
        damaged: &mut BTreeMap<BlobHash, u32>,
    ) -> Result<(), InputsError> {
        let mut backoff = Backoff::new();
        let mut telling = Telling::new(&claims, steps.clone());
        let mut heard_ms = boot_ms();
        info!(files = claims.len(), mib = telling.total_bytes() >> 20, "fetching files of a job");
        loop {
            let before = telling.here_bytes();
            let door = self.door.borrow().clone();
            let fetched = match &door {
                Some(door) => {
                    let way = Way { door, pacing: &self.pacing };
                    fetch::fetch(way, attempt, claims, &mut telling).await
                }
                None => Err((FetchError::NoSession, claims)),
            };
            let (error, left) = match fetched {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            claims = left;
            match error {
                FetchError::Refused { reason } => {
                    let message = format!("the manager does not give them: {reason}");
                    return Err(InputsError::Fetch { message });
                }
                FetchError::Disk(error) if self.cache.has_run_out(&error) => {
                    let message = "there is no room for the job's files".to_owned();
                    return Err(InputsError::Disk { message });
                }
                FetchError::Disk(error) => {
                    return Err(InputsError::host("write a file of the job", &error));
                }
                FetchError::Damaged(hash) => {
                    let times = damaged.entry(hash).or_insert(0);
                    *times += 1;
                    if *times >= TRIES_WHOLE {
                        let message = format!("what comes as {hash} is something else");
                        return Err(InputsError::Fetch { message });
                    }
                }
                FetchError::NoSession => {}
                FetchError::Failed(error) => {
                    let error = anyhow::Error::new(error);
                    debug!("fetching was interrupted: {error:#}");
                    if boot_ms().saturating_sub(heard_ms) >= PATIENCE_MS {
                        return Err(InputsError::Fetch { message: format!("{error:#}") });
                    }
                }
            }
            if telling.here_bytes() > before {
                backoff.reset();
                heard_ms = boot_ms();
            }
            telling.interrupted();
            sleep(backoff.next(random())).await;
        }
    }
}

fn refused(message: &str) -> InputsError {
    InputsError::Refused { message: message.to_owned() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InputsError> + Send + 'static,
) -> Result<T, InputsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(InputsError::Fetch { message: format!("failed on another thread: {error}") })
    })
}
