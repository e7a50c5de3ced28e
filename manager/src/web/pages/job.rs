//! One job: where it stands and why it waits, its live log, its outputs and what it cost.

mod asked;
mod receipt;
mod silent;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Redirect;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{self, JobDetail, TaskState};
use campusgrid_protocol::task::Stream;
use serde::Deserialize;

use super::account::encode;
use super::form::SignedForm;
use super::{Frame, PageError, Visitor, is_fragment};
use crate::store::read::Viewer;
use crate::web::Site;
use crate::web::advice::next_step;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::jobs::{TaskPart, cancel_job, read_one, read_tasks};
use crate::web::logs::{LogNow, Source, read_now};
use crate::web::text_stream::{More, all_text, shown};
use crate::web::words::{self, Moment};
use asked::Asked;
use receipt::Receipt;

/// Shown of a log in the page. Bytes; a link leads to all of it.
const LOG_SHOWN_BYTES: usize = 256 << 10;

/// Which task's log to show.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Shown {
    #[serde(default)]
    task: u32,
}

#[derive(Template, WebTemplate)]
#[template(path = "job.html")]
pub(in crate::web) struct JobPage {
    frame: Frame,
    id: u64,
    name: String,
    owner: String,
    kind: &'static str,
    state: &'static str,
    has_ended: bool,
    submitted: Moment,
    /// From submitting to the end; empty before that.
    lasted: String,
    progress: Progress,
    /// Why it waits; empty if nothing of it does.
    waiting: String,
    /// What runs on machines that are not heard of right now.
    silent: Vec<String>,
    /// Why its first failed task failed.
    failed: Option<FailedView>,
    outputs: Vec<OutputRow>,
    left_behind: Vec<LeftBehind>,
    receipt: Receipt,
    log: LogView,
    asked: Asked,
    /// Whether what its packages came to can be downloaded.
    has_lock: bool,
    /// Absent when only a part of the page was asked for, which never shows it.
    source: Option<String>,
}

/// What failed.
struct FailedView {
    /// How the first failed task ended, in words.
    reason: String,
    /// What to do about it; empty if the reason says so.
    next_step: &'static str,
    /// The task, unless there is only one or it is not at hand.
    task: Option<u32>,
}

/// How many tasks are where.
struct Progress {
    tasks: u32,
    queued: u32,
    running: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    ended: u32,
}

/// A file to download.
struct OutputRow {
    task: u32,
    /// With its hidden characters made visible.
    path: String,
    href: String,
    size: String,
}

/// What a task could not hand over.
struct LeftBehind {
    task: u32,
    why: String,
}

/// The log of one task, as it is now and where to follow it.
struct LogView {
    task: u32,
    stdout: String,
    stderr: String,
    /// Whether the beginning is not shown.
    cut: bool,
    step: String,
    /// Empty when the log is complete.
    follow: String,
}

/// `GET /jobs/{id}`.
pub(in crate::web) async fn job(
    State(site): State<Site>,
    visitor: Visitor,
    Named(id): Named<JobId>,
    Params(wanted): Params<Shown>,
    headers: HeaderMap,
) -> Result<JobPage, PageError> {
    let seen = *site.engine.events().borrow(); // Before reading: nothing after it is missed.
    let viewer = visitor.login.viewer();
    let mut detail = read_one(&site, viewer, id).await?;
    let is_fragment = is_fragment(&headers);
    let log = if is_fragment {
        LogView::none(wanted.task) // The page's script has it already.
    } else {
        read_log(&site, viewer, id, wanted.task).await?
    };
    if detail.task_list.iter().all(|task| task.index != wanted.task) {
        let part = TaskPart::one(wanted.task);
        let found = read_tasks(&site, viewer, id, part).await?.items;
        detail.task_list.extend(found.into_iter().filter(|task| task.index == wanted.task));
    }
    let mut frame = visitor.frame;
    if !log.follow.is_empty() {
        // One stream for both: browsers open six connections to a server, and no more.
        frame.events = format!("{}&after={seen}", log.follow);
    } else if detail.job.ended_at_ms.is_none() {
        frame.events = format!("/api/v1/events?job={id}&after={seen}");
    }
    let source = (!is_fragment).then(|| shown(&detail.source));
    let silent = silent::notes(&site, &detail);
    let mut page = JobPage::new(frame, detail, log, source, site.clock.now());
    page.silent = silent;
    Ok(page)
}

/// `POST /jobs/{id}/cancel`.
pub(in crate::web) async fn cancel(
    State(site): State<Site>,
    Named(id): Named<JobId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    cancel_job(&site, &form.visitor.login, id).await?;
    Ok(Redirect::to(&format!("/jobs/{id}")))
}

async fn read_log(site: &Site, viewer: Viewer, job: JobId, task: u32) -> Result<LogView, WebError> {
    let source = Source { job, task, stream: Stream::Stdout };
    let stdout = read_now(site, viewer, source).await?;
    let stderr = read_now(site, viewer, Source { stream: Stream::Stderr, ..source }).await?;
    Ok(LogView::new(job, task, &stdout, &stderr))
}

