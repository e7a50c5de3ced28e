//! Jobs that are sold by bids from the moment in which one is accepted: who gets them, and what comes of
//! it.

use std::ops::ControlFlow;

use campusgrid_protocol::id::{JobId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::{Ended, Outcome};
use campusgrid_protocol::terms::Sale;

use crate::effect::{Change, Effects, TaskResult, Verdict};
use crate::grid::Grid;
use crate::job::Job;
use crate::ledger::{Refund, TransferKey};
use crate::market::{Award, Bid, BidFate, Stage};
use crate::money::Micros;
use crate::settle::End;

/// A machine that has given an awarded task back so often that it would have less time than this to start
/// it again has failed. Seconds.
const RESTART_MIN_S: u32 = 30;

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

    /// Accepts a bid of a machine that can begin at a price, refuses all others, and starts the job.
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
        let mut others = self.clear_bids(id);
        others.remove(&worker);
        let won = Change::BidOver { job: id, worker, fate: BidFate::Accepted, at };
        effects.changes.push(won);
        for worker in others {
            let fate = BidFate::Refused;
            effects.changes.push(Change::BidOver { job: id, worker, fate, at });
        }
        self.note_award(id, award, effects);
        self.reshape(id);
        let shape = self.lineups[&id].shape().clone();
        assert!(
            self.takes(worker, &shape),
            "whoever accepts a bid has looked whether it can begin"
        );
        // Not left to the queue: what has just got room there may be for somebody else.
        self.lease(id, &shape, worker, effects);
    }

    /// The task's clock runs on the machine whose bid was accepted.
    pub(crate) fn on_award_started(&mut self, id: JobId, effects: &mut Effects) {
        if let Some(award) = self.jobs.get(&id).and_then(Job::award).copied() {
            self.renew_award(id, Award { start_by: None, ..award }, effects);
        }
    }

    /// The machine whose bid was accepted has given the task back, or was lost: it has half of its time
    /// again, so that nobody keeps a job for ever by starting it now and then.
    pub(crate) fn on_award_returned(&mut self, id: JobId, effects: &mut Effects) {
        if let Some(award) = self.jobs.get(&id).and_then(Job::award).copied() {
            let start_within_s = award.start_within_s / 2;
            let within_s = if start_within_s < RESTART_MIN_S { 0 } else { start_within_s };
            let start_by = Some(self.now.plus_ms(u64::from(within_s) * 1000));
            self.renew_award(id, Award { start_within_s, start_by, ..award }, effects);
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
        market.round += 1;
        market.stage = Stage::opened(&sale, at).expect("it is on the market");
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
        self.markets.note_failure(id, award.worker);
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
            run_ms: 0, // Its clock has not run.
            at: self.now,
        });
        self.requeue(attempt.task);
        ControlFlow::Continue(())
    }

    /// A job is over: bids on it stand no longer.
    pub(crate) fn end_market(&mut self, id: JobId, effects: &mut Effects) {
        let at = self.now;
        if self.jobs[&id].market.is_none() {
            return;
        }
        for worker in self.clear_bids(id) {
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
    /// between.
    fn premium_permille(&self) -> u64 {
        let machines = self.links.len() as u64;
        if self.waiting > 0 && self.waiting >= 2 * machines {
            return 2000;
        }
        1000 + (self.waiting.saturating_sub(machines) * 1000).checked_div(machines).unwrap_or(0)
    }
}
