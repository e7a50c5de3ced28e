//! What a worker decides, as a pure state machine: no I/O, no clock, no randomness.
//!
//! The daemon drives it with real sockets and processes, the simulator with made-up ones. A driver
//! feeds [`AgentInput`]s with the time of a clock that also runs while the machine is suspended,
//! carries out the [`AgentEffect`]s in order, and sends a tick when [`Agent::next_deadline`] is due.
//!
//! What a driver promises:
//!
//! - [`AgentInput::Recovered`] comes first, once.
//! - Every [`AgentEffect::Run`] is followed by exactly one [`AgentInput::Finished`] or
//!   [`AgentInput::Gone`], every [`AgentEffect::Spool`] by one `Finished`, and every
//!   [`AgentEffect::Upload`] by one [`AgentInput::Uploaded`], [`AgentInput::UploadFailed`] or
//!   [`AgentInput::UploadRefused`], unless [`AgentInput::Disconnected`] comes first: a driver
//!   ends what is under way then, and tells nothing of it.
//! - `Finished` comes when the end is on disk, so that it survives the worker.

pub(crate) mod blobs;
pub mod effect;
mod ends;
mod held;
mod pause;
pub mod room;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{Comeback, Join, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Isolation};
use campusgrid_protocol::task::{Outcome, WorkerFault};

use self::effect::{AgentEffect, AgentEffects, AgentInput, Order, Progress, StopOrder};
use self::held::{Held, Phase, Resolved};
use self::room::Room;
use self::session::Session;

/// A start beyond this many known attempts is passed over; its lease then runs out unused.
const ATTEMPTS_MAX: usize = 10_000;

/// What a worker offers.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub name: String,
    pub capacity: Capacity,
    pub isolation: Isolation,
    pub isolation_notes: Vec<String>,
    /// What jobs may require by name; see [`Join::labels`].
    pub labels: Vec<String>,
}

/// The worker's state: its session, and every attempt that it holds.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    session: Session,
    held: BTreeMap<AttemptId, Held>,
    /// Counts starts, so that those that wait for room keep their order.
    arrivals: u64,
    /// When to end at the latest, once the worker is leaving.
    leaving: Option<Leaving>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Until { ms: u64 },
    Left,
}

impl Agent {
    /// A worker that holds nothing and is not connected.
    pub fn new(config: AgentConfig) -> Self {
        Self { config, session: Session::new(), held: BTreeMap::new(), arrivals: 0, leaving: None }
    }

    /// Applies one input and appends what is to be done about it.
    ///
    /// `now_ms` never falls; it counts milliseconds from any origin, suspended time included.
    pub fn handle(&mut self, now_ms: u64, input: AgentInput, effects: &mut AgentEffects) {
        match input {
            AgentInput::Recovered(ended) => {
                for ended in ended {
                    self.held.insert(ended.attempt, Held::spooled(ended));
                }
            }
            AgentInput::Connected => self.on_connected(now_ms, effects),
            AgentInput::Disconnected => self.on_disconnected(),
            AgentInput::Received(message) => self.on_message(now_ms, message, effects),
            AgentInput::Progress { attempt, progress } => {
                self.on_progress(now_ms, attempt, progress, effects);
            }
            AgentInput::Finished(ended) => self.on_finished(*ended, effects),
            AgentInput::Gone { attempt } => {
                self.held.remove(&attempt);
            }
            AgentInput::Uploaded { attempt } => self.on_uploaded(now_ms, attempt, effects),
            AgentInput::UploadFailed { attempt } => self.on_upload_failed(now_ms, attempt),
            AgentInput::UploadRefused { attempt, blob, reason } => {
                self.on_upload_refused(attempt, blob, &reason);
            }
            AgentInput::Tick { load, jitter_permille } => {
                if let Some(sequence) = self.session.heartbeat_due(now_ms, jitter_permille) {
                    let attempts = self.attempts();
                    self.session.remember_heartbeat(now_ms, sequence, attempts.clone());
                    effects.send(ToManager::Heartbeat { sequence, attempts, load });
                }
                self.on_silence(now_ms, effects);
            }
            AgentInput::Leave => self.on_leave(now_ms, effects),
        }
        self.end_overdue_leases(now_ms, effects);
        self.deliver(now_ms, effects);
        self.ask_again_for_locks(now_ms, effects);
        self.start_what_fits(effects);
        self.finish_leaving(now_ms, effects);
    }

    /// When the next tick is due, in the milliseconds of [`Self::handle`]; none if only events
    /// from outside can matter.
    pub fn next_deadline(&self) -> Option<u64> {
        let leaving = match self.leaving {
            Some(Leaving::Until { ms }) => Some(ms),
            Some(Leaving::Left) | None => None,
        };
        let held = self.held.values().filter_map(|held| held.deadline(&self.session));
        held.chain(self.session.deadline()).chain(leaving).min()
    }

    /// Attempts that run, wait or stop here, or whose end waits to be confirmed; in order.
    pub fn attempts(&self) -> Vec<AttemptId> {
        self.held.iter().filter(|(_, held)| held.is_listed()).map(|(&id, _)| id).collect()
    }

