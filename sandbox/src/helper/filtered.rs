//! A room without namespaces: tasks of a user of their own, behind filters of the kernel.
//!
//! Landlock decides what they may open, the filter of system calls keeps them from sockets and from
//! what all programs of a machine share, cgroups hold the limits. Only the helper has a namespace of
//! its own, for mounts: the scratch space is in it, and gone when the helper is.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdout, pipe2};

use crate::order::Order;
use crate::plan::{Network, SandboxError};

use super::filter::{self, Around};
use super::init::{Started, Word};
use super::kernel::{self, Forked};
use super::landlock::Rules;
use super::link::Streams;
use super::privileges::{User, become_user, die_with_parent, keep_to, limit_resources};
use super::program::Program;
use super::view::{self, DEVICES, ETC, ETC_OF_NETWORK, SYSTEM};
use super::{chain, host, io_failed};

/// What programs want to know of the machine and of themselves, where not all of /proc can be
/// shown because it is everybody's.
const KNOWLEDGE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];

pub(super) struct Filtered {
    uid: u32,
    directory: PathBuf,
    network: Network,
    filter: filter::Program,
    landlock_abi: u32,
}

impl Filtered {
    pub(super) fn new(uid: u32, network: Network, directory: PathBuf) -> Self {
        let around = match network {
            Network::None => Around::Machine,
            Network::Host => Around::Network,
        };
        let (filter, landlock_abi) = (filter::compile(around), kernel::landlock_abi());
        Self { uid, directory, network, filter, landlock_abi }
    }

    pub(super) fn user(&self) -> User {
        User::Own(self.uid)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Mounts the scratch space, where nobody but the helper, the task and who looks through the
    /// helper's entry in /proc sees it.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(super) fn mount_scratch(&self, order: &Order) -> Result<(), SandboxError> {
        io_failed("make the task's directory", fs::create_dir_all(&self.directory))?;
        host("make a mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
        let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        let separated = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
        host("keep our mounts to ourselves", separated)?;
        let (bytes, files) = view::with_ours(order.scratch_bytes, order.scratch_files);
        let mounted = view::mount_space(&self.directory, self.user().ids(), bytes, files);
        host("mount the scratch space", mounted)
    }

    /// Starts a step.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(super) fn start(
        &self,
        order: &Order,
        argv: &[String],
        streams: &Streams,
    ) -> Result<Started, SandboxError> {
        let program = Program::new(argv, &order.environment);
        let (told, tell) = host("make a pipe", pipe2(OFlag::O_CLOEXEC))?;
        match host("start the step", kernel::fork_into(CloneFlags::empty()))? {
            Forked::Parent(first) => Ok(Started { first, told: File::from(told) }),
            Forked::Child => {
                if let Err(error) = self.shut_in(order, streams, &tell) {
                    Word::Failed(chain(&error)).tell(&tell);
                    kernel::exit_now(1);
                }
                kernel::exit_now(program.become_it())
            }
        }
    }

    fn shut_in(
        &self,
        order: &Order,
        streams: &Streams,
        tell: &OwnedFd,
    ) -> Result<(), SandboxError> {
        host("open the step's output", dup2_stdout(&streams.stdout))?;
        host("open the step's errors", dup2_stderr(&streams.stderr))?;
        host("close what is not the step's", kernel::close_others(tell))?;
        let score = fs::write("/proc/self/oom_score_adj", "1000");
        io_failed("be the first to go when memory runs out", score)?;
        host("go to the task's directory", chdir(&self.directory.join("job")))?;
        if let Some(cores) = &order.cores {
            keep_to(cores)?;
        }
        let _not_essential = kernel::step_back(Pid::from_raw(0));
        limit_resources(self.user(), order)?;
        become_user(self.user())?;
        // Its entry in /proc is what rules are about to be made for.
        host("own our entry in /proc", prctl::set_dumpable(true))?;
        die_with_parent(tell)?;
        umask(Mode::from_bits_truncate(0o077));
        host("set up Landlock", self.restrict_paths(order))?;
        host("filter system calls", kernel::filter_calls(&self.filter))
    }

    fn restrict_paths(&self, order: &Order) -> nix::Result<()> {
        let rules = Rules::new(self.landlock_abi)?;
        let more: &[&str] = match self.network {
            Network::None => &[],
            Network::Host => &ETC_OF_NETWORK,
        };
        let etc = ETC.iter().chain(more).map(|name| Path::new("/etc").join(name));
        let system = SYSTEM.iter().map(|name| Path::new("/").join(name));
        let known = KNOWLEDGE.iter().map(PathBuf::from);
        let common = [PathBuf::from("/usr")].into_iter().chain(system).chain(etc).chain(known);
        common.filter(|path| path.exists()).try_for_each(|path| rules.see(&path))?;
        order.shown.read_only.iter().try_for_each(|(path, _)| rules.see(path))?;
        for own in ["job", "tmp"] {
            rules.change(&self.directory.join(own))?;
        }
        order.shown.read_write.iter().try_for_each(|(path, _)| rules.change(path))?;
        for device in DEVICES {
            rules.use_device(&Path::new("/dev").join(device))?;
        }
        order.shown.devices.iter().try_for_each(|device| rules.use_device(device))?;
        rules.restrict()
    }
}
