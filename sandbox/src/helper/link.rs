//! The helper's end of the socket to the daemon.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::dup2_stdin;
use serde::de::DeserializeOwned;

use crate::checkpoint::CHECKPOINT;
use crate::order::{
    Event, FREEZE, KILL, ORDER, ORDER_BYTES_MAX, Order, RELEASE, SETUP, TERMINATE, THAW, WARN,
    Walls,
};
use crate::plan::SandboxError;

use super::{io_failed, kernel};

/// What the daemon wants of a task that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Terminate,
    Kill,
    /// Its time is soon over.
    Warn,
    /// It is to stand still, and to be answered for.
    Freeze,
    /// It is to go on.
    Thaw,
    /// The daemon is gone or has lost interest.
    Leave,
}

/// The ends of the task's output pipes that are written to.
pub(super) struct Streams {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

pub(super) struct Link {
    socket: UnixStream,
    stopped: bool,
    frozen: bool,
}

impl Link {
    /// Takes the socket from standard input and closes whatever else was inherited.
    pub(super) fn open() -> io::Result<Self> {
        kernel::close_most()?;
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { socket, stopped: false, frozen: false })
    }

    /// Waits until there is a setup; `None` if the daemon leaves instead.
    pub(super) fn setup(&mut self) -> io::Result<Option<Walls>> {
        match kernel::receive_byte(self.socket.as_fd())? {
            Some((SETUP, _)) => self.json().map(Some),
            Some(_) => Err(io::Error::other("it is not what was to come")),
            None => Ok(None),
        }
    }

    /// Waits for an order; `None` if the daemon leaves instead.
    pub(super) fn order(&mut self) -> io::Result<Option<(Order, Streams)>> {
        let Some((byte, descriptors)) = kernel::receive_byte(self.socket.as_fd())? else {
            return Ok(None);
        };
        let mut descriptors = descriptors.into_iter();
        let (ORDER, Some(stdout), Some(stderr)) = (byte, descriptors.next(), descriptors.next())
        else {
            return Err(io::Error::other("it is not what was to come"));
        };
        self.stopped = false;
        Ok(Some((self.json()?, Streams { stdout, stderr })))
    }

    fn json<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        let mut json = vec![0; length as usize];
        self.socket.read_exact(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// Writes the task's files, which follow the order, to its directory, and makes its links there.
    pub(super) fn receive_files(&mut self, order: &Order, job: &Path) -> Result<(), SandboxError> {
        for (path, length) in &order.files {
            let written = self.receive_file(&job.join(path), *length);
            io_failed("write the task's files to its scratch space", written)?;
        }
        for (name, target) in &order.links {
            let made = symlink(target, job.join(name));
            io_failed("make links in the task's directory", made)?;
        }
        if let Some(restored) = &order.restored {
            let directory = job.join(CHECKPOINT);
            let made = fs::create_dir(&directory);
            io_failed("make the directory of checkpoints", made)?;
            for (path, length) in restored {
                let written = self.receive_file(&directory.join(path), *length);
                io_failed("write what the task goes on from to its scratch space", written)?;
            }
        }
        if order.has_outputs {
            let made = fs::create_dir_all(job.join("outputs"));
            io_failed("make the outputs directory", made)?;
        }
        Ok(())
    }

    fn receive_file(&mut self, path: &Path, length: u64) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create_new(path)?;
        let copied = io::copy(&mut (&mut self.socket).take(length), &mut file)?;
        if copied != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event has only plain values");
        line.push(b'\n');
        // A daemon that is gone is noticed where commands are read.
        let _gone = self.socket.write_all(&line);
    }

    /// Reads one command; blocks if none is there.
    pub(super) fn command(&mut self) -> Command {
        let mut byte = [0];
        let command = match self.socket.read(&mut byte) {
            Ok(1) if byte[0] == TERMINATE => Command::Terminate,
            Ok(1) if byte[0] == KILL => Command::Kill,
            Ok(1) if byte[0] == WARN => Command::Warn,
            Ok(1) if byte[0] == FREEZE => Command::Freeze,
            Ok(1) if byte[0] == THAW => Command::Thaw,
            Ok(_) | Err(_) => Command::Leave,
        };
        match command {
            Command::Terminate | Command::Kill | Command::Leave => self.stopped = true,
            Command::Freeze => self.frozen = true,
            Command::Thaw => self.frozen = false,
            Command::Warn => {}
        }
        command
    }

    /// Whether a command waits to be read.
    pub(super) fn is_spoken_to(&self) -> bool {
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..))
    }

    /// Whether the task is to stand still; who is to end goes on to its end.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen && !self.stopped
    }

    /// Whether a command has come that ends the task.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Waits until what the task left may be cleared away; `false` if the daemon leaves instead.
    pub(super) fn is_released(&mut self) -> bool {
        loop {
            let mut byte = [0];
            match self.socket.read(&mut byte) {
                Ok(1) if byte[0] == RELEASE => return true,
                // They came too late for the task.
                Ok(1) if matches!(byte[0], TERMINATE | KILL | WARN | FREEZE | THAW) => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Waits until the daemon leaves; contents of files may still be on their way.
    pub(super) fn wait_for_the_end(&mut self) {
        let mut scrap = vec![0; 64 * 1024];
        while self.socket.read(&mut scrap).is_ok_and(|read| read > 0) {}
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
