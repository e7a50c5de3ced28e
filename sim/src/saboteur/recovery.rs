//! What a manager may forget when it starts anew.

use campusgrid_core::durable::Durable;
use campusgrid_core::gpus::GpuSet;
use campusgrid_core::job::TaskState;
use campusgrid_core::losses::Losses;
use campusgrid_core::policy::Policy;
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
            for (&index, task) in &mut job.tasks {
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
