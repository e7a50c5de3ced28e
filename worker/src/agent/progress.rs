//! What the manager is told of attempts that run, and again when it may have lost it.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToManager;

use super::Agent;
use super::effect::{AgentEffects, Progress};
use super::held::{Held, Phase, Resolved};

impl Agent {
    pub(super) fn on_progress(
        &mut self,
        now_ms: u64,
        attempt: AttemptId,
        progress: Progress,
        effects: &mut AgentEffects,
    ) {
        let Some(Held::Running { phase, resolved, saved, .. }) = self.held.get_mut(&attempt) else {
            return;
        };
        let message = match progress {
            Progress::Preparing { step } => {
                *phase = Phase::Preparing { step: step.clone() };
                ToManager::Preparing { attempt, step }
            }
            Progress::Resolved { lock } => {
                // Told at the end of this input, and again until it is answered.
                *resolved = Some(Resolved::new(lock, now_ms));
                return;
            }
            Progress::Started => {
                *phase = Phase::Started;
                ToManager::Started { attempt }
            }
            Progress::Printed { stream, offset_bytes, bytes } => {
                ToManager::LogPiece { attempt, stream, offset_bytes, bytes }
            }
            Progress::Saved(newest) => {
                *saved = Some(newest);
                ToManager::Checkpoint { attempt, saved: newest }
            }
        };
        if self.session.is_welcomed() {
            effects.send(message);
        }
    }

    /// Tells again what packages came to where the manager has not answered: in a new session, which
    /// knows nothing of what the last one may have lost, and after a while in this one, since a
    /// manager whose disk is full answers later or not at all.
    pub(super) fn ask_again_for_locks(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if !self.session.is_welcomed() {
            return;
        }
        for (&attempt, held) in &mut self.held {
            if let Held::Running { resolved: Some(resolved), .. } = held
                && resolved.is_due(now_ms)
            {
                effects.send(ToManager::Locked { attempt, lock: resolved.lock.clone() });
            }
        }
    }

    /// A new session knows nothing of what the last one may have lost.
    pub(super) fn repeat_progress(&self, effects: &mut AgentEffects) {
        for (&attempt, held) in &self.held {
            let Held::Running { phase, saved, .. } = held else { continue };
            match phase {
                Phase::New => {}
                Phase::Preparing { step } => {
                    effects.send(ToManager::Preparing { attempt, step: step.clone() });
                }
                Phase::Started => effects.send(ToManager::Started { attempt }),
            }
            if let Some(saved) = *saved {
                effects.send(ToManager::Checkpoint { attempt, saved });
            }
        }
    }
}
