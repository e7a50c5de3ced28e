//! A laptop: the real agent on a made-up machine that can be suspended, rebooted or lose power.

use std::collections::BTreeMap;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::resource::{Gpu, Load};
use campusgrid_protocol::rules::{Limits, Phase};
use campusgrid_worker::agent::effect::{AgentEffect, AgentEffects, AgentInput, Progress};
use campusgrid_worker::agent::{Agent, AgentConfig};

use crate::disk::Disk;
use crate::event::{Event, Inside};
use crate::identity::Identity;
use crate::link::BACKOFF_MS;
use crate::network::ConnectionId;
use crate::oracle::Believer;
use crate::run::Run;
use crate::saboteur::Bug;
use crate::world::Stage;

/// The daemon's timer stands still while the machine does, and is never set for longer.
const SLEEP_MAX_MS: u64 = 10_000;

pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) config: AgentConfig,
    /// The person whose it is.
    pub(crate) person: usize,
    pub(crate) identity: Identity,
    /// Until then every attempt comes back before it begins.
    pub(crate) broken_until_ms: u64,
    /// Its power fails while it writes its next end.
    pub(crate) fails_at_write: bool,
    /// Until then its disk takes seconds to sync.
    pub(crate) slow_until_ms: u64,
    /// What its owner wants now.
    pub(super) phase: Phase,
    /// By the rules that it was told.
    pub(super) limits: Limits,
    /// Now and then it makes results up.
    pub(crate) lies: bool,
    /// Those that are in it, of which a boot may miss some.
    gpus: Vec<Gpu>,
    pub(super) boot: u32,
    pub(super) disk: Disk,
    pub(super) life: Option<Life>,
}

/// What lasts as long as the worker's process.
pub(super) struct Life {
    pub(super) agent: Agent,
    pub(super) connection: Option<ConnectionId>,
    /// The agent may send: it has not asked to hang up.
    pub(super) outbox_open: bool,
    pub(super) runs: BTreeMap<AttemptId, Run>,
    pub(super) sleep: Option<Sleep>,
    /// What the agent was last told of its owner.
    pub(super) phase: Phase,
    pub(super) backoff_ms: u64,
    /// It has been told never to dial again.
    pub(super) dismissed: bool,
    /// Answers to its request to be let in.
    pub(super) reminders: u32,
    pub(super) ticks: u64,
    pub(super) started_ms: u64,
    /// What the clock shows at the start.
    pub(super) origin_ms: u64,
    /// How long the clock stood still: never, unless that is the bug to plant.
    pub(super) stood_still_ms: u64,
}

/// A suspended machine: what happened meanwhile waits for it.
pub(super) struct Sleep {
    since_ms: u64,
    put_off: Vec<(u64, Event)>,
}

/// How a worker's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its kernel lives on and closes its connection.
    Crash,
    PowerLoss,
}

impl Machine {
    pub(crate) fn new(person: usize, identity: Identity, config: AgentConfig) -> Self {
        let gpus = config.capacity.gpus.clone();
        Self {
            index: identity.machine,
            config,
            person,
            identity,
            broken_until_ms: 0,
            fails_at_write: false,
            slow_until_ms: 0,
            phase: Phase::Open,
            limits: Limits::default(),
            lies: false,
            gpus,
            boot: 0,
            disk: Disk::default(),
            life: None,
        }
    }

