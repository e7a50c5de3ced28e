//! The output of tasks: as a text when asked for once, as server-sent events while it grows.

mod follow;
mod kept;

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use campusgrid_protocol::id::{AttemptId, JobId};
use campusgrid_protocol::rest::ErrorBody;
use campusgrid_protocol::task::{Log, Stream};
use futures_util::{Stream as Flow, StreamExt, future, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::events::{Watcher, until_logged_out};
use super::extract::{Named, Params};
use super::files::{Wish, send};
use super::headers::INERT_CONTENT;
use crate::store::read::{StoredLog, Viewer, WhichLog};
use follow::{Cursor, Follower};
use kept::Kept;

/// The most of a log that a page is made with: its end. Bytes.
const NOW_MAX_BYTES: u64 = 256 << 10;

/// Which log, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The task's index; that of the first if absent.
    task: Option<u32>,
    /// Of this run of it, counted from 1; the newest if absent.
    attempt: Option<u32>,
    /// Standard output unless said otherwise; both when following without saying which.
    #[param(inline)]
    stream: Option<Stream>,
    /// Send it as it grows, as server-sent events: pieces of text (`LogPiece`), `step` for what is made
    /// ready, `restart` before another run, and `end`.
    #[serde(default)]
    follow: bool,
    /// Where to start following, in the form of an event's id; `Last-Event-ID` has precedence.
    from: Option<String>,
    /// When following: also tell when the job changes after this event or the grid looks
    /// different, as `GET events` does but in events without ids, and go on with that after the
    /// log's end. For pages, which can afford one connection each.
    after: Option<u64>,
}

/// What is there of a log right now.
#[derive(Debug, Default)]
pub(super) struct LogNow {
    pub(super) bytes: Vec<u8>,
    /// Where in the stream the bytes begin; those before it are not shown.
    pub(super) offset_bytes: u64,
    /// The attempt that writes it; None before the first and once the log is complete.
    pub(super) attempt: Option<u32>,
    /// What is being made ready for the attempt, in words.
    pub(super) step: String,
    /// Whether nothing can follow.
    pub(super) complete: bool,
}

/// Download or follow a log
///
/// Without `follow`, what is there of it: of a run that is over all that is kept, with ranges; of one that
/// goes on the newest part. With it, all of it as it comes, also of runs that follow.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs", tag = "files",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header,
        description = "When following: go on behind this event.")),
    responses(
        (status = 200, description = "The log, or its events.",
            content((String = "text/plain"), (String = "text/event-stream"))),
        (status = 206, description = "The part asked for.", content_type = "text/plain", body = String),
        (status = 304, description = "The client has it already."),
        (status = 409, body = ErrorBody),
        (status = 416, body = ErrorBody)
    ))]
pub(super) async fn logs(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(wanted): Params<Wanted>,
    wish: Wish,
) -> Result<Response, WebError> {
    if wanted.follow {
        return follow(site, login, job, wanted, &wish).await;
    }
    let stream = wanted.stream.unwrap_or(Stream::Stdout);
    let source = Source::find(&site, login.viewer(), job, &wanted, stream).await?;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    match read_place(&site, login.viewer(), source).await? {
        Place::Kept { log, .. } => send(&site, &wish, log.content, plain).await,
        Place::Live(attempt) => {
            let live = attempt.map(|attempt| site.live.tail(attempt, source.stream, 0));
            let headers =
                [(header::CONTENT_TYPE, plain), (header::CONTENT_SECURITY_POLICY, INERT_CONTENT)];
            Ok((headers, live.unwrap_or_default().bytes).into_response())
        }
    }
}

