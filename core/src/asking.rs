//! Machines that bid by themselves, with the prices that their owners ask for.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

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

/// Other machines of an owner that are asked at most when what one of them has bid is withdrawn, lest a
/// machine whose limits come and go keep the grid busy.
const OTHERS_MAX: usize = 10;

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
    /// to, and what it has bid on jobs that it could not run is withdrawn.
    ///
    /// Costs O(open jobs) that are sold by hand and have room for bids, or on which its owner has bid.
    pub(crate) fn on_machine_ready(&mut self, worker: WorkerId, effects: &mut Effects) {
        let Some(machine) = self.workers.get(&worker).filter(|worker| worker.ask.automatic) else {
            return;
        };
        if self.is_shut() {
            return self.markets.miss(worker);
        }
        let mut withdrawn = Vec::new();
        for id in self.markets.within_reach(machine.owner) {
            if self.bid_by_ask((id, worker), effects).is_break() {
                withdrawn.push(id);
            }
        }
        self.bid_instead_of(worker, &withdrawn, effects);
    }

    /// What a machine has bid by itself was withdrawn: others of its owner's bid.
    fn bid_instead_of(&mut self, worker: WorkerId, jobs: &[JobId], effects: &mut Effects) {
        if jobs.is_empty() {
            return;
        }
        for other in self.others_of(self.workers[&worker].owner, worker) {
            if self.is_shut() {
                self.markets.miss(other);
                continue;
            }
            for &id in jobs {
                // Whether one of theirs is withdrawn for that does not matter: the next one bids.
                let _ = self.bid_by_ask((id, other), effects);
            }
        }
    }

    /// Some connected machines of an owner that bid by themselves, but one.
    fn others_of(&self, owner: UserId, but: WorkerId) -> Vec<WorkerId> {
        let all = self.links.keys().filter(|worker| **worker != but).copied();
        let others = all.filter(|worker| {
            let machine = &self.workers[worker];
            machine.owner == owner && machine.ask.automatic
        });
        others.take(OTHERS_MAX).collect()
    }

    /// A job is open, and no bids stand: machines bid by their asks, of each owner the cheapest.
    /// Costs O(machines).
    pub(crate) fn bid_by_asks(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.terms.sale == Sale::Hand) else {
            return; // Under seal, asks are looked at when the job closes.
        };
        if job.open_market().is_none() {
            return;
        }
        let shape = self.lineups[&id].shape();
        let mut cheapest = BTreeMap::<UserId, (Micros, WorkerId)>::new();
        for &worker in self.links.keys() {
            let Some(price) = self.price_asked(worker, job) else { continue };
            let owner = self.workers[&worker].owner;
            let is_beaten = cheapest.get(&owner).is_some_and(|(least, _)| *least <= price);
            if !is_beaten && self.could_run(worker, shape).is_ok() {
                cheapest.insert(owner, (price, worker));
            }
        }
        let mut bids = Vec::from_iter(cheapest.into_values());
        bids.sort_unstable();
        for (price, worker) in bids.into_iter().take(BIDS_MAX) {
            self.place_ask((id, worker), price, effects);
        }
    }

    /// Bids with a machine's ask on a job that is sold by hand, unless its owner has done so by hand or
    /// cheaper with another machine. Breaks if its bid was withdrawn, since it could not run the job, so
    /// that its owner's other machines may bid.
    fn bid_by_ask(
        &mut self,
        (id, worker): (JobId, WorkerId),
        effects: &mut Effects,
    ) -> ControlFlow<()> {
        let job = &self.jobs[&id];
        let Some(market) = job.open_market().filter(|_| job.terms.sale == Sale::Hand) else {
            return ControlFlow::Continue(());
        };
        let own = market.bids.get(&worker);
        let Some(price) =
            self.price_asked(worker, job).filter(|_| own.is_none_or(|own| own.automatic))
        else {
            return ControlFlow::Continue(());
        };
        let own = own.map(|bid| bid.price);
        let mut dearer = None;
        if own.is_none() {
            for other in self.markets.bidders(self.workers[&worker].owner, id) {
                let bid = &market.bids[&other];
                if !bid.automatic || (bid.price <= price && self.is_there(other)) {
                    return ControlFlow::Continue(());
                }
                dearer = Some(other);
            }
            if dearer.is_none() && market.bids.len() >= BIDS_MAX {
                return ControlFlow::Continue(());
            }
        }
        if self.could_run(worker, self.lineups[&id].shape()).is_err() {
            if own.is_some() {
                self.end_bid((id, worker), BidFate::Withdrawn, effects);
                return ControlFlow::Break(());
            }
        } else if own != Some(price) {
            if let Some(other) = dearer {
                self.end_bid((id, other), BidFate::Withdrawn, effects);
            }
            self.place_ask((id, worker), price, effects);
        }
        ControlFlow::Continue(())
    }

    fn place_ask(&mut self, bid_on: (JobId, WorkerId), price: Micros, effects: &mut Effects) {
        let (start_within_s, at) = (START_WITHIN_S, self.now);
        let bid = Bid { price, start_within_s, automatic: true, at };
        self.place_bid(bid_on, bid, effects);
    }

    /// Whether what a machine has bid by itself may come to something: if not, another machine of its
    /// owner's bids instead of it. What its owner shares of it is looked at when that changes.
    fn is_there(&self, worker: WorkerId) -> bool {
        self.links.contains_key(&worker) && self.workers[&worker].set_aside.is_none()
    }

    /// What a machine whose owner lets the grid bid asks for a job on the market, whether it could run it
    /// or not. It does not bid by itself again on what it has won before and not started.
    pub(crate) fn price_asked(&self, worker: WorkerId, job: &Job) -> Option<Micros> {
        let machine = self.workers.get(&worker)?;
        let asks = machine.ask.automatic && machine.owner != job.owner;
        if !asks || self.markets.has_failed(job.id, worker) {
            return None;
        }
        Some(job.price_by(machine.ask.prices.as_ref().unwrap_or(&self.policy.prices)))
    }

    /// Withdraws what the grid has bid for a machine.
    fn withdraw_asks_of(&mut self, worker: WorkerId, effects: &mut Effects) {
        let mut withdrawn = Vec::from_iter(self.markets.bid_on_by(self.workers[&worker].owner));
        withdrawn.retain(|id| {
            let market = self.jobs[id].open_market();
            market.and_then(|market| market.bids.get(&worker)).is_some_and(|bid| bid.automatic)
        });
        for &id in &withdrawn {
            self.end_bid((id, worker), BidFate::Withdrawn, effects);
        }
        self.bid_instead_of(worker, &withdrawn, effects);
    }
}
