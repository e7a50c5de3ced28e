//! A manager and a worker on this machine, started as a user would, on loopback.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::client::Client;
use crate::clock::Stopwatch;
use crate::daemon::{self, Said};
use crate::interrupt::Daemons;
use crate::places::{Places, Profile};
use crate::program;

const START_LIMIT: Duration = Duration::from_secs(30);
const START_STEP: Duration = Duration::from_millis(20);
/// The worker tries its sandbox before it connects.
const CODE_LIMIT: Duration = Duration::from_secs(60);
const ONLINE_LIMIT: Duration = Duration::from_secs(60);
/// Before the code in what an unapproved worker says.
const CODE_MARK: &str = "waiting for approval: enter code ";
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Where a grid keeps its data, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    /// Credits that each new user gets; none: the manager's default.
    pub(crate) starting_credits: Option<u64>,
    pub(crate) worker_name: String,
}

/// The manager's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) workers: u16,
    pub(crate) dashboard: u16,
}

/// The ports that the manager takes when nothing else is said.
pub(crate) const USUAL: Ports = Ports { workers: 9999, dashboard: 5000 };

/// A manager that answers; a worker can join it.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) client: Client,
    /// The dashboard's address, without a slash at its end.
    pub(crate) url: String,
    pub(crate) pid: u32,
    plan: Plan,
    said: Said,
}

/// How a worker that is new is let in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door<'a> {
    /// By a token that its owner made beforehand.
    Token(&'a str),
    /// By a code that it shows and its owner, named here, is to approve.
    Code(&'a str),
}

/// A started worker, approved or not.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    said: Said,
}

impl Ports {
    /// Two ports that nobody listens on now.
    ///
    /// # Errors
    ///
    /// When the kernel has none.
    pub(crate) fn free() -> Result<Self> {
        // Both are held until both are known, so that they differ.
        let workers = TcpListener::bind((HOST, 0)).context("failed to find a free port")?;
        let dashboard = TcpListener::bind((HOST, 0)).context("failed to find a free port")?;
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Self { workers: port(&workers)?, dashboard: port(&dashboard)? })
    }

    pub(crate) fn are_free(self) -> bool {
        [self.workers, self.dashboard].iter().all(|&port| TcpListener::bind((HOST, port)).is_ok())
    }
}

/// The binaries that a grid needs, built.
///
/// # Errors
///
/// When they do not compile.
pub(crate) fn build(places: &Places, profile: Profile) -> Result<()> {
    build_with(places, profile, &[])
}

/// Those, and the binaries of more packages.
///
/// # Errors
///
/// When they do not compile.
pub(crate) fn build_with(places: &Places, profile: Profile, packages: &[&str]) -> Result<()> {
    let mut words = vec!["build", "--bins", "--package", "campusgrid-manager"];
    words.extend(["--package", "campusgrid-worker"]);
    words.extend(packages.iter().flat_map(|package| ["--package", package]));
    match profile {
        Profile::Debug => {}
        Profile::Release => words.push("--release"),
    }
    program::run(&mut program::cargo(&places.root, &words))
}

/// Starts a manager and waits until it answers.
///
/// # Errors
///
/// When it does not; the error holds the end of its log.
pub(crate) fn start_manager(places: &Places, plan: Plan, daemons: &Daemons) -> Result<Manager> {
    let data = plan.folder.join("manager");
    make_private(&data)?;
    let mut command = clean(places, &plan, "campusgrid-manager");
    command.env("CAMPUSGRID_MANAGER_DATA_DIR", &data);
    command.env("CAMPUSGRID_DASHBOARD_HOST", HOST.to_string());
    command.env("DASHBOARD_PORT", plan.ports.dashboard.to_string());
    if let Some(credits) = plan.starting_credits {
        command.env("STARTING_CREDITS", credits.to_string());
    }
    let (daemon, said) = daemon::start("the manager", &command, &plan.folder.join("manager.log"))?;
    let pid = daemon.pid();
    daemons.add(daemon);
    let url = format!("http://{HOST}:{}", plan.ports.dashboard);
    let client = Client::new(&url);
    let waiting = Stopwatch::start();
    while !client.is_healthy() {
        if waiting.elapsed() > START_LIMIT || said.is_over() {
            bail!("the manager did not come up:\n{}", said.tail());
        }
        std::thread::sleep(START_STEP);
    }
    Ok(Manager { client, url, pid, plan, said })
}

