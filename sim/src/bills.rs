//! What every run must have cost, worked out naively from what machines and people did, without the core's
//! prices, deals or holds.

use campusgrid_core::ask::Deal;
use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::UserId;
use campusgrid_protocol::resource::Needs;
use campusgrid_protocol::task::{Ended, Failure, Outcome};
use campusgrid_protocol::terms::Sale;

use crate::record::Record;
use crate::recorded::{RecordedAttempt, RecordedEnd, RecordedJob, RecordedTask};

/// What an attempt costs, and who gets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bill {
    /// The owner's pay and the fee.
    pub(crate) charge: i128,
    pub(crate) fee: i128,
    pub(crate) payee: UserId,
    /// Paid by the grid, which wanted the result checked, and not by the submitter.
    pub(crate) by_grid: bool,
}

/// How far the bills of a task have come.
struct Walk<'a> {
    record: &'a Record,
    policy: &'a Policy,
    job: &'a RecordedJob,
    /// The most that the present run may cost.
    quote: i128,
    /// Of that, what is paid.
    paid: i128,
    /// How far the task had come that was paid for.
    paid_ms: u64,
    /// Results that wait for others, with what they would cost.
    votes: Vec<(&'a RecordedAttempt, &'a Ended, i128)>,
    bills: Vec<Bill>,
}

/// Of all attempts of a task that are paid for.
pub(crate) fn bills(
    record: &Record,
    policy: &Policy,
    job: &RecordedJob,
    task: &RecordedTask,
) -> Result<Vec<Bill>, String> {
    let quote = job.quoted(micros(quote(policy, job))).0.into();
    let (votes, bills) = (Vec::new(), Vec::new());
    let mut walk = Walk { record, policy, job, quote, paid: 0, paid_ms: 0, votes, bills };
    for attempt in &task.attempts {
        walk.deal_is_right(attempt)?;
        walk.follow(attempt);
    }
    if let Some(RecordedEnd::Ended { end, at }) = task.ends.first() {
        let result = end.attempt.as_ref().zip(task.attempts.last());
        walk.end(result.map(|(result, attempt)| (attempt, &*result.ended)), *at);
    }
    Ok(walk.bills)
}

impl<'a> Walk<'a> {
    /// An attempt that was followed by another, or is to be.
    fn follow(&mut self, attempt: &'a RecordedAttempt) {
        if attempt.anew {
            self.paid_ms = 0;
        }
        if attempt.requeued.is_some() {
            self.come_back(attempt);
        } else if let Some(pause) = &attempt.paused {
            let charge = self.charge(attempt, &pause.ended, pause.at);
            self.bill(attempt, charge, false);
            (self.paid, self.paid_ms) = (0, 0);
        } else if let Some(check) = &attempt.checked {
            let charge = self.charge(attempt, &check.ended, check.at);
            self.votes.push((attempt, &check.ended, charge));
            self.paid_ms = 0;
        }
        if attempt.failed_award {
            self.quote -= self.paid;
            self.paid = 0;
        }
    }

    /// Pays for what an attempt has saved that came back.
    fn come_back(&mut self, attempt: &RecordedAttempt) {
        let saved_ms = attempt.saved_ms.map_or(0, |saved_ms| saved_ms.min(limit_ms(self.job)));
        if saved_ms > self.paid_ms {
            let [before, after] = [self.paid_ms, saved_ms].map(|ms| self.saved(&attempt.deal, ms));
            let mut charge = (after - before).min(self.left(attempt));
            if self.is_sample() {
                charge = 0; // Whoever checks it is paid for a result that is confirmed.
            }
            self.paid += self.bill(attempt, charge, false);
            self.paid_ms = saved_ms;
        }
    }

