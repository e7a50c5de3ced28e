//! Jobs, tasks and attempts as they were committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_core::ask::{Ask, Deal};
use campusgrid_core::effect::{NewJob, TaskCheck, TaskEnd, TaskPause, Verdict};
use campusgrid_core::market::{Award, Bid};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::TaskSpec;
use campusgrid_protocol::terms::{Sale, Terms};

use crate::record::Wanted;

#[derive(Debug)]
pub(crate) struct RecordedJob {
    pub(crate) owner: UserId,
    pub(crate) name: String,
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) wanted: Wanted,
    /// Those that were cancelled at once before they ever started, under the lowest of them.
    pub(crate) cancelled: BTreeMap<u32, Ranges>,
    pub(crate) tasks: Vec<RecordedTask>,
    pub(crate) lock: Option<Arc<str>>,
    pub(crate) on_hold: bool,
    pub(crate) ended: bool,
    /// The factor on the formula when it was submitted, in thousandths.
    pub(crate) rate_permille: u32,
    /// Those that stand.
    pub(crate) bids: BTreeMap<WorkerId, Bid>,
    /// Of the present round.
    pub(crate) award: Option<Award>,
    /// How often a bid was accepted in the present round.
    pub(crate) winners: u32,
    /// Accepted bids that have failed.
    pub(crate) failed_awards: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedTask {
    /// The attempt of number `n` is at index `n - 1`.
    pub(crate) attempts: Vec<RecordedAttempt>,
    /// One, if all is well.
    pub(crate) ends: Vec<RecordedEnd>,
    /// The next attempt goes on from nothing that was saved.
    pub(crate) anew: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct RecordedAttempt {
    pub(crate) worker: WorkerId,
    pub(crate) leased_at: Timestamp,
    pub(crate) started: bool,
    /// Its submitter wants it no more.
    pub(crate) cancelling: bool,
    /// Why it was taken back, in words.
    pub(crate) requeued: Option<String>,
    /// It has failed and is to be followed by another run.
    pub(crate) paused: Option<Box<TaskPause>>,
    /// It has a result, and another machine is to check it.
    pub(crate) checked: Option<Box<TaskCheck>>,
    pub(crate) deal: Deal,
    /// What its machine's owner asked for when it began.
    pub(crate) ask: Ask,
    pub(crate) started_at: Option<Timestamp>,
    /// How far the task had come by what was saved last in it.
    pub(crate) saved_ms: Option<u64>,
    /// What had been saved before was given up when it began, or before.
    pub(crate) anew: bool,
    /// After it the accepted bid has failed.
    pub(crate) failed_award: bool,
}

impl RecordedAttempt {
    /// Whether it is over, and its task is not.
    pub(crate) fn is_followed(&self) -> bool {
        self.requeued.is_some() || self.paused.is_some() || self.checked.is_some()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum RecordedEnd {
    /// Cancelled before it ever started.
    Untouched,
    Ended {
        end: Box<TaskEnd>,
        at: Timestamp,
    },
}

impl RecordedTask {
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        Some(match self.ends.first()? {
            RecordedEnd::Untouched => Verdict::Cancelled,
            RecordedEnd::Ended { end, .. } => end.verdict.clone(),
        })
    }

    /// Whether an attempt of it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        let last = self.attempts.last();
        self.ends.is_empty() && last.is_some_and(|attempt| !attempt.is_followed())
    }
}

impl RecordedJob {
    pub(crate) fn new(job: &NewJob, wanted: Option<Wanted>) -> Self {
        let as_made = || Wanted { terms: Terms::clone(&job.terms), after: job.after.clone() };
        Self {
            wanted: wanted.unwrap_or_else(as_made),
            cancelled: BTreeMap::new(),
            owner: job.owner,
            name: job.name.clone(),
            spec: Arc::clone(&job.spec),
            tasks: vec![RecordedTask::default(); index_of(job.spec.tasks)],
            lock: None,
            on_hold: job.on_hold,
            ended: false,
            rate_permille: job.rate_permille,
            bids: BTreeMap::new(),
            award: None,
            winners: 0,
            failed_awards: 0,
        }
    }

    /// Whether nothing may ever happen to it, though all machines are there.
    pub(crate) fn may_wait_for_ever(&self) -> bool {
        let terms = &self.wanted.terms;
        terms.sale == Sale::Hand || terms.deterministic
    }

    pub(crate) fn quoted(&self, formula: Micros) -> Micros {
        match self.wanted.terms.sale {
            Sale::Formula => formula,
            Sale::Hand => Micros::ZERO,
            Sale::Rule { max_price_micros, .. } => Micros(max_price_micros),
        }
    }
}

pub(crate) fn index_of(number: u32) -> usize {
    usize::try_from(number).expect("a usize holds every u32")
}
