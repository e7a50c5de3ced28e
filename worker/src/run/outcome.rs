//! How an attempt ended, in the words of the protocol: who answers for it.

use campusgrid_container::error::Blame;
use campusgrid_protocol::task::{Failure, Outcome, TaskSpec, Work, WorkerFault};
use campusgrid_sandbox::plan::{Exit, Report};
use tracing::warn;

use super::backend::BackendError;
use super::plan::{COMPILE_LIMIT, file_mib, scratch_files};
use crate::config::TaskLimits;
use crate::spool::Spool;

/// The worker's own failure.
pub(super) fn fault(message: String) -> Outcome {
    Outcome::Returned(WorkerFault::Sandbox { message: shortened(&message) })
}

/// The worker's disk has no room.
pub(super) fn disk_full(message: String) -> Outcome {
    Outcome::Returned(WorkerFault::Disk { message: shortened(&message) })
}

/// It may quote what the task printed, which has no end.
fn shortened(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS).collect()
}

/// A plan that could not be run, on a worker that keeps results in `spool`.
pub(super) fn backend_failed(error: BackendError, spool: &Spool) -> Outcome {
    let blame = error.blame();
    let has_run_out = spool.has_run_out(&error);
    let message = shortened(&format!("{:#}", anyhow::Error::new(error)));
    warn!("a plan could not be run: {message}");
    match blame {
        Blame::Engine => Outcome::Returned(WorkerFault::Engine { message }),
        Blame::Submitter => Outcome::Failed(Failure::Image { message }),
        Blame::Worker if has_run_out => disk_full(message),
        Blame::Worker => fault(message),
    }
}

/// Kept of a fault's message.
const MESSAGE_CHARS: usize = 2000;

/// For logs, which hold nothing of what a job contains.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Returned(_) => "returned",
    }
}

/// The outcome of a report; `stopped` is what a stop was ordered to be reported as.
pub(super) fn outcome(
    report: &Report,
    spec: &TaskSpec,
    limits: TaskLimits,
    stopped: Option<Outcome>,
) -> Outcome {
    let compiling = report.step == 0
        && match spec.work {
            Work::C { .. } => true,
            Work::Python { .. } | Work::Shell { .. } => false,
        };
    let compile_limit_s = u32::try_from(COMPILE_LIMIT.as_secs()).unwrap_or(u32::MAX);
    let flood_mib = u32::try_from(limits.log_flood_bytes >> 20).unwrap_or(u32::MAX);
    Outcome::Failed(match report.exit {
        Exit::Code(0) => return Outcome::Succeeded,
        Exit::Stopped => {
            return stopped.unwrap_or_else(|| fault("it stopped without being asked".to_owned()));
        }
        Exit::Code(code) if compiling => Failure::CompileError { code },
        Exit::Code(code) => Failure::ExitCode(code),
        Exit::Signal(signal) => Failure::Signal(signal),
        Exit::OutOfMemory => {
            let limit_mib = spec.needs.ram_mib.saturating_add(spec.needs.disk_mib);
            Failure::OutOfMemory { limit_mib }
        }
        Exit::TimeLimit if compiling => Failure::TimeLimit { limit_s: compile_limit_s },
        Exit::TimeLimit => Failure::TimeLimit { limit_s: spec.time_limit_s },
        Exit::ScratchFull => Failure::ScratchFull { limit_mib: spec.needs.disk_mib },
        Exit::TooManyFiles => Failure::TooManyFiles { limit: scratch_files(spec) },
        Exit::FileTooLarge => Failure::FileTooLarge { limit_mib: file_mib(spec) },
        Exit::Processes => Failure::Processes { limit: limits.processes },
        Exit::OutputFlood => Failure::OutputFlood { limit_mib: flood_mib },
    })
}
