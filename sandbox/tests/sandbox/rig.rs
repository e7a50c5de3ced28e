//! A real sandbox for tests, and short ways to say what to run in it.
#![expect(clippy::unwrap_used, reason = "all of this is test code, though not in test functions")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campusgrid_sandbox::checkpoint::CHECKPOINT_DIR;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{
    Checkpoints, Limits, Network, Plan, Progress, Report, Restored, SandboxError, Step,
};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use tokio::sync::{Mutex, MutexGuard, mpsc};

/// A sandbox and a directory of its own that is removed with it.
pub(crate) struct Rig {
    sandbox: Option<Sandbox>,
    notes: Vec<String>,
    pub(crate) directory: Directory,
    _alone: MutexGuard<'static, ()>,
}

/// Tests in one process take turns, so that what is left by one is not taken for another's.
static TURN: Mutex<()> = Mutex::const_new(());

/// One task in the making.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) steps: Vec<Step>,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) links: Vec<(String, PathBuf)>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) read_only: Vec<(PathBuf, PathBuf)>,
    pub(crate) read_write: Vec<(PathBuf, PathBuf)>,
    pub(crate) devices: Vec<PathBuf>,
    pub(crate) network: Network,
    pub(crate) family: Option<String>,
    pub(crate) shared_tmp: bool,
    pub(crate) outputs: Vec<String>,
    pub(crate) checkpoints: Option<Checkpoints>,
    pub(crate) limits: Limits,
}

/// What came of a task, with its streams read.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) report: Report,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) progress: Vec<Progress>,
    _results: Directory,
}

#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let path = std::env::temp_dir().join(format!("campusgrid-sandbox-{pid}-{number}-{name}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

impl Rig {
    /// `None`, with the reason printed, where this machine cannot confine anything.
    pub(crate) async fn full() -> Option<Self> {
        Self::new(Confinement::Full).await
    }

    pub(crate) async fn new(confinement: Confinement) -> Option<Self> {
        let alone = TURN.lock().await;
        let directory = Directory::new("rig");
        let config = SandboxConfig {
            confinement,
            helper: PathBuf::from(env!("CARGO_BIN_EXE_campusgrid-sandbox-helper")),
            scratch: directory.0.join("scratch"),
            first_job_uid: 60000,
            allow_restricted: false,
        };
        let (sandbox, strength) = Sandbox::probe(config).await;
        if sandbox.is_none() {
            #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
            for note in &strength.notes {
                eprintln!("skipped: {note}");
            }
        }
        let notes = strength.notes;
        Some(Self { sandbox: Some(sandbox?), notes, directory, _alone: alone })
    }

    pub(crate) async fn run(&self, task: Task) -> Ran {
        self.try_run(task, Controls::none(), |_| {}).await.unwrap()
    }

    /// Calls `listen` with all progress as it comes.
    pub(crate) async fn try_run(
        &self,
        task: Task,
        controls: Controls,
        mut listen: impl FnMut(&Progress),
    ) -> Result<Ran, SandboxError> {
        let results = Directory::new("results");
        let (sender, mut receiver) = mpsc::channel(4);
        let plan = task.plan(&results.0);
        let listening = async {
            let mut all = Vec::new();
            while let Some(progress) = receiver.recv().await {
                listen(&progress);
                all.push(progress);
            }
            all
        };
        let (report, progress) =
            tokio::join!(self.sandbox().run(plan, sender, controls), listening);
        let report = report?;
        let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let (stdout, stderr) = (text(&report.stdout.file), text(&report.stderr.file));
        Ok(Ran { report, stdout, stderr, progress, _results: results })
    }
}

impl Rig {
    /// Whether tasks can use no other cores than those they are granted.
    pub(crate) fn pins_cores(&self) -> bool {
        self.notes.iter().any(|note| note.ends_with("and cannot use others"))
    }

    /// Whether this kernel can forget the highest use of memory so far.
    pub(crate) fn resets_peaks(&self) -> bool {
        let peaks = ["memory.max_usage_in_bytes", "memory.peak"];
        let files = cgroups().into_iter().flat_map(|group| peaks.map(|peak| group.join(peak)));
        files
            .filter_map(|file| fs::metadata(file).ok())
            .any(|file| file.permissions().mode() & 0o200 != 0)
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }
}

/// After every test: no helper, no cgroup (which would hold what is alive), no mount is left.
impl Drop for Rig {
    fn drop(&mut self) {
        self.sandbox = None;
        if std::thread::panicking() {
            return;
        }
        assert_eq!(children(), Vec::<i32>::new(), "processes are left");
        assert_eq!(cgroups(), Vec::<PathBuf>::new(), "cgroups are left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(" /sys rw,nosuid,nodev,relatime - tmpfs"), "{mounts}");
    }
}

/// Whether a process is there and not dead.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Processes with this word among their arguments.
pub(crate) fn processes(word: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
    .collect()
}

/// The cgroups that this process has made, in all hierarchies.
pub(crate) fn cgroups() -> Vec<PathBuf> {
    cgroups_of(std::process::id())
}

/// Those that a process has made, which may be no more.
pub(crate) fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let ours = format!("campusgrid-{pid}-");
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// The children of this process.
pub(crate) fn children() -> Vec<i32> {
    let own = std::process::id().to_string();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&own))
    })
    .collect()
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
        Self {
            steps: vec![Step { argv, wall: Duration::from_secs(20), warn: None }],
            files: Vec::new(),
            links: Vec::new(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).to_vec(),
            read_only: Vec::new(),
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
        }
    }

    pub(crate) fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }

    pub(crate) fn wall(mut self, wall: Duration) -> Self {
        self.steps.iter_mut().for_each(|step| step.wall = wall);
        self
    }

    /// Hears SIGUSR1 so long before its time is over.
    pub(crate) fn warned(mut self, before: Duration) -> Self {
        self.steps.iter_mut().for_each(|step| step.warn = Some(before));
        self
    }

    /// Finds this directory of the host as `/inputs`, and a link to each of these names in it.
    pub(crate) fn inputs(mut self, host: &Path, names: &[&str]) -> Self {
        self.read_only.push((host.to_path_buf(), "/inputs".into()));
        let link = |name: &&str| ((*name).to_owned(), Path::new("/inputs").join(name));
        self.links.extend(names.iter().map(link));
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn family(mut self, family: &str) -> Self {
        self.family = Some(family.to_owned());
        self
    }

    /// May be handed back, finds these files of the host, and is saved so often.
    pub(crate) fn checkpoints(mut self, restore: &[(&str, &Path)], every_ms: u64) -> Self {
        let restored = |(path, file): &(&str, &Path)| Restored {
            path: (*path).to_owned(),
            file: file.to_path_buf(),
            size_bytes: fs::metadata(file).unwrap().len(),
        };
        let every = (every_ms > 0).then(|| Duration::from_millis(every_ms));
        let restore = restore.iter().map(restored).collect();
        self.checkpoints = Some(Checkpoints { restore, every });
        self.environment.push(("CHECKPOINT_DIR".to_owned(), CHECKPOINT_DIR.to_owned()));
        self
    }

    pub(crate) fn plan(self, results: &Path) -> Plan {
        Plan {
            name: "test".into(),
            files: self.files,
            links: self.links,
            steps: self.steps,
            environment: self.environment,
            read_only: self.read_only,
            read_write: self.read_write,
            devices: self.devices,
            network: self.network,
            family: self.family,
            shared_tmp: self.shared_tmp,
            outputs: self.outputs,
            checkpoints: self.checkpoints,
            limits: self.limits,
            results: results.to_path_buf(),
        }
    }
}
