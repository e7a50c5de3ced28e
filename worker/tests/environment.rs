//! Python environments built for real by uv in the build sandbox; skipped, with the reason, where
//! there is no uv or no package index.
//!
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: helpers are not seen as such"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::lock::Lock;
use campusgrid_protocol::task::Packages;
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use campusgrid_worker::environment::asked::{Asked, Question};
use campusgrid_worker::environment::interpreter::{Interpreter, Wanted};
use campusgrid_worker::environment::shelf::Environment;
use campusgrid_worker::environment::workshop::Workshop;
use campusgrid_worker::environment::{EnvironmentError, Environments, EnvironmentsConfig};
use campusgrid_worker::flights::Steps;
use campusgrid_worker::run::backend::{Backends, Surroundings};
use tempfile::TempDir;

/// Where `cargo xtask` installs uv, beneath the home directory.
const UV_OF_XTASK: &str = ".cache/campusgrid/tools/uv/bin/uv";

const FIRST_JOB_UID: u32 = 60_000;

/// The whole way of a job's packages, without a manager.
struct Place {
    dir: TempDir,
    environments: Environments,
    backends: Backends,
    steps: Steps,
}

fn uv() -> Option<PathBuf> {
    let named = std::env::var_os("CAMPUSGRID_WORKER_UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(UV_OF_XTASK));
    named.or(in_path).or(home).filter(|uv| uv.is_file())
}

/// The strongest walls that hold here.
async fn backends(dir: &Path) -> Backends {
    if let Some(backends) = behind(Confinement::Full, dir).await {
        return backends;
    }
    behind(Confinement::None, dir).await.unwrap()
}

/// None, with a printed reason, if these walls do not hold here.
async fn behind(confinement: Confinement, dir: &Path) -> Option<Backends> {
    let (sandbox, strength) = Sandbox::probe(SandboxConfig {
        confinement,
        helper: PathBuf::from(env!("CARGO_BIN_EXE_campusgrid-worker")),
        scratch: dir.join("scratch"),
        first_job_uid: FIRST_JOB_UID,
        allow_restricted: false,
    })
    .await;
    if sandbox.is_none() {
        eprintln!("without these walls, since they do not hold here: {:?}", strength.notes);
    }
    sandbox.map(|sandbox| Backends::new(Some((sandbox, strength.isolation)), None))
}

impl Place {
    async fn open(more: &[(&str, &str)]) -> Option<Self> {
        let Some(uv) = uv() else {
            eprintln!("skipped: uv is not installed");
            return None;
        };
        Some(Self::open_with(Some(uv), 10_240, more).await)
    }

    async fn open_with(uv: Option<PathBuf>, max_mib: u64, more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let environments = environments(dir.path(), uv, max_mib, more);
        let backends = backends(dir.path()).await;
        Self { dir, environments, backends, steps: Steps::default() }
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop { backends: &self.backends, surroundings: Surroundings::Machine }
    }

    async fn interpreter(&self, asked: &Asked) -> Result<Interpreter, EnvironmentError> {
        let wanted = Wanted { labels: &[], program: asked.python(), lock: None };
        self.environments.interpreter(self.workshop(), wanted).await
    }

    async fn resolve(&self, packages: &Packages) -> Result<Lock, EnvironmentError> {
        let asked = Asked::check(packages)?;
        let interpreter = self.interpreter(&asked).await?;
        match asked {
            Asked::Nothing { .. } => panic!("nothing to install"),
            Asked::Locked(lock) => Ok(lock),
            Asked::Question(question) => {
                let question: &Question = &question;
                let workshop = self.workshop();
                self.environments.resolve(workshop, &interpreter, question, &self.steps).await
            }
        }
    }

    async fn build(&self, lock: &Lock) -> Result<Arc<Environment>, EnvironmentError> {
        let interpreter = self.interpreter(&Asked::Nothing { python: None }).await?;
        self.environments.ready(self.workshop(), &interpreter, lock, &self.steps).await
    }

    async fn ready(&self, packages: &Packages) -> Result<Arc<Environment>, EnvironmentError> {
        let lock = self.resolve(packages).await?;
        self.build(&lock).await
    }

    /// What stands in the directory of environments beside the answers and the workshop.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("environments")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ours = ["answers", "workshop", "images"];
        names.filter(|name| !ours.contains(&name.as_str())).collect()
    }
}

