//! The sandbox as the worker uses it: what holds here, and running plans.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use campusgrid_protocol::task::Usage;
use campusgrid_protocol::text::check_path;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cgroup::{Cgroup, Counters};
use crate::collect::{Outputs, collect};
use crate::cpus::Cpus;
use crate::keeper::Keeper;
use crate::order::{Ending, ORDER_BYTES_MAX, Order};
use crate::plan::{Exit, Limits, Plan, Progress, Report, SandboxError, Strength};
use crate::probe;
use crate::supervise::{Cause, Course, Supervision};

const MIB: u64 = 1024 * 1024;
/// Below this the helper and bubblewrap themselves would not fit.
const RAM_MIB_MIN: u32 = 16;
/// Bubblewrap makes a room in some milliseconds; a machine may be busy.
const BWRAP_MS_MAX: u64 = 1000;
/// What a shell answers for a command that cannot be started.
const NOT_FOUND: i32 = 127;

/// How the worker wants its tasks confined.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    pub confinement: Confinement,
    /// The program that calls [`crate::helper::helper_main`] when it is told to:
    /// `/proc/self/exe` for a worker.
    pub helper: PathBuf,
    /// A directory of this worker's alone, made if need be, for what is short-lived.
    /// What lies in it from earlier runs is removed.
    pub scratch: PathBuf,
    /// As root, tasks run as this uid and the 255 after it, each as one of its own.
    pub first_job_uid: u32,
}

/// Which walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Namespaces through bubblewrap, limits through cgroups; nothing less will do.
    Full,
    /// None at all, for the owner's own tasks: `--unsafe-no-sandbox`.
    None,
}

/// Runs plans. Dropping it waits until what it keeps ready is gone.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) keeper: Keeper,
    /// The cores that tasks are spread over; none where tasks are not confined.
    pub(crate) cpus: Option<Cpus>,
}

impl Sandbox {
    /// Tries what the configuration asks for, with a real task, and tells what holds.
    ///
    /// No sandbox means that no task may run here; the strength's notes then say what is missing
    /// and the command that mends it. Also removes what earlier runs have left.
    pub async fn probe(config: SandboxConfig) -> (Option<Self>, Strength) {
        probe::probe(config).await
    }

