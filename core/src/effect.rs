//! What the grid wants done: changes to write, then, and only after they are on disk, messages and
//! replies to let out.

use std::sync::Arc;

use campusgrid_protocol::id::{
    ApiTokenId, AttemptId, JobId, LoginId, SessionId, TaskId, UserId, VoucherId, WorkerId,
};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::{Comeback, ToWorker};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Ended, TaskSpec};
use campusgrid_protocol::terms::Terms;

use crate::draft::Draft;
use crate::durable::SubmitKey;
use crate::gpus::GpuSet;
use crate::input::{FilesOf, NewApiToken, NewLogin, NoticeFate, Ticket};
use crate::job::After;
use crate::ledger::{Account, AccountId, Insufficient, Transfer};
use crate::losses::Losses;
use crate::money::Micros;
use crate::time::Timestamp;
use crate::user::{Role, User};
use crate::voucher::Voucher;
use crate::worker::Worker;

/// Everything that a batch of inputs led to, in order.
#[derive(Debug, Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub sends: Vec<(SessionId, ToWorker)>,
    pub replies: Vec<(Ticket, Reply)>,
    /// Sessions to end, with the reason to tell and whether the worker should dial again.
    pub closes: Vec<(SessionId, String, Comeback)>,
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
        login: NewLogin,
        at: Timestamp,
    },
    LoginClosed {
        token_hash: [u8; 32],
    },
    /// By its number; only if it is this user's.
    LoginRevoked {
        user: UserId,
        login: LoginId,
    },
    /// All of this user's but that of this token.
    LoginsRevoked {
        user: UserId,
        but: Option<[u8; 32]>,
    },
    /// Logins that ended before now can go.
    LoginsOver {
        at: Timestamp,
    },
    /// All API tokens of the user end with the old password.
    PasswordChanged {
        user: UserId,
        password_hash: String,
        at: Timestamp,
    },
    /// The same password hashed anew, unless it has been changed since.
    PasswordRehashed {
        user: UserId,
        from: String,
        to: String,
    },
    ApiTokenOpened {
        token: NewApiToken,
        at: Timestamp,
    },
    /// Only if it is this user's.
    ApiTokenRevoked {
        user: UserId,
        token: ApiTokenId,
    },
    Used {
        logins: Vec<(LoginId, Timestamp)>,
        tokens: Vec<(ApiTokenId, Timestamp)>,
    },
    RoleSet {
        by: UserId,
        user: UserId,
        role: Role,
        at: Timestamp,
    },
    VoucherMade(Voucher),
    /// It has this many uses left, at least one.
    VoucherUsed {
        voucher: VoucherId,
        uses_left: u32,
    },
    /// Used up, out of date or revoked.
    VoucherOver {
        voucher: VoucherId,
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
        losses: Losses,
        at: Timestamp,
    },
    /// The attempt has failed by the task's own doing and is paid for; the task is to be run again.
    TaskPausing(Box<TaskPause>),
    /// The pause is over and the task waits again.
    TaskRoused {
        task: TaskId,
    },
    /// The task is over.
    TaskEnded(Box<TaskEnd>),
    /// Tasks that never started are over, and why if not because their submitter asked; in words.
    UntouchedCancelled {
        job: JobId,
        tasks: Ranges,
        reason: Option<Arc<str>>,
        at: Timestamp,
    },
    /// The job no longer waits for that.
    AfterMet {
        job: JobId,
        after: After,
    },
    JobHoldSet {
        job: JobId,
        on_hold: bool,
        at: Timestamp,
    },
    JobPrioritySet {
        job: JobId,
        priority: i8,
        at: Timestamp,
    },
    Drafted {
        draft: Draft,
        /// The request as it came.
        submit: String,
    },
    /// Files of a draft came or went; those put take the place of any with their path.
    DraftChanged {
        job: JobId,
        put: Vec<InputFile>,
        removed: Vec<String>,
        revision: u64,
        at: Timestamp,
    },
    /// Discarded, or too old: its files go as well.
    DraftDiscarded {
        job: JobId,
        at: Timestamp,
    },
    /// The files and logs of an ended job go.
    JobEmptied {
        job: JobId,
        at: Timestamp,
    },
    /// Somebody is to be told.
    NoticeDue {
        job: JobId,
        kind: NoticeKind,
        at: Timestamp,
    },
    NoticeTried {
        notice: u64,
        fate: NoticeFate,
        at: Timestamp,
    },
    WebhookSecretSet {
        user: UserId,
        secret: String,
        at: Timestamp,
    },
    /// What waits of the job is to be cancelled once the grid settles again.
    JobCancelling {
        job: JobId,
        at: Timestamp,
    },
    JobEnded {
        job: JobId,
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
    /// It gets no tasks for this reason, or again if there is none.
    WorkerSetAside {
        worker: WorkerId,
        reason: Option<Arc<str>>,
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
    pub terms: Arc<Terms>,
    pub priority: i8,
    pub on_hold: bool,
    /// Of open jobs only.
    pub after: Vec<After>,
    pub files: FilesOf,
    pub quote: Micros,
    pub at: Timestamp,
}

/// A run that failed and is to be followed by another.
#[derive(Debug, Clone)]
pub struct TaskPause {
    pub attempt: AttemptId,
    pub ended: Box<Ended>,
    /// In words.
    pub reason: String,
    pub charged: Micros,
    pub tries_left: u32,
    pub runs_left: u8,
    pub until: Timestamp,
    pub at: Timestamp,
}

/// Of what somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// The job's first task has started.
    Started,
    /// Its first task has failed for good.
    Failed,
    Ended,
}

