//! Runs one step and sees to it that nothing of it is alive afterwards.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use campusgrid_sandbox::clock::Stopwatch;
use campusgrid_sandbox::helper::step_back;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cgroup;
use super::checkpoint;
use super::link::{Link, do_not_block, is_for_later};
use super::processes::{EVERYBODY, freeze, signal_all};
use crate::event::{Ending, Event, JOB, Order};
use crate::wire::{Kind, PIECE_BYTES};

/// One of a step's streams.
pub(super) struct Source {
    kind: Kind,
    /// `None` once its end has been seen.
    pipe: Option<File>,
    pub(super) is_ready: bool,
}

/// What lasts from step to step.
pub(super) struct Steps {
    /// Opened while this process could still be looked at.
    score: File,
    ram_peak_bytes: u64,
}

impl Steps {
    pub(super) fn new(score: File) -> Self {
        Self { score, ram_peak_bytes: 0 }
    }

    /// The most memory that was seen in use since this was last asked.
    pub(super) fn ram_peak_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.ram_peak_bytes)
    }

    /// Runs step number `step`. Returns whether a next one may follow.
    pub(super) fn run(&mut self, link: &mut Link, order: &Order, step: usize) -> io::Result<bool> {
        link.tell(&Event::Began { step })?;
        let watch = Stopwatch::start();
        let ending = match self.spawn(order, &order.steps[step]) {
            Ok(child) => self.follow(link, child, order)?,
            Err(error) => {
                let message = format!("{}: {error}\n", order.steps[step][0]);
                link.send(Kind::Stderr, message.as_bytes())?;
                // What a shell answers for a command that it cannot find or execute.
                Ending::Code(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
            }
        };
        let run_ms = u64::try_from(watch.passed().as_millis()).unwrap_or(u64::MAX);
        link.tell(&Event::Ended { step, ending, run_ms })?;
        Ok(ending == Ending::Code(0))
    }

    /// Starts a program that the kernel kills before this process when memory runs out.
    fn spawn(&mut self, order: &Order, argv: &[String]) -> io::Result<Child> {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().current_dir(JOB).stdin(Stdio::null());
        command.envs(order.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let ours = std::fs::read_to_string("/proc/self/oom_score_adj")?;
        self.score.write_all(b"1000")?;
        let child = command.spawn();
        if let Ok(child) = &child {
            // Before it has started anything, but for what it does in its first microseconds. A courtesy,
            // not a wall.
            let _not_essential = step_back(Pid::from_raw(child.id().cast_signed()));
        }
        self.score.write_all(ours.trim().as_bytes())?;
        child
    }

    fn follow(&mut self, link: &mut Link, mut child: Child, order: &Order) -> io::Result<Ending> {
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut stdout = Source::new(Kind::Stdout, child.stdout.take().map(OwnedFd::from))?;
        let mut stderr = Source::new(Kind::Stderr, child.stderr.take().map(OwnedFd::from))?;
        let ending = loop {
            if let Some(ending) = reap(Some(pid))?.wanted {
                break ending;
            }
            link.pump(&mut [&mut stdout, &mut stderr])?;
            self.look();
            stdout.forward(link)?;
            stderr.forward(link)?;
            obey(link, order)?;
        };
        while !is_alone()? {
            link.pump(&mut [&mut stdout, &mut stderr])?;
            stdout.forward(link)?;
            stderr.forward(link)?;
        }
        // Nobody holds the other ends, so that both come to their ends.
        while stdout.pipe.is_some() || stderr.pipe.is_some() {
            link.pump(&mut [&mut stdout, &mut stderr])?;
            stdout.forward(link)?;
            stderr.forward(link)?;
        }
        self.look();
        drop_commands(link);
        Ok(ending)
    }

    fn look(&mut self) {
        self.ram_peak_bytes = self.ram_peak_bytes.max(cgroup::ram_bytes());
    }
}

impl Source {
    fn new(kind: Kind, pipe: Option<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.map(File::from);
        pipe.as_ref().map_or(Ok(()), do_not_block)?;
        Ok(Self { kind, pipe, is_ready: false })
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Sends a piece of what can be read now.
    fn forward(&mut self, link: &mut Link) -> io::Result<()> {
        if !std::mem::take(&mut self.is_ready) || !link.has_room() {
            return Ok(());
        }
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; PIECE_BYTES];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(read) => link.send(self.kind, &buffer[..read])?,
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Does what the worker has commanded meanwhile.
fn obey(link: &mut Link, order: &Order) -> io::Result<()> {
    while let Some(frame) = link.waiting_command() {
        match frame.kind {
            Kind::Terminate | Kind::HandBack => {
                signal_all(Signal::SIGTERM);
                // Whoever stands still hears it when it goes on.
                signal_all(Signal::SIGCONT);
            }
            Kind::Kill => signal_all(Signal::SIGKILL),
            Kind::Warn => signal_all(Signal::SIGUSR1),
            Kind::Freeze => {
                freeze();
                link.tell(&Event::Frozen)?;
            }
            Kind::Thaw => signal_all(Signal::SIGCONT),
            Kind::Save => checkpoint::save(link, order)?,
            Kind::Order
            | Kind::Content
            | Kind::Ping
            | Kind::Event
            | Kind::Stdout
            | Kind::Stderr
            | Kind::Data => {}
        }
    }
    Ok(())
}

/// They came too late for the step.
fn drop_commands(link: &mut Link) {
    while link.waiting_command().is_some() {}
}

/// Kills all other processes of the container; returns whether there are none left.
fn is_alone() -> io::Result<bool> {
    loop {
        let nobody = kill(EVERYBODY, Signal::SIGKILL) == Err(Errno::ESRCH);
        let Reaped { bodies, .. } = reap(None)?;
        // A signal reaches the dead as well, until they are reaped: none tells of them again.
        if nobody || bodies == 0 {
            return Ok(nobody);
        }
    }
}

/// Who was dead.
#[derive(Default)]
struct Reaped {
    bodies: u32,
    /// How the one that was waited for died, if it is among them.
    wanted: Option<Ending>,
}

/// Reaps who is dead.
fn reap(wanted: Option<Pid>) -> io::Result<Reaped> {
    let mut reaped = Reaped::default();
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) | Ok(WaitStatus::StillAlive) => return Ok(reaped),
            Err(errno) => return Err(errno.into()),
            Ok(status) => status,
        };
        reaped.bodies += 1;
        if status.pid() == wanted {
            if let WaitStatus::Exited(_, code) = status {
                reaped.wanted = Some(Ending::Code(code));
            } else if let WaitStatus::Signaled(_, signal, _) = status {
                reaped.wanted = Some(Ending::Signal(signal as i32));
            }
        }
    }
}
