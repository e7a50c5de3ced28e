//! What can happen to the grid.

use campusgrid_protocol::id::{AttemptId, JobId, SessionId, UserId, WorkerId};
use campusgrid_protocol::message::Join;
use campusgrid_protocol::resource::{Capacity, Isolation, Load};
use campusgrid_protocol::task::{Ended, TaskSpec};

use crate::time::Timestamp;
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
}

/// What a person asks for. Texts and numbers have been checked for their form.
#[derive(Debug, Clone)]
pub enum Request {
    Register(Registration),
    OpenLogin {
        user: UserId,
        token_hash: [u8; 32],
        until: Timestamp,
    },
    CloseLogin {
        token_hash: [u8; 32],
    },
    Submit(Submission),
    Cancel {
        user: UserId,
        job: JobId,
    },
    /// `code` is what the worker shows on its own screen.
    ApproveWorker {
        user: UserId,
        code: String,
    },
    RemoveWorker {
        user: UserId,
        worker: WorkerId,
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
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct Submission {
    pub user: UserId,
    /// Made by the client: a repeated submit under the same key finds the first job.
    pub key: Option<String>,
    pub name: String,
    pub spec: TaskSpec,
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
    /// Its blobs are on disk here.
    Ended(Box<Ended>),
    /// The connection is gone, for whatever reason.
    Gone,
}

/// A [`Join`] without its secret.
#[derive(Debug, Clone)]
pub struct Joined {
    pub key_hash: KeyHash,
    /// Fresh, to be shown on the machine's own screen in case nobody owns it yet.
    pub code: String,
    pub name: String,
    pub claimed_owner: Option<String>,
    pub capacity: Capacity,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    pub labels: Vec<String>,
    pub attempts: Vec<AttemptId>,
}

impl Joined {
    /// Takes over a join under the hash of its key.
    pub fn from_join(join: Join, key_hash: KeyHash, code: String) -> Self {
        Self {
            key_hash,
            code,
            name: join.name,
            claimed_owner: join.owner,
            capacity: join.capacity,
            isolation: join.isolation,
            isolation_notes: join.isolation_notes,
            labels: join.labels,
            attempts: join.attempts,
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
