//! A helper that waits for tasks: process, cgroup and uid, made before the first task comes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::net::unix::pipe;

use crate::cgroup::{Cgroup, Counters};
use crate::helper::HELPER_ARGUMENT;
use crate::order::{ORDER, RELEASE, SCRATCH, SETUP, Walls, frame};
use crate::plan::{Network, SandboxError};

/// How long a helper may take to end its task and itself when we leave it.
const LEAVING: Duration = Duration::from_secs(5);

/// What a helper is made with.
#[derive(Debug)]
pub(crate) enum Berth {
    Confined {
        cgroup: Arc<Cgroup>,
        job_uid: Option<u32>,
        network: Network,
    },
    /// The directory is on the machine's file system, and not there yet.
    Filtered {
        cgroup: Arc<Cgroup>,
        job_uid: u32,
        network: Network,
        directory: PathBuf,
    },
    /// As above.
    Bare {
        directory: PathBuf,
    },
}

/// A helper that has been started and waits for its next order.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) berth: Berth,
    /// What its cgroup had counted when its last task had ended.
    pub(crate) counted: Counters,
    /// The cores that its cgroup is kept to; none before its first task.
    pub(crate) cores: BTreeSet<u32>,
    child: Child,
    /// Its end tells the helper to kill everything and leave.
    link: Option<UnixStream>,
}

/// The daemon's ends of what connects it with a task.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) link: tokio::net::UnixStream,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Lane {
    /// Starts a helper, moves it into its cgroup and has it make its room, which it goes on with
    /// by itself. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// `Host`; nothing is left running, and the cgroup, if there is one, is the caller's to remove.
    pub(crate) fn start(helper: &Path, number: u32, berth: Berth) -> Result<Self, SandboxError> {
        let failed = |operation| move |source| SandboxError::Host { operation, source };
        let (ours, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        // No `pre_exec` and no inherited descriptors: so this is posix_spawn, which costs the same
        // however big the daemon is.
        let mut command = Command::new(helper);
        command.arg0("campusgrid-sandbox").arg(HELPER_ARGUMENT).env_clear().current_dir("/");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let child = command.spawn().map_err(failed("start the sandbox's helper"))?;
        let (counted, cores) = (Counters::default(), BTreeSet::new());
        let mut lane = Self { number, berth, counted, cores, child, link: Some(ours) };
        if let Err(error) = lane.settle() {
            lane.end_process();
            return Err(error);
        }
        Ok(lane)
    }

    fn settle(&mut self) -> Result<(), SandboxError> {
        let walls = match &self.berth {
            Berth::Confined { cgroup, job_uid, network } => {
                cgroup.join(self.pid())?;
                Walls::Namespaces { job_uid: *job_uid, network: *network }
            }
            Berth::Filtered { cgroup, job_uid, network, directory } => {
                cgroup.join(self.pid())?;
                let directory = directory.clone();
                Walls::Filters { job_uid: *job_uid, network: *network, directory }
            }
            Berth::Bare { directory } => Walls::Nothing { directory: directory.clone() },
        };
        let mut message = vec![SETUP];
        message.extend(frame(&walls));
        let sent = self.link().and_then(|mut link| link.write_all(&message));
        sent.map_err(|source| SandboxError::Host { operation: "set a helper up", source })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cgroup(&self) -> Option<Arc<Cgroup>> {
        match &self.berth {
            Berth::Confined { cgroup, .. } | Berth::Filtered { cgroup, .. } => {
                Some(Arc::clone(cgroup))
            }
            Berth::Bare { .. } => None,
        }
    }

    /// Whether the cores that the cgroup is kept to are all that a task can use.
    pub(crate) fn pins_cores(&self) -> bool {
        self.cgroup().is_some_and(|cgroup| cgroup.pins_cores())
    }

    /// Where the daemon sees the task's scratch space, for as long as it is there.
    pub(crate) fn scratch(&self) -> PathBuf {
        match &self.berth {
            Berth::Confined { .. } => PathBuf::from(format!("/proc/{}/root{SCRATCH}", self.pid())),
            Berth::Filtered { directory, .. } => {
                PathBuf::from(format!("/proc/{}/root{}", self.pid(), directory.display()))
            }
            Berth::Bare { directory } => directory.clone(),
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Announces an order, which is to be written next, and opens the task's pipes, for use in the
    /// current runtime.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(crate) fn open(&self) -> Result<Streams, SandboxError> {
        let streams = (|| {
            let (stdout, their_stdout) = io::pipe()?;
            let (stderr, their_stderr) = io::pipe()?;
            let link = self.link()?;
            let descriptors = [their_stdout.as_raw_fd(), their_stderr.as_raw_fd()];
            sendmsg::<()>(
                link.as_raw_fd(),
                &[IoSlice::new(&[ORDER])],
                &[ControlMessage::ScmRights(&descriptors)],
                MsgFlags::MSG_NOSIGNAL,
                None,
            )?;
            let link = link.try_clone()?;
            link.set_nonblocking(true)?;
            Ok(Streams {
                link: tokio::net::UnixStream::from_std(link)?,
                stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
                stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            })
        })();
        streams.map_err(|source| SandboxError::Host { operation: "open a helper's pipes", source })
    }

    fn link(&self) -> io::Result<&UnixStream> {
        self.link.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Has the helper clear away what its last task has left. Does not wait; returns whether it
    /// was told.
    pub(crate) fn release(&self) -> bool {
        self.link().is_ok_and(|mut link| link.write_all(&[RELEASE]).is_ok())
    }

    /// Tells the helper to kill its task and to leave. Does not wait.
    pub(crate) fn dismiss(&self) {
        if let Some(link) = &self.link {
            let _gone = link.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Waits until nothing of the task is left, for about as long as `patience`, and removes what was made
    /// for it. Blocks.
    ///
    /// Returns whether nothing is left; otherwise its number, and so its user, must not be used
    /// again, until another call finds nothing.
    pub(crate) fn end(&mut self, patience: Duration) -> bool {
        self.end_process();
        let is_clear = self.cgroup().is_none_or(|cgroup| cgroup.remove(patience));
        let directory = match &self.berth {
            Berth::Confined { .. } => return is_clear,
            Berth::Filtered { directory, .. } | Berth::Bare { directory } => directory,
        };
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, directory = %directory.display(), "a task's directory could not be removed");
                false
            }
            Ok(()) | Err(_) => is_clear,
        }
    }

    fn end_process(&mut self) {
        self.dismiss();
        if let Some(link) = self.link.take() {
            wait_for_the_end(&link);
        }
        // Long gone, or stuck; a task's init dies with it and takes the namespaces along.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Reads until the helper has closed its end, which only its death does.
fn wait_for_the_end(link: &UnixStream) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::Read;
    let timeout = PollTimeout::try_from(LEAVING).unwrap_or(PollTimeout::MAX);
    let mut link = link;
    let mut scrap = [0; 4096];
    loop {
        let mut ready = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(1..) => match link.read(&mut scrap) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            Ok(_) | Err(_) => return,
        }
    }
}