/// How a task came to its end.
#[derive(Debug, Clone)]
pub struct TaskEnd {
    pub task: TaskId,
    /// The attempt that ended it; its result is to be kept. None if it was cancelled while it
    /// waited again.
    pub attempt: Option<TaskResult>,
    pub verdict: Verdict,
    /// Why it was cancelled, if not because its submitter asked; in words.
    pub reason: Option<Arc<str>>,
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
    Registered {
        user: User,
    },
    Submitted {
        job: JobId,
        held: Micros,
    },
    Drafted {
        job: JobId,
    },
    /// So many jobs have something cancelled.
    Cancelled {
        jobs: u32,
    },
    /// To the person who has approved it.
    Approved {
        worker: WorkerId,
    },
    /// To the machine.
    Enrolled {
        worker: WorkerId,
        owner: String,
    },
    VoucherMade {
        voucher: VoucherId,
    },
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
    #[error("you have {max} drafts, which is the limit: launch or discard one first")]
    TooManyDrafts { max: u32 },
    #[error("a job may bring at most {max} files")]
    TooManyFiles { max: u32 },
    #[error("a file of this job is named like a directory of another")]
    PathTaken,
    #[error("this job is a draft: it has to be launched first, or it can be discarded")]
    NotLaunched,
    #[error("this job is no draft any more")]
    Launched,
    /// What was asked for was made of something that has changed meanwhile.
    #[error("something changed at the same moment; try again")]
    Moved,
    #[error("there is no job {job} of yours that it could wait for")]
    AfterUnknown { job: JobId },
    #[error("job {job} is over and cannot come to that any more, so this one would never start")]
    NeverStarts { job: JobId },
    #[error("job {job} has {tasks} tasks, and each can wait for its own only if both have as many")]
    SizesDiffer { job: JobId, tasks: u32 },
    #[error("its deadline is over already")]
    DeadlineOver,
    #[error("this token or invitation was used up, has ended or was revoked, or never was")]
    VoucherUnknown,
    #[error(
        "this machine is another user's already: have it removed on the dashboard, or run \
         campusgrid-worker forget; the token is still good"
    )]
    MachineOwned,
    #[error("registration is by invitation: ask an operator for one")]
    InvitationNeeded,
    #[error("registration is closed")]
    RegistrationClosed,
    #[error("only an operator may do this")]
    NotAnOperator,
    #[error("the last operator stays one: make somebody else an operator first")]
    LastOperator,
    #[error("too many machines wait for approval; try again later")]
    TooManyNewcomers,
    #[error("this machine no longer waits here: its connection is over, or it has a newer one")]
    Withdrawn,
    #[error("you have {max} of these, which is the limit: revoke one first")]
    TooMany { max: u32 },
    #[error("the manager's disk is full, so nothing new is taken in; what runs goes on")]
    DiskFull,
    #[error(
        "the manager's books do not balance, so nothing is taken in until an operator has looked; \
         what runs goes on"
    )]
    BooksBroken,
}
