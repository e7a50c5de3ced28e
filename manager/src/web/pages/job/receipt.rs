//! What the runs of a job used, and where the credits went.

use campusgrid_protocol::rest::{self, JobDetail};

use super::Progress;
use crate::web::words;

/// Where the credits went.
pub(super) struct Receipt {
    pub(super) held: String,
    pub(super) charged: String,
    pub(super) refunded: String,
    pub(super) attempts: Vec<AttemptRow>,
    pub(super) has_gpus: bool,
    /// Whether a run that succeeded cost nothing, as on one's own machines.
    pub(super) has_free: bool,
    /// Whether there are tasks that are not listed.
    pub(super) cut: bool,
}

/// One run of a task.
pub(super) struct AttemptRow {
    pub(super) task: u32,
    pub(super) number: u32,
    pub(super) worker: String,
    /// Their numbers on that worker.
    pub(super) gpus: String,
    pub(super) minutes: String,
    pub(super) cpu: String,
    pub(super) ram_peak: String,
    pub(super) outcome: String,
    pub(super) charged: String,
}

impl Receipt {
    pub(super) fn new(detail: &JobDetail) -> Self {
        let Progress { running, succeeded, failed, .. } = Progress::new(&detail.job);
        let rows = detail.task_list.iter().flat_map(|task| {
            task.attempts.iter().map(move |attempt| AttemptRow::new(task.index, attempt))
        });
        let mut attempts = detail.task_list.iter().flat_map(|task| &task.attempts);
        let has_free = attempts.any(|attempt| {
            attempt.charged_micros == 0 && attempt.outcome.as_deref() == Some("succeeded")
        });
        Self {
            held: words::exact_credits(detail.job.held_micros),
            charged: words::exact_credits(detail.job.charged_micros),
            refunded: words::exact_credits(detail.job.refunded_micros),
            attempts: rows.collect(),
            has_gpus: detail.needs.gpus > 0,
            has_free,
            cut: detail.task_list.len() < (running + succeeded + failed) as usize,
        }
    }
}

impl AttemptRow {
    fn new(task: u32, attempt: &rest::Attempt) -> Self {
        let under_way = || match attempt.started_at_ms {
            Some(_) => "running".to_owned(),
            None => "preparing".to_owned(),
        };
        // What it uses is known at its end.
        let known = |text: String| attempt.ended_at_ms.map_or("–".to_owned(), |_| text);
        Self {
            task,
            number: attempt.number,
            worker: words::visible(&attempt.worker_name),
            gpus: attempt.gpus.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            minutes: known(words::minutes(attempt.run_ms)),
            cpu: known(words::span(attempt.cpu_ms)),
            ram_peak: known(words::mib(attempt.ram_peak_mib)),
            outcome: attempt.outcome.as_deref().map_or_else(under_way, words::one_line),
            charged: known(words::exact_credits(attempt.charged_micros)),
        }
    }
}
