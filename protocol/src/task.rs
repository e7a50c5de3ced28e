//! What a task runs and how an attempt at it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, BlobHash};
use crate::resource::{Isolation, Needs};
use crate::rules::Kind;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Python, run as `python3 PROGRAM ARGUMENTS`; source that came with the job is `main.py`.
    Python { program: Program, packages: Packages },
    /// C, compiled inside the sandbox with `gcc -O2 -fopenmp`, these flags and `-lm`, then run as
    /// `./main ARGUMENTS`; source that came with the job is `main.c`.
    C { program: Program, flags: Vec<String> },
    /// `/bin/sh -c COMMAND sh ARGUMENTS`, or `/bin/sh FILE ARGUMENTS`.
    Shell { program: Program },
}

/// Where the text to run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    Source(String),
    /// The path of one of the job's input files.
    Entry(String),
}

impl Work {
    pub fn program(&self) -> &Program {
        match self {
            Self::Python { program, .. } | Self::C { program, .. } | Self::Shell { program } => {
                program
            }
        }
    }
}

/// What a Python task can import beyond the standard library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Packages {
    None,
    /// Names in the form of PEP 508, one each, resolved once for the whole job; and the versions of
    /// Python that the program says it runs on, in the form of PEP 440.
    Names {
        requirements: Vec<String>,
        requires_python: Option<String>,
    },
    /// A requirements file in which each line names one version and its hashes.
    Hashed {
        text: String,
    },
    /// The text of a `uv.lock`.
    UvLock {
        text: String,
    },
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
    /// Number of tasks in the job.
    pub tasks: u32,
    /// For the program. In each, `{index}` stands for the task's index and `{line}` for its line of
    /// `lines`.
    pub arguments: Vec<String>,
    /// The manifest of the files that the job brings: [`crate::input::Manifest`].
    pub inputs: Option<BlobRef>,
    /// The path of the input file of which each task has a line: that of its index, counted from 1.
    pub lines: Option<String>,
    /// Which files of the task's directory are kept, beside those in `$OUTPUT_DIR`:
    /// [`crate::text::check_pattern`].
    pub outputs: Vec<String>,
    /// How long before its time limit the task is sent `SIGUSR1`; 0 for not at all. Seconds.
    pub warn_s: u32,
    /// How often what lies in `$CHECKPOINT_DIR` is saved; 0 for only when the task is handed back.
    /// Seconds.
    pub checkpoint_s: u32,
}

impl TaskSpec {
    /// What an owner tells it by: an image counts before the language in it.
    pub fn kind(&self) -> Kind {
        match (&self.image, &self.work) {
            (Some(_), _) => Kind::Container,
            (None, Work::Python { .. }) => Kind::Python,
            (None, Work::C { .. }) => Kind::C,
            (None, Work::Shell { .. }) => Kind::Shell,
        }
    }

    /// The longest that one run may take. Milliseconds.
    pub fn limit_ms(&self) -> u64 {
        u64::from(self.time_limit_s) * 1000
    }

    /// Whether only machines that offer [`LABEL_4`] can run it: workers of protocol 3 know nothing of
    /// files, arguments and warnings, and take a task's position for its index.
    pub fn needs_4(&self) -> bool {
        let entry = match self.work.program() {
            Program::Source(_) => false,
            Program::Entry(_) => true,
        };
        let plain = self.arguments.is_empty() && self.outputs.is_empty() && self.warn_s == 0;
        entry || !plain || self.inputs.is_some() || self.lines.is_some()
    }
}