impl Manager {
    /// A token by which one machine of this user may join, within an hour.
    ///
    /// # Errors
    ///
    /// When the API cannot be asked.
    pub(crate) fn join_token(&self, owner: &Client) -> Result<String> {
        let made = owner.post("workers/tokens", &json!({}))?;
        Ok(made["token"].as_str().context("the API gave no token")?.to_owned())
    }

    /// Starts a worker; one that has joined before does not look at the door.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start_worker(
        &self,
        places: &Places,
        door: Door<'_>,
        daemons: &Daemons,
    ) -> Result<Worker> {
        let data = self.plan.folder.join("worker");
        make_private(&data)?;
        let mut command = clean(places, &self.plan, "campusgrid-worker");
        command.args(["-m", &HOST.to_string(), "-p", &self.plan.ports.workers.to_string()]);
        command.args(["-n", &self.plan.worker_name]);
        match door {
            // Everybody may read a command line.
            Door::Token(token) => command.env("MANAGER_TOKEN", token),
            Door::Code(owner) => command.args(["-u", owner]),
        };
        command.env("CAMPUSGRID_WORKER_DATA_DIR", &data);
        command.env("CAMPUSGRID_WORKER_UV", places.uv());
        let log = self.plan.folder.join("worker.log");
        let (daemon, said) = daemon::start("the worker", &command, &log)?;
        let pid = daemon.pid();
        daemons.add(daemon);
        Ok(Worker { pid, said })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.said.is_over()
    }

    /// The end of its log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        self.said.tail()
    }

    /// Whether a worker that somebody owns is connected.
    ///
    /// # Errors
    ///
    /// When the API cannot be asked.
    pub(crate) fn has_worker(&self, user: &Client) -> Result<bool> {
        Ok(user.get("stats")?["workers_online"].as_u64().unwrap_or(0) > 0)
    }
}

impl Worker {
    /// The code under which its owner can approve it.
    ///
    /// # Errors
    ///
    /// When it says none; the error holds the end of its log.
    pub(crate) fn code(&self) -> Result<String> {
        self.said.wait_for("a code", CODE_LIMIT, code_in)
    }

    /// Waits until it is there.
    ///
    /// # Errors
    ///
    /// When it ends or does not connect; the error holds the end of its log.
    pub(crate) fn wait_until_joined(&self, manager: &Manager, owner: &Client) -> Result<()> {
        let waiting = Stopwatch::start();
        while !manager.has_worker(owner)? {
            if waiting.elapsed() > ONLINE_LIMIT || self.said.is_over() {
                bail!("the worker did not join:\n{}", self.said.tail());
            }
            std::thread::sleep(START_STEP);
        }
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.said.is_over()
    }

    /// The end of its log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        self.said.tail()
    }
}

fn code_in(line: &str) -> Option<String> {
    let rest = line.split_once(CODE_MARK)?.1;
    rest.split_whitespace().next().map(str::to_owned)
}

/// A command that nothing in this process's environment configures.
fn clean(places: &Places, plan: &Plan, binary: &str) -> Command {
    let mut command = Command::new(places.binary(plan.profile, binary));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let seeds = ["DASHBOARD_PORT", "USE_DOCKER", "STARTING_CREDITS", "MANAGER_TOKEN"];
        if text.starts_with("CAMPUSGRID_") || seeds.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env("MANAGER_HOST", HOST.to_string());
    command.env("MANAGER_PORT", plan.ports.workers.to_string());
    // No config.toml lies here.
    command.current_dir(&plan.folder);
    command
}

/// A folder that other users of the machine cannot look into.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("failed to make {}", folder.display()))
}

/// A folder for one run, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct ShortLived(PathBuf);

impl ShortLived {
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn make(purpose: &str) -> Result<Self> {
        let name = format!("campusgrid-{purpose}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        make_private(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ShortLived {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("failed to remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::code_in;

    #[test]
    fn the_code_is_found_in_what_the_worker_says() {
        let line = "waiting for approval: enter code AB12-CD34 on the dashboard's \"Workers\" page";
        assert_eq!(code_in(line).as_deref(), Some("AB12-CD34"));
        assert_eq!(code_in("connected to 127.0.0.1:9999"), None);
    }
}
