//! Runs one attempt from its start to its end in the spool: environment, sandbox, live log, result.

pub mod backend;
mod checkpoint;
mod course;
mod equip;
mod live_log;
mod outcome;
mod plan;
mod program;
mod settle;
mod steering;
pub(crate) mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Ended, Outcome};
use campusgrid_sandbox::plan::Report;
use tokio::sync::mpsc;
use tracing::{Instrument, debug, info, info_span, warn};

use self::backend::Backends;
use self::course::Course;
use self::outcome::{disk_full, fault};
use self::words::RunWords;
use crate::agent::effect::{AgentInput, Order};
use crate::config::TaskLimits;
use crate::environment::Environments;
use crate::error::WorkerError;
use crate::gpu::Gpus;
use crate::inputs::Inputs;
use crate::spool::{NewBlob, Spool};

/// What every run needs.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) backends: Backends,
    pub(crate) gpus: Gpus,
    pub(crate) environments: Environments,
    pub(crate) inputs: Inputs,
    pub(crate) spool: Spool,
    /// Where logs and outputs are collected, on the spool's file system.
    pub(crate) runs_dir: PathBuf,
    pub(crate) limits: TaskLimits,
}

/// An end as it is about to be spooled.
struct Settled {
    ended: Ended,
    blobs: Vec<NewBlob>,
}

impl Runner {
    /// Runs an attempt and tells the agent how it goes; the last input is `Finished` or `Gone`.
    pub(crate) async fn run(
        self: Arc<Self>,
        attempt: AttemptId,
        order: Order,
        words: RunWords,
        inputs: mpsc::Sender<AgentInput>,
    ) {
        let span = info_span!("run", %attempt);
        async {
            let results = self.runs_dir.join(attempt.to_string());
            let course = Course {
                runner: &self,
                attempt,
                order: &order,
                words: &words,
                inputs: &inputs,
                results: &results,
            };
            let came = course.run().await;
            if came.is_err() {
                // Nothing in there is wanted any more, and the end may need the room.
                sweep(&results).await;
            }
            let begun_ms = order.checkpoint.map_or(0, |saved| saved.run_ms);
            let last = if words.is_forgotten() {
                info!("dropped");
                AgentInput::Gone { attempt }
            } else {
                let ended = self.settle(attempt, came, begun_ms).await;
                info!(
                    outcome = outcome::word(&ended.outcome),
                    duration_ms = ended.usage.run_ms,
                    "ended"
                );
                AgentInput::Finished(Box::new(ended))
            };
            // A daemon that is gone has no use for it; the end is on disk.
            let _ = inputs.send(last).await;
            sweep(&results).await;
        }
        .instrument(span)
        .await;
    }

    /// Spools an end that has no run behind it.
    pub(crate) async fn spool_empty(
        self: Arc<Self>,
        ended: Box<Ended>,
        inputs: mpsc::Sender<AgentInput>,
    ) {
        let ended = self.store(Settled { ended: *ended, blobs: Vec::new() }).await;
        let _ = inputs.send(AgentInput::Finished(Box::new(ended))).await;
    }

    /// Turns what came of an attempt, which went on from `begun_ms` of its task's time, into its end
    /// and spools that.
    async fn settle(
        &self,
        attempt: AttemptId,
        came: Result<(Report, Outcome), Outcome>,
        begun_ms: u64,
    ) -> Ended {
        let settled = match came {
            Err(outcome) => {
                Ok(Settled { ended: Ended::empty(attempt, outcome), blobs: Vec::new() })
            }
            Ok((report, outcome)) => {
                let results = self.runs_dir.join(attempt.to_string());
                blocking(move || settle::settle(attempt, report, outcome, (&results, begun_ms)))
                    .await
            }
        };
        let settled = settled.unwrap_or_else(|error| self.lost(attempt, error));
        self.store(settled).await
    }

    /// Spools an end; one that cannot be kept is replaced by the worker's own failure to do so.
    async fn store(&self, settled: Settled) -> Ended {
        let attempt = settled.ended.attempt;
        let (spool, again) = (self.spool.clone(), self.spool.clone());
        let results = self.runs_dir.join(attempt.to_string());
        let stored = blocking(move || spool.store(&settled.ended, &settled.blobs));
        match stored.await {
            Ok(ended) => ended,
            Err(error) => {
                let lost = self.lost(attempt, error).ended;
                sweep(&results).await;
                let kept = lost.clone();
                if let Err(error) = blocking(move || again.store(&kept, &[])).await {
                    // It is sent all the same; only a crash before that would lose it.
                    warn!("not even a failure can be kept: {:#}", anyhow::Error::new(error));
                }
                lost
            }
        }
    }

    fn lost(&self, attempt: AttemptId, error: WorkerError) -> Settled {
        let outcome = if self.spool.has_run_out(&error) {
            disk_full("it had no room for what the task left".to_owned())
        } else {
            fault("its result could not be kept on the worker's disk".to_owned())
        };
        tracing::error!("a result is lost: {:#}", anyhow::Error::new(error));
        Settled { ended: Ended::empty(attempt, outcome), blobs: Vec::new() }
    }
}

/// Removes what a run has left in its directory, if that is still there.
async fn sweep(results: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(results).await {
        debug!("nothing to sweep after the run: {error}");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(WorkerError::BlockingWork { source: error }),
    }
}
