//! Where the credits of a job went.

use campusgrid_protocol::rest::{JobDetail, TaskState};

use crate::web::words;

/// Where the credits went.
pub(super) struct Receipt {
    /// Of one run, for the whole time limit; empty while nothing is agreed.
    pub(super) price: String,
    /// The factor on the formula at which it was submitted; empty if there was none.
    pub(super) rate: String,
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
            price: match detail.task_micros {
                0 => String::new(),
                micros => words::exact_credits(micros),
            },
            rate: match detail.rate_permille {
                1000 => String::new(),
                permille => words::exact_credits(i64::from(permille) * 1000),
            },
            held: words::exact_credits(detail.job.held_micros),
            charged: words::exact_credits(detail.job.charged_micros),
            refunded: words::exact_credits(detail.job.refunded_micros),
            has_free: last_runs.any(|run| run.charged_micros == 0),
        }
    }
}
