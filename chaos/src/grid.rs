//! The processes of a storm and the networks between them, on loopback and in one folder.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::api::Api;
use crate::clock::Stopwatch;
use crate::error::ChaosError;
use crate::manager::{Manager, ManagerPlan};
use crate::plan::{CLIENTS, Link, Target, WORKERS};
use crate::process::{OnLine, Process, clean};
use crate::progress::Progress;
use crate::proxy::Proxy;

/// How often workers report. Milliseconds.
const HEARTBEAT_MS: u32 = 200;

/// So much that nobody runs out of it. Credits.
pub const STARTING_CREDITS: i64 = 1_000_000;

/// So short that workers renew theirs in the middle of a storm, and so long that they seldom miss to.
const CERTIFICATE_LIFE_S: u32 = 45;

/// In what a worker says when it has renewed its certificate.
const RENEWED: &str = "certificate is renewed";

/// Uses of the token that lets workers in: for the first time, and where a certificate has run out.
const TOKEN_USES: u32 = 1000;

/// What a kill costs a task is one of its tries; a storm has many.
const TRIES: u32 = 100;

/// Longer than a worker takes to try its sandbox and to join, on a busy machine.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Longer than an answer takes that nothing holds up.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked whether something has come about that nobody tells of.
const LOOK: Duration = Duration::from_millis(20);

/// Of sysexits.h: what a worker ends with on a machine where no sandbox works.
pub const EX_UNAVAILABLE: i32 = 69;

/// Where workers find no sandbox more often than this, there is none.
const NO_SANDBOX_MAX: u32 = 5;

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    pub manager: PathBuf,
    pub worker: PathBuf,
    /// This very program, which is a client if it is asked to be.
    pub own: PathBuf,
}

impl Programs {
    /// The manager and the worker of one folder.
    pub fn of(folder: &Path, own: PathBuf) -> Self {
        let program = |name| folder.join(name);
        Self { manager: program("campusgrid-manager"), worker: program("campusgrid-worker"), own }
    }
}

/// A user and the token of their login.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub token: String,
}

/// All that runs.
#[derive(Debug)]
pub struct Grid {
    pub folder: PathBuf,
    programs: Programs,
    seed: u64,
    lease_ms: u32,
    manager: Option<Process>,
    workers: Vec<Option<Process>>,
    clients: Vec<Option<Process>>,
    pub owner: User,
    /// One for each client.
    pub users: Vec<User>,
    /// Lets a worker in that has no identity, or none that is good.
    token: String,
    to_workers: Vec<Proxy>,
    to_dashboard: Proxy,
    /// Where the dashboard really is.
    dashboard: SocketAddr,
    /// Of every worker that ever ran.
    pub worker_pids: BTreeSet<u32>,
    pub progress: Arc<Progress>,
    /// How often a worker has renewed its certificate.
    pub renewed: Arc<AtomicU32>,
    /// How often a worker has found no sandbox before all had joined.
    no_sandbox: u32,
    _runtime: Runtime,
}

impl Grid {
    /// Starts a manager and three workers, which belong to one user; clients come later. Tasks are given
    /// out for `lease_ms` at a time.
    ///
    /// # Errors
    ///
    /// Whatever keeps one of them from coming up; `NoSandbox` where workers cannot run tasks at all.
    pub fn start(
        folder: &Path,
        programs: Programs,
        seed: u64,
        lease_ms: u32,
    ) -> Result<Self, ChaosError> {
        let runtime = Runtime::new().map_err(|source| ChaosError::Runtime { source })?;
        make_folder(folder)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let proxy = || Proxy::start(runtime.handle(), nowhere);
        let nobody = User { name: "owner".to_owned(), token: String::new() };
        let mut grid = Self {
            folder: folder.to_owned(),
            programs,
            seed,
            lease_ms,
            manager: None,
            workers: (0..WORKERS).map(|_| None).collect(),
            clients: (0..CLIENTS).map(|_| None).collect(),
            owner: nobody,
            users: Vec::new(),
            token: String::new(),
            to_workers: (0..WORKERS).map(|_| proxy()).collect::<Result<_, _>>()?,
            to_dashboard: proxy()?,
            dashboard: nowhere,
            worker_pids: BTreeSet::new(),
            progress: Arc::default(),
            renewed: Arc::default(),
            no_sandbox: 0,
            _runtime: runtime,
        };
        grid.start_process(Target::Manager)?;
        let register = |name: &str| -> Result<User, ChaosError> {
            Ok(User { name: name.to_owned(), token: grid.api().register(name)? })
        };
        let owner = register("owner")?;
        let users = (1..=CLIENTS).map(|number| register(&format!("client-{number}")));
        let users = users.collect::<Result<_, _>>()?;
        (grid.owner, grid.users) = (owner, users);
        grid.join_workers()?;
        Ok(grid)
    }

