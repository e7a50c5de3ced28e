//! Runs one step and sees to it that nothing of it is alive afterwards.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::order::{Ending, Event, Order};
use crate::plan::SandboxError;

use super::init;
use super::kernel::{self, Death, Used};
use super::link::{Command, Link, Streams};
use super::processes::{freeze, signal_descendants, thaw};
use super::program::{NOT_EXECUTABLE, NOT_FOUND};
use super::room::Room;
use super::{bare, host, io_failed};

/// How long what is dying of its own may take before it is looked for and killed.
const DYING_MS: u16 = 20;

/// A task and what it runs in.
pub(super) struct Task<'a> {
    pub(super) room: &'a Room,
    pub(super) order: &'a Order,
    pub(super) streams: Streams,
}

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

    /// Runs step number `step`. Returns whether it succeeded and what it used.
    pub(super) fn run(
        &mut self,
        link: &mut Link,
        task: &Task,
        step: usize,
    ) -> Result<(bool, Used), SandboxError> {
        let Task { room, order, streams } = task;
        let argv = &order.steps[step];
        // What was said between two steps is heard before the next one begins.
        while link.is_frozen() || link.is_spoken_to() {
            match link.command() {
                Command::Freeze => link.tell(&Event::Frozen),
                Command::Leave => std::process::exit(0),
                Command::Terminate | Command::Kill | Command::Warn | Command::Thaw => {}
            }
        }
        if link.is_stopped() {
            return Ok((false, Used::default()));
        }
        link.tell(&Event::Began { step });
        let watch = Stopwatch::start();
        let (ending, used) = match room {
            Room::Confined(confined) => {
                let started = init::start(confined, order, argv, streams)?;
                let Death { used, .. } = self.watch(link, started.first, room)?;
                let untold = if link.is_stopped() { Ending::Killed } else { Ending::Lost };
                (started.ending()?.unwrap_or(untold), used)
            }
            Room::Filtered(filtered) => {
                let started = filtered.start(order, argv, streams)?;
                let Death { ending, used, .. } = self.watch(link, started.first, room)?;
                (started.ending()?.unwrap_or(ending), used)
            }
            Room::Bare { directory } => match bare::spawn(order, directory, argv, streams) {
                Ok(child) => {
                    let Death { ending, used, .. } = self.watch(link, child, room)?;
                    (ending, used)
                }
                Err(error) => (cannot_start(streams, &argv[0], &error)?, Used::default()),
            },
        };
        let run_ms = u64::try_from(watch.passed().as_millis()).unwrap_or(u64::MAX);
        self.end_the_rest()?;
        link.tell(&Event::Ended { step, ending, run_ms });
        Ok((ending.succeeded(), used))
    }

    /// Waits for the death of `child`, doing what the daemon commands meanwhile.
    fn watch(&mut self, link: &mut Link, child: Pid, room: &Room) -> Result<Death, SandboxError> {
        let polite = match room {
            Room::Confined(_) => Depth::BelowInit,
            Room::Filtered(_) | Room::Bare { .. } => Depth::All,
        };
        loop {
            let mut ready = [
                PollFd::new(link.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
            ];
            host("wait for the task", poll(&mut ready, PollTimeout::NONE))?;
            let commanded = ready[0].any().unwrap_or(true);
            if commanded {
                match link.command() {
                    Command::Terminate => {
                        signal_descendants(Signal::SIGTERM, polite);
                        // Whoever stands still hears it when it goes on.
                        thaw(polite);
                    }
                    Command::Freeze => {
                        freeze(polite);
                        link.tell(&Event::Frozen);
                    }
                    Command::Thaw => thaw(polite),
                    Command::Kill => signal_descendants(Signal::SIGKILL, Depth::All),
                    Command::Warn => signal_descendants(Signal::SIGUSR1, polite),
                    Command::Leave => {
                        self.end_the_rest()?;
                        std::process::exit(0);
                    }
                }
            }
            while let Ok(Some(_)) = self.deaths.read_signal() {}
            while let Some(death) = host("reap the task", kernel::reap())? {
                if death.pid == child {
                    return Ok(death);
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
            match kernel::reap() {
                Err(Errno::ECHILD) => return Ok(()),
                Err(errno) => return host("reap the task", Err(errno)),
                Ok(None) => {
                    if waited {
                        signal_descendants(Signal::SIGKILL, Depth::All);
                    }
                    let mut deaths = [PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)];
                    host("wait for the task's end", poll(&mut deaths, DYING_MS))?;
                    waited = true;
                }
                Ok(Some(_)) => {}
            }
        }
    }
}

/// Which processes below this one are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    All,
    /// Not our own child, which is the init of the task's processes.
    BelowInit,
}

fn cannot_start(
    streams: &Streams,
    program: &str,
    error: &io::Error,
) -> Result<Ending, SandboxError> {
    use std::io::Write;
    let stderr = io_failed("open the task's errors", streams.stderr.try_clone())?;
    let _closed = writeln!(std::fs::File::from(stderr), "{program}: {error}");
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    Ok(Ending::Code(if is_missing { NOT_FOUND } else { NOT_EXECUTABLE }))
}
