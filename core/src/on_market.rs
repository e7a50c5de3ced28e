//! Jobs that are sold by bids: bids by hand, and acceptance.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::terms::Sale;

use crate::deadlines::Deadlines;
use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::job::Job;
use crate::ledger::{Hold, TransferKey};
use crate::market::{BIDS_MAX, Bid, BidFate, Market, Stage};
use crate::money::Micros;
use crate::snapshot::Shape;
use crate::time::Timestamp;

/// Which jobs are on the market; derived from them.
#[derive(Debug, Default)]
pub(crate) struct Markets {
    open: BTreeSet<JobId>,
    /// The machines whose bids were accepted.
    pub(crate) awarded: BTreeMap<JobId, WorkerId>,
    /// When a job closes, or an accepted bid fails.
    pub(crate) ends: Deadlines<JobId>,
}

impl Markets {
    /// Takes a job as it stands now, if it is on the market.
    pub(crate) fn begin(&mut self, job: &Job) {
        let Some(market) = &job.market else { return };
        self.end(job.id);
        let ends = match market.stage {
            Stage::Open { closes_at } => {
                self.open.insert(job.id);
                closes_at
            }
            Stage::Awarded(award) => {
                self.awarded.insert(job.id, award.worker);
                award.start_by
            }
        };
        if let Some(end) = ends {
            self.ends.renew(job.id, end);
        }
    }

    /// A job is over.
    pub(crate) fn end(&mut self, job: JobId) {
        self.open.remove(&job);
        self.awarded.remove(&job);
        self.ends.close(&job);
    }

    /// When the next one closes, or fails.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.ends.first()
    }

    /// Whether a bid of this machine was accepted, of a job that is not over.
    pub(crate) fn is_bound(&self, worker: WorkerId) -> bool {
        self.awarded.values().any(|bound| *bound == worker)
    }

    /// Jobs that take bids.
    pub(crate) fn open(&self) -> impl Iterator<Item = JobId> {
        self.open.iter().copied()
    }
}

