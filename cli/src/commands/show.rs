//! Shows one job: what it is, how it stands, why it waits.

use campusgrid_protocol::rest::market::{JobMarket, SoldBy};
use campusgrid_protocol::rest::{After, Job, JobDetail, JobState, Task, TaskState};
use serde_json::json;

use super::jobs::{row, word};
use crate::clock::now_ms;
use crate::error::CliError;
use crate::screen::{Cell, Tone};
use crate::session::Session;
use crate::units::{bytes, credits, mib, moment, span};
use crate::wait::stands;

pub(super) fn show(session: &Session, job: u64) -> Result<(), CliError> {
    let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
    session.screen.object(&detail);
    session.screen.pairs(&about(&detail));
    if detail.job.tasks == 1
        && let Some(task) = detail.task_list.first()
        && let Some(last) = task.attempts.last()
    {
        let ran = if last.ended_at_ms.is_some() { span(last.run_ms) } else { "-".to_owned() };
        let mut pairs = vec![
            ("machine", Cell::from(last.worker_name.as_str())),
            ("ran", ran.into()),
            ("memory", format!("{} MiB at most", last.ram_peak_mib).into()),
        ];
        pairs.extend(end_of(task).map(|end| ("end", Cell::from(end))));
        session.screen.pairs(&pairs);
    } else if !detail.task_list.is_empty() {
        session.screen.say("");
        let rows: Vec<Vec<Cell>> = detail.task_list.iter().take(20).map(row).collect();
        let head = ["TASK", "STATE", "RUNS", "MACHINE", "RAN", "MEMORY", "CREDITS", "FILES", "END"];
        session.screen.table(&head, &rows);
        if detail.task_list.len() > 20 || detail.job.tasks > 20 {
            session.screen.say(format!("All of them: campusgrid tasks {job}"));
        }
    }
    Ok(())
}

fn about(detail: &JobDetail) -> Vec<(&'static str, Cell)> {
    let job = &detail.job;
    let needs = &detail.needs;
    let mut pairs: Vec<(&'static str, Cell)> = vec![
        ("job", job.job.to_string().into()),
        ("name", job.name.as_str().into()),
        ("state", Cell::toned(state_words(detail), Tone::of_job(job.state))),
    ];
    if job.tasks > 1 {
        pairs.push(("tasks", format!("{} ({})", job.tasks, short(&detail.array)).into()));
    }
    if let Some(path) = &detail.lines_file {
        pairs.push(("lines of", path.as_str().into()));
    }
    if let Some(entry) = &detail.entry {
        pairs.push(("runs", entry.as_str().into()));
    }
    if detail.files > 0 {
        let text = format!("{} with {}", detail.files, bytes(detail.files_bytes));
        pairs.push(("files", text.into()));
    }
    let mut asks = format!("{} cores, {}", needs.cpu_millis / 1000, mib(needs.ram_mib));
    if needs.gpus > 0 {
        asks.push_str(&format!(", {} GPUs", needs.gpus));
    }
    let limit = span(u64::from(detail.time_limit_s) * 1000);
    pairs.push(("each task", format!("{asks}, at most {limit}").into()));
    if !detail.labels.is_empty() {
        pairs.push(("requires", detail.labels.join(", ").into()));
    }
    if !detail.after.is_empty() {
        pairs.push(("waits for", edges(&detail.after).into()));
    }
    pairs.extend(detail.market.as_ref().map(|market| {
        let title = if market.award.is_some() { "sold" } else { "market" };
        (title, Cell::from(sold(market)))
    }));
    match job.state {
        JobState::Succeeded if detail.verify => {
            pairs.push(("verified", "on two owners' machines".into()));
        }
        JobState::Draft | JobState::Queued | JobState::Running if detail.verify => {
            pairs.push(("verify", "two owners' machines have to agree on the result".into()));
        }
        JobState::Draft
        | JobState::Queued
        | JobState::Running
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled => {}
    }
    let saved = detail.task_list.iter().map(|task| task.saved_ms).max().unwrap_or(0);
    if job.tasks == 1 && saved > 0 && job.ended_at_ms.is_none() {
        pairs.push(("saved", format!("the first {}", span(saved)).into()));
    }
    if let Some(at) = detail.deadline_at_ms {
        pairs.push(("deadline", moment(at).into()));
    }
    pairs.push(("submitted", moment(job.submitted_at_ms).into()));
    pairs.extend(job.ended_at_ms.map(|at| ("ended", moment(at).into())));
    pairs.extend(job.kept_until_ms.map(|at| ("kept until", moment(at).into())));
    pairs.push(("credits", money(job).into()));
    let ends = detail.task_list.first().filter(|_| job.tasks == 1).and_then(end_of);
    if !detail.note.is_empty() && ends.as_ref() != Some(&detail.note) {
        pairs.push(("note", detail.note.as_str().into()));
    }
    pairs
}

/// How a task ended, in words; absent while it runs. What it failed for may not be how its last attempt
/// ended.
pub(super) fn end_of(task: &Task) -> Option<String> {
    if task.state == TaskState::Failed && !task.reason.is_empty() {
        return Some(task.reason.clone());
    }
    task.attempts.last().and_then(|last| last.outcome.clone())
}

