//! The log of one run of a task, as it is now and where to follow it.

use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::Stream;

use crate::store::read::Viewer;
use crate::web::error::WebError;
use crate::web::logs::{LogNow, Source, read_now};
use crate::web::text_stream::{More, all_text, shown};
use crate::web::{Site, words};

/// Shown of a log in the page. Bytes; a link leads to all of it.
const LOG_SHOWN_BYTES: usize = 256 << 10;

/// The log of one run of one task.
pub(super) struct LogView {
    /// By its index.
    pub(super) task: u32,
    /// The run that was asked for; the newest otherwise.
    pub(super) run: Option<u32>,
    /// All runs that have begun.
    pub(super) runs: Vec<u32>,
    /// For addresses of this very run.
    pub(super) of_run: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Whether the beginning is not shown.
    pub(super) cut: bool,
    /// Whether it is kept no longer.
    pub(super) gone: bool,
    pub(super) step: String,
    /// Empty when the log is complete.
    pub(super) follow: String,
}

/// Reads what is there of a log.
///
/// # Errors
///
/// `NotFound` if there is no such task or run; `Read`, `File`.
pub(super) async fn read_log(
    site: &Site,
    viewer: Viewer,
    job: JobId,
    (task, attempt): (u32, Option<u32>),
) -> Result<LogView, WebError> {
    let source = Source { job, task, attempt, stream: Stream::Stdout };
    let stdout = match read_now(site, viewer, source).await {
        Err(WebError::NotKept) => {
            return Ok(LogView { gone: true, ..LogView::none(task, attempt) });
        }
        read => read?,
    };
    let stderr = read_now(site, viewer, Source { stream: Stream::Stderr, ..source }).await?;
    Ok(LogView::new(job, (task, attempt), &stdout, &stderr))
}

impl LogView {
    /// Whether this very run was asked for.
    pub(super) fn shows(&self, run: &u32) -> bool {
        self.run == Some(*run)
    }

    /// For a part of the page that does not show it.
    pub(super) fn none(task: u32, run: Option<u32>) -> Self {
        Self {
            task,
            run,
            runs: Vec::new(),
            of_run: run.map(|run| format!("&attempt={run}")).unwrap_or_default(),
            stdout: String::new(),
            stderr: String::new(),
            cut: false,
            gone: false,
            step: String::new(),
            follow: String::new(),
        }
    }

    fn new(job: JobId, (task, run): (u32, Option<u32>), stdout: &LogNow, stderr: &LogNow) -> Self {
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
        Self {
            stdout: stdout_text,
            stderr: stderr_text,
            cut: cut(stdout) || cut(stderr),
            step: words::visible(&stdout.step),
            // A run that is over has nothing to follow, whatever the task does meanwhile.
            follow: if run.is_some() && stdout.complete { String::new() } else { follow },
            ..Self::none(task, run)
        }
    }
}

/// The end of a log as text, and the offset in the stream up to which it goes.
fn end_of(log: &LogNow, more: More) -> (String, u64) {
    let skipped = log.bytes.len().saturating_sub(LOG_SHOWN_BYTES);
    let (text, length) = all_text(&log.bytes[skipped..], more);
    (shown(&text), log.offset_bytes + (skipped + length) as u64)
}
