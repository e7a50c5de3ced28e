//! A room with namespaces.
//!
//! What it has for all tasks is made while nobody waits: namespaces for mounts, network, host name
//! and cgroup (as an ordinary user within a user namespace), and the tasks' view of the file
//! system. Of its own each task gets a scratch space and, through [`super::init`], namespaces for
//! processes, inter-process communication and mounts.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, sethostname};

use crate::order::{Order, SCRATCH};
use crate::plan::{Network, SandboxError};

use super::filter::{self, Around};
use super::privileges::User;
use super::room::as_the_task;
use super::shelf::{Shelf, hold_mounts};
use super::view::{self, SHARED_TMP, make_directory};
use super::{host, io_failed, kernel};

/// What /proc tells of the machine beyond what programs need; some kernels lack some of it.
const MASKED: [&str; 19] = [
    "acpi",
    "asound",
    "diskstats",
    "interrupts",
    "kcore",
    "key-users",
    "keys",
    "latency_stats",
    "locks",
    "pressure",
    "sched_debug",
    "schedstat",
    "scsi",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmstat",
    "zoneinfo",
];

/// A room with namespaces.
pub(super) struct Confined {
    pub(super) user: User,
    pub(super) filter: filter::Program,
    pub(super) landlock_abi: u32,
    /// What tasks may read beyond what only one of them is shown.
    pub(super) readable: Vec<PathBuf>,
    pub(super) masked: Vec<PathBuf>,
    /// What only the task of the moment is shown.
    pub(super) shelf: Shelf,
    network: Network,
    /// What `/proc` told of the network namespace when it was new.
    quiet: String,
    has_shared_tmp: bool,
}

impl Confined {
    pub(super) fn make(job_uid: Option<u32>, network: Network) -> Result<Self, SandboxError> {
        umask(Mode::from_bits_truncate(0o022));
        let user = match job_uid {
            Some(uid) => User::Own(uid),
            None => User::Ours { uid: Uid::current().as_raw(), gid: Gid::current().as_raw() },
        };
        if let User::Ours { uid, gid } = user {
            enter_user_namespace(uid, gid)?;
        }
        let mut namespaces =
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP;
        if network == Network::None {
            namespaces |= CloneFlags::CLONE_NEWNET;
        }
        host("make the lane's namespaces", unshare(namespaces))?;
        host("name the lane's host", sethostname("job"))?;
        // Slaves, not private: what the owner unmounts meanwhile must not stay busy because of us.
        let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        let separated = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
        host("keep our mounts to ourselves", separated)?;
        // One namespace keeps what the machine has, to show tasks some of it; the other has only
        // what every task sees, and is the one that is copied for them.
        let machine = hold_mounts("/proc")?;
        host("make the tasks' mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
        let masked = MASKED.iter().map(|name| Path::new("/proc").join(name));
        let masked = masked.filter(|path| path.exists()).collect();
        let readable = view::build(user, network)?;
        let lane = hold_mounts(view::HOST_PROC)?;
        let mut confined = Self {
            user,
            filter: filter::compile(match network {
                Network::None => Around::Nothing,
                Network::Host => Around::Network,
            }),
            landlock_abi: kernel::landlock_abi(),
            readable,
            masked,
            shelf: Shelf::new(user, machine, lane),
            network,
            quiet: String::new(),
            has_shared_tmp: false,
        };
        confined.open_network()?;
        Ok(confined)
    }

    /// Brings up what a new network namespace has: a loopback that leads nowhere.
    fn open_network(&mut self) -> Result<(), SandboxError> {
        if self.network == Network::None {
            host("bring the loopback interface up", kernel::raise_loopback())?;
            self.quiet = network_state();
        }
        Ok(())
    }

    /// Makes the network namespace new if the last task has left any trace in it.
    pub(super) fn renew_network(&mut self) -> Result<(), SandboxError> {
        if self.network == Network::None && network_state() != self.quiet {
            host("make a network namespace", unshare(CloneFlags::CLONE_NEWNET))?;
            return self.open_network();
        }
        Ok(())
    }

    pub(super) fn mount_scratch(&mut self, order: &Order) -> Result<(), SandboxError> {
        let owner = self.user.ids();
        let (mut bytes, mut files) = (order.scratch_bytes, order.scratch_files);
        if order.shared_tmp {
            // Together they have what was granted.
            (bytes, files) = (bytes / 2, files / 2);
            if !self.has_shared_tmp {
                let mounted = view::mount_space(SHARED_TMP, owner, bytes, files);
                host("mount what the tasks share", mounted)?;
                self.has_shared_tmp = true;
                as_the_task(self.user, || {
                    let made = make_directory(&Path::new(SHARED_TMP).join("tmp"), 0o1777);
                    io_failed("furnish what the tasks share", made)
                })?;
            }
        }
        let (bytes, files) = view::with_ours(bytes, files);
        host("mount the scratch space", view::mount_space(SCRATCH, owner, bytes, files))
    }

    pub(super) fn has_shared_tmp(&self) -> bool {
        self.has_shared_tmp
    }
}

/// A user namespace in which we are ourselves, and may make the other ones.
fn enter_user_namespace(uid: u32, gid: u32) -> Result<(), SandboxError> {
    host("make a user namespace", unshare(CloneFlags::CLONE_NEWUSER))?;
    let mapped = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")));
    io_failed("map our user into its namespace", mapped)?;
    // A second wall only: the filter of system calls allows no namespaces at all.
    let _not_essential = fs::write("/proc/sys/user/max_user_namespaces", "0");
    Ok(())
}

/// All that a task could leave in a network namespace, in the kernel's words: sockets that linger,
/// and counters.
fn network_state() -> String {
    let files = ["sockstat", "sockstat6", "dev", "snmp", "netstat"];
    let read = |file| fs::read_to_string(format!("{}/self/net/{file}", view::HOST_PROC));
    files.into_iter().map(|file| read(file).unwrap_or_default()).collect()
}
