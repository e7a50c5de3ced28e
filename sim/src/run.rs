//! The processes of one attempt on a laptop: they take made-up time, die when told to, and leave an
//! end in the spool.

use std::collections::BTreeSet;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::resource::{Capacity, Needs};
use campusgrid_protocol::task::{
    BlobRef, Content, Ended, Failure, Log, Outcome, Output, Packages, Program, TaskSpec, Usage,
    Work, WorkerFault,
};
use campusgrid_worker::agent::effect::{AgentInput, Order, Progress, StopOrder};

use crate::agenda::Agenda;
use crate::event::Inside;
use crate::machine::{Death, Machine};
use crate::oracle::Believer;
use crate::saboteur::Bug;
use crate::world::Stage;

/// What a task runs that takes its machine down.
pub(crate) const POISON: &str = "poison";

pub(super) struct Run {
    needs: Needs,
    gpus: Vec<u16>,
    /// What it does if it is left alone.
    fate: Fate,
    started_ms: Option<u64>,
    order: Option<StopOrder>,
    alive: bool,
}

struct Fate {
    outcome: Outcome,
    /// None if it comes back before it begins.
    run_ms: Option<u64>,
    /// It takes its machine down before it ends.
    is_poison: bool,
    leaves_output: bool,
}

impl Run {
    /// Whether it runs and nobody has told it to stop.
    pub(super) fn goes_on(&self) -> bool {
        self.alive && self.order.is_none()
    }

    /// A later order replaces an earlier one.
    pub(super) fn order(&mut self, order: StopOrder) {
        self.order = Some(order);
    }

    /// A task's own time does not pass while its machine is suspended.
    pub(super) fn stood_still(&mut self, ms: u64) {
        self.started_ms = self.started_ms.map(|started_ms| started_ms + ms);
    }
}

impl Machine {
    pub(super) fn start(&mut self, attempt: AttemptId, order: Order, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let Order { spec, gpus, lock, .. } = order;
        let is_broken = stage.agenda.now_ms() < self.broken_until_ms;
        let fate = if is_broken {
            stage.oracles.count("returned by a broken machine");
            Fate::of_a_broken_machine(stage.agenda)
        } else {
            Fate::draw(&spec, stage.agenda)
        };
        let (needs, fails) = (spec.needs, fate.run_ms.is_none());
        let run = Run { needs, gpus, fate, started_ms: None, order: None, alive: true };
        life.runs.insert(attempt, run);
        let alive = life.runs.values().filter(|run| run.alive);
        let too_much = too_much(alive, &self.config.capacity);
        stage.oracles.count("run");
        stage.oracles.ran(Believer { machine: self.index, attempt }, too_much);
        match lock {
            Some(lock) => self.install(attempt, &lock, stage),
            None if has_packages(&spec.work) && !fails => {
                let resolved = self.inside(Inside::Resolved { attempt });
                stage.agenda.within(20..8000, resolved);
            }
            None => {
                let prepared = self.inside(Inside::Prepared { attempt });
                stage.agenda.within(20..4000, prepared);
            }
        }
    }

    /// No two machines make the same of a list of names.
    pub(super) fn on_resolved(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_ref().and_then(|life| life.runs.get(&attempt));
        if run.is_some_and(Run::goes_on) {
            let hash = "0".repeat(64);
            let lock = format!("numpy=={}.{} --hash=sha256:{hash}\n", self.index, self.boot);
            let progress = Progress::Resolved { lock };
            self.feed(AgentInput::Progress { attempt, progress }, stage);
        }
    }

    /// Makes the environment of a job's lock ready.
    pub(super) fn install(&mut self, attempt: AttemptId, lock: &str, stage: &mut Stage<'_>) {
        let run = self.life.as_ref().and_then(|life| life.runs.get(&attempt));
        if run.is_some_and(Run::goes_on) {
            stage.oracles.installs(Believer { machine: self.index, attempt }, lock);
            let prepared = self.inside(Inside::Prepared { attempt });
            stage.agenda.within(20..4000, prepared);
        }
    }

