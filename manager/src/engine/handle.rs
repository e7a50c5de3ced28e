//! How the rest of the daemon speaks to the engine: requests in, replies, snapshots and event
//! numbers out. Cheap to clone. What is asked about jobs is in `jobs`, about rules and bids in `market`.

mod jobs;
mod market;

use std::sync::Arc;
use std::time::Duration;

use crate::health::Health;
use campusgrid_core::effect::{Refusal, Reply};
use campusgrid_core::input::{
    Enrolment, Intake, NewApiToken, NewLogin, Registration, Request, VoucherWish, WorkerEvent,
};
use campusgrid_core::policy::Policy;
use campusgrid_core::snapshot::Snapshot;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{Role, User};
use campusgrid_protocol::id::{ApiTokenId, LoginId, SessionId, UserId, VoucherId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use tokio::sync::{mpsc, oneshot, watch};

/// How long somebody waits to see what they have done: a few times what a snapshot waits for.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

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
    /// Whether anything is taken in from now on.
    Intake(Intake),
    /// Whether memory and disk are one; in what they differ, if they do.
    Compare {
        reply: oneshot::Sender<Option<String>>,
    },
    /// To be answered once all that was told before is in a snapshot.
    Show {
        reply: oneshot::Sender<()>,
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
    pub(crate) health: Health,
}

impl EngineHandle {
    /// The rules that the grid decides by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the engine waits for room on its disk and answers nobody.
    pub(crate) fn is_stuck(&self) -> bool {
        self.health.is_stuck()
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
    /// `Refused` with `NameTaken`, `RegistrationClosed`, `InvitationNeeded`, `VoucherUnknown`,
    /// `DiskFull` or `BooksBroken`; `Busy`, `Stopping`.
    pub async fn register(&self, registration: Registration) -> Result<User, AskError> {
        let reply = self.ask(Request::Register(registration)).await?;
        let Reply::Registered { user } = reply else { unexpected(&reply) };
        Ok(user)
    }

    /// Opens a login. Beyond a hundred of one user, the oldest ends.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)` for no user; `Busy`, `Stopping`.
    pub async fn open_login(&self, login: NewLogin) -> Result<(), AskError> {
        self.ask(Request::OpenLogin(login)).await.map(drop)
    }

    /// Closes a login; one that is not open is closed already.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn close_login(&self, token_hash: [u8; 32]) -> Result<(), AskError> {
        self.ask(Request::CloseLogin { token_hash }).await.map(drop)
    }

    /// Closes one of a user's logins; one that is not open, or not theirs, is left as it is.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn revoke_login(&self, user: UserId, login: LoginId) -> Result<(), AskError> {
        self.ask(Request::RevokeLogin { user, login }).await.map(drop)
    }

    /// Closes all logins of a user but that of one token.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn revoke_logins(&self, user: UserId, but: Option<[u8; 32]>) -> Result<(), AskError> {
        self.ask(Request::RevokeLogins { user, but }).await.map(drop)
    }

    /// Replaces a password and closes all the user's logins but that of one token.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)` for no user; `Busy`, `Stopping`.
    pub async fn change_password(
        &self,
        user: UserId,
        password_hash: String,
        but: Option<[u8; 32]>,
    ) -> Result<(), AskError> {
        self.ask(Request::ChangePassword { user, password_hash, but }).await.map(drop)
    }

    /// Replaces the hash of a password that stays the same; nothing if it has been changed since.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn rehash(&self, user: UserId, from: String, to: String) -> Result<(), AskError> {
        self.ask(Request::Rehash { user, from, to }).await.map(drop)
    }

    /// Opens an API token. The caller has looked how many the user has: beyond fifty of one user, the
    /// oldest ends.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)` for no user; `Busy`, `Stopping`.
    pub async fn open_api_token(&self, token: NewApiToken) -> Result<(), AskError> {
        self.ask(Request::OpenApiToken(token)).await.map(drop)
    }

    /// Ends one of a user's API tokens; one that is not open, or not theirs, is left as it is.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn revoke_api_token(&self, user: UserId, token: ApiTokenId) -> Result<(), AskError> {
        self.ask(Request::RevokeApiToken { user, token }).await.map(drop)
    }

    /// Notes when logins and API tokens were last used. Those that are no more are passed over.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn used(
        &self,
        logins: Vec<(LoginId, Timestamp)>,
        tokens: Vec<(ApiTokenId, Timestamp)>,
    ) -> Result<(), AskError> {
        self.ask(Request::Used { logins, tokens }).await.map(drop)
    }

    /// Gives a user a role. `by` is an operator, or [`campusgrid_core::user::LOCAL`].
    ///
    /// # Errors
    ///
    /// `Refused` with `NotAnOperator`, `NotFound` or `LastOperator`; `Busy`, `Stopping`.
    pub async fn set_role(&self, by: UserId, user: UserId, role: Role) -> Result<(), AskError> {
        self.ask(Request::SetRole { by, user, role }).await.map(drop)
    }

    /// Makes a token to join by, or an invitation; only the secret's BLAKE3 hash is kept.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotAnOperator`, `NotFound` or `TooMany`; `Busy`, `Stopping`.
    pub async fn make_voucher(&self, wish: VoucherWish) -> Result<VoucherId, AskError> {
        let reply = self.ask(Request::MakeVoucher(wish)).await?;
        let Reply::VoucherMade { voucher } = reply else { unexpected(&reply) };
        Ok(voucher)
    }

    /// Ends a voucher of this user's; an operator may end all.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)`, `Busy`, `Stopping`.
    pub async fn revoke_voucher(&self, user: UserId, voucher: VoucherId) -> Result<(), AskError> {
        self.ask(Request::RevokeVoucher { user, voucher }).await.map(drop)
    }

    /// Asks to let a machine in. Yields its number and its owner's name; with a code in place of a
    /// token only once somebody has approved it, maybe hours later. Whoever hangs up before must
    /// report the session as gone, or the machine goes on waiting.
    ///
    /// # Errors
    ///
    /// `Refused` with `VoucherUnknown`, `TooManyNewcomers` or `Withdrawn`; `Busy`, `Stopping`.
    pub async fn enrol(&self, enrolment: Enrolment) -> Result<(WorkerId, String), AskError> {
        let reply = self.ask(Request::Enrol(enrolment)).await?;
        let Reply::Enrolled { worker, owner } = reply else { unexpected(&reply) };
        Ok((worker, owner))
    }

    /// Makes a machine that waits this user's, by the code that it shows.
    ///
    /// # Errors
    ///
    /// `Refused` with `CodeUnknown` or `NotFound`; `Busy`, `Stopping`.
    pub async fn approve_worker(&self, user: UserId, code: String) -> Result<WorkerId, AskError> {
        let reply = self.ask(Request::ApproveWorker { user, code }).await?;
        let Reply::Approved { worker } = reply else { unexpected(&reply) };
        Ok(worker)
    }

    /// Removes a machine of this user's; what runs there goes back to the queue.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, or with `DiskFull` or `BooksBroken` if something runs there; `Busy`,
    /// `Stopping`.
    pub async fn remove_worker(&self, user: UserId, worker: WorkerId) -> Result<(), AskError> {
        self.ask(Request::RemoveWorker { user, worker }).await.map(drop)
    }

    /// Lets a machine of this user's that was set aside take tasks again.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)`, `Busy`, `Stopping`.
    pub async fn release_worker(&self, user: UserId, worker: WorkerId) -> Result<(), AskError> {
        self.ask(Request::ReleaseWorker { user, worker }).await.map(drop)
    }

    /// Says whether anything is taken in from now on. Waits while the inbox is full.
    ///
    /// # Errors
    ///
    /// `Stopping`.
    pub(crate) async fn intake(&self, intake: Intake) -> Result<(), AskError> {
        self.inbox.send(Letter::Intake(intake)).await.map_err(|_| AskError::Stopping)
    }

    /// Compares what the grid has in memory with what is on disk, between two batches. Yields what is
    /// to be done if they differ, which they do only if somebody else has written to the database.
    ///
    /// # Errors
    ///
    /// `Stopping`.
    pub(crate) async fn difference(&self) -> Result<Option<String>, AskError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Letter::Compare { reply }).await.map_err(|_| AskError::Stopping)?;
        answer.await.map_err(|_| AskError::Stopping)
    }

    /// Waits until the snapshot shows what was answered before, but not for long: a page that is a
    /// moment behind is better than one that does not come.
    pub(crate) async fn shown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.inbox.try_send(Letter::Show { reply }).is_ok() {
            drop(tokio::time::timeout(SHOWN_WITHIN, answer).await);
        }
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
