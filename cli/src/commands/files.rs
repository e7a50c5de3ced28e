//! Lists the files of a job: those it brought, and those its tasks left.

use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest::files::{JobFile, JobFiles, Limits};
use campusgrid_protocol::rest::{OutputFile, Page, Task};
use serde_json::json;

use crate::arguments::job::{Files, JobTasks};
use crate::client::Client;
use crate::client::address::encoded;
use crate::error::CliError;
use crate::screen::Cell;
use crate::session::Session;
use crate::units::bytes;

/// Rows of one request.
const PAGE: u32 = 200;

pub(super) fn list(session: &Session, wanted: &Files) -> Result<(), CliError> {
    let mut rows = Vec::new();
    if !wanted.outputs {
        each_input(&session.client, wanted.job.job, |file| {
            session.screen.object(&json!({ "kind": "input", "file": file }));
            let size = Cell::number(bytes(file.size_bytes));
            rows.push(vec!["brought".into(), size, file.path.as_str().into()]);
        })?;
    }
    if !wanted.inputs {
        each_output(&session.client, &wanted.job, |task, file| {
            session.screen.object(&json!({ "kind": "output", "task": task, "file": file }));
            let size = Cell::number(bytes(file.size_bytes));
            rows.push(vec![format!("task {task}").into(), size, file.path.as_str().into()]);
        })?;
    }
    if rows.is_empty() {
        session.screen.say("It has no files, or they are no longer kept.");
        return Ok(());
    }
    session.screen.table(&["FROM", "SIZE", "PATH"], &rows);
    Ok(())
}

pub(super) fn limits(session: &Session) -> Result<(), CliError> {
    let limits: Limits = session.client.get("limits")?;
    session.screen.object(&limits);
    let used = bytes(limits.storage_used_bytes);
    session.screen.pairs(&[
        ("storage", format!("{used} of {} used", bytes(limits.storage_max_bytes)).into()),
        ("one file", format!("at most {}", bytes(limits.file_max_bytes)).into()),
        ("files of a job", format!("at most {}", limits.files_max).into()),
        ("tasks of a job", format!("at most {}", limits.tasks_max).into()),
        ("files are kept", format!("{} days after the job's end", limits.keep_days).into()),
    ]);
    Ok(())
}

fn each_input(client: &Client, job: u64, mut take: impl FnMut(&JobFile)) -> Result<(), CliError> {
    let mut after = String::new();
    loop {
        let page: JobFiles = client.get(format!("jobs/{job}/files?limit={PAGE}{after}"))?;
        page.items.iter().for_each(&mut take);
        let Some(next) = page.next else { return Ok(()) };
        after = format!("&after={}", encoded(&next).replace('/', "%2F"));
    }
}

/// Goes over the outputs of those tasks of a job that are meant, by index.
pub(super) fn each_output(
    client: &Client,
    wanted: &JobTasks,
    mut take: impl FnMut(u32, OutputFile),
) -> Result<(), CliError> {
    let tasks: Option<Ranges> = wanted.tasks.as_deref().and_then(|tasks| tasks.parse().ok());
    let is_meant = |index| tasks.as_ref().is_none_or(|tasks| tasks.contains(index));
    let mut from = u64::from(tasks.as_ref().and_then(Ranges::first).unwrap_or(0));
    let last = tasks.as_ref().and_then(Ranges::last).map_or(u64::MAX, u64::from);
    loop {
        let path = format!("jobs/{}/tasks?from={from}&limit={PAGE}", wanted.job);
        let page: Page<Task> = client.get(path)?;
        for task in page.items.into_iter().filter(|task| is_meant(task.index)) {
            task.outputs.into_iter().for_each(|file| take(task.index, file));
        }
        match page.next.filter(|next| *next <= last) {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}
