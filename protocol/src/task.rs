//! What a task runs and how an attempt at it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, BlobHash};
use crate::resource::{Isolation, Needs};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Python source, run as `main.py`; `requirements` in the form of PEP 508, one each.
    Python { source: String, requirements: Vec<String> },
    /// C source, compiled with `gcc -O2 -fopenmp` inside the sandbox, then run.
    C { source: String },
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
    /// Number of tasks in the job; the task's index is in its [`AttemptId`].
    pub tasks: u32,
}

/// How an attempt ended, sorted by who answers for it, since that decides about money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// The submitter's: charged, not run again.
    Failed(Failure),
    /// Stopped because its submitter asked.
    Cancelled,
    /// The worker's: not charged, run again elsewhere.
    Returned(WorkerFault),
}

/// Why a task failed by its own doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    ExitCode(i32),
    Signal(i32),
    OutOfMemory {
        limit_mib: u32,
    },
    TimeLimit {
        limit_s: u32,
    },
    ScratchFull {
        limit_mib: u32,
    },
    Processes {
        limit: u32,
    },
    OutputFlood {
        limit_mib: u32,
    },
    /// The compiler's exit code; its words are in stderr.
    CompileError {
        code: i32,
    },
    /// The resolver's words: no such package, or no wheel of it that fits.
    Requirements {
        message: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::OutOfMemory { limit_mib } => {
                write!(f, "used more than its {limit_mib} MiB of memory; ask for more RAM")
            }
            Self::TimeLimit { limit_s } => {
                write!(f, "ran longer than its limit of {limit_s} s; ask for more time")
            }
            Self::ScratchFull { limit_mib } => {
                write!(f, "filled its {limit_mib} MiB of scratch space; ask for more disk")
            }
            Self::Processes { limit } => {
                write!(f, "started more than {limit} processes and threads at once")
            }
            Self::OutputFlood { limit_mib } => {
                write!(f, "printed more than {limit_mib} MiB and was stopped")
            }
            Self::CompileError { code } => {
                write!(f, "compilation error (gcc ended with {code}); see stderr")
            }
            Self::Requirements { message } => {
                write!(f, "its requirements cannot be installed: {message}")
            }
        }
    }
}

/// Why a worker gave a task back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerFault {
    /// The sandbox could not be built or a limit could not be set.
    Sandbox { message: String },
    /// The package index could not be reached, or the disk was full.
    Environment { message: String },
    /// The worker no longer held a lease, so it ended the attempt.
    LeaseOver,
    /// The worker was restarted while the task ran.
    Restarted,
    /// The worker is being shut down by its owner.
    Leaving,
}

impl WorkerFault {
    /// Whether the task itself may be why it came back, so that it counts as one of its tries.
    ///
    /// An owner who takes the laptop back costs the task nothing (DESIGN §4).
    pub fn costs_a_try(&self) -> bool {
        match self {
            Self::Leaving => false,
            Self::Sandbox { .. } | Self::Environment { .. } | Self::LeaseOver | Self::Restarted => {
                true
            }
        }
    }
}

impl fmt::Display for WorkerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox { message } => write!(f, "the worker's sandbox failed: {message}"),
            Self::Environment { message } => {
                write!(f, "the worker could not build the environment: {message}")
            }
            Self::LeaseOver => f.write_str("the worker was out of touch for too long"),
            Self::Restarted => f.write_str("the worker was restarted"),
            Self::Leaving => f.write_str("the owner took the worker back"),
        }
    }
}

/// What an attempt used, as its worker measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the task's own clock, without the time its environment took.
    pub run_ms: u64,
    pub cpu_ms: u64,
    pub ram_peak_mib: u32,
}

/// One of the two streams of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Content that is small enough to travel with its message, or a blob uploaded before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Inline(Vec<u8>),
    Blob(BlobRef),
}

/// A blob by its name and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    pub hash: BlobHash,
    pub size_bytes: u64,
}

/// A whole stream as it is kept: its first and last part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub content: Content,
    /// Bytes left out of the middle; a line in the content marks the place.
    pub cut_bytes: u64,
}

/// A file that a task left in `$OUTPUT_DIR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative, `/` between its parts, checked by [`crate::text::check_path`].
    pub path: String,
    pub blob: BlobRef,
}

/// All that a worker has to say when an attempt is over.
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

impl Ended {
    /// An end without a trace: nothing ran, or nothing of it is worth keeping.
    pub fn empty(attempt: AttemptId, outcome: Outcome) -> Self {
        let nothing = Log { content: Content::Inline(Vec::new()), cut_bytes: 0 };
        Self {
            attempt,
            outcome,
            usage: Usage::default(),
            stdout: nothing.clone(),
            stderr: nothing,
            outputs: Vec::new(),
            left_behind: String::new(),
        }
    }
}
