//! An engine of the test's own, an image, and short ways to say what to run in it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use campusgrid_container::engine::{Engine, EngineConfig};
use campusgrid_container::error::EngineError;
use campusgrid_container::image::ImagePolicy;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Check, Limits, Network, Plan, Progress, Report, Step};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// An engine of our own, with everything in one directory.
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    pub(crate) directory: TempDir,
    /// No two tests that run at once have the same: the kernel counts processes by user.
    pub(crate) first_job_uid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Docker,
    Podman,
}

/// A connected engine with the default image in it.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) server: Server,
    pub(crate) checks: Vec<Check>,
}

/// One task in the making.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) plan: Plan,
    pub(crate) image: String,
}

/// What came of a task, with its streams read.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) report: Report,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) progress: Vec<Progress>,
    _results: TempDir,
}

impl Server {
    /// `None`, with the reason printed, where no engine can be started.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can start an engine");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("cg-engine-").tempdir().unwrap();
        match Self::spawn(kind, &directory) {
            Ok(child) => {
                // The engine's own number is nobody else's.
                let first_job_uid = 100_000 + child.id() % 1_000_000 * 512;
                Some(Self { kind, child, directory, first_job_uid })
            }
            Err(why) => {
                eprintln!("skipped: {kind:?} does not start here: {why}");
                None
            }
        }
    }

    /// Starts the engine and waits until it listens.
    fn spawn(kind: Kind, directory: &TempDir) -> Result<Child, String> {
        let at = |name: &str| directory.path().join(name);
        let mut socket = OsString::from("unix://");
        socket.push(at("socket"));
        let mut command = match kind {
            Kind::Docker => {
                let mut command = Command::new("dockerd");
                command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
                command.arg("--pidfile").arg(at("pid")).arg("--host").arg(socket);
                command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
                command
            }
            Kind::Podman => {
                let mut command = Command::new("podman");
                command.arg("--root").arg(at("data")).arg("--runroot").arg(at("exec"));
                command.arg("--tmpdir").arg(at("tmp")).arg("--cgroup-manager=cgroupfs");
                command.args(["--log-level=info", "system", "service", "--time=0"]).arg(socket);
                command
            }
        };
        // Podman's monitor leaves a file where it was started when memory runs out.
        command.current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut last = String::new();
        for line in log.by_ref() {
            if line.contains("API listen on") || line.contains("API service listening on") {
                // Read on, or it would stop when the pipe is full.
                std::thread::spawn(move || log.for_each(drop));
                return Ok(child);
            }
            last = line;
        }
        child.wait().unwrap();
        Err(last)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Ends it as a crash would; containers and containerd live on for the time being.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // They die together, and the pid left behind may be another's by now, or a zombie's.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            fs::remove_file(self.directory.path().join(file)).unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(self.kind, &self.directory).unwrap();
    }

    /// The engine as a new life of the same worker sees it.
    pub(crate) async fn connect(&self, images: ImagePolicy) -> (Option<Engine>, Vec<Check>) {
        Engine::connect(EngineConfig {
            socket: Some(self.socket()),
            helper: PathBuf::from(env!("CARGO_BIN_EXE_campusgrid-container-helper")),
            state: self.directory.path().join("state"),
            instance: "test".to_owned(),
            first_job_uid: self.first_job_uid,
            images,
            patience: Duration::from_secs(5),
        })
        .await
    }

    /// What the engine's own command says; empty where there is none.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let host = format!("unix://{}", self.socket().display());
        let said = Command::new("docker").arg("--host").arg(host).args(arguments).output();
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _reaped = self.child.wait();
        if let Ok(pid) =
            fs::read_to_string(self.directory.path().join("exec/containerd/containerd.pid"))
            && let Ok(pid) = pid.trim().parse()
        {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ours = self.directory.path().to_string_lossy();
        wait_for_the_end_of(&ours);
        // One that was killed has left its mounts, and they would keep the directory.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut places: Vec<&str> =
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        places.retain(|place| place.starts_with(&*ours));
        for place in places.iter().rev() {
            let _gone = umount2(*place, MntFlags::MNT_DETACH);
        }
    }
}

