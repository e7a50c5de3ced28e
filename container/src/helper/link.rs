//! The helper's end of the container's streams: nothing here blocks for longer than it must.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::step::Source;
use crate::event::Event;
use crate::wire::{Decoder, Frame, Kind, encode};
use campusgrid_sandbox::checkpoint::Print;
use campusgrid_sandbox::clock::Stopwatch;

/// A worker that says nothing for this long is gone, or its engine is.
const SILENCE_S: u64 = 60;
/// Looked at that often, at least. Milliseconds.
const TICK_MS: u16 = 1000;
/// What waits to be sent is bounded by this and one piece more.
const OUT_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 64 << 10;

pub(super) struct Link {
    input: File,
    output: File,
    deaths: SignalFd,
    decoder: Decoder,
    commands: VecDeque<Frame>,
    out: VecDeque<u8>,
    heard: Stopwatch,
    stopped: bool,
    handed_back: bool,
    frozen: bool,
    /// What the task goes on from, as it was when it was sent last.
    saved: Print,
}

impl Link {
    /// Takes the container's standard streams, and leaves nothing in their place but stderr.
    pub(super) fn open() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        do_not_block(&input)?;
        do_not_block(&output)?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            input,
            output,
            deaths: SignalFd::with_flags(&signals, flags)?,
            decoder: Decoder::default(),
            commands: VecDeque::new(),
            out: VecDeque::new(),
            heard: Stopwatch::start(),
            stopped: false,
            handed_back: false,
            frozen: false,
            saved: Print::default(),
        })
    }

    /// Waits for the next command.
    pub(super) fn command(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.commands.pop_front() {
                return Ok(frame);
            }
            self.pump(&mut [])?;
        }
    }

    /// A command that has come already.
    pub(super) fn waiting_command(&mut self) -> Option<Frame> {
        self.commands.pop_front()
    }

    /// Forgets what the task before was told.
    pub(super) fn begin_task(&mut self) {
        (self.stopped, self.handed_back, self.frozen) = (false, false, false);
        self.saved = Print::default();
    }

    /// Whether the task is to end: no further step may begin.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether what the task goes on from is wanted when it has ended.
    pub(super) fn is_handed_back(&self) -> bool {
        self.handed_back
    }

    /// Whether this is another than the last; it is the last then.
    pub(super) fn is_news(&mut self, print: Print) -> bool {
        let is_news = self.saved != print;
        self.saved = print;
        is_news
    }

    /// Whether the machine's owner wants the task to stand still.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(super) fn tell(&mut self, event: &Event) -> io::Result<()> {
        let json = serde_json::to_vec(event)?;
        self.send(Kind::Event, &json)
    }

    /// Sends a frame; waits while too much waits already.
    pub(super) fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        while self.out.len() > OUT_BYTES {
            self.pump(&mut [])?;
        }
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        encode(kind, payload, &mut bytes);
        self.out.extend(bytes);
        self.write()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            self.pump(&mut [])?;
        }
        Ok(())
    }

    /// Whether the task's streams may be read now.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() <= OUT_BYTES
    }

    /// Waits until something can be done, a child has died or a second has passed; then does what
    /// concerns the worker, and says which of `sources` can be read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the worker is gone, `TimedOut` when it has been silent for too long.
    pub(super) fn pump(&mut self, sources: &mut [&mut Source]) -> io::Result<()> {
        let wants_out = if self.out.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let mut ready = vec![
            PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.output.as_fd(), wants_out),
            PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
        ];
        let has_room = self.has_room();
        let pipes: Vec<BorrowedFd<'_>> =
            sources.iter().filter(|_| has_room).filter_map(|source| source.as_fd()).collect();
        ready.extend(pipes.into_iter().map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        match poll(&mut ready, PollTimeout::from(TICK_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(ready);
        let mut pipes = is_ready.iter().skip(3);
        for source in sources.iter_mut().filter(|source| has_room && source.as_fd().is_some()) {
            source.is_ready = pipes.next().copied().unwrap_or(false);
        }
        while let Ok(Some(_)) = self.deaths.read_signal() {}
        if is_ready[0] {
            self.read()?;
        }
        if self.heard.passed().as_secs() > SILENCE_S {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.write()
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        match self.input.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.decoder.push(&buffer[..read]),
            Err(error) if is_for_later(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.heard = Stopwatch::start();
        while let Some(frame) = self.decoder.next_frame()? {
            self.note(frame.kind);
            if frame.kind != Kind::Ping {
                self.commands.push_back(frame);
            }
        }
        Ok(())
    }

    /// Keeps in mind what holds beyond the step of the moment.
    fn note(&mut self, kind: Kind) {
        match kind {
            Kind::HandBack => (self.stopped, self.handed_back) = (true, true),
            Kind::Terminate | Kind::Kill => self.stopped = true,
            Kind::Freeze => self.frozen = true,
            Kind::Thaw => self.frozen = false,
            Kind::Order
            | Kind::Content
            | Kind::Ping
            | Kind::Warn
            | Kind::Save
            | Kind::Event
            | Kind::Stdout
            | Kind::Stderr
            | Kind::Data => {}
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            let (front, _) = self.out.as_slices();
            match self.output.write(front) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(super) fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

pub(super) fn do_not_block(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
