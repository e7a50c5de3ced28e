//! Judges bids, what owners want, and what is saved and paid for.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_core::effect::{Change, TaskCheck};
use campusgrid_core::market::{Award, Bid, BidFate};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{AttemptId, JobId, WorkerId};
use campusgrid_protocol::rules::{Limits, Rules, Whose};
use campusgrid_protocol::task::{BlobRef, Saved};
use campusgrid_protocol::terms::Sale;

use super::{Oracle, Oracles};

/// What people and machines have said, beside what is on the manager's disk.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// What each attempt has saved.
    saved: BTreeMap<AttemptId, Vec<BlobRef>>,
    paid: BTreeSet<AttemptId>,
    /// Bids that submitters asked to accept, with their prices.
    accepts: BTreeMap<JobId, Vec<(WorkerId, Micros)>>,
    /// Rules that owners know to hold. None while they ask for others.
    rules: BTreeMap<WorkerId, Option<Rules>>,
}

impl Oracles {
    /// A task writes what it could go on from.
    pub(crate) fn saves(&mut self, attempt: AttemptId, saved: Saved) {
        self.claims.saved.entry(attempt).or_default().push(saved.manifest);
    }

    pub(super) fn checkpoint_is_true(&mut self, attempt: AttemptId, saved: Saved, at: Timestamp) {
        self.count("checkpoint saved");
        let known = self.claims.saved.get(&attempt);
        if !known.is_some_and(|known| known.contains(&saved.manifest)) {
            let words = format!("{attempt} has not saved {saved:?}, of {known:?}");
            return self.find(Oracle::CheckpointIsTrue, words);
        }
        let Some(task) = self.record.task(attempt.task) else { return };
        let Some((now, before)) = task.attempts.split_last() else { return };
        let base_ms = before.iter().filter_map(|attempt| attempt.saved_ms).max().unwrap_or(0);
        let most_ms = now.started_at.map_or(0, |started_at| at.since_ms(started_at));
        if saved.run_ms > base_ms + most_ms {
            let words = format!("{attempt} cannot have run for {} ms", saved.run_ms);
            self.find(Oracle::CheckpointIsTrue, words);
        }
    }

    pub(super) fn one_pay_each(&mut self, attempt: AttemptId) {
        self.count("attempt paid");
        if !self.claims.paid.insert(attempt) {
            return self.find(Oracle::OnePayEach, format!("{attempt} is paid for twice"));
        }
        let Some(known) = self.record.attempt(attempt) else { return };
        // What is paid is told before what it is paid for.
        let told = self.truths.get(&attempt).is_some_and(|told| !told.is_empty());
        if !told && known.saved_ms.is_none() {
            let words = format!("{attempt} is paid for, and has given nothing");
            self.find(Oracle::OnePayEach, words);
        }
    }

    /// A result waits for another machine's.
    pub(super) fn vote_is_true(&mut self, check: &TaskCheck) {
        self.count("result checked");
        let told = self.truths.get(&check.attempt);
        if !told.is_some_and(|told| told.contains(&check.ended)) {
            let words = format!("{check:?} is not what its machine reported: {told:?}");
            return self.find(Oracle::ResultIsTrue, words);
        }
        let worker = self.record.attempt(check.attempt).map(|attempt| attempt.worker);
        let owner = worker.and_then(|worker| self.record.owner_of(worker));
        let Some(job) = self.record.jobs.get(&check.attempt.task.job) else { return };
        let task = self.record.task(check.attempt.task);
        let votes = task.iter().flat_map(|task| &task.attempts);
        let votes = votes.filter(|attempt| attempt.checked.is_some());
        let same = votes.filter(|attempt| self.record.owner_of(attempt.worker) == owner).count();
        if same > 1 || owner == Some(job.owner) {
            let words = format!("{} is checked by its submitter or its machine", check.attempt);
            self.find(Oracle::BidsHold, words);
        }
    }

    pub(super) fn bid_holds(&mut self, job: JobId, worker: WorkerId, bid: Bid) {
        self.count(if bid.automatic { "bid by ask" } else { "bid placed" });
        let Some(known) = self.record.jobs.get(&job) else { return };
        let owner = self.record.owner_of(worker);
        if owner.is_none() || owner == Some(known.owner) || known.award.is_some() {
            self.find(Oracle::BidsHold, format!("worker {worker} bids on job {job}: {bid:?}"));
        }
    }

