//! What the grid wants done: changes to write, then, and only after they are on disk, messages and
//! replies to let out.

mod reply;

pub use self::reply::{Refusal, Reply};

use std::sync::Arc;

use campusgrid_protocol::id::{
    ApiTokenId, AttemptId, JobId, LoginId, SessionId, TaskId, UserId, VoucherId, WorkerId,
};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::{Comeback, ToWorker};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::{Ended, Saved, TaskSpec};
use campusgrid_protocol::terms::Terms;

use crate::ask::{Ask, Deal};
use crate::draft::Draft;
use crate::durable::SubmitKey;
use crate::gpus::GpuSet;
use crate::input::{FilesOf, NewApiToken, NewLogin, NoticeFate, Ticket};
use crate::job::After;
use crate::ledger::{Account, AccountId, Transfer};
use crate::losses::Losses;
use crate::market::{Award, Bid, BidFate, Market};
use crate::money::Micros;
use crate::record::Record;
use crate::time::Timestamp;
use crate::user::{Role, User};
use crate::votes::Vote;
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
        deal: Deal,
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
    /// What the task's next attempt goes on from, in place of what it had.
    CheckpointSaved {
        attempt: AttemptId,
        saved: Saved,
        files: Arc<[InputFile]>,
        at: Timestamp,
    },
    /// The task begins anew: the machine that has it now knows nothing of checkpoints, or it has failed
    /// and is to be run again.
    CheckpointDropped {
        task: TaskId,
    },
    /// The owner of the attempt's machine was paid; not pushed where nothing moves.
    AttemptPaid {
        attempt: AttemptId,
        worker: WorkerId,
        /// By the submitter: the owner's pay and the fee. Nothing, where a check is paid from fees.
        charged: Micros,
        /// By the owner.
        earned: Micros,
        /// The running time that it is for.
        run_ms: u64,
        at: Timestamp,
    },
    /// The attempt is over and the task waits again.
    TaskRequeued {
        attempt: AttemptId,
        reason: String,
        tries_left: u32,
        losses: Losses,
        /// What is paid of the present run's quote by now, and up to where.
        paid: Micros,
        paid_ms: u64,
        /// How long the attempt has run, as far as that is known and can be believed.
        run_ms: u64,
        at: Timestamp,
    },
    /// The attempt has a result, and the task waits for another machine's.
    TaskChecking(Box<TaskCheck>),
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
    WorkerRulesSet {
        worker: WorkerId,
        rules: Arc<Rules>,
        at: Timestamp,
    },
    WorkerAskSet {
        worker: WorkerId,
        ask: Ask,
        at: Timestamp,
    },
    /// As it stands now.
    WorkerRecord {
        worker: WorkerId,
        record: Record,
    },
    /// In place of the machine's bid that stood, if one did.
    BidPlaced {
        job: JobId,
        worker: WorkerId,
        bid: Bid,
    },
    /// A bid stands no longer, or an accepted one has come to this.
    BidOver {
        job: JobId,
        worker: WorkerId,
        fate: BidFate,
        at: Timestamp,
    },
    /// One bid is accepted, and so much is the job's quote from now on; or when it has to start has
    /// changed.
    JobAwarded {
        job: JobId,
        award: Award,
        quote: Micros,
        at: Timestamp,
    },
    /// The accepted bid has failed; the job takes bids again.
    JobReopened {
        job: JobId,
        market: Market,
        quote: Micros,
        /// In words.
        reason: String,
        at: Timestamp,
    },
    /// An address is this user's; whether starting credits came with it, the ledger says.
    UserVerified {
        user: UserId,
        identity: [u8; 32],
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
    pub rate_permille: u32,
    pub market: Option<Market>,
    pub at: Timestamp,
}

/// A result that does not count yet.
#[derive(Debug, Clone)]
pub struct TaskCheck {
    pub attempt: AttemptId,
    pub ended: Box<Ended>,
    pub vote: Vote,
    pub runs_left: u8,
    /// Held of the fee account for this task by now.
    pub audit: Micros,
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
    /// The number of an earlier attempt whose result counts instead: the task was being checked
    /// ([`Change::TaskChecking`]), and nobody is left to do so.
    pub kept: Option<u32>,
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
