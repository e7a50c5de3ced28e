//! The messages of protocol 2 as its workers send and read them, and what they are today. Frozen: the
//! golden bytes of version 2 hold it, so a type that is shared with today's messages and changes its
//! bytes is to be copied here first. Goes when version 4 comes.
//!
//! Workers of version 2 know nothing of certificates and reach this port through something that does
//! TLS for them; who they are, its certificate says, and their `key` counts for nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, WorkerId};
use crate::message;
use crate::resource::{Capacity, Isolation, Load};
use crate::task::{BlobRef, Ended, Stream, TaskSpec};

/// The number of this version.
pub const VERSION: u16 = 2;

/// The first message of a worker on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub key: [u8; 32],
    pub name: String,
    /// The user who is to own this machine. Only a claim, until that user approves it.
    pub owner: Option<String>,
    pub capacity: Capacity,
    pub isolation: Isolation,
    /// What holds and what does not, one line each, for the owner to read.
    pub isolation_notes: Vec<String>,
    /// What jobs may require by name: interpreters and tools, images. An image's that ends with `*`
    /// stands for all that begin so: [`crate::text::check_offer`].
    pub labels: Vec<String>,
    /// Attempts that run here, or whose result waits here to be confirmed.
    pub attempts: Vec<AttemptId>,
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
    /// What this worker made of the packages that the attempt's job asks for by
    /// [`crate::task::Packages::Names`]: a [`crate::lock::Lock`]. The answer is
    /// [`ToWorker::Locked`], and only what that says may be installed; or [`ToWorker::Drop`] if it
    /// cannot be what the job's packages came to. Other packages need no agreement.
    Locked {
        attempt: AttemptId,
        lock: String,
    },
    /// The environment stands and the task's clock runs.
    Started {
        attempt: AttemptId,
    },
    /// A piece of a live log. Best effort: the log that is kept comes with [`Ended`].
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
}

/// To a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The answer to [`Join`].
    Welcome { worker: WorkerId, heartbeat_ms: u32, lease_ms: u32, approval: Approval },
    /// The owner has approved this machine while it was connected.
    Approved { owner: String },
    /// Run this attempt. Repeated starts of an attempt that is known change nothing.
    ///
    /// `gpus` are the numbers of those that are granted. `lock` is what the job's packages came to,
    /// in the form of a hashed requirements file, once one worker has found that out.
    Start { attempt: AttemptId, spec: Arc<TaskSpec>, gpus: Vec<u16>, lock: Option<Arc<str>> },
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
    Closing { reason: String },
}

/// Whether a machine's claimed owner has vouched for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    Owned {
        by: String,
    },
    /// To be entered in the dashboard by the one who owns the machine.
    Waiting {
        code: String,
    },
}

/// From a worker, on a bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkToManager {
    /// First: whose blobs these are and for which attempt.
    Open {
        key: [u8; 32],
        attempt: AttemptId,
    },
    /// A blob follows, in chunks, unless the answer is [`BulkToWorker::Received`] already.
    Blob(BlobRef),
    Chunk(Vec<u8>),
}

/// To a worker, on a bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkToWorker {
    /// Go on: answers `Open`, and a `Blob` that is not here yet.
    Ready,
    /// The blob is on disk here.
    Received,
    /// The connection is over, and why, in words.
    Refused { reason: String },
}

impl From<ToManager> for message::ToManager {
    fn from(message: ToManager) -> Self {
        match message {
            ToManager::Join(join) => {
                let Join { key: _, owner: _, name, capacity, isolation, .. } = *join;
                let (isolation_notes, labels) = (join.isolation_notes, join.labels);
                let attempts = join.attempts;
                let join =
                    message::Join { name, capacity, isolation, isolation_notes, labels, attempts };
                Self::Join(Box::new(join))
            }
            ToManager::Heartbeat { sequence, attempts, load } => {
                Self::Heartbeat { sequence, attempts, load }
            }
            ToManager::Preparing { attempt, step } => Self::Preparing { attempt, step },
            ToManager::Locked { attempt, lock } => Self::Locked { attempt, lock },
            ToManager::Started { attempt } => Self::Started { attempt },
            ToManager::LogPiece { attempt, stream, offset_bytes, bytes } => {
                Self::LogPiece { attempt, stream, offset_bytes, bytes }
            }
            ToManager::Ended(ended) => Self::Ended(ended),
            ToManager::Leaving => Self::Leaving,
        }
    }
}

impl ToWorker {
    /// What a worker of version 2 is told; none of what it never asks for.
    pub fn from_today(message: message::ToWorker) -> Option<Self> {
        Some(match message {
            message::ToWorker::Welcome { worker, heartbeat_ms, lease_ms, owner } => {
                let approval = Approval::Owned { by: owner };
                Self::Welcome { worker, heartbeat_ms, lease_ms, approval }
            }
            message::ToWorker::Start { attempt, spec, gpus, lock } => {
                Self::Start { attempt, spec, gpus, lock }
            }
            message::ToWorker::Locked { attempt, lock } => Self::Locked { attempt, lock },
            message::ToWorker::Cancel { attempt } => Self::Cancel { attempt },
            message::ToWorker::Drop { attempt } => Self::Drop { attempt },
            message::ToWorker::Stored { attempt } => Self::Stored { attempt },
            message::ToWorker::Renewed { sequence } => Self::Renewed { sequence },
            message::ToWorker::Closing { reason, comeback: _ } => Self::Closing { reason },
            message::ToWorker::Certificate { .. } => return None,
        })
    }
}

impl From<BulkToManager> for message::BulkToManager {
    fn from(message: BulkToManager) -> Self {
        match message {
            BulkToManager::Open { key: _, attempt } => Self::Open { attempt },
            BulkToManager::Blob(blob) => Self::Blob(blob),
            BulkToManager::Chunk(bytes) => Self::Chunk(bytes),
        }
    }
}

impl BulkToWorker {
    /// What a worker of version 2 is told; nothing, where it is to try again: it does so when its
    /// connection ends without a word.
    pub fn from_today(message: message::BulkToWorker) -> Option<Self> {
        match message {
            message::BulkToWorker::Ready => Some(Self::Ready),
            message::BulkToWorker::Received => Some(Self::Received),
            message::BulkToWorker::Refused { reason } => Some(Self::Refused { reason }),
            message::BulkToWorker::Later { reason: _ } => None,
        }
    }
}

#[cfg(test)]
mod tests;
