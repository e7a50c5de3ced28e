//! What owners do at their machines: they come, stay or leave again, and stop a task by hand.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::rules::{Phase, Shares};
use campusgrid_sharing::verdict::Verdict;
use campusgrid_worker::agent::effect::AgentInput;

use crate::event::Inside;
use crate::machine::Machine;
use crate::saboteur::Bug;
use crate::world::Stage;

/// How long a task that is handed back may write.
const CHECKPOINT_S: u32 = 10;

/// Something that an owner does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Visit {
    /// From now on it is so shared.
    Shares(Phase),
    /// Stops one of the tasks that run.
    StopsOne,
}

impl Machine {
    pub(crate) fn visited(&mut self, visit: Visit, stage: &mut Stage<'_>) {
        match visit {
            Visit::Shares(phase) => {
                stage.oracles.count(match phase {
                    Phase::Open => "owner left",
                    Phase::Frozen => "owner came",
                    Phase::Closed => "owner stayed",
                });
                self.phase = phase;
                let judged = self.inside(Inside::Judged);
                stage.agenda.within(0..1, judged);
            }
            Visit::StopsOne => {
                let life = self.life.as_ref().filter(|_| !self.is_asleep());
                let running = life.and_then(|life| life.runs.keys().next().copied());
                if let Some(attempt) = running {
                    stage.oracles.count("task stopped by its owner");
                    self.feed(AgentInput::StopHere { attempt }, stage);
                }
            }
        }
    }

    /// What rules and senses come to.
    pub(super) fn verdict(&self) -> Verdict {
        let why = match self.phase {
            Phase::Open => "",
            Phase::Frozen | Phase::Closed => "in use",
        };
        let shares = Shares {
            phase: self.phase,
            why: why.to_owned(),
            since_ms: 0,
            limits: self.limits.clone(),
        };
        Verdict { shares, checkpoint_s: CHECKPOINT_S }
    }

    pub(super) fn judge(&mut self, stage: &mut Stage<'_>) {
        let verdict = Box::new(self.verdict());
        if let Some(life) = &mut self.life {
            life.phase = verdict.shares.phase;
        }
        self.feed(AgentInput::Verdict(verdict), stage);
    }

    /// All that runs here stands still.
    pub(super) fn freeze(&mut self, stage: &mut Stage<'_>) {
        if stage.saboteur.has(Bug::LosesFreezes) {
            return;
        }
        let now_ms = stage.agenda.now_ms();
        for run in self.life.iter_mut().flat_map(|life| life.runs.values_mut()) {
            run.freeze(now_ms);
        }
    }

    /// All that stood still goes on.
    pub(super) fn thaw(&mut self, stage: &mut Stage<'_>) {
        let now_ms = stage.agenda.now_ms();
        let runs = self.life.iter_mut().flat_map(|life| &mut life.runs);
        let thawed = runs.filter_map(|(&attempt, run)| run.thaw(now_ms).then_some(attempt));
        for attempt in Vec::from_iter(thawed) {
            let goes_on = self.life.as_ref().and_then(|life| life.runs.get(&attempt));
            let what = match goes_on.and_then(|run| run.exits_at_ms()) {
                Some(_) => Inside::Exits { attempt },
                None => Inside::Prepared { attempt },
            };
            let goes_on = self.inside(what);
            stage.agenda.at(now_ms, goes_on);
        }
    }

    /// A task that goes on here though its owner is back and the worker knows.
    pub(crate) fn moves_though_frozen(&self) -> Option<AttemptId> {
        let life = self.life.as_ref().filter(|life| life.phase != Phase::Open)?;
        let mut runs = life.runs.iter().filter(|_| life.sleep.is_none());
        runs.find(|(_, run)| run.moves()).map(|(&attempt, _)| attempt)
    }
}
