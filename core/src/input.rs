//! What can happen to the grid.

use std::collections::BTreeMap;

use campusgrid_protocol::id::{
    ApiTokenId, AttemptId, JobId, LoginId, SessionId, UserId, VoucherId, WorkerId,
};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::message::Join;
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::resource::{Capacity, Isolation, Load, Speed};
use campusgrid_protocol::rules::{Rules, Shares};
use campusgrid_protocol::task::{Ended, Saved, TaskSpec};
use campusgrid_protocol::terms::Terms;

use crate::ask::Ask;
use crate::job::{After, EndedTasks};
use crate::money::Micros;
use crate::time::Timestamp;
use crate::user::{Role, Scopes};
use crate::voucher::{Purpose, Shown};
use crate::worker::KeyHash;

/// Ties a request to its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One thing that happened. What comes from a person waits for a reply under its ticket.
#[derive(Debug, Clone)]
pub enum Input {
    Request {
        ticket: Ticket,
        request: Request,
    },
    FromWorker {
        session: SessionId,
        event: WorkerEvent,
    },
    /// Time has passed, maybe beyond [`crate::grid::Grid::next_deadline`].
    Tick,
    /// The grid itself stood still, so that nobody could renew a lease: each gets its full time anew,
    /// and nobody counts as silent.
    Paused,
    /// Whether results and jobs can be taken in from now on.
    Intake(Intake),
}

/// Whether the grid takes in what costs disk or moves credits. In memory only: the driver says it
/// after every start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Intake {
    #[default]
    Open,
    /// Nothing is submitted, started or settled; what runs goes on, its leases are renewed, and its
    /// results wait on their workers.
    Shut(Shut),
}

/// Why nothing is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shut {
    DiskFull,
    /// What the check of the books has found, in words.
    BooksBroken {
        findings: Vec<String>,
    },
}

/// What a person asks for, or a machine that is about to join. Texts and numbers have been checked for
/// their form.
#[derive(Debug, Clone)]
pub enum Request {
    Register(Registration),
    OpenLogin(NewLogin),
    /// The login of this token, at log-out.
    CloseLogin {
        token_hash: [u8; 32],
    },
    /// One of this user's, by its number.
    RevokeLogin {
        user: UserId,
        login: LoginId,
    },
    /// All of this user's but that of this token.
    RevokeLogins {
        user: UserId,
        but: Option<[u8; 32]>,
    },
    /// Also closes all of this user's logins but that of this token.
    ChangePassword {
        user: UserId,
        password_hash: String,
        but: Option<[u8; 32]>,
    },
    /// The same password, hashed at another cost; nothing if it has been changed since.
    Rehash {
        user: UserId,
        from: String,
        to: String,
    },
    OpenApiToken(NewApiToken),
    RevokeApiToken {
        user: UserId,
        token: ApiTokenId,
    },
    /// When logins and API tokens were last used; for people to read, so it may be minutes late.
    Used {
        logins: Vec<(LoginId, Timestamp)>,
        tokens: Vec<(ApiTokenId, Timestamp)>,
    },
    /// `by` must be an operator, and the last one stays one.
    SetRole {
        by: UserId,
        user: UserId,
        role: Role,
    },
    /// An invitation only by an operator; a token to join for oneself, or by an operator.
    MakeVoucher(VoucherWish),
    /// One that lets in this user's machines or was made by them; an operator may revoke all.
    RevokeVoucher {
        user: UserId,
        voucher: VoucherId,
    },
    /// A job to run: a new one, or a draft that is launched.
    Submit(Box<Submission>),
    /// A job that is to get files before it is launched.
    Draft(NewDraft),
    /// Files of a draft; one that has the path of another takes its place.
    PutFiles {
        user: UserId,
        job: JobId,
        files: Vec<InputFile>,
    },
    RemoveFile {
        user: UserId,
        job: JobId,
        path: String,
    },
    DiscardDraft {
        user: UserId,
        job: JobId,
    },
    /// `None` for all tasks; otherwise positions, of which those that have ended are passed over.
    Cancel {
        user: UserId,
        job: JobId,
        tasks: Option<Ranges>,
    },
    /// All of this user's jobs that have not ended; drafts stay.
    CancelAll {
        user: UserId,
    },
    /// Keeps what waits of a job from starting, or no longer.
    SetHold {
        user: UserId,
        job: JobId,
        on_hold: bool,
    },
    SetPriority {
        user: UserId,
        job: JobId,
        priority: i8,
    },
    /// The files and logs of ended jobs, which the asker may remove, are to go: the rows that name
    /// them. Jobs that have not ended are passed over.
    EmptyJobs {
        jobs: Vec<JobId>,
    },
    /// What has become of notices, by their numbers.
    NoticesTried {
        tried: Vec<(u64, NoticeFate)>,
    },
    /// What this user's webhooks are signed with from now on.
    SetWebhookSecret {
        user: UserId,
        secret: String,
    },
    /// Of a machine that has no certificate. With a code in place of a token, the reply comes when
    /// somebody has approved it; never, if its session has gone before.
    Enrol(Enrolment),
    /// `code` is what the worker shows on its own screen.
    ApproveWorker {
        user: UserId,
        code: String,
    },
    RemoveWorker {
        user: UserId,
        worker: WorkerId,
    },
    /// A machine that was set aside may take tasks again.
    ReleaseWorker {
        user: UserId,
        worker: WorkerId,
    },
    /// The rules of this user's machine; it is told.
    SetRules {
        user: UserId,
        worker: WorkerId,
        rules: Box<Rules>,
    },
    /// What this user's machine costs from now on. What was agreed before stays.
    SetAsk {
        user: UserId,
        worker: WorkerId,
        ask: Ask,
    },
    /// A bid on an open job, for this user's machine; in place of one that stands.
    Bid {
        user: UserId,
        job: JobId,
        worker: WorkerId,
        /// For the whole time limit.
        price: Micros,
        start_within_s: u32,
    },
    WithdrawBid {
        user: UserId,
        job: JobId,
        worker: WorkerId,
    },
    /// The bid of this machine on this user's job is accepted, if it still is of this price.
    Accept {
        user: UserId,
        job: JobId,
        worker: WorkerId,
        price: Micros,
    },
    /// This user has shown that an address is theirs: `identity` is BLAKE3 of its usual form. They are
    /// given the starting credits, unless somebody was for the same.
    Verify {
        user: UserId,
        identity: [u8; 32],
    },
}

