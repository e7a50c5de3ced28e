//! The output of tasks: as a text when asked for once, as server-sent events while it grows.

mod follow;

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::{Content, Log, Stream};
use futures_util::{Stream as Flow, StreamExt, future, stream};
use serde::Deserialize;

use super::Site;
use super::auth::Login;
use super::error::WebError;
use super::events::{Watcher, until_logged_out};
use super::extract::{Named, Params};
use super::headers::INERT_CONTENT;
use crate::store::read::{StoredLog, Viewer};
use follow::{Cursor, Follower};

/// Which log, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    task: u32,
    /// Standard output unless said otherwise; both when following without saying which.
    stream: Option<Stream>,
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
    /// Where in the stream the bytes begin.
    pub(super) offset_bytes: u64,
    /// The attempt that writes it; None before the first and once the log is complete.
    pub(super) attempt: Option<u32>,
    /// What is being made ready for the attempt, in words.
    pub(super) step: String,
    /// Whether nothing can follow.
    pub(super) complete: bool,
}

/// `GET jobs/{id}/logs`.
pub(super) async fn logs(
    State(site): State<Site>,
    login: Login,
    Named(job): Named<JobId>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    if wanted.follow {
        return follow(site, login, job, wanted, &headers).await;
    }
    let stream = wanted.stream.unwrap_or(Stream::Stdout);
    let now = read_now(&site, login.viewer(), Source { job, task: wanted.task, stream }).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, INERT_CONTENT),
    ];
    Ok((headers, now.bytes).into_response())
}

async fn follow(
    site: Site,
    login: Login,
    job: JobId,
    wanted: Wanted,
    headers: &HeaderMap,
) -> Result<Response, WebError> {
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
    let source = Source { job, task: wanted.task, stream: streams[0] };
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
    pub(super) task: u32,
    pub(super) stream: Stream,
}

/// Reads what there is of a log, live or kept.
///
/// # Errors
///
/// `NotFound`, `Read`, `File`.
pub(super) async fn read_now(
    site: &Site,
    viewer: Viewer,
    source: Source,
) -> Result<LogNow, WebError> {
    match read_place(site, viewer, source).await? {
        StoredLog::Live(None) => Ok(LogNow::default()),
        StoredLog::Live(Some(attempt)) => {
            let tail = site.live.tail(attempt, source.stream, 0);
            let step = site.live.step(attempt);
            let (bytes, offset_bytes) = (tail.bytes, tail.offset_bytes);
            let attempt = Some(attempt.number);
            Ok(LogNow { bytes, offset_bytes, attempt, step, complete: false })
        }
        StoredLog::Kept(log) => {
            let bytes = read_kept(site, &log).await?;
            Ok(LogNow { bytes, complete: true, ..LogNow::default() })
        }
    }
}

async fn read_place(site: &Site, viewer: Viewer, source: Source) -> Result<StoredLog, WebError> {
    let Source { job, task, stream } = source;
    let read = site.readers.read(move |reader| reader.log(viewer, job, task, stream));
    read.await?.ok_or(WebError::NotFound)
}

/// The kept log as a whole: workers bound what they keep, so it fits in memory.
async fn read_kept(site: &Site, log: &Log) -> Result<Vec<u8>, WebError> {
    match &log.content {
        Content::Inline(bytes) => Ok(bytes.clone()),
        Content::Blob(blob) => {
            let path = site.blobs.path(blob.hash);
            let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
            read.expect("reading a file does not panic").map_err(WebError::File)
        }
    }
}
