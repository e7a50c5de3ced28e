//! What came of a task in a container, in the words that all backends share.

use campusgrid_protocol::task::Usage;
use campusgrid_sandbox::plan::{Exit, Plan, Report};
use nix::libc::SIGXFSZ;

use crate::error::EngineError;
use crate::event::{Ending, Full};
use crate::supervise::{Cause, Course};
use crate::unpack::Outputs;

/// What a shell answers for a command that died of this signal.
const SHELL_SIGXFSZ: i32 = 128 + SIGXFSZ;

/// Puts a report together. Blocks for two files.
///
/// # Errors
///
/// `Host` if our own disk fails, `Helper` if no end was told.
pub(crate) fn report(
    course: &Course,
    exit: Exit,
    plan: &Plan,
    outputs: Outputs,
) -> Result<Report, EngineError> {
    let done = course.done;
    let ram_peak_mib = done.map_or(0, |done| done.ram_peak_kib.div_ceil(1024));
    let saved = |capture: &campusgrid_sandbox::capture::Capture, name: &str| {
        let written = capture.save(plan.results.join(name));
        written.map_err(EngineError::host("write what the task printed"))
    };
    Ok(Report {
        exit,
        step: course.step,
        usage: Usage {
            run_ms: course.run_ms,
            cpu_ms: done.map_or(0, |done| done.cpu_ms),
            ram_peak_mib: u32::try_from(ram_peak_mib).unwrap_or(u32::MAX),
        },
        stdout: saved(&course.stdout, "stdout")?,
        stderr: saved(&course.stderr, "stderr")?,
        outputs: outputs.files,
        left_behind: outputs.left_behind,
        checkpoint: course.checkpoint.clone(),
    })
}

/// The one word for how a task ended: what its user or we did about it comes first, then what the
/// kernel did, then what the task itself says.
///
/// # Errors
///
/// `Helper` if no end was told.
pub(crate) fn exit(course: &Course) -> Result<Exit, EngineError> {
    let untold = || EngineError::Helper { message: "it did not tell the end".to_owned() };
    if let Some(Cause::Stopped | Cause::HandedBack) = course.cause {
        return Ok(Exit::Stopped);
    }
    let done = course.done.ok_or_else(untold)?;
    // Whatever the exit code says: a parent may not mind that its children were killed.
    if done.oom_kills > 0 {
        return Ok(Exit::OutOfMemory);
    }
    Ok(match (course.cause, course.ending) {
        (Some(Cause::Stopped | Cause::HandedBack), _) => Exit::Stopped,
        (Some(Cause::TimeLimit), _) => Exit::TimeLimit,
        (Some(Cause::OutputFlood), _) => Exit::OutputFlood,
        (None, Some(Ending::Code(0))) => Exit::Code(0),
        (None, Some(Ending::Signal(SIGXFSZ) | Ending::Code(SHELL_SIGXFSZ))) => Exit::FileTooLarge,
        (None, Some(ending)) => match (done.full, ending) {
            (Some(Full::Space), _) => Exit::ScratchFull,
            (Some(Full::Files), _) => Exit::TooManyFiles,
            (Some(Full::File), _) => Exit::FileTooLarge,
            (None, _) if done.forks_refused > 0 => Exit::Processes,
            (None, Ending::Code(code)) => Exit::Code(code),
            (None, Ending::Signal(signal)) => Exit::Signal(signal),
        },
        (None, None) => return Err(untold()),
    })
}
