//! The JSON bodies of `/api/v1`, shared by the manager and its clients.
//!
//! Credits are whole micro-credits (`…_micros`, 1,000,000 to the credit), times are milliseconds
//! since the Unix epoch (`…_at_ms`). Unknown fields in requests are refused.

pub mod accounts;
pub mod operate;
pub mod packages;
pub mod submit;
pub mod workers;

use serde::{Deserialize, Serialize};

use crate::resource::{Isolation, Needs};
use crate::task::{Packages, Stream};
use crate::text::{TextError, check_user_name};

/// Longest source or command, bytes. The whole task must fit a control message.
pub const SOURCE_MAX_BYTES: usize = 512 << 10;
/// Longest `uv.lock`, bytes.
pub const UV_LOCK_MAX_BYTES: usize = 448 << 10;
/// Longest source and packages together, bytes: beside what they are resolved to, and all that is
/// short, they fit a control message.
pub const TEXTS_MAX_BYTES: usize = 640 << 10;
/// Most features a job may ask of a machine.
pub const FEATURES_MAX: usize = 20;
/// Most flags for the compiler.
pub const FLAGS_MAX: usize = 30;
/// Most packages a Python job may require.
pub const REQUIREMENTS_MAX: usize = 50;
/// Most tasks of one job.
pub const TASKS_MAX: u32 = 10_000;
/// Longest password, characters: hashing has a price, and a long text must not raise it.
pub const PASSWORD_MAX: usize = 256;
/// Shortest password, characters (NIST SP 800-63B-4 for passwords that stand alone).
pub const PASSWORD_MIN: usize = 8;

/// `POST register`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub name: String,
    pub password: String,
    pub email: Option<String>,
    /// What an operator has handed out, where registration is by invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// `POST login`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub name: String,
    pub password: String,
}

/// Answers `POST register` and `POST login`: the token goes into `Authorization: Bearer …`.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoggedIn {
    pub user: String,
    pub token: String,
}

/// `GET me`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Me {
    pub user: String,
    pub operator: bool,
    pub balance_micros: i64,
}

/// Which language a job is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    Python,
    C,
    Shell,
}

/// `POST jobs` and `POST quote`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    pub kind: WorkKind,
    /// Shown to people; "untitled" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Python or C source, or a command for `/bin/sh -c`.
    pub source: String,
    /// Lines as in a `requirements.txt`, of which one that ends with `\` goes on in the next; Python
    /// only. Names with versions, or, if any has a hash, one pinned and hashed package each; no
    /// options, addresses and paths. A PEP 723 header in `source` is taken where neither
    /// this nor `uv_lock` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// The text of a `uv.lock`; Python only, instead of `requirements`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uv_lock: Option<String>,
    /// Flags of gcc, of a list that is safe; C only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// What the machine must offer, such as `python3.12` or `R`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// A container image by its digest, or `default` for that of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The least confinement that will do; `docker` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Whether tasks that follow each other on one machine share `/tmp`.
    #[serde(default)]
    pub shared_tmp: bool,
    #[serde(default = "one")]
    pub tasks: u32,
    #[serde(default = "one")]
    pub cores: u32,
    #[serde(default = "default_ram_mib")]
    pub ram_mib: u32,
    /// Scratch space, outputs included.
    #[serde(default = "default_disk_mib")]
    pub disk_mib: u32,
    #[serde(default)]
    pub gpus: u16,
    /// Memory of each GPU, at least.
    #[serde(default)]
    pub gpu_memory_mib: u32,
    #[serde(default = "default_time_limit_s")]
    pub time_limit_s: u32,
}

fn one() -> u32 {
    1
}

fn default_ram_mib() -> u32 {
    512
}

fn default_disk_mib() -> u32 {
    256
}

fn default_time_limit_s() -> u32 {
    600
}