async fn follow(
    site: Site,
    login: Login,
    job: JobId,
    wanted: Wanted,
    wish: &Wish,
) -> Result<Response, WebError> {
    let headers = wish.headers();
    let permit = site.streams.take(login.id()).ok_or(WebError::TooManyStreams)?;
    let streams = wanted.stream.map_or(vec![Stream::Stdout, Stream::Stderr], |one| vec![one]);
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let cursor = match last.or(wanted.from.as_deref()) {
        Some(text) => Cursor::parse(text, streams.len()).ok_or_else(|| {
            WebError::Query("from: not the id of an event of this log".to_owned())
        })?,
        None => Cursor::start(streams.len()),
    };
    // A job that is not there is a 404 now, and not a stream without events.
    let source = Source::find(&site, login.viewer(), job, &wanted, streams[0]).await?;
    read_place(&site, login.viewer(), source).await?;
    let viewer = login.viewer();
    let over = until_logged_out(site.clone(), login, headers);
    let follower = Follower::new(site.clone(), viewer, source, streams, cursor);
    let pieces = pieces_of(follower);
    let changes = match wanted.after {
        Some(after) => changes_of(Watcher::new(site, viewer, Some(job), Some(after))).left_stream(),
        None => stream::empty().right_stream(),
    };
    // Both are polled to their ends and never dropped halfway, as arms of a `select!` would be.
    let events = stream::select(pieces, changes).scan(permit, |_held, event| {
        future::ready(event.map(Ok::<Event, Infallible>)) // The first None ends all.
    });
    let events = events.take_until(Box::pin(over));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// The events of a log. None if they stop before the log is complete: the viewer is to come back.
fn pieces_of(follower: Follower) -> impl Flow<Item = Option<Event>> {
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Some(event) => Some((Some(event), Some(follower))),
            None if follower.is_complete() => None,
            None => Some((None, None)),
        }
    })
}

/// What changes. None when nobody is left to tell: the viewer is to come back.
fn changes_of(watcher: Watcher) -> impl Flow<Item = Option<Event>> {
    stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        match watcher.next().await {
            Some(news) => Some((Some(news.without_id()), Some(watcher))),
            None => Some((None, None)),
        }
    })
}

/// One stream of one task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) job: JobId,
    /// By its index.
    pub(super) task: u32,
    /// The run of it; the newest, and all that follow, if None.
    pub(super) attempt: Option<u32>,
    pub(super) stream: Stream,
}

impl Source {
    async fn find(
        site: &Site,
        viewer: Viewer,
        job: JobId,
        wanted: &Wanted,
        stream: Stream,
    ) -> Result<Self, WebError> {
        let task = match wanted.task {
            Some(task) => task,
            None => {
                let map = site.readers.read(move |reader| reader.task_map(viewer, job, 1)).await?;
                let first = map.and_then(|map| Some(map.cells.first()?.first_index));
                first.ok_or(WebError::NotFound)?
            }
        };
        Ok(Self { job, task, attempt: wanted.attempt, stream })
    }
}

/// Reads what there is of a log, live or kept: the end of it, if it is long.
///
/// # Errors
///
/// `NotFound`, `NotKept`, `Read`, `File`.
pub(super) async fn read_now(
    site: &Site,
    viewer: Viewer,
    source: Source,
) -> Result<LogNow, WebError> {
    match read_place(site, viewer, source).await? {
        Place::Live(None) => Ok(LogNow::default()),
        Place::Live(Some(attempt)) => {
            let tail = site.live.tail(attempt, source.stream, 0);
            let step = site.live.step(attempt);
            let (bytes, offset_bytes) = (tail.bytes, tail.offset_bytes);
            let attempt = Some(attempt.number);
            Ok(LogNow { bytes, offset_bytes, attempt, step, complete: false })
        }
        Place::Kept { attempt, log, task_over } => {
            let kept = Kept::open(site, &log).await?;
            let from = kept.bytes().saturating_sub(NOW_MAX_BYTES);
            let bytes = kept.read(from, NOW_MAX_BYTES).await?;
            // Such that whoever follows goes on behind the end, whatever was cut out before it.
            let offset_bytes = kept.offset_of(kept.bytes()).saturating_sub(bytes.len() as u64);
            let complete = task_over || source.attempt.is_some();
            let attempt = attempt.map(|attempt| attempt.number).filter(|_| !complete);
            Ok(LogNow { bytes, offset_bytes, attempt, step: String::new(), complete })
        }
    }
}

/// Where a log is to be had.
enum Place {
    /// With the attempt that writes it, if one has begun.
    Live(Option<AttemptId>),
    Kept {
        attempt: Option<AttemptId>,
        log: Log,
        /// Whether no other run follows.
        task_over: bool,
    },
}

async fn read_place(site: &Site, viewer: Viewer, source: Source) -> Result<Place, WebError> {
    let Source { job, task, attempt, stream } = source;
    let which = WhichLog { index: task, attempt, stream };
    let read = site.readers.read(move |reader| reader.log(viewer, job, which));
    match read.await?.ok_or(WebError::NotFound)? {
        StoredLog::Live(attempt) => Ok(Place::Live(attempt)),
        StoredLog::Kept { attempt, log, task_over } => Ok(Place::Kept { attempt, log, task_over }),
        StoredLog::Gone => Err(WebError::NotKept),
    }
}