    /// What the attempts that run or are still dying take up, in all.
    pub fn room_in_use(&self) -> Room {
        let mut room = Room::default();
        for grant in self.held.values().filter_map(Held::room) {
            room.add(grant);
        }
        room
    }

    fn on_connected(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        self.session.connected(now_ms);
        effects.send(ToManager::Join(Box::new(Join {
            name: self.config.name.clone(),
            capacity: self.config.capacity.clone(),
            isolation: self.config.isolation,
            isolation_notes: self.config.isolation_notes.clone(),
            labels: self.config.labels.clone(),
            attempts: self.attempts(),
        })));
    }

    fn on_disconnected(&mut self) {
        self.session.disconnected();
        for held in self.held.values_mut() {
            held.forget_delivery();
        }
    }

    fn on_message(&mut self, now_ms: u64, message: ToWorker, effects: &mut AgentEffects) {
        self.session.heard(now_ms);
        match message {
            ToWorker::Welcome { worker: _, heartbeat_ms, lease_ms, owner } => {
                self.session.welcomed(now_ms, heartbeat_ms, lease_ms);
                effects.push(AgentEffect::Welcomed { owner });
                self.repeat_progress(effects);
            }
            ToWorker::Start { attempt, index, spec, gpus, lock } => {
                self.on_start(attempt, Order { index, spec, gpus, lock }, effects);
            }
            ToWorker::Locked { attempt, lock } => self.on_locked(attempt, lock, effects),
            ToWorker::Cancel { attempt } => self.stop(attempt, Outcome::Cancelled, effects),
            ToWorker::Drop { attempt } => self.on_drop(attempt, effects),
            ToWorker::Stored { attempt } => {
                if let Some(Held::Spooled { .. }) = self.held.get(&attempt) {
                    self.held.remove(&attempt);
                    effects.push(AgentEffect::Unspool { attempt });
                }
            }
            ToWorker::Renewed { sequence } => {
                for (attempt, lease_until_ms) in self.session.renewed(sequence) {
                    if let Some(held) = self.held.get_mut(&attempt) {
                        held.renew(lease_until_ms);
                    }
                }
            }
            ToWorker::Closing { reason, comeback: Comeback::Later } => {
                self.hang_up(reason, effects);
            }
            ToWorker::Closing { reason, comeback: Comeback::Never } => {
                effects.push(AgentEffect::Dismissed { reason });
                self.on_disconnected();
                self.on_leave(now_ms, effects);
            }
            // The connection's own business: see [`crate::connection`].
            ToWorker::Certificate { certificate: _ } => {}
        }
    }

    fn on_start(&mut self, attempt: AttemptId, order: Order, effects: &mut AgentEffects) {
        if self.held.contains_key(&attempt) || self.held.len() >= ATTEMPTS_MAX {
            return;
        }
        if let Some(fault) = self.refusal(&order) {
            self.spool_empty(attempt, Outcome::Returned(fault), effects);
            return;
        }
        self.arrivals += 1;
        let lease_until_ms = self.session.start_lease_until_ms();
        let waiting = Held::Waiting { order, lease_until_ms, arrival: self.arrivals };
        self.held.insert(attempt, waiting);
    }

    /// Why this machine cannot do what it is told to, if so.
    fn refusal(&self, order: &Order) -> Option<WorkerFault> {
        let spec = &order.spec;
        let sandbox = |message: String| Some(WorkerFault::Sandbox { message });
        if self.leaving.is_some() {
            return Some(WorkerFault::Leaving);
        }
        if let Some(message) = wrong_gpus(order, &self.config.capacity) {
            return Some(WorkerFault::Gpu { message });
        }
        if !Room::default().takes(&order.grant(), &self.config.capacity) {
            return sandbox("the task needs more than this machine offers".to_owned());
        }
        if spec.isolation > self.config.isolation {
            return sandbox(
                "the task asks for a stronger sandbox than this machine has".to_owned(),
            );
        }
        let lacks = |label: &&String| !self.config.labels.iter().any(|own| stands_for(own, label));
        let missing = spec.labels.iter().find(lacks)?;
        sandbox(format!("the task requires {missing}, which this machine does not offer"))
    }

    /// Only what waits for an answer takes one: the first, whatever is repeated later.
    fn on_locked(&mut self, attempt: AttemptId, lock: Arc<str>, effects: &mut AgentEffects) {
        if let Some(Held::Running { resolved, .. }) = self.held.get_mut(&attempt)
            && resolved.take().is_some()
        {
            effects.push(AgentEffect::Lock { attempt, lock });
        }
    }