    /// Runs a plan to its end, and collects what it leaves.
    ///
    /// To be polled together with the receiver of `progress`: while that is full, the task's
    /// streams are not read, but all limits hold; of a task that has ended, what is not taken
    /// within a second is not told any more. A receiver that is gone does not matter.
    /// `stop` ends the task as its time limit would. Dropping the future kills the task.
    /// Files in `plan.results` are not synced to the disk. Inside, the task's directory is `/job`,
    /// what it leaves in `/job/outputs` is collected, and beside the plan's environment there is
    /// only `PWD`. Files in scratch space count as memory, too. Where there are no walls, arguments
    /// and variables that begin with `/job` or a path of `plan.read_only` are translated.
    ///
    /// # Errors
    ///
    /// Never the task's own fault; nothing of it is left running.
    pub async fn run(
        &self,
        plan: Plan,
        progress: mpsc::Sender<Progress>,
        stop: CancellationToken,
    ) -> Result<Report, SandboxError> {
        check(&plan)?;
        let mut occupied = self.keeper.take().await?;
        let lane = occupied.lane();
        let cgroup = lane.cgroup();
        let share = self.cpus.as_ref().map(|cpus| cpus.take(plan.limits.cpu_millis));
        let mut before = Counters::default();
        if let (Some(cgroup), Some(share)) = (&cgroup, &share) {
            let (cgroup, limits, cpus) = (Arc::clone(cgroup), plan.limits, share.cpus.clone());
            before = blocking(move || {
                cgroup.limit(&limits, &cpus)?;
                Ok(cgroup.counters())
            })
            .await?;
        }
        let order =
            Order::encode(&plan, lane.walls(&plan, share.as_ref().map(|share| share.cpus.clone())));
        let streams = lane.streams()?;
        let scratch = lane.scratch();
        let course = Supervision::follow(&plan, streams, order, progress, stop).await?;
        // The helper holds the scratch space until `occupied` is dropped, after the collection.
        blocking(move || report(course, &plan, &scratch, cgroup.as_deref(), before)).await
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    tokio::task::spawn_blocking(work).await.map_err(|source| SandboxError::Host {
        operation: "finish work on another thread",
        source: io::Error::other(source),
    })?
}

fn report(
    course: Course,
    plan: &Plan,
    scratch: &Path,
    cgroup: Option<&Cgroup>,
    before: Counters,
) -> Result<Report, SandboxError> {
    let counters = cgroup.map(Cgroup::counters);
    let exit = exit(&course, counters.unwrap_or_default())?;
    let failed = |operation| move |source| SandboxError::Host { operation, source };
    let outputs = match course.done {
        Some(_) => collect(scratch, &plan.results.join("outputs"), &plan.limits)?,
        None => Outputs {
            left_behind: "all outputs (they were lost when memory ran out)".to_owned(),
            ..Outputs::default()
        },
    };
    let helper_cpu_ms = course.done.map_or(0, |done| done.cpu_ms);
    let helper_peak_bytes = course.done.map_or(0, |done| done.ram_peak_kib * 1024);
    let peak_bytes = counters.and_then(|counters| counters.ram_peak_bytes);
    let ram_peak_mib = peak_bytes.unwrap_or(helper_peak_bytes).div_ceil(MIB);
    Ok(Report {
        exit,
        step: course.step,
        usage: Usage {
            run_ms: course.run_ms,
            cpu_ms: counters
                .map_or(helper_cpu_ms, |now| now.cpu_us.saturating_sub(before.cpu_us) / 1000),
            ram_peak_mib: u32::try_from(ram_peak_mib).unwrap_or(u32::MAX),
        },
        stdout: course
            .stdout
            .save(plan.results.join("stdout"))
            .map_err(failed("write the task's output"))?,
        stderr: course
            .stderr
            .save(plan.results.join("stderr"))
            .map_err(failed("write the task's errors"))?,
        outputs: outputs.files,
        left_behind: outputs.left_behind,
    })
}

/// The one word for how a task ended: what its user or we did about it comes first, then what the
/// kernel did, then what the task itself says.
fn exit(course: &Course, counters: Counters) -> Result<Exit, SandboxError> {
    if course.cause == Some(Cause::Stopped) {
        return Ok(Exit::Stopped);
    }
    // Whatever the exit code says: a parent may not mind that its children were killed.
    if counters.oom_kills > 0 {
        return Ok(Exit::OutOfMemory);
    }
    let lost = || SandboxError::Host {
        operation: "keep the sandbox's helper alive",
        source: io::ErrorKind::UnexpectedEof.into(),
    };
    let done = course.done.ok_or_else(lost)?;
    Ok(match (course.cause, course.ending) {
        (Some(Cause::Stopped), _) => Exit::Stopped,
        (Some(Cause::TimeLimit), _) => Exit::TimeLimit,
        (Some(Cause::OutputFlood), _) => Exit::OutputFlood,
        (None, Some(Ending::Code(0))) => Exit::Code(0),
        (None, _) if done.scratch_full => Exit::ScratchFull,
        (None, _) if counters.forks_refused > 0 => Exit::Processes,
        (None, Some(Ending::Code(code))) => Exit::Code(code),
        (None, Some(Ending::Signal(signal))) => Exit::Signal(signal),
        (None, Some(Ending::Untold)) => return untold(course),
        (None, Some(Ending::Killed) | None) => return Err(lost()),
    })
}

/// What to make of a step whose end bubblewrap did not tell.
///
/// Either bubblewrap failed, which is our fault and costs the task's user nothing, or the task
/// broke it, which must not be a way to work for nothing: ours is only what was over at once,
/// before the task could print.
fn untold(course: &Course) -> Result<Exit, SandboxError> {
    let said = course.stderr.first_line();
    if said.starts_with("bwrap: execvp ") {
        return Ok(Exit::Code(NOT_FOUND));
    }
    let is_ours = said.starts_with("bwrap: ")
        && course.stdout.total_bytes() == 0
        && course.run_ms < BWRAP_MS_MAX;
    if is_ours { Err(SandboxError::Start { message: said }) } else { Ok(Exit::Code(1)) }
}

/// Refuses what no helper should be bothered with.
fn check(plan: &Plan) -> Result<(), SandboxError> {
    let refuse = |message: String| SandboxError::Start { message };
    let Limits { cpu_millis, ram_mib, scratch_mib, scratch_files, processes, .. } = plan.limits;
    if ram_mib < RAM_MIB_MIN {
        return Err(refuse(format!("{ram_mib} MiB of memory are less than {RAM_MIB_MIN}")));
    }
    // The kernel takes no quota below 1 ms in 100.
    if cpu_millis < 10 || scratch_mib == 0 || scratch_files == 0 || processes == 0 {
        return Err(refuse("a limit of the plan leaves nothing to run in".to_owned()));
    }
    if plan.steps.is_empty() || plan.steps.iter().any(|step| step.argv.is_empty()) {
        return Err(refuse("the plan has a step without a command, or no step".to_owned()));
    }
    if let Some((path, _)) = plan.files.iter().find(|(path, _)| check_path(path).is_err()) {
        return Err(refuse(format!("{path:?} cannot be a file of the task")));
    }
    let is_name = |name: &str| !name.is_empty() && !name.contains('=');
    if !plan.environment.iter().all(|(name, _)| is_name(name)) {
        return Err(refuse("a variable of the plan has a name that cannot be".to_owned()));
    }
    let arguments = plan.steps.iter().flat_map(|step| &step.argv);
    let variables = plan.environment.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = 0;
    for text in arguments.chain(variables) {
        bytes += text.len();
        if text.contains('\0') {
            return Err(refuse("an argument or a variable of the plan has a NUL".to_owned()));
        }
    }
    // JSON can make six bytes of one; the rest of the order is small beside it.
    if bytes > ORDER_BYTES_MAX as usize / 8 {
        return Err(refuse(format!("arguments and variables of {bytes} bytes are too long")));
    }
    for (host, inside) in &plan.read_only {
        let is_plain = |path: &Path| path.is_absolute() && path.to_str().is_some();
        if !is_plain(host) || !is_plain(inside) {
            return Err(refuse(format!("{} cannot be shown to the task", host.display())));
        }
    }
    fs::metadata(&plan.results)
        .map(drop)
        .map_err(|source| SandboxError::Host { operation: "find the results directory", source })
}
