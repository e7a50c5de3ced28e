//! One attempt until everything of it is dead: its environment, then the sandbox.

use std::path::{Path, PathBuf};

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Failure, Outcome, TaskSpec, Work, WorkerFault};
use campusgrid_sandbox::plan::{Plan, Progress as Happened, Report, SandboxError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::live_log::LiveLog;
use super::outcome::{fault, outcome};
use super::plan::plan;
use super::{Runner, StopOrders};
use crate::agent::effect::{AgentInput, Progress, StopOrder};
use crate::environment::EnvironmentError;

/// Pieces of output on their way from the sandbox; while it is full, the task's pipes are not read.
const PROGRESS: usize = 64;

/// What one run is about.
pub(super) struct Course<'a> {
    pub(super) runner: &'a Runner,
    pub(super) attempt: AttemptId,
    pub(super) spec: &'a TaskSpec,
    pub(super) orders: &'a StopOrders,
    pub(super) inputs: &'a mpsc::Sender<AgentInput>,
    pub(super) results: &'a Path,
}

impl Course<'_> {
    /// What came of the attempt: the sandbox's report, or an outcome without one.
    pub(super) async fn run(&self) -> Result<(Report, Outcome), Outcome> {
        let environment = self.environment().await?;
        tokio::fs::create_dir(self.results).await.map_err(|error| {
            fault(format!("no directory for the results could be made: {error}"))
        })?;
        let limits = self.runner.limits;
        let plan = plan(self.attempt, self.spec, environment, self.results.to_owned(), limits);
        let report = self.confine(plan).await.map_err(|error| {
            let words = format!("{:#}", anyhow::Error::new(error));
            warn!("the sandbox failed: {words}");
            stopped(self.orders).unwrap_or_else(|| fault(words))
        })?;
        let outcome = outcome(&report, self.spec, limits, stopped(self.orders));
        Ok((report, outcome))
    }

    async fn environment(&self) -> Result<Option<PathBuf>, Outcome> {
        let requirements = match &self.spec.work {
            Work::Python { requirements, .. } if !requirements.is_empty() => requirements,
            Work::Python { .. } | Work::C { .. } | Work::Shell { .. } => return Ok(None),
        };
        self.tell(Progress::Preparing { step: "installing its Python packages".to_owned() }).await;
        let ready = tokio::select! {
            biased;
            () = until_stopped(self.orders.clone()) => {
                return Err(stopped(self.orders).unwrap_or(Outcome::Returned(WorkerFault::Leaving)));
            }
            ready = self.runner.environments.ready(requirements) => ready,
        };
        ready.map(Some).map_err(|error| match error {
            EnvironmentError::Requirements { message } => {
                Outcome::Failed(Failure::Requirements { message })
            }
            EnvironmentError::Machine { message } => {
                warn!("no environment: {message}");
                Outcome::Returned(WorkerFault::Environment { message })
            }
        })
    }

    /// Runs the plan, and passes on what happens meanwhile.
    async fn confine(&self, plan: Plan) -> Result<Report, SandboxError> {
        let (progress, happened) = mpsc::channel(PROGRESS);
        let stop = CancellationToken::new();
        let run = self.runner.sandbox.run(plan, progress, stop.clone());
        let watch = async {
            until_stopped(self.orders.clone()).await;
            stop.cancel();
        };
        let meanwhile = async { tokio::join!(watch, self.tell_all(happened)) };
        tokio::pin!(run);
        // The last piece of a live log is not waited for: the whole log comes with the end.
        tokio::select! {
            biased;
            report = &mut run => return report,
            _ = meanwhile => {}
        }
        run.await
    }

    async fn tell_all(&self, mut happened: mpsc::Receiver<Happened>) {
        let mut log = LiveLog::new(self.attempt, self.inputs.clone());
        loop {
            let happened = tokio::select! {
                biased;
                happened = happened.recv() => happened,
                () = log.due() => {
                    log.flush().await;
                    continue;
                }
            };
            match happened {
                Some(Happened::Step(0)) => self.tell(Progress::Started).await,
                Some(Happened::Step(_)) => {}
                Some(Happened::Printed { stream, bytes }) => log.printed(stream, &bytes).await,
                None => return,
            }
        }
    }

    async fn tell(&self, progress: Progress) {
        // Without a daemon there is nobody to tell, and the run is about to be dropped.
        let _ = self.inputs.send(AgentInput::Progress { attempt: self.attempt, progress }).await;
    }
}

/// Returns when there is an order to stop, or no daemon any more to give one.
async fn until_stopped(mut orders: StopOrders) {
    let _ = orders.wait_for(Option::is_some).await;
}

/// What a stop was ordered to be reported as; for a forgotten attempt it does not matter.
fn stopped(orders: &StopOrders) -> Option<Outcome> {
    match &*orders.borrow() {
        Some(StopOrder::Report(outcome)) => Some(outcome.clone()),
        Some(StopOrder::Forget) => Some(Outcome::Cancelled),
        None => None,
    }
}