/// A login that begins; only its token's BLAKE3 hash is kept.
#[derive(Debug, Clone)]
pub struct NewLogin {
    pub user: UserId,
    pub token_hash: [u8; 32],
    pub until: Timestamp,
    /// Where it came from, for the user to recognise: an address and a browser, in words.
    pub from: String,
}

/// An API token that begins; only its BLAKE3 hash is kept.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    pub user: UserId,
    pub name: String,
    pub token_hash: [u8; 32],
    pub scopes: Scopes,
    pub until: Timestamp,
}

/// A voucher to be made. Uses and time are cut to what a voucher may have.
#[derive(Debug, Clone)]
pub struct VoucherWish {
    pub by: UserId,
    pub purpose: Purpose,
    /// BLAKE3 of the secret.
    pub secret_hash: [u8; 32],
    pub uses: u32,
    pub until: Timestamp,
}

/// A machine that asks to be let in.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Of the enrolment connection.
    pub session: SessionId,
    pub key_hash: KeyHash,
    pub name: String,
    /// Where it dials in from, for its owner to recognise.
    pub address: String,
    pub proof: EnrolmentProof,
}

/// Why a machine should be let in.
#[derive(Debug, Clone)]
pub enum EnrolmentProof {
    Token(Shown),
    Code {
        /// Fresh, to be shown on the machine's own screen.
        code: String,
        /// The one user who may approve it, where it names one.
        claimed_owner: Option<String>,
    },
}

/// A new user, whose password is hashed already.
#[derive(Debug, Clone)]
pub struct Registration {
    pub name: String,
    pub email: Option<String>,
    pub password_hash: String,
    /// Whether it came from the manager's own machine: the first such user is the operator.
    pub local: bool,
    pub invitation: Option<Shown>,
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct Submission {
    pub user: UserId,
    /// Made by the client: a repeated submit under the same key finds the first job.
    pub key: Option<String>,
    pub name: String,
    pub spec: TaskSpec,
    pub terms: Terms,
    pub priority: i8,
    pub on_hold: bool,
    pub after: Vec<After>,
    /// How those jobs of `after` ended that are over, as they were found on disk. One that is neither
    /// here nor open has ended since: the submit is refused, to be tried anew.
    pub ended: BTreeMap<JobId, EndedTasks>,
    pub files: FilesOf,
}

/// Where the rows of a job's input files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf {
    /// It brings none.
    None,
    /// The draft that it has been until now. `revision` is that of the files that its specification
    /// was made from: if they have changed since, it is refused, to be tried anew.
    Draft { job: JobId, revision: u64 },
    /// Another job of the same user, of which it runs tasks again.
    Job(JobId),
}

/// A job that is to get files before it is launched.
#[derive(Debug, Clone)]
pub struct NewDraft {
    pub user: UserId,
    pub key: Option<String>,
    pub name: String,
    /// The request as it came, JSON: what is to be launched.
    pub submit: String,
}

/// What has become of an attempt to deliver a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeFate {
    Delivered,
    /// To be tried again then, and why it failed, in words.
    PutOff {
        until: Timestamp,
        reason: String,
    },
    /// Never to be tried again, and why.
    GivenUp {
        reason: String,
    },
}

/// What a session of a worker reports.
#[derive(Debug, Clone)]
pub enum WorkerEvent {
    Joined(Box<Joined>),
    Heartbeat(Heartbeat),
    Started {
        attempt: AttemptId,
    },
    /// What it made of the packages of the attempt's job, as it came.
    Locked {
        attempt: AttemptId,
        lock: String,
    },
    /// What a task has left to go on from, and the files that its manifest names; all of it is on disk
    /// here. Comes before the end that carries it.
    Checkpoint {
        attempt: AttemptId,
        saved: Saved,
        files: Vec<InputFile>,
    },
    Shares(Box<Shares>),
    /// Its blobs are on disk here.
    Ended(Box<Ended>),
    /// The connection is gone, for whatever reason.
    Gone,
}

/// A [`Join`] and whose certificate it came under.
#[derive(Debug, Clone)]
pub struct Joined {
    pub key_hash: KeyHash,
    pub name: String,
    pub capacity: Capacity,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    pub labels: Vec<String>,
    pub attempts: Vec<AttemptId>,
    /// Absent from those of an older version.
    pub speed: Option<Speed>,
    pub shares: Option<Shares>,
}

impl Joined {
    /// Takes over a join under the hash of the key that its connection has proved to hold.
    pub fn from_join(join: Join, key_hash: KeyHash) -> Self {
        Self {
            key_hash,
            name: join.name,
            capacity: join.capacity,
            isolation: join.isolation,
            isolation_notes: join.isolation_notes,
            labels: join.labels,
            attempts: join.attempts,
            speed: Some(join.speed),
            shares: Some(join.shares),
        }
    }
}

/// What a machine runs, or holds the result of, and how busy it is.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub sequence: u64,
    pub attempts: Vec<AttemptId>,
    pub load: Load,
}
