//! The worker's binary as a child of a test; killed with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::manager::Manager;

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How often to look for what nothing tells of.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Worker {
    dir: TempDir,
    child: Child,
    lines: Receiver<String>,
}

/// The command with an empty environment but for what programs need.
pub(crate) fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-worker"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("CAMPUSGRID_LOG", "info");
    command.current_dir("/").arg("--data-dir").arg(data_dir);
    command
}

impl Worker {
    pub(crate) fn start(manager: &Manager, arguments: &[&str]) -> Self {
        Self::start_with(manager, arguments, &[])
    }

    /// With more variables in its environment.
    pub(crate) fn start_with(
        manager: &Manager,
        arguments: &[&str],
        variables: &[(String, String)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, lines) = spawn(dir.path(), manager, arguments, variables);
        Self { dir, child, lines }
    }

    pub(crate) fn kill_and_restart(&mut self, manager: &Manager) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.lines) = spawn(self.dir.path(), manager, &[], &[]);
    }

    /// Starts the same worker again, which has ended.
    pub(crate) fn restart(&mut self, manager: &Manager, arguments: &[&str]) {
        (self.child, self.lines) = spawn(self.dir.path(), manager, arguments, &[]);
    }

    /// Waits until it has ended; its exit status and what it said.
    pub(crate) fn ended(&mut self) -> (i32, String) {
        let status = self.status();
        (status, self.log())
    }

    fn status(&mut self) -> i32 {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("ended by a signal");
            }
            assert!(Instant::now() < end, "the worker has not ended within {LIMIT:?}");
            std::thread::park_timeout(LOOK);
        }
    }

    /// What it has said on standard error since it was started.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The command for one more worker in the same directory.
    pub(crate) fn another(&self, manager: &Manager) -> Command {
        let mut command = command(&self.data());
        command.args(["-m", "127.0.0.1", "-p", &manager.port.to_string()]);
        command
    }

    /// Waits for the next line on standard output.
    pub(crate) fn says(&self, line: &str) {
        assert_eq!(self.lines.recv_timeout(LIMIT).as_deref(), Ok(line));
    }

    pub(crate) fn spooled(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data().join("spool")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "reserve").collect()
    }

    pub(crate) fn wait_until_nothing_is_spooled(&self) {
        let end = Instant::now() + LIMIT;
        while !self.spooled().is_empty() {
            assert!(Instant::now() < end, "still spooled: {:?}", self.spooled());
            std::thread::park_timeout(LOOK);
        }
    }

    pub(crate) fn ask_to_leave(&self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
    }

    pub(crate) fn terminate(self) -> i32 {
        self.ask_to_leave();
        self.wait()
    }

    pub(crate) fn wait(mut self) -> i32 {
        self.status()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// The variables of a worker that installs packages as this process would; none without uv.
pub(crate) fn uv() -> Option<Vec<(String, String)>> {
    let named = std::env::var_os("CAMPUSGRID_WORKER_UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    // Where `cargo xtask` installs it.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let of_xtask = home.map(|home| home.join(".cache/campusgrid/tools/uv/bin/uv"));
    let uv = named.or(in_path).or(of_xtask).filter(|uv| uv.is_file())?;
    let mut variables: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| !name.starts_with("CAMPUSGRID_")).collect();
    variables.push(("CAMPUSGRID_WORKER_UV".to_owned(), uv.to_str()?.to_owned()));
    Some(variables)
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the worker has said:\n{}", self.log());
        }
    }
}

fn spawn(
    dir: &Path,
    manager: &Manager,
    arguments: &[&str],
    variables: &[(String, String)],
) -> (Child, Receiver<String>) {
    let mut command = command(&dir.join("data"));
    command.envs(variables.iter().cloned());
    command.args(["-m", "127.0.0.1", "-p", &manager.port.to_string()]).args(arguments);
    if !sandbox_works() && !arguments.contains(&"--unsafe-no-sandbox") {
        command.arg("--unsafe-no-sandbox");
    }
    let errors = File::create(dir.join("stderr")).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = sync_channel(64);
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Whether tests run sandboxed here; found out once by a worker that tries.
fn sandbox_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut child = command(&dir.path().join("data"))
            .args(["-m", "127.0.0.1", "-p", "1"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It either ends, or says what is offered and goes on dialling.
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        let works = lines.any(|line| line.contains("this machine is offered"));
        let _ = child.kill();
        let _ = child.wait();
        if !works {
            eprintln!("skipped: confinement, since no sandbox works on this machine");
        }
        works
    })
}