/// Waits for the processes that are told this directory: Podman tidies up through some of its own
/// after its service has gone.
#[expect(clippy::disallowed_methods, reason = "a deadline, not a time that decides")]
fn wait_for_the_end_of(directory: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let is_told = |entry: &fs::DirEntry| {
        let told = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&told).contains(directory)
    };
    while fs::read_dir("/proc").unwrap().flatten().any(|entry| is_told(&entry)) {
        if Instant::now() > deadline {
            return;
        }
        std::thread::yield_now();
    }
}

impl Rig {
    pub(crate) async fn new() -> Option<Self> {
        Self::of(Kind::Docker).await
    }

    pub(crate) async fn of(kind: Kind) -> Option<Self> {
        let server = Server::start(kind)?;
        let (engine, checks) = server.connect(ImagePolicy::default()).await;
        let engine = engine.unwrap_or_else(|| panic!("{checks:?}"));
        let root = server.directory.path().join("root");
        // The programs are the machine's own: tasks are shown /usr.
        for name in ["usr", "etc"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
        engine.import_default(&root).await.unwrap();
        Some(Self { engine, server, checks })
    }

    pub(crate) async fn run(&self, task: Task) -> Ran {
        self.try_run(task, Controls::none(), |_| {}).await.unwrap()
    }

    /// Calls `listen` with all progress as it comes.
    pub(crate) async fn try_run(
        &self,
        mut task: Task,
        controls: Controls,
        mut listen: impl FnMut(&Progress),
    ) -> Result<Ran, EngineError> {
        let results = tempfile::tempdir().unwrap();
        task.plan.results = results.path().to_path_buf();
        let (sender, mut receiver) = mpsc::channel(4);
        let listening = async {
            let mut all = Vec::new();
            while let Some(progress) = receiver.recv().await {
                listen(&progress);
                all.push(progress);
            }
            all
        };
        let running = self.engine.run(task.plan, &task.image, sender, controls);
        let (report, progress) = tokio::join!(running, listening);
        let report = report?;
        let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let (stdout, stderr) = (text(&report.stdout.file), text(&report.stderr.file));
        Ok(Ran { report, stdout, stderr, progress, _results: results })
    }

    /// What is still there in the engine, in its own words.
    pub(crate) fn containers(&self) -> String {
        self.server.docker(&["ps", "--all", "--quiet"])
    }
}

impl Task {
    /// A shell script, with small limits and `OUTPUT_DIR`.
    pub(crate) fn sh(script: &str) -> Self {
        Self::argv(&["sh", "-c", script])
    }

    pub(crate) fn python(script: &str) -> Self {
        Self::argv(&["python3", "-c", script])
    }

    pub(crate) fn argv(argv: &[&str]) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let environment =
            [("PATH", "/usr/bin:/bin"), ("HOME", "/job"), ("OUTPUT_DIR", "/job/outputs")];
        let plan = Plan {
            name: "test".to_owned(),
            steps: vec![Step { argv, wall: Duration::from_secs(20), warn: None }],
            files: Vec::new(),
            links: Vec::new(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).to_vec(),
            read_only: vec![("/usr".into(), "/usr".into())],
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
                log_flood_bytes: 1024 * 1024,
                outputs: 10,
                outputs_bytes: 1024 * 1024,
                grace: Duration::from_millis(200),
            },
            results: PathBuf::new(),
        };
        Self { plan, image: "default".to_owned() }
    }

    pub(crate) fn then(mut self, next: Self) -> Self {
        self.plan.steps.extend(next.plan.steps);
        self
    }

    pub(crate) fn wall(mut self, wall: Duration) -> Self {
        self.plan.steps.iter_mut().for_each(|step| step.wall = wall);
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.plan.limits);
        self
    }

    pub(crate) fn family(mut self, name: &str) -> Self {
        self.plan.family = Some(name.to_owned());
        self
    }
}
