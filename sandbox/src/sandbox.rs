//! The sandbox as the worker uses it: what holds here, and running plans.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::Usage;
use campusgrid_protocol::text::{check_path, check_pattern};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::cgroup::{Cgroup, Counters};
use crate::checkpoint::Place;
use crate::collect::{Outputs, collect};
use crate::control::Controls;
use crate::cpus::{CpuShare, Cpus};
use crate::keeper::{Family, Keeper, Occupied};
use crate::order::{Ending, Full, ORDER_BYTES_MAX, Order};
use crate::plan::{Exit, Limits, Plan, Progress, Report, SandboxError, Strength};
use crate::probe;
use crate::stopper::Stopper;
use crate::supervise::{Caller, Cause, Course, Supervision};

const MIB: u64 = 1024 * 1024;
/// Below this the helper itself would hardly fit.
const RAM_MIB_MIN: u32 = 16;
/// Kills a program that makes a file larger than it may.
const SIGXFSZ: i32 = Signal::SIGXFSZ as i32;

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
    /// Whether the owner accepts walls without namespaces where there can be no better ones.
    pub allow_restricted: bool,
}

/// Which walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Namespaces, limits through cgroups, filtered system calls; nothing less will do.
    Full,
    /// Filters of the kernel and limits, but no namespaces; only as root, whose tasks have users
    /// of their own.
    Restricted,
    /// None at all, for the owner's own tasks: `--unsafe-no-sandbox`.
    None,
}

/// Runs plans. Dropping it waits until what it keeps ready is gone.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) keeper: Keeper,
    /// The cores that tasks are spread over; none where tasks are not confined.
    pub(crate) cpus: Option<Cpus>,
    pub(crate) isolation: Isolation,
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
    /// What `controls` say is done at once: nothing of a task that stands still runs within some
    /// milliseconds, and its time stops with it. Dropping the future kills the task.
    /// What lies in [`crate::checkpoint::CHECKPOINT_DIR`] is saved at intervals, if the plan says so.
    /// Files in `plan.results` are not synced to the disk. Inside, the task's directory is `/job`,
    /// what it leaves in `/job/outputs` is collected. Files in scratch space count as memory, too.
    /// Tasks of one family run faster, since they find warm what an earlier one had made.
    /// Without namespaces, arguments, variables and targets of links that begin with `/job`, `/tmp` or
    /// a path of `plan.read_only` are translated, and restricted tasks get a `TMPDIR`.
    ///
    /// # Errors
    ///
    /// Never the task's own fault; nothing of it is left running.
    pub async fn run(
        &self,
        plan: Plan,
        progress: mpsc::Sender<Progress>,
        controls: Controls,
    ) -> Result<Report, SandboxError> {
        check(&plan)?;
        // Only with namespaces is it certain that nothing is left of a task.
        let family = Family::of(&plan).filter(|_| self.isolation == Isolation::Full);
        let plan = Arc::new(plan);
        let caller = Caller { progress, controls };
        loop {
            let mut occupied = self.keeper.take(family.as_ref(), plan.network).await?;
            let share = self.prepare(&plan, &mut occupied).await?;
            let was_warm = occupied.was_warm;
            let lane = occupied.lane();
            let cores =
                share.as_ref().filter(|_| !lane.pins_cores()).map(|share| share.cpus.clone());
            let order = Order::encode(&plan, cores);
            let streams = match lane.open() {
                Err(_) if was_warm => continue, // It has just died of something.
                opened => opened?,
            };
            let place = (Place::of(&plan, lane.scratch()), Stopper::of(lane));
            let course = Supervision::follow(&plan, streams, order, place, caller.clone()).await?;
            if was_warm && !course.has_begun && course.done.is_none() {
                continue; // It died while it waited; nothing has happened.
            }
            let (cgroup, scratch, before) = (lane.cgroup(), lane.scratch(), lane.counted);
            let plan = Arc::clone(&plan);
            let is_whole = course.done.is_some();
            // The helper holds the scratch space until it is released or left.
            let (report, counted) =
                blocking(move || report(course, &plan, &scratch, cgroup.as_deref(), before))
                    .await?;
            lane.counted = counted;
            if let Some(family) = family.filter(|_| is_whole) {
                occupied.keep_warm(family);
            }
            return Ok(report);
        }
    }

    /// Sets the limits of a lane's cgroup, if it has one, and reserves cores.
    async fn prepare(
        &self,
        plan: &Plan,
        occupied: &mut Occupied,
    ) -> Result<Option<CpuShare>, SandboxError> {
        let is_limited = occupied.was_warm;
        let lane = occupied.lane();
        let (Some(cgroup), Some(cpus)) = (lane.cgroup(), &self.cpus) else { return Ok(None) };
        let share = cpus.take_near(plan.limits.cpu_millis, &lane.cores);
        let moves = share.cpus != lane.cores;
        if moves || !is_limited {
            let (limits, cores) = (plan.limits, share.cpus.clone());
            lane.counted = blocking(move || {
                if !is_limited {
                    cgroup.limit(&limits)?;
                }
                cgroup.pin(&cores)?;
                Ok(cgroup.counters())
            })
            .await?;
            lane.cores.clone_from(&share.cpus);
        }
        Ok(Some(share))
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
) -> Result<(Report, Counters), SandboxError> {
    let counters = cgroup.map(Cgroup::counters);
    if let Some(cgroup) = cgroup.filter(|_| plan.family.is_some()) {
        cgroup.reset_peak();
    }
    let used = counters.map(|now| now.since(before));
    let exit = exit(&course, used.unwrap_or_default())?;
    let failed = |operation| move |source| SandboxError::Host { operation, source };
    let outputs = match course.done {
        Some(_) => collect(scratch, &plan.results.join("outputs"), plan)?,
        None => Outputs {
            left_behind: "all outputs (they were lost when memory ran out)".to_owned(),
            ..Outputs::default()
        },
    };
    let checkpoint = match (course.cause, course.done, &plan.checkpoints) {
        (Some(Cause::HandedBack), Some(_), Some(_)) => {
            let place = Place::of(plan, scratch.to_owned());
            let copied = place.copy(&plan.results.join("checkpoint"));
            copied.map_err(failed("keep what the task goes on from"))?
        }
        (_, _, _) => Vec::new(),
    };
    let helper_cpu_ms = course.done.map_or(0, |done| done.cpu_ms);
    let helper_peak_bytes = course.done.map_or(0, |done| done.ram_peak_kib * 1024);
    let peak_bytes = used.and_then(|used| used.ram_peak_bytes);
    let ram_peak_mib = peak_bytes.unwrap_or(helper_peak_bytes).div_ceil(MIB);
    let (stdout, stderr) = (plan.results.join("stdout"), plan.results.join("stderr"));
    let report = Report {
        exit,
        step: course.step,
        usage: Usage {
            run_ms: course.run_ms,
            cpu_ms: used.map_or(helper_cpu_ms, |used| used.cpu_us / 1000),
            ram_peak_mib: u32::try_from(ram_peak_mib).unwrap_or(u32::MAX),
        },
        stdout: course.stdout.save(stdout).map_err(failed("write the task's output"))?,
        stderr: course.stderr.save(stderr).map_err(failed("write the task's errors"))?,
        outputs: outputs.files,
        left_behind: outputs.left_behind,
        checkpoint,
    };
    Ok((report, counters.unwrap_or_default()))
}

