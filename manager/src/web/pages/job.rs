//! One job: where it stands and why it waits, its live log, its files and what it cost.

pub(in crate::web) mod actions;
mod asked;
mod bids;
mod chain;
mod files;
mod linked;
mod log;
mod map;
mod receipt;
mod shown;
mod silent;
mod standing;
pub(super) mod tasks;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use campusgrid_core::pricing::quote;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::array::Indices;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::{self, JobDetail, JobState, TaskState};

use super::submit::{continue_draft, fresh_key};
use super::{Frame, PageError, Visitor, is_fragment};
use crate::store::read::Viewer;
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::{Named, Params};
use crate::web::jobs::{TaskPart, read_map, read_one, read_tasks};
use crate::web::market::bids::read_bids;
use crate::web::text_stream;
use crate::web::words::{self, Moment};
use asked::Asked;
use bids::BidsView;
use chain::ChainLink;
use files::{JobFiles, place_of, read_files};
use linked::{Piece, linked};
use log::{LogView, read_log};
use map::{CELLS_MAX, MapView};
use receipt::Receipt;
use shown::Shown;
use standing::{FailedView, LeftBehind, Progress, left_behind, waiting};
use tasks::{TasksView, TasksWanted, read_table};

#[derive(Template, WebTemplate)]
#[template(path = "job.html")]
pub(in crate::web) struct JobPage {
    frame: Frame,
    id: u64,
    name: String,
    owner: String,
    kind: &'static str,
    state: &'static str,
    has_started: bool,
    has_ended: bool,
    on_hold: bool,
    priority: i8,
    submitted: Moment,
    /// From submitting to the end; empty before that.
    lasted: String,
    progress: Progress,
    /// Why it waits; empty if nothing of it does.
    waiting: Vec<Piece>,
    /// Other jobs that it still waits for.
    chain: Vec<ChainLink>,
    /// Why something of it was cancelled without its submitter.
    note: Vec<Piece>,
    /// The job of which this one, just made, runs tasks again.
    of: Option<u64>,
    /// What kept an action from being done.
    problem: String,
    /// What runs on machines that are not heard of right now.
    silent: Vec<String>,
    /// Why its first failed task failed.
    failed: Option<FailedView>,
    /// Absent for a single task.
    map: Option<MapView>,
    files: JobFiles,
    left_behind: Vec<LeftBehind>,
    /// Absent unless it is sold by bids.
    bids: Option<BidsView>,
    tasks: TasksView,
    receipt: Receipt,
    log: LogView,
    asked: Asked,
    /// Whether what its packages came to can be downloaded.
    has_lock: bool,
    /// Absent when only a part of the page was asked for, which never shows it.
    source: Option<String>,
    /// Makes a retry that is sent twice one job.
    key: String,
    /// This page's own address.
    address: String,
}

/// `GET /jobs/{id}`.
pub(in crate::web) async fn job(
    State(site): State<Site>,
    visitor: Visitor,
    Named(id): Named<JobId>,
    Params(wanted): Params<Shown>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let detail = read_one(&site, visitor.login.viewer(), id).await?;
    if detail.job.state == JobState::Draft {
        return continue_draft(&site, visitor, id).await;
    }
    Ok(show(&site, visitor, id, wanted, is_fragment(&headers)).await?.into_response())
}

/// The page; `is_fragment` if only a part of it will be used.
async fn show(
    site: &Site,
    visitor: Visitor,
    id: JobId,
    wanted: Shown,
    is_fragment: bool,
) -> Result<JobPage, PageError> {
    let seen = *site.engine.events().borrow(); // Before reading: nothing after it is missed.
    let viewer = visitor.login.viewer();
    let mut detail = read_one(site, viewer, id).await?;
    let of_log = (first_task(&wanted, &detail), wanted.attempt.parse().ok());
    let mut log = if is_fragment {
        LogView::none(of_log.0, of_log.1) // The page's script has it already.
    } else {
        read_log(site, viewer, id, of_log).await?
    };
    log.runs = list_task(site, viewer, &mut detail, of_log.0).await?;
    list_failed(site, viewer, &mut detail).await?;
    let mut frame = visitor.frame;
    if !log.follow.is_empty() {
        // One stream for both: browsers open six connections to a server, and no more.
        frame.events = format!("{}&after={seen}", log.follow);
    } else if detail.job.ended_at_ms.is_none() {
        frame.events = format!("/api/v1/events?job={id}&after={seen}");
    }
    let bids = match detail.market {
        Some(_) => Some(read_bids(site, &visitor.login, id).await?),
        None => None,
    };
    let now = site.clock.now();
    let parts = Parts {
        bids: bids.map(|bids| BidsView::new(&bids, formula_of(site, &detail), now)),
        source: (!is_fragment).then(|| text_stream::shown(&detail.source)),
        silent: silent::notes(site, &detail),
        map: read_cells(site, viewer, &detail, &wanted).await?,
        files: read_files(site, viewer, &detail, place_of(&wanted.outputs)).await?,
        tasks: read_table(site, viewer, id, wanted.wanted(), detail.needs.gpus > 0).await?,
        key: fresh_key()?,
        address: wanted.address(id, of_log.0),
        of: wanted.of.parse().ok(),
        log,
    };
    Ok(JobPage::new(frame, detail, parts, now))
}

