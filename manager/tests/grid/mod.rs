//! A real manager and real workers on loopback ports and in directories of their own, ended with
//! the test.

pub(crate) mod fake;
pub(crate) mod line;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::token::JoinToken;
use serde_json::{Value, json};

/// Longer than anything here takes, even on a machine that is busy with other tests.
const PATIENCE_MS: u32 = 60_000;

/// The processes and directories of one test.
pub(crate) struct Grid {
    directory: PathBuf,
    manager: Option<Child>,
    pub(crate) workers: Vec<Child>,
    pub(crate) port: u16,
    pub(crate) dashboard: u16,
    agent: ureq::Agent,
    /// Settings of this test's, as environment variables of the manager.
    settings: Vec<(&'static str, &'static str)>,
}

/// A registered user.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) token: String,
}

impl Grid {
    /// Starts a manager.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Starts a manager with these environment variables.
    pub(crate) fn start_with(name: &str, settings: &[(&'static str, &'static str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = format!("cg-{name}-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_millis(2 * u64::from(PATIENCE_MS))))
            .build()
            .new_agent();
        let mut grid = Self {
            directory,
            manager: None,
            workers: Vec::new(),
            port: 0,
            dashboard: 0,
            agent,
            settings: settings.to_vec(),
        };
        grid.start_manager();
        grid
    }

    /// Starts the manager, again on the ports of the first time.
    pub(crate) fn start_manager(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
        command.args(["--host", "127.0.0.1", "--dashboard-host", "127.0.0.1"]);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dashboard-port").arg(self.dashboard.to_string());
        command.arg("--data-dir").arg(self.manager_dir());
        // Hashing passwords is not what is tested here.
        command.env("CAMPUSGRID_DASHBOARD_ARGON2_MEMORY_KIB", "64");
        command.env("STARTING_CREDITS", "1000");
        // A start that was lost with a killed manager costs a try, and some tests kill it often.
        command.env("CAMPUSGRID_JOBS_TRIES", "20");
        command.env("CAMPUSGRID_MANAGER_HEARTBEAT_MS", "1000");
        command.env("CAMPUSGRID_MANAGER_LEASE_MS", "20000");
        command.envs(self.settings.iter().copied());
        let mut manager = self.spawn(command);
        let mut log = Lines::of(manager.stderr.take().unwrap());
        self.port = log.port_after("listening for workers");
        self.dashboard = log.port_after("listening for dashboard");
        log.go_on_in_the_background();
        self.manager = Some(manager);
    }

    /// Starts a worker; one of the same name is the same machine.
    pub(crate) fn start_worker(&mut self, name: &str, owner: &User) -> Lines<ChildStdout> {
        let worker = Path::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
        let worker = worker.with_file_name("campusgrid-worker");
        assert!(worker.exists(), "{} is missing: cargo build --bins", worker.display());
        let mut command = Command::new(worker);
        command.args(["-m", "127.0.0.1", "-n", name, "-u", &owner.name]);
        command.arg("-p").arg(self.port.to_string());
        command.arg("--data-dir").arg(self.directory.join(name));
        let mut worker = self.spawn(command);
        Lines::of(worker.stderr.take().unwrap()).go_on_in_the_background();
        let lines = Lines::of(worker.stdout.take().unwrap());
        self.workers.push(worker);
        lines
    }

    /// Starts a worker that is new, and approves it as its owner would.
    pub(crate) fn join_worker(&mut self, name: &str, owner: &User) {
        let mut lines = self.start_worker(name, owner);
        let line = lines.until("waiting for approval");
        let code = line.split_once("code ").unwrap().1.split(' ').next().unwrap();
        let (status, _) = self.post(owner, "workers/approve", &json!({ "code": code }));
        assert_eq!(status, 200);
        lines.go_on_in_the_background();
    }

    fn spawn(&self, mut command: Command) -> Child {
        command.current_dir(&self.directory).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn manager_dir(&self) -> PathBuf {
        self.directory.join("manager")
    }

    /// Kills the manager as a power loss would.
    pub(crate) fn kill_manager(&mut self) {
        let mut manager = self.manager.take().unwrap();
        manager.kill().unwrap();
        manager.wait().unwrap();
    }

    /// Asks the manager to stop, and yields how it ended and how long that took.
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    pub(crate) fn stop_manager(&mut self) -> (std::process::ExitStatus, Duration) {
        let mut manager = self.manager.take().unwrap();
        let pid = i32::try_from(manager.id()).unwrap();
        let asked = std::time::Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).unwrap();
        let status = manager.wait().unwrap();
        (status, asked.elapsed())
    }

    /// Proves the books, with the manager's own command.
    pub(crate) fn fsck(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
        command.arg("fsck").arg("--data-dir").arg(self.manager_dir());
        let output = self.spawn(command).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn register(&self, name: &str) -> User {
        let body = json!({ "name": name, "password": "correct horse battery" });
        let nobody = User { name: String::new(), token: String::new() };
        let (status, answer) = self.post(&nobody, "register", &body);
        assert_eq!(status, 201, "{answer}");
        User { name: name.to_owned(), token: answer["token"].as_str().unwrap().to_owned() }
    }

    /// Makes a token by which one machine joins as this user's.
    pub(crate) fn join_token(&self, owner: &User) -> JoinToken {
        let (status, answer) = self.post(owner, "workers/tokens", &json!({}));
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().unwrap().parse().unwrap()
    }

    /// As the dashboard shows it.
    pub(crate) fn fingerprint(&self, user: &User) -> Fingerprint {
        let (status, answer) = self.get(user, "workers/tokens");
        assert_eq!(status, 200, "{answer}");
        answer["fingerprint"].as_str().unwrap().parse().unwrap()
    }

    /// Submits one job of a shell command; yields its number.
    pub(crate) fn submit(&self, user: &User, command: &str) -> u64 {
        let (status, answer) =
            self.post(user, "jobs", &json!({ "kind": "shell", "source": command, "ram_mib": 64 }));
        assert_eq!(status, 201, "{answer}");
        answer["job"].as_u64().unwrap()
    }

    /// Waits until a job has ended.
    pub(crate) fn ended(&self, user: &User, job: u64) -> Value {
        let (status, answer) = self.get(user, &format!("jobs/{job}?wait_ms={PATIENCE_MS}"));
        assert_eq!(status, 200, "{answer}");
        assert!(!answer["ended_at_ms"].is_null(), "job {job} does not end: {answer}");
        answer
    }

    pub(crate) fn post(&self, user: &User, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(self.url(path)).header("authorization", bearer(user));
        answer(request.send_json(body))
    }

    pub(crate) fn post_nothing(&self, user: &User, path: &str) -> (u16, Value) {
        let request = self.agent.post(self.url(path)).header("authorization", bearer(user));
        answer(request.send_empty())
    }

    pub(crate) fn put(&self, user: &User, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.put(self.url(path)).header("authorization", bearer(user));
        answer(request.send_json(body))
    }

    pub(crate) fn put_bytes(&self, user: &User, path: &str, bytes: &[u8]) -> (u16, Value) {
        let request = self.agent.put(self.url(path)).header("authorization", bearer(user));
        answer(request.content_type("application/octet-stream").send(bytes))
    }

    pub(crate) fn get(&self, user: &User, path: &str) -> (u16, Value) {
        answer(self.agent.get(self.url(path)).header("authorization", bearer(user)).call())
    }

    pub(crate) fn delete(&self, user: &User, path: &str) -> u16 {
        let request = self.agent.delete(self.url(path)).header("authorization", bearer(user));
        answer(request.call()).0
    }

    /// Deletes something, and goes away before the answer.
    pub(crate) fn delete_and_leave(&self, user: &User, path: &str) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.dashboard)).unwrap();
        let request = format!(
            "DELETE /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: {}\r\n\r\n",
            self.dashboard,
            bearer(user)
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        // The answer only comes when the machine has handed over.
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let early = std::io::Read::read(&mut stream, &mut [0; 64]);
        assert!(early.is_err(), "{early:?}");
    }

    pub(crate) fn text(&self, user: &User, path: &str) -> String {
        let request = self.agent.get(self.url(path)).header("authorization", bearer(user));
        request.call().unwrap().body_mut().read_to_string().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{path}", self.dashboard)
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for child in self.manager.iter_mut().chain(&mut self.workers) {
            drop(child.kill());
            drop(child.wait());
        }
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.directory));
        }
    }
}

fn bearer(user: &User) -> String {
    format!("Bearer {}", user.token)
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut response = response.unwrap();
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Asks again and again until it is so, and fails where it does not come to be.
#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_millis(u64::from(PATIENCE_MS)),
            "not in time: {what}"
        );
    }
}

/// The lines that a process prints.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: std::io::Read + Send + 'static> Lines<R> {
    fn of(stream: R) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// Reads on to the line that contains `text`.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.reader.read_line(&mut line).unwrap(), 0, "no line with {text:?}");
        }
        line
    }

    fn port_after(&mut self, text: &str) -> u16 {
        let line = self.until(text);
        line.trim_end().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Shows the rest on the test's own output, so that the process never waits for a reader.
    pub(crate) fn go_on_in_the_background(mut self) {
        std::thread::spawn(move || {
            let mut line = String::new();
            while self.reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                eprint!("{line}");
                line.clear();
            }
        });
    }
}
