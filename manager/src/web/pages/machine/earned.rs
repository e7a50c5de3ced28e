//! What a machine has earned, in all and run by run.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::workers::{Earned, Paid};

use crate::web::Site;
use crate::web::auth::Login;
use crate::web::error::WebError;
use crate::web::words::{self, Moment};
use crate::web::workers::earnings::read_worker_earnings;

/// Runs that are listed at once.
const PAGE: u32 = 20;

/// What a machine, or all of them, have earned.
pub(in crate::web::pages) struct Figures {
    pub(in crate::web::pages) today: String,
    pub(in crate::web::pages) week: String,
    pub(in crate::web::pages) ever: String,
}

impl Figures {
    pub(in crate::web::pages) fn new(earned: &Earned) -> Self {
        Self {
            today: words::credits(earned.today_micros),
            week: words::credits(earned.week_micros),
            ever: words::credits(earned.ever_micros),
        }
    }
}

/// What a machine has earned.
pub(super) struct EarnedView {
    pub(super) figures: Figures,
    pub(super) paid: Vec<PaidRow>,
    pub(super) next: Option<u64>,
}

/// What was paid at one time for one run.
pub(super) struct PaidRow {
    pub(super) job: u64,
    pub(super) name: String,
    pub(super) submitter: String,
    pub(super) minutes: String,
    pub(super) earned: String,
    pub(super) at: Moment,
}

impl EarnedView {
    /// What was earned, and the newest runs that were paid before a number.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Read`.
    pub(super) async fn read(
        site: &Site,
        login: &Login,
        worker: WorkerId,
        before: Option<u64>,
    ) -> Result<Self, WebError> {
        let earned = read_worker_earnings(site, login, worker, before, PAGE).await?;
        let now = site.clock.now();
        Ok(Self {
            figures: Figures::new(&earned.earned),
            paid: earned.paid.items.iter().map(|paid| PaidRow::new(paid, now)).collect(),
            next: earned.paid.next,
        })
    }
}

impl PaidRow {
    fn new(paid: &Paid, now: Timestamp) -> Self {
        Self {
            job: paid.job,
            name: words::visible(&paid.job_name),
            submitter: paid.submitter.clone(),
            minutes: words::minutes(paid.run_ms),
            earned: words::exact_credits(paid.earned_micros),
            at: Moment::new(paid.at_ms, now),
        }
    }
}
