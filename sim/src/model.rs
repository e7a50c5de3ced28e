//! The reckoning: what every task must have cost and every account must hold, worked out naively
//! from the outcomes, without the core's prices, holds or ledger.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_core::effect::{TaskPause, Verdict};
use campusgrid_core::ledger::{AccountId, Ledger, TransferKey};
use campusgrid_core::policy::Policy;
use campusgrid_protocol::id::{TaskId, UserId, WorkerId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::task::{Failure, Outcome, WorkerFault};
use campusgrid_protocol::terms::Sale;

use crate::bills::{self, Bill, bills};
use crate::record::Record;
use crate::recorded::{RecordedAttempt, RecordedEnd, RecordedJob, RecordedTask};

/// What one person's account must say, in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    balance: i128,
    earned: i128,
    spent: i128,
}

/// What moved for a task, as the transfers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moved {
    payments: u32,
    paid: i128,
    refunded: i128,
    /// For a job as a whole, under its first task.
    held: i128,
}

pub(crate) fn every_task_ended_once(record: &Record) -> Result<(), String> {
    for (id, job) in &record.jobs {
        if !job.ended {
            return Err(format!("job {id} has not ended"));
        }
        for (index, task) in job.tasks.iter().enumerate() {
            if task.ends.len() != 1 {
                return Err(format!("task {id}.{index} ended {} times", task.ends.len()));
            }
        }
    }
    Ok(())
}