/// The one word for how a task ended: what its user or we did about it comes first, then what the
/// kernel did, then what the task itself says.
fn exit(course: &Course, used: Counters) -> Result<Exit, SandboxError> {
    if let Some(Cause::Stopped | Cause::HandedBack) = course.cause {
        return Ok(Exit::Stopped);
    }
    // Whatever the exit code says: a parent may not mind that its children were killed.
    if used.ran_out_of_memory() {
        return Ok(Exit::OutOfMemory);
    }
    let lost = |kind: io::ErrorKind| SandboxError::Host {
        operation: "keep the sandbox's processes alive",
        source: kind.into(),
    };
    let done = course.done.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof))?;
    Ok(match (course.cause, course.ending) {
        (Some(Cause::Stopped | Cause::HandedBack), _) => Exit::Stopped,
        (Some(Cause::TimeLimit), _) => Exit::TimeLimit,
        (Some(Cause::OutputFlood), _) => Exit::OutputFlood,
        (None, Some(Ending::Code(0))) => Exit::Code(0),
        // The whole machine ran out of memory, and the task had to go although it had kept within
        // its limit.
        (None, _) if used.oom_kills > 0 => return Err(lost(io::ErrorKind::OutOfMemory)),
        (None, _) if done.full == Full::Bytes => Exit::ScratchFull,
        (None, _) if done.full == Full::Files => Exit::TooManyFiles,
        (None, Some(Ending::Signal(SIGXFSZ))) => Exit::FileTooLarge,
        (None, _) if done.has_largest_file => Exit::FileTooLarge,
        (None, _) if used.forks_refused > 0 => Exit::Processes,
        (None, Some(Ending::Code(code))) => Exit::Code(code),
        (None, Some(Ending::Signal(signal))) => Exit::Signal(signal),
        (None, Some(Ending::Killed | Ending::Lost) | None) => {
            return Err(lost(io::ErrorKind::UnexpectedEof));
        }
    })
}

