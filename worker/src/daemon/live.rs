//! The daemon's loop: inputs to the agent, its effects out into the world, until it has left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::id::{AttemptId, WorkerKey};
use campusgrid_protocol::message::{Approval, ToManager};
use campusgrid_protocol::task::Ended;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ShowApproval;
use crate::agent::Agent;
use crate::agent::effect::{AgentEffect, AgentEffects, AgentInput};
use crate::backoff::random;
use crate::bulk;
use crate::clock::boot_ms;
use crate::connection::{self, ConnectionEvent, ManagerAddress, Outbox};
use crate::probe::LoadMeter;
use crate::run::Runner;
use crate::run::words::RunHandle;

/// Messages of the manager on their way to the agent.
const EVENTS: usize = 256;

/// Tokio's timers stand still while the machine is suspended, so none is set for longer: a worker
/// that wakes up knows within this time that its leases are over.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// For the last messages to leave the socket.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// The agent and everything that its effects reach.
pub(super) struct Daemon {
    pub(super) agent: Agent,
    pub(super) key: WorkerKey,
    pub(super) manager: ManagerAddress,
    pub(super) runner: Arc<Runner>,
    pub(super) inputs: mpsc::Sender<AgentInput>,
    pub(super) outbox: Option<Outbox>,
    pub(super) runs: BTreeMap<AttemptId, RunHandle>,
    /// Ends with blobs, which an upload needs.
    pub(super) ended: BTreeMap<AttemptId, Box<Ended>>,
    pub(super) load: LoadMeter,
    pub(super) approval: Option<Approval>,
    pub(super) owner: Option<String>,
    pub(super) show: ShowApproval,
}

enum Flow {
    GoOn,
    Left,
}

impl Daemon {
    /// Lives until the agent has left.
    pub(super) async fn live(
        mut self,
        recovered: Vec<Ended>,
        mut input: mpsc::Receiver<AgentInput>,
        shutdown: CancellationToken,
    ) {
        if !recovered.is_empty() {
            info!(results = recovered.len(), "results of an earlier run wait in the spool");
        }
        self.handle(AgentInput::Recovered(recovered));
        let (events, mut event) = mpsc::channel(EVENTS);
        let hang_up = CancellationToken::new();
        let connection =
            tokio::spawn(connection::run(self.manager.clone(), events, hang_up.clone()));
        let mut leaving = false;
        loop {
            let pause = self.pause();
            let flow = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !leaving => {
                    leaving = true;
                    info!("leaving: tasks are stopped and given back");
                    self.handle(AgentInput::Leave)
                }
                Some(event) = event.recv() => self.on_event(event),
                Some(input) = input.recv() => self.handle(input),
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
        self.say_goodbye(event, connection, hang_up).await;
    }

    /// Until the agent's next deadline, or for a while.
    fn pause(&self) -> Duration {
        let until = |ms: u64| Duration::from_millis(ms.saturating_sub(boot_ms()));
        self.agent.next_deadline().map_or(SLEEP_MAX, until).min(SLEEP_MAX)
    }

    fn on_event(&mut self, event: ConnectionEvent) -> Flow {
        match event {
            ConnectionEvent::Up(outbox) => {
                self.outbox = Some(outbox);
                self.handle(AgentInput::Connected)
            }
            ConnectionEvent::Received(message) => self.handle(AgentInput::Received(message)),
            ConnectionEvent::Down => {
                self.outbox = None;
                self.handle(AgentInput::Disconnected)
            }
        }
    }

    fn handle(&mut self, input: AgentInput) -> Flow {
        match &input {
            AgentInput::Recovered(all) => {
                self.ended.extend(all.iter().map(|end| (end.attempt, Box::new(end.clone()))));
            }
            AgentInput::Finished(end) => {
                self.runs.remove(&end.attempt);
                self.ended.insert(end.attempt, end.clone());
            }
            AgentInput::Gone { attempt } => {
                self.runs.remove(attempt);
            }
            AgentInput::Connected
            | AgentInput::Disconnected
            | AgentInput::Received(_)
            | AgentInput::Progress { .. }
            | AgentInput::Uploaded { .. }
            | AgentInput::UploadFailed { .. }
            | AgentInput::Tick { .. }
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
        flow
    }

    fn carry_out(&mut self, effect: AgentEffect) -> Flow {
        match effect {
            AgentEffect::Send(message) => self.send(message),
            AgentEffect::Run { attempt, order } => {
                let (handle, words) = RunHandle::new(order.lock.clone());
                self.runs.insert(attempt, handle);
                let runner = Arc::clone(&self.runner);
                tokio::spawn(runner.run(attempt, order, words, self.inputs.clone()));
            }
            AgentEffect::Lock { attempt, lock } => {
                if let Some(run) = self.runs.get(&attempt) {
                    run.lock.send_replace(Some(lock));
                }
            }
            AgentEffect::Stop { attempt, order } => {
                if let Some(run) = self.runs.get(&attempt) {
                    run.stop.send_replace(Some(order));
                }
            }
            AgentEffect::Spool(ended) => {
                let runner = Arc::clone(&self.runner);
                tokio::spawn(runner.spool_empty(ended, self.inputs.clone()));
            }
            AgentEffect::Unspool { attempt } => {
                self.ended.remove(&attempt);
                let spool = self.runner.spool.clone();
                tokio::task::spawn_blocking(move || spool.remove(attempt));
            }
            AgentEffect::Upload { attempt } => self.upload(attempt),
            AgentEffect::Disconnect { reason } => {
                warn!("session over: {reason}");
                self.outbox = None;
            }
            AgentEffect::Approval(approval) => self.on_approval(approval),
            AgentEffect::Left => return Flow::Left,
        }
        Flow::GoOn
    }

    fn send(&mut self, message: ToManager) {
        if let Some(outbox) = &self.outbox
            && outbox.send(message).is_err()
        {
            warn!("the manager takes no messages: hanging up");
            self.outbox = None;
        }
    }

    fn upload(&mut self, attempt: AttemptId) {
        let blobs = self.ended.get(&attempt).map(|ended| self.runner.spool.blobs(ended));
        let (manager, key, inputs) = (self.manager.clone(), self.key, self.inputs.clone());
        tokio::spawn(async move {
            let blobs = blobs.unwrap_or_default();
            let input = match bulk::upload(&manager, key, attempt, &blobs).await {
                Ok(()) => AgentInput::Uploaded { attempt },
                Err(error) => {
                    warn!(%attempt, "upload failed: {:#}", anyhow::Error::new(error));
                    AgentInput::UploadFailed { attempt }
                }
            };
            let _ = inputs.send(input).await;
        });
    }

    fn on_approval(&mut self, approval: Approval) {
        if self.approval.as_ref() != Some(&approval) {
            (self.show)(&approval, self.owner.as_deref());
            self.approval = Some(approval);
        }
    }

    /// Lets the last messages out before the socket closes.
    async fn say_goodbye(
        mut self,
        mut event: mpsc::Receiver<ConnectionEvent>,
        connection: JoinHandle<()>,
        hang_up: CancellationToken,
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
        hang_up.cancel();
        drop(event); // Nothing may wait for room in it any more.
        let _ = connection.await;
    }
}