    /// The task has ended, with this attempt or without one.
    fn end(&mut self, last: Option<(&'a RecordedAttempt, &'a Ended)>, at: Timestamp) {
        if let Some((attempt, Ended { outcome: Outcome::Returned(_), .. })) = last {
            self.come_back(attempt);
        }
        let result = last.filter(|(_, ended)| !matches!(ended.outcome, Outcome::Returned(_)));
        let result =
            result.map(|(attempt, ended)| (attempt, ended, self.charge(attempt, ended, at)));
        let by_grid = self.is_sample();
        let wrong = result.and_then(|(attempt, ended, _)| self.wrong(attempt, ended));
        let is_confirmed = wrong.is_some()
            || result.is_some_and(|(attempt, ended, _)| {
                matches!(self.votes.as_slice(), [one] if self.agree(one.1, attempt, ended))
            });
        let votes = std::mem::take(&mut self.votes).into_iter().enumerate();
        let (wrong, right): (Vec<_>, Vec<_>) = votes.partition(|(place, _)| Some(*place) == wrong);
        let right = right.into_iter().map(|(_, vote)| vote);
        for (place, (attempt, _, charge)) in right.chain(result).enumerate() {
            if !by_grid || place == 0 || is_confirmed {
                self.bill(attempt, charge, by_grid && place > 0);
            }
        }
        for (_, (attempt, _, charge)) in wrong.into_iter().filter(|_| !by_grid) {
            self.bill(attempt, charge, false);
            if let Some(bill) = self.bills.last_mut().filter(|_| charge > 0) {
                bill.fee = bill.charge;
            }
        }
    }

    /// There are results that the grid wants others for, and the submitter does not.
    fn is_sample(&self) -> bool {
        !self.votes.is_empty() && !self.job.wanted.terms.verify
    }

    /// Whether the last result of a task, of this attempt, says what an earlier one did.
    fn agree(&self, other: &Ended, attempt: &RecordedAttempt, ended: &Ended) -> bool {
        !attempt.cancelling && other.outcome == ended.outcome && other.stdout == ended.stdout
    }

    /// Which of two earlier results the last one contradicts, while it confirms the other.
    fn wrong(&self, attempt: &RecordedAttempt, ended: &Ended) -> Option<usize> {
        let [one, two] = self.votes.as_slice() else { return None };
        let agree = |other| self.agree(other, attempt, ended);
        match (agree(one.1), agree(two.1)) {
            (true, _) => Some(1),
            (false, true) => Some(0),
            (false, false) => None,
        }
    }

    /// Bills an attempt and yields what that takes from what is held.
    fn bill(&mut self, attempt: &RecordedAttempt, charge: i128, by_grid: bool) -> i128 {
        let Some(payee) = self.record.owner_of(attempt.worker) else { return 0 };
        if payee == self.job.owner || charge == 0 {
            return 0;
        }
        let permille = if by_grid { 0 } else { i128::from(self.policy.fee_permille) };
        let fee = charge * permille / 1000;
        self.bills.push(Bill { charge, fee, payee, by_grid });
        charge
    }

    /// What the end of an attempt costs.
    fn charge(&self, attempt: &RecordedAttempt, ended: &Ended, at: Timestamp) -> i128 {
        let is_unused = match ended.outcome {
            Outcome::Failed(
                Failure::Requirements { .. } | Failure::Image { .. } | Failure::Inputs { .. },
            )
            | Outcome::Returned(_) => true,
            Outcome::Cancelled => !attempt.started,
            Outcome::Succeeded | Outcome::Failed(_) => false,
        };
        if is_unused {
            return 0;
        }
        let run_ms = ended.usage.run_ms.min(at.since_ms(attempt.leased_at));
        let to_ms = match self.policy.billing {
            Billing::Quoted => limit_ms(self.job),
            Billing::Actual => (self.paid_ms + run_ms).min(limit_ms(self.job)),
        };
        let before = self.saved(&attempt.deal, self.paid_ms);
        (self.whole(&attempt.deal, to_ms) - before).clamp(0, self.left(attempt))
    }

    /// What is left for an attempt of what is held for a run.
    fn left(&self, attempt: &RecordedAttempt) -> i128 {
        let price = i128::from(attempt.deal.price.0);
        let most = match self.job.wanted.terms.sale {
            Sale::Formula => self.quote,
            Sale::Hand => price,
            Sale::Rule { .. } => price.min(self.quote),
        };
        let paid = if self.votes.is_empty() { self.paid } else { 0 };
        (most - paid).max(0)
    }

    /// What checkpoints up to here are worth: the price by time alone.
    fn saved(&self, deal: &Deal, run_ms: u64) -> i128 {
        let (part, whole) = (i128::from(run_ms), i128::from(limit_ms(self.job)));
        (i128::from(deal.price.0) * part + whole - 1) / whole
    }

