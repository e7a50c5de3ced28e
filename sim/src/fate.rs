//! What becomes of tasks: how long they run, how they end, and what they leave.

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Failure, Outcome, Program, TaskSpec, WorkerFault};

use crate::agenda::Agenda;

/// What a task runs that comes to the same on any machine.
pub(crate) const SAME: &str = "same";

/// What a task runs that takes its machine down.
pub(crate) const POISON: &str = "poison";

/// What a task does on a machine if it is left alone.
pub(crate) struct Fate {
    pub(crate) outcome: Outcome,
    /// None if it comes back before it begins.
    pub(crate) run_ms: Option<u64>,
    /// It takes its machine down before it ends.
    pub(crate) is_poison: bool,
    pub(crate) leaves_output: bool,
    /// It writes what it could go on from.
    pub(crate) writes: bool,
    /// Whatever machine it runs on.
    pub(crate) prints: Option<String>,
}

impl Fate {
    /// Of a task that has come as far as `base_ms` elsewhere, on a machine that lies or does not.
    pub(crate) fn draw(
        (spec, base_ms): (&TaskSpec, u64),
        (attempt, lies): (AttemptId, bool),
        agenda: &mut Agenda,
    ) -> Self {
        let limit_ms = (u64::from(spec.time_limit_s) * 1000).saturating_sub(base_ms).max(200);
        let program = spec.work.program();
        let runs = |text: &str| *program == Program::Source(text.to_owned());
        if agenda.chance(90) {
            return Self::before_it_begins(agenda, runs(SAME));
        }
        if runs(SAME) {
            return Self::same_everywhere(limit_ms, attempt, lies, agenda);
        }
        let fate = Self {
            outcome: Outcome::Succeeded,
            run_ms: Some(agenda.dice.u64(100..limit_ms * 5 / 4)),
            is_poison: runs(POISON),
            leaves_output: agenda.chance(150),
            writes: spec.checkpoint_s > 0,
            prints: None,
        };
        if fate.run_ms >= Some(limit_ms) {
            let failure = Failure::TimeLimit { limit_s: spec.time_limit_s };
            return Self { outcome: Outcome::Failed(failure), run_ms: Some(limit_ms), ..fate };
        }
        let outcome = match agenda.dice.u32(0..100) {
            0..70 => Outcome::Succeeded,
            70..85 => Outcome::Failed(Failure::ExitCode(1)),
            85..94 => Outcome::Failed(Failure::OutOfMemory { limit_mib: spec.needs.ram_mib }),
            94..97 => {
                let message = "a limit could not be set".to_owned();
                Outcome::Returned(WorkerFault::Sandbox { message })
            }
            _ if spec.needs.gpus > 0 => {
                let message = "its owner uses it".to_owned();
                Outcome::Returned(WorkerFault::Gpu { message })
            }
            _ => {
                let message = "it went away".to_owned();
                Outcome::Returned(WorkerFault::Engine { message })
            }
        };
        Self { outcome, ..fate }
    }

    /// What a deterministic task comes to, unless its machine makes something up.
    fn same_everywhere(limit_ms: u64, attempt: AttemptId, lies: bool, agenda: &mut Agenda) -> Self {
        let lies = lies && agenda.dice.bool();
        let fails = attempt.task.job.0.is_multiple_of(7);
        let prints = if lies { format!("{attempt} made up") } else { attempt.task.to_string() };
        Self {
            outcome: if fails { Outcome::Failed(Failure::ExitCode(7)) } else { Outcome::Succeeded },
            run_ms: Some(agenda.dice.u64(100..limit_ms)),
            is_poison: false,
            leaves_output: false,
            writes: false,
            prints: Some(prints),
        }
    }

    /// It comes back, or fails, since something is missing.
    fn before_it_begins(agenda: &mut Agenda, is_same: bool) -> Self {
        let outcome = if !is_same && agenda.chance(333) {
            let message = "there is no such package".to_owned();
            Outcome::Failed(Failure::Requirements { message })
        } else {
            let message = "the package index is out of reach".to_owned();
            Outcome::Returned(WorkerFault::Environment { message })
        };
        Self::at_once(outcome)
    }

    fn at_once(outcome: Outcome) -> Self {
        Self {
            outcome,
            run_ms: None,
            is_poison: false,
            leaves_output: false,
            writes: false,
            prints: None,
        }
    }

    /// Comes back at once, and says why in one way or another.
    pub(crate) fn of_a_broken_machine(agenda: &mut Agenda) -> Self {
        let message = "it lacks something".to_owned();
        Self::at_once(Outcome::Returned(match agenda.dice.u32(0..3) {
            0 => WorkerFault::Sandbox { message },
            1 => WorkerFault::Environment { message },
            _ => WorkerFault::Disk { message },
        }))
    }
}
