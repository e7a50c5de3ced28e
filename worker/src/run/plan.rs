//! From a task's specification to a plan for the sandbox; decides nothing that the submitter pays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::OUTPUTS_MAX;
use campusgrid_protocol::task::{Failure, Outcome, TaskSpec};
use campusgrid_sandbox::checkpoint::CHECKPOINT_DIR;
use campusgrid_sandbox::plan::{Limits, Network, Plan};

use super::backend::Surroundings;
use super::checkpoint::checkpoints;
use super::program::{Commands, INPUTS, commands, own_names};
use crate::agent::effect::Order;
use crate::config::TaskLimits;
use crate::gpu::grant::Grant;
use crate::inputs::Tree;

/// Of gcc's run, which is not part of the task's own time limit.
pub(super) const COMPILE_LIMIT: Duration = Duration::from_secs(60);

/// The sandbox itself needs this much; a task that asks for less gets it all the same. MiB.
const RAM_MIN_MIB: u32 = 16;
const SCRATCH_MIN_MIB: u32 = 1;
const CPU_MIN_MILLIS: u32 = 10;

/// Files of a task, per MiB of its scratch space, and at least.
const FILES_PER_MIB: u32 = 64;
const FILES_MIN: u32 = 4096;

/// Where an environment is seen inside.
const ENVIRONMENT: &str = "/env";

/// What a task finds in its sandbox beside its own files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) surroundings: Surroundings<'a>,
    /// The interpreter of a Python task that has no environment.
    pub(super) python: &'a str,
    /// The host's directory of the one that it needs.
    pub(super) environment: Option<&'a Path>,
    /// The job's files.
    pub(super) inputs: Option<&'a Tree>,
    /// What is the task's own of the job's lines.
    pub(super) line: Option<&'a str>,
    /// What an earlier attempt has left to go on from.
    pub(super) saved: Option<&'a Tree>,
    pub(super) gpus: &'a Grant,
}

/// The plan for one attempt.
///
/// # Errors
///
/// If its submitter's arguments cannot be passed on.
pub(super) fn plan(
    attempt: AttemptId,
    order: &Order,
    seen: Seen<'_>,
    results: PathBuf,
    limits: TaskLimits,
) -> Result<Plan, Outcome> {
    let (spec, index) = (&*order.spec, order.index);
    let python = match seen.environment {
        Some(_) => "/env/bin/python3",
        None => seen.python,
    };
    let done_ms = order.checkpoint.map_or(0, |saved| saved.run_ms);
    let Commands { files, steps } = commands(spec, python, (index, seen.line), done_ms)
        .map_err(|message| Outcome::Failed(Failure::Inputs { message }))?;
    let gpus = seen.gpus;
    let environment = seen.environment.map(|host| (host.to_owned(), ENVIRONMENT.into()));
    let inputs = seen.inputs.map(|tree| (tree.path().to_owned(), INPUTS.into()));
    let links = links(spec, seen.inputs);
    let scratch_mib = scratch_mib(spec);
    // Links are files to the kernel.
    let linked = u32::try_from(links.len()).unwrap_or(u32::MAX);
    Ok(Plan {
        name: attempt.to_string(),
        files,
        links,
        steps,
        environment: variables(attempt, order, seen),
        read_only: environment
            .into_iter()
            .chain(inputs)
            .chain(gpus.read_only.iter().cloned())
            .collect(),
        read_write: Vec::new(),
        devices: gpus.devices.clone(),
        network: Network::None,
        // What is warm has its devices already: tasks with GPUs each get a sandbox of their own.
        family: gpus.devices.is_empty().then(|| attempt.task.job.to_string()),
        shared_tmp: spec.shared_tmp,
        outputs: spec.outputs.clone(),
        checkpoints: Some(checkpoints(spec, seen.saved)),
        limits: Limits {
            cpu_millis: spec.needs.cpu_millis.max(CPU_MIN_MILLIS),
            core_percent: order.core_percent.clamp(1, 100),
            ram_mib: spec.needs.ram_mib.max(RAM_MIN_MIB),
            scratch_mib,
            scratch_files: scratch_files(spec).saturating_add(linked),
            file_mib: file_mib(spec),
            processes: limits.processes,
            log_keep_bytes: limits.log_keep_bytes,
            log_flood_bytes: limits.log_flood_bytes,
            outputs: OUTPUTS_MAX as u32,
            outputs_bytes: outputs_bytes(spec),
            grace: limits.grace,
        },
        results,
    })
}

