//! Everything that can be planned to happen in the world.

use bytes::Bytes;
use campusgrid_core::effect::Reply;
use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{BlobRef, Ended, Saved};

use crate::fault::Fault;
use crate::identity::Token;
use crate::network::ConnectionId;
use crate::owner::Visit;
use crate::users::AskId;
use crate::want::Want;

#[derive(Debug)]
pub(crate) enum Event {
    /// Reaches the manager's end of a connection.
    Up {
        connection: ConnectionId,
        what: Up,
    },
    /// Reaches the worker's end of a connection.
    Down {
        connection: ConnectionId,
        what: Down,
    },
    /// Happens inside a machine, unless it was switched off since it was planned.
    Inside {
        machine: usize,
        boot: u32,
        what: Inside,
    },
    /// Happens inside the manager, unless it died since it was planned.
    AtManager {
        life: u32,
        what: AtManager,
    },
    ManagerStarts,
    /// The blobs of an end reach the manager, or its absence is noticed.
    Upload {
        machine: usize,
        boot: u32,
        attempt: AttemptId,
        blobs: Vec<BlobRef>,
    },
    /// So does what a task that runs has saved.
    Save {
        machine: usize,
        boot: u32,
        attempt: AttemptId,
        saved: Saved,
    },
    /// A machine's owner comes, stays or goes.
    Owner {
        machine: usize,
        visit: Visit,
    },
    /// A person begins to want something.
    Wants {
        person: usize,
        want: Want,
    },
    /// A request reaches the manager.
    Asked {
        ask: AskId,
    },
    Answered {
        ask: AskId,
        reply: Reply,
    },
    /// The person has waited long enough for the answer to this try.
    Unanswered {
        ask: AskId,
        tries: u32,
    },
    /// An owner types a token in on a machine.
    Handed {
        machine: usize,
        token: Token,
    },
    /// People look through what they have on hold: a submit of it may never have been answered.
    LookedThrough,
    Fault(Fault),
    StormOver,
}

/// From a worker's end of a connection.
#[derive(Debug)]
pub(crate) enum Up {
    Dial,
    Frame(Bytes),
    /// Nothing more will come.
    End,
}

/// From the manager's end of a connection.
#[derive(Debug)]
pub(crate) enum Down {
    Accepted,
    Frame(Bytes),
    /// The machine's certificate is out of date.
    Expired,
    End,
}

#[derive(Debug)]
pub(crate) enum Inside {
    PowerOn,
    PowerFails,
    Wake,
    Dial,
    DialTimesOut {
        connection: ConnectionId,
    },
    HangUp {
        connection: ConnectionId,
    },
    /// Nothing more was heard on an enrolment connection since it was heard so often.
    EnrolmentSilent {
        connection: ConnectionId,
        heard: u32,
    },
    /// The timer; an older one than the last set is void.
    Tick {
        number: u64,
    },
    /// It has found out what its job's packages come to.
    Resolved {
        attempt: AttemptId,
    },
    Prepared {
        attempt: AttemptId,
    },
    Exits {
        attempt: AttemptId,
    },
    Killed {
        attempt: AttemptId,
    },
    /// The task takes its machine down.
    Poisoned {
        attempt: AttemptId,
    },
    Synced {
        ended: Box<Ended>,
    },
    Uploaded {
        attempt: AttemptId,
    },
    UploadFailed {
        attempt: AttemptId,
    },
    /// The worker looks at its owner's rules.
    Judged,
    /// The task writes what it could go on from.
    Writes {
        attempt: AttemptId,
    },
    /// The manager has all of that.
    Saved {
        attempt: AttemptId,
        saved: Saved,
    },
}

#[derive(Debug)]
pub(crate) enum AtManager {
    /// Void unless it is the one that the engine sleeps towards.
    Batch {
        at_ms: u64,
    },
    /// The disk has taken the batch that it was given.
    Written,
    /// A machine that waits for its owner is told its code again.
    Remind {
        connection: ConnectionId,
    },
    IntroductionOver {
        connection: ConnectionId,
    },
    SilenceOver {
        connection: ConnectionId,
    },
}
