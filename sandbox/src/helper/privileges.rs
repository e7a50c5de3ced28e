//! What a process gives up before it becomes a task's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};

use crate::order::Order;
use crate::plan::SandboxError;

use super::{host, kernel};

/// Whom a task runs as.
#[derive(Debug, Clone, Copy)]
pub(super) enum User {
    /// One of its own, with a group of the same number.
    Own(u32),
    /// The helper's, within a user namespace.
    Ours { uid: u32, gid: u32 },
}

impl User {
    pub(super) fn ids(self) -> (u32, u32) {
        match self {
            Self::Own(id) => (id, id),
            Self::Ours { uid, gid } => (uid, gid),
        }
    }
}

/// Makes a directory of the machine the task's, and returns it open. It must not be a link: whoever
/// wrote there before may have left one to what is not its own.
pub(super) fn hand_over(directory: &Path, user: User) -> io::Result<File> {
    let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    let directory = File::options().read(true).custom_flags(flags).open(directory)?;
    if let User::Own(id) = user {
        fchown(&directory, Some(id), Some(id))?;
    }
    Ok(directory)
}

/// Becomes the task's user, without capabilities and without a way to any, for good.
pub(super) fn become_user(user: User) -> Result<(), SandboxError> {
    host("give up all capabilities for good", kernel::empty_bounding_set())?;
    if let User::Own(id) = user {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        host("give up our groups", setgroups(&[]))?;
        host("give up our group", setresgid(gid, gid, gid))?;
        host("give up our user", setresuid(uid, uid, uid))?;
    }
    host("give up all capabilities", kernel::drop_capabilities())
}

/// Makes the kernel kill this process when the helper dies.
pub(super) fn die_with_parent(tell: &OwnedFd) -> Result<(), SandboxError> {
    host("be ended with the helper", prctl::set_pdeathsig(Signal::SIGKILL))?;
    // It may have died before; its number cannot be asked for across namespaces, but its end of
    // the pipe is closed then.
    let mut reader = [PollFd::new(tell.as_fd(), PollFlags::empty())];
    match host("look for the helper", poll(&mut reader, PollTimeout::ZERO))? {
        0 => Ok(()),
        _ => kernel::exit_now(1),
    }
}

/// Makes programs see, and begin with, these cores only.
pub(super) fn keep_to(cores: &BTreeSet<u32>) -> Result<(), SandboxError> {
    let mut set = CpuSet::new();
    for core in cores {
        host("keep to a core of this number", set.set(*core as usize))?;
    }
    host("keep to the task's cores", sched_setaffinity(Pid::from_raw(0), &set))
}

/// Lowers what a process may take of things that no cgroup counts.
pub(super) fn limit_resources(user: User, order: &Order) -> Result<(), SandboxError> {
    /// Above what the scratch space can hold: "no space left" is what a program understands.
    const SLACK: u64 = 128 * 1024;
    let file_bytes = match order.file_bytes < order.scratch_bytes {
        true => order.file_bytes,
        false => order.scratch_bytes.saturating_add(SLACK),
    };
    let mut limits = vec![
        // Not 0: only with 1 is a core_pattern that is a pipe not started either.
        (Resource::RLIMIT_CORE, 1),
        (Resource::RLIMIT_FSIZE, file_bytes),
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_MEMLOCK, 64 * 1024),
        (Resource::RLIMIT_MSGQUEUE, 64 * 1024),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_SIGPENDING, 512),
    ];
    if let User::Own(_) = user {
        // A second wall behind the cgroup; the user is nobody else's.
        limits.push((Resource::RLIMIT_NPROC, 4 * u64::from(order.processes) + 16));
    }
    for (resource, wanted) in limits {
        let (_, hard) = host("read a resource limit", getrlimit(resource))?;
        let limit: rlim_t = hard.min(wanted);
        host("set a resource limit", setrlimit(resource, limit, limit))?;
    }
    Ok(())
}
