//! What becomes of an end: spooled, uploaded, sent, and all of it before the worker leaves.

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::message::ToManager;
use campusgrid_protocol::rules::CHECKPOINT_GRACE_S;
use campusgrid_protocol::task::{Ended, Outcome};

use super::blobs::{blobs_of, leave_behind};
use super::effect::{AgentEffect, AgentEffects};
use super::held::{Delivery, Held};
use super::{Agent, Leaving};

/// How long a worker that leaves waits for its last results to be confirmed, beyond what its tasks
/// are given to end.
const LEAVE_LIMIT_MS: u64 = 10_000;

/// Ends whose blobs are on their way at once, each on a connection of its own.
const UPLOADS_MAX: usize = 8;

/// Ends that were sent and not confirmed yet. A worker that returns with more sends the rest as these
/// are confirmed, so that they find room in the queue to the socket.
const UNCONFIRMED_MAX: usize = 256;

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

    pub(super) fn on_uploaded(
        &mut self,
        now_ms: u64,
        attempt: AttemptId,
        effects: &mut AgentEffects,
    ) {
        if let Some(Held::Spooled { ended, delivery, pause }) = self.held.get_mut(&attempt)
            && *delivery == Delivery::Uploading
        {
            *delivery = Delivery::Sent { again_ms: now_ms.saturating_add(pause.next_ms()) };
            effects.send(ToManager::Ended(ended.clone()));
        }
    }

    pub(super) fn on_upload_failed(&mut self, now_ms: u64, attempt: AttemptId) {
        if let Some(Held::Spooled { delivery, pause, .. }) = self.held.get_mut(&attempt)
            && *delivery == Delivery::Uploading
        {
            *delivery = Delivery::RetryAt { ms: now_ms.saturating_add(pause.next_ms()) };
        }
    }

    /// The copy on disk stays as it is: after a restart the manager is asked, and refuses, anew.
    pub(super) fn on_upload_refused(
        &mut self,
        attempt: AttemptId,
        blob: Option<BlobHash>,
        reason: &str,
    ) {
        if let Some(Held::Spooled { ended, delivery, .. }) = self.held.get_mut(&attempt)
            && *delivery == Delivery::Uploading
        {
            leave_behind(ended, blob, reason);
            *delivery = Delivery::Due;
        }
    }

    pub(super) fn on_leave(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if self.leaving.is_some() {
            return;
        }
        // Whoever shuts the machine down does not wait as long as some owner's rules would.
        let grace_s = self.verdict.checkpoint_s.min(CHECKPOINT_GRACE_S);
        let limit_ms = u64::from(grace_s) * 1000 + LEAVE_LIMIT_MS;
        self.leaving = Some(Leaving::Until { ms: now_ms.saturating_add(limit_ms) });
        self.close_for_good(effects);
        self.hand_all_back(grace_s, effects);
    }

    /// Sends the ends that this session has not sent yet or not confirmed for long, their blobs first.
    pub(super) fn deliver(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if !self.session.is_welcomed() {
            return;
        }
        let (mut uploads, mut unconfirmed) = self.under_way();
        for (&attempt, held) in &mut self.held {
            let Held::Spooled { ended, delivery, pause } = held else { continue };
            let is_again = match delivery {
                Delivery::Due => false,
                Delivery::RetryAt { ms } if *ms <= now_ms => false,
                Delivery::Sent { again_ms } if *again_ms <= now_ms => true,
                Delivery::RetryAt { .. } | Delivery::Sent { .. } | Delivery::Uploading => continue,
            };
            let blobs = if is_again { Vec::new() } else { blobs_of(ended) };
            if !blobs.is_empty() && uploads < UPLOADS_MAX {
                uploads += 1;
                *delivery = Delivery::Uploading;
                let checkpoint = ended.checkpoint.map(|saved| saved.manifest);
                effects.push(AgentEffect::Upload { attempt, blobs, checkpoint });
            } else if blobs.is_empty() && (is_again || unconfirmed < UNCONFIRMED_MAX) {
                unconfirmed += usize::from(!is_again);
                *delivery = Delivery::Sent { again_ms: now_ms.saturating_add(pause.next_ms()) };
                effects.send(ToManager::Ended(ended.clone()));
            } else {
                // Its time is not what it waits for any more.
                *delivery = Delivery::Due;
            }
        }
    }

    /// How many ends have their blobs on the way, and how many were sent and not confirmed.
    fn under_way(&self) -> (usize, usize) {
        let is_in = |wanted: fn(&Delivery) -> bool| {
            let spooled = |held: &&Held| match held {
                Held::Spooled { delivery, .. } => wanted(delivery),
                Held::Waiting { .. }
                | Held::Running { .. }
                | Held::Stopping { .. }
                | Held::Forgotten { .. }
                | Held::Spooling => false,
            };
            self.held.values().filter(spooled).count()
        };
        (
            is_in(|delivery| *delivery == Delivery::Uploading),
            is_in(|delivery| matches!(delivery, Delivery::Sent { .. })),
        )
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
