//! The JSON bodies of `/api/v1`, shared by the manager and its clients.
//!
//! Credits are whole micro-credits (`…_micros`, 1,000,000 to the credit), times are milliseconds
//! since the Unix epoch (`…_at_ms`). Unknown fields in requests are refused.

pub mod accounts;
pub mod arrays;
pub mod files;
mod job;
pub mod market;
pub mod notify;
pub mod operate;
pub mod packages;
pub mod rules;
pub mod submit;
pub mod workers;

use serde::{Deserialize, Serialize};

pub use self::job::{Attempt, AttemptEnd, Job, JobDetail, JobState, OutputFile, Task, TaskState};
use self::market::SoldBy;
use crate::resource::Isolation;
use crate::task::Stream;
use crate::terms::{Notify, When};
use crate::text::TextError;

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
/// Most arguments of a task.
pub const ARGUMENTS_MAX: usize = 1000;
/// Longest arguments of a task together, bytes, each with one for its end: beside the longest texts,
/// they fit a control message.
pub const ARGUMENTS_MAX_BYTES: usize = 32 << 10;
/// Longest line of a `lines_file`, bytes: it is given to its task in one variable.
pub const LINE_MAX_BYTES: usize = 32 << 10;
/// Most patterns of files to keep.
pub const PATTERNS_MAX: usize = 50;
/// Longest password, characters: hashing has a price, and a long text must not raise it.
pub const PASSWORD_MAX: usize = 256;
/// Shortest password, characters (NIST SP 800-63B-4 for passwords that stand alone).
pub const PASSWORD_MIN: usize = 8;

/// Which language a job is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    Python,
    C,
    Shell,
}

/// `POST jobs` and `POST quote`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(example = json!({"kind": "python", "name": "squares", "source": "import sys\nprint(int(sys.argv[1]) ** 2)", "arguments": ["{index}"], "array": "1-100%4", "time_limit_s": 60}))
)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    pub kind: WorkKind,
    /// Shown to people; "untitled" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 64))]
    pub name: Option<String>,
    /// Python or C source, or a command for `/bin/sh -c`; empty if `entry` names a file.
    #[serde(default)]
    pub source: String,
    /// The path of the input file to run instead of `source`; of a draft that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(max_length = 255))]
    pub entry: Option<String>,
    /// For the program. `{index}` in them stands for the task's index, `{line}` for its line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(max_items = 1000))]
    pub arguments: Vec<String>,
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
    #[cfg_attr(feature = "schema", schema(max_items = 30))]
    pub flags: Vec<String>,
    /// What the machine must offer, such as `python3.12` or `R`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(max_items = 20))]
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
    /// How many tasks, with indices from 0; instead of `array` and `lines_file`.
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000, default = 1))]
    pub tasks: u32,
    /// The indices of its tasks: `1-100`, `0-9:2`, `1,5,9-12`; `1-50%4` runs at most 4 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// The path of the input file of which each line is a task, with indices from 1; `%4` after it
    /// is not read: see `at_once`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_file: Option<String>,
    /// How many tasks may run at once; as `%` in `array`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1))]
    pub at_once: Option<u32>,
    /// Which files of the task's directory to keep, such as `*.csv` or `results/**`; beside those
    /// in `$OUTPUT_DIR`, which are always kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(max_items = 50))]
    pub outputs: Vec<String>,
    /// What must have come how far before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(max_items = 50))]
    pub after: Vec<After>,
    /// How often a task is run again that has failed by its own doing, each time at its price.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(maximum = 10))]
    pub retries: u8,
    /// How long before the first of them; twice as long before each that follows.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(maximum = 86_400))]
    pub backoff_s: u32,
    /// How long before its time limit a task is sent `SIGUSR1`; 0 for not at all.
    #[serde(default)]
    pub warn_s: u32,
    /// What has not started then is cancelled and refunded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(maximum = 253_402_300_799_999_i64))]
    pub deadline_at_ms: Option<u64>,
    /// Among one's own jobs, -100 to 100; higher goes first.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(minimum = -100, maximum = 100))]
    pub priority: i8,
    /// Whether it waits until it is released.
    #[serde(default)]
    pub hold: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Whether it waits for files and `POST jobs/{id}/launch`; nothing is held for it until then.
    #[serde(default)]
    pub draft: bool,
    /// Whether owners bid for it, and who chooses; by the grid's formula if absent. It has one task and
    /// one run then, and waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(inline))]
    pub market: Option<SoldBy>,
    /// Of one that is sold by rule: the most that is paid for its whole time limit, and held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000_000_000_i64))]
    pub max_price_micros: Option<i64>,
    /// Of one that is sold by rule: how long it takes bids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 5, maximum = 604_800))]
    pub close_after_s: Option<u32>,
    /// Whether it leaves the same wherever it runs, so that a part of its results is checked, at no
    /// cost.
    #[serde(default)]
    pub deterministic: bool,
    /// Whether no result counts before the machines of two owners agree on it; both are paid, and what
    /// a third would cost is held beside. It is deterministic then.
    #[serde(default)]
    pub verify: bool,
    /// How often what a task has written into `$CHECKPOINT_DIR` is saved; 0 for only when it is handed
    /// back.
    #[serde(default = "default_checkpoint_s")]
    #[cfg_attr(feature = "schema", schema(maximum = 86_400, default = 300))]
    pub checkpoint_s: u32,
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1024, default = 1))]
    pub cores: u32,
    #[serde(default = "default_ram_mib")]
    #[cfg_attr(feature = "schema", schema(minimum = 16, maximum = 4_194_304, default = 512))]
    pub ram_mib: u32,
    /// Scratch space, outputs included.
    #[serde(default = "default_disk_mib")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 4_194_304, default = 256))]
    pub disk_mib: u32,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(maximum = 64))]
    pub gpus: u16,
    /// Memory of each GPU, at least.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(maximum = 4_194_304))]
    pub gpu_memory_mib: u32,
    #[serde(default = "default_time_limit_s")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 2_592_000, default = 600))]
    pub time_limit_s: u32,
}

