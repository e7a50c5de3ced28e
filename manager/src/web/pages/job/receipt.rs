//! Where the credits of a job went.

use campusgrid_protocol::rest::{JobDetail, TaskState};

use crate::web::words;

/// Where the credits went.
pub(super) struct Receipt {
    pub(super) held: String,
    pub(super) charged: String,
    pub(super) refunded: String,
    /// Whether a run that succeeded cost nothing, as on one's own machines.
    pub(super) has_free: bool,
}

impl Receipt {
    pub(super) fn new(detail: &JobDetail) -> Self {
        let succeeded = detail.task_list.iter().filter(|task| task.state == TaskState::Succeeded);
        let mut last_runs = succeeded.filter_map(|task| task.attempts.last());
        Self {
            held: words::exact_credits(detail.job.held_micros),
            charged: words::exact_credits(detail.job.charged_micros),
            refunded: words::exact_credits(detail.job.refunded_micros),
            has_free: last_runs.any(|run| run.charged_micros == 0),
        }
    }
}