fn environments(
    dir: &Path,
    uv: Option<PathBuf>,
    max_mib: u64,
    more: &[(&str, &str)],
) -> Environments {
    let mut variables: BTreeMap<String, String> = std::env::vars().collect();
    variables.insert("UV_HTTP_RETRIES".to_owned(), "0".to_owned());
    variables.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    let data_dir = dir.to_owned();
    let fresh = Duration::from_secs(3600);
    let (cpu_millis, ram_mib) = (4000, 4096);
    let config =
        EnvironmentsConfig { data_dir, uv, fresh, max_mib, cpu_millis, ram_mib, variables };
    Environments::open(config).unwrap()
}

fn named(requirements: &[&str]) -> Packages {
    let requirements = requirements.iter().map(|&line| line.to_owned()).collect();
    Packages::Names { requirements, requires_python: None }
}

/// None, with a printed reason, if the index cannot be reached from here.
fn unless_out_of_reach<T>(result: Result<T, EnvironmentError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(EnvironmentError::Machine { message }) => {
            eprintln!("skipped: no package index: {message}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn python(environment: &Path, program: &str) -> String {
    let python = Command::new(environment.join("bin/python3"))
        .args(["-c", program])
        .env_clear()
        .output()
        .unwrap();
    String::from_utf8(python.stdout).unwrap()
}

#[tokio::test]
async fn an_environment_is_built_once_for_all_who_wait_and_works_elsewhere() {
    let Some(place) = Place::open(&[]).await else { return };
    let packages = named(&["six==1.16.0"]);
    let mut told = place.steps.subscribe();
    let (first, second) = tokio::join!(place.ready(&packages), place.ready(&packages));
    let Some(environment) = unless_out_of_reach(first) else { return };
    assert_eq!(second.unwrap().path(), environment.path());
    assert_eq!(place.names().len(), 1, "one environment, nothing half built");
    assert!(!told.borrow_and_update().is_empty(), "the job page shows how it goes");

    let moved = place.dir.path().join("moved");
    assert!(
        Command::new("cp").arg("-a").args([environment.path(), &moved]).status().unwrap().success()
    );
    let said =
        python(&moved, "import six, sys; print(six.__version__, sys.prefix, six.__cached__)");
    let compiled = moved.join("lib");
    assert!(
        said.starts_with(&format!("1.16.0 {} {}", moved.display(), compiled.display())),
        "{said}"
    );
    let compiled = Path::new(said.trim().rsplit(' ').next().unwrap());
    assert!(compiled.is_file(), "tasks cannot write bytecode, so it must be there");
}

#[tokio::test]
async fn one_lock_makes_the_same_environment_on_two_machines() {
    let Some(first) = Place::open(&[]).await else { return };
    let lock = first.resolve(&named(&["six>=1.16,<1.18", "tomli>=2"])).await;
    let Some(lock) = unless_out_of_reach(lock) else { return };
    assert!(lock.text().starts_with("# requires-python: >=3."), "{}", lock.text());
    // As the manager hands it on.
    let lock = Lock::check(lock.text()).unwrap();
    let second = Place::open(&[]).await.unwrap();
    let (one, two) = tokio::join!(first.build(&lock), second.build(&lock));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.path().file_name(), two.path().file_name());
    let said = "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))";
    assert_eq!(python(one.path(), said), python(two.path(), said));
}

#[tokio::test]
async fn a_lock_is_for_as_many_versions_of_python_as_the_packages_allow() {
    let Some(place) = Place::open(&[]).await else { return };
    let own = place.interpreter(&Asked::Nothing { python: None }).await.unwrap().version.1;
    if own < 11 {
        eprintln!("skipped: NumPy 2.3 does not run on Python 3.{own}");
        return;
    }
    let Some(lock) = unless_out_of_reach(place.resolve(&named(&["six"])).await) else { return };
    assert!(lock.text().starts_with("# requires-python: >=3.10\n"), "{}", lock.text());
    let lock = place.resolve(&named(&["numpy>=2.3"])).await.unwrap();
    assert!(lock.text().starts_with(&format!("# requires-python: >=3.{own}\n")), "{}", lock.text());
}

#[tokio::test]
async fn behind_filters_alone_other_users_find_an_environment_by_its_path() {
    let (Some(uv), Some(elsewhere)) = (uv(), Place::open(&[]).await) else { return };
    let resolved = elsewhere.resolve(&named(&["six==1.16.0"])).await;
    let Some(lock) = unless_out_of_reach(resolved) else { return };
    // Where the user that builds finds it as well.
    let tools = tempfile::tempdir().unwrap();
    let reachable = tools.path().join("uv");
    fs::copy(uv, &reachable).unwrap();
    let mut place = Place::open_with(Some(reachable), 10_240, &[]).await;
    for passed in [tools.path(), place.dir.path()] {
        fs::set_permissions(passed, fs::Permissions::from_mode(0o711)).unwrap();
    }
    let restricted = behind(Confinement::Restricted, place.dir.path()).await;
    let Some(restricted) = restricted else { return };
    place.backends = restricted;
    let environment = place.build(&lock).await.unwrap();
    let as_a_task = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().uid(FIRST_JOB_UID).gid(FIRST_JOB_UID);
        command.current_dir("/").output().unwrap()
    };
    let python = environment.path().join("bin/python3");
    let said = as_a_task(&python, &["-c", "import six; print(six.__version__)"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "1.16.0\n", "{said:?}");
    for closed in [".", "answers", "images", "workshop", "workshop/cache"] {
        let closed = place.dir.path().join("environments").join(closed);
        let said = as_a_task(Path::new("/bin/ls"), &[closed.to_str().unwrap()]);
        assert!(!said.status.success(), "{}: {said:?}", closed.display());
    }
}

#[tokio::test]
async fn the_same_requirements_need_no_index_again() {
    let Some(place) = Place::open(&[]).await else { return };
    let packages = named(&["six==1.16.0"]);
    let Some(first) = unless_out_of_reach(place.ready(&packages).await) else { return };
    let nowhere = [("UV_DEFAULT_INDEX", "http://127.0.0.1:9/"), ("UV_FIND_LINKS", "")];
    let again = environments(place.dir.path(), uv(), 10_240, &nowhere);
    let again = Place { environments: again, ..place };
    assert_eq!(again.ready(&packages).await.unwrap().path(), first.path());
}

#[tokio::test]
async fn what_does_not_exist_or_has_no_wheel_is_the_submitters_fault() {
    let Some(place) = Place::open(&[]).await else { return };
    let hashed = |line: &str| Packages::Hashed { text: format!("{line} --hash=sha256:{:064}", 0) };
    for (packages, word) in [
        (named(&["six==99.0"]), "six==99.0"),
        (named(&["docopt==0.6.2"]), "wheel"),
        (named(&["six>=(1"]), "not a package name"),
        (hashed("six==1.16.0"), "Hash mismatch"),
        (hashed("six==99.0"), "six==99.0"),
        (hashed("docopt==0.6.2"), "wheel"),
        (hashed("--index-url=https://evil.example"), "not 'name==version'"),
        (Packages::UvLock { text: "version = 7".to_owned() }, "version 7"),
    ] {
        match place.ready(&packages).await {
            Err(EnvironmentError::Requirements { message }) => {
                assert!(message.contains(word), "{message}");
            }
            Err(EnvironmentError::Machine { message }) => {
                eprintln!("skipped: no package index: {message}");
                return;
            }
            other => panic!("{packages:?} came to {other:?}"),
        }
    }
    assert_eq!(place.names(), [""; 0]);
}

#[tokio::test]
async fn a_python_that_this_machine_lacks_is_looked_for_elsewhere() {
    let Some(place) = Place::open(&[]).await else { return };
    let requires_python = Some(">=3.99".to_owned());
    let packages = Packages::Names { requirements: Vec::new(), requires_python };
    let result = place.interpreter(&Asked::check(&packages).unwrap()).await;
    let Err(EnvironmentError::Machine { message }) = result else { panic!("{result:?}") };
    assert!(message.contains("requires the label python3.99"), "{message}");
}

#[tokio::test]
async fn an_index_out_of_reach_is_the_machines_fault() {
    let nowhere = [("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple"), ("UV_FIND_LINKS", "")];
    let Some(place) = Place::open(&nowhere).await else { return };
    let hash = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
    let hashed = Packages::Hashed { text: format!("six==1.16.0 --hash=sha256:{hash}") };
    for packages in [named(&["six==1.16.0"]), hashed] {
        let result = place.ready(&packages).await;
        assert!(matches!(result, Err(EnvironmentError::Machine { .. })), "{result:?}");
    }
    assert_eq!(place.names(), [""; 0]);
}

/// What `uv lock` has made of a project with one dependency, one extra and one group.
const UV_LOCK: &str = r#"
version = 1
revision = 3
requires-python = ">=3.9"

[[package]]
name = "lab-work"
version = "0.3.0"
source = { virtual = "." }
dependencies = [
    { name = "six" },
]

[package.optional-dependencies]
plot = [
    { name = "docopt" },
]

[package.metadata]
requires-dist = [
    { name = "docopt", marker = "extra == 'plot'" },
    { name = "six" },
]
provides-extras = ["plot"]

[[package]]
name = "docopt"
version = "0.6.2"
source = { registry = "https://evil.example/simple" }
sdist = { url = "https://evil.example/docopt-0.6.2.tar.gz", hash = "sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491", size = 25901 }

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://evil.example/simple" }
wheels = [
    { url = "https://evil.example/six-1.16.0-py2.py3-none-any.whl", hash = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254", size = 11053 },
]
"#;

#[tokio::test]
async fn a_uv_lock_is_installed_from_the_machines_own_index() {
    let Some(place) = Place::open(&[]).await else { return };
    let lock = place.resolve(&Packages::UvLock { text: UV_LOCK.to_owned() }).await.unwrap();
    expect_test::expect![[r#"
        # requires-python: >=3.9
        six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
    "#]]
    .assert_eq(lock.text());
    let Some(environment) = unless_out_of_reach(place.build(&lock).await) else { return };
    assert_eq!(python(environment.path(), "import six; print(six.__version__)"), "1.16.0\n");
    let git =
        UV_LOCK.replacen("registry = \"https://evil.example/simple\"", "git = \"https://x\"", 1);
    let refused = place.resolve(&Packages::UvLock { text: git }).await.unwrap_err();
    assert!(refused.to_string().contains("docopt from a git repository"), "{refused}");
}

#[tokio::test]
async fn what_nobody_uses_goes_when_there_is_no_room() {
    let Some(uv) = uv() else { return };
    let place = Place::open_with(Some(uv), 0, &[]).await;
    let Some(six) = unless_out_of_reach(place.ready(&named(&["six"])).await) else { return };
    let tomli = place.ready(&named(&["tomli"])).await.unwrap();
    assert_eq!(place.names().len(), 2, "both are in use");
    drop(tomli);
    let idna = place.ready(&named(&["idna"])).await.unwrap();
    let mut kept = [&six, &idna].map(|held| held.path().file_name().unwrap().to_str().unwrap());
    kept.sort_unstable();
    let mut names = place.names();
    names.sort();
    assert_eq!(names, kept);
    let cache = place.dir.path().join("environments/workshop/cache");
    assert!(!cache.exists(), "it is worth less than any environment");
}

#[tokio::test]
async fn what_a_failed_build_has_downloaded_goes_as_well() {
    let Some(uv) = uv() else { return };
    let place = Place::open_with(Some(uv), 0, &[]).await;
    let text = format!("six==1.16.0 --hash=sha256:{:064}", 0);
    let failed = place.ready(&Packages::Hashed { text }).await;
    assert!(failed.is_err(), "{failed:?}");
    let workshop = place.dir.path().join("environments/workshop");
    let is_empty = async {
        while fs::read_dir(&workshop).unwrap().next().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_empty).await.unwrap();
}

#[tokio::test]
async fn a_build_that_is_dropped_at_its_end_leaves_a_whole_environment_or_none() {
    let Some(place) = Place::open(&[]).await else { return };
    let Some(lock) = unless_out_of_reach(place.resolve(&named(&["six==1.16.0"])).await) else {
        return;
    };
    let mut told = place.steps.subscribe();
    let nearly = told.wait_for(|step| step.starts_with("putting its packages"));
    tokio::select! {
        built = place.build(&lock) => { built.unwrap(); }
        step = nearly => { step.unwrap(); }
    }
    let environment = place.build(&lock).await.unwrap();
    assert_eq!(python(environment.path(), "import six; print(six.__version__)"), "1.16.0\n");
}

/// A wheel with a line that every Python runs at its start in whose environment it is.
const DEADLY_WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/campusgrid_deadly-1-py3-none-any.whl", "w") as wheel:
    about = "campusgrid_deadly-1.dist-info/"
    wheel.writestr("campusgrid_deadly.pth", "import os; os.kill(os.getppid(), 9); os._exit(1)\n")
    wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: campusgrid-deadly\nVersion: 1\n")
    wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(about + "RECORD", "")
"#;

/// uv would compile bytecode with an interpreter that runs such lines, and has a network.
#[tokio::test]
async fn nothing_of_a_package_runs_while_it_is_installed() {
    // Not beneath /tmp, in place of which the sandbox has its own.
    let wheels = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", DEADLY_WHEEL]).arg(wheels.path());
    if !python.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no Python");
        return;
    }
    let here = [("UV_FIND_LINKS", wheels.path().to_str().unwrap())];
    let Some(place) = Place::open(&here).await else { return };
    let result = place.ready(&named(&["campusgrid-deadly"])).await;
    let Some(environment) = unless_out_of_reach(result) else { return };
    let python = Command::new("sh")
        .args(["-c", "$0 -c 'print(1)'; echo survived"])
        .arg(environment.path().join("bin/python3"))
        .output()
        .unwrap();
    assert!(python.stdout.is_empty(), "the wheel is deadly: {python:?}");
}

async fn without_uv(more: &[(&str, &str)]) -> Place {
    let mut variables = vec![("PATH", "/nonexistent")];
    variables.extend(more);
    Place::open_with(None, 10_240, &variables).await
}

#[tokio::test]
async fn a_missing_uv_is_installed() {
    let place = without_uv(&[]).await;
    let result = place.ready(&named(&["six==1.16.0"])).await;
    let Some(environment) = unless_out_of_reach(result) else { return };
    assert!(environment.path().join("bin/python3").exists());
    assert!(place.dir.path().join("tools/bin/uv").is_file());
}

#[tokio::test]
async fn a_uv_that_cannot_be_installed_is_named_with_the_fix() {
    let nowhere = [
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_FIND_LINKS", ""),
        ("PIP_RETRIES", "0"),
    ];
    let result = without_uv(&nowhere).await.ready(&named(&["six"])).await;
    let Err(EnvironmentError::Machine { message }) = result else {
        panic!("no uv was needed");
    };
    assert!(message.contains("pipx install uv"), "{message}");
}
