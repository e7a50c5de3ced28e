//! A helper that waits for its task: process, pipes, cgroup and uid, made before the task comes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;

use crate::cgroup::Cgroup;
use crate::helper::HELPER_ARGUMENT;
use crate::order::{SCRATCH, Walls};
use crate::plan::{Plan, SandboxError};

/// How long a helper may take to end its task and itself when we leave it.
const LEAVING: Duration = Duration::from_secs(5);

/// What a helper is made with.
#[derive(Debug)]
pub(crate) enum Berth {
    Confined {
        bwrap: Arc<Path>,
        cgroup: Arc<Cgroup>,
        job_uid: Option<u32>,
    },
    /// A directory on the machine's file system, not there yet.
    Bare {
        directory: PathBuf,
    },
}

/// A helper that has been started and waits for its order.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) berth: Berth,
    child: Child,
    /// Its end tells the helper to kill everything and leave.
    link: Option<UnixStream>,
}

/// The daemon's ends of a helper's pipes.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) link: tokio::net::UnixStream,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Lane {
    /// Starts a helper and moves it into its cgroup. Blocks for some milliseconds.
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
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed("start the sandbox's helper"))?;
        let mut lane = Self { number, berth, child, link: Some(ours) };
        if let Berth::Confined { cgroup, .. } = &lane.berth
            && let Err(error) = cgroup.join(lane.pid())
        {
            lane.end();
            return Err(error);
        }
        Ok(lane)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cgroup(&self) -> Option<Arc<Cgroup>> {
        match &self.berth {
            Berth::Confined { cgroup, .. } => Some(Arc::clone(cgroup)),
            Berth::Bare { .. } => None,
        }
    }

    /// The walls around a task with these limits and cores in this lane.
    pub(crate) fn walls(&self, plan: &Plan, cores: Option<BTreeSet<u32>>) -> Walls {
        match &self.berth {
            Berth::Confined { bwrap, job_uid, cgroup } => Walls::Namespaces {
                bwrap: bwrap.to_path_buf(),
                job_uid: *job_uid,
                scratch_bytes: u64::from(plan.limits.scratch_mib) * 1024 * 1024,
                scratch_files: u64::from(plan.limits.scratch_files),
                cores: cores.filter(|_| !cgroup.pins_cores()),
            },
            Berth::Bare { directory } => Walls::Nothing { directory: directory.clone() },
        }
    }

    /// Where the daemon sees the task's scratch space, for as long as the helper lives.
    pub(crate) fn scratch(&self) -> PathBuf {
        match &self.berth {
            Berth::Confined { .. } => PathBuf::from(format!("/proc/{}/root{SCRATCH}", self.pid())),
            Berth::Bare { directory } => directory.clone(),
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Takes the pipes, for use in the current runtime.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(crate) fn streams(&mut self) -> Result<Streams, SandboxError> {
        let streams = (|| {
            let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()?;
            link.set_nonblocking(true)?;
            let taken = |fd: Option<OwnedFd>| {
                pipe::Receiver::from_owned_fd(fd.ok_or(io::ErrorKind::NotConnected)?)
            };
            Ok(Streams {
                link: tokio::net::UnixStream::from_std(link)?,
                stdout: taken(self.child.stdout.take().map(OwnedFd::from))?,
                stderr: taken(self.child.stderr.take().map(OwnedFd::from))?,
            })
        })();
        streams.map_err(|source| SandboxError::Host { operation: "open a helper's pipes", source })
    }

    /// Tells the helper to kill its task and to leave. Does not wait.
    pub(crate) fn dismiss(&self) {
        if let Some(link) = &self.link {
            let _gone = link.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Waits until nothing of the task is left, and removes what was made for it. Blocks.
    pub(crate) fn end(&mut self) {
        self.dismiss();
        if let Some(link) = self.link.take() {
            wait_for_the_end(&link);
        }
        // Long gone, or stuck; bubblewrap dies with its parent and takes the namespaces with it.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        match &self.berth {
            Berth::Confined { cgroup, .. } => cgroup.remove(),
            Berth::Bare { directory } => {
                if let Err(error) = fs::remove_dir_all(directory)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, directory = %directory.display(), "a task's directory could not be removed");
                }
            }
        }
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
