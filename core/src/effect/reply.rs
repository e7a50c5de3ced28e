//! What is answered to a request.

use campusgrid_protocol::id::{JobId, VoucherId, WorkerId};

use crate::ledger::Insufficient;
use crate::money::Micros;
use crate::user::User;

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
    #[error(
        "this job takes no bids: it is not on the market, its time for bids is over, or a bid was \
         accepted"
    )]
    NotOpen,
    #[error(
        "a job that is sold by bids has one task and one run, waits for no other job and cannot be \
         put on hold"
    )]
    OnMarket,
    #[error("nobody bids on their own job")]
    OwnJob,
    #[error("this machine cannot run the job: {why}")]
    CannotRun { why: &'static str },
    #[error("this machine has no room for the job right now; its bid stands, accept it later")]
    MachineBusy,
    #[error(
        "this machine is not connected, or not shared right now; its bid stands, accept it when the \
         machine is back"
    )]
    MachineAway,
    #[error("there is no such bid any more, or its price is another by now")]
    BidGone,
    #[error("{max} bids stand on this job, of all owners or of yours, which is the limit")]
    TooManyBids { max: u32 },
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
