//! Lists jobs, and tasks of one.

use campusgrid_protocol::rest::{Job, JobState, Page, Task, TaskState, WorkKind};
use serde::Serialize;

use super::show::end_of;
use crate::arguments::job::{Jobs, Tasks};
use crate::client::address::encoded;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::screen::{Cell, Tone};
use crate::session::Session;
use crate::units::{credits, span};

/// Rows of one request.
const PAGE: u32 = 200;

pub(super) fn list(session: &Session, wanted: &Jobs) -> Result<(), CliError> {
    let mut filter = String::new();
    if !wanted.state.is_empty() {
        let states = wanted.state.iter().map(|state| word(&JobState::from(*state)));
        filter.push_str(&format!("&state={}", states.collect::<Vec<_>>().join(",")));
    }
    if let Some(kind) = wanted.kind {
        filter.push_str(&format!("&kind={}", word(&WorkKind::from(kind))));
    }
    if let Some(name) = &wanted.name {
        filter.push_str(&format!("&name={}", encoded(name).replace('/', "%2F")));
    }
    if wanted.everyone {
        filter.push_str("&everyone=true");
    }
    let mut left = if wanted.all { u32::MAX } else { wanted.limit };
    let mut before = String::new();
    let mut jobs: Vec<Job> = Vec::new();
    while left > 0 {
        let path = format!("jobs?limit={}{filter}{before}", left.min(PAGE));
        let page: Page<Job> = session.client.get(path)?;
        page.items.iter().for_each(|job| session.screen.object(job));
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        jobs.extend(page.items);
        let Some(next) = page.next else { break };
        before = format!("&before={next}");
    }
    show(session, wanted, &jobs);
    Ok(())
}

fn show(session: &Session, wanted: &Jobs, jobs: &[Job]) {
    if jobs.is_empty() {
        session.screen.say("No jobs: campusgrid submit SCRIPT");
        return;
    }
    let now = now_ms();
    let rows: Vec<Vec<Cell>> = jobs
        .iter()
        .map(|job| {
            let mut row = vec![Cell::number(job.job), job.name.as_str().into()];
            if wanted.everyone {
                row.push(job.owner.as_str().into());
            }
            let state = if job.on_hold && job.state == JobState::Queued {
                "held".to_owned()
            } else if job.takes_bids {
                "takes bids".to_owned()
            } else {
                word(&job.state)
            };
            row.push(Cell::toned(state, Tone::of_job(job.state)));
            row.push(tasks_of(job).into());
            row.push(Cell::number(credits(job.charged_micros)));
            row.push(ago(now, job.submitted_at_ms).into());
            row
        })
        .collect();
    let head: &[&str] = if wanted.everyone {
        &["JOB", "NAME", "OWNER", "STATE", "TASKS", "CREDITS", "SUBMITTED"]
    } else {
        &["JOB", "NAME", "STATE", "TASKS", "CREDITS", "SUBMITTED"]
    };
    session.screen.table(head, &rows);
}

/// How its tasks stand, in short: `3/10, 1 failed`.
fn tasks_of(job: &Job) -> String {
    if job.tasks <= 1 {
        return job.tasks.to_string();
    }
    let ended = job.succeeded + job.failed + job.cancelled;
    let failed = if job.failed > 0 { format!(", {} failed", job.failed) } else { String::new() };
    format!("{ended}/{}{failed}", job.tasks)
}

pub(super) fn tasks(session: &Session, wanted: &Tasks) -> Result<(), CliError> {
    let state = wanted
        .state
        .map_or_else(String::new, |state| format!("&state={}", word(&TaskState::from(state))));
    let mut left = wanted.limit;
    let mut from = u64::from(wanted.from);
    let mut rows = Vec::new();
    while left > 0 {
        let path = format!("jobs/{}/tasks?from={from}&limit={}{state}", wanted.job, left.min(PAGE));
        let page: Page<Task> = session.client.get(path)?;
        page.items.iter().for_each(|task| session.screen.object(task));
        rows.extend(page.items.iter().map(row));
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        let Some(next) = page.next else { break };
        from = next;
    }
    if rows.is_empty() {
        session.screen.say("No such task has started.");
        return Ok(());
    }
    let head = ["TASK", "STATE", "RUNS", "MACHINE", "RAN", "MEMORY", "CREDITS", "FILES", "END"];
    session.screen.table(&head, &rows);
    Ok(())
}

/// A task as a row of a table.
pub(super) fn row(task: &Task) -> Vec<Cell> {
    let last = task.attempts.last();
    let text = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    let spent: i64 = task.attempts.iter().map(|attempt| attempt.charged_micros).sum();
    vec![
        Cell::number(task.index),
        Cell::toned(word(&task.state), Tone::of_task(task.state)),
        Cell::number(task.attempts.len()),
        text(last.map(|last| last.worker_name.clone())),
        text(last.filter(|last| last.ended_at_ms.is_some()).map(|last| span(last.run_ms))),
        text(last.map(|last| format!("{} MiB", last.ram_peak_mib))),
        Cell::number(credits(spent)),
        Cell::number(task.outputs.len()),
        text(end_of(task)),
    ]
}

/// The word by which the API knows it.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("a word is good JSON");
    value.as_str().unwrap_or_default().to_owned()
}

/// How long ago something was.
pub(super) fn ago(now_ms: u64, at_ms: u64) -> String {
    format!("{} ago", span(now_ms.saturating_sub(at_ms)))
}
