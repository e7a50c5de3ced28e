//! What goes into the agent and what comes out of it, as plain values.

use std::sync::Arc;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::resource::Load;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::{BlobRef, Ended, Outcome, Saved, Stream, TaskSpec};
use campusgrid_sharing::verdict::Verdict;

use super::room::Grant;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentInput {
    /// The worker has started; these ends were found in its spool.
    Recovered(Vec<Ended>),
    /// A connection stands and both hellos were said.
    Connected,
    /// The connection is gone, by whoever's will.
    Disconnected,
    Received(ToWorker),
    /// Something to report of an attempt that was told to run.
    Progress {
        attempt: AttemptId,
        progress: Progress,
    },
    /// The attempt is over and its end is on disk in the spool.
    Finished(Box<Ended>),
    /// The attempt is over and was to be forgotten: nothing of it is in the spool.
    Gone {
        attempt: AttemptId,
    },
    /// The manager has all blobs of the attempt's end.
    Uploaded {
        attempt: AttemptId,
    },
    /// The blobs could not be brought to the manager, for now.
    UploadFailed {
        attempt: AttemptId,
    },
    /// The manager will never have this blob; none: any blob of this attempt.
    UploadRefused {
        attempt: AttemptId,
        blob: Option<BlobHash>,
        reason: String,
    },
    /// The time given by [`super::Agent::next_deadline`] has come. Any other time is harmless.
    Tick {
        load: Load,
        /// Drawn anew by the driver for each tick, from -100 to 100: how much later than usual, in
        /// thousandths, the heartbeat after this one is to be.
        jitter_permille: i16,
    },
    /// What the owner's rules come to now; the same again is harmless.
    Verdict(Box<Verdict>),
    /// The owner wants this attempt off the machine, whatever the rules say.
    StopHere {
        attempt: AttemptId,
    },
    /// The owner ends the worker.
    Leave,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// What is being made ready, in words.
    Preparing { step: String },
    /// What the packages of its job came to here; the answer is [`AgentEffect::Lock`].
    Resolved { lock: String },
    /// The task's own clock runs.
    Started,
    /// A stream grew; pieces may be missing, which the offset shows.
    Printed { stream: Stream, offset_bytes: u64, bytes: Vec<u8> },
    /// What the task has written to go on from is with the manager, all its blobs.
    Saved(Saved),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEffect {
    /// Send on the present connection; without one the message is dropped.
    Send(ToManager),
    Run {
        attempt: AttemptId,
        order: Order,
    },
    /// Install from this lock in an attempt that has told what its packages came to.
    Lock {
        attempt: AttemptId,
        lock: Arc<str>,
    },
    /// Stop an attempt that was told to run. A later order replaces an earlier one.
    Stop {
        attempt: AttemptId,
        order: StopOrder,
    },
    /// Everything that runs here stands still, until it is thawed or stopped; an attempt that is
    /// being stopped already goes on to its end.
    Freeze,
    /// Everything that stood still goes on.
    Thaw,
    /// Put this end into the spool, then say [`AgentInput::Finished`].
    Spool(Box<Ended>),
    /// Delete this end from the spool.
    Unspool {
        attempt: AttemptId,
    },
    /// Bring these blobs of a spooled end to the manager; of a checkpoint this manifest, which is
    /// among them, and all files that it names.
    Upload {
        attempt: AttemptId,
        blobs: Vec<BlobRef>,
        checkpoint: Option<BlobRef>,
    },
    /// Close the connection, and dial again.
    Disconnect {
        reason: String,
    },
    /// Close the connection, and never dial again: the manager does not want this worker. It leaves.
    Dismissed {
        reason: String,
    },
    /// The session stands; tell people for whom this machine works.
    Welcomed {
        owner: String,
    },
    /// The owner's rules in the dashboard, to be kept and to be judged by.
    Rules(Box<Rules>),
    /// What this machine has earned, ever.
    Earned {
        micros: i64,
    },
    /// All is said: end the worker.
    Left,
}

/// What an attempt is told to do, and with what of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The task's, as its program sees it.
    pub index: u32,
    pub spec: Arc<TaskSpec>,
    /// Places in the capacity's GPUs.
    pub gpus: Vec<u16>,
    /// What the job's packages came to, if a worker has found that out before.
    pub lock: Option<Arc<str>>,
    /// What an earlier attempt has left to go on from.
    pub checkpoint: Option<Saved>,
    /// The submitter and the job, for the owner to read.
    pub whose: String,
    pub name: String,
    /// How much of each of its cores it may use, by the owner's rules. Per cent.
    pub core_percent: u8,
}

impl Order {
    /// What it takes up of the machine.
    pub(super) fn grant(&self) -> Grant {
        Grant { needs: self.spec.needs, gpus: self.gpus.clone() }
    }
}

/// Why a run is stopped, which decides what becomes of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopOrder {
    /// Spool its end with this outcome; if it ended by itself before, its own outcome stands.
    Report(Outcome),
    /// The machine's owner wants it: tell it, wait so long for what it wants to go on from, keep
    /// that with its end, and report it as handed back; if it ended by itself before, its own
    /// outcome stands.
    HandBack { grace_s: u32 },
    /// Leave no trace of it.
    Forget,
}

/// Effects in the order in which they are to be carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentEffects {
    pub effects: Vec<AgentEffect>,
}

impl AgentEffects {
    pub(super) fn push(&mut self, effect: AgentEffect) {
        self.effects.push(effect);
    }

    pub(super) fn send(&mut self, message: ToManager) {
        self.push(AgentEffect::Send(message));
    }
}
