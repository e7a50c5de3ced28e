//! Which jobs are on the market, and who has bid on them: derived from the jobs, so that nobody looks
//! through all of them.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::terms::Sale;

use crate::deadlines::Deadlines;
use crate::job::Job;
use crate::market::{BIDS_MAX, Stage};
use crate::time::Timestamp;

/// Over how long what waited for the end of an outage is spread, and by how much the ends of two jobs
/// are apart whose numbers follow each other. Milliseconds. To close a job costs a look at every machine.
const SPREAD_MS: u64 = 60_000;
const STEP_MS: u64 = 100;

#[derive(Debug)]
pub(crate) struct Markets {
    open: BTreeSet<JobId>,
    /// Of `open`, those that are sold by hand and have room for bids of further owners.
    roomy: BTreeSet<JobId>,
    /// Machines of one owner whose bids stand on a job.
    bidders: BTreeMap<(UserId, JobId), BTreeSet<WorkerId>>,
    /// The machines whose bids were accepted.
    pub(crate) awarded: BTreeMap<JobId, WorkerId>,
    /// As `awarded`, by machine.
    awarded_of: BTreeMap<WorkerId, BTreeSet<JobId>>,
    /// When a job closes, or an accepted bid fails.
    pub(crate) ends: Deadlines<JobId>,
    /// How often the end of the present round was put off since nobody could begin.
    put_off: BTreeMap<JobId, u32>,
    /// Machines that have not kept a bid on a job. In memory only: at worst one bids by itself once more.
    failed: BTreeSet<(JobId, WorkerId)>,
    /// Machines that would have bid by themselves while nothing was settled.
    missed: BTreeSet<WorkerId>,
    /// Since when machines could start what they had won, and bid.
    steady_since: Timestamp,
}

