//! The daemon's loop: inputs to the agent, its effects out into the world, until it has left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::ToManager;
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::Ended;
use campusgrid_sandbox::control::Control;
use campusgrid_sharing::verdict::Verdict;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::works::{Run, works};
use super::{Notice, Show};
use crate::agent::Agent;
use crate::agent::effect::{AgentEffect, AgentEffects, AgentInput};
use crate::backoff::random;
use crate::clock::boot_ms;
use crate::connection::{ConnectionEvent, Door, Link, Outbox};
use crate::probe::LoadMeter;
use crate::run::Runner;
use crate::run::words::RunHandle;
use crate::senses::{self, Owner};
use crate::stop::Stop;

/// Tokio's timers stand still while the machine is suspended, so none is set for longer: a worker
/// that wakes up knows within this time that its leases are over.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// How long the manager is not told that everything stands still while something does not say so.
const STILL_LIMIT: Duration = Duration::from_millis(500);

/// For the last messages to leave the socket.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// The agent and everything that its effects reach.
pub(super) struct Daemon {
    pub(super) agent: Agent,
    pub(super) runner: Arc<Runner>,
    pub(super) inputs: mpsc::Sender<AgentInput>,
    pub(super) outbox: Option<Outbox>,
    /// For connections beside the session: those of uploads, and of whoever fetches files.
    pub(super) door: watch::Sender<Option<Door>>,
    pub(super) runs: BTreeMap<AttemptId, Run>,
    /// Whether everything on this machine is to stand still; and the same for the worker's own tools.
    pub(super) frozen: watch::Sender<bool>,
    pub(super) tools: watch::Sender<Control>,
    /// That everything stands still, which the manager hears when it does.
    pub(super) untold: Option<Untold>,
    /// Those of this session: what becomes of one is of no use to the next, which begins it anew.
    pub(super) uploads: JoinSet<AgentInput>,
    pub(super) load: LoadMeter,
    /// The owner, who is told what happens here.
    pub(super) told: Owner,
    /// What the owner was told last.
    pub(super) notice: Option<Notice>,
    pub(super) owner: Option<String>,
    pub(super) show: Show,
    /// Ends all dialling.
    pub(super) hang_up: CancellationToken,
    /// Why this worker must not be started again by itself.
    pub(super) stop: Option<Stop>,
}

/// What comes to the daemon: of its runs, and of the connection.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) input: mpsc::Receiver<AgentInput>,
    pub(super) event: mpsc::Receiver<ConnectionEvent>,
    /// What the owner's rules come to.
    pub(super) verdicts: watch::Receiver<Verdict>,
    /// What the owner says at the machine itself.
    pub(super) orders: mpsc::Receiver<senses::Order>,
    /// When this machine stops being shared, by the clock of [`boot_ms`].
    pub(super) end_ms: Option<u64>,
}

/// A message that waits until it is true, but not for longer than this.
pub(super) struct Untold {
    message: ToManager,
    until: Instant,
}

enum Flow {
    GoOn,
    Left,
}