/// What workers from protocol 4 on offer, and jobs that only they can run require.
pub const LABEL_4: &str = "campusgrid-4";

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
    /// Of memory and scratch space together, which is held in memory.
    OutOfMemory {
        limit_mib: u32,
    },
    TimeLimit {
        limit_s: u32,
    },
    ScratchFull {
        limit_mib: u32,
    },
    TooManyFiles {
        limit: u32,
    },
    /// One file grew, or would have grown, beyond this.
    FileTooLarge {
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
    /// The image cannot be had, or cannot be run.
    Image {
        message: String,
    },
    /// The job's files or arguments are not what they were said to be: no such line, no manifest.
    Inputs {
        message: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => {
                write!(f, "was ended by signal {signal}{}", signal_in_words(*signal))
            }
            Self::OutOfMemory { limit_mib } => {
                write!(
                    f,
                    "used more than its {limit_mib} MiB of memory, the disk included that is held \
                     there; ask for more RAM"
                )
            }
            Self::TimeLimit { limit_s } => {
                write!(f, "ran longer than its limit of {limit_s} s; ask for more time")
            }
            Self::ScratchFull { limit_mib } => {
                write!(f, "filled its {limit_mib} MiB of scratch space; ask for more disk")
            }
            Self::TooManyFiles { limit } => {
                write!(
                    f,
                    "made more than the {limit} files that its scratch space may hold; ask for more \
                     disk or leave fewer"
                )
            }
            Self::FileTooLarge { limit_mib } => {
                write!(f, "made one file larger than {limit_mib} MiB; ask for more disk")
            }
            Self::Processes { limit } => {
                write!(
                    f,
                    "started more than {limit} processes and threads at once; start no more than it \
                     has cores"
                )
            }
            Self::OutputFlood { limit_mib } => {
                write!(
                    f,
                    "printed more than {limit_mib} MiB and was stopped; print less or write a file"
                )
            }
            Self::CompileError { code } => {
                write!(f, "compilation error (gcc ended with {code}); see stderr")
            }
            Self::Requirements { message } => {
                write!(f, "its requirements cannot be installed: {message}")
            }
            Self::Image { message } => write!(f, "its image cannot be run: {message}"),
            Self::Inputs { message } => {
                write!(f, "its files or arguments cannot be used: {message}")
            }
        }
    }
}

/// What the common signals mean, as words that follow their number (signal(7)).
fn signal_in_words(signal: i32) -> &'static str {
    match signal {
        4 => ": an instruction that this processor does not have",
        6 => ": it aborted itself",
        7 => ": it used memory that is not there",
        8 => ": a division by zero or the like",
        9 => ": it was killed",
        10 => ": it did nothing about the warning before its time limit",
        11 => ": it used memory that is not its own",
        15 => ": it was asked to end",
        31 => ": it asked the system for something that the sandbox forbids",
        _ => "",
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
    /// Docker or Podman went away while the task ran, or before.
    Engine { message: String },
    /// A granted GPU is not free or does not answer.
    Gpu { message: String },
    /// The worker no longer held a lease, so it ended the attempt.
    LeaseOver,
    /// The worker was restarted while the task ran.
    Restarted,
    /// The worker's owner wants it: it is being shut down, or no longer shared.
    Leaving,
    /// The worker's disk has no room for the task or for what it left.
    Disk { message: String },
    /// The job's files could not be had from the manager.
    Inputs { message: String },
}

impl WorkerFault {
    /// Whether the task itself may be why it came back, so that it counts as one of its tries.
    ///
    /// An owner who takes the laptop back costs the task nothing (DESIGN §4).
    pub fn costs_a_try(&self) -> bool {
        match self {
            // An engine that dies takes all its tasks with it, whatever they did; and whoever uses
            // the GPU of his own laptop does so before the task is there.
            Self::Leaving | Self::Engine { .. } | Self::Gpu { .. } => false,
            Self::Sandbox { .. }
            | Self::Environment { .. }
            | Self::LeaseOver
            | Self::Restarted
            | Self::Disk { .. }
            | Self::Inputs { .. } => true,
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
            Self::Engine { message } => {
                write!(f, "the worker's container engine failed: {message}")
            }
            Self::Gpu { message } => write!(f, "a GPU of the worker failed: {message}"),
            Self::LeaseOver => f.write_str("the worker was out of touch for too long"),
            Self::Restarted => f.write_str("the worker was restarted"),
            Self::Leaving => f.write_str("the owner took the worker back"),
            Self::Disk { message } => write!(f, "the worker's disk is full: {message}"),
            Self::Inputs { message } => {
                write!(f, "the worker could not fetch the job's files: {message}")
            }
        }
    }
}

/// What an attempt used, as its worker measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the task's own clock, without the time its environment took and the time in
    /// which it stood frozen.
    pub run_ms: u64,
    pub cpu_ms: u64,
    pub ram_peak_mib: u32,
}

/// One of the two streams of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
    /// What the task left to go on from, if it was handed back and left anything. Its blobs were
    /// confirmed before this is sent.
    pub checkpoint: Option<Saved>,
}

/// What a task has written into `$CHECKPOINT_DIR`, to be found there by its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// A [`crate::input::Manifest`] of the files, whose paths are relative to the directory.
    pub manifest: BlobRef,
    /// How far the task had come: its own running time in all its attempts that this goes back to. Time
    /// in which it stood frozen does not count.
    pub run_ms: u64,
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
            checkpoint: None,
        }
    }
}
