//! The processes of one attempt on a laptop: they take made-up time, die when told to, and leave an
//! end in the spool.

use std::collections::BTreeSet;

use campusgrid_protocol::id::{AttemptId, BlobHash};
use campusgrid_protocol::resource::{Capacity, Needs};
use campusgrid_protocol::task::{
    BlobRef, Content, Ended, Log, Outcome, Output, Packages, Saved, Usage, Work, WorkerFault,
};
use campusgrid_worker::agent::effect::{AgentInput, Order, Progress, StopOrder};

use crate::event::{Event, Inside};
use crate::fate::Fate;
use crate::machine::{Death, Machine};
use crate::oracle::Believer;
use crate::saboteur::Bug;
use crate::world::Stage;

pub(super) struct Run {
    needs: Needs,
    gpus: Vec<u16>,
    /// What it does if it is left alone.
    fate: Fate,
    started_ms: Option<u64>,
    /// Since when it stands still.
    frozen_ms: Option<u64>,
    /// Its environment is ready and it stands still.
    ready: bool,
    /// How far it had come before it came here.
    base_ms: u64,
    /// How often it has written what it could go on from.
    written: u32,
    order: Option<StopOrder>,
    alive: bool,
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
        self.frozen_ms = self.frozen_ms.map(|frozen_ms| frozen_ms + ms);
    }

    pub(super) fn freeze(&mut self, now_ms: u64) {
        if self.goes_on() && self.frozen_ms.is_none() {
            self.frozen_ms = Some(now_ms);
        }
    }

    /// Whether it stood still.
    pub(super) fn thaw(&mut self, now_ms: u64) -> bool {
        let Some(since_ms) = self.frozen_ms.take() else { return false };
        // Nor while it is frozen.
        self.started_ms = self.started_ms.map(|started_ms| started_ms + (now_ms - since_ms));
        self.started_ms.is_some() || self.ready
    }

    /// When it ends if it is left alone.
    pub(super) fn exits_at_ms(&self) -> Option<u64> {
        Some(self.started_ms? + self.fate.run_ms.unwrap_or(0))
    }

    /// Whether its processes compute, and nobody has told it to stop.
    pub(super) fn moves(&self) -> bool {
        self.goes_on() && self.started_ms.is_some() && self.frozen_ms.is_none()
    }

    /// How long it has run here.
    fn ran_ms(&self, now_ms: u64) -> u64 {
        let until_ms = self.frozen_ms.unwrap_or(now_ms);
        self.started_ms.map_or(0, |started_ms| until_ms - started_ms)
    }
}

impl Run {
    /// What it could go on from after so many milliseconds here.
    fn write(&mut self, attempt: AttemptId, ran_ms: u64) -> Saved {
        self.written += 1;
        let words = format!("{attempt} could go on from {} after {ran_ms} ms", self.written);
        let hash = BlobHash(*blake3::hash(words.as_bytes()).as_bytes());
        let run_ms = self.base_ms + ran_ms;
        Saved { manifest: BlobRef { hash, size_bytes: 100 }, run_ms }
    }
}

impl Machine {
    pub(super) fn start(&mut self, attempt: AttemptId, order: Order, stage: &mut Stage<'_>) {
        let Some(life) = &mut self.life else { return };
        let Order { spec, gpus, lock, checkpoint, .. } = order;
        let base_ms = checkpoint.map_or(0, |saved| saved.run_ms);
        if base_ms > 0 {
            stage.oracles.count("went on from a checkpoint");
        }
        let is_broken = stage.agenda.now_ms() < self.broken_until_ms;
        let fate = if is_broken {
            stage.oracles.count("returned by a broken machine");
            Fate::of_a_broken_machine(stage.agenda)
        } else {
            Fate::draw((&spec, base_ms), (attempt, self.lies), stage.agenda)
        };
        let (needs, fails) = (spec.needs, fate.run_ms.is_none());
        let run = Run {
            needs,
            gpus,
            fate,
            started_ms: None,
            frozen_ms: None,
            ready: false,
            base_ms,
            written: 0,
            order: None,
            alive: true,
        };
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
        let (grace_ms, now_ms) = match order {
            StopOrder::HandBack { grace_s } => (u64::from(grace_s) * 1000, stage.agenda.now_ms()),
            StopOrder::Report(_) | StopOrder::Forget => (5000, stage.agenda.now_ms()),
        };
        run.thaw(now_ms);
        run.order(order);
        if stage.saboteur.has(Bug::FreesRoomEarly) {
            self.says_finished(attempt, stage);
        }
        let killed = self.inside(Inside::Killed { attempt });
        stage.agenda.within(10..grace_ms.max(20), killed);
    }

