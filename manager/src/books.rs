//! The books, checked on a thread of their own: at once after the start, then every so often, and
//! whenever somebody asks.

use std::path::PathBuf;
use std::time::Duration;

use campusgrid_core::input::{Intake, Shut};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::data_dir;
use crate::engine::handle::EngineHandle;
use crate::health::{BooksChecked, Health};
use crate::inspect::{Closeness, Inspection, inspect};

/// Who asks waits for a check; more than a few need not wait.
const ASKING_MAX: usize = 4;

/// What the checks need.
#[derive(Debug)]
pub struct Books {
    pub data_dir: PathBuf,
    pub every: Duration,
    pub engine: EngineHandle,
    pub health: Health,
    pub clock: Clock,
}

/// Asks for a check. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BooksHandle {
    asking: mpsc::Sender<oneshot::Sender<Result<BooksChecked, String>>>,
}

/// Why there was no check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("checks wait already; look at the result of those")]
    Busy,
    #[error("the manager is stopping")]
    Stopping,
    #[error("the books could not be checked: {reason}")]
    Failed { reason: String },
}

/// What a check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Due,
    Asked,
}

impl BooksHandle {
    /// Checks the books now. Intake is opened or shut by what is found.
    ///
    /// # Errors
    ///
    /// All of [`CheckError`].
    pub async fn check(&self) -> Result<BooksChecked, CheckError> {
        let (reply, answer) = oneshot::channel();
        self.asking.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CheckError::Busy,
            mpsc::error::TrySendError::Closed(_) => CheckError::Stopping,
        })?;
        let checked = answer.await.map_err(|_| CheckError::Stopping)?;
        checked.map_err(|reason| CheckError::Failed { reason })
    }
}

impl Books {
    /// Starts the thread, which ends at `shutdown` or, if a check is under way, after it; nobody needs to
    /// wait for it, since it only reads.
    ///
    /// # Panics
    ///
    /// If the system has no thread left to give.
    pub fn start(self, shutdown: CancellationToken) -> BooksHandle {
        let (asking, asked) = mpsc::channel(ASKING_MAX);
        let thread = std::thread::Builder::new().name("books".to_owned());
        let started = thread.spawn(move || self.run(asked, &shutdown));
        drop(started.expect("a daemon that starts gets one more thread"));
        BooksHandle { asking }
    }

    fn run(
        self,
        mut asked: mpsc::Receiver<oneshot::Sender<Result<BooksChecked, String>>>,
        shutdown: &CancellationToken,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a timer needs nothing from the system");
        let mut reply = None;
        while !shutdown.is_cancelled() {
            let why = if reply.is_some() { Why::Asked } else { Why::Due };
            let checked = self.check(&runtime, why);
            if let Some(reply) = reply.take() {
                let reply: oneshot::Sender<_> = reply;
                drop(reply.send(checked)); // Whoever asked may have gone.
            }
            reply = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => None,
                    reply = asked.recv() => reply,
                    () = tokio::time::sleep(self.every) => None,
                }
            });
        }
    }

    fn check(&self, runtime: &tokio::runtime::Runtime, why: Why) -> Result<BooksChecked, String> {
        let at = self.clock.now();
        let found = match inspect(&self.data_dir, Closeness::Hourly, at) {
            Ok(found) => found,
            Err(error) => {
                // Nothing is known, so nothing changes.
                let source = std::error::Error::source(&error);
                let reason =
                    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                tracing::error!(reason, "failed to check the books");
                return Err(reason);
            }
        };
        let Inspection { mut books, files, .. } = found;
        let notes = books.notes.into_iter().chain(files).collect();
        // What is on disk has been put right, maybe beneath a grid that remembers what was there before
        // and would write it back.
        if books.broken.is_empty() && (why == Why::Asked || self.are_shut()) {
            let difference = runtime.block_on(self.engine.difference());
            books.broken.extend(difference.map_err(|error| error.to_string())?);
        }
        let took_ms = self.clock.now().since_ms(at);
        let transfers = books.transfers;
        let checked = BooksChecked { at, took_ms, transfers, broken: books.broken, notes };
        for finding in &checked.broken {
            tracing::error!(finding, "the books do not balance");
        }
        for note in &checked.notes {
            tracing::warn!(note, "something is to be looked at");
        }
        tracing::debug!(took_ms, transfers, "checked the books");
        // Before anything is opened or shut: a death in between must not leave the next start open.
        if let Err(error) = data_dir::note_books(&self.data_dir, &checked.broken) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the next start will not know how the books are");
        }
        self.health.tell_books(checked.clone());
        let intake = if checked.broken.is_empty() {
            Intake::Open
        } else {
            Intake::Shut(Shut::BooksBroken { findings: checked.broken.clone() })
        };
        // An engine that is gone takes nothing in.
        drop(runtime.block_on(self.engine.intake(intake)));
        Ok(checked)
    }

    /// Whether the last check, of this process or of the one before, found the books broken.
    fn are_shut(&self) -> bool {
        let last = self.health.view().books;
        last.is_some_and(|last| !last.broken.is_empty())
            || data_dir::broken_books(&self.data_dir).is_some()
    }
}