    /// Whether something planned for this boot still concerns it.
    pub(crate) fn is_of(&self, boot: u32) -> bool {
        self.boot == boot
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.sleep.is_some())
    }

    /// Nothing runs here and nothing waits to be confirmed.
    pub(crate) fn is_quiet(&self) -> bool {
        let runs = self.life.as_ref().map_or(0, |life| life.runs.len());
        runs == 0 && self.disk.is_empty() && self.life.is_some()
    }

    /// What goes on here, in words.
    pub(crate) fn why(&self) -> String {
        let Some(life) = &self.life else { return format!("laptop {} is off", self.index) };
        let (runs, index) = (life.runs.len(), self.index);
        format!("laptop {index} runs {runs}, connected: {:?}, {:?}", life.connection, self.identity)
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.life.as_ref()?.connection
    }

    /// Attempts that run here while the worker is awake and believes in its leases. One whose
    /// timer is overdue has just woken up and is about to look at its clock.
    pub(crate) fn believers(&self, now_ms: u64) -> impl Iterator<Item = Believer> {
        let awake = self.life.iter().filter(move |life| {
            let clock_ms = life.clock_ms(now_ms);
            life.sleep.is_none() && life.agent.next_deadline().is_none_or(|due| due > clock_ms)
        });
        let runs = awake.flat_map(|life| life.runs.iter().filter(|(_, run)| run.goes_on()));
        runs.map(|(&attempt, _)| Believer { machine: self.index, attempt })
    }

    pub(crate) fn sleep(&mut self, now_ms: u64) {
        if let Some(life) = self.life.as_mut().filter(|life| life.sleep.is_none()) {
            life.sleep = Some(Sleep { since_ms: now_ms, put_off: Vec::new() });
        }
    }

    /// Keeps an event until the machine wakes up.
    pub(crate) fn put_off(&mut self, now_ms: u64, event: Event) {
        if let Some(sleep) = self.life.as_mut().and_then(|life| life.sleep.as_mut()) {
            sleep.put_off.push((now_ms, event));
        }
    }

    pub(crate) fn die(&mut self, death: Death, stage: &mut Stage<'_>) {
        let Some(life) = self.life.take() else { return };
        self.boot += 1;
        if death == Death::PowerLoss {
            self.disk.lose_power(stage);
        }
        if let Some(connection) = life.connection {
            match death {
                Death::Crash => stage.network.end_up(connection, stage.agenda),
                Death::PowerLoss => stage.network.connection(connection).worker_end.open = false,
            }
        }
        let on = self.inside(Inside::PowerOn);
        stage.agenda.within(1000..120_000, on);
    }

    /// The owner asks the worker to end.
    pub(crate) fn leave(&mut self, stage: &mut Stage<'_>) {
        self.feed(AgentInput::Leave, stage);
    }

    pub(crate) fn on_inside(&mut self, what: Inside, stage: &mut Stage<'_>) {
        match what {
            Inside::PowerOn => self.power_on(stage),
            Inside::Wake => self.wake(stage),
            Inside::Dial => self.dial(stage),
            Inside::DialTimesOut { connection } => {
                let dialling = |life: &Life| life.connection == Some(connection);
                let waits = |life: &Life| dialling(life) && !life.outbox_open;
                if self.life.as_ref().is_some_and(waits) {
                    self.hang_up(stage);
                }
            }
            Inside::HangUp { connection } => {
                if self.connection() == Some(connection) {
                    self.hang_up(stage);
                }
            }
            Inside::EnrolmentSilent { connection, heard } => {
                self.on_enrolment_silent(connection, heard, stage);
            }
            Inside::Tick { number } => {
                if self.life.as_ref().is_some_and(|life| life.ticks == number) {
                    let jitter_permille = stage.agenda.dice.i16(-100..=100);
                    let tick = AgentInput::Tick { load: Load::default(), jitter_permille };
                    self.feed(tick, stage);
                }
            }
            Inside::Resolved { attempt } => self.on_resolved(attempt, stage),
            Inside::Prepared { attempt } => self.on_prepared(attempt, stage),
            Inside::Exits { attempt } => self.on_exit(attempt, stage),
            Inside::Killed { attempt } => self.on_killed(attempt, stage),
            Inside::Poisoned { attempt } => self.on_poisoned(attempt, stage),
            Inside::PowerFails => self.die(Death::PowerLoss, stage),
            Inside::Synced { ended } => self.on_synced(ended, stage),
            Inside::Uploaded { attempt } => self.feed(AgentInput::Uploaded { attempt }, stage),
            Inside::UploadFailed { attempt } => {
                self.feed(AgentInput::UploadFailed { attempt }, stage);
            }
            Inside::Judged => self.judge(stage),
            Inside::Writes { attempt } => self.on_writes(attempt, stage),
            Inside::Saved { attempt, saved } => {
                let progress = Progress::Saved(saved);
                self.feed(AgentInput::Progress { attempt, progress }, stage);
            }
        }
    }

    /// An event for this boot of this machine.
    pub(crate) fn inside(&self, what: Inside) -> Event {
        Event::Inside { machine: self.index, boot: self.boot, what }
    }

    /// Hands an input to the agent and carries out what it wants done.
    pub(super) fn feed(&mut self, input: AgentInput, stage: &mut Stage<'_>) {
        match &input {
            AgentInput::Finished(ended) => stage.oracles.finished(ended),
            AgentInput::Recovered(all) => {
                all.iter().for_each(|ended| stage.oracles.recovered(ended))
            }
            AgentInput::Connected
            | AgentInput::Disconnected
            | AgentInput::Received(_)
            | AgentInput::Progress { .. }
            | AgentInput::Gone { .. }
            | AgentInput::Uploaded { .. }
            | AgentInput::UploadFailed { .. }
            | AgentInput::UploadRefused { .. }
            | AgentInput::Tick { .. }
            | AgentInput::Verdict(_)
            | AgentInput::StopHere { .. }
            | AgentInput::Leave => {}
        }
        let Some(life) = &mut self.life else { return };
        let clock_ms = life.clock_ms(stage.agenda.now_ms());
        let mut effects = AgentEffects::default();
        life.agent.handle(clock_ms, input, &mut effects);
        for effect in effects.effects {
            self.carry_out(effect, stage);
        }
        self.set_timer(stage);
    }

    fn carry_out(&mut self, effect: AgentEffect, stage: &mut Stage<'_>) {
        match effect {
            AgentEffect::Send(message) => self.send(message, stage),
            AgentEffect::Run { attempt, order } => self.start(attempt, order, stage),
            AgentEffect::Lock { attempt, lock } => self.install(attempt, &lock, stage),
            AgentEffect::Stop { attempt, order } => self.stop(attempt, order, stage),
            AgentEffect::Spool(ended) => self.spool(ended, stage),
            AgentEffect::Unspool { attempt } => self.unspool(attempt, stage),
            AgentEffect::Freeze => self.freeze(stage),
            AgentEffect::Thaw => self.thaw(stage),
            AgentEffect::Upload { attempt, mut blobs, checkpoint } => {
                blobs.extend(checkpoint);
                let (machine, boot) = (self.index, self.boot);
                let upload = Event::Upload { machine, boot, attempt, blobs };
                stage.agenda.within(5..3000, upload);
            }
            AgentEffect::Disconnect { .. } => {
                let Some(life) = &mut self.life else { return };
                life.outbox_open = false;
                if let Some(connection) = life.connection {
                    // What has come in before is still read.
                    let hang_up = self.inside(Inside::HangUp { connection });
                    stage.agenda.within(0..50, hang_up);
                }
            }
            AgentEffect::Dismissed { reason: _ } => {
                stage.oracles.count("worker dismissed");
                if let Some(life) = &mut self.life {
                    life.dismissed = true;
                }
                let makes_a_key = stage.agenda.dice.bool();
                self.identity.begin_anew(makes_a_key);
            }
            AgentEffect::Rules(rules) => {
                self.limits = rules.limits;
                let judged = self.inside(Inside::Judged);
                stage.agenda.within(1..50, judged);
            }
            AgentEffect::Welcomed { owner: _ } | AgentEffect::Earned { micros: _ } => {}
            AgentEffect::Left => {
                stage.oracles.count("worker left");
                self.die(Death::Crash, stage);
            }
        }
    }

    fn power_on(&mut self, stage: &mut Stage<'_>) {
        stage.oracles.count("worker started");
        if self.boot > 0 && stage.agenda.chance(200) {
            self.config.name = format!("laptop-{}-{}", self.index, self.boot);
        }
        if self.index > 0 && !self.gpus.is_empty() {
            let there = stage.agenda.dice.usize(0..=self.gpus.len());
            self.config.capacity.gpus = self.gpus[..there].to_vec();
        }
        self.config.verdict = self.verdict();
        self.life = Some(Life {
            agent: Agent::new(self.config.clone()),
            connection: None,
            outbox_open: false,
            runs: BTreeMap::new(),
            sleep: None,
            phase: self.phase,
            backoff_ms: BACKOFF_MS[0],
            dismissed: false,
            reminders: 0,
            ticks: 0,
            started_ms: stage.agenda.now_ms(),
            origin_ms: stage.agenda.dice.u64(0..1_000_000),
            stood_still_ms: 0,
        });
        let recovered = self.disk.recover(stage);
        self.feed(AgentInput::Recovered(recovered), stage);
        self.dial(stage);
    }

    fn wake(&mut self, stage: &mut Stage<'_>) {
        let now_ms = stage.agenda.now_ms();
        let Some(life) = &mut self.life else { return };
        let Some(Sleep { since_ms, put_off }) = life.sleep.take() else { return };
        if stage.saboteur.has(Bug::SleepsThroughLeases) {
            life.stood_still_ms += now_ms - since_ms;
        }
        for run in life.runs.values_mut() {
            run.stood_still(now_ms - since_ms);
        }
        for (at_ms, event) in put_off {
            // What came in waits in the kernel; what was under way here goes on.
            let is_own = matches!(event, Event::Inside { .. });
            let left_ms = if is_own { at_ms - since_ms } else { 0 };
            stage.agenda.at(now_ms + left_ms, event);
        }
        life.ticks += 1;
        let tick = Inside::Tick { number: life.ticks };
        let tick = self.inside(tick);
        stage.agenda.within(0..SLEEP_MAX_MS, tick);
    }

    fn set_timer(&mut self, stage: &mut Stage<'_>) {
        let now_ms = stage.agenda.now_ms();
        let Some(life) = &mut self.life else { return };
        life.ticks += 1;
        let Some(due_ms) = life.agent.next_deadline() else { return };
        let in_ms = due_ms.saturating_sub(life.clock_ms(now_ms)).max(1);
        let tick = Inside::Tick { number: life.ticks };
        let tick = self.inside(tick);
        stage.agenda.at(now_ms + in_ms, tick);
    }
}

impl Life {
    /// The clock that the agent is given: it also runs while the machine is suspended.
    fn clock_ms(&self, now_ms: u64) -> u64 {
        self.origin_ms + (now_ms - self.started_ms) - self.stood_still_ms
    }
}
