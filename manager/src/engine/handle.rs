//! How the rest of the daemon speaks to the engine: requests in, replies, snapshots and event
//! numbers out. Cheap to clone.

use std::sync::Arc;

use campusgrid_core::effect::{Refusal, Reply};
use campusgrid_core::input::{Registration, Request, Submission, WorkerEvent};
use campusgrid_core::money::Micros;
use campusgrid_core::policy::Policy;
use campusgrid_core::snapshot::Snapshot;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::User;
use campusgrid_protocol::id::{JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::TaskSpec;
use tokio::sync::{mpsc, oneshot, watch};

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Refused(Refusal),
    #[error("too many requests wait already; try again in a second")]
    Busy,
    #[error("the manager is stopping")]
    Stopping,
}

/// What waits in the engine's inbox.
#[derive(Debug)]
pub(crate) enum Letter {
    Request {
        request: Request,
        reply: oneshot::Sender<Reply>,
    },
    /// A new session, and where to leave what is for it.
    Connected {
        session: SessionId,
        outbox: mpsc::Sender<ToWorker>,
    },
    FromWorker {
        session: SessionId,
        event: WorkerEvent,
    },
    Stop,
}

/// The engine, as its clients see it.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    pub(crate) inbox: mpsc::Sender<Letter>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) events: watch::Receiver<u64>,
    pub(crate) policy: Arc<Policy>,
}

impl EngineHandle {
    /// The rules that the grid decides by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The live grid, at most a quarter of a second old.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Wakes whenever a new snapshot is out.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Carries the number of the newest event on disk; wakes whenever it rises.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.clone()
    }

    /// Registers a user, whose password is hashed already.
    ///
    /// # Errors
    ///
    /// `Refused(NameTaken)`, `Busy`, `Stopping`.
    pub async fn register(
        &self,
        name: String,
        email: Option<String>,
        password_hash: String,
        local: bool,
    ) -> Result<User, AskError> {
        let registration = Registration { name, email, password_hash, local };
        let reply = self.ask(Request::Register(registration)).await?;
        let Reply::Registered { user } = reply else { unexpected(&reply) };
        Ok(user)
    }

    /// Opens a login until a moment; only the token's BLAKE3 hash is kept.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn open_login(
        &self,
        user: UserId,
        token_hash: [u8; 32],
        until: Timestamp,
    ) -> Result<(), AskError> {
        self.ask(Request::OpenLogin { user, token_hash, until }).await.map(drop)
    }

    /// Closes a login; one that is not open is closed already.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn close_login(&self, token_hash: [u8; 32]) -> Result<(), AskError> {
        self.ask(Request::CloseLogin { token_hash }).await.map(drop)
    }

    /// Submits a job, whose form is checked already. A `key` that this user has used before finds
    /// the job of then. Yields the job and what is held for it.
    ///
    /// # Errors
    ///
    /// `Refused` with `Insufficient`, `TooManyJobs` or `PriceOverflow`; `Busy`, `Stopping`.
    pub async fn submit(
        &self,
        user: UserId,
        key: Option<String>,
        name: String,
        spec: TaskSpec,
    ) -> Result<(JobId, Micros), AskError> {
        let submission = Submission { user, key, name, spec };
        let reply = self.ask(Request::Submit(submission)).await?;
        let Reply::Submitted { job, held } = reply else { unexpected(&reply) };
        Ok((job, held))
    }

    /// Cancels all tasks of a job that have not ended.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `HasEnded`; `Busy`, `Stopping`.
    pub async fn cancel(&self, user: UserId, job: JobId) -> Result<(), AskError> {
        self.ask(Request::Cancel { user, job }).await.map(drop)
    }

    /// Makes a connected machine this user's, by the code that it shows.
    ///
    /// # Errors
    ///
    /// `Refused(CodeUnknown)`, `Busy`, `Stopping`.
    pub async fn approve_worker(&self, user: UserId, code: String) -> Result<WorkerId, AskError> {
        let reply = self.ask(Request::ApproveWorker { user, code }).await?;
        let Reply::Approved { worker } = reply else { unexpected(&reply) };
        Ok(worker)
    }

    /// Removes a machine of this user's; what runs there goes back to the queue.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)`, `Busy`, `Stopping`.
    pub async fn remove_worker(&self, user: UserId, worker: WorkerId) -> Result<(), AskError> {
        self.ask(Request::RemoveWorker { user, worker }).await.map(drop)
    }

    /// Asks the engine to stop after what waits already; its thread then ends.
    pub async fn stop(&self) {
        // An engine that is gone has stopped.
        drop(self.inbox.send(Letter::Stop).await);
    }

    /// Takes a session in, with the place to leave messages for it.
    ///
    /// # Errors
    ///
    /// `Stopping`.
    pub(crate) async fn connected(
        &self,
        session: SessionId,
        outbox: mpsc::Sender<ToWorker>,
    ) -> Result<(), AskError> {
        let letter = Letter::Connected { session, outbox };
        self.inbox.send(letter).await.map_err(|_| AskError::Stopping)
    }

    /// Passes on what a session reports. Waits while the inbox is full, so that the session stops
    /// reading and TCP carries the back-pressure.
    ///
    /// # Errors
    ///
    /// `Stopping`.
    pub(crate) async fn report(
        &self,
        session: SessionId,
        event: WorkerEvent,
    ) -> Result<(), AskError> {
        let letter = Letter::FromWorker { session, event };
        self.inbox.send(letter).await.map_err(|_| AskError::Stopping)
    }

    async fn ask(&self, request: Request) -> Result<Reply, AskError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.try_send(Letter::Request { request, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Stopping,
        })?;
        match answer.await {
            Ok(Reply::Refused(refusal)) => Err(AskError::Refused(refusal)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(AskError::Stopping),
        }
    }
}

fn unexpected(reply: &Reply) -> ! {
    panic!("the grid answered another question: {reply:?}")
}
