//! The helper's end of the socket to the daemon.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::order::{Event, KILL, ORDER_BYTES_MAX, Order, TERMINATE};
use crate::plan::SandboxError;

/// What the daemon wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Terminate,
    Kill,
    /// The daemon is gone or has lost interest.
    Leave,
}

pub(super) struct Link {
    socket: UnixStream,
    stopped: bool,
}

impl Link {
    /// Takes the socket from standard input and closes whatever else was inherited.
    pub(super) fn open() -> io::Result<Self> {
        let inherited: Vec<i32> = fs::read_dir("/proc/self/fd")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|fd| *fd > 2)
            .collect();
        for fd in inherited {
            let _already_closed = close(fd); // The listing's own descriptor is among them.
        }
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { socket, stopped: false })
    }

    /// Waits for the order; `None` if the daemon leaves instead.
    pub(super) fn receive(&mut self) -> io::Result<Option<Order>> {
        let mut length = [0; 4];
        match self.socket.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = u32::from_le_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        let mut json = vec![0; length as usize];
        self.socket.read_exact(&mut json)?;
        Ok(Some(serde_json::from_slice(&json)?))
    }

    /// Writes the task's files, which follow the order, and makes its outputs directory.
    pub(super) fn receive_files(&mut self, order: &Order) -> Result<(), SandboxError> {
        let job = order.walls.scratch().join("job");
        for (path, length) in &order.files {
            let written = self.receive_file(&job.join(path), *length);
            super::io_failed("write the task's files to its scratch space", written)?;
        }
        if order.has_outputs {
            let made = fs::create_dir_all(job.join("outputs"));
            super::io_failed("make the outputs directory", made)?;
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
            Ok(_) | Err(_) => Command::Leave,
        };
        self.stopped = true;
        command
    }

    /// Whether a command has come: each of them ends the task.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
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

/// Lets go of the task's streams, so that the daemon sees their ends.
pub(super) fn close_streams() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
