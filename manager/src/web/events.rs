//! Tells open pages that something changed, so that they fetch it; no content travels here, so no
//! viewer can lag.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use campusgrid_core::snapshot::Snapshot;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::JobId;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::Site;
use super::auth::{Login, shown};
use super::error::WebError;
use super::extract::Params;
use crate::store::read::Viewer;

/// At least between two events about jobs.
const JOB_PACE: Duration = Duration::from_millis(200);
/// At least between two events about the grid.
const GRID_PACE: Duration = Duration::from_secs(1);
/// How often it is asked whether the viewer of a stream is still logged in.
const LOGIN_PACE: Duration = Duration::from_secs(10);
/// Rows read at once; only the number of the last one matters.
const ROWS_MAX: u32 = 500;

/// What to be told about.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only this job; all of the grid otherwise.
    job: Option<u64>,
    /// Only what came after this event; `Last-Event-ID` has precedence. From now on if absent.
    after: Option<u64>,
}

/// Follows what happens.
///
/// Server-sent events: `job` when something happened to the job (or any job), `grid` when the grid looks
/// different. Their data is for `GET jobs/{id}` and the like to tell.
#[utoipa::path(get, path = "/api/v1/events", tag = "grid",
    params(Wanted, ("Last-Event-ID" = Option<u64>, Header, description = "Where an earlier stream ended.")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 404)
    ))]
pub(super) async fn events(
    State(site): State<Site>,
    login: Login,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let permit = site.streams.take(login.id()).ok_or(WebError::TooManyStreams)?;
    let (viewer, job) = (login.viewer(), wanted.job.map(JobId));
    if let Some(job) = job {
        let stored = site.readers.read(move |reader| reader.job(viewer, job)).await?;
        stored.ok_or(WebError::NotFound)?;
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = last.or(wanted.after);
    let over = until_logged_out(site.clone(), login, &headers);
    let watcher = Watcher::new(site, viewer, job, after);
    let events = stream::unfold((watcher, permit), |(mut watcher, permit)| async move {
        let event = watcher.next().await?.with_id();
        Some((Ok::<Event, Infallible>(event), (watcher, permit)))
    });
    let events = events.take_until(Box::pin(over));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Returns once whoever opened a stream would no longer be let in, or would see something else.
pub(super) fn until_logged_out(
    site: Site,
    login: Login,
    headers: &HeaderMap,
) -> impl Future<Output = ()> + use<> {
    let shown = shown(site.cookies, headers);
    async move {
        loop {
            tokio::time::sleep(LOGIN_PACE).await;
            match Login::of(&site, shown).await {
                Ok(now) if now.viewer() == login.viewer() => {}
                Ok(_) | Err(WebError::NotLoggedIn) => return,
                // What fails for a moment says nothing about the login.
                Err(error) => error.log(),
            }
        }
    }
}

/// That something changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    /// The newest event about the job (or any job).
    Job(u64),
    /// The grid looks different since this moment.
    Snapshot(Timestamp),
}

impl News {
    /// For a stream of its own, which is resumed by the ids of its events.
    fn with_id(self) -> Event {
        match self {
            Self::Job(newest) => self.without_id().id(newest.to_string()),
            Self::Snapshot(_) => self.without_id(),
        }
    }

    /// For a stream that is resumed by the ids of other events.
    pub(super) fn without_id(self) -> Event {
        match self {
            Self::Job(newest) => Event::default().event("job").data(newest.to_string()),
            Self::Snapshot(at) => Event::default().event("grid").data(at.0.to_string()),
        }
    }
}

/// Waits for changes on behalf of one viewer.
#[derive(Debug)]
pub(super) struct Watcher {
    site: Site,
    viewer: Viewer,
    job: Option<JobId>,
    /// The newest event that this viewer knows of.
    after: u64,
    events: watch::Receiver<u64>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    job_due: Instant,
    grid_due: Instant,
}

impl Watcher {
    /// Tells what came after the event `after`, or from now on.
    pub(super) fn new(site: Site, viewer: Viewer, job: Option<JobId>, after: Option<u64>) -> Self {
        let mut events = site.engine.events();
        let snapshots = site.engine.snapshots();
        let after = after.unwrap_or_else(|| *events.borrow());
        events.mark_changed(); // What came between `after` and now is told at once.
        let now = Instant::now();
        Self {
            site,
            viewer,
            job,
            after,
            events,
            snapshots,
            job_due: now,
            grid_due: now + GRID_PACE,
        }
    }

    /// What is new; None when the manager stops.
    pub(super) async fn next(&mut self) -> Option<News> {
        loop {
            tokio::select! {
                biased;
                () = self.site.shutdown.cancelled() => return None,
                changed = paced(self.job_due, &mut self.events) => {
                    changed.ok()?;
                    if let Some(newest) = self.newest().await? {
                        self.after = newest;
                        self.job_due = Instant::now() + self.pace();
                        return Some(News::Job(newest));
                    }
                }
                changed = paced(self.grid_due, &mut self.snapshots) => {
                    changed.ok()?;
                    self.grid_due = Instant::now() + GRID_PACE;
                    return Some(News::Snapshot(self.snapshots.borrow_and_update().at));
                }
            }
        }
    }

    fn pace(&self) -> Duration {
        if self.job.is_some() { JOB_PACE } else { GRID_PACE }
    }

    /// The newest event above `after` that concerns this viewer; None (outside) on a failed read.
    async fn newest(&mut self) -> Option<Option<u64>> {
        let on_disk = *self.events.borrow_and_update();
        let Some(job) = self.job else {
            return Some((on_disk > self.after).then_some(on_disk));
        };
        let (viewer, after) = (self.viewer, self.after);
        let read =
            self.site.readers.read(move |reader| reader.job_events(viewer, job, after, ROWS_MAX));
        match read.await {
            Ok(rows) => Some(rows.last().map(|row| row.id)),
            Err(error) => {
                WebError::from(error).log();
                None
            }
        }
    }
}

/// Waits for a change, but not before `due`. A change before that is not lost: the receiver keeps
/// it until it is looked at.
async fn paced<T>(
    due: Instant,
    changes: &mut watch::Receiver<T>,
) -> Result<(), watch::error::RecvError> {
    sleep_until(due).await;
    changes.changed().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::paced;

    #[tokio::test(start_paused = true)]
    async fn changes_are_spread_out_and_the_last_one_arrives() {
        let (sender, mut receiver) = watch::channel(0);
        let start = Instant::now();
        let due = start + Duration::from_secs(1);
        for number in 1..=5 {
            sender.send_replace(number);
        }
        paced(due, &mut receiver).await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), 5);
        assert_eq!(start.elapsed(), Duration::from_secs(1));

        sender.send_replace(6);
        let due = Instant::now() + Duration::from_secs(1);
        paced(due, &mut receiver).await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), 6);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_loses_no_change() {
        let (sender, mut receiver) = watch::channel(0);
        sender.send_replace(1);
        let due = Instant::now() + Duration::from_secs(5);
        let cut = tokio::time::timeout(Duration::from_secs(1), paced(due, &mut receiver)).await;
        assert!(cut.is_err());
        paced(due, &mut receiver).await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), 1);
    }
}