    /// Ends an attempt so that its manager hears about it; what is over already stays as it is.
    fn stop(&mut self, attempt: AttemptId, outcome: Outcome, effects: &mut AgentEffects) {
        match self.held.get_mut(&attempt) {
            Some(Held::Waiting { .. }) => self.spool_empty(attempt, outcome, effects),
            Some(held @ Held::Running { .. }) => {
                held.begin_stopping();
                let order = StopOrder::Report(outcome);
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

    fn on_drop(&mut self, attempt: AttemptId, effects: &mut AgentEffects) {
        let Some(held) = self.held.remove(&attempt) else { return };
        match held {
            Held::Waiting { .. } => {}
            Held::Running { grant, .. } | Held::Stopping { grant } => {
                // Its room stays taken until it is dead.
                self.held.insert(attempt, Held::Forgotten { grant: Some(grant) });
                effects.push(AgentEffect::Stop { attempt, order: StopOrder::Forget });
            }
            Held::Forgotten { grant } => {
                self.held.insert(attempt, Held::Forgotten { grant });
            }
            Held::Spooling => {
                self.held.insert(attempt, Held::Forgotten { grant: None });
            }
            Held::Spooled { .. } => effects.push(AgentEffect::Unspool { attempt }),
        }
    }

    fn on_progress(
        &mut self,
        now_ms: u64,
        attempt: AttemptId,
        progress: Progress,
        effects: &mut AgentEffects,
    ) {
        let Some(Held::Running { phase, resolved, .. }) = self.held.get_mut(&attempt) else {
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
        };
        if self.session.is_welcomed() {
            effects.send(message);
        }
    }

    /// Tells again what packages came to where the manager has not answered: in a new session, which
    /// knows nothing of what the last one may have lost, and after a while in this one, since a
    /// manager whose disk is full answers later or not at all.
    fn ask_again_for_locks(&mut self, now_ms: u64, effects: &mut AgentEffects) {
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
    fn repeat_progress(&self, effects: &mut AgentEffects) {
        for (&attempt, held) in &self.held {
            match held {
                Held::Running { phase: Phase::Preparing { step }, .. } => {
                    effects.send(ToManager::Preparing { attempt, step: step.clone() });
                }
                Held::Running { phase: Phase::Started, .. } => {
                    effects.send(ToManager::Started { attempt });
                }
                Held::Running { phase: Phase::New, .. }
                | Held::Waiting { .. }
                | Held::Stopping { .. }
                | Held::Forgotten { .. }
                | Held::Spooling
                | Held::Spooled { .. } => {}
            }
        }
    }

    fn on_silence(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        if let Some(silent_ms) = self.session.too_silent(now_ms) {
            let reason = format!("no word from the manager for {silent_ms} ms");
            self.hang_up(reason, effects);
        }
    }

    /// Counts as disconnected from now on, so that no deadline of the old session stays.
    fn hang_up(&mut self, reason: String, effects: &mut AgentEffects) {
        effects.push(AgentEffect::Disconnect { reason });
        self.on_disconnected();
    }

    fn end_overdue_leases(&mut self, now_ms: u64, effects: &mut AgentEffects) {
        let overdue = |held: &Held| held.lease_until_ms().is_some_and(|until| until <= now_ms);
        let attempts: Vec<AttemptId> =
            self.held.iter().filter(|(_, held)| overdue(held)).map(|(&id, _)| id).collect();
        for attempt in attempts {
            self.stop(attempt, Outcome::Returned(WorkerFault::LeaseOver), effects);
        }
    }

    /// Starts what waits, in the order of arrival, as far as the room beside the rest allows.
    ///
    /// The manager counts an attempt as gone when it has been told, which can be before its last
    /// process is dead; waiting here is what keeps the machine from being overfilled.
    fn start_what_fits(&mut self, effects: &mut AgentEffects) {
        let mut waiting: Vec<(u64, AttemptId)> =
            self.held.iter().filter_map(|(&id, held)| Some((held.arrival()?, id))).collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort_unstable();
        let mut room = self.room_in_use();
        for (_, attempt) in waiting {
            let Some(held) = self.held.get_mut(&attempt) else { continue };
            let Held::Waiting { order, lease_until_ms, .. } = held else { continue };
            let (grant, lease_until_ms) = (order.grant(), *lease_until_ms);
            if room.takes(&grant, &self.config.capacity) {
                room.add(&grant);
                effects.push(AgentEffect::Run { attempt, order: order.clone() });
                *held = Held::Running { grant, lease_until_ms, phase: Phase::New, resolved: None };
            }
        }
    }
}

/// What is wrong with the GPUs that the manager grants, if anything is.
fn wrong_gpus(order: &Order, capacity: &Capacity) -> Option<String> {
    let (granted, needed) = (order.gpus.len(), usize::from(order.spec.needs.gpus));
    if granted != needed {
        return Some(format!("{granted} are granted to a task that needs {needed}"));
    }
    let missing = order.gpus.iter().find(|&&gpu| usize::from(gpu) >= capacity.gpus.len())?;
    Some(format!("number {missing} is granted, which this machine does not have"))
}

/// Whether an offered label is the required one, or stands for all that begin as it does.
fn stands_for(offered: &str, required: &str) -> bool {
    match offered.strip_suffix('*') {
        Some(begin) => required.starts_with(begin),
        None => offered == required,
    }
}
