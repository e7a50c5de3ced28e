//! Jobs that are sold by bids from the moment in which one is accepted: who gets them, and what comes of
//! it.

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Ended, Outcome};
use campusgrid_protocol::terms::Sale;

use crate::asking::START_WITHIN_S;
use crate::auction::{SealedBid, Sold, close};
use crate::effect::{Change, Effects, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::Job;
use crate::ledger::{Refund, TransferKey};
use crate::market::{Award, Bid, BidFate, Market, Stage, closing};
use crate::money::Micros;
use crate::settle::End;
use crate::time::Timestamp;

/// Why an accepted bid has failed.
const TOO_LATE: &str = "the machine has not started it in time";

impl Grid {
    /// Closes jobs whose time for bids is over, and gives up accepted bids whose machines have not
    /// started in time.
    pub(crate) fn settle_markets(&mut self, effects: &mut Effects) {
        while let Some(id) = self.markets.ends.pop_over(self.now) {
            if let Some(later) = self.put_off(&self.jobs[&id]).filter(|later| *later > self.now) {
                self.markets.ends.renew(id, later);
                continue;
            }
            match self.jobs[&id].market.as_ref().map(|market| market.stage) {
                Some(Stage::Open { .. }) => self.close_auction(id, effects),
                Some(Stage::Awarded(_)) => self.fail_award(id, TOO_LATE, effects),
                None => {}
            }
        }
    }

    /// Until when the end of a round waits because the grid stood still in it: machines have to come back
    /// first.
    fn put_off(&self, job: &Job) -> Option<Timestamp> {
        let (within_ms, end, until) = match (job.market.as_ref()?.stage, job.terms.sale) {
            (Stage::Open { closes_at }, Sale::Rule { close_after_s, .. }) => {
                let until = self.steady_since.plus_ms(self.policy.lease_ms.into());
                (u64::from(close_after_s) * 1000, closes_at?, until)
            }
            (Stage::Open { .. }, Sale::Hand | Sale::Formula) => return None,
            (Stage::Awarded(award), _) => {
                let within_ms = u64::from(award.start_within_s) * 1000;
                (within_ms, award.start_by?, self.steady_since.plus_ms(within_ms))
            }
        };
        (end < self.steady_since.plus_ms(within_ms)).then_some(until)
    }

    /// Accepts the best bid, or cancels the job if there is none.
    fn close_auction(&mut self, id: JobId, effects: &mut Effects) {
        let job = &self.jobs[&id];
        let (Sale::Rule { max_price_micros, .. }, Some(market)) =
            (&job.terms.sale, job.open_market())
        else {
            return; // What is sold by hand has no time.
        };
        let price_max = Micros(*max_price_micros);
        let bids = self.sealed_bids(job, market);
        let Some(Sold { worker, price }) = close(&bids, price_max) else {
            let reason = format!(
                "none of {} bids was at most {price_max} credits and of a machine that could begin",
                market.bids.len()
            );
            return self.cancel_unsold(id, reason.into(), effects);
        };
        let bid = market.bids.get(&worker).copied().unwrap_or_else(|| {
            let own = bids.iter().find(|bid| bid.worker == worker);
            let price = own.expect("the winner is one of them").price;
            Bid { price, start_within_s: START_WITHIN_S, automatic: true, at: self.now }
        });
        if !market.bids.contains_key(&worker) {
            effects.changes.push(Change::BidPlaced { job: id, worker, bid });
        }
        self.award(id, (worker, bid), price, effects);
    }

    /// The bids of machines that could begin right now: those that stand, and what the asks of others
    /// come to.
    fn sealed_bids(&self, job: &Job, market: &Market) -> Vec<SealedBid> {
        let by_hand = market.bids.iter().map(|(&worker, bid)| (worker, bid.price, bid.at));
        let asked = self.links.keys().filter(|worker| !market.bids.contains_key(worker));
        let by_ask =
            asked.filter_map(|&worker| Some((worker, self.asked_price(worker, job)?, self.now)));
        let all = by_hand.chain(by_ask).filter(|(worker, _, _)| self.can_begin(*worker, job));
        all.map(|(worker, price, at)| {
            let machine = &self.workers[&worker];
            let score = machine.record.score_permille();
            let score_permille = NonZeroU32::new(score).unwrap_or(NonZeroU32::MIN);
            SealedBid { owner: machine.owner, worker, price, score_permille, at }
        })
        .collect()
    }

    fn cancel_unsold(&mut self, id: JobId, reason: Arc<str>, effects: &mut Effects) {
        self.cancel_waiting(id, &Ranges::below(1), Some(reason), effects);
        self.close_if_over(id, effects);
    }

    /// Accepts a bid at a price, refuses all others, and starts the job if its machine can begin.
    /// The price is held already.
    pub(crate) fn award(
        &mut self,
        id: JobId,
        (worker, bid): (WorkerId, Bid),
        price: Micros,
        effects: &mut Effects,
    ) {
        let at = self.now;
        let market = self.job_mut(id).market.as_mut().expect("it is on the market");
        let Bid { start_within_s, automatic, .. } = bid;
        let start_by = Some(at.plus_ms(u64::from(start_within_s) * 1000));
        let award = Award { worker, price, start_within_s, automatic, start_by };
        market.stage = Stage::Awarded(award);
        let mut others = std::mem::take(&mut market.bids);
        others.remove(&worker);
        let won = Change::BidOver { job: id, worker, fate: BidFate::Accepted, at };
        effects.changes.push(won);
        for worker in others.into_keys() {
            let fate = BidFate::Refused;
            effects.changes.push(Change::BidOver { job: id, worker, fate, at });
        }
        self.note_award(id, award, effects);
        self.reshape(id);
        let shape = self.shape_of(&self.jobs[&id]);
        if self.takes(worker, &shape) {
            // Not left to the queue: what has just got room there may be for somebody else.
            self.lease(id, &shape, worker, effects);
        }
    }

    /// The task's clock runs on the machine whose bid was accepted.
    pub(crate) fn on_award_started(&mut self, id: JobId, effects: &mut Effects) {
        if let Some(award) = self.jobs.get(&id).and_then(Job::award).copied() {
            self.renew_award(id, Award { start_by: None, ..award }, effects);
        }
    }

    /// The machine whose bid was accepted has given the task back, or was lost: it has its time again.
    pub(crate) fn on_award_returned(&mut self, id: JobId, effects: &mut Effects) {
        if let Some(award) = self.jobs.get(&id).and_then(Job::award).copied() {
            let start_by = self.now.plus_ms(u64::from(award.start_within_s) * 1000);
            self.renew_award(id, Award { start_by: Some(start_by), ..award }, effects);
        }
    }

    fn renew_award(&mut self, id: JobId, award: Award, effects: &mut Effects) {
        let market = self.job_mut(id).market.as_mut().expect("a bid on it was accepted");
        market.stage = Stage::Awarded(award);
        self.note_award(id, award, effects);
    }

    fn note_award(&mut self, id: JobId, award: Award, effects: &mut Effects) {
        let job = &self.jobs[&id];
        self.markets.begin(job);
        let (quote, at) = (job.quote, self.now);
        effects.changes.push(Change::JobAwarded { job: id, award, quote, at });
    }

    /// An accepted bid has failed: what was held for it is free again, and the job takes bids anew.
    pub(crate) fn fail_award(&mut self, id: JobId, why: &str, effects: &mut Effects) {
        let Some(award) = self.jobs.get(&id).and_then(Job::award).copied() else { return };
        if self.drop_awarded(id, why, effects).is_break() {
            return self.close_if_over(id, effects);
        }
        let at = self.now;
        let fate = BidFate::Failed;
        effects.changes.push(Change::BidOver { job: id, worker: award.worker, fate, at });
        let (submitter, sale) = (self.jobs[&id].owner, self.jobs[&id].terms.sale);
        self.tally(award.worker, submitter, |record| record.bids_failed += 1, effects);
        let job = self.job_mut(id);
        let amount = job.held_of_submitter();
        let market = job.market.as_mut().expect("a bid on it was accepted");
        let round = market.round;
        let closes_at = closing(&sale, at).expect("it is on the market");
        market.round += 1;
        market.stage = Stage::Open { closes_at };
        let market = market.clone();
        // What stands for the whole time limit goes on to do so; what was paid is gone from it.
        job.quote = match sale {
            Sale::Hand | Sale::Formula => Micros::ZERO,
            Sale::Rule { .. } => amount,
        };
        let quote = job.quote;
        for task in job.tasks.values_mut() {
            task.paid = Micros::ZERO;
        }
        let key = TransferKey::RefundRound { job: id, round };
        let refund = Refund { key, user: submitter, amount: amount - quote };
        self.ledger.refund(refund, at, &mut effects.changes);
        let reason = why.to_owned();
        effects.changes.push(Change::JobReopened { job: id, market, quote, reason, at });
        self.markets.begin(&self.jobs[&id]);
        self.reshape(id);
        self.bid_by_asks(id, effects);
    }

    /// Takes an awarded job's task from its machine, which has not started it; ends it, if nobody wants it
    /// any more.
    fn drop_awarded(&mut self, id: JobId, why: &str, effects: &mut Effects) -> ControlFlow<()> {
        let job = &self.jobs[&id];
        let overdue = job.is_overdue(self.now).then(Self::overdue);
        let Some((attempt, lease)) = job.leases().next() else { return ControlFlow::Continue(()) };
        self.pay_saved(attempt, &lease, effects);
        self.release(lease.worker, attempt);
        self.send(lease.worker, ToWorker::Drop { attempt }, effects);
        if lease.cancelling || overdue.is_some() {
            let reason = overdue.filter(|_| !lease.cancelling);
            // With what is known of its attempt, which is over by this.
            let ended = Box::new(Ended::empty(attempt, Outcome::Cancelled));
            let result = TaskResult { attempt, ended };
            let end = End::unpaid(Verdict::Cancelled, result).because(reason);
            self.end_task(attempt.task, end, effects);
            return ControlFlow::Break(());
        }
        let task = self.jobs[&id].tasks[&attempt.task.index];
        effects.changes.push(Change::TaskRequeued {
            attempt,
            reason: why.to_owned(),
            tries_left: task.tries_left,
            losses: task.losses,
            paid: task.paid,
            paid_ms: task.paid_ms,
            at: self.now,
        });
        self.requeue(attempt.task);
        ControlFlow::Continue(())
    }

    /// A job is over: bids on it stand no longer.
    pub(crate) fn end_market(&mut self, id: JobId, effects: &mut Effects) {
        let at = self.now;
        let Some(market) = self.job_mut(id).market.as_mut() else { return };
        for worker in std::mem::take(&mut market.bids).into_keys() {
            effects.changes.push(Change::BidOver { job: id, worker, fate: BidFate::Over, at });
        }
        self.markets.end(id);
    }

    /// The factor on the formula for what is submitted now, in thousandths: the policy's; and where it
    /// wants that, up to twice as much while more tasks wait than there are machines
    /// (DistributedMarket's rate).
    pub fn rate_permille(&self) -> u32 {
        let rate = u64::from(self.policy.rate_permille);
        if !self.policy.premium {
            return self.policy.rate_permille;
        }
        let rate = rate * self.premium_permille() / 1000;
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// 1000 while waiting tasks are no more than machines, 2000 from twice as many on, in a straight line
    /// between. Costs O(jobs), but no more than it takes to count so many that wait.
    fn premium_permille(&self) -> u64 {
        let machines = self.links.len() as u64;
        let mut waiting = 0_u64;
        for job in self.jobs.values() {
            if !job.on_hold && job.after.is_empty() && job.open_market().is_none() {
                waiting += u64::from(job.waiting());
            }
            if waiting >= 2 * machines && waiting > 0 {
                return 2000;
            }
        }
        1000 + (waiting.saturating_sub(machines) * 1000).checked_div(machines).unwrap_or(0)
    }
}
