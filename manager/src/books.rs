//! The books, checked on a thread of their own: at once after the start, then every so often, and
//! whenever somebody asks.

use std::path::PathBuf;
use std::time::Duration;

use campusgrid_core::input::{Intake, Shut};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
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
            let checked = self.check(&runtime);
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

    fn check(&self, runtime: &tokio::runtime::Runtime) -> Result<BooksChecked, String> {
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
        let Inspection { books, files, .. } = found;
        let notes = books.notes.into_iter().chain(files).collect();
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
}
