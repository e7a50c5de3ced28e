//! Machines that bid by themselves, with the prices that their owners ask for.

use campusgrid_protocol::id::{JobId, UserId, WorkerId};
use campusgrid_protocol::terms::Sale;

use crate::ask::Ask;
use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::job::Job;
use crate::market::{BIDS_MAX, Bid, BidFate};
use crate::money::Micros;

/// How long after its ask is accepted a machine's task has to run, where the grid bids for it.
pub(crate) const START_WITHIN_S: u32 = 300;

impl Grid {
    pub(crate) fn on_set_ask(
        &mut self,
        user: UserId,
        id: WorkerId,
        ask: Ask,
        effects: &mut Effects,
    ) -> Reply {
        if self.own_worker(user, id).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        let worker = self.workers.get_mut(&id).expect("it has just been looked up");
        if worker.ask == ask {
            return Reply::Done;
        }
        worker.ask = ask;
        effects.changes.push(Change::WorkerAskSet { worker: id, ask, at: self.now });
        self.freed.insert(id); // It may take what was too cheap for it.
        if ask.automatic {
            self.on_machine_ready(id, effects);
        } else {
            self.withdraw_asks_of(id, effects);
        }
        Reply::Done
    }

    /// A machine is connected, or takes other jobs than before: it bids by its ask, if its owner wants it
    /// to.
    pub(crate) fn on_machine_ready(&mut self, worker: WorkerId, effects: &mut Effects) {
        if self.is_shut() || !self.workers.get(&worker).is_some_and(|worker| worker.ask.automatic) {
            return;
        }
        for id in Vec::from_iter(self.markets.open()) {
            self.bid_by_ask(id, worker, effects);
        }
    }

    /// A job is open: machines bid by their asks.
    pub(crate) fn bid_by_asks(&mut self, id: JobId, effects: &mut Effects) {
        if self.jobs.get(&id).is_none_or(|job| job.open_market().is_none()) {
            return;
        }
        let automatic = self.links.keys().filter(|worker| self.workers[worker].ask.automatic);
        for worker in Vec::from_iter(automatic.copied()) {
            self.bid_by_ask(id, worker, effects);
        }
    }

    /// Bids with a machine's ask on a job that is sold by hand, unless its owner has done so by hand or
    /// cheaper with another machine.
    fn bid_by_ask(&mut self, id: JobId, worker: WorkerId, effects: &mut Effects) {
        let job = &self.jobs[&id];
        let Some(market) = job.open_market().filter(|_| job.terms.sale == Sale::Hand) else {
            return; // Under seal, asks are looked at when the job closes.
        };
        let Some(price) = self.asked_price(worker, job) else { return };
        let owner = self.workers[&worker].owner;
        let mut dearer = None;
        for (other, bid) in &market.bids {
            if self.workers[other].owner != owner {
                continue;
            }
            let stays = !bid.automatic || (*other != worker && bid.price <= price);
            if stays || (*other == worker && bid.price == price) {
                return;
            }
            dearer = Some(*other);
        }
        if dearer.is_none() && market.bids.len() >= BIDS_MAX {
            return;
        }
        if let Some(other) = dearer.filter(|other| *other != worker) {
            self.end_bid((id, other), BidFate::Withdrawn, effects);
        }
        let (start_within_s, at) = (START_WITHIN_S, self.now);
        let bid = Bid { price, start_within_s, automatic: true, at };
        self.place_bid((id, worker), bid, effects);
    }

    /// What a machine whose owner lets the grid bid asks for a job on the market, if it could run it.
    pub(crate) fn asked_price(&self, worker: WorkerId, job: &Job) -> Option<Micros> {
        let machine = self.workers.get(&worker)?;
        if !machine.ask.automatic || machine.owner == job.owner {
            return None;
        }
        self.could_run(worker, &self.shape_of(job)).ok()?;
        Some(job.price_by(machine.ask.prices.as_ref().unwrap_or(&self.policy.prices)))
    }

    /// Withdraws what the grid has bid for a machine.
    fn withdraw_asks_of(&mut self, worker: WorkerId, effects: &mut Effects) {
        for id in Vec::from_iter(self.markets.open()) {
            let market = self.jobs[&id].open_market();
            let bid = market.and_then(|market| market.bids.get(&worker));
            if bid.is_some_and(|bid| bid.automatic) {
                self.end_bid((id, worker), BidFate::Withdrawn, effects);
            }
        }
    }
}
