//! What owners are paid for attempts: by the deal that each was leased by, out of what is held.

use campusgrid_protocol::id::{AttemptId, TaskId, UserId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::task::Ended;

use crate::ask::Deal;
use crate::effect::{Change, Effects};
use crate::grid::Grid;
use crate::job::{Job, Lease};
use crate::ledger::{Payment, Purse};
use crate::money::Micros;
use crate::policy::Billing;
use crate::pricing::{Prices, Tariff, charge, quote};
use crate::record::Record;
use crate::votes::Vote;

/// An attempt that is paid for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payee {
    pub(crate) attempt: AttemptId,
    pub(crate) worker: WorkerId,
    pub(crate) owner: UserId,
    /// The owner's pay and the fee.
    pub(crate) charge: Micros,
    pub(crate) run_ms: u64,
    pub(crate) deed: Deed,
}

/// What a payment says about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It has brought an attempt to an end.
    Delivered,
    /// It has done a part, or what it did was counted before.
    Part,
}

impl Payee {
    /// Who has given an earlier result of a task.
    pub(crate) fn of(task: TaskId, vote: Vote) -> Self {
        let Vote { attempt: number, worker, owner, digest: _, charge, run_ms } = vote;
        let attempt = AttemptId { task, number };
        Self { attempt, worker, owner, charge, run_ms, deed: Deed::Part }
    }
}

impl Grid {
    /// What a run on this machine is charged by: what was agreed on, if its bid was accepted; what its
    /// owner asks for, if that is not the formula.
    pub(crate) fn deal(&self, job: &Job, worker: WorkerId) -> Deal {
        let ask = self.workers[&worker].ask;
        if let Some(award) = job.award() {
            let prices = ask.prices.filter(|_| award.automatic);
            return Deal { price: award.price, prices };
        }
        let price = match &ask.prices {
            None => job.quote,
            Some(prices) => job.price_by(prices).min(job.quote),
        };
        Deal { price, prices: ask.prices }
    }

    /// What the stretch of a task's own running time from `from_ms` to `to_ms` costs in this attempt; at
    /// most what is left of what is held for one run.
    pub(crate) fn charge(
        &self,
        attempt: AttemptId,
        lease: &Lease,
        from_ms: u64,
        to_ms: u64,
    ) -> Micros {
        let job = &self.jobs[&attempt.task.job];
        let task = &job.tasks[&attempt.task.index];
        let Job { spec, rate_permille, .. } = job;
        let tariff = Tariff {
            formula: self.policy.prices,
            needs: spec.needs,
            limit_ms: job.limit_ms(),
            rate_permille: *rate_permille,
        };
        let most = job.award().map_or(job.quote, |award| award.price.min(job.quote));
        // What was paid is of the run that gave the first result.
        let paid = if task.votes.is_empty() { task.paid } else { Micros::ZERO };
        charge(&lease.deal, &tariff, from_ms, to_ms).min((most - paid).max(Micros::ZERO))
    }

    /// What the end of an attempt costs, beyond what was paid for before. The worker's clock is believed
    /// only as far as the manager's own and the time limit allow.
    pub(crate) fn charge_run(&self, lease: &Lease, ended: &Ended) -> Micros {
        let task = ended.attempt.task;
        let job = &self.jobs[&task.job];
        let from_ms = job.tasks[&task.index].paid_ms;
        let to_ms = match self.policy.billing {
            Billing::Quoted => job.limit_ms(),
            Billing::Actual => from_ms.saturating_add(self.run_ms(lease, ended)),
        };
        self.charge(ended.attempt, lease, from_ms, to_ms)
    }

    /// How long an attempt has run, as far as that can be believed.
    fn run_ms(&self, lease: &Lease, ended: &Ended) -> u64 {
        ended.usage.run_ms.min(self.now.since_ms(lease.leased_at))
    }

