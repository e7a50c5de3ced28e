//! One attempt until everything of it is dead: what it needs is made ready, then it is run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Outcome, WorkerFault};
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Collected, Plan, Progress as Happened, Report};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::Runner;
use super::backend::{BackendError, Surroundings};
use super::checkpoint::Offer;
use super::live_log::LiveLog;
use super::outcome::{backend_failed, disk_full, fault, outcome};
use super::plan::{outputs_bytes, plan};
use super::words::RunWords;
use crate::agent::effect::{AgentInput, Order, Progress};
use crate::clock::boot_ms;

/// Pieces of output on their way from the sandbox; while it is full, the task's pipes are not read.
const PROGRESS: usize = 64;

/// A fault of this machine's that comes sooner than this after the start would come for every task.
const SOON_MS: u64 = 1000;

/// How long such a fault is kept back. Short against the time that a task takes, long against the time
/// in which the manager sends the next one.
const FAULT_PAUSE: Duration = Duration::from_secs(3);

/// What is to be free beside what a task may leave.
const SPARE_BYTES: u64 = 16 << 20;

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
        let begun_ms = boot_ms();
        let came = self.run_through().await;
        keep_back(came, boot_ms().saturating_sub(begun_ms), self.words).await
    }

    async fn run_through(&self) -> Result<(Report, Outcome), Outcome> {
        let (spec, limits) = (&*self.order.spec, self.runner.limits);
        self.check_room()?;
        let surroundings = self.runner.backends.surroundings(spec.image.as_deref(), spec.isolation);
        let equipment = self.equip(surroundings).await?;
        // Its packages may have taken what there was.
        self.check_room()?;
        tokio::fs::create_dir(self.results).await.map_err(|error| {
            let message = format!("no directory for the results could be made: {error}");
            if self.runner.spool.has_run_out(&error) { disk_full(message) } else { fault(message) }
        })?;
        let seen = equipment.seen(surroundings);
        let plan = plan(self.attempt, self.order, seen, self.results.to_owned(), limits)?;
        let report = self.confine(surroundings, plan).await;
        // Nothing of the task is alive any more; whoever is granted its GPUs next waits for less.
        if let Err(error) = equipment.gpus.release().await {
            warn!("a GPU is not free after its task: {:#}", anyhow::Error::new(error));
        }
        let report = report.map_err(|error| {
            let outcome = backend_failed(error, &self.runner.spool);
            self.words.stopped().unwrap_or(outcome)
        })?;
        let outcome = outcome(&report, spec, limits, self.words.stopped());
        Ok((report, outcome))
    }

    /// Whether the disk has room for all that the task may leave: better now than when it has run for
    /// a day. Others may fill it meanwhile, so that it can still be full in the end.
    fn check_room(&self) -> Result<(), Outcome> {
        let limits = self.runner.limits;
        let needed = outputs_bytes(&self.order.spec) + 2 * limits.log_keep_bytes + SPARE_BYTES;
        match self.runner.spool.free_bytes() {
            Ok(free) if free < needed => Err(disk_full(format!(
                "{} MiB are free where results are kept, and the task may leave {} MiB",
                free >> 20,
                needed >> 20
            ))),
            Ok(_) => Ok(()),
            Err(error) => Err(fault(format!("{:#}", anyhow::Error::new(error)))),
        }
    }

    /// Runs the plan, and passes on what happens meanwhile.
    async fn confine(
        &self,
        surroundings: Surroundings<'_>,
        plan: Plan,
    ) -> Result<Report, BackendError> {
        let (progress, happened) = mpsc::channel(PROGRESS);
        let (say, controls) = Controls::channel();
        let run = self.runner.backends.run(surroundings, plan, progress, controls);
        let steer = self.words.clone().steer(say);
        let meanwhile = async { tokio::join!(steer, self.tell_all(happened)) };
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
        // At most one: what comes meanwhile is left out, and the next one is due soon.
        let mut offers = JoinSet::new();
        loop {
            let happened = tokio::select! {
                biased;
                happened = happened.recv() => happened,
                Some(offered) = offers.join_next() => {
                    if let Ok(Some(saved)) = offered {
                        self.tell(Progress::Saved(saved)).await;
                    }
                    continue;
                }
                () = log.due() => {
                    log.flush().await;
                    continue;
                }
            };
            match happened {
                Some(Happened::Step(0)) => self.tell(Progress::Started).await,
                Some(Happened::Step(_)) => {}
                Some(Happened::Still) => self.words.stands_still(),
                Some(Happened::Printed { stream, bytes }) => log.printed(stream, &bytes).await,
                Some(Happened::Saved { files, directory, run_ms }) if offers.is_empty() => {
                    offers.spawn(self.offer(files, directory, run_ms).bring());
                }
                Some(Happened::Saved { directory, .. }) => {
                    let _swept_later = tokio::fs::remove_dir_all(&directory).await;
                }
                None => return,
            }
        }
    }

    fn offer(&self, files: Vec<Collected>, directory: PathBuf, run_ms: u64) -> Offer {
        let begun_ms = self.order.checkpoint.map_or(0, |saved| saved.run_ms);
        let inputs = &self.runner.inputs;
        Offer {
            attempt: self.attempt,
            files,
            directory,
            run_ms: begun_ms.saturating_add(run_ms),
            door: inputs.door(),
            pacing: inputs.pacing().clone(),
        }
    }

    pub(super) async fn tell(&self, progress: Progress) {
        // Without a daemon there is nobody to tell, and the run is about to be dropped.
        let _ = self.inputs.send(AgentInput::Progress { attempt: self.attempt, progress }).await;
    }
}

