//! Runs one step and sees to it that nothing of it is alive afterwards.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::process::Command as Program;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::order::{Ending, Event, Order, Walls};
use crate::plan::SandboxError;

use super::link::{Command, Link};
use super::processes::signal_descendants;
use super::{bare, bwrap, host, io_failed};

/// How long what is dying of its own may take before it is looked for and killed.
const DYING_MS: u16 = 20;

/// All children of this process, and all processes below it that lost their parents.
pub(super) struct Children {
    deaths: SignalFd,
}

impl Ending {
    fn succeeded(self) -> bool {
        self == Self::Code(0)
    }
}

impl Children {
    pub(super) fn adopt() -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { deaths: SignalFd::with_flags(&signals, flags)? })
    }

    /// Runs step number `step`. Returns whether a next one may follow.
    pub(super) fn run(
        &mut self,
        link: &mut Link,
        order: &Order,
        step: usize,
    ) -> Result<bool, SandboxError> {
        let argv = &order.steps[step];
        link.tell(&Event::Began { step });
        let watch = Stopwatch::start();
        let (child, status) = match &order.walls {
            Walls::Namespaces { bwrap, .. } => {
                let prepared = bwrap::prepare(bwrap, order, argv);
                let bwrap::Prepared { mut command, status, inherited } =
                    io_failed("prepare bubblewrap", prepared)?;
                let child = io_failed("start bubblewrap", spawn_expendable(&mut command))?;
                drop(inherited);
                (child, Some(status))
            }
            Walls::Nothing { .. } => match bare::prepare(order, argv).spawn() {
                Ok(child) => (Pid::from_raw(child.id().cast_signed()), None),
                Err(error) => return Ok(cannot_start(link, step, &argv[0], &error)),
            },
        };
        // Below bubblewrap's monitor is its init; only what is below that is the task's.
        let polite_depth = if status.is_some() { 3 } else { 1 };
        let died = self.watch(link, child, polite_depth)?;
        let run_ms = u64::try_from(watch.passed().as_millis()).unwrap_or(u64::MAX);
        self.end_the_rest()?;
        let ending = ending(died, status, link.is_stopped());
        link.tell(&Event::Ended { step, ending, run_ms });
        Ok(ending.succeeded())
    }

    /// Waits for the death of `child`, doing what the daemon commands meanwhile.
    fn watch(
        &mut self,
        link: &mut Link,
        child: Pid,
        polite_depth: u32,
    ) -> Result<WaitStatus, SandboxError> {
        loop {
            let mut ready = [
                PollFd::new(link.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
            ];
            host("wait for the task", poll(&mut ready, PollTimeout::NONE))?;
            let commanded = ready[0].any().unwrap_or(true);
            if commanded {
                match link.command() {
                    Command::Terminate => signal_descendants(Signal::SIGTERM, polite_depth),
                    Command::Kill => signal_descendants(Signal::SIGKILL, 1),
                    Command::Leave => {
                        self.end_the_rest()?;
                        std::process::exit(0);
                    }
                }
            }
            while let Ok(Some(_)) = self.deaths.read_signal() {}
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => break,
                    Ok(status) if status.pid() == Some(child) => return Ok(status),
                    Ok(_) => {}
                    Err(errno) => return host("reap the task", Err(errno)),
                }
            }
        }
    }

    /// Kills and reaps until there is no process below this one.
    ///
    /// The death of a namespace's init is seen only after all that was in it is dead.
    fn end_the_rest(&mut self) -> Result<(), SandboxError> {
        let mut waited = false;
        loop {
            while let Ok(Some(_)) = self.deaths.read_signal() {}
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return Ok(()),
                Err(errno) => return host("reap the task", Err(errno)),
                Ok(WaitStatus::StillAlive) => {
                    // Bubblewrap's init is dying with its monitor, as a rule.
                    if waited {
                        signal_descendants(Signal::SIGKILL, 1);
                    }
                    let mut deaths = [PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)];
                    host("wait for the task's end", poll(&mut deaths, DYING_MS))?;
                    waited = true;
                }
                Ok(_) => {}
            }
        }
    }
}

fn cannot_start(link: &mut Link, step: usize, program: &str, error: &io::Error) -> bool {
    use std::io::Write;
    let _closed = writeln!(io::stderr(), "{program}: {error}");
    // What a shell answers for a command that it cannot find or execute.
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    link.tell(&Event::Ended { step, ending: Ending::Code(code), run_ms: 0 });
    false
}

/// Starts a program that the kernel kills before this process when memory runs out.
fn spawn_expendable(program: &mut Program) -> io::Result<Pid> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let ours = fs::read_to_string(FILE)?;
    fs::write(FILE, "1000")?;
    let child = program.spawn();
    fs::write(FILE, ours.trim())?;
    Ok(Pid::from_raw(child?.id().cast_signed()))
}

fn ending(died: WaitStatus, status: Option<bwrap::Status>, stopped: bool) -> Ending {
    let told = match status {
        Some(status) => status.exit_code(),
        None => died_with_code(died),
    };
    match (told, died) {
        // Bubblewrap, like a shell, adds 128 to the signal that a program died of.
        (Some(code @ 129..=192), _) => Ending::Signal(code - 128),
        (Some(code), _) => Ending::Code(code),
        (None, _) if stopped => Ending::Killed,
        (None, WaitStatus::Signaled(_, signal, _)) => Ending::Signal(signal as i32),
        (None, _) => Ending::Untold,
    }
}

fn died_with_code(died: WaitStatus) -> Option<i32> {
    if let WaitStatus::Exited(_, code) = died { Some(code) } else { None }
}