    pub(super) fn on_prepared(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let Some(run) = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt)) else {
            return;
        };
        if !run.goes_on() {
            return;
        }
        if run.frozen_ms.is_some() {
            run.ready = true;
            return;
        }
        if run.started_ms.is_some() {
            return;
        }
        let Some(run_ms) = run.fate.run_ms else { return self.on_exit(attempt, stage) };
        let now_ms = stage.agenda.now_ms();
        run.started_ms = Some(now_ms);
        let (is_poison, writes) = (run.fate.is_poison, run.fate.writes);
        if is_poison {
            let poisoned = self.inside(Inside::Poisoned { attempt });
            stage.agenda.within(0..run_ms.max(1), poisoned);
        }
        let exits = self.inside(Inside::Exits { attempt });
        stage.agenda.at(now_ms + run_ms, exits);
        if writes {
            let writes = self.inside(Inside::Writes { attempt });
            stage.agenda.within(1000..30_000, writes);
        }
        self.feed(AgentInput::Progress { attempt, progress: Progress::Started }, stage);
    }

    /// It takes its machine down, unless it has been stopped before.
    pub(super) fn on_poisoned(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_ref().and_then(|life| life.runs.get(&attempt));
        if run.is_some_and(Run::moves) {
            stage.oracles.count("worker taken down by a task");
            let death = if stage.agenda.dice.bool() { Death::Crash } else { Death::PowerLoss };
            self.die(death, stage);
        }
    }

    /// It ends by itself: then its own outcome stands.
    pub(super) fn on_exit(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let run = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt));
        let Some(run) = run.filter(|run| run.alive && run.frozen_ms.is_none()) else { return };
        let run_ms = run.fate.run_ms.unwrap_or(0);
        let exit_ms = run.exits_at_ms().unwrap_or(0);
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
        let run_ms = run.ran_ms(stage.agenda.now_ms());
        let outcome = match run.order.clone() {
            Some(StopOrder::Report(outcome)) => outcome,
            Some(StopOrder::HandBack { .. }) => Outcome::Returned(WorkerFault::Leaving),
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
        let handed_back = matches!(run.order, Some(StopOrder::HandBack { .. }));
        if reported && stage.saboteur.has(Bug::FreesRoomEarly) {
            life.runs.remove(&attempt);
            return;
        }
        if let Some(StopOrder::Forget) = run.order {
            life.runs.remove(&attempt);
            return self.feed(AgentInput::Gone { attempt }, stage);
        }
        let is_back = outcome == Outcome::Returned(WorkerFault::Leaving);
        let mut ended = Ended::empty(attempt, outcome);
        if handed_back && is_back && run.fate.writes && run.started_ms.is_some() {
            let saved = run.write(attempt, run_ms);
            stage.oracles.saves(attempt, saved);
            ended.checkpoint = Some(saved);
        }
        ended.usage = Usage { run_ms, cpu_ms: run_ms, ram_peak_mib: 1 };
        let words = run.fate.prints.clone();
        let words =
            words.unwrap_or_else(|| format!("{attempt} ran on laptop {index} in its boot {boot}"));
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

    /// It writes what it could go on from, and the worker brings that to the manager.
    pub(super) fn on_writes(&mut self, attempt: AttemptId, stage: &mut Stage<'_>) {
        let now_ms = stage.agenda.now_ms();
        let Some(run) = self.life.as_mut().and_then(|life| life.runs.get_mut(&attempt)) else {
            return;
        };
        if run.moves() {
            let saved = run.write(attempt, run.ran_ms(now_ms));
            stage.oracles.saves(attempt, saved);
            let (machine, boot) = (self.index, self.boot);
            stage.agenda.within(5..3000, Event::Save { machine, boot, attempt, saved });
        }
        let writes = self.inside(Inside::Writes { attempt });
        stage.agenda.within(5000..40_000, writes);
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
