//! From a task's specification to a plan for the sandbox; decides nothing that the submitter pays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::OUTPUTS_MAX;
use campusgrid_protocol::task::{TaskSpec, Work};
use campusgrid_sandbox::plan::{Limits, Network, Plan, Step};

use super::backend::Surroundings;
use crate::config::TaskLimits;
use crate::gpu::grant::Grant;

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
    pub(super) gpus: &'a Grant,
}

/// The plan for one attempt.
pub(super) fn plan(
    attempt: AttemptId,
    spec: &TaskSpec,
    seen: Seen<'_>,
    results: PathBuf,
    limits: TaskLimits,
) -> Plan {
    let wall = Duration::from_secs(u64::from(spec.time_limit_s));
    let step = |argv: &[&str], wall| Step {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        wall,
    };
    let python = match seen.environment {
        Some(_) => "/env/bin/python3",
        None => seen.python,
    };
    let environment = seen.environment.map(|host| (host.to_owned(), ENVIRONMENT.into()));
    let gpus = seen.gpus;
    let (files, steps) = match &spec.work {
        Work::Python { source, packages: _ } => {
            (vec![file("main.py", source)], vec![step(&[python, "-u", "main.py"], wall)])
        }
        Work::C { source, flags } => {
            let mut compile = vec!["gcc", "-O2", "-fopenmp"];
            compile.extend(flags.iter().map(String::as_str));
            compile.extend(["-o", "main", "main.c", "-lm"]);
            let steps = vec![step(&compile, COMPILE_LIMIT), step(&["./main"], wall)];
            (vec![file("main.c", source)], steps)
        }
        Work::Shell { command } => (Vec::new(), vec![step(&["/bin/sh", "-c", command], wall)]),
    };
    let scratch_mib = scratch_mib(spec);
    Plan {
        name: attempt.to_string(),
        files,
        steps,
        environment: variables(attempt, spec, seen),
        read_only: environment.into_iter().chain(gpus.read_only.iter().cloned()).collect(),
        read_write: Vec::new(),
        devices: gpus.devices.clone(),
        network: Network::None,
        // What is warm has its devices already: tasks with GPUs each get a sandbox of their own.
        family: gpus.devices.is_empty().then(|| attempt.task.job.to_string()),
        shared_tmp: spec.shared_tmp,
        limits: Limits {
            cpu_millis: spec.needs.cpu_millis.max(CPU_MIN_MILLIS),
            ram_mib: spec.needs.ram_mib.max(RAM_MIN_MIB),
            scratch_mib,
            scratch_files: scratch_files(spec),
            file_mib: file_mib(spec),
            processes: limits.processes,
            log_keep_bytes: limits.log_keep_bytes,
            log_flood_bytes: limits.log_flood_bytes,
            outputs: OUTPUTS_MAX as u32,
            outputs_bytes: outputs_bytes(spec),
            grace: limits.grace,
        },
        results,
    }
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

fn file(name: &str, text: &str) -> (String, Vec<u8>) {
    (name.to_owned(), text.as_bytes().to_vec())
}

/// All that a task finds in its environment.
fn variables(attempt: AttemptId, spec: &TaskSpec, seen: Seen<'_>) -> Vec<(String, String)> {
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
    ];
    let identity = [
        ("CAMPUSGRID_JOB_ID", attempt.task.job.to_string()),
        ("CAMPUSGRID_TASK_INDEX", attempt.task.index.to_string()),
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
    let granted = spec.needs.threads().to_string();
    fixed
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(identity.map(|(name, value)| (name.to_owned(), value)))
        .chain(threads.map(|name| (name.to_owned(), granted.clone())))
        .chain(seen.gpus.environment.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::resource::{Isolation, Needs};
    use campusgrid_protocol::task::Packages;
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
        let seen = Seen { surroundings: Surroundings::Machine, python, environment, gpus: &gpus };
        let plan = plan(attempt, &spec, seen, "/r".into(), limits);
        let family = plan.family.unwrap();
        let mut said = format!("{} of {family} {:?}\n", plan.name, plan.read_only);
        for (name, content) in &plan.files {
            said += &format!("file {name}: {}\n", String::from_utf8_lossy(content));
        }
        for step in &plan.steps {
            said += &format!("{} within {:?}\n", step.argv.join(" "), step.wall);
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
        let source = "print(1)".to_owned();
        let work = Work::Python { source, packages: Packages::None };
        check(
            work,
            Some("/data/environments/k"),
            expect![[r#"
                12.3#4 of 12 [("/data/environments/k", "/env")]
                file main.py: print(1)
                /env/bin/python3 -u main.py within 90s
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=3
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }

    #[test]
    fn python_without_packages_uses_the_interpreter_that_was_chosen() {
        let work = Work::Python { source: String::new(), packages: Packages::None };
        check(
            work,
            None,
            expect![[r#"
            12.3#4 of 12 []
            file main.py: 
            /usr/bin/python3.12 -u main.py within 90s
            CAMPUSGRID_JOB_ID=12
            CAMPUSGRID_TASK_INDEX=3
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
            Work::C { source: "int main(){}".to_owned(), flags: vec!["-O3".to_owned()] },
            None,
            expect![[r#"
                12.3#4 of 12 []
                file main.c: int main(){}
                gcc -O2 -fopenmp -O3 -o main main.c -lm within 60s
                ./main within 90s
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=3
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
            Work::Shell { command: "echo a; echo b".to_owned() },
            None,
            expect![[r#"
                12.3#4 of 12 []
                /bin/sh -c echo a; echo b within 90s
                CAMPUSGRID_JOB_ID=12
                CAMPUSGRID_TASK_INDEX=3
                CAMPUSGRID_TASK_COUNT=10
                CAMPUSGRID_ATTEMPT=4
                OMP_NUM_THREADS=2
                16 MiB, 6400 files
            "#]],
        );
    }
}
