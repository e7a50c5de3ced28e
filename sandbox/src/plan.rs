//! What to run, under which limits, and what came of it: plain values, shared by every backend.

use std::path::PathBuf;
use std::time::Duration;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Stream, Usage};
use serde::{Deserialize, Serialize};

/// One run of a task.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Unique among what runs on this machine; letters, digits, `.`, `#` and `-`.
    pub name: String,
    /// Files written into the task's directory before the first step: relative path, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Symbolic links made in the task's directory before the first step: name, target. Where there is
    /// no view of its own for a task, a target beneath what `read_only` shows is that of the host.
    pub links: Vec<(String, PathBuf)>,
    /// Run one after another in the same directory; a step that fails is the last.
    pub steps: Vec<Step>,
    /// The whole environment of the task; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Host files and directories that are visible read-only: host path, path inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// Host directories that the task may change: host path, path inside. Only for the worker's own
    /// tools, never for a stranger's task. As root, the directories themselves (not what is in
    /// them) are handed over to the task's user, so that it can fill them; with
    /// [`Network::Host`] that is always the same one.
    pub read_write: Vec<(PathBuf, PathBuf)>,
    /// Device nodes of the host that are visible under the same path: those of granted GPUs.
    pub devices: Vec<PathBuf>,
    pub network: Network,
    /// Tasks of one family trust each other, being one user's and of one array: a task may run in
    /// what an earlier one of its family left warm. Nothing that a task can write or start outlives
    /// it but what `shared_tmp` says.
    pub family: Option<String>,
    /// `/tmp` lasts as long as what is warm, and so reaches later tasks of the family here. It and
    /// the rest of the scratch space then have half each of what the limits grant.
    pub shared_tmp: bool,
    /// Patterns of what is kept of the task's directory beside all that is in `$OUTPUT_DIR`:
    /// [`campusgrid_protocol::text::check_pattern`]. Files and links of this plan are left out.
    pub outputs: Vec<String>,
    /// For a task that may be handed back and go on elsewhere.
    pub checkpoints: Option<Checkpoints>,
    pub limits: Limits,
    /// Host directory, empty, made by the caller: logs and outputs are left here.
    pub results: PathBuf,
}

/// What a task goes on from, in [`crate::checkpoint::CHECKPOINT_DIR`], and how that is saved.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// What lies there from the beginning, for the task to read and change.
    pub restore: Vec<Restored>,
    /// How often what lies there is saved if it has changed; none for only when the task is handed
    /// back.
    pub every: Option<Duration>,
}

/// A file of the host whose content a task finds.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Relative, checked by [`campusgrid_protocol::text::check_path`].
    pub path: String,
    pub file: PathBuf,
    pub size_bytes: u64,
}

/// What a task reaches beyond its own processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Nothing: a network namespace with an unconnected loopback.
    None,
    /// All that the machine reaches; only for the worker's own tools, such as those that install
    /// packages. As root they all run as one user, the one after those of tasks.
    Host,
}

/// One command, found through `PATH`.
#[derive(Debug, Clone)]
pub struct Step {
    pub argv: Vec<String>,
    pub wall: Duration,
    /// How long before `wall` is over all of the task's processes are sent SIGUSR1, once.
    pub warn: Option<Duration>,
}

/// What a task may use. A backend that cannot enforce one of them refuses the plan.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub cpu_millis: u32,
    /// Of each of its cores, 1 to 100.
    pub core_percent: u8,
    pub ram_mib: u32,
    /// Task directory and `/tmp` together.
    pub scratch_mib: u32,
    pub scratch_files: u32,
    /// Largest single file.
    pub file_mib: u32,
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
    /// The task stands still, as it was told.
    Still,
    /// What the task goes on from was copied while it stood still: to files in a directory of their
    /// own beneath `results`, which is the listener's to remove. The task had run so long by then.
    Saved { files: Vec<Collected>, directory: PathBuf, run_ms: u64 },
}

/// How the last step that ran came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    OutOfMemory,
    TimeLimit,
    ScratchFull,
    /// It has used up the number of files that its scratch space may hold.
    TooManyFiles,
    /// It tried to make one file larger than its limit.
    FileTooLarge,
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
    /// `run_ms` counts the steps, not the making of the sandbox, and not what the task stood still.
    pub usage: Usage,
    pub stdout: Captured,
    pub stderr: Captured,
    /// Files beneath `$OUTPUT_DIR`, and those that a pattern of the plan means, copied to
    /// `results/outputs/`, sorted by path; each path once.
    pub outputs: Vec<Collected>,
    /// What was not collected and why, in words; empty if nothing.
    pub left_behind: String,
    /// What a task that was handed back can go on from, copied to `results/checkpoint/`.
    pub checkpoint: Vec<Collected>,
}

/// A stream as it was kept, in a file beneath `results`.
#[derive(Debug, Clone)]
pub struct Captured {
    pub file: PathBuf,
    pub size_bytes: u64,
    pub cut_bytes: u64,
}

/// An output file as it was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The same, one by one, for people who want to mend it.
    pub checks: Vec<Check>,
}

/// One thing that was looked at: a row of what `campusgrid-worker doctor` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short: "user namespaces", "memory limit", "Docker engine".
    pub what: String,
    pub state: Holds,
    /// What was found, or why not.
    pub found: String,
    /// The one command that mends it.
    pub mend: Option<String>,
}

/// Whether a check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// Not here, and nothing depends on it.
    Optional,
    No,
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