    /// The API as nobody, without a bad network between.
    pub fn api(&self) -> Api {
        Api::new(&format!("http://{}", self.dashboard), ANSWER_LIMIT)
    }

    /// The API as the owner of the workers.
    pub fn owner_api(&self) -> Api {
        self.api().logged_in(&self.owner.token)
    }

    /// Starts one of the processes. A manager serves when this returns, others are on their way.
    ///
    /// # Errors
    ///
    /// `Start`; `Ended` and `Silent` for a manager that does not come up.
    pub fn start_process(&mut self, target: Target) -> Result<(), ChaosError> {
        match target {
            Target::Manager => self.start_manager(),
            Target::Worker(number) => {
                let command = self.worker_command(number);
                let renewed = Arc::clone(&self.renewed);
                let count = move |line: &str| {
                    let is_renewed = line.contains(RENEWED);
                    renewed.fetch_add(u32::from(is_renewed), Ordering::Relaxed);
                };
                let process = self.spawn(target, command, Box::new(count))?;
                self.worker_pids.insert(process.pid());
                *self.slot(target) = Some(process);
                Ok(())
            }
            Target::Client(number) => {
                let command = self.client_command(number);
                let progress = Arc::clone(&self.progress);
                let process = self.spawn(target, command, Box::new(move |_| progress.add()))?;
                *self.slot(target) = Some(process);
                Ok(())
            }
        }
    }

    fn start_manager(&mut self) -> Result<(), ChaosError> {
        let manager = self.manager_plan().start()?;
        for proxy in &self.to_workers {
            proxy.lead_to(manager.workers);
        }
        self.to_dashboard.lead_to(manager.dashboard);
        self.dashboard = manager.dashboard;
        let Manager { process, .. } = manager;
        self.manager = Some(process);
        Ok(())
    }

    fn manager_plan(&self) -> ManagerPlan {
        let settings = [
            ("CAMPUSGRID_MANAGER_HEARTBEAT_MS", HEARTBEAT_MS.to_string()),
            ("CAMPUSGRID_MANAGER_LEASE_MS", self.lease_ms.to_string()),
            ("CAMPUSGRID_MANAGER_CERTIFICATE_LIFE_S", CERTIFICATE_LIFE_S.to_string()),
            ("CAMPUSGRID_JOBS_TRIES", TRIES.to_string()),
            ("STARTING_CREDITS", STARTING_CREDITS.to_string()),
        ];
        ManagerPlan {
            program: self.programs.manager.clone(),
            folder: self.folder.clone(),
            ports: [0, 0],
            settings: settings.into(),
        }
    }

    /// The running process, if it runs.
    pub fn slot(&mut self, target: Target) -> &mut Option<Process> {
        match target {
            Target::Manager => &mut self.manager,
            Target::Worker(number) => &mut self.workers[usize::from(number)],
            Target::Client(number) => &mut self.clients[usize::from(number)],
        }
    }

    /// The network that a link is.
    pub fn proxy(&self, link: Link) -> &Proxy {
        match link {
            Link::Worker(number) => &self.to_workers[usize::from(number)],
            Link::Clients => &self.to_dashboard,
        }
    }

    /// Where a worker keeps its identity and its results.
    pub fn worker_dir(&self, number: u8) -> PathBuf {
        self.folder.join(Target::Worker(number).to_string())
    }

    /// Where a client writes down what it is told.
    pub fn journal(&self, number: u8) -> PathBuf {
        self.folder.join(format!("{}.journal", Target::Client(number)))
    }

