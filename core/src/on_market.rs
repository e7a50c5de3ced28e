//! Jobs that are sold by bids: bids by hand, and acceptance.

use std::collections::BTreeSet;

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::terms::Sale;

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::job::Job;
use crate::ledger::{Hold, TransferKey};
use crate::market::{BIDS_MAX, Bid, BidFate, Market, OWN_BIDS_MAX, Stage};
use crate::money::Micros;
use crate::snapshot::Shape;

impl Grid {
    /// A bid by hand, in place of what stands of the same machine; under seal, of the same owner.
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
                if self.jobs[&id].terms.sale != Sale::Hand {
                    let standing = self.markets.bidders(user, id).filter(|other| *other != worker);
                    for other in Vec::from_iter(standing) {
                        self.end_bid((id, other), BidFate::Withdrawn, effects);
                    }
                }
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
        let market = job.open_market().filter(|market| market.takes_bids(self.now));
        let market = market.ok_or(Refusal::NotOpen)?;
        if job.owner == user {
            return Err(Refusal::OwnJob);
        }
        let shape = self.lineups[&id].shape();
        self.could_run(worker, shape).map_err(|why| Refusal::CannotRun { why })?;
        if market.bids.contains_key(&worker) {
            return Ok(());
        }
        let own = self.markets.bidders(user, id).count();
        let most = if job.terms.sale == Sale::Hand && own >= OWN_BIDS_MAX {
            OWN_BIDS_MAX
        } else if market.bids.len() >= BIDS_MAX && (job.terms.sale == Sale::Hand || own == 0) {
            BIDS_MAX
        } else {
            return Ok(());
        };
        Err(Refusal::TooManyBids { max: u32::try_from(most).expect("a small number") })
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
        let shape = Shape { only: Some(worker), ..self.lineups[&id].shape().clone() };
        if !self.can_begin(worker, &shape) {
            let link = self.links.get(&worker);
            let is_there = link.is_some_and(|link| self.takes_tasks(worker, link));
            return Err(if is_there { Refusal::MachineBusy } else { Refusal::MachineAway });
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
    /// were accepted; the job's shape is for this machine only.
    pub(crate) fn can_begin(&self, worker: WorkerId, shape: &Shape) -> bool {
        let Some(link) = self.links.get(&worker).filter(|_| self.takes(worker, shape)) else {
            return false;
        };
        let mut free = link.free.clone();
        for id in self.markets.awarded_of(worker) {
            let other = &self.jobs[&id];
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
        for id in Vec::from_iter(self.markets.awarded_of(worker)) {
            self.fail_award(id, "the machine was removed", effects);
        }
        // Afterwards, since it may have bid on what is open again.
        let owner = self.workers[&worker].owner;
        for id in Vec::from_iter(self.markets.bid_on_by(owner)) {
            if self.markets.bidders(owner, id).any(|bidder| bidder == worker) {
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
        self.markets.note_bid(&self.jobs[&id], (self.workers[&worker].owner, worker));
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
        self.markets.forget_bid(&self.jobs[&id], (self.workers[&worker].owner, worker));
        effects.changes.push(Change::BidOver { job: id, worker, fate, at });
    }

    /// No bid stands on a job any more; yields whose did. What became of them is for the caller to say.
    pub(crate) fn clear_bids(&mut self, id: JobId) -> BTreeSet<WorkerId> {
        let market = self.job_mut(id).market.as_mut().expect("it is on the market");
        let bidders: BTreeSet<WorkerId> = std::mem::take(&mut market.bids).into_keys().collect();
        for &worker in &bidders {
            self.markets.forget_bid(&self.jobs[&id], (self.workers[&worker].owner, worker));
        }
        bidders
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
