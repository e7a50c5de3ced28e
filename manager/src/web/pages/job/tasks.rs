//! The table of a job's tasks and their runs: a page of them, by state and by index.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{self, TaskState};

use crate::store::read::Viewer;
use crate::web::error::WebError;
use crate::web::jobs::{TaskPart, read_tasks};
use crate::web::{Site, words};

/// Tasks on one page.
const PAGE: u32 = 50;

/// The states to choose from: as addresses write them, and in words.
pub(in crate::web::pages) const STATES: [(&str, &str); 8] = [
    ("", "all that have begun"),
    ("queued", "waiting"),
    ("pausing", "pausing before a retry"),
    ("preparing", "preparing"),
    ("running", "running"),
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
];

/// Which tasks are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TasksWanted {
    pub(super) state: Option<TaskState>,
    /// Indices, both included.
    pub(super) from: Option<u32>,
    pub(super) to: Option<u32>,
}

/// The table.
pub(super) struct TasksView {
    /// What was wanted, as the form shows it.
    pub(super) state: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) rows: Vec<RunRow>,
    pub(super) has_gpus: bool,
    /// Where the page after this one is, if there is one.
    pub(super) next: Option<String>,
}

impl TasksView {
    pub(super) fn is_filtered(&self) -> bool {
        !(self.state.is_empty() && self.from.is_empty() && self.to.is_empty())
    }
}

/// One run of a task, or a task that has none yet.
pub(super) struct RunRow {
    /// By its index.
    pub(super) task: u32,
    pub(super) number: String,
    /// Of the task, beside its newest run; empty beside the others.
    pub(super) state: &'static str,
    pub(super) worker: String,
    /// Their numbers on that worker.
    pub(super) gpus: String,
    pub(super) minutes: String,
    pub(super) cpu: String,
    pub(super) ram_peak: String,
    pub(super) outcome: String,
    pub(super) charged: String,
    pub(super) has_log: bool,
}

/// A state as addresses write it; None for all, and for what is none.
pub(super) fn state_of(text: &str) -> Option<TaskState> {
    match text {
        "queued" => Some(TaskState::Queued),
        "pausing" => Some(TaskState::Pausing),
        "preparing" => Some(TaskState::Preparing),
        "running" => Some(TaskState::Running),
        "succeeded" => Some(TaskState::Succeeded),
        "failed" => Some(TaskState::Failed),
        "cancelled" => Some(TaskState::Cancelled),
        _ => None,
    }
}

/// A page of the tasks that are wanted.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn read_table(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    wanted: TasksWanted,
    has_gpus: bool,
) -> Result<TasksView, WebError> {
    let first = wanted.from.unwrap_or(0);
    let part = TaskPart { from: first, limit: Some(PAGE), state: wanted.state };
    let page = read_tasks(site, viewer, job, part).await?;
    let is_wanted = |index: u32| wanted.to.is_none_or(|to| index <= to);
    let next = page.next.and_then(|next| u32::try_from(next).ok()).filter(|next| is_wanted(*next));
    let state = wanted.state.map(name_of).unwrap_or_default();
    let number = |number: Option<u32>| number.map_or(String::new(), |number| number.to_string());
    Ok(TasksView {
        state,
        from: number(wanted.from),
        to: number(wanted.to),
        has_gpus,
        next: next.map(|next| {
            format!("/jobs/{job}?state={state}&from={next}&to={}#tasks", number(wanted.to))
        }),
        rows: page.items.iter().filter(|task| is_wanted(task.index)).flat_map(rows).collect(),
    })
}

/// As addresses and the style sheet write it.
pub(super) fn name_of(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Pausing => "pausing",
        TaskState::Preparing => "preparing",
        TaskState::Running => "running",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}

fn rows(task: &rest::Task) -> Vec<RunRow> {
    let newest = task.attempts.len();
    if newest == 0 {
        return vec![RunRow::untouched(task)];
    }
    let runs = task.attempts.iter().enumerate();
    runs.map(|(place, run)| RunRow::new(task, run, place + 1 == newest)).collect()
}

/// What comes after the newest run, in words; empty if nothing is to be said of that.
fn next(task: &rest::Task) -> String {
    let waits = match task.state {
        TaskState::Queued | TaskState::Pausing => true,
        TaskState::Preparing
        | TaskState::Running
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Cancelled => false,
    };
    match (waits, task.checking, task.saved_ms) {
        (false, _, _) | (true, 0, 0) => String::new(),
        (true, 0, saved_ms) => format!("; goes on from {}", words::span(saved_ms)),
        (true, 1.., _) => "; another owner’s machine is to confirm it".to_owned(),
    }
}

impl RunRow {
    fn untouched(task: &rest::Task) -> Self {
        let none = || "–".to_owned();
        Self {
            task: task.index,
            number: none(),
            state: name_of(task.state),
            worker: none(),
            gpus: none(),
            minutes: none(),
            cpu: none(),
            ram_peak: none(),
            outcome: none(),
            charged: none(),
            has_log: false,
        }
    }

    fn new(task: &rest::Task, run: &rest::Attempt, is_newest: bool) -> Self {
        let under_way = || match run.started_at_ms {
            Some(_) => "running".to_owned(),
            None => "preparing".to_owned(),
        };
        let next = if is_newest { next(task) } else { String::new() };
        // What it uses is known at its end.
        let known = |text: String| run.ended_at_ms.map_or("–".to_owned(), |_| text);
        Self {
            task: task.index,
            number: run.number.to_string(),
            state: if is_newest { name_of(task.state) } else { "" },
            worker: words::visible(&run.worker_name),
            gpus: run.gpus.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            minutes: known(words::minutes(run.run_ms)),
            cpu: known(words::span(run.cpu_ms)),
            ram_peak: known(words::mib(run.ram_peak_mib)),
            outcome: run.outcome.as_deref().map_or_else(under_way, words::one_line) + &next,
            charged: known(words::exact_credits(run.charged_micros)),
            has_log: true,
        }
    }
}
