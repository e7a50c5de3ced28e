//! A manager, workers and users of the command, on loopback and in directories of their own, ended with
//! the test.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use campusgrid_cli::client::Client;
use campusgrid_cli::client::address::Server;
use campusgrid_cli::client::trust::Trust;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery";
/// Longer than anything here takes, even on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// The processes and directories of one test.
pub(crate) struct Grid {
    pub(crate) folder: TempDir,
    manager: Option<Child>,
    workers: Vec<Child>,
    port: u16,
    dashboard: u16,
    /// Environment variables of the manager.
    settings: Vec<(&'static str, &'static str)>,
}

/// Somebody at a shell.
pub(crate) struct User {
    /// Where the command keeps what it keeps.
    pub(crate) home: PathBuf,
    /// Where it is called.
    pub(crate) folder: PathBuf,
}

/// What a call came to.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Grid {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(settings: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings.to_vec();
        let (manager, workers) = (None, Vec::new());
        let mut grid = Self { folder, manager, workers, port: 0, dashboard: 0, settings };
        grid.start_manager();
        grid
    }

    /// Starts the manager, again on the ports of the first time.
    pub(crate) fn start_manager(&mut self) {
        let mut command = clean(&beside("campusgrid-manager"));
        command.args(["--host", "127.0.0.1", "--dashboard-host", "127.0.0.1"]);
        command.args(["--port", &self.port.to_string()]);
        command.args(["--dashboard-port", &self.dashboard.to_string()]);
        command.arg("--data-dir").arg(self.folder.path().join("manager"));
        // Hashing passwords is not what is tested here.
        command.env("CAMPUSGRID_DASHBOARD_ARGON2_MEMORY_KIB", "64");
        command.env("STARTING_CREDITS", "10000");
        command.env("CAMPUSGRID_MANAGER_HEARTBEAT_MS", "1000");
        command.env("CAMPUSGRID_MANAGER_LEASE_MS", "20000");
        command.envs(self.settings.iter().copied());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut manager = command.spawn().unwrap();
        let mut lines = BufReader::new(manager.stderr.take().unwrap()).lines();
        let mut port_after = |words: &str| -> u16 {
            let line = lines.find_map(|line| line.ok().filter(|line| line.contains(words)));
            line.expect("the manager listens").rsplit(':').next().unwrap().parse().unwrap()
        };
        self.port = port_after("listening for workers");
        self.dashboard = port_after("listening for dashboard");
        // What nobody reads must not block the one who writes.
        std::thread::spawn(move || lines.for_each(drop));
        self.manager = Some(manager);
    }

    /// Kills the manager as a power loss would.
    pub(crate) fn kill_manager(&mut self) {
        let mut manager = self.manager.take().unwrap();
        manager.kill().unwrap();
        manager.wait().unwrap();
    }

    pub(crate) fn url(&self) -> String {
        let is_encrypted = self.settings.contains(&("CAMPUSGRID_DASHBOARD_TLS", "own"));
        let scheme = if is_encrypted { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.dashboard)
    }

    /// Somebody new, who is not known to the manager yet.
    pub(crate) fn somebody(&self, name: &str) -> User {
        let home = self.folder.path().join(format!("{name}-home"));
        let folder = self.folder.path().join(format!("{name}-files"));
        std::fs::create_dir_all(&folder).unwrap();
        User { home, folder }
    }

    /// Somebody who has registered.
    pub(crate) fn user(&self, name: &str) -> User {
        let user = self.somebody(name);
        let words = ["register", &self.url(), "--user", name, "--password-stdin"];
        user.fed(&words, PASSWORD).succeeded();
        user
    }

    /// Shares a machine of this user's by the command itself, and waits until it is there.
    pub(crate) fn share(&mut self, owner: &User, more: &[&str]) {
        let data = self.folder.path().join(format!("worker-{}", self.workers.len()));
        let mut command = owner.command();
        command.arg("share").arg("--worker").arg(beside("campusgrid-worker"));
        command.arg("--data-dir").arg(&data).args(more);
        command.env("CAMPUSGRID_WORKER_USE_DOCKER", "false");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.workers.push(command.spawn().unwrap());
        let wanted = self.workers.len();
        until("a machine joins", || {
            let online = owner.run(&["workers", "--online", "--json"]).succeeded();
            online.lines().count() >= wanted
        });
    }

    /// Ends the machine that joined last.
    pub(crate) fn unplug(&mut self) {
        let mut worker = self.workers.pop().unwrap();
        interrupt(&worker, Signal::SIGTERM);
        worker.wait().unwrap();
    }

    /// Proves the books, with the manager's own command.
    pub(crate) fn fsck(&self) {
        let mut command = clean(&beside("campusgrid-manager"));
        command.arg("fsck").arg("--data-dir").arg(self.folder.path().join("manager"));
        let output = command.current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.manager) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl User {
    /// The command as this user would call it.
    pub(crate) fn command(&self) -> Command {
        let mut command = clean(Path::new(env!("CARGO_BIN_EXE_campusgrid")));
        command.current_dir(&self.folder).env("XDG_CONFIG_HOME", &self.home);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        said(self.command().args(words).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs it with a line on standard input.
    pub(crate) fn fed(&self, words: &[&str], line: &str) -> Said {
        let mut command = self.command();
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without reading.
        drop(writeln!(child.stdin.take().unwrap(), "{line}"));
        said(child.wait_with_output().unwrap())
    }

    /// A client of the library, as whoever the command takes this user for.
    pub(crate) fn client(&self, grid: &Grid) -> Client {
        let config = std::fs::read_to_string(self.home.join("campusgrid/config.toml")).unwrap();
        let token = config.lines().find_map(|line| line.strip_prefix("token = ")).unwrap();
        let server = Server::parse(&grid.url()).unwrap();
        Client::new(server, &Trust::System, |_| {}).logged_in(token.trim_matches('"'))
    }

    /// What it prints for programs, of which there is one object.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let text = self.run(&[words, &["--json"]].concat()).succeeded();
        serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Submits a job; yields its number.
    pub(crate) fn submit(&self, words: &[&str]) -> u64 {
        let words = [&["submit", "--json", "--ram", "64M", "--disk", "16M"], words].concat();
        let text = self.run(&words).succeeded();
        let value: Value = serde_json::from_str(text.trim()).unwrap();
        value["job"].as_u64().unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.join(path)).unwrap()
    }
}

impl Said {
    /// Its standard output, of a call that went well.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its standard error, of a call that exited so.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn interrupt(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// A command that nothing in this process's environment configures.
fn clean(program: &Path) -> Command {
    assert!(program.exists(), "{} is missing: cargo build --bins", program.display());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CAMPUSGRID_") || text.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_campusgrid")).with_file_name(name)
}

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until it is so, and fails where it does not come to be.
#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
    }
}