    /// A run of so long, by a deal; by an ask that nobody has accepted never more than by the formula.
    fn whole(&self, deal: &Deal, run_ms: u64) -> i128 {
        let by_deal = self.whole_by(deal, run_ms);
        if self.job.wanted.terms.sale != Sale::Formula {
            return by_deal;
        }
        by_deal.min(self.whole_by(&Deal { price: micros(self.quote), prices: None }, run_ms))
    }

    fn whole_by(&self, deal: &Deal, run_ms: u64) -> i128 {
        let (needs, limit_ms) = (&self.job.spec.needs, limit_ms(self.job));
        let prices = deal.prices.as_ref().unwrap_or(&self.policy.prices);
        let price = i128::from(deal.price.0);
        let [part, whole] = [run_ms, limit_ms].map(|ms| fraction(prices, needs, ms));
        if whole == 0 {
            return self.saved(deal, run_ms);
        }
        let rate = i128::from(self.job.rate_permille);
        if price == rounded_up(rate * whole) {
            return rounded_up(rate * part).min(price);
        }
        ((price * part + whole - 1) / whole).min(price)
    }

    /// An attempt is charged by what its machine's owner asked for when it began.
    fn deal_is_right(&self, attempt: &RecordedAttempt) -> Result<(), String> {
        if self.job.wanted.terms.sale != Sale::Formula {
            return Ok(());
        }
        let whole = |prices: &Prices| {
            let fraction = fraction(prices, &self.job.spec.needs, limit_ms(self.job));
            rounded_up(i128::from(self.job.rate_permille) * fraction)
        };
        let asked = attempt.ask.prices.as_ref().map_or(self.quote, whole).min(self.quote);
        let Deal { price, prices } = attempt.deal;
        if i128::from(price.0) == asked && prices == attempt.ask.prices {
            return Ok(());
        }
        Err(format!("goes by {:?} where {:?} was asked for", attempt.deal, attempt.ask))
    }
}

/// What one run may cost by the formula.
pub(crate) fn quote(policy: &Policy, job: &RecordedJob) -> i128 {
    let whole = fraction(&policy.prices, &job.spec.needs, limit_ms(job));
    rounded_up(i128::from(job.rate_permille) * whole)
}

fn limit_ms(job: &RecordedJob) -> u64 {
    job.spec.limit_ms()
}

fn micros(amount: i128) -> Micros {
    Micros(i64::try_from(amount).unwrap_or(i64::MAX))
}

const MILLI: i128 = 1000;
const MIB_IN_GIB: i128 = 1024;
const MS_IN_MINUTE: i128 = 60_000;
/// Of everything that a price is made of.
const DENOMINATOR: i128 = MILLI * MIB_IN_GIB * MS_IN_MINUTE;

/// At a rate of a thousand thousandths.
fn rounded_up(numerator: i128) -> i128 {
    let denominator = DENOMINATOR * 1000;
    (numerator + denominator - 1) / denominator
}

/// A price in micro-credits, as the numerator of a fraction.
fn fraction(prices: &Prices, needs: &Needs, run_ms: u64) -> i128 {
    let of = |amount: i64| i128::from(amount);
    let (run_ms, cpu) = (i128::from(run_ms), i128::from(needs.cpu_millis));
    let (ram, gpus) = (i128::from(needs.ram_mib), i128::from(needs.gpus));
    let once = of(prices.base.0) * DENOMINATOR
        + of(prices.core.0) * cpu * MIB_IN_GIB * MS_IN_MINUTE
        + of(prices.ram_gib.0) * ram * MILLI * MS_IN_MINUTE
        + of(prices.gpu.0) * gpus * DENOMINATOR;
    let by_time = of(prices.minute.0) * MILLI * MIB_IN_GIB
        + of(prices.core_minute.0) * cpu * MIB_IN_GIB
        + of(prices.ram_gib_minute.0) * ram * MILLI
        + of(prices.gpu_minute.0) * gpus * MILLI * MIB_IN_GIB;
    (once + by_time * run_ms).max(of(prices.minimum.0) * DENOMINATOR)
}
