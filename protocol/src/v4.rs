//! The messages of protocol 4 as its workers send and read them, and what they are today. Frozen: the
//! golden bytes of version 4 hold it, so a type that is shared with today's messages and changes its
//! bytes is to be copied here first. Goes when version 6 comes.
//!
//! What such workers say and are told when they enrol and on bulk connections has not changed since.
//! They know nothing of their owner's rules and of checkpoints: they are open as long as they are
//! connected, and a task that has left something to go on from begins anew on them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, WorkerId};
use crate::message::{self, Comeback};
use crate::resource::{Capacity, Isolation, Load, Needs, Speed};
use crate::rules::{Limits, Phase, Shares};
use crate::task::{self, BlobRef, Log, Outcome, Output, Stream, Usage, Work};

/// The number of this version.
pub const VERSION: u16 = 4;

/// The first message of a worker on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub name: String,
    pub capacity: Capacity,
    pub isolation: Isolation,
    /// What holds and what does not, one line each, for the owner to read.
    pub isolation_notes: Vec<String>,
    /// What jobs may require by name: interpreters and tools, images.
    pub labels: Vec<String>,
    /// Attempts that run here, or whose result waits here to be confirmed.
    pub attempts: Vec<AttemptId>,
}

/// The end of an attempt, as it is sent and as such a worker keeps it in its spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub attempt: AttemptId,
    pub outcome: Outcome,
    pub usage: Usage,
    pub stdout: Log,
    pub stderr: Log,
    pub outputs: Vec<Output>,
    /// What was left behind and why, in words; empty if nothing was.
    pub left_behind: String,
}

/// From a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToManager {
    Join(Box<Join>),
    /// Renews the leases of exactly these attempts.
    Heartbeat {
        sequence: u64,
        attempts: Vec<AttemptId>,
        load: Load,
    },
    /// What is being made ready for an attempt, in words, for its submitter to read.
    Preparing {
        attempt: AttemptId,
        step: String,
    },
    /// What this worker made of the packages that the attempt's job asks for by name.
    Locked {
        attempt: AttemptId,
        lock: String,
    },
    /// The environment stands and the task's clock runs.
    Started {
        attempt: AttemptId,
    },
    /// A piece of a live log.
    LogPiece {
        attempt: AttemptId,
        stream: Stream,
        offset_bytes: u64,
        bytes: Vec<u8>,
    },
    /// Sent after all its blobs were confirmed; repeated until [`ToWorker::Stored`].
    Ended(Box<Ended>),
    /// The worker shuts down and has given back what it ran.
    Leaving,
    /// Asks for a certificate that lasts longer: PKCS #10, DER, for the key of this connection.
    Renew {
        request: Vec<u8>,
    },
}

/// To a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The answer to [`Join`].
    Welcome { worker: WorkerId, heartbeat_ms: u32, lease_ms: u32, owner: String },
    /// Run this attempt. Repeated starts of an attempt that is known change nothing.
    ///
    /// `index` is the task's, as its program sees it. `gpus` are the numbers of those that are granted.
    /// `lock` is what the job's packages came to, once one worker has found that out.
    Start {
        attempt: AttemptId,
        index: u32,
        spec: Box<TaskSpec>,
        gpus: Vec<u16>,
        lock: Option<Arc<str>>,
    },
    /// The lock of the attempt's job: that of the first worker that had one.
    Locked { attempt: AttemptId, lock: Arc<str> },
    /// Stop this attempt and report it as cancelled.
    Cancel { attempt: AttemptId },
    /// This attempt is no longer wanted: stop it, forget it, report nothing.
    Drop { attempt: AttemptId },
    /// The end of this attempt is on disk here; the worker may delete its copy.
    Stored { attempt: AttemptId },
    /// The heartbeat of this number has renewed the leases it listed.
    Renewed { sequence: u64 },
    /// The session is over, and why, in words.
    Closing { reason: String, comeback: Comeback },
    /// The answer to [`ToManager::Renew`]: X.509, DER.
    Certificate { certificate: Vec<u8> },
}

