//! How jobs, tasks and their attempts stand, as the API says it.

use serde::{Deserialize, Serialize};

use super::market::JobMarket;
use super::{After, WorkKind};
use crate::resource::{Isolation, Needs};
use crate::task::Packages;
use crate::terms::Notify;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for files and to be launched.
    Draft,
    /// No task has started.
    Queued,
    /// Some have, not all have ended.
    Running,
    /// All succeeded.
    Succeeded,
    /// All ended, and at least one failed.
    Failed,
    /// All ended, none failed, and at least one was cancelled.
    Cancelled,
}

/// A job in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Job {
    pub job: u64,
    pub name: String,
    pub owner: String,
    pub kind: WorkKind,
    pub state: JobState,
    /// 0 for a draft.
    pub tasks: u32,
    pub queued: u32,
    pub running: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// When it was made, for a draft.
    pub submitted_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    /// Among one's own jobs.
    pub priority: i8,
    /// Whether its submitter keeps it from starting.
    pub on_hold: bool,
    /// Until when its files and logs are kept; absent while it has not ended, and when they are gone.
    pub kept_until_ms: Option<u64>,
    pub held_micros: i64,
    pub charged_micros: i64,
    pub refunded_micros: i64,
    /// Whether it takes bids: `GET jobs/{id}/bids`.
    pub takes_bids: bool,
}

/// `GET jobs/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobDetail {
    #[serde(flatten)]
    pub job: Job,
    /// Empty if `entry` names a file.
    pub source: String,
    pub entry: Option<String>,
    pub arguments: Vec<String>,
    /// The indices of its tasks, as in `array` of a submit.
    pub array: String,
    pub lines_file: Option<String>,
    pub at_once: Option<u32>,
    pub outputs: Vec<String>,
    /// What it still waits for.
    pub after: Vec<After>,
    pub retries: u8,
    pub backoff_s: u32,
    pub warn_s: u32,
    pub deadline_at_ms: Option<u64>,
    pub notify: Notify,
    /// Its input files; `GET jobs/{id}/files` lists them.
    pub files: u32,
    pub files_bytes: u64,
    /// Why something of it was cancelled without its submitter: a broken chain, a deadline.
    pub note: String,
    /// What it asked to import; absent for what is not Python.
    pub packages: Option<Packages>,
    /// For the compiler, of a C job.
    pub flags: Vec<String>,
    /// What a machine must offer; that of its image is among them.
    pub labels: Vec<String>,
    pub image: Option<String>,
    /// The least confinement that it accepts.
    pub isolation: Isolation,
    pub shared_tmp: bool,
    /// Whether `GET jobs/{id}/lock` has what its packages came to.
    pub has_lock: bool,
    pub needs: Needs,
    pub time_limit_s: u32,
    /// Of one that is sold by bids.
    pub market: Option<JobMarket>,
    pub deterministic: bool,
    pub verify: bool,
    pub checkpoint_s: u32,
    /// The most that one run of a task costs; nothing while no bid is accepted by hand.
    pub task_micros: i64,
    /// The factor on the grid's formula as it was at submit, in thousandths.
    pub rate_permille: u32,
    /// Why it waits, in words; absent when nothing of it waits.
    pub waiting: Option<String>,
    /// The first tasks that have started, by index; `GET jobs/{id}/tasks` has all.
    pub task_list: Vec<Task>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Queued,
    /// Has failed, and is to be run again after a pause.
    Pausing,
    /// Given to a worker that makes its environment ready.
    Preparing,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// A task that has been started at least once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Task {
    /// As its program sees it.
    pub index: u32,
    pub state: TaskState,
    pub attempts: Vec<Attempt>,
    pub outputs: Vec<OutputFile>,
    pub left_behind: String,
    /// Why it has failed, or failed last, in words; empty if it has not. It may have failed though all of
    /// its attempts went well, as when their results differ.
    pub reason: String,
    /// From where in its own running time its next attempt goes on: what its checkpoint covers.
    pub saved_ms: u64,
    /// Machines whose result waits for another's to be compared with.
    pub checking: u8,
}

/// One run of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attempt {
    pub number: u32,
    pub worker: u64,
    pub worker_name: String,
    /// The numbers of the GPUs that it was given, on its worker.
    pub gpus: Vec<u16>,
    pub leased_at_ms: u64,
    pub started_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
    /// Absent while it runs.
    pub end: Option<AttemptEnd>,
    /// How it ended, in words; absent while it runs.
    pub outcome: Option<String>,
    /// That of its program, 128 and more for a signal, as shells have it; absent where it has none.
    pub exit_code: Option<i32>,
    pub run_ms: u64,
    pub cpu_ms: u64,
    pub ram_peak_mib: u32,
    /// What was agreed for the whole time limit.
    pub price_micros: i64,
    pub charged_micros: i64,
}

/// How a run of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    Succeeded,
    /// By its own doing.
    Failed,
    /// Because its submitter asked.
    Cancelled,
    /// Its worker gave it back, or was lost.
    Returned,
}

/// A file that can be downloaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputFile {
    pub path: String,
    pub size_bytes: u64,
    pub blake3: String,
}
