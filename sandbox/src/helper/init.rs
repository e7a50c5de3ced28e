//! The first process of a step's namespaces, and the step's own.
//!
//! It shuts itself in before it starts anything: the view of the file system, the task's user, no
//! capabilities, Landlock, the filter of system calls. What it starts then cannot reach it: a
//! process that is not dumpable can be neither traced nor looked into, and of the descriptors here
//! nothing is inherited. It tells how the step ended; when it ends itself, the kernel ends the rest.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, pipe2};
use serde::{Deserialize, Serialize};

use crate::order::{Ending, Order};
use crate::plan::SandboxError;

use super::confined::Confined;
use super::kernel::{self, Forked};
use super::landlock::{self, Rules};
use super::link::Streams;
use super::privileges::{become_user, die_with_parent, keep_to, limit_resources};
use super::program::Program;
use super::view::{self, DEVICES};
use super::{chain, host, io_failed};

/// What the first process tells the helper; the last thing that it does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    Ended(Ending),
    Failed(String),
}

impl Word {
    pub(super) fn tell(&self, whom: &OwnedFd) {
        let text = serde_json::to_vec(self).expect("a word has only plain values");
        // If nobody is there to be told, there is nothing else to do either.
        let _gone = nix::unistd::write(whom, &text);
    }
}

/// A step that has been started.
pub(super) struct Started {
    /// Its first process.
    pub(super) first: Pid,
    pub(super) told: File,
}

impl Started {
    /// How the step ended, once its first process is dead; `None` if that did not tell.
    ///
    /// # Errors
    ///
    /// `Start` if it never began.
    pub(super) fn ending(mut self) -> Result<Option<Ending>, SandboxError> {
        let mut text = Vec::new();
        io_failed("read how the step ended", self.told.read_to_end(&mut text))?;
        match serde_json::from_slice(&text) {
            Ok(Word::Ended(ending)) => Ok(Some(ending)),
            Ok(Word::Failed(message)) => Err(SandboxError::Start { message }),
            Err(_) => Ok(None),
        }
    }
}

/// Starts a step in namespaces of its own.
///
/// # Errors
///
/// `Host`.
pub(super) fn start(
    room: &Confined,
    order: &Order,
    argv: &[String],
    streams: &Streams,
) -> Result<Started, SandboxError> {
    let program = Program::new(argv, &order.environment);
    let (told, tell) = host("make a pipe", pipe2(OFlag::O_CLOEXEC))?;
    let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNS;
    match host("make the step's namespaces", kernel::fork_into(namespaces))? {
        Forked::Parent(init) => Ok(Started { first: init, told: File::from(told) }),
        Forked::Child => be_init(room, order, &program, streams, &tell),
    }
}

fn be_init(
    room: &Confined,
    order: &Order,
    program: &Program,
    streams: &Streams,
    tell: &OwnedFd,
) -> ! {
    let ended = shut_in(room, order, streams, tell).and_then(|()| program.run());
    let word = match ended {
        Ok(ending) => Word::Ended(ending),
        Err(error) => Word::Failed(chain(&error)),
    };
    word.tell(tell);
    kernel::exit_now(0)
}

/// Gives up everything that a task must not have.
fn shut_in(
    room: &Confined,
    order: &Order,
    streams: &Streams,
    tell: &OwnedFd,
) -> Result<(), SandboxError> {
    die_with_parent(tell)?;
    host("open the step's output", dup2_stdout(&streams.stdout))?;
    host("open the step's errors", dup2_stderr(&streams.stderr))?;
    host("close what is not the step's", kernel::close_others(tell))?;
    // When memory runs out, the task goes before the helper, which has yet to tell of it.
    let score = fs::write(format!("{}/self/oom_score_adj", view::HOST_PROC), "1000");
    io_failed("be the first to go when memory runs out", score)?;
    view::finish(order.shared_tmp, &room.masked)?;
    if let Some(cores) = &order.cores {
        keep_to(cores)?;
    }
    // Where the kernel has no such priorities, nobody has to step back.
    let _not_essential = kernel::step_back(Pid::from_raw(0));
    limit_resources(room.user, order)?;
    become_user(room.user)?;
    host("be closed to others", prctl::set_dumpable(false))?;
    // A change of user has taken it back.
    die_with_parent(tell)?;
    umask(Mode::from_bits_truncate(0o077));
    if room.landlock_abi >= landlock::ABI_MIN {
        host("set up Landlock", restrict_paths(room, order))?;
    }
    host("filter system calls", kernel::filter_calls(&room.filter))
}

fn restrict_paths(room: &Confined, order: &Order) -> nix::Result<()> {
    let rules = Rules::new(room.landlock_abi)?;
    rules.list(Path::new("/"))?;
    rules.see(Path::new("/proc"))?;
    let shown = order.shown.read_only.iter().map(|(_, inside)| inside);
    room.readable.iter().chain(shown).try_for_each(|path| rules.see(path))?;
    let own = ["/job", "/tmp", "/dev/shm"].map(Path::new);
    let changed = order.shown.read_write.iter().map(|(_, inside)| inside.as_path());
    own.into_iter().chain(changed).try_for_each(|path| rules.change(path))?;
    for device in DEVICES {
        rules.use_device(&Path::new("/dev").join(device))?;
    }
    order.shown.devices.iter().try_for_each(|device| rules.use_device(device))?;
    rules.restrict()
}