    pub(super) fn bid_over(&mut self, job: JobId, fate: BidFate) {
        self.count(match fate {
            BidFate::Accepted => "bid accepted",
            BidFate::Refused => "bid refused",
            BidFate::Withdrawn => "bid withdrawn",
            BidFate::Failed => "bid failed",
            BidFate::Over => "bid over",
        });
        if self.record.jobs.get(&job).is_some_and(|job| job.winners > 1) {
            self.find(Oracle::OneWinner, format!("job {job} has two winners"));
        }
    }

    /// A person asks that a bid is accepted.
    pub(crate) fn accept_asked(&mut self, job: JobId, bid: (WorkerId, Micros)) {
        self.claims.accepts.entry(job).or_default().push(bid);
    }

    pub(super) fn one_winner(&mut self, job: JobId, award: Award) {
        let Some(known) = self.record.jobs.get(&job) else { return };
        let words = match known.wanted.terms.sale {
            Sale::Formula => "is not for sale".to_owned(),
            Sale::Hand => {
                let asked = self.claims.accepts.get(&job);
                if asked.is_some_and(|asked| asked.contains(&(award.worker, award.price))) {
                    return;
                }
                format!("goes to {award:?}, and its submitter asked for {asked:?}")
            }
            Sale::Rule { max_price_micros, .. } => {
                if award.price.0 <= max_price_micros {
                    return;
                }
                format!("goes to {award:?}, for more than {max_price_micros}")
            }
        };
        self.find(Oracle::OneWinner, format!("job {job} {words}"));
    }

    /// An owner asks for other rules.
    pub(crate) fn rules_asked(&mut self, worker: WorkerId) {
        self.claims.rules.insert(worker, None);
    }

    /// An owner has read that these rules hold.
    pub(crate) fn rules_told(&mut self, key_hash: &KeyHash, rules: &Rules) {
        let Some(worker) = self.record.worker_of(key_hash) else { return };
        if let Some(known) = self.claims.rules.get_mut(&worker) {
            *known = Some(rules.clone());
        }
    }

    /// A task goes to a machine.
    pub(super) fn is_allowed(&mut self, attempt: AttemptId, worker: WorkerId) {
        let Some(job) = self.record.jobs.get(&attempt.task.job) else { return };
        if let Some(award) = job.award.filter(|award| award.worker != worker) {
            let words = format!("{attempt} goes to worker {worker}, not by {award:?}");
            return self.find(Oracle::OneWinner, words);
        }
        if job.wanted.terms.sale != Sale::Formula && job.award.is_none() {
            let words = format!("{attempt} goes to worker {worker} without a bid");
            return self.find(Oracle::OneWinner, words);
        }
        let Some(Some(Rules { limits, .. })) = self.claims.rules.get(&worker) else { return };
        let Limits { whose, kinds, longest_s, at_once, .. } = limits;
        let is_own = self.record.owner_of(worker) == Some(job.owner);
        let on_it = |job: &crate::recorded::RecordedJob| {
            let tasks = job.tasks.iter().filter(|task| task.is_running());
            tasks
                .filter(|task| task.attempts.last().is_some_and(|last| last.worker == worker))
                .count()
        };
        let running: usize = self.record.jobs.values().map(on_it).sum();
        let kind = job.spec.kind();
        let words = if *whose == Whose::Mine && !is_own {
            "whose owner wants their own jobs only"
        } else if !kinds.is_empty() && !kinds.contains(&kind) {
            "whose owner does not want such jobs"
        } else if longest_s.is_some_and(|most| job.spec.time_limit_s > most) {
            "whose owner wants shorter jobs only"
        } else if at_once.is_some_and(|most| running > most as usize && running > 1) {
            "where as many run as may"
        } else {
            return self.count("rules respected");
        };
        self.find(Oracle::RulesHold, format!("{attempt} goes to worker {worker}, {words}"));
    }

    /// A batch is on disk, before and after which these machines had said that they are not shared.
    pub(crate) fn rests(&mut self, changes: &[Change], resting: &BTreeSet<WorkerId>) {
        for change in changes {
            if let Change::TaskLeased { attempt, worker, .. } = change
                && resting.contains(worker)
            {
                let words = format!("{attempt} goes to worker {worker}, which is not shared");
                self.find(Oracle::ClosedRests, words);
            }
        }
    }

    pub(crate) fn moves_though_frozen(&mut self, machine: usize, attempt: AttemptId) {
        let words = format!("{attempt} goes on on laptop {machine}, whose owner is back");
        self.find(Oracle::FrozenStands, words);
    }
}