impl LogView {
    fn none(task: u32) -> Self {
        let nothing = String::new;
        let (stdout, stderr, step, follow) = (nothing(), nothing(), nothing(), nothing());
        Self { task, stdout, stderr, cut: false, step, follow }
    }

    fn new(job: JobId, task: u32, stdout: &LogNow, stderr: &LogNow) -> Self {
        let more = if stdout.complete { More::Never } else { More::MayFollow };
        let (stdout_text, stdout_end) = end_of(stdout, more);
        let (stderr_text, stderr_end) = end_of(stderr, more);
        let address = format!("/api/v1/jobs/{job}/logs?task={task}&follow=true");
        let follow = match (stdout.complete, stdout.attempt) {
            (true, _) => String::new(),
            (false, None) => address,
            (false, Some(attempt)) => {
                format!("{address}&from={attempt}:{stdout_end}:{stderr_end}")
            }
        };
        let cut = |log: &LogNow| log.offset_bytes > 0 || log.bytes.len() > LOG_SHOWN_BYTES;
        let (cut, step) = (cut(stdout) || cut(stderr), words::visible(&stdout.step));
        Self { task, stdout: stdout_text, stderr: stderr_text, cut, step, follow }
    }
}

/// The end of a log as text, and the offset in the stream up to which it goes.
fn end_of(log: &LogNow, more: More) -> (String, u64) {
    let skipped = log.bytes.len().saturating_sub(LOG_SHOWN_BYTES);
    let (text, length) = all_text(&log.bytes[skipped..], more);
    (shown(&text), log.offset_bytes + (skipped + length) as u64)
}

impl JobPage {
    fn new(
        frame: Frame,
        detail: JobDetail,
        log: LogView,
        source: Option<String>,
        now: Timestamp,
    ) -> Self {
        let job = &detail.job;
        let lasted_ms = job.ended_at_ms.map(|end| end.saturating_sub(job.submitted_at_ms));
        Self {
            frame,
            id: job.job,
            name: job.name.clone(),
            owner: job.owner.clone(),
            kind: words::kind(job.kind),
            state: words::state(job.state),
            has_ended: job.ended_at_ms.is_some(),
            submitted: Moment::new(job.submitted_at_ms, now),
            lasted: lasted_ms.map(words::span).unwrap_or_default(),
            progress: Progress::new(job),
            waiting: waiting(&detail),
            silent: Vec::new(),
            failed: FailedView::new(&detail),
            outputs: outputs(&detail),
            left_behind: left_behind(&detail),
            receipt: Receipt::new(&detail),
            log,
            asked: Asked::new(&detail),
            has_lock: detail.has_lock,
            source,
        }
    }
}

impl FailedView {
    fn new(detail: &JobDetail) -> Option<Self> {
        let (tasks, failed) = (detail.job.tasks, detail.job.failed);
        let mut listed = detail.task_list.iter();
        let Some(task) = listed.find(|task| task.state == TaskState::Failed) else {
            // Only the first tasks are at hand, and the failed one is none of them.
            let reason = words::counted(failed.into(), "later task failed", "later tasks failed");
            return (failed > 0).then_some(Self { reason, next_step: "", task: None });
        };
        let why = task.attempts.last().and_then(|attempt| attempt.outcome.as_deref());
        let why = why.unwrap_or("it failed");
        let others = match failed.saturating_sub(1) {
            0 => String::new(),
            others => format!(" ({others} more failed)"),
        };
        let runs = match task.attempts.len() {
            0 | 1 => String::new(),
            runs => format!(" (it was started {runs} times)"),
        };
        let why_shown = words::one_line(why) + &runs;
        let reason =
            if tasks > 1 { format!("task {}: {why_shown}{others}", task.index) } else { why_shown };
        let task = (tasks > 1).then_some(task.index);
        Some(Self { reason, next_step: next_step(why), task })
    }
}

impl Progress {
    fn new(job: &rest::Job) -> Self {
        Self {
            tasks: job.tasks,
            queued: job.queued,
            running: job.running,
            succeeded: job.succeeded,
            failed: job.failed,
            cancelled: job.cancelled,
            ended: job.succeeded + job.failed + job.cancelled,
        }
    }
}

/// Why it waits. Just after submitting the scheduler's own words may not be out yet.
fn waiting(detail: &JobDetail) -> String {
    let waits = detail.job.queued > 0;
    let words = || "it will be placed in a moment".to_owned();
    if waits { detail.waiting.clone().unwrap_or_else(words) } else { String::new() }
}

fn outputs(detail: &JobDetail) -> Vec<OutputRow> {
    let job = detail.job.job;
    let rows = detail.task_list.iter().flat_map(|task| {
        task.outputs.iter().map(move |output| OutputRow {
            task: task.index,
            href: format!("/api/v1/jobs/{job}/outputs/{}/{}", task.index, encode(&output.path)),
            path: words::visible(&output.path),
            size: words::bytes(output.size_bytes),
        })
    });
    rows.collect()
}

fn left_behind(detail: &JobDetail) -> Vec<LeftBehind> {
    let tasks = detail.task_list.iter().filter(|task| !task.left_behind.is_empty());
    tasks
        .map(|task| LeftBehind { task: task.index, why: words::one_line(&task.left_behind) })
        .collect()
}
