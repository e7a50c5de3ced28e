//! What the owner's rules do to what runs here: it stands still, goes on, or is handed back.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToManager;
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use campusgrid_sharing::verdict::Verdict;

use super::Agent;
use super::effect::{AgentEffect, AgentEffects, StopOrder};
use super::held::Held;

impl Agent {
    /// Does what the rules come to now, and only then tells the manager.
    pub(super) fn on_verdict(&mut self, now_ms: u64, verdict: Verdict, effects: &mut AgentEffects) {
        // A worker that leaves has said its last word about it.
        if verdict == self.verdict || self.leaving.is_some() {
            return;
        }
        let before = std::mem::replace(&mut self.verdict, verdict).shares;
        let now = self.verdict.shares.phase;
        if before.limits != self.verdict.shares.limits {
            self.limits_since_ms = now_ms;
        }
        match (before.phase, now) {
            (Phase::Open | Phase::Closed, Phase::Frozen) => effects.push(AgentEffect::Freeze),
            (Phase::Frozen, Phase::Open) => effects.push(AgentEffect::Thaw),
            (Phase::Frozen, Phase::Closed) => {
                self.hand_all_back(self.verdict.checkpoint_s, effects);
                effects.push(AgentEffect::Thaw);
            }
            (Phase::Open, Phase::Closed) => {
                self.hand_all_back(self.verdict.checkpoint_s, effects);
            }
            (Phase::Open, Phase::Open)
            | (Phase::Frozen, Phase::Frozen)
            | (Phase::Closed, Phase::Open | Phase::Closed) => {}
        }
        if before != self.verdict.shares {
            self.tell_shares(effects);
        }
    }

    /// A connection that has not joined yet tells it by joining.
    fn tell_shares(&self, effects: &mut AgentEffects) {
        if self.session.is_joined() {
            effects.send(ToManager::Shares(Box::new(self.verdict.shares.clone())));
        }
    }

    /// Closes the machine for good, before what runs is handed back: nothing is to be placed here
    /// in its stead.
    pub(super) fn close_for_good(&mut self, effects: &mut AgentEffects) {
        let shares = &mut self.verdict.shares;
        let before = std::mem::replace(&mut shares.phase, Phase::Closed);
        "its worker is being shut down".clone_into(&mut shares.why);
        self.tell_shares(effects);
        if before == Phase::Frozen {
            effects.push(AgentEffect::Thaw);
        }
    }

    /// Whether what waits may start.
    pub(super) fn is_open(&self) -> bool {
        self.verdict.shares.phase == Phase::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.verdict.shares.phase == Phase::Closed
    }

    pub(super) fn hand_all_back(&mut self, grace_s: u32, effects: &mut AgentEffects) {
        for attempt in self.held.keys().copied().collect::<Vec<_>>() {
            self.hand_back(attempt, grace_s, effects);
        }
    }

    /// Ends an attempt for its owner's sake, with what it can go on from.
    pub(super) fn hand_back(
        &mut self,
        attempt: AttemptId,
        grace_s: u32,
        effects: &mut AgentEffects,
    ) {
        match self.held.get_mut(&attempt) {
            Some(Held::Waiting { .. }) => {
                self.spool_empty(attempt, Outcome::Returned(WorkerFault::Leaving), effects);
            }
            Some(held @ Held::Running { .. }) => {
                held.begin_stopping();
                let order = StopOrder::HandBack { grace_s };
                effects.push(AgentEffect::Stop { attempt, order });
            }
            Some(
                Held::Stopping { .. }
                | Held::Forgotten { .. }
                | Held::Spooling
                | Held::Spooled { .. },
            )
            | None => {}
        }
    }
}