pub(crate) fn money_is_right(
    record: &Record,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<(), String> {
    let start = Sums { balance: policy.starting_credits.0.into(), ..Sums::default() };
    let mut people: BTreeMap<UserId, Sums> = record.users.keys().map(|&id| (id, start)).collect();
    let mut fees = 0;
    let moved = moved(record);
    for (&id, job) in &record.jobs {
        let quote = bills::quote(policy, job);
        let is_sold = job.wanted.terms.sale != Sale::Formula;
        for (index, task) in (0..).zip(&job.tasks) {
            let id = TaskId { job: id, index };
            let said = |words| format!("task {id}: {words}");
            tries_are_kept(task, policy).map_err(said)?;
            retries_are_kept(job, task).map_err(said)?;
            let bills = bills(record, policy, job, task).map_err(said)?;
            let found = moved.get(&id).copied().unwrap_or_default();
            // What is held for a job on the market is what its bids came to.
            let held =
                if is_sold { found.held } else { quote * i128::from(job.wanted.terms.runs()) };
            let of = |by_grid: bool| bills.iter().filter(move |bill| bill.by_grid == by_grid);
            let charged: i128 = of(false).map(|bill| bill.charge).sum();
            let by_grid: i128 = of(true).map(|bill| bill.charge).sum();
            let payments = bills.iter().filter(|bill| bill.charge - bill.fee > 0).count();
            let expected = Moved {
                payments: u32::try_from(payments).expect("runs are few"),
                paid: charged + by_grid,
                refunded: held - charged,
                held: found.held,
            };
            if charged > held || found != expected {
                return Err(format!("task {id} of quote {quote}: {found:?}, not {expected:?}"));
            }
            let submitter = people.entry(job.owner).or_default();
            submitter.balance -= charged;
            submitter.spent += charged;
            fees -= by_grid;
            for Bill { charge, fee, payee, .. } in bills {
                fees += fee;
                let owner = people.entry(payee).or_default();
                owner.balance += charge - fee;
                owner.earned += charge - fee;
            }
        }
    }
    accounts_are(ledger, &people, fees)
}

fn accounts_are(
    ledger: &Ledger,
    people: &BTreeMap<UserId, Sums>,
    fees: i128,
) -> Result<(), String> {
    for (&user, expected) in people {
        let account = ledger.account(AccountId::User(user));
        let found = Sums {
            balance: account.balance.0.into(),
            earned: account.earned.0.into(),
            spent: account.spent.0.into(),
        };
        if found != *expected {
            return Err(format!("user {user} has {found:?}, not {expected:?}"));
        }
    }
    let balance = |id| i128::from(ledger.account(id).balance.0);
    if (balance(AccountId::Escrow), balance(AccountId::Fee)) != (0, fees) {
        return Err(format!(
            "escrow has {}, not 0; fees {}, not {fees}",
            balance(AccountId::Escrow),
            balance(AccountId::Fee)
        ));
    }
    Ok(())
}

/// The transfers by task. The refund of tasks that never started is shared out among them.
fn moved(record: &Record) -> BTreeMap<TaskId, Moved> {
    let mut moved: BTreeMap<TaskId, Moved> = BTreeMap::new();
    for transfer in &record.transfers {
        let amount = i128::from(transfer.amount.0);
        match transfer.key {
            TransferKey::Grant(_) | TransferKey::HoldAudit(_) | TransferKey::RefundAudit(_) => {}
            TransferKey::Hold(job) | TransferKey::HoldRound { job, .. } => {
                moved.entry(TaskId { job, index: 0 }).or_default().held += amount;
            }
            TransferKey::RefundRound { job, .. } => {
                moved.entry(TaskId { job, index: 0 }).or_default().refunded += amount;
            }
            TransferKey::Pay(attempt) => {
                let task = moved.entry(attempt.task).or_default();
                task.payments += 1;
                task.paid += amount;
            }
            TransferKey::Fee(attempt) => moved.entry(attempt.task).or_default().paid += amount,
            TransferKey::Refund(task) => moved.entry(task).or_default().refunded += amount,
            TransferKey::RefundRun(attempt) => {
                moved.entry(attempt.task).or_default().refunded += amount;
            }
            TransferKey::RefundUntouched { job, first, .. } => {
                let known = record.jobs.get(&job).and_then(|job| job.cancelled.get(&first));
                for index in known.into_iter().flat_map(Ranges::numbers) {
                    let task = moved.entry(TaskId { job, index }).or_default();
                    task.refunded += amount / known.map_or(1, |known| i128::from(known.len()));
                }
            }
        }
    }
    moved
}

/// A task that fails by its own doing is run as often as its submitter asked, unless it would fail
/// again anyhow, was cancelled, or would be too late.
fn retries_are_kept(job: &RecordedJob, task: &RecordedTask) -> Result<(), String> {
    let terms = &job.wanted.terms;
    if task.attempts.iter().any(|attempt| attempt.checked.is_some()) || terms.verify {
        return Ok(()); // Other machines run it again.
    }
    let pauses: Vec<&TaskPause> =
        task.attempts.iter().filter_map(|attempt| attempt.paused.as_deref()).collect();
    if pauses.len() > usize::from(terms.retries) {
        return Err(format!("runs {} times, of {} retries", pauses.len() + 1, terms.retries));
    }
    for (doubled, pause) in pauses.iter().enumerate() {
        let pause_ms = (u64::from(terms.backoff_s) << doubled) * 1000;
        if pause.until.since_ms(pause.at) != pause_ms || !may_pass(&pause.ended.outcome) {
            return Err(format!("pauses after {:?} until {:?}", pause.ended.outcome, pause.until));
        }
    }
    let Some(RecordedEnd::Ended { end, at }) = task.ends.first() else { return Ok(()) };
    let Some(result) = &end.attempt else { return Ok(()) };
    let is_unwanted = task.attempts.last().is_some_and(|attempt| attempt.cancelling);
    let next = at.plus_ms((u64::from(terms.backoff_s) << pauses.len()) * 1000);
    let is_late = terms.deadline_at_ms.is_some_and(|deadline| deadline <= next.0);
    let fails = may_pass(&result.ended.outcome);
    if fails && pauses.len() < usize::from(terms.retries) && !is_unwanted && !is_late {
        return Err(format!("is given up after {} of {} retries", pauses.len(), terms.retries));
    }
    Ok(())
}

fn may_pass(outcome: &Outcome) -> bool {
    let Outcome::Failed(failure) = outcome else { return false };
    !matches!(
        failure,
        Failure::CompileError { .. }
            | Failure::Requirements { .. }
            | Failure::Image { .. }
            | Failure::Inputs { .. }
    )
}

/// The grid gives a run up after as many costly returns as it has tries, or after the third machine
/// that was lost while it ran the task, and not before.
fn tries_are_kept(task: &RecordedTask, policy: &Policy) -> Result<(), String> {
    if task.attempts.iter().any(|attempt| attempt.checked.is_some()) {
        return Ok(()); // Its first result counts in the end.
    }
    // No world is long enough for an engine or a GPU to fail as often as it may for nothing.
    let message = String::new;
    let free = [
        WorkerFault::Engine { message: message() }.to_string(),
        WorkerFault::Gpu { message: message() }.to_string(),
        WorkerFault::Leaving.to_string(),
        "its start never reached the worker".to_owned(),
        "the worker was lost before it said a word of it".to_owned(),
        "lost over an outage of the manager".to_owned(),
        "the machine has not started it in time".to_owned(),
        "the machine was removed".to_owned(),
    ];
    let costly = |reason: &&str| !free.iter().any(|free| reason.starts_with(free));
    let returns_of = |run: &[RecordedAttempt]| {
        run.iter().filter_map(|attempt| attempt.requeued.as_deref()).filter(costly).count()
    };
    let runs = task.attempts.split_inclusive(|attempt| attempt.paused.is_some());
    let last_is_over = task.attempts.last().is_some_and(|attempt| attempt.paused.is_some());
    let mut returns: Vec<usize> = runs.map(returns_of).collect();
    let returns_before = returns.iter().copied().max().unwrap_or(0);
    let returns = if last_is_over { 0 } else { returns.pop().unwrap_or(0) };
    let tries = usize::try_from(policy.tries).expect("a usize holds every u32");
    let given_up = task.ends.first().and_then(given_up);
    let lost = lost(task, given_up);
    let is_poison = lost.len() == 3;
    let fits = match given_up {
        None => returns_before < tries && lost.len() < 3,
        Some(_) => returns_before < tries && (is_poison || returns + 1 == tries),
    };
    if fits {
        return Ok(());
    }
    Err(format!("{returns} returns of {tries} tries, lost on {lost:?}, given up: {given_up:?}"))
}

/// The machines that were lost while they ran the task.
fn lost(task: &RecordedTask, given_up: Option<&WorkerFault>) -> BTreeSet<WorkerId> {
    let losses = [WorkerFault::LeaseOver, WorkerFault::Restarted].map(|fault| fault.to_string());
    let given_up = given_up.map(ToString::to_string);
    let is_lost = |attempt: &&RecordedAttempt| {
        let reason = attempt.requeued.as_ref().or(given_up.as_ref());
        attempt.started && reason.is_some_and(|reason| losses.contains(reason))
    };
    task.attempts.iter().filter(is_lost).map(|attempt| attempt.worker).collect()
}

/// What the grid gave a task up for.
fn given_up(end: &RecordedEnd) -> Option<&WorkerFault> {
    let RecordedEnd::Ended { end, .. } = end else { return None };
    let result = end.attempt.as_ref()?;
    if let (Outcome::Returned(fault), Verdict::Failed { .. }) =
        (&result.ended.outcome, &end.verdict)
    {
        Some(fault)
    } else {
        None
    }
}