/// One task as a worker gets it: today's but for checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub work: Work,
    pub needs: Needs,
    pub time_limit_s: u32,
    pub isolation: Isolation,
    pub labels: Vec<String>,
    pub image: Option<String>,
    pub shared_tmp: bool,
    pub tasks: u32,
    pub arguments: Vec<String>,
    pub inputs: Option<BlobRef>,
    pub lines: Option<String>,
    pub outputs: Vec<String>,
    pub warn_s: u32,
}

impl From<Join> for message::Join {
    /// What such a machine cannot say is that it is open and without limits, and nothing of its speed.
    fn from(join: Join) -> Self {
        Self {
            name: join.name,
            capacity: join.capacity,
            isolation: join.isolation,
            isolation_notes: join.isolation_notes,
            labels: join.labels,
            attempts: join.attempts,
            speed: Speed { core_permille: 0, all_permille: 0 },
            shares: Shares {
                phase: Phase::Open,
                why: String::new(),
                since_ms: 0,
                limits: Limits::default(),
            },
        }
    }
}

impl From<Ended> for task::Ended {
    fn from(ended: Ended) -> Self {
        Self {
            attempt: ended.attempt,
            outcome: ended.outcome,
            usage: ended.usage,
            stdout: ended.stdout,
            stderr: ended.stderr,
            outputs: ended.outputs,
            left_behind: ended.left_behind,
            checkpoint: None,
        }
    }
}

impl From<ToManager> for message::ToManager {
    fn from(message: ToManager) -> Self {
        match message {
            ToManager::Join(join) => Self::Join(Box::new((*join).into())),
            ToManager::Heartbeat { sequence, attempts, load } => {
                Self::Heartbeat { sequence, attempts, load }
            }
            ToManager::Preparing { attempt, step } => Self::Preparing { attempt, step },
            ToManager::Locked { attempt, lock } => Self::Locked { attempt, lock },
            ToManager::Started { attempt } => Self::Started { attempt },
            ToManager::LogPiece { attempt, stream, offset_bytes, bytes } => {
                Self::LogPiece { attempt, stream, offset_bytes, bytes }
            }
            ToManager::Ended(ended) => Self::Ended(Box::new((*ended).into())),
            ToManager::Leaving => Self::Leaving,
            ToManager::Renew { request } => Self::Renew { request },
        }
    }
}

impl From<&task::TaskSpec> for TaskSpec {
    fn from(spec: &task::TaskSpec) -> Self {
        Self {
            work: spec.work.clone(),
            needs: spec.needs,
            time_limit_s: spec.time_limit_s,
            isolation: spec.isolation,
            labels: spec.labels.clone(),
            image: spec.image.clone(),
            shared_tmp: spec.shared_tmp,
            tasks: spec.tasks,
            arguments: spec.arguments.clone(),
            inputs: spec.inputs,
            lines: spec.lines.clone(),
            outputs: spec.outputs.clone(),
            warn_s: spec.warn_s,
        }
    }
}

impl ToWorker {
    /// What a worker of version 4 is told; none of what it has no words for.
    pub fn from_today(message: message::ToWorker) -> Option<Self> {
        Some(match message {
            message::ToWorker::Welcome { worker, heartbeat_ms, lease_ms, owner, .. } => {
                Self::Welcome { worker, heartbeat_ms, lease_ms, owner }
            }
            message::ToWorker::Rules(_) | message::ToWorker::Earned { .. } => return None,
            // The core has let go of the task's checkpoint when it chose such a machine.
            message::ToWorker::Start { attempt, index, spec, gpus, lock, .. } => {
                Self::Start { attempt, index, spec: Box::new((&*spec).into()), gpus, lock }
            }
            message::ToWorker::Locked { attempt, lock } => Self::Locked { attempt, lock },
            message::ToWorker::Cancel { attempt } => Self::Cancel { attempt },
            message::ToWorker::Drop { attempt } => Self::Drop { attempt },
            message::ToWorker::Stored { attempt } => Self::Stored { attempt },
            message::ToWorker::Renewed { sequence } => Self::Renewed { sequence },
            message::ToWorker::Closing { reason, comeback } => Self::Closing { reason, comeback },
            message::ToWorker::Certificate { certificate } => Self::Certificate { certificate },
        })
    }
}

#[cfg(test)]
mod tests;
