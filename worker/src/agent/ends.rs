//! What becomes of an end: spooled, uploaded, sent, and all of it before the worker leaves.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToManager;
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};

use super::effect::{AgentEffect, AgentEffects};
use super::held::{Delivery, Held, needs_upload};
use super::{Agent, Leaving};

/// How long a worker that leaves waits for its last results to be confirmed.
const LEAVE_LIMIT_MS: u64 = 10_000;

/// Pause before blobs are offered again after an upload failed.
const UPLOAD_RETRY_MS: u64 = 5_000;

impl Agent {
    pub(super) fn on_finished(&mut self, ended: Ended, effects: &mut AgentEffects) {
        let attempt = ended.attempt;
        match self.held.get(&attempt) {
            Some(Held::Forgotten { .. }) => {
                self.held.remove(&attempt);
                effects.push(AgentEffect::Unspool { attempt });
            }
            Some(
                Held::Waiting { .. }
                | Held::Running { .. }
                | Held::Stopping { .. }
                | Held::Spooling
                | Held::Spooled { .. },
            )
            | None => {
                self.held.insert(attempt, Held::spooled(ended));
            }
        }
    }

    pub(super) fn on_uploaded(&mut self, attempt: AttemptId, effects: &mut AgentEffects) {
        if let Some(Held::Spooled { ended, delivery }) = self.held.get_mut(&attempt)
            && *delivery == Delivery::Uploading
        {
            *delivery = Delivery::Sent;
            effects.send(ToManager::Ended(ended.clone()));
        }
    }

    pub(super) fn on_upload_failed(&mut self, now_ms: u64, attempt: AttemptId) {
        if let Some(Held::Spooled { delivery, .. }) = self.held.get_mut(&attempt)
            && *delivery == Delivery::Uploading
        {
            *delivery = Delivery::RetryAt { ms: now_ms.saturating_add(UPLOAD_RETRY_MS) };
        }
    }

    pub(super) fn on_leave(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving::Until { ms: now_ms.saturating_add(LEAVE_LIMIT_MS) });
        for attempt in self.held.keys().copied().collect::<Vec<_>>() {
            self.stop(attempt, Outcome::Returned(WorkerFault::Leaving), effects);
        }
    }

    /// Sends the ends that this session has not sent yet, their blobs first.
    pub(super) fn deliver(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if !self.session.is_welcomed() {
            return;
        }
        for (&attempt, held) in &mut self.held {
            let Held::Spooled { ended, delivery } = held else { continue };
            let due = match delivery {
                Delivery::Due => true,
                Delivery::RetryAt { ms } => *ms <= now_ms,
                Delivery::Uploading | Delivery::Sent => false,
            };
            if due && needs_upload(ended) {
                *delivery = Delivery::Uploading;
                effects.push(AgentEffect::Upload { attempt });
            } else if due {
                *delivery = Delivery::Sent;
                effects.send(ToManager::Ended(ended.clone()));
            }
        }
    }

    /// The worker may go when nothing runs and the manager has all, or cannot be told.
    pub(super) fn finish_leaving(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        let Some(Leaving::Until { ms }) = self.leaving else { return };
        let on_disk = self.held.values().all(|held| matches!(held, Held::Spooled { .. }));
        let told = self.held.is_empty() || !self.session.is_welcomed();
        if now_ms >= ms || (on_disk && told) {
            if self.session.is_welcomed() {
                effects.send(ToManager::Leaving);
            }
            effects.push(AgentEffect::Left);
            self.leaving = Some(Leaving::Left);
        }
    }

    pub(super) fn spool_empty(
        &mut self,
        attempt: AttemptId,
        outcome: Outcome,
        effects: &mut AgentEffects,
    ) {
        self.held.insert(attempt, Held::Spooling);
        effects.push(AgentEffect::Spool(Box::new(Ended::empty(attempt, outcome))));
    }
}