impl Submit {
    /// One that says nothing but what to run: all else is as where JSON leaves it out.
    pub fn of(kind: WorkKind, source: impl Into<String>) -> Self {
        Self {
            kind,
            name: None,
            source: source.into(),
            entry: None,
            arguments: Vec::new(),
            requirements: Vec::new(),
            uv_lock: None,
            flags: Vec::new(),
            labels: Vec::new(),
            image: None,
            isolation: None,
            shared_tmp: false,
            tasks: one(),
            array: None,
            lines_file: None,
            at_once: None,
            outputs: Vec::new(),
            after: Vec::new(),
            retries: 0,
            backoff_s: 0,
            warn_s: 0,
            deadline_at_ms: None,
            priority: 0,
            hold: false,
            notify: None,
            draft: false,
            market: None,
            max_price_micros: None,
            close_after_s: None,
            deterministic: false,
            verify: false,
            checkpoint_s: default_checkpoint_s(),
            cores: one(),
            ram_mib: default_ram_mib(),
            disk_mib: default_disk_mib(),
            gpus: 0,
            gpu_memory_mib: 0,
            time_limit_s: default_time_limit_s(),
        }
    }
}

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct After {
    pub job: u64,
    pub when: When,
    /// Whether each task waits for the one at the same place in that job alone; both have as many.
    #[serde(default)]
    pub each: bool,
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

fn default_checkpoint_s() -> u32 {
    300
}

/// Which field of a request is wrong, and what it would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    pub field: String,
    pub message: String,
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

/// What somebody typed, as part of a sentence: its beginning, and nothing that moves a cursor.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(100).collect();
    format!("{beginning:?}")
}

/// Answers `POST jobs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Submitted {
    pub job: u64,
    /// Held for all tasks together.
    pub held_micros: i64,
}

/// Answers `POST quote`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Quote {
    /// What one run of a task costs at most: the price of its whole time limit. What it would cost by
    /// the grid's formula, where a bid is accepted by hand.
    pub task_micros: i64,
    pub tasks: u32,
    /// How often each task may run, its retries included, or how often to check it.
    pub runs: u8,
    /// What is held for the whole job: every run of every task. Nothing yet, where a bid is accepted
    /// by hand.
    pub total_micros: i64,
    /// What one run costs by the grid's formula, the factor included.
    pub formula_micros: i64,
    /// The factor on the formula right now, in thousandths.
    pub rate_permille: u32,
    pub balance_micros: i64,
    /// Workers that could run it and ask for no more, busy or not.
    pub workers_fit: u32,
    /// Workers that could run it, but ask for more than it pays; they may bid.
    pub workers_dearer: u32,
    /// Workers that could run it right now.
    pub workers_free: u32,
    pub workers_online: u32,
    /// What it requires and no connected machine offers.
    pub labels_missing: Vec<String>,
}

/// One event of a followed log (`GET jobs/{id}/logs?follow=true`, server-sent).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogPiece {
    pub stream: Stream,
    pub offset_bytes: u64,
    /// With characters for what would steer a terminal; without `follow` it comes as it was printed.
    pub text: String,
}

/// `GET credits`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Credits {
    pub balance_micros: i64,
    pub held_micros: i64,
    /// Earned by sharing.
    pub sharing_credit_micros: i64,
    /// Spent on jobs.
    pub using_credit_micros: i64,
    /// Factor on the formula's prices right now, in thousandths.
    pub rate_permille: u32,
}

/// A row of the ledger, as the user it concerns sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Transfer {
    pub transfer: u64,
    pub key: String,
    pub at_ms: u64,
    /// Positive: into the user's account.
    pub amount_micros: i64,
}

/// A row of `GET leaderboard`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Leader {
    pub rank: u32,
    pub user: String,
    pub sharing_credit_micros: i64,
    pub workers: u32,
}

/// A page of a list; `next` goes into `?before=` (jobs, transfers) or `?from=` (tasks, outputs) for the
/// page that follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<u64>,
}

/// Every error of the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// A stable code, a sentence, and the fields that are wrong, if it is about fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorDetail {
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
    /// What is missing, where credits are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall_micros: Option<i64>,
    /// Where the next piece of an upload begins, where one came that begins elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_bytes: Option<u64>,
}

#[cfg(test)]
mod tests;
