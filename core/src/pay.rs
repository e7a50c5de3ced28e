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
use crate::pricing::{self, Prices, Tariff, charge, quote, spread};
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
    /// It has done a part, or what it did was counted before, or was next to free.
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
            // Once it has been given back, what was agreed stays, and its owner may ask for something
            // else by now.
            let is_first = job.tasks.values().all(|task| task.attempts == 0);
            let prices = ask.prices.filter(|_| award.automatic && is_first);
            return Deal { price: award.price, prices };
        }
        let price = match &ask.prices {
            None => job.quote,
            Some(prices) => job.price_by(prices).min(job.quote),
        };
        Deal { price, prices: ask.prices }
    }

    /// What the end of an attempt costs, beyond what was paid for before. The worker's clock is believed
    /// only as far as the manager's own and the time limit allow.
    pub(crate) fn charge_run(&self, lease: &Lease, ended: &Ended) -> Micros {
        let id = ended.attempt.task;
        let job = &self.jobs[&id.job];
        let (deal, limit_ms) = (&lease.deal, job.limit_ms());
        let [from_ms, to_ms] = self.stretch(lease, ended);
        let tariff = self.tariff(job);
        let by_deal = charge(deal, &tariff, to_ms);
        let whole = match job.award() {
            Some(_) => by_deal,
            // Nobody has accepted this machine's ask: it never makes a run dearer than the formula.
            None => {
                let formula = Deal { price: job.quote, prices: None };
                by_deal.min(charge(&formula, &tariff, to_ms))
            }
        };
        let before = spread(deal.price, limit_ms, from_ms);
        (whole - before).max(Micros::ZERO).min(self.unpaid(id))
    }

    /// The part of a task's own running time that an attempt which has ended is charged for.
    fn stretch(&self, lease: &Lease, ended: &Ended) -> [u64; 2] {
        let id = ended.attempt.task;
        let job = &self.jobs[&id.job];
        let from_ms = job.tasks[&id.index].paid_ms;
        let to_ms = match self.policy.billing {
            Billing::Quoted => job.limit_ms(),
            Billing::Actual => from_ms.saturating_add(self.run_ms(lease, ended)),
        };
        [from_ms, to_ms]
    }

    fn tariff(&self, job: &Job) -> Tariff {
        Tariff {
            formula: self.policy.prices,
            needs: job.spec.needs,
            limit_ms: job.limit_ms(),
            rate_permille: job.rate_permille,
        }
    }

    /// Whether an attempt that was sold by a bid costs less than a tenth of what the formula says. Two
    /// people could sell each other as many as they like, and have a machine of theirs look reliable.
    fn is_next_to_free(&self, lease: &Lease, ended: &Ended, charge: Micros) -> bool {
        let job = &self.jobs[&ended.attempt.task.job];
        if job.award().is_none() {
            return false;
        }
        let price = job.price_by(&self.policy.prices);
        let [from_ms, to_ms] = self.stretch(lease, ended);
        let whole = pricing::charge(&Deal { price, prices: None }, &self.tariff(job), to_ms);
        let usual = whole - spread(price, job.limit_ms(), from_ms);
        i128::from(charge.0) * 10 < i128::from(usual.0)
    }

    /// What the stretch of a task's own running time from `from_ms` to `to_ms` costs that a checkpoint
    /// covers.
    fn charge_saved(&self, id: TaskId, deal: &Deal, [from_ms, to_ms]: [u64; 2]) -> Micros {
        let limit_ms = self.jobs[&id.job].limit_ms();
        let [from, to] = [from_ms, to_ms].map(|ms| spread(deal.price, limit_ms, ms));
        (to - from).min(self.unpaid(id))
    }

    /// The most that an attempt may still cost, of what is held for one run.
    fn unpaid(&self, id: TaskId) -> Micros {
        let job = &self.jobs[&id.job];
        let task = &job.tasks[&id.index];
        let most = job.award().map_or(job.quote, |award| award.price.min(job.quote));
        // What was paid is of the run that gave the first result.
        let paid = if task.votes.is_empty() { task.paid } else { Micros::ZERO };
        (most - paid).max(Micros::ZERO)
    }

    /// How long an attempt has run, as far as that can be believed.
    pub(crate) fn run_ms(&self, lease: &Lease, ended: &Ended) -> u64 {
        ended.usage.run_ms.min(self.now.since_ms(lease.leased_at))
    }

    /// Who is to be paid so much for an attempt that has ended.
    pub(crate) fn payee(&self, lease: &Lease, ended: &Ended, charge: Micros) -> Payee {
        let (attempt, worker) = (ended.attempt, lease.worker);
        let limit_ms = self.jobs[&attempt.task.job].limit_ms();
        let (owner, run_ms) = (self.workers[&worker].owner, self.run_ms(lease, ended));
        let is_next_to_free = self.is_next_to_free(lease, ended, charge);
        let deed = if is_next_to_free { Deed::Part } else { Deed::Delivered };
        let run_ms = run_ms.min(limit_ms);
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
        self.note_fees(submitter, fee);
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
        // Who checks a sample is paid once it is confirmed, or could take what the first has earned.
        let charge = if task.audit > Micros::ZERO {
            Micros::ZERO
        } else {
            self.charge_saved(attempt.task, &lease.deal, [from_ms, to_ms])
        };
        let payee = Payee {
            attempt,
            worker: lease.worker,
            owner: self.workers[&lease.worker].owner,
            charge,
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
        self.spec.limit_ms()
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