/// Refuses what no helper should be bothered with.
fn check(plan: &Plan) -> Result<(), SandboxError> {
    let refuse = |message: String| SandboxError::Start { message };
    let Limits { cpu_millis, ram_mib, scratch_mib, scratch_files, file_mib, processes, .. } =
        plan.limits;
    if !(1..=100).contains(&plan.limits.core_percent) {
        let percent = plan.limits.core_percent;
        return Err(refuse(format!("{percent} per cent of a core cannot be granted")));
    }
    if ram_mib < RAM_MIB_MIN {
        return Err(refuse(format!("{ram_mib} MiB of memory are less than {RAM_MIB_MIN}")));
    }
    // The kernel takes no quota below 1 ms in 100.
    let spaces = [scratch_mib, scratch_files, file_mib, processes];
    if cpu_millis < 10 || spaces.contains(&0) {
        return Err(refuse("a limit of the plan leaves nothing to run in".to_owned()));
    }
    if plan.steps.is_empty() || plan.steps.iter().any(|step| step.argv.is_empty()) {
        return Err(refuse("the plan has a step without a command, or no step".to_owned()));
    }
    if let Some((path, _)) = plan.files.iter().find(|(path, _)| check_path(path).is_err()) {
        return Err(refuse(format!("{path:?} cannot be a file of the task")));
    }
    let restored = plan.checkpoints.iter().flat_map(|checkpoints| &checkpoints.restore);
    if let Some(file) = restored.into_iter().find(|file| check_path(&file.path).is_err()) {
        return Err(refuse(format!("{:?} cannot be a file to go on from", file.path)));
    }
    for (name, target) in &plan.links {
        let is_name = check_path(name).is_ok() && !name.contains('/');
        if !is_name || target.to_str().is_none_or(|target| target.contains('\0')) {
            return Err(refuse(format!("{name:?} cannot be a link of the task")));
        }
    }
    if let Some(pattern) = plan.outputs.iter().find(|pattern| check_pattern(pattern).is_err()) {
        return Err(refuse(format!("{pattern:?} cannot be a pattern of outputs")));
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
    let devices = plan.devices.iter().map(|device| (device, device));
    let shown = plan.read_only.iter().chain(&plan.read_write).map(|(host, inside)| (host, inside));
    for (host, inside) in shown.chain(devices) {
        let is_plain = |path: &Path| {
            path.is_absolute()
                && path.to_str().is_some_and(|path| !path.contains('\0'))
                && path.components().all(|part| part != Component::ParentDir)
        };
        if !is_plain(host) || !is_plain(inside) {
            return Err(refuse(format!("{} cannot be shown to the task", host.display())));
        }
    }
    fs::metadata(&plan.results)
        .map(drop)
        .map_err(|source| SandboxError::Host { operation: "find the results directory", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::cgroup::AtLimit;
    use crate::order::Done;

    fn ended(ending: Ending) -> Course {
        let done = Done { full: Full::Not, has_largest_file: false, cpu_ms: 0, ram_peak_kib: 0 };
        Course {
            step: 0,
            has_begun: true,
            ending: Some(ending),
            cause: None,
            run_ms: 0,
            done: Some(done),
            stdout: Capture::new(0),
            stderr: Capture::new(0),
        }
    }

    fn killed(at_limit: AtLimit) -> Counters {
        Counters { oom_kills: 1, at_limit, ..Counters::default() }
    }

    #[test]
    fn who_kept_within_its_memory_is_not_to_blame_when_the_machine_runs_out() {
        let (own, machines) = (killed(AtLimit::Times(1)), killed(AtLimit::Times(0)));
        for ending in [Ending::Code(0), Ending::Code(1), Ending::Signal(9), Ending::Lost] {
            assert_eq!(exit(&ended(ending), own).unwrap(), Exit::OutOfMemory, "{ending:?}");
        }
        assert_eq!(exit(&ended(Ending::Code(0)), machines).unwrap(), Exit::Code(0));
        for ending in [Ending::Code(1), Ending::Signal(9), Ending::Lost] {
            assert!(exit(&ended(ending), machines).is_err(), "{ending:?}");
        }
    }

    #[test]
    fn what_was_used_up_explains_a_failure_and_no_success() {
        let used = Counters { forks_refused: 1, ..Counters::default() };
        for (full, has_largest_file, code, wanted) in [
            (Full::Bytes, true, 1, Exit::ScratchFull),
            (Full::Files, true, 1, Exit::TooManyFiles),
            (Full::Not, true, 1, Exit::FileTooLarge),
            (Full::Not, false, 1, Exit::Processes),
            (Full::Bytes, true, 0, Exit::Code(0)),
        ] {
            let mut course = ended(Ending::Code(code));
            course.done = course.done.map(|done| Done { full, has_largest_file, ..done });
            assert_eq!(exit(&course, used).unwrap(), wanted);
        }
        let too_large = ended(Ending::Signal(SIGXFSZ));
        assert_eq!(exit(&too_large, Counters::default()).unwrap(), Exit::FileTooLarge);
        // The step's own word, whatever numbers a shell would make of it.
        let exit_137 = exit(&ended(Ending::Code(137)), Counters::default()).unwrap();
        assert_eq!(exit_137, Exit::Code(137));
    }
}