impl Markets {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            open: BTreeSet::new(),
            roomy: BTreeSet::new(),
            bidders: BTreeMap::new(),
            awarded: BTreeMap::new(),
            awarded_of: BTreeMap::new(),
            ends: Deadlines::default(),
            put_off: BTreeMap::new(),
            failed: BTreeSet::new(),
            missed: BTreeSet::new(),
            steady_since: now,
        }
    }

    /// The grid stood still until now, or settled nothing.
    pub(crate) fn resume(&mut self, now: Timestamp) {
        self.steady_since = now;
    }

    /// Takes a job as it stands now, if it is on the market; bids on it are noted one by one.
    pub(crate) fn begin(&mut self, job: &Job) {
        let Some(market) = &job.market else { return };
        self.leave(job.id);
        let ends = match market.stage {
            Stage::Open { closes_at } => {
                self.open.insert(job.id);
                self.note_room(job);
                closes_at
            }
            Stage::Awarded(award) => {
                self.awarded.insert(job.id, award.worker);
                self.awarded_of.entry(award.worker).or_default().insert(job.id);
                award.start_by
            }
        };
        if let Some(end) = ends {
            self.ends.renew(job.id, end);
        }
    }

    /// A job is over; no bid stands on it.
    pub(crate) fn end(&mut self, id: JobId) {
        self.leave(id);
        let all = (id, WorkerId(0))..=(id, WorkerId(u64::MAX));
        for failed in Vec::from_iter(self.failed.range(all).copied()) {
            self.failed.remove(&failed);
        }
    }

    fn leave(&mut self, id: JobId) {
        self.open.remove(&id);
        self.roomy.remove(&id);
        if let Some(worker) = self.awarded.remove(&id)
            && let Some(jobs) = self.awarded_of.get_mut(&worker)
        {
            jobs.remove(&id);
            if jobs.is_empty() {
                self.awarded_of.remove(&worker);
            }
        }
        self.ends.close(&id);
        self.put_off.remove(&id);
    }

    /// A bid stands that is in the job already.
    pub(crate) fn note_bid(&mut self, job: &Job, (owner, worker): (UserId, WorkerId)) {
        self.bidders.entry((owner, job.id)).or_default().insert(worker);
        self.note_room(job);
    }

    /// A bid stands no longer, and has left the job.
    pub(crate) fn forget_bid(&mut self, job: &Job, (owner, worker): (UserId, WorkerId)) {
        let key = (owner, job.id);
        if let Some(bidders) = self.bidders.get_mut(&key) {
            bidders.remove(&worker);
            if bidders.is_empty() {
                self.bidders.remove(&key);
            }
        }
        self.note_room(job);
    }

    fn note_room(&mut self, job: &Job) {
        let is_by_hand = job.terms.sale == Sale::Hand;
        let has_room = job.open_market().is_some_and(|market| market.bids.len() < BIDS_MAX);
        if is_by_hand && has_room {
            self.roomy.insert(job.id);
        } else {
            self.roomy.remove(&job.id);
        }
    }

    /// When the next one closes, or fails.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.ends.first()
    }

    /// When a round ends that should have lasted `within_ms`, and has not since the grid stood still in
    /// it: `rest_ms` after the grid goes on, and not all at once.
    pub(crate) fn later(
        &self,
        id: JobId,
        (end, within_ms): (Timestamp, u64),
        rest_ms: u64,
    ) -> Option<Timestamp> {
        let stood_still = end < self.steady_since.plus_ms(within_ms);
        let step_ms = id.0.wrapping_mul(STEP_MS) % SPREAD_MS;
        stood_still.then(|| self.steady_since.plus_ms(rest_ms + step_ms))
    }

    /// Puts the end of a round off, if that was done fewer than `most` times.
    pub(crate) fn put_off(&mut self, id: JobId, until: Timestamp, most: u32) -> bool {
        let times = self.put_off.entry(id).or_default();
        let may = *times < most;
        if may {
            *times += 1;
            self.ends.renew(id, until);
        }
        may
    }

    /// Whether a bid of this machine was accepted, of a job that is not over.
    pub(crate) fn is_bound(&self, worker: WorkerId) -> bool {
        self.awarded_of.contains_key(&worker)
    }

    /// The jobs on which bids of this machine were accepted.
    pub(crate) fn awarded_of(&self, worker: WorkerId) -> impl Iterator<Item = JobId> {
        self.awarded_of.get(&worker).into_iter().flatten().copied()
    }

    /// Jobs that take bids.
    pub(crate) fn open(&self) -> impl Iterator<Item = JobId> {
        self.open.iter().copied()
    }

    /// Jobs on which a machine of this owner may bid by itself, or has.
    pub(crate) fn within_reach(&self, owner: UserId) -> BTreeSet<JobId> {
        self.roomy.iter().copied().chain(self.bid_on_by(owner)).collect()
    }

    /// Jobs on which bids of this owner's machines stand.
    pub(crate) fn bid_on_by(&self, owner: UserId) -> impl Iterator<Item = JobId> {
        let all = (owner, JobId(0))..=(owner, JobId(u64::MAX));
        self.bidders.range(all).map(|((_, job), _)| *job)
    }

    /// Machines of this owner whose bids stand on a job.
    pub(crate) fn bidders(&self, owner: UserId, job: JobId) -> impl Iterator<Item = WorkerId> {
        self.bidders.get(&(owner, job)).into_iter().flatten().copied()
    }

    /// All bids that stand: owners, jobs and machines.
    #[cfg(test)]
    pub(crate) fn bids(&self) -> BTreeSet<(JobId, UserId, WorkerId)> {
        let of = |(&(owner, job), workers): (&(UserId, JobId), &BTreeSet<WorkerId>)| {
            workers.iter().map(move |&worker| (job, owner, worker)).collect::<Vec<_>>()
        };
        self.bidders.iter().flat_map(of).collect()
    }

    pub(crate) fn note_failure(&mut self, job: JobId, worker: WorkerId) {
        self.failed.insert((job, worker));
    }

    /// Whether this machine has won the job before, and has not started it.
    pub(crate) fn has_failed(&self, job: JobId, worker: WorkerId) -> bool {
        self.failed.contains(&(job, worker))
    }

    /// A machine would bid by itself, and nothing is settled now.
    pub(crate) fn miss(&mut self, worker: WorkerId) {
        self.missed.insert(worker);
    }

    pub(crate) fn take_missed(&mut self) -> BTreeSet<WorkerId> {
        std::mem::take(&mut self.missed)
    }
}
