//! What a manager may forget when it starts anew.

use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::durable::Durable;
use campusgrid_core::gpus::GpuSet;
use campusgrid_core::job::TaskState;
use campusgrid_core::losses::Losses;
use campusgrid_core::market::Stage;
use campusgrid_core::money::Micros;
use campusgrid_core::policy::Policy;
use campusgrid_core::record::Record;
use campusgrid_core::votes::Votes;
use campusgrid_protocol::id::JobId;

use super::{Bug, Saboteur};

impl Saboteur {
    /// Between the store and the core, at recovery.
    pub(crate) fn loaded(&self, mut durable: Durable, policy: &Policy) -> Durable {
        if self.has(Bug::RecoveryForgetsSubmitKeys) {
            durable.submit_keys.clear();
        }
        for worker in durable.workers.values_mut() {
            if self.has(Bug::RecoveryForgetsSetAside) {
                worker.set_aside = None;
            }
            if self.has(Bug::RecoveryForgetsRules) {
                worker.rules = Arc::default();
            }
            if self.has(Bug::RecoveryForgetsAsks) {
                worker.ask = Ask::default();
            }
            if self.has(Bug::RecoveryForgetsRecords) {
                worker.record = Record::default();
            }
        }
        for voucher in durable.vouchers.values_mut() {
            voucher.uses_left += u32::from(self.has(Bug::RecoveryForgetsUses));
        }
        if self.has(Bug::RecoveryForgetsDrafts) {
            durable.drafts.clear();
        }
        if self.has(Bug::RecoveryForgetsNumbers) {
            let drafts = durable.drafts.last_key_value().map_or(JobId(0), |(&id, _)| id);
            let jobs = durable.jobs.last_key_value().map_or(JobId(0), |(&id, _)| id);
            durable.last_job = drafts.max(jobs);
        }
        for job in durable.jobs.values_mut() {
            job.on_hold &= !self.has(Bug::RecoveryForgetsHolds);
            if self.has(Bug::RecoveryForgetsChains) {
                job.after.clear();
            }
            if let Some(market) = &mut job.market {
                if self.has(Bug::RecoveryForgetsBids) {
                    market.bids.clear();
                }
                if self.has(Bug::RecoveryForgetsAwards) {
                    market.stage = Stage::Open { closes_at: None };
                }
            }
            for (&index, task) in &mut job.tasks {
                if self.has(Bug::RecoveryForgetsCheckpoints) {
                    task.checkpoint = None;
                }
                if self.has(Bug::RecoveryForgetsPaid) {
                    (task.paid, task.paid_ms) = (Micros::ZERO, 0);
                }
                if self.has(Bug::RecoveryForgetsVotes) {
                    task.votes = Votes::None;
                }

                if self.has(Bug::RecoveryForgetsLosses) {
                    task.losses = Losses::None;
                }
                if self.has(Bug::RecoveryForgetsTries) {
                    task.tries_left = policy.tries;
                }
                if self.has(Bug::RecoveryForgetsLeases) {
                    task.state = TaskState::Queued;
                    job.requeued.insert(index);
                }
                task.runs_left += u8::from(self.has(Bug::RecoveryForgetsRuns));
                if let TaskState::Pausing { .. } = task.state
                    && self.has(Bug::RecoveryForgetsPauses)
                {
                    task.state = TaskState::Queued;
                    job.requeued.insert(index);
                }
                if let TaskState::Leased(lease) = &mut task.state {
                    lease.cancelling &= !self.has(Bug::RecoveryForgetsCancels);
                    if self.has(Bug::RecoveryForgetsDeals) {
                        lease.deal.prices = None;
                    }
                    if self.has(Bug::RecoveryForgetsGpus) {
                        lease.gpus = GpuSet::NONE;
                    }
                }
            }
            if self.has(Bug::RecoveryForgetsLocks) {
                job.lock = None;
            }
        }
        durable
    }
}