/// What of the page is not in the job's own description.
struct Parts {
    bids: Option<BidsView>,
    source: Option<String>,
    silent: Vec<String>,
    map: Option<MapView>,
    files: JobFiles,
    tasks: TasksView,
    key: String,
    address: String,
    of: Option<u64>,
    log: LogView,
}

/// What a job costs by the formula, at the rate that it was submitted at.
fn formula_of(site: &Site, detail: &JobDetail) -> i64 {
    let limit_ms = u64::from(detail.time_limit_s) * 1000;
    let prices = &site.engine.policy().prices;
    quote(prices, &detail.needs, limit_ms, detail.rate_permille).0
}

/// The task whose log is shown: the one that was asked for, the only one in the table, or the first.
fn first_task(wanted: &Shown, detail: &JobDetail) -> u32 {
    let TasksWanted { from, to, .. } = wanted.wanted();
    let only = from.filter(|_| from == to);
    wanted.task.trim().parse().ok().or(only).unwrap_or_else(|| {
        let indices = detail.array.parse::<Indices>();
        indices.ok().and_then(|indices| indices.index(0)).unwrap_or(0)
    })
}

/// Puts a task into the job's list, which has the first ones only; yields its runs.
async fn list_task(
    site: &Site,
    viewer: Viewer,
    detail: &mut JobDetail,
    index: u32,
) -> Result<Vec<u32>, WebError> {
    if detail.task_list.iter().all(|task| task.index != index) {
        let part = TaskPart { from: index, limit: Some(1), state: None };
        let found = read_tasks(site, viewer, JobId(detail.job.job), part).await?.items;
        detail.task_list.extend(found.into_iter().filter(|task| task.index == index));
    }
    let task = detail.task_list.iter().find(|task| task.index == index);
    let runs = task.map(|task| task.attempts.iter().map(|run| run.number).collect());
    Ok(runs.unwrap_or_default())
}

/// Puts the first failed task into the job's list, which has the first ones only.
async fn list_failed(site: &Site, viewer: Viewer, detail: &mut JobDetail) -> Result<(), WebError> {
    let is_failed = |task: &rest::Task| task.state == TaskState::Failed;
    if detail.job.failed > 0 && !detail.task_list.iter().any(is_failed) {
        let part = TaskPart { from: 0, limit: Some(1), state: Some(TaskState::Failed) };
        detail.task_list.extend(read_tasks(site, viewer, JobId(detail.job.job), part).await?.items);
    }
    Ok(())
}

/// Nothing for a single task.
async fn read_cells(
    site: &Site,
    viewer: Viewer,
    detail: &JobDetail,
    wanted: &Shown,
) -> Result<Option<MapView>, WebError> {
    if detail.job.tasks < 2 {
        return Ok(None);
    }
    let map = read_map(site, viewer, JobId(detail.job.job), CELLS_MAX).await?;
    let TasksWanted { from, to, .. } = wanted.wanted();
    Ok(Some(MapView::new(&map, &Progress::new(&detail.job), from.zip(to))))
}

impl JobPage {
    fn new(frame: Frame, detail: JobDetail, parts: Parts, now: Timestamp) -> Self {
        let job = &detail.job;
        let failed = FailedView::new(&detail);
        let is_said = failed.as_ref().is_some_and(|failed| failed.says(&detail.note));
        let lasted_ms = job.ended_at_ms.map(|end| end.saturating_sub(job.submitted_at_ms));
        Self {
            frame,
            id: job.job,
            name: words::visible(&job.name),
            owner: job.owner.clone(),
            kind: words::kind(job.kind),
            state: words::state(job.state),
            has_started: job.running + job.succeeded + job.failed > 0,
            has_ended: job.ended_at_ms.is_some(),
            on_hold: job.on_hold,
            priority: job.priority,
            submitted: Moment::new(job.submitted_at_ms, now),
            lasted: lasted_ms.map(words::span).unwrap_or_default(),
            progress: Progress::new(job),
            waiting: linked(&waiting(&detail)),
            chain: detail.after.iter().map(ChainLink::new).collect(),
            note: if is_said { Vec::new() } else { linked(&detail.note) },
            of: parts.of,
            problem: String::new(),
            silent: parts.silent,
            failed,
            map: parts.map,
            files: parts.files,
            left_behind: left_behind(&detail),
            bids: parts.bids,
            tasks: parts.tasks,
            receipt: Receipt::new(&detail),
            log: parts.log,
            asked: Asked::new(&detail),
            has_lock: detail.has_lock,
            source: parts.source,
            key: parts.key,
            address: parts.address,
        }
    }
}
