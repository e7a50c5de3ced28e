//! Credits: what clients saw on the way, and what the ledger says in the end.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::rest::{Job, Transfer};

use super::{ClientTruth, Finding, OwnerTruth, Rule};
use crate::history::Known;

pub(super) fn check_client(known: &Known, truth: &ClientTruth, findings: &mut Vec<Finding>) {
    let mut find = |words: String| findings.push(Finding { rule: Rule::Money, words });
    let mut spent_before = 0;
    for &[balance, held, spent] in &known.credits {
        // Holds move credits, they do not make or lose any; whoever only submits can but spend.
        if balance + held + spent != truth.starting_micros {
            let all = truth.starting_micros;
            find(format!("{balance} of balance, {held} held and {spent} spent are not {all}"));
        }
        if spent < spent_before {
            find(format!("{spent} are spent, and {spent_before} were before"));
        }
        spent_before = spent;
    }
    let charged: i64 = truth.jobs.iter().map(|truth| truth.job.charged_micros).sum();
    let credits = &truth.credits;
    if credits.using_credit_micros != charged {
        find(format!("{} are spent, the jobs cost {charged}", credits.using_credit_micros));
    }
    if credits.held_micros != 0 {
        find(format!("{} are held for nothing", credits.held_micros));
    }
    if credits.balance_micros != truth.starting_micros - charged {
        let (balance, start) = (credits.balance_micros, truth.starting_micros);
        find(format!("the balance is {balance}, after {start} less {charged}"));
    }
    for (id, job) in &known.jobs {
        let held = amounts(&truth.transfers, &format!("hold:{id}"));
        if held != [-job.held_micros] {
            find(format!("job {id} was to be held for {}, and is for {held:?}", job.held_micros));
        }
    }
    for truth in truth.jobs.iter().map(|truth| &truth.job) {
        let rest = truth.held_micros - truth.charged_micros;
        if truth.refunded_micros != rest {
            let (id, refunded) = (truth.job, truth.refunded_micros);
            find(format!("job {id} is refunded {refunded}, of {rest} that it did not use"));
        }
    }
}

pub(super) fn check_owner(jobs: &[&Job], owner: &OwnerTruth, findings: &mut Vec<Finding>) {
    let mut find = |words: String| findings.push(Finding { rule: Rule::Money, words });
    let mut by_job: BTreeMap<u64, i64> = BTreeMap::new();
    let mut tasks = BTreeSet::new();
    for transfer in &owner.transfers {
        let Some(rest) = transfer.key.strip_prefix("pay:") else { continue };
        let task = rest.split(':').next().unwrap_or_default();
        if !tasks.insert(task) {
            find(format!("task {task} is paid twice"));
        }
        let job = task.split('.').next().and_then(|job| job.parse().ok()).unwrap_or(0);
        *by_job.entry(job).or_default() += transfer.amount_micros;
    }
    for job in jobs {
        let paid = by_job.remove(&job.job).unwrap_or(0);
        if paid != job.charged_micros {
            find(format!("job {} costs {} and pays {paid}", job.job, job.charged_micros));
        }
    }
    for (job, paid) in by_job {
        find(format!("job {job} pays {paid}, and is nobody's"));
    }
    let charged: i64 = jobs.iter().map(|job| job.charged_micros).sum();
    if owner.credits.sharing_credit_micros != charged {
        let earned = owner.credits.sharing_credit_micros;
        find(format!("{earned} are earned, and {charged} were spent"));
    }
}

fn amounts(transfers: &[Transfer], key: &str) -> Vec<i64> {
    let of_key = transfers.iter().filter(|transfer| transfer.key == key);
    of_key.map(|transfer| transfer.amount_micros).collect()
}
