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
mod progress;
mod refusal;
pub mod room;
mod session;
mod sharing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{Comeback, Join, ToManager, ToWorker};
use campusgrid_protocol::resource::{Capacity, Isolation, Speed};
use campusgrid_protocol::task::{Outcome, WorkerFault};
use campusgrid_sharing::verdict::Verdict;

use self::effect::{AgentEffect, AgentEffects, AgentInput, Order, StopOrder};
use self::held::{Held, Phase};
use self::refusal::lent;
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
    pub speed: Speed,
    /// What holds until the first [`AgentInput::Verdict`].
    pub verdict: Verdict,
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
    verdict: Verdict,
    /// Since when the verdict's limits hold.
    limits_since_ms: u64,
    /// For whom this machine works, once a manager has said so.
    owner: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Until { ms: u64 },
    Left,
}

impl Agent {
    /// A worker that holds nothing and is not connected.
    pub fn new(config: AgentConfig) -> Self {
        Self {
            verdict: config.verdict.clone(),
            config,
            session: Session::new(),
            held: BTreeMap::new(),
            arrivals: 0,
            leaving: None,
            limits_since_ms: 0,
            owner: None,
        }
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
            AgentInput::Verdict(verdict) => self.on_verdict(now_ms, *verdict, effects),
            AgentInput::StopHere { attempt } => {
                self.hand_back(attempt, self.verdict.checkpoint_s, effects);
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
            speed: self.config.speed,
            shares: self.verdict.shares.clone(),
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
            ToWorker::Welcome {
                worker: _,
                heartbeat_ms,
                lease_ms,
                owner,
                rules,
                earned_micros,
            } => {
                self.session.welcomed(now_ms, heartbeat_ms, lease_ms);
                self.owner = Some(owner.clone());
                effects.push(AgentEffect::Welcomed { owner });
                effects.push(AgentEffect::Rules(rules));
                effects.push(AgentEffect::Earned { micros: earned_micros });
                self.repeat_progress(effects);
            }
            ToWorker::Rules(rules) => effects.push(AgentEffect::Rules(rules)),
            ToWorker::Earned { micros } => effects.push(AgentEffect::Earned { micros }),
            ToWorker::Start { attempt, index, spec, gpus, lock, checkpoint, whose, name } => {
                // Filled in when it starts: the owner may change it while it waits.
                let core_percent = 100;
                let order =
                    Order { index, spec, gpus, lock, checkpoint, whose, name, core_percent };
                self.on_start(now_ms, attempt, order, effects);
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

    fn on_start(
        &mut self,
        now_ms: u64,
        attempt: AttemptId,
        order: Order,
        effects: &mut AgentEffects,
    ) {
        if self.held.contains_key(&attempt) || self.held.len() >= ATTEMPTS_MAX {
            return;
        }
        if let Some(fault) = self.refusal(now_ms, &order) {
            self.spool_empty(attempt, Outcome::Returned(fault), effects);
            return;
        }
        self.arrivals += 1;
        let lease_until_ms = self.session.start_lease_until_ms();
        let waiting = Held::Waiting { order, lease_until_ms, arrival: self.arrivals };
        self.held.insert(attempt, waiting);
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
        if waiting.is_empty() || !self.is_open() {
            return;
        }
        waiting.sort_unstable();
        let limits = &self.verdict.shares.limits;
        let lent = lent(&self.config.capacity, limits);
        let most = limits.at_once.map_or(usize::MAX, |most| most as usize);
        let gpus = limits.gpus.map_or(usize::MAX, usize::from);
        let mut room = self.room_in_use();
        let mut running = self.held.values().filter_map(Held::room).count();
        for (_, attempt) in waiting {
            let Some(held) = self.held.get_mut(&attempt) else { continue };
            let Held::Waiting { order, lease_until_ms, .. } = held else { continue };
            let (grant, lease_until_ms) = (order.grant(), *lease_until_ms);
            let is_lent = running < most && room.gpus.len() + grant.gpus.len() <= gpus;
            if is_lent && room.takes(&grant, &lent) {
                room.add(&grant);
                running += 1;
                let order = Order { core_percent: limits.core_percent, ..order.clone() };
                effects.push(AgentEffect::Run { attempt, order });
                *held = Held::Running {
                    grant,
                    lease_until_ms,
                    phase: Phase::New,
                    resolved: None,
                    saved: None,
                };
            }
        }
    }
}
