//! One daemon as a child of this process: its log, the lines it says, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::program;

/// Lines that wait to be looked at; what is said beyond them goes to the log only.
const LINES_MAX: usize = 1024;
/// A daemon promises to end within ten seconds of SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(12);
const STOP_STEP: Duration = Duration::from_millis(20);

/// A running daemon; dropping it without `stop` leaves it to the kernel's parent-death signal.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
}

/// What a daemon says, line by line.
#[derive(Debug)]
pub(crate) struct Said {
    name: &'static str,
    log: PathBuf,
    lines: Receiver<String>,
}

/// Starts `command` in a process group of its own, with all that it says in the file `log`.
///
/// # Errors
///
/// When it cannot be started or the log cannot be written.
pub(crate) fn start(name: &'static str, command: &Command, log: &Path) -> Result<(Daemon, Said)> {
    let file = File::create(log).with_context(|| format!("failed to write {}", log.display()))?;
    let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    let second = writer.try_clone().context("failed to share a pipe")?;
    // The kernel sends the signal even if this process is killed outright. It belongs to the
    // thread that started the child, which is the main one here and lives as long as the process.
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    // A group of its own: Ctrl-C in the terminal reaches this process alone, which then stops the
    // daemons in their order.
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped.process_group(0).stdin(Stdio::null()).stdout(writer).stderr(second);
    let child = wrapped.spawn().with_context(|| format!("failed to start {name}"))?;
    // It holds the pipe's writing ends, and while it does, the pipe never closes.
    drop(wrapped);
    let (sender, lines) = sync_channel(LINES_MAX);
    thread::spawn(move || copy(reader, file, &sender));
    Ok((Daemon { name, child }, Said { name, log: log.to_owned(), lines }))
}

fn copy(reader: PipeReader, mut log: File, lines: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    // A daemon must not stop because its log cannot be written, so that is not an end.
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let _ = log.write_all(&line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        match lines.try_send(text) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => line.clear(),
        }
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, waits, and kills it if it does not.
    pub(crate) fn stop(&mut self) {
        let waiting = Stopwatch::start();
        if let Ok(None) = self.child.try_wait()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // An error means that it has just ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        while let Ok(None) = self.child.try_wait() {
            if waiting.elapsed() > STOP_LIMIT {
                eprintln!("{} does not stop; killing it", self.name);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(STOP_STEP);
        }
    }
}

impl Said {
    /// Waits for a line in which `find` finds what is sought.
    ///
    /// # Errors
    ///
    /// When the daemon ends or says no such thing in time; the error holds the end of its log.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let waiting = Stopwatch::start();
        loop {
            match self.lines.recv_timeout(waiting.left_of(limit)) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} said nothing of {what} in {limit:?}:\n{}", self.name, self.tail());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it said {what}:\n{}", self.name, self.tail());
                }
            }
        }
    }

    /// Whether the daemon has ended; forgets the lines that were said before.
    pub(crate) fn is_over(&self) -> bool {
        loop {
            match self.lines.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// The end of its log, for an error.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}    ({})", program::last_lines(&text, 15), self.log.display())
    }
}