impl Daemon {
    /// Lives until the agent has left; tells why, if it was not asked to.
    pub(super) async fn live(
        mut self,
        recovered: Vec<Ended>,
        incoming: Incoming,
        link: Link,
        shutdown: CancellationToken,
    ) -> Option<Stop> {
        let Incoming { mut input, mut event, mut verdicts, mut orders, end_ms } = incoming;
        if !recovered.is_empty() {
            info!(results = recovered.len(), "results of an earlier run wait in the spool");
        }
        self.handle(AgentInput::Recovered(recovered));
        let connection = tokio::spawn(link.keep(self.hang_up.clone()));
        let mut leaving = false;
        loop {
            if !leaving && end_ms.is_some_and(|end_ms| boot_ms() >= end_ms) {
                leaving = true;
                info!("leaving: the time for which this machine was to be shared is over");
                if let Flow::Left = self.handle(AgentInput::Leave) {
                    break;
                }
            }
            let pause = self.pause().min(until(end_ms.filter(|_| !leaving)));
            let flow = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !leaving => {
                    leaving = true;
                    info!("leaving: tasks are stopped and given back");
                    self.handle(AgentInput::Leave)
                }
                // Before all else: whoever is back at the machine does not wait.
                Ok(()) = verdicts.changed() => {
                    let verdict = verdicts.borrow_and_update().clone();
                    self.on_verdict(verdict)
                }
                Some(senses::Order::Stop { attempt }) = orders.recv() => {
                    self.handle(AgentInput::StopHere { attempt })
                }
                () = still(&self.runs, self.untold.as_ref()), if self.untold.is_some() => {
                    if let Some(Untold { message, .. }) = self.untold.take() {
                        self.send_now(message);
                    }
                    Flow::GoOn
                }
                Some(event) = event.recv() => self.on_event(event),
                Some(input) = input.recv() => self.handle(input),
                Some(uploaded) = self.uploads.join_next() => match uploaded {
                    Ok(input) => self.handle(input),
                    Err(error) => {
                        warn!("an upload broke off, which the next session repeats: {error}");
                        Flow::GoOn
                    }
                },
                () = sleep(pause) => {
                    let jitter_permille = i16::try_from(random() % 201).unwrap_or(100) - 100;
                    let load = self.load.read();
                    self.handle(AgentInput::Tick { load, jitter_permille })
                }
            };
            match flow {
                Flow::GoOn => {}
                Flow::Left => break,
            }
        }
        self.say_goodbye(event, connection).await;
        self.stop
    }

    /// Until the agent's next deadline, or for a while.
    fn pause(&self) -> Duration {
        until(self.agent.next_deadline())
    }

    fn on_verdict(&mut self, verdict: Verdict) -> Flow {
        self.runner.inputs.pacing().limit(verdict.shares.limits.network_kib_s);
        self.handle(AgentInput::Verdict(Box::new(verdict)))
    }

    fn on_event(&mut self, event: ConnectionEvent) -> Flow {
        match event {
            ConnectionEvent::Waiting { code, manager } => {
                self.tell_owner(Notice::Waiting { code, manager });
                Flow::GoOn
            }
            ConnectionEvent::Up { outbox, door } => {
                self.outbox = Some(outbox);
                self.door.send_replace(Some(door));
                self.handle(AgentInput::Connected)
            }
            ConnectionEvent::Renewed(door) => {
                self.door.send_replace(Some(door));
                Flow::GoOn
            }
            ConnectionEvent::Stopped(stop) => {
                warn!("leaving: this worker cannot go on without a person");
                self.stop.get_or_insert(stop);
                self.handle(AgentInput::Leave)
            }
            ConnectionEvent::Received(message) => self.handle(AgentInput::Received(message)),
            ConnectionEvent::Down => {
                self.outbox = None;
                self.untold = None;
                // Ends those that are under way, and drops what became of those that are not.
                self.uploads = JoinSet::new();
                self.told.works_for(None);
                self.handle(AgentInput::Disconnected)
            }
        }
    }

    fn handle(&mut self, input: AgentInput) -> Flow {
        match &input {
            AgentInput::Finished(end) => {
                self.runs.remove(&end.attempt);
            }
            AgentInput::Gone { attempt } => {
                self.runs.remove(attempt);
            }
            AgentInput::Progress { attempt, progress } => {
                if let Some(run) = self.runs.get_mut(attempt) {
                    run.note(progress);
                }
            }
            AgentInput::Recovered(_)
            | AgentInput::Connected
            | AgentInput::Disconnected
            | AgentInput::Received(_)
            | AgentInput::Uploaded { .. }
            | AgentInput::UploadFailed { .. }
            | AgentInput::UploadRefused { .. }
            | AgentInput::Tick { .. }
            | AgentInput::Verdict(_)
            | AgentInput::StopHere { .. }
            | AgentInput::Leave => {}
        }
        let mut effects = AgentEffects::default();
        self.agent.handle(boot_ms(), input, &mut effects);
        let mut flow = Flow::GoOn;
        for effect in effects.effects {
            if let Flow::Left = self.carry_out(effect) {
                flow = Flow::Left;
            }
        }
        self.told.works(works(&self.runs, *self.frozen.borrow()));
        flow
    }

    fn carry_out(&mut self, effect: AgentEffect) -> Flow {
        match effect {
            AgentEffect::Send(message) => self.send(message),
            AgentEffect::Run { attempt, order } => {
                let (handle, words) = RunHandle::new(order.lock.clone(), self.frozen.subscribe());
                self.runs.insert(attempt, Run::new(attempt, &order, handle));
                let runner = Arc::clone(&self.runner);
                tokio::spawn(runner.run(attempt, order, words, self.inputs.clone()));
            }
            AgentEffect::Lock { attempt, lock } => {
                if let Some(run) = self.runs.get(&attempt) {
                    run.handle.lock.send_replace(Some(lock));
                }
            }
            AgentEffect::Stop { attempt, order } => {
                if let Some(run) = self.runs.get_mut(&attempt) {
                    run.end();
                    run.handle.stop.send_replace(Some(order));
                }
            }
            AgentEffect::Freeze => self.freeze(true),
            AgentEffect::Thaw => self.freeze(false),
            AgentEffect::Spool(ended) => {
                let runner = Arc::clone(&self.runner);
                tokio::spawn(runner.spool_empty(ended, self.inputs.clone()));
            }
            AgentEffect::Unspool { attempt } => {
                let spool = self.runner.spool.clone();
                tokio::task::spawn_blocking(move || spool.remove(attempt));
            }
            AgentEffect::Upload { attempt, blobs, checkpoint } => {
                self.upload(attempt, blobs, checkpoint);
            }
            AgentEffect::Disconnect { reason } => {
                warn!("session over: {reason}");
                self.outbox = None;
            }
            AgentEffect::Dismissed { reason } => {
                self.stop.get_or_insert(Stop::Dismissed { reason });
                self.outbox = None;
                self.hang_up.cancel();
            }
            AgentEffect::Welcomed { owner } => {
                self.told.works_for(Some(owner.clone()));
                self.tell_owner(Notice::WorksFor { owner });
            }
            AgentEffect::Rules(rules) => self.told.rules(*rules),
            AgentEffect::Earned { micros } => self.told.earned(micros),
            AgentEffect::Left => return Flow::Left,
        }
        Flow::GoOn
    }

    fn send(&mut self, message: ToManager) {
        if let ToManager::Shares(shares) = &message {
            // Only the newest of them counts.
            self.untold = None;
            if shares.phase == Phase::Frozen {
                let until = Instant::now() + STILL_LIMIT;
                self.untold = Some(Untold { message, until });
                return;
            }
        }
        self.send_now(message);
    }

    fn send_now(&mut self, message: ToManager) {
        if let Some(outbox) = &self.outbox
            && outbox.send(message).is_err()
        {
            warn!("the manager takes no messages: hanging up");
            self.outbox = None;
        }
    }

    fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
        self.tools.send_replace(if is_frozen { Control::StandStill } else { Control::GoOn });
    }

    fn tell_owner(&mut self, notice: Notice) {
        if self.notice.as_ref() != Some(&notice) {
            (self.show)(&notice, self.owner.as_deref());
            self.notice = Some(notice);
        }
    }

    /// Lets the last messages out before the socket closes.
    async fn say_goodbye(
        &mut self,
        mut event: mpsc::Receiver<ConnectionEvent>,
        connection: JoinHandle<()>,
    ) {
        if self.outbox.take().is_some() {
            let down = async {
                while let Some(event) = event.recv().await {
                    if let ConnectionEvent::Down = event {
                        return;
                    }
                }
            };
            if timeout(GOODBYE_LIMIT, down).await.is_err() {
                warn!("the manager did not take the last messages");
            }
        }
        self.hang_up.cancel();
        drop(event); // Nothing may wait for room in it any more.
        let _ = connection.await;
    }
}

/// Returns when all tasks that run stand still, or the time for that is over.
async fn still(runs: &BTreeMap<AttemptId, Run>, untold: Option<&Untold>) {
    let all = async {
        for mut still in runs.values().filter_map(Run::stillness) {
            let _ended = still.wait_for(|still| *still).await;
        }
    };
    if let Some(Untold { until, .. }) = untold {
        let _late = timeout_at(*until, all).await;
    }
}

/// Until this time of [`boot_ms`], or for a while.
fn until(ms: Option<u64>) -> Duration {
    let left = |ms: u64| Duration::from_millis(ms.saturating_sub(boot_ms()));
    ms.map_or(SLEEP_MAX, left).min(SLEEP_MAX)
}