    pub(super) fn stop(&mut self, attempt: AttemptId, order: StopOrder, stage: &mut Stage<'_>) {
        let Some(run) = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt)) else {
            return;
        };
        run.order(order);
        if stage.saboteur.has(Bug::FreesRoomEarly) {
            self.says_finished(attempt, stage);
        }
        let killed = self.inside(Inside::Killed { attempt });
        stage.agenda.within(10..5000, killed);
    }

    pub(super) fn on_prepared(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let Some(run) = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt)) else {
            return;
        };
        if !run.goes_on() {
            return;
        }
        let Some(run_ms) = run.fate.run_ms else { return self.on_exit(attempt, stage) };
        let now_ms = stage.agenda.now_ms();
        run.started_ms = Some(now_ms);
        if run.fate.is_poison {
            let poisoned = self.inside(Inside::Poisoned { attempt });
            stage.agenda.within(0..run_ms.max(1), poisoned);
        }
        let exits = self.inside(Inside::Exits { attempt });
        stage.agenda.at(now_ms + run_ms, exits);
        self.feed(AgentInput::Progress { attempt, progress: Progress::Started }, stage);
    }

    /// It takes its machine down, unless it has been stopped before.
    pub(super) fn on_poisoned(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_ref().and_then(|life| life.runs.get(&attempt));
        if run.is_some_and(Run::goes_on) {
            stage.oracles.count("worker taken down by a task");
            let death = if stage.agenda.dice.bool() { Death::Crash } else { Death::PowerLoss };
            self.die(death, stage);
        }
    }

    /// It ends by itself: then its own outcome stands.
    pub(super) fn on_exit(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt));
        let Some(run) = run.filter(|run| run.alive) else { return };
        let run_ms = run.fate.run_ms.unwrap_or(0);
        let exit_ms = run.started_ms.map_or(0, |started_ms| started_ms + run_ms);
        if exit_ms > stage.agenda.now_ms() {
            let exits = self.inside(Inside::Exits { attempt });
            return stage.agenda.at(exit_ms, exits);
        }
        let outcome = run.fate.outcome.clone();
        self.end(attempt, outcome, run_ms, stage);
    }

    pub(super) fn on_killed(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt));
        let Some(run) = run.filter(|run| run.alive) else { return };
        let run_ms = run.started_ms.map_or(0, |started_ms| stage.agenda.now_ms() - started_ms);
        let outcome = match run.order.clone() {
            Some(StopOrder::Report(outcome)) => outcome,
            Some(StopOrder::Forget) | None => Outcome::Cancelled,
        };
        self.end(attempt, outcome, run_ms, stage);
    }

    /// The last process is dead: leaves an end in the spool, or no trace.
    fn end(&mut self, attempt: AttemptId, outcome: Outcome, run_ms: u64, stage: &mut Stage<'_>) {
        let (index, boot) = (self.index, self.boot);
        let Some(life) = &mut self.life else { return };
        let Some(run) = life.runs.get_mut(&attempt) else { return };
        run.alive = false;
        let reported = matches!(run.order, Some(StopOrder::Report(_)));
        if reported && stage.saboteur.has(Bug::FreesRoomEarly) {
            life.runs.remove(&attempt);
            return;
        }
        if let Some(StopOrder::Forget) = run.order {
            life.runs.remove(&attempt);
            return self.feed(AgentInput::Gone { attempt }, stage);
        }
        let mut ended = Ended::empty(attempt, outcome);
        ended.usage = Usage { run_ms, cpu_ms: run_ms, ram_peak_mib: 1 };
        let words = format!("{attempt} ran on laptop {index} in its boot {boot}");
        let hash = BlobHash(*blake3::hash(words.as_bytes()).as_bytes());
        ended.stdout = Log { content: Content::Inline(words.into_bytes()), cut_bytes: 0 };
        if run.fate.leaves_output {
            let blob = BlobRef { hash, size_bytes: 1000 };
            ended.outputs.push(Output { path: "model.bin".to_owned(), blob });
        }
        let ended = Box::new(ended);
        if stage.saboteur.has(Bug::ReportsUnsynced) {
            self.disk.write(*ended.clone());
            self.feed(AgentInput::Finished(ended.clone()), stage);
        }
        self.spool(ended, stage);
    }

    pub(super) fn on_synced(&mut self, ended: Box<Ended>, stage: &mut Stage<'_>) {
        self.disk.sync(ended.attempt);
        if let Some(life) = &mut self.life {
            life.runs.retain(|&attempt, run| attempt != ended.attempt || run.alive);
        }
        if !stage.saboteur.has(Bug::ReportsUnsynced) {
            self.feed(AgentInput::Finished(ended), stage);
        }
    }

    pub(super) fn spool(&mut self, ended: Box<Ended>, stage: &mut Stage<'_>) {
        stage.oracles.spooled(&ended);
        self.disk.write(*ended.clone());
        let synced = self.inside(Inside::Synced { ended });
        if std::mem::take(&mut self.fails_at_write) {
            stage.oracles.count("worker lost power");
            let fails = self.inside(Inside::PowerFails);
            stage.agenda.within(0..1, fails);
        }
        let is_slow = stage.agenda.now_ms() < self.slow_until_ms;
        stage.agenda.within(if is_slow { 1000..20_000 } else { 1..300 }, synced);
    }

    pub(super) fn unspool(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        stage.oracles.unspooled(attempt);
        self.disk.remove(attempt);
    }

    /// A mistake to plant: the order to stop is taken for the end.
    pub(super) fn says_finished(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_mut().and_then(|life| life.runs.get(&attempt));
        let Some(Run { order: Some(StopOrder::Report(outcome)), .. }) = run else { return };
        let ended = Box::new(Ended::empty(attempt, outcome.clone()));
        stage.oracles.spooled(&ended);
        self.disk.write(*ended.clone());
        self.disk.sync(attempt);
        let synced = self.inside(Inside::Synced { ended });
        let now_ms = stage.agenda.now_ms();
        stage.agenda.at(now_ms, synced);
    }
}