impl Grid {
    /// A bid by hand, in place of what stands of the same machine.
    pub(crate) fn on_bid(
        &mut self,
        user: UserId,
        id: JobId,
        (worker, price, start_within_s): (WorkerId, Micros, u32),
        effects: &mut Effects,
    ) -> Reply {
        assert!(price >= Micros::ZERO, "a price was checked for its form");
        match self.may_bid(user, id, worker) {
            Ok(()) => {
                let bid = Bid { price, start_within_s, automatic: false, at: self.now };
                self.place_bid((id, worker), bid, effects);
                Reply::Done
            }
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    fn may_bid(&self, user: UserId, id: JobId, worker: WorkerId) -> Result<(), Refusal> {
        if let Some(refusal) = self.shut() {
            return Err(refusal);
        }
        // Not whoever may act for them: a bid binds the owner.
        if self.workers.get(&worker).is_none_or(|worker| worker.owner != user) {
            return Err(Refusal::NotFound);
        }
        let Some(job) = self.jobs.get(&id) else {
            return Err(if self.was_job(id) { Refusal::NotOpen } else { Refusal::NotFound });
        };
        let market = job.open_market().ok_or(Refusal::NotOpen)?;
        if job.owner == user {
            return Err(Refusal::OwnJob);
        }
        self.could_run(worker, &self.shape_of(job)).map_err(|why| Refusal::CannotRun { why })?;
        if market.bids.len() >= BIDS_MAX && !market.bids.contains_key(&worker) {
            let max = u32::try_from(BIDS_MAX).expect("a small number");
            return Err(Refusal::TooManyBids { max });
        }
        Ok(())
    }

    pub(crate) fn on_withdraw_bid(
        &mut self,
        user: UserId,
        id: JobId,
        worker: WorkerId,
        effects: &mut Effects,
    ) -> Reply {
        if self.workers.get(&worker).is_none_or(|worker| worker.owner != user) {
            return Reply::Refused(Refusal::NotFound);
        }
        let market = self.jobs.get(&id).and_then(Job::open_market);
        if !market.is_some_and(|market| market.bids.contains_key(&worker)) {
            return Reply::Refused(Refusal::BidGone);
        }
        self.end_bid((id, worker), BidFate::Withdrawn, effects);
        Reply::Done
    }

    /// Accepts a bid: holds its price, and starts the job.
    pub(crate) fn on_accept(
        &mut self,
        user: UserId,
        id: JobId,
        (worker, price): (WorkerId, Micros),
        effects: &mut Effects,
    ) -> Reply {
        match self.accept(user, id, (worker, price), effects) {
            Ok(()) => Reply::Done,
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    fn accept(
        &mut self,
        user: UserId,
        id: JobId,
        (worker, price): (WorkerId, Micros),
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.shut() {
            return Err(refusal);
        }
        self.open_job(user, id)?;
        let job = &self.jobs[&id];
        if job.owner != user {
            return Err(Refusal::NotFound); // Whoever accepts, pays.
        }
        let market = job.open_market().filter(|_| job.terms.sale == Sale::Hand);
        let market = market.ok_or(Refusal::NotOpen)?;
        let bid = market.bids.get(&worker).filter(|bid| bid.price == price);
        let bid = *bid.ok_or(Refusal::BidGone)?;
        if !self.can_begin(worker, job) {
            return Err(Refusal::MachineBusy);
        }
        let key = match market.round {
            0 => TransferKey::Hold(id),
            round => TransferKey::HoldRound { job: id, round },
        };
        self.ledger
            .hold(Hold { key, user, amount: price }, self.now, &mut effects.changes)
            .map_err(Refusal::Insufficient)?;
        self.job_mut(id).quote = price;
        self.award(id, (worker, bid), price, effects);
        Ok(())
    }

    /// Whether a machine could begin with a job on the market right now, beside those for which its bids
    /// were accepted.
    pub(crate) fn can_begin(&self, worker: WorkerId, job: &Job) -> bool {
        let shape = Shape { only: Some(worker), ..self.shape_of(job) };
        let Some(link) = self.links.get(&worker).filter(|_| self.takes(worker, &shape)) else {
            return false;
        };
        let awarded = self.markets.awarded.iter().filter(|(_, of)| **of == worker);
        let mut free = link.free.clone();
        for (id, _) in awarded {
            let other = &self.jobs[id];
            if other.leases().next().is_none() {
                let needs = other.spec.needs;
                free.take(&crate::worker::Grant::new(needs, free.choose(&needs)));
            }
        }
        free.fits(&shape.needs)
    }

    /// A machine is about to be removed, and nothing runs there: what it has bid is withdrawn, and what
    /// it was to run is open again.
    pub(crate) fn withdraw_bids_of(&mut self, worker: WorkerId, effects: &mut Effects) {
        let awarded = self.markets.awarded.iter().filter(|(_, of)| **of == worker);
        for id in Vec::from_iter(awarded.map(|(id, _)| *id)) {
            self.fail_award(id, "the machine was removed", effects);
        }
        // Afterwards, since it may have bid on what is open again.
        for id in Vec::from_iter(self.markets.open()) {
            let market = self.jobs[&id].open_market();
            if market.is_some_and(|market| market.bids.contains_key(&worker)) {
                self.end_bid((id, worker), BidFate::Withdrawn, effects);
            }
        }
    }

    pub(crate) fn place_bid(
        &mut self,
        (id, worker): (JobId, WorkerId),
        bid: Bid,
        effects: &mut Effects,
    ) {
        let market = self.job_mut(id).market.as_mut().expect("it takes bids");
        market.bids.insert(worker, bid);
        effects.changes.push(Change::BidPlaced { job: id, worker, bid });
    }

    pub(crate) fn end_bid(
        &mut self,
        (id, worker): (JobId, WorkerId),
        fate: BidFate,
        effects: &mut Effects,
    ) {
        let at = self.now;
        let market = self.job_mut(id).market.as_mut().expect("it takes bids");
        market.bids.remove(&worker);
        effects.changes.push(Change::BidOver { job: id, worker, fate, at });
    }

    pub(crate) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("the caller has looked the job up")
    }
}

impl Job {
    /// Its market, while it takes bids.
    pub(crate) fn open_market(&self) -> Option<&Market> {
        self.market.as_ref().filter(|market| match market.stage {
            Stage::Open { .. } => true,
            Stage::Awarded(_) => false,
        })
    }
}
