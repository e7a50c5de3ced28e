//! A daemon as a child of this process: its log, what it says, its signals, its end.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::error::ChaosError;

/// Lines that wait to be looked at; what is said beyond them goes to the log only.
const LINES_MAX: usize = 1024;

/// Of a log's end that is shown with an error.
const TAIL_LINES: usize = 25;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    lines: Receiver<String>,
    frozen: bool,
}

/// Called for each line that a child says, beside keeping it in its log.
pub type OnLine = Box<dyn Fn(&str) + Send>;

/// A command that nothing in this process's environment configures, that finds no `config.toml` in
/// `folder`, and that ends when the thread that starts it does, however that comes about.
pub fn clean(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("prlimit");
    // What systemd and login shells give; whoever needs more has to see to that itself.
    command.args(["--nofile=1024:", "setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("CAMPUSGRID_LOG", "info").env("RUST_BACKTRACE", "1");
    command.current_dir(folder);
    command
}

impl Process {
    /// Starts `command` with all that it says appended to the file `log`.
    ///
    /// # Errors
    ///
    /// `Start`.
    pub fn start(
        name: &str,
        mut command: Command,
        log: &Path,
        on_line: OnLine,
    ) -> Result<Self, ChaosError> {
        let failed = |source| ChaosError::Start { what: name.to_owned(), source };
        let file = OpenOptions::new().append(true).create(true).open(log).map_err(failed)?;
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let second = writer.try_clone().map_err(failed)?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(second);
        let mut child = command.spawn().map_err(failed)?;
        // It holds the pipe's writing ends, and while it does, the pipe never closes.
        drop(command);
        let stdin = child.stdin.take();
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || copy(reader, file, &sender, &on_line));
        let (name, log) = (name.to_owned(), log.to_owned());
        Ok(Self { name, child, stdin, log, lines, frozen: false })
    }

    /// What it is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is stopped by a signal of ours.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Waits for a line in which `find` finds what is sought.
    ///
    /// # Errors
    ///
    /// `Ended` and `Silent`, with the end of its log.
    pub fn wait_for<T>(
        &self,
        sought: &str,
        limit: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ChaosError> {
        let waiting = Stopwatch::start();
        loop {
            let (what, sought) = (self.name.clone(), sought.to_owned());
            match self.lines.recv_timeout(waiting.left_of(limit)) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let (limit_s, tail) = (limit.as_secs(), self.tail());
                    return Err(ChaosError::Silent { what, sought, limit_s, tail });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ChaosError::Ended { what, sought, tail: self.tail() });
                }
            }
        }
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// `Signal`.
    pub fn kill(mut self) -> Result<(), ChaosError> {
        self.signal(Signal::SIGKILL)?;
        let _ = self.child.wait();
        Ok(())
    }

    /// Stops it where it stands.
    ///
    /// # Errors
    ///
    /// `Signal`.
    pub fn freeze(&mut self) -> Result<(), ChaosError> {
        self.frozen = true;
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// `Signal`.
    pub fn thaw(&mut self) -> Result<(), ChaosError> {
        self.frozen = false;
        self.signal(Signal::SIGCONT)
    }

    /// Closes its standard input, which asks some programs to come to an end.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it has ended by itself, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end and waits for that; kills it if it does not.
    ///
    /// # Errors
    ///
    /// `Signal`; `Patience` if it had to be killed.
    pub fn stop(mut self, limit: Duration) -> Result<ExitStatus, ChaosError> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// Waits until it has ended by itself; kills it if it does not.
    ///
    /// # Errors
    ///
    /// `Patience` if it had to be killed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ChaosError> {
        let waiting = Stopwatch::start();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if waiting.elapsed() > limit {
                let found = format!("{} had to be killed:\n{}", self.name, self.tail());
                let (what, limit_s) = ("the end of a process", limit.as_secs());
                return Err(ChaosError::Patience { what, limit_s, found });
            }
            thread::sleep(LOOK);
        }
    }

    /// The end of its log, for an error.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(TAIL_LINES);
        let mut tail: String = lines[start..].iter().map(|line| format!("    {line}\n")).collect();
        tail.push_str(&format!("    ({})", self.log.display()));
        tail
    }

    fn signal(&self, signal: Signal) -> Result<(), ChaosError> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).map_err(|source| ChaosError::Signal { what: self.name.clone(), source })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(reader: PipeReader, mut log: File, lines: &SyncSender<String>, on_line: &OnLine) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    // A daemon must not stop because its log cannot be written, so that is not an end.
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let _ = log.write_all(&line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        on_line(&text);
        match lines.try_send(text) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => line.clear(),
        }
    }
}
