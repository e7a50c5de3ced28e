//! A manager of real binaries on loopback, and its command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::error::ChaosError;
use crate::process::{Process, clean};

/// Longer than a manager takes to load what it has, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How a manager is started.
#[derive(Debug, Clone)]
pub struct ManagerPlan {
    pub program: PathBuf,
    /// Holds its data and its log.
    pub folder: PathBuf,
    /// For workers and for the dashboard; 0 takes a free one.
    pub ports: [u16; 2],
    /// Variables of its environment.
    pub settings: Vec<(&'static str, String)>,
}

/// A manager that serves.
#[derive(Debug)]
pub struct Manager {
    pub process: Process,
    pub workers: SocketAddr,
    pub dashboard: SocketAddr,
}

impl ManagerPlan {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// `Start`, `Ended`, `Silent`.
    pub fn start(&self) -> Result<Manager, ChaosError> {
        let [workers, dashboard] = self.ports.map(|port| port.to_string());
        let mut command = self.command();
        command.args(["--host", "127.0.0.1", "--port", &workers]);
        command.args(["--dashboard-host", "127.0.0.1", "--dashboard-port", &dashboard]);
        // Hashing passwords is not what is tried here.
        command.env("CAMPUSGRID_DASHBOARD_ARGON2_MEMORY_KIB", "64");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let log = self.folder.join("manager.log");
        let process = Process::start("manager", command, &log, Box::new(|_| {}))?;
        let address = |name: &str| {
            let sought = format!("listening for {name}");
            process.wait_for(&sought, START_LIMIT, |line| {
                let rest = line.contains(&sought).then(|| line.rsplit('=').next())??;
                rest.trim().parse::<SocketAddr>().ok()
            })
        };
        let (workers, dashboard) = (address("workers")?, address("dashboard")?);
        Ok(Manager { process, workers, dashboard })
    }

    /// A token by which `uses` machines of this user may join, from a manager that runs.
    ///
    /// # Errors
    ///
    /// `Start`, `Command`.
    pub fn join_token(&self, user: &str, uses: u32) -> Result<String, ChaosError> {
        let mut command = self.command();
        command.args(["token", "--user", user, "--uses", &uses.to_string()]);
        let output = run(&mut command)?;
        if !output.status.success() {
            return Err(ChaosError::Command { what: "making a token", said: said(&output) });
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What its own check of the books says against them, a line each; beside it or without it.
    ///
    /// # Errors
    ///
    /// `Start`.
    pub fn check_books(&self) -> Result<Vec<String>, ChaosError> {
        let output = run(self.command().args(["fsck", "--content"]))?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        Ok(said(&output).lines().map(str::to_owned).collect())
    }

    fn command(&self) -> Command {
        let mut command = clean(&self.program, &self.folder);
        command.env("CAMPUSGRID_MANAGER_DATA_DIR", self.folder.join("manager"));
        command
    }
}

fn run(command: &mut Command) -> Result<Output, ChaosError> {
    let what = "the manager's command line".to_owned();
    command.output().map_err(|source| ChaosError::Start { what, source })
}

fn said(output: &Output) -> String {
    format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}