    /// What the manager's own check of its books says against them, a line each.
    ///
    /// # Errors
    ///
    /// `Start`.
    pub fn check_books(&self) -> Result<Vec<String>, ChaosError> {
        self.manager_plan().check_books()
    }

    /// Waits until so many workers are connected.
    ///
    /// # Errors
    ///
    /// `Patience`; `Ended` if one of them has ended; `NoSandbox`; those of the API.
    pub fn wait_for_workers(&mut self, count: u32) -> Result<(), ChaosError> {
        let waiting = Stopwatch::start();
        let api = self.owner_api();
        loop {
            let online = api.workers_online()?;
            if online == count {
                return Ok(());
            }
            self.see_that_workers_live()?;
            if waiting.elapsed() > JOIN_LIMIT {
                let (what, limit_s) = ("the workers' presence", JOIN_LIMIT.as_secs());
                let found = format!("{online} are online");
                return Err(ChaosError::Patience { what, limit_s, found });
            }
            thread::sleep(LOOK);
        }
    }

    fn see_that_workers_live(&mut self) -> Result<(), ChaosError> {
        for number in 0..WORKERS {
            let Some(worker) = self.slot(Target::Worker(number)) else { continue };
            let Some(status) = worker.ended() else { continue };
            if status.code() == Some(EX_UNAVAILABLE) {
                // Other programs of this machine may have been in its way for a moment.
                if self.no_sandbox >= NO_SANDBOX_MAX {
                    return Err(ChaosError::NoSandbox);
                }
                self.no_sandbox += 1;
                self.start_process(Target::Worker(number))?;
                continue;
            }
            let (what, sought) = (worker.name().to_owned(), "that it has joined".to_owned());
            return Err(ChaosError::Ended { what, sought, tail: worker.tail() });
        }
        Ok(())
    }

    /// Lets all workers in by one token.
    fn join_workers(&mut self) -> Result<(), ChaosError> {
        self.token = self.manager_plan().join_token(&self.owner.name, TOKEN_USES)?;
        for number in 0..WORKERS {
            self.start_process(Target::Worker(number))?;
        }
        self.wait_for_workers(WORKERS.into())
    }

    fn worker_command(&self, number: u8) -> Command {
        let mut command = clean(&self.programs.worker, &self.folder);
        let port = self.proxy(Link::Worker(number)).address().port();
        command.args(["-m", "127.0.0.1", "-p", &port.to_string(), "--no-docker"]);
        command.args(["-n", &Target::Worker(number).to_string()]);
        command.env("MANAGER_TOKEN", &self.token);
        command.arg("--data-dir").arg(self.worker_dir(number));
        command.env("CAMPUSGRID_WORKER_FIRST_JOB_UID", first_job_uid(number).to_string());
        command.env("CAMPUSGRID_WORKER_CORES", "2");
        command.env("CAMPUSGRID_WORKER_RAM_MIB", "1024");
        command.env("CAMPUSGRID_WORKER_DISK_MIB", "256");
        command
    }

    fn client_command(&self, number: u8) -> Command {
        let mut command = clean(&self.programs.own, &self.folder);
        let user = &self.users[usize::from(number)];
        let seed = self.seed.wrapping_mul(1000).wrapping_add(number.into());
        command.arg("client").args(["--url", &format!("http://{}", self.to_dashboard.address())]);
        command.args(["--name", &user.name, "--seed", &seed.to_string()]);
        command.arg("--journal").arg(self.journal(number));
        command.env("CAMPUSGRID_CHAOS_TOKEN", &user.token);
        command
    }

    fn spawn(
        &self,
        target: Target,
        command: Command,
        on_line: OnLine,
    ) -> Result<Process, ChaosError> {
        let name = target.to_string();
        Process::start(&name, command, &self.folder.join(format!("{name}.log")), on_line)
    }
}

/// Users of a worker's tasks, where it is root: processes are counted by user, and what other workers of
/// this machine run, in this storm or beside it, must not count as this one's.
fn first_job_uid(number: u8) -> u32 {
    100_000 + std::process::id() % 100_000 * 3000 + u32::from(number) * 1000
}

/// A folder that other users of the machine cannot look into.
pub(crate) fn make_folder(folder: &Path) -> Result<(), ChaosError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| ChaosError::Folder { path: folder.to_owned(), source })
}
