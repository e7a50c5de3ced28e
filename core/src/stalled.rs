//! Why a job waits that no machine could help, in words with a next step.

use std::collections::BTreeMap;
use std::fmt;

use campusgrid_protocol::id::{JobId, TaskId};
use campusgrid_protocol::terms::When;

use crate::grid::Grid;
use crate::job::{After, Job};
use crate::lineup::Lineup;
use crate::market::Stage;
use crate::snapshot::Stalled;
use crate::why::duration;

impl Grid {
    /// Why nothing may start of each job that has tasks which wait or pause, and none that may start.
    pub(crate) fn why_stalled(&self) -> BTreeMap<JobId, Stalled> {
        // Side by side: looking each of many jobs up would take far longer.
        let all = self.jobs.values().zip(self.lineups.values());
        let stalled = all.filter(|(_, lineup)| lineup.is_stalled);
        stalled.map(|(job, lineup)| (job.id, self.why_job(job, lineup))).collect()
    }

    fn why_job(&self, job: &Job, lineup: &Lineup) -> Stalled {
        if job.cancelling {
            return Stalled::Cancelling;
        }
        if job.on_hold {
            return Stalled::OnHold;
        }
        if let Some(market) = &job.market
            && let Stage::Open { closes_at } = market.stage
        {
            let bids = market.bids.len();
            return match closes_at {
                Some(closes_at) => Stalled::Closing { bids, ms: closes_at.since_ms(self.now) },
                None => Stalled::Bids { bids },
            };
        }
        let waits_for = |each: bool| {
            let found = job.after.iter().find(|after| after.each == each);
            found.map(|after| Stalled::After { after: *after, others: job.after.len() - 1 })
        };
        if let Some(stalled) = waits_for(false) {
            return stalled;
        }
        if lineup.is_full(job) {
            return Stalled::AtOnce { running: lineup.running };
        }
        let pauses = self.pause_of(job.id).map(|ms| Stalled::Pausing { ms });
        pauses.or_else(|| waits_for(true)).unwrap_or(Stalled::Turn)
    }

    /// In how many milliseconds a task of a job waits again, if one pauses: the lowest of them.
    fn pause_of(&self, job: JobId) -> Option<u64> {
        let tasks = TaskId { job, index: 0 }..=TaskId { job, index: u32::MAX };
        Some(self.task_pauses.range(tasks).next()?.since_ms(self.now))
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cancelling => {
                f.write_str("is about to be cancelled, once the manager can write again")
            }
            Self::OnHold => f.write_str("is on hold; it starts once it is released"),
            Self::AtOnce { running: 1 } => {
                f.write_str("1 of its tasks runs, and no more may at once")
            }
            Self::AtOnce { running } => {
                write!(f, "{running} of its tasks run, and no more may at once")
            }
            Self::Pausing { ms } => {
                write!(f, "a task has failed and is run again in {}", duration(ms))
            }
            Self::Bids { bids: 0 } => {
                f.write_str("waits for bids; none has come yet, owners see it on the market")
            }
            Self::Bids { bids: 1 } => f.write_str("1 bid stands; accept it to have it run"),
            Self::Bids { bids } => write!(f, "{bids} bids stand; accept one to have it run"),
            Self::Closing { ms: 0, .. } => f.write_str(
                "takes no more bids; it closes when machines have had time to come back",
            ),
            Self::Closing { bids, ms } => {
                let count = if bids == 1 { "1 bid".to_owned() } else { format!("{bids} bids") };
                let soon = duration(ms);
                write!(
                    f,
                    "takes bids for another {soon}, {count} so far; then the best is accepted"
                )
            }
            Self::Turn => f.write_str("it is its turn; it starts in a moment"),
            Self::After { after: After { job, when, each }, others } => {
                let whose = if each { "each task waits for its own of" } else { "waits for" };
                let what = match when {
                    When::Started => "to start",
                    When::Ok => "to succeed",
                    When::Any => "to end",
                    When::Failed => "to fail",
                };
                write!(f, "{whose} job {job} {what}")?;
                if others > 0 {
                    write!(f, ", and for {others} more")?;
                }
                Ok(())
            }
        }
    }
}