/// Waits for a while with a fault of this machine's that came soon after the start, unless the attempt
/// is ordered to stop.
///
/// A broken machine is free again at once, so it would draw one task after another and use up their
/// tries in milliseconds, while good machines are busy.
async fn keep_back<T>(
    came: Result<T, Outcome>,
    took_ms: u64,
    words: &RunWords,
) -> Result<T, Outcome> {
    match came {
        Err(Outcome::Returned(fault)) if is_lasting(&fault) && took_ms < SOON_MS => {
            // Passed or stopped in between, both end the wait.
            let _ = timeout(FAULT_PAUSE, words.clone().until_stopped()).await;
            Err(words.stopped().unwrap_or(Outcome::Returned(fault)))
        }
        came => came,
    }
}

/// Whether the next task would likely meet the same fault of this machine.
fn is_lasting(fault: &WorkerFault) -> bool {
    match fault {
        WorkerFault::Sandbox { .. }
        | WorkerFault::Environment { .. }
        | WorkerFault::Engine { .. }
        | WorkerFault::Gpu { .. }
        | WorkerFault::Disk { .. }
        | WorkerFault::Inputs { .. } => true,
        WorkerFault::LeaseOver | WorkerFault::Restarted | WorkerFault::Leaving => false,
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::task::Failure;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::agent::effect::StopOrder;
    use crate::run::words::RunHandle;

    fn engine() -> Outcome {
        Outcome::Returned(WorkerFault::Engine { message: "it is gone".to_owned() })
    }

    /// What is reported of it, and after how long.
    async fn check(
        outcome: Outcome,
        took_ms: u64,
        order: Option<StopOrder>,
    ) -> (Outcome, Duration) {
        let (_thawed, frozen) = watch::channel(false);
        let (handle, words) = RunHandle::new(None, frozen);
        handle.stop.send_replace(order);
        let begun = Instant::now();
        let reported = keep_back(Err::<(), _>(outcome), took_ms, &words).await.unwrap_err();
        (reported, begun.elapsed().min(FAULT_PAUSE))
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_machine_does_not_eat_tries_in_milliseconds() {
        assert_eq!(check(engine(), 20, None).await, (engine(), FAULT_PAUSE));
        assert_eq!(check(engine(), SOON_MS, None).await, (engine(), Duration::ZERO));
        for own in [Outcome::Returned(WorkerFault::Leaving), Outcome::Failed(Failure::ExitCode(1))]
        {
            assert_eq!(check(own.clone(), 20, None).await, (own, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_to_stop_ends_the_wait() {
        let order = Some(StopOrder::Report(Outcome::Cancelled));
        assert_eq!(check(engine(), 20, order).await, (Outcome::Cancelled, Duration::ZERO));
    }
}