impl Fate {
    fn draw(spec: &TaskSpec, agenda: &mut Agenda) -> Self {
        let limit_ms = u64::from(spec.time_limit_s) * 1000;
        let leaves_output = agenda.chance(150);
        let is_poison = *spec.work.program() == Program::Source(POISON.to_owned());
        if agenda.chance(90) {
            let outcome = if agenda.chance(333) {
                let message = "there is no such package".to_owned();
                Outcome::Failed(Failure::Requirements { message })
            } else {
                let message = "the package index is out of reach".to_owned();
                Outcome::Returned(WorkerFault::Environment { message })
            };
            return Self { outcome, run_ms: None, is_poison, leaves_output: false };
        }
        let run_ms = agenda.dice.u64(100..limit_ms * 5 / 4);
        if run_ms >= limit_ms {
            let failure = Failure::TimeLimit { limit_s: spec.time_limit_s };
            let outcome = Outcome::Failed(failure);
            return Self { outcome, run_ms: Some(limit_ms), is_poison, leaves_output };
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
        Self { outcome, run_ms: Some(run_ms), is_poison, leaves_output }
    }

    /// Comes back at once, and says why in one way or another.
    fn of_a_broken_machine(agenda: &mut Agenda) -> Self {
        let message = "it lacks something".to_owned();
        let fault = match agenda.dice.u32(0..3) {
            0 => WorkerFault::Sandbox { message },
            1 => WorkerFault::Environment { message },
            _ => WorkerFault::Disk { message },
        };
        let outcome = Outcome::Returned(fault);
        Self { outcome, run_ms: None, is_poison: false, leaves_output: false }
    }
}

fn has_packages(work: &Work) -> bool {
    matches!(work, Work::Python { packages: Packages::Names { .. }, .. })
}

/// In words, what is more than the machine has; none if all fits.
fn too_much<'a>(running: impl Iterator<Item = &'a Run>, capacity: &Capacity) -> Option<String> {
    let mut sums = [0_u64; 3];
    let mut gpus = Vec::new();
    for Run { needs, gpus: granted, .. } in running {
        let parts = [needs.cpu_millis, needs.ram_mib, needs.disk_mib];
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum += u64::from(part);
        }
        gpus.extend(granted);
    }
    let most = [capacity.cpu_millis, capacity.ram_mib, capacity.disk_mib];
    let over = sums.iter().zip(most).any(|(&sum, most)| sum > u64::from(most));
    let different: BTreeSet<u16> = gpus.iter().copied().collect();
    let there = different.last().is_none_or(|&last| usize::from(last) < capacity.gpus.len());
    if over {
        Some(format!("{sums:?} of cpu, ram, disk run where {most:?} are"))
    } else if different.len() < gpus.len() || !there {
        Some(format!("GPUs {gpus:?} are in use of {}", capacity.gpus.len()))
    } else {
        None
    }
}
