//! One attempt until everything of it is dead: what it needs is made ready, then it is run.

use std::path::Path;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::Outcome;
use campusgrid_sandbox::plan::{Plan, Progress as Happened, Report};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Runner;
use super::backend::{BackendError, Surroundings};
use super::live_log::LiveLog;
use super::outcome::{backend_failed, fault, outcome};
use super::plan::plan;
use super::words::RunWords;
use crate::agent::effect::{AgentInput, Order, Progress};

/// Pieces of output on their way from the sandbox; while it is full, the task's pipes are not read.
const PROGRESS: usize = 64;

/// What one run is about.
pub(super) struct Course<'a> {
    pub(super) runner: &'a Runner,
    pub(super) attempt: AttemptId,
    pub(super) order: &'a Order,
    pub(super) words: &'a RunWords,
    pub(super) inputs: &'a mpsc::Sender<AgentInput>,
    pub(super) results: &'a Path,
}

impl Course<'_> {
    /// What came of the attempt: the sandbox's report, or an outcome without one.
    pub(super) async fn run(&self) -> Result<(Report, Outcome), Outcome> {
        let (spec, limits) = (&*self.order.spec, self.runner.limits);
        let surroundings = self.runner.backends.surroundings(spec.image.as_deref(), spec.isolation);
        let equipment = self.equip(surroundings).await?;
        tokio::fs::create_dir(self.results).await.map_err(|error| {
            fault(format!("no directory for the results could be made: {error}"))
        })?;
        let plan =
            plan(self.attempt, spec, equipment.seen(surroundings), self.results.to_owned(), limits);
        let report = self.confine(surroundings, plan).await;
        // Nothing of the task is alive any more; whoever is granted its GPUs next waits for less.
        if let Err(error) = equipment.gpus.release().await {
            warn!("a GPU is not free after its task: {:#}", anyhow::Error::new(error));
        }
        let report = report.map_err(|error| {
            let outcome = backend_failed(error);
            self.words.stopped().unwrap_or(outcome)
        })?;
        let outcome = outcome(&report, spec, limits, self.words.stopped());
        Ok((report, outcome))
    }

    /// Runs the plan, and passes on what happens meanwhile.
    async fn confine(
        &self,
        surroundings: Surroundings<'_>,
        plan: Plan,
    ) -> Result<Report, BackendError> {
        let (progress, happened) = mpsc::channel(PROGRESS);
        let stop = CancellationToken::new();
        let run = self.runner.backends.run(surroundings, plan, progress, stop.clone());
        let watch = async {
            self.words.clone().until_stopped().await;
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

    pub(super) async fn tell(&self, progress: Progress) {
        // Without a daemon there is nobody to tell, and the run is about to be dropped.
        let _ = self.inputs.send(AgentInput::Progress { attempt: self.attempt, progress }).await;
    }
}
