//! The JSON bodies of `/api/v1`, shared by the manager and its clients.
//!
//! Credits are whole micro-credits (`…_micros`, 1,000,000 to the credit), times are milliseconds
//! since the Unix epoch (`…_at_ms`). Unknown fields in requests are refused.

use serde::{Deserialize, Serialize};

use crate::resource::{Gpu, Isolation, Needs};
use crate::task::{Stream, TaskSpec, Work};
use crate::text::{TextError, check_label, check_user_name};

/// Longest source or command, bytes. The whole task must fit a control message.
pub const SOURCE_MAX_BYTES: usize = 512 << 10;
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
    /// PEP 508, one package each; Python only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
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

impl Submit {
    /// Checks every field and yields the job's name and what each of its tasks is.
    ///
    /// # Errors
    ///
    /// All fields that are wrong, not only the first.
    pub fn check(self) -> Result<(String, TaskSpec), Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.name.clone().unwrap_or_else(|| "untitled".to_owned());
        check_text(&mut errors, "name", check_label(&name));
        self.check_source(&mut errors);
        self.check_requirements(&mut errors);
        check_range(&mut errors, "tasks", self.tasks, 1, TASKS_MAX);
        check_range(&mut errors, "cores", self.cores, 1, 1024);
        check_range(&mut errors, "ram_mib", self.ram_mib, 16, 4 << 20);
        check_range(&mut errors, "disk_mib", self.disk_mib, 1, 4 << 20);
        check_range(&mut errors, "gpus", self.gpus.into(), 0, 64);
        check_range(&mut errors, "gpu_memory_mib", self.gpu_memory_mib, 0, 4 << 20);
        check_range(&mut errors, "time_limit_s", self.time_limit_s, 1, 30 * 24 * 3600);
        if self.gpus == 0 && self.gpu_memory_mib > 0 {
            errors.push(field("gpu_memory_mib", "is for jobs that ask for GPUs"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let needs = Needs {
            cpu_millis: self.cores * 1000,
            ram_mib: self.ram_mib,
            disk_mib: self.disk_mib,
            gpus: self.gpus,
            gpu_memory_mib: self.gpu_memory_mib,
        };
        let work = match self.kind {
            WorkKind::Python => {
                Work::Python { source: self.source, requirements: self.requirements }
            }
            WorkKind::C => Work::C { source: self.source },
            WorkKind::Shell => Work::Shell { command: self.source },
        };
        let (time_limit_s, tasks) = (self.time_limit_s, self.tasks);
        Ok((name, TaskSpec { work, needs, time_limit_s, isolation: Isolation::Full, tasks }))
    }

    fn check_source(&self, errors: &mut Vec<FieldError>) {
        if self.source.trim().is_empty() {
            errors.push(field("source", "must not be empty"));
        }
        if self.source.len() > SOURCE_MAX_BYTES {
            errors.push(field("source", &format!("must be at most {SOURCE_MAX_BYTES} bytes")));
        }
        if self.source.contains('\0') {
            errors.push(field("source", "must not contain NUL characters"));
        }
    }

    fn check_requirements(&self, errors: &mut Vec<FieldError>) {
        if self.kind != WorkKind::Python && !self.requirements.is_empty() {
            errors.push(field("requirements", "are for Python jobs only"));
        }
        if self.requirements.len() > REQUIREMENTS_MAX {
            errors.push(field("requirements", &format!("must be at most {REQUIREMENTS_MAX}")));
            return; // One complaint about each of a million would be a long answer.
        }
        for requirement in &self.requirements {
            if requirement.len() > 200 || requirement.contains(|c: char| c.is_control()) {
                let message = "each must have at most 200 bytes and no control characters";
                errors.push(field("requirements", message));
                continue;
            }
            // The worker checks the whole grammar; what is told here is the common mistake.
            let is_name = |c: char| c.is_ascii_alphanumeric();
            if !requirement.trim_start().starts_with(is_name) || requirement.contains("://") {
                let message = format!("\"{requirement}\" is not the name of a package");
                errors.push(field("requirements", &message));
            }
        }
    }
}

impl Register {
    /// Checks the name, the password's length and the e-mail address's form.
    ///
    /// # Errors
    ///
    /// All fields that are wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        check_text(&mut errors, "name", check_user_name(&self.name));
        let length = self.password.chars().count();
        if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&length) {
            let message = format!("must have {PASSWORD_MIN} to {PASSWORD_MAX} characters");
            errors.push(field("password", &message));
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

fn check_range(errors: &mut Vec<FieldError>, name: &str, value: u32, min: u32, max: u32) {
    if !(min..=max).contains(&value) {
        errors.push(field(name, &format!("must be {min} to {max}, is {value}")));
    }
}

fn field(name: &str, message: &str) -> FieldError {
    FieldError { field: name.to_owned(), message: message.to_owned() }
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
    pub requirements: Vec<String>,
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
    pub text: String,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Worker {
    pub worker: u64,
    pub name: String,
    /// Absent until somebody has approved it.
    pub owner: Option<String>,
    pub online: bool,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    pub cpu_millis: u32,
    pub cpu_free_millis: u32,
    pub ram_mib: u32,
    pub ram_free_mib: u32,
    pub disk_mib: u32,
    pub gpus: Vec<Gpu>,
    pub gpus_free: u16,
    pub running: u32,
    pub cpu_busy_permille: u16,
    pub ram_used_mib: u32,
}

/// `POST workers/approve`: the code that the worker shows on its own screen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    pub code: String,
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

/// `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    pub status: String,
    /// Whether the data directory can be written.
    pub jobs_dir: bool,
    pub version: String,
}

/// `GET /jobs/count`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobsCount {
    pub num_jobs: u64,
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
