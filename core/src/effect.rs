//! What the grid wants done: changes to write, then, and only after they are on disk, messages and
//! replies to let out.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, JobId, SessionId, TaskId, UserId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::{Ended, TaskSpec};

use crate::durable::SubmitKey;
use crate::gpus::GpuSet;
use crate::input::Ticket;
use crate::job::EndedTasks;
use crate::ledger::{Account, AccountId, Insufficient, Transfer};
use crate::money::Micros;
use crate::time::Timestamp;
use crate::user::User;
use crate::worker::Worker;

/// Everything that a batch of inputs led to, in order.
#[derive(Debug, Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub sends: Vec<(SessionId, ToWorker)>,
    pub replies: Vec<(Ticket, Reply)>,
    /// Sessions to end, with the reason to tell.
    pub closes: Vec<(SessionId, String)>,
}

/// A change of durable state, pushed in the function that makes it.
#[derive(Debug, Clone)]
pub enum Change {
    UserRegistered {
        user: User,
        email: Option<String>,
        password_hash: String,
        at: Timestamp,
    },
    LoginOpened {
        user: UserId,
        token_hash: [u8; 32],
        until: Timestamp,
    },
    LoginClosed {
        token_hash: [u8; 32],
    },
    /// Logins that ended before now can go.
    LoginsOver {
        at: Timestamp,
    },
    /// The account as it stands now.
    Account {
        id: AccountId,
        account: Account,
    },
    Transferred(Transfer),
    JobSubmitted(Box<NewJob>),
    /// A client's key for a submit, so that a repeated one finds the first job.
    SubmitKeyKept {
        user: UserId,
        key: String,
        kept: SubmitKey,
    },
    SubmitKeyForgotten {
        user: UserId,
        key: String,
    },
    /// A new attempt begins: the task leaves the queue.
    TaskLeased {
        attempt: AttemptId,
        worker: WorkerId,
        gpus: GpuSet,
        tries_left: u32,
        at: Timestamp,
    },
    /// What the job's packages came to, said for the first time.
    JobLocked {
        job: JobId,
        lock: Arc<str>,
        at: Timestamp,
    },
    AttemptStarted {
        attempt: AttemptId,
        at: Timestamp,
    },
    /// Its submitter no longer wants it; the worker is told.
    TaskCancelling {
        attempt: AttemptId,
    },
    /// The attempt is over and the task waits again.
    TaskRequeued {
        attempt: AttemptId,
        reason: String,
        tries_left: u32,
        at: Timestamp,
    },
    /// The task is over.
    TaskEnded(Box<TaskEnd>),
    /// Tasks that never started are over: from this index to before that one.
    UntouchedCancelled {
        job: JobId,
        from: u32,
        to: u32,
        at: Timestamp,
    },
    JobEnded {
        job: JobId,
        ended: EndedTasks,
        at: Timestamp,
    },
    WorkerApproved {
        worker: Worker,
        at: Timestamp,
    },
    WorkerRenamed {
        worker: WorkerId,
        name: String,
    },
    WorkerRemoved {
        worker: WorkerId,
        at: Timestamp,
    },
}

/// A job as it begins.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub owner: UserId,
    pub name: String,
    pub spec: Arc<TaskSpec>,
    pub quote: Micros,
    pub at: Timestamp,
}

/// How a task came to its end.
#[derive(Debug, Clone)]
pub struct TaskEnd {
    pub task: TaskId,
    /// The attempt that ended it; its result is to be kept. None if it was cancelled while it
    /// waited again.
    pub attempt: Option<TaskResult>,
    pub verdict: Verdict,
    pub charged: Micros,
    pub at: Timestamp,
}

/// The last attempt's number and what its worker reported, if it could.
#[derive(Debug, Clone)]
pub struct TaskResult {
    pub attempt: AttemptId,
    pub ended: Box<Ended>,
}

/// The end of a task, as counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    /// In words.
    Failed {
        reason: String,
    },
    Cancelled,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Registered { user: User },
    Submitted { job: JobId, held: Micros },
    Approved { worker: WorkerId },
    Done,
    Refused(Refusal),
}

/// Why a request changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this name is taken")]
    NameTaken,
    #[error("there is no such thing, or it is not yours")]
    NotFound,
    #[error("this job has ended already")]
    HasEnded,
    #[error("no machine of yours shows this code right now")]
    CodeUnknown,
    #[error(transparent)]
    Insufficient(Insufficient),
    #[error("this idempotency key stands for another job, {job}")]
    KeyReused { job: JobId },
    #[error("you have {max} jobs under way, which is the limit")]
    TooManyJobs { max: u32 },
    #[error("the price is too large to be a number")]
    PriceOverflow,
}