/// A link in the task's directory to each input at the top, so that programs find them where they are.
fn links(spec: &TaskSpec, inputs: Option<&Tree>) -> Vec<(String, PathBuf)> {
    let own = own_names(&spec.work);
    let names = inputs.map(Tree::names).unwrap_or_default().iter();
    let names = names.filter(|name| !own.contains(&name.as_str()));
    names.map(|name| (name.clone(), Path::new(INPUTS).join(name))).collect()
}

fn scratch_mib(spec: &TaskSpec) -> u32 {
    spec.needs.disk_mib.max(SCRATCH_MIN_MIB)
}

/// What such a task may leave, logs not counted.
pub(super) fn outputs_bytes(spec: &TaskSpec) -> u64 {
    u64::from(scratch_mib(spec)) << 20
}

/// Files that the scratch space of such a task may hold.
pub(super) fn scratch_files(spec: &TaskSpec) -> u32 {
    scratch_mib(spec).saturating_mul(FILES_PER_MIB).max(FILES_MIN)
}

/// The largest file that such a task may make: one without content counts, too.
pub(super) fn file_mib(spec: &TaskSpec) -> u32 {
    scratch_mib(spec)
}

/// All that a task finds in its environment.
fn variables(attempt: AttemptId, order: &Order, seen: Seen<'_>) -> Vec<(String, String)> {
    let spec = &*order.spec;
    let path = match seen.surroundings {
        // What an owner has in /usr/local differs from laptop to laptop; images keep their own there.
        Surroundings::Machine => "/usr/bin:/bin",
        Surroundings::Image(_) => "/usr/local/bin:/usr/bin:/bin",
    };
    let fixed = [
        ("PATH", path),
        ("HOME", "/job"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("OUTPUT_DIR", "/job/outputs"),
        ("CHECKPOINT_DIR", CHECKPOINT_DIR),
    ];
    let identity = [
        ("CAMPUSGRID_JOB_ID", attempt.task.job.to_string()),
        ("CAMPUSGRID_TASK_INDEX", order.index.to_string()),
        ("CAMPUSGRID_TASK_COUNT", spec.tasks.to_string()),
        ("CAMPUSGRID_ATTEMPT", attempt.number.to_string()),
    ];
    // None of these sees a quota by itself, and each would start a thread per core of the machine.
    let threads = [
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "PYTHON_CPU_COUNT",
    ];
    let line = seen.line.map(|line| ("CAMPUSGRID_TASK_LINE".to_owned(), line.to_owned()));
    let inputs = seen.inputs.map(|_| ("INPUT_DIR".to_owned(), INPUTS.to_owned()));
    let granted = spec.needs.threads().to_string();
    fixed
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(identity.map(|(name, value)| (name.to_owned(), value)))
        .chain(line)
        .chain(inputs)
        .chain(threads.map(|name| (name.to_owned(), granted.clone())))
        .chain(seen.gpus.environment.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::resource::{Isolation, Needs};
    use std::sync::Arc;

    use campusgrid_protocol::task::{Packages, Program, Work};
    use expect_test::{Expect, expect};

    use super::*;

    fn check(work: Work, environment: Option<&str>, expected: Expect) {
        let needs =
            Needs { cpu_millis: 1500, ram_mib: 8, disk_mib: 100, gpus: 0, gpu_memory_mib: 0 };
        let spec = TaskSpec {
            work,
            needs,
            time_limit_s: 90,
            isolation: Isolation::Full,
            labels: Vec::new(),
            image: None,
            shared_tmp: false,
            tasks: 10,
            arguments: vec!["--n={index}".to_owned()],
            inputs: None,
            lines: None,
            outputs: Vec::new(),
            warn_s: 30,
            checkpoint_s: 300,
        };
        let limits = TaskLimits {
            processes: 512,
            log_keep_bytes: 1,
            log_flood_bytes: 2,
            grace: Duration::from_secs(5),
        };
        let attempt = "12.3#4".parse().unwrap();
        let gpus = Grant::default();
        let environment = environment.map(Path::new);
        let python = "/usr/bin/python3.12";
        let seen = Seen {
            surroundings: Surroundings::Machine,
            python,
            environment,
            inputs: None,
            line: None,
            saved: None,
            gpus: &gpus,
        };
        let order = Order {
            index: 41,
            spec: Arc::new(spec),
            gpus: Vec::new(),
            lock: None,
            checkpoint: None,
            whose: "ada".to_owned(),
            name: "sums".to_owned(),
            core_percent: 100,
        };
        let plan = plan(attempt, &order, seen, "/r".into(), limits).unwrap();
        let family = plan.family.unwrap();
        let mut said = format!("{} of {family} {:?}\n", plan.name, plan.read_only);
        for (name, content) in &plan.files {
            said += &format!("file {name}: {}\n", String::from_utf8_lossy(content));
        }
        for step in &plan.steps {
            said += &format!("{:?} within {:?}, {:?} before\n", step.argv, step.wall, step.warn);
        }
        let ours = |name: &str| name.starts_with("CAMPUS") || name.starts_with("OMP");
        for (name, value) in plan.environment.iter().filter(|(name, _)| ours(name)) {
            said += &format!("{name}={value}\n");
        }
        said += &format!("{} MiB, {} files\n", plan.limits.ram_mib, plan.limits.scratch_files);
        expected.assert_eq(&said);
    }

    #[test]
    fn python_runs_in_its_environment() {
        let program = Program::Source("print(1)".to_owned());
        let work = Work::Python { program, packages: Packages::None };
        check(
            work,
            Some("/data/environments/k"),
            expect![[r#"
                12.3#4 of 12 [("/data/environments/k", "/env")]
                file main.py: print(1)
                ["/env/bin/python3", "-u", "main.py", "--n=41"] within 90s, Some(30s) before
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=41
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }

    #[test]
    fn python_without_packages_uses_the_interpreter_that_was_chosen() {
        let work =
            Work::Python { program: Program::Source(String::new()), packages: Packages::None };
        check(
            work,
            None,
            expect![[r#"
                12.3#4 of 12 []
                file main.py: 
                ["/usr/bin/python3.12", "-u", "main.py", "--n=41"] within 90s, Some(30s) before
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=41
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }

    #[test]
    fn c_is_compiled_first() {
        check(
            Work::C {
                program: Program::Source("int main(){}".to_owned()),
                flags: vec!["-O3".to_owned()],
            },
            None,
            expect![[r#"
                12.3#4 of 12 []
                file main.c: int main(){}
                ["gcc", "-O2", "-fopenmp", "-O3", "-I.", "-o", "main", "main.c", "-lm"] within 60s, None before
                ["./main", "--n=41"] within 90s, Some(30s) before
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=41
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }

    #[test]
    fn a_shell_command_is_one_argument() {
        check(
            Work::Shell { program: Program::Source("echo a; echo b".to_owned()) },
            None,
            expect![[r#"
                12.3#4 of 12 []
                ["/bin/sh", "-c", "echo a; echo b", "sh", "--n=41"] within 90s, Some(30s) before
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=41
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }
}
