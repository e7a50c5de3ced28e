//! The messages of protocol 3 as its workers send and read them, and what they are today. Frozen: the
//! golden bytes of version 3 hold it, so a type that is shared with today's messages and changes its
//! bytes is to be copied here first. Goes when version 5 comes.
//!
//! What such workers send on a control connection, and when they enrol, has not changed since; only
//! new ways to end have been added behind the old ones. They know nothing of files that a job brings,
//! of arguments and of warnings, and take a task's position for its index: jobs that need more require
//! a label that they do not offer ([`crate::task::LABEL_4`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, WorkerId};
use crate::message::{self, Comeback};
use crate::resource::{Isolation, Needs};
use crate::task::{self, BlobRef, Packages, Program};

/// The number of this version.
pub const VERSION: u16 = 3;

/// To a worker, on its control connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The answer to [`message::Join`].
    Welcome { worker: WorkerId, heartbeat_ms: u32, lease_ms: u32, owner: String },
    /// Run this attempt. Repeated starts of an attempt that is known change nothing.
    ///
    /// `gpus` are the numbers of those that are granted. `lock` is what the job's packages came to,
    /// in the form of a hashed requirements file, once one worker has found that out.
    Start { attempt: AttemptId, spec: Box<TaskSpec>, gpus: Vec<u16>, lock: Option<Arc<str>> },
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
    /// The answer to [`message::ToManager::Renew`]: X.509, DER.
    Certificate { certificate: Vec<u8> },
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Python source, run as `main.py`.
    Python { source: String, packages: Packages },
    /// C source, compiled inside the sandbox with `gcc -O2 -fopenmp`, these flags and `-lm`, then
    /// run.
    C { source: String, flags: Vec<String> },
    /// A command line for `/bin/sh -c`.
    Shell { command: String },
}

/// One task as a worker gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub work: Work,
    pub needs: Needs,
    /// How long it may run once its environment stands; seconds.
    pub time_limit_s: u32,
    /// The least confinement that its submitter accepts.
    pub isolation: Isolation,
    /// What the machine must offer, such as `python3.12`, `R` or `image:…`; sorted, each once.
    pub labels: Vec<String>,
    /// Run in this container image instead of the machine's own system: [`crate::text::check_image`].
    pub image: Option<String>,
    /// Tasks of this job that follow each other on one machine may find there what earlier ones left
    /// in `/tmp`.
    pub shared_tmp: bool,
    /// Number of tasks in the job; the task's index is in its [`AttemptId`].
    pub tasks: u32,
}

/// From a worker, on a bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkToManager {
    /// First: what these blobs came of.
    Open {
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
    /// The connection is over, and why, in words: these blobs are never wanted here.
    Refused { reason: String },
    /// The connection is over, and why, in words: to be tried again later.
    Later { reason: String },
}

impl TaskSpec {
    /// A task in the words of version 3; none if it has no words for it.
    fn from_today(spec: &task::TaskSpec) -> Option<Self> {
        if spec.needs_4() {
            return None;
        }
        let source = |program: &Program| match program {
            Program::Source(source) => Some(source.clone()),
            Program::Entry(_) => None,
        };
        let work = match &spec.work {
            task::Work::Python { program, packages } => {
                Work::Python { source: source(program)?, packages: packages.clone() }
            }
            task::Work::C { program, flags } => {
                Work::C { source: source(program)?, flags: flags.clone() }
            }
            task::Work::Shell { program } => Work::Shell { command: source(program)? },
        };
        Some(Self {
            work,
            needs: spec.needs,
            time_limit_s: spec.time_limit_s,
            isolation: spec.isolation,
            labels: spec.labels.clone(),
            image: spec.image.clone(),
            shared_tmp: spec.shared_tmp,
            tasks: spec.tasks,
        })
    }
}

impl ToWorker {
    /// What a worker of version 3 is told; none of what it could not carry out.
    pub fn from_today(message: message::ToWorker) -> Option<Self> {
        Some(match message {
            message::ToWorker::Welcome { worker, heartbeat_ms, lease_ms, owner } => {
                Self::Welcome { worker, heartbeat_ms, lease_ms, owner }
            }
            message::ToWorker::Start { attempt, index, spec, gpus, lock } => {
                if index != attempt.task.index {
                    return None;
                }
                let spec = Box::new(TaskSpec::from_today(&spec)?);
                Self::Start { attempt, spec, gpus, lock }
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

impl From<BulkToManager> for message::BulkToManager {
    fn from(message: BulkToManager) -> Self {
        match message {
            BulkToManager::Open { attempt } => Self::Open { attempt },
            BulkToManager::Blob(blob) => Self::Blob(blob),
            BulkToManager::Chunk(bytes) => Self::Chunk(bytes),
        }
    }
}

impl BulkToWorker {
    /// What a worker of version 3 is told; nothing of what it never asks for.
    pub fn from_today(message: message::BulkToWorker) -> Option<Self> {
        match message {
            message::BulkToWorker::Ready => Some(Self::Ready),
            message::BulkToWorker::Received => Some(Self::Received),
            message::BulkToWorker::Refused { reason } => Some(Self::Refused { reason }),
            message::BulkToWorker::Later { reason } => Some(Self::Later { reason }),
            message::BulkToWorker::Chunk(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
