//! Identifiers: who and what a message speaks of. All are given out by the manager.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! numbered {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numbered!(
    /// A person who submits work, shares machines, or both.
    UserId,
    /// A machine that its owner shares.
    WorkerId,
    /// What a user submitted: 1…N tasks of one kind.
    JobId,
    /// One connection of a worker; a later one has a higher number.
    SessionId,
);

/// A task: what is scheduled. Written `JOB.INDEX`, the index counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub job: JobId,
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

/// One run of a task on one worker, written `JOB.INDEX#NUMBER`.
///
/// The number rises with every start of the task, from 1, and so serves as the fencing token: a
/// message about any but the newest attempt changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskId,
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}

/// The text is not an attempt's `JOB.INDEX#NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an attempt of the form JOB.INDEX#NUMBER")]
pub struct NotAnAttempt;

impl FromStr for AttemptId {
    type Err = NotAnAttempt;

    fn from_str(text: &str) -> Result<Self, NotAnAttempt> {
        let (task, number) = text.split_once('#').ok_or(NotAnAttempt)?;
        let (job, index) = task.split_once('.').ok_or(NotAnAttempt)?;
        Ok(Self {
            task: TaskId {
                job: JobId(job.parse().map_err(|_| NotAnAttempt)?),
                index: index.parse().map_err(|_| NotAnAttempt)?,
            },
            number: number.parse().map_err(|_| NotAnAttempt)?,
        })
    }
}

/// The secret by which a worker is known again, 256 random bits made on the laptop.
///
/// The manager keeps only its BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerKey(pub [u8; 32]);

impl fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerKey(…)") // A secret never reaches a log.
    }
}

/// The BLAKE3 hash that names a blob's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