    /// Who is to be paid so much for an attempt that has ended.
    pub(crate) fn payee(&self, lease: &Lease, ended: &Ended, charge: Micros) -> Payee {
        let (attempt, worker) = (ended.attempt, lease.worker);
        let limit_ms = self.jobs[&attempt.task.job].limit_ms();
        let (owner, run_ms) = (self.workers[&worker].owner, self.run_ms(lease, ended));
        let (run_ms, deed) = (run_ms.min(limit_ms), Deed::Delivered);
        Payee { attempt, worker, owner, charge, run_ms, deed }
    }

    /// Pays the machine's owner and yields what leaves the purse: nothing between the two hands of one
    /// person.
    pub(crate) fn pay_owner(
        &mut self,
        payee: Payee,
        (submitter, purse): (UserId, Purse),
        effects: &mut Effects,
    ) -> Micros {
        let Payee { attempt, worker, owner, charge, run_ms, deed } = payee;
        if owner == submitter {
            return Micros::ZERO;
        }
        let fee = match purse {
            Purse::Submitter(_) => permille(charge, self.policy.fee_permille),
            Purse::Fees => Micros::ZERO,
        };
        let pay = charge - fee;
        self.ledger.pay(
            Payment { attempt, purse, owner, pay, fee },
            self.now,
            &mut effects.changes,
        );
        if charge > Micros::ZERO {
            let charged = match purse {
                Purse::Submitter(_) => charge,
                Purse::Fees => Micros::ZERO,
            };
            let (earned, at) = (pay, self.now);
            let paid = Change::AttemptPaid { attempt, worker, charged, earned, run_ms, at };
            effects.changes.push(paid);
        }
        if charge > Micros::ZERO || deed == Deed::Delivered {
            let count = |record: &mut Record| {
                record.earned_micros = record.earned_micros.saturating_add(pay.0);
                record.delivered += u32::from(deed == Deed::Delivered);
            };
            self.tally(worker, submitter, count, effects);
            if pay > Micros::ZERO
                && let Some(machine) = self.workers.get(&worker)
            {
                let micros = machine.record.earned_micros;
                self.send(worker, ToWorker::Earned { micros }, effects);
            }
        }
        charge
    }

    /// An attempt is back before its end: its owner is paid for as much of it as a checkpoint covers
    /// that it has saved, and nobody is paid for that again.
    pub(crate) fn pay_saved(&mut self, attempt: AttemptId, lease: &Lease, effects: &mut Effects) {
        let TaskId { job: id, index } = attempt.task;
        let job = &self.jobs[&id];
        let task = &job.tasks[&index];
        let (submitter, limit_ms) = (job.owner, job.limit_ms());
        let Some(to_ms) = task.checkpoint.map(|saved| saved.run_ms.min(limit_ms)) else { return };
        let from_ms = task.paid_ms;
        if to_ms <= from_ms {
            return; // It goes on from where it began.
        }
        let payee = Payee {
            attempt,
            worker: lease.worker,
            owner: self.workers[&lease.worker].owner,
            charge: self.charge(attempt, lease, from_ms, to_ms),
            run_ms: to_ms - from_ms,
            deed: Deed::Part,
        };
        let paid = self.pay_owner(payee, (submitter, Purse::Submitter(submitter)), effects);
        let job = self.jobs.get_mut(&id).expect("it has just been there");
        let task = job.tasks.get_mut(&index).expect("it has just been there");
        task.paid += paid;
        task.paid_ms = to_ms;
    }
}

impl Job {
    /// The longest that one run may take, milliseconds.
    pub(crate) fn limit_ms(&self) -> u64 {
        u64::from(self.spec.time_limit_s) * 1000
    }

    /// What the whole time limit costs by these prices.
    pub(crate) fn price_by(&self, prices: &Prices) -> Micros {
        quote(prices, &self.spec.needs, self.limit_ms(), self.rate_permille)
    }
}

/// So many thousandths of an amount, rounded down.
fn permille(amount: Micros, share: u32) -> Micros {
    let part = i128::from(amount.0) * i128::from(share) / 1000;
    Micros(i64::try_from(part).expect("a share of an i64 is one"))
}
