//! What to run, under which limits, and what came of it: plain values, shared by every backend.

use std::path::PathBuf;
use std::time::Duration;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Stream, Usage};

/// One run of a task.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Unique among what runs on this machine; letters, digits, `.`, `#` and `-`.
    pub name: String,
    /// Files written into the task's directory before the first step: relative path, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Run one after another in the same directory; a step that fails is the last.
    pub steps: Vec<Step>,
    /// The whole environment of the task; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Host directories that are visible read-only: host path, path inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    pub limits: Limits,
    /// Host directory, empty, made by the caller: logs and outputs are left here.
    pub results: PathBuf,
}

/// One command, found through `PATH`.
#[derive(Debug, Clone)]
pub struct Step {
    pub argv: Vec<String>,
    pub wall: Duration,
}

/// What a task may use. A backend that cannot enforce one of them refuses the plan.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub cpu_millis: u32,
    pub ram_mib: u32,
    /// Task directory and `/tmp` together.
    pub scratch_mib: u32,
    pub scratch_files: u32,
    /// Processes and threads at once.
    pub processes: u32,
    /// Kept of each stream; the middle of a longer one is cut out.
    pub log_keep_bytes: u64,
    /// A task that prints more than this in all is stopped.
    pub log_flood_bytes: u64,
    pub outputs: u32,
    pub outputs_bytes: u64,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// What happens while a plan runs, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The step of this number has begun.
    Step(usize),
    /// A stream grew by these bytes.
    Printed { stream: Stream, bytes: Vec<u8> },
}

/// How the last step that ran came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    OutOfMemory,
    TimeLimit,
    ScratchFull,
    Processes,
    OutputFlood,
    /// The caller asked for it.
    Stopped,
}

/// What came of a plan, when nothing of it is alive any more.
#[derive(Debug, Clone)]
pub struct Report {
    pub exit: Exit,
    /// The number of the step that `exit` speaks of, from 0.
    pub step: usize,
    /// `run_ms` counts the steps, not the making of the sandbox.
    pub usage: Usage,
    pub stdout: Captured,
    pub stderr: Captured,
    /// Files beneath `$OUTPUT_DIR`, copied to `results/outputs/`, sorted by path.
    pub outputs: Vec<Collected>,
    /// What was not collected and why, in words; empty if nothing.
    pub left_behind: String,
}

/// A stream as it was kept, in a file beneath `results`.
#[derive(Debug, Clone)]
pub struct Captured {
    pub file: PathBuf,
    pub size_bytes: u64,
    pub cut_bytes: u64,
}

/// An output file as it was collected.
#[derive(Debug, Clone)]
pub struct Collected {
    pub path: String,
    pub file: PathBuf,
    pub size_bytes: u64,
    pub hash: BlobHash,
}

/// What really holds on this machine, found by trying.
#[derive(Debug, Clone)]
pub struct Strength {
    pub isolation: Isolation,
    /// One line each: what holds; what does not, why, and the command that mends it.
    pub notes: Vec<String>,
}

/// Why a plan could not be run; never the task's own fault.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox is not available here: {reason}")]
    Unavailable { reason: String },
    #[error("limit {limit} cannot be enforced: {reason}")]
    Limit { limit: &'static str, reason: String },
    #[error("failed to {operation}")]
    Host { operation: &'static str, source: std::io::Error },
    #[error("the sandbox ended before the task began: {message}")]
    Start { message: String },
}