/// How its price comes about, and how far that has come.
fn sold(market: &JobMarket) -> String {
    let by = match market.sold_by {
        SoldBy::Hand => "by hand",
        SoldBy::Rule => "by rule",
    };
    match (&market.award, market.open, market.closes_at_ms) {
        (Some(award), _, _) => format!(
            "{by} to {} of {} for {} credits",
            award.worker_name,
            award.owner,
            credits(award.price_micros)
        ),
        (None, true, Some(at)) => {
            format!("is sold by sealed bids, {} so far; {}", market.bids, until(at))
        }
        (None, true, None) => {
            format!("is sold by bids, {} so far: campusgrid bids lists them", market.bids)
        }
        (None, false, _) => "was not sold".to_owned(),
    }
}

/// Until when bids count, in words that follow "it".
pub(super) fn until(closes_at_ms: u64) -> String {
    if closes_at_ms <= now_ms() {
        "takes no more bids; it closes when machines have had time to come back".to_owned()
    } else {
        format!("takes bids until {}", moment(closes_at_ms))
    }
}

/// A million indices may take as many words.
fn short(array: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match array.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &array[..end]),
        None => array.to_owned(),
    }
}

fn state_words(detail: &JobDetail) -> String {
    let job = &detail.job;
    let held = if job.on_hold { ", held" } else { "" };
    match job.state {
        JobState::Draft => "draft: campusgrid launch".to_owned(),
        JobState::Queued | JobState::Running => {
            let words = stands(detail);
            let counts = if words.is_empty() { String::new() } else { format!(" ({words})") };
            format!("{}{held}{counts}", word(&job.state))
        }
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => {
            if job.tasks == 1 {
                return word(&job.state);
            }
            format!(
                "{} ({} succeeded, {} failed, {} cancelled)",
                word(&job.state),
                job.succeeded,
                job.failed,
                job.cancelled
            )
        }
    }
}

fn edges(after: &[After]) -> String {
    let edge = |edge: &After| {
        let each = if edge.each { ", task by task" } else { "" };
        format!("{} ({}{each})", edge.job, word(&edge.when))
    };
    after.iter().map(edge).collect::<Vec<_>>().join(", ")
}

fn money(job: &Job) -> String {
    format!(
        "{} held, {} charged, {} returned",
        credits(job.held_micros),
        credits(job.charged_micros),
        credits(job.refunded_micros)
    )
}

/// How a job ended, for whoever has waited for it.
pub(super) fn say_end(session: &Session, detail: &JobDetail) -> Result<(), CliError> {
    let job = &detail.job;
    if session.screen.is_live || job.state != JobState::Succeeded {
        let mut text = format!("Job {}: {}", job.job, state_words(detail));
        if job.tasks == 1 && job.state == JobState::Failed {
            let end = detail.task_list.first().and_then(end_of);
            text.extend(end.map(|end| format!(", {end}")));
        }
        if !text.ends_with(&detail.note) {
            text.push_str(&format!(", {}", detail.note));
        }
        crate::screen::note(&format!("{text}; {} credits", credits(job.charged_micros)));
    }
    Ok(())
}

pub(super) fn why(session: &Session, job: u64) -> Result<(), CliError> {
    let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
    let text = reason(&detail);
    session.screen.say(&text);
    session.screen.object(&json!({
        "job": job, "state": detail.job.state, "waiting": detail.waiting, "note": detail.note,
        "after": detail.after, "on_hold": detail.job.on_hold, "why": text,
    }));
    Ok(())
}

fn reason(detail: &JobDetail) -> String {
    let job = &detail.job;
    let note = if detail.note.is_empty() { String::new() } else { format!(": {}", detail.note) };
    match job.state {
        JobState::Draft => format!("It is a draft: campusgrid launch {}", job.job),
        JobState::Queued | JobState::Running if job.queued == 0 => {
            "Nothing of it waits.".to_owned()
        }
        JobState::Queued | JobState::Running => match &detail.waiting {
            Some(why) => format!("It waits: {why}"),
            None if job.on_hold => format!("It is held: campusgrid release {}", job.job),
            None if !detail.after.is_empty() => format!("It waits for {}", edges(&detail.after)),
            None => "It is about to start.".to_owned(),
        },
        JobState::Succeeded => "It is over, and has succeeded.".to_owned(),
        JobState::Failed => {
            let only = detail.task_list.first().filter(|_| job.tasks == 1);
            let last = only.and_then(|task| task.attempts.last());
            match (only.and_then(end_of), last.and_then(|last| last.outcome.as_ref())) {
                (Some(end), Some(outcome)) if end == *outcome => {
                    format!("It has failed: it {outcome}")
                }
                (Some(end), _) => format!("It has failed: {end}"),
                (None, _) => format!("{} of its tasks have failed{note}", job.failed),
            }
        }
        JobState::Cancelled => format!("It was cancelled{note}"),
    }
}