/// Which field of a request is wrong, and what it would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl Register {
    /// Checks the name, the password and the e-mail address's form; an invitation is good or not.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_text(&mut errors, "name", check_user_name(&self.name));
        if let Some(problem) = accounts::password_problem(&self.password, &self.name) {
            errors.push(field("password", &problem));
        }
        if let Some(email) = &self.email
            && !is_email(email)
        {
            errors.push(field("email", "is not an e-mail address"));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// The form only; whether it reaches anybody is for a message to show.
fn is_email(text: &str) -> bool {
    let parted = text.split_once('@');
    text.len() <= 254
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && parted.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

fn check_text(errors: &mut Vec<FieldError>, name: &str, result: Result<(), TextError>) {
    if let Err(error) = result {
        errors.push(field(name, &error.to_string()));
    }
}

fn field(name: &str, message: &str) -> FieldError {
    FieldError { field: name.to_owned(), message: message.to_owned() }
}

/// What somebody typed, as part of a sentence: its beginning, and nothing that moves a cursor.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(100).collect();
    format!("{beginning:?}")
}

/// Answers `POST jobs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submitted {
    pub job: u64,
    /// Held for all tasks together.
    pub held_micros: i64,
}

/// Answers `POST quote`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quote {
    /// What one task costs at most: the price of its whole time limit.
    pub task_micros: i64,
    /// What is held for the whole job.
    pub total_micros: i64,
    pub balance_micros: i64,
    /// Workers that could run it, busy or not.
    pub workers_fit: u32,
    /// Workers that could run it right now.
    pub workers_free: u32,
    pub workers_online: u32,
    /// What it requires and no connected machine offers.
    pub labels_missing: Vec<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
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
pub struct Job {
    pub job: u64,
    pub name: String,
    pub owner: String,
    pub kind: WorkKind,
    pub state: JobState,
    pub tasks: u32,
    pub queued: u32,
    pub running: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
    pub submitted_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    pub held_micros: i64,
    pub charged_micros: i64,
    pub refunded_micros: i64,
}

/// `GET jobs/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobDetail {
    #[serde(flatten)]
    pub job: Job,
    pub source: String,
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
    /// Why it waits, in words; absent when nothing of it waits.
    pub waiting: Option<String>,
    /// The first tasks that have started, by index; `GET jobs/{id}/tasks` has all.
    pub task_list: Vec<Task>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Queued,
    /// Given to a worker that makes its environment ready.
    Preparing,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// A task that has been started at least once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub index: u32,
    pub state: TaskState,
    pub attempts: Vec<Attempt>,
    pub outputs: Vec<OutputFile>,
    pub left_behind: String,
}

/// One run of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    pub number: u32,
    pub worker: u64,
    pub worker_name: String,
    /// The numbers of the GPUs that it was given, on its worker.
    pub gpus: Vec<u16>,
    pub leased_at_ms: u64,
    pub started_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
    /// How it ended, in words; absent while it runs.
    pub outcome: Option<String>,
    pub run_ms: u64,
    pub cpu_ms: u64,
    pub ram_peak_mib: u32,
    pub charged_micros: i64,
}

/// A file that can be downloaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputFile {
    pub path: String,
    pub size_bytes: u64,
    pub blake3: String,
}

/// One event of a followed log (`GET jobs/{id}/logs?follow=true`, server-sent).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogPiece {
    pub stream: Stream,
    pub offset_bytes: u64,
    /// With characters for what would steer a terminal; without `follow` it comes as it was printed.
    pub text: String,
}

/// `GET credits`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credits {
    pub balance_micros: i64,
    pub held_micros: i64,
    /// Earned by sharing.
    pub sharing_credit_micros: i64,
    /// Spent on jobs.
    pub using_credit_micros: i64,
    /// Factor on all prices, in thousandths.
    pub rate_permille: u32,
}

/// A row of the ledger, as the user it concerns sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub transfer: u64,
    pub key: String,
    pub at_ms: u64,
    /// Positive: into the user's account.
    pub amount_micros: i64,
}

/// A row of `GET leaderboard`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leader {
    pub rank: u32,
    pub user: String,
    pub sharing_credit_micros: i64,
    pub workers: u32,
}

/// `GET stats`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stats {
    pub workers_online: u32,
    pub cpu_millis: u32,
    pub cpu_free_millis: u32,
    pub gpus: u32,
    pub gpus_free: u32,
    pub tasks_queued: u64,
    pub tasks_running: u64,
    pub tasks_ended: u64,
    pub users: u64,
}

/// A page of a list; `next` goes into `?before=` (jobs, transfers) or `?from=` (tasks, outputs) for the
/// page that follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<u64>,
}

/// Every error of the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// A stable code, a sentence, and the fields that are wrong, if it is about fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorDetail {
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
    /// What is missing, where credits are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall_micros: Option<i64>,
}

#[cfg(test)]
mod tests;
