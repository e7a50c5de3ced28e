//! Python environments built in containers of a real engine, which the test starts itself; skipped,
//! with the reason, where there is no engine, no uv or no package index.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: helpers are not seen as such"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use campusgrid_container::engine::{Engine, EngineConfig};
use campusgrid_container::image::ImagePolicy;
use campusgrid_protocol::task::{Packages, Stream};
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Exit, Limits, Network, Plan, Progress, Step};
use campusgrid_worker::environment::asked::Asked;
use campusgrid_worker::environment::interpreter::Wanted;
use campusgrid_worker::environment::workshop::Workshop;
use campusgrid_worker::environment::{EnvironmentError, Environments, EnvironmentsConfig};
use campusgrid_worker::flights::Steps;
use campusgrid_worker::run::backend::{Backends, Surroundings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Where `cargo xtask` installs uv, beneath the home directory.
const UV_OF_XTASK: &str = ".cache/campusgrid/tools/uv/bin/uv";
const FIRST_UID: u32 = 60_512;

/// Copies an interpreter and all that it loads into a tree of its own.
const COPY_PYTHON: &str = r#"
set -e
root=$1; shift
copy() { mkdir -p "$root/$(dirname "$1")"; cp -aL "$1" "$root/$1"; }
python=$(readlink -f /usr/bin/python3)
copy "$python"
ln -s "$(basename "$python")" "$root/usr/bin/python3"
lib=/usr/lib/$(basename "$python")
mkdir -p "$root/usr/lib"
cp -a "$lib" "$root$lib"
ldd "$python" "$@" "$lib"/lib-dynload/*.so | grep -o '/[^ ]*\.so[^ ]*' | grep -v lib-dynload | sort -u |
    sed 's|^/lib|/usr/lib|' | sed 's/:$//' | while read file; do copy "$file"; done
"#;

struct Docker {
    child: Child,
    dir: TempDir,
}

impl Docker {
    fn start() -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can start an engine");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("cg-worker-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("pid"));
        command.arg("--host").arg(format!("unix://{}", at("socket").display()));
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("skipped: there is no Docker");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        if !log.by_ref().any(|line| line.contains("API listen on")) {
            child.wait().unwrap();
            eprintln!("skipped: Docker does not start here");
            return None;
        }
        std::thread::spawn(move || log.for_each(drop)); // Or it would stop when the pipe is full.
        Some(Self { child, dir })
    }

    /// Makes a tree an image; yields what its content is called.
    fn import(&self, root: &Path) -> String {
        let tar = self.dir.path().join("image.tar");
        let packed = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg(".").status();
        assert!(packed.unwrap().success());
        let host = format!("unix://{}", self.dir.path().join("socket").display());
        let said = Command::new("docker").args(["--host", &host, "import"]).arg(&tar).output();
        String::from_utf8(said.unwrap().stdout).unwrap().trim().to_owned()
    }

    async fn connect(&self, allowed: Vec<String>) -> Engine {
        let config = EngineConfig {
            socket: Some(self.dir.path().join("socket")),
            helper: PathBuf::from(env!("CARGO_BIN_EXE_campusgrid-worker")),
            state: self.dir.path().join("state"),
            instance: "test".to_owned(),
            first_job_uid: FIRST_UID,
            images: ImagePolicy { allowed, pull: false },
            patience: Duration::from_secs(5),
        };
        let (engine, checks) = Engine::connect(config).await;
        engine.unwrap_or_else(|| panic!("{checks:?}"))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _reaped = self.child.wait();
        // Its mount stays when it goes, and would keep the directory.
        let network = self.dir.path().join("exec/netns/default");
        let _gone = Command::new("umount").arg(network).stderr(Stdio::null()).status();
    }
}

fn uv() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(UV_OF_XTASK));
    in_path.or(home).filter(|uv| uv.is_file())
}

fn environments(dir: &Path, uv: PathBuf) -> Environments {
    Environments::open(EnvironmentsConfig {
        data_dir: dir.to_owned(),
        uv: Some(uv),
        fresh: Duration::from_secs(3600),
        max_mib: 10_240,
        cpu_millis: 4000,
        ram_mib: 4096,
        variables: std::env::vars().collect::<BTreeMap<_, _>>(),
    })
    .unwrap()
}

fn tree_with_python(dir: &Path, uv: &Path) -> PathBuf {
    let root = dir.join("python");
    fs::create_dir_all(root.join("usr/lib")).unwrap();
    let copied = Command::new("sh").args(["-c", COPY_PYTHON, "copy"]).arg(&root).arg(uv).status();
    assert!(copied.unwrap().success());
    for name in ["bin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    root
}

/// The way of a job's packages: interpreter, lock, environment.
async fn ready(
    workshop: Workshop<'_>,
    environments: &Environments,
) -> Result<PathBuf, EnvironmentError> {
    let asked = Asked::check(&Packages::Names {
        requirements: vec!["six==1.16.0".to_owned()],
        requires_python: None,
    })?;
    let Asked::Question(question) = asked else { panic!("it is a question") };
    let wanted = Wanted { labels: &[], program: None, lock: None };
    let interpreter = environments.interpreter(workshop, wanted).await?;
    let steps = Steps::default();
    let lock = environments.resolve(workshop, &interpreter, &question, &steps).await?;
    let environment = environments.ready(workshop, &interpreter, &lock, &steps).await?;
    Ok(environment.path().to_owned())
}

/// What a task prints that sees this environment and has no network.
async fn print_of(backends: &Backends, image: &str, environment: &Path, program: &str) -> String {
    let results = tempfile::tempdir().unwrap();
    let argv = ["/env/bin/python3", "-c", program].map(str::to_owned).to_vec();
    let plan = Plan {
        name: "task".to_owned(),
        files: Vec::new(),
        links: Vec::new(),
        steps: vec![Step { argv, wall: Duration::from_secs(20), warn: None }],
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        read_only: vec![(environment.to_owned(), "/env".into())],
        read_write: Vec::new(),
        devices: Vec::new(),
        network: Network::None,
        family: None,
        shared_tmp: false,
        outputs: Vec::new(),
        checkpoints: None,
        limits: Limits {
            cpu_millis: 1000,
            core_percent: 100,
            ram_mib: 128,
            scratch_mib: 16,
            scratch_files: 500,
            file_mib: 16,
            processes: 32,
            log_keep_bytes: 4096,
            log_flood_bytes: 1 << 20,
            outputs: 0,
            outputs_bytes: 0,
            grace: Duration::from_millis(200),
        },
        results: results.path().to_owned(),
    };
    let (progress, mut happened) = mpsc::channel(4);
    let listen = async {
        let mut said = Vec::new();
        while let Some(happened) = happened.recv().await {
            if let Progress::Printed { stream: Stream::Stdout | Stream::Stderr, bytes } = happened {
                said.extend(bytes);
            }
        }
        String::from_utf8(said).unwrap()
    };
    let run = backends.run(Surroundings::Image(image), plan, progress, Controls::none());
    let (report, said) = tokio::join!(run, listen);
    assert_eq!(report.unwrap().exit, Exit::Code(0), "{said}");
    said
}

#[tokio::test]
async fn packages_are_installed_for_an_images_own_python() {
    let Some(uv) = uv() else {
        eprintln!("skipped: uv is not installed");
        return;
    };
    let Some(docker) = Docker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let image = docker.import(&tree_with_python(dir.path(), &uv));
    let bare_root = dir.path().join("bare");
    fs::create_dir_all(bare_root.join("etc")).unwrap();
    let bare = docker.import(&bare_root);
    let engine = docker.connect(vec![image.clone(), bare.clone()]).await;
    let backends = Backends::new(None, Some(engine.clone()));
    let workshop =
        |image| Workshop { backends: &backends, surroundings: Surroundings::Image(image) };

    let environments_dir = dir.path().join("data");
    let environments = environments(&environments_dir, uv);
    let none = ready(workshop(&bare), &environments).await.unwrap_err();
    let words = format!("the image {bare} has no python3 that works");
    assert_eq!(none, EnvironmentError::Image { message: words });
    let unknown = format!("sha256:{:064}", 0);
    let none = ready(workshop(&unknown), &environments).await.unwrap_err();
    assert!(matches!(none, EnvironmentError::Image { .. }), "{none:?}");
    uv_that_does_not_start_is_the_images_fault(workshop(&image), dir.path()).await;

    let environment = match ready(workshop(&image), &environments).await {
        Err(EnvironmentError::Machine { message }) => {
            eprintln!("skipped: no package index: {message}");
            return;
        }
        result => result.unwrap(),
    };
    let program = "import six, sys; print(six.__version__, sys.prefix, six.__cached__)";
    let said = print_of(&backends, &image, &environment, program).await;
    assert!(said.starts_with("1.16.0 /env /env/lib"), "{said}");
    let sealed = fs::metadata(&environment).unwrap();
    // The worker's own, and no longer that of the user that has built it.
    assert_eq!((sealed.uid(), sealed.mode() & 0o777), (Uid::effective().as_raw(), 0o555));
    let left = fs::read_dir(environments_dir.join("environments/images")).unwrap();
    assert_eq!(left.count(), 0, "nothing of what a stranger's image has written stays");
    engine.close().await;
}

async fn uv_that_does_not_start_is_the_images_fault(workshop: Workshop<'_>, dir: &Path) {
    let uv = dir.join("uv");
    fs::write(&uv, "#!/no/such/loader\n").unwrap();
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();
    let environments = environments(&dir.join("no-loader"), uv);
    let none = ready(workshop, &environments).await.unwrap_err();
    let EnvironmentError::Image { message } = none else { panic!("{none:?}") };
    assert!(message.contains("does not take packages: uv, which needs"), "{message}");
}
