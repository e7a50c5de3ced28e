//! What the tasks of a lane run in: made before the first, cleared between two.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use crate::order::{Full, Order, SCRATCH, Walls};
use crate::plan::SandboxError;

use super::confined::Confined;
use super::filtered::Filtered;
use super::link::Link;
use super::privileges::{User, hand_over};
use super::view::{SHARED_TMP, make_directory};
use super::{bare, host, io_failed};

/// What a lane has made for its tasks.
pub(super) enum Room {
    Confined(Confined),
    Filtered(Filtered),
    Bare { directory: PathBuf },
}

impl Room {
    /// Makes all that does not depend on the task.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(super) fn make(walls: Walls) -> Result<Self, SandboxError> {
        host("give up new privileges", prctl::set_no_new_privs())?;
        match walls {
            Walls::Namespaces { job_uid, network } => {
                Confined::make(job_uid, network).map(Self::Confined)
            }
            Walls::Filters { job_uid, network, directory } => {
                umask(Mode::from_bits_truncate(0o022));
                Ok(Self::Filtered(Filtered::new(job_uid, network, directory)))
            }
            Walls::Nothing { directory } => {
                umask(Mode::from_bits_truncate(0o077));
                Ok(Self::Bare { directory })
            }
        }
    }

    /// Makes what a task has of its own. Returns the order as it reads from there.
    ///
    /// # Errors
    ///
    /// `Host`.
    pub(super) fn furnish(
        &mut self,
        mut order: Order,
        link: &mut Link,
    ) -> Result<Order, SandboxError> {
        match self {
            Self::Confined(confined) => {
                confined.mount_scratch(&order)?;
                confined.shelf.show(&order.shown)?;
                as_the_task(confined.user, || {
                    furnish(Path::new(SCRATCH))?;
                    link.receive_files(&order, &Path::new(SCRATCH).join("job"))
                })?;
                Ok(order)
            }
            Self::Filtered(filtered) => {
                if order.environment.iter().all(|(name, _)| name != "TMPDIR") {
                    // The machine's, which is where programs look otherwise, is closed to it.
                    order.environment.push(("TMPDIR".to_owned(), "/tmp".to_owned()));
                }
                filtered.mount_scratch(&order)?;
                let directory = filtered.directory().to_path_buf();
                for (path, _) in &order.shown.read_write {
                    let handed = hand_over(path, filtered.user());
                    io_failed("hand over what the task may change", handed)?;
                }
                let order = bare::on_host(order, &directory);
                as_the_task(filtered.user(), || {
                    furnish(&directory)?;
                    link.receive_files(&order, &directory.join("job"))
                })?;
                Ok(order)
            }
            Self::Bare { directory } => {
                io_failed("make the task's directory", fs::create_dir_all(&*directory))?;
                furnish(directory)?;
                let order = bare::on_host(order, directory);
                link.receive_files(&order, &directory.join("job"))?;
                Ok(order)
            }
        }
    }

    /// What is used up of the scratch space.
    pub(super) fn full(&self) -> Full {
        let spaces = match self {
            Self::Confined(confined) if confined.has_shared_tmp() => {
                vec![Path::new(SCRATCH), Path::new(SHARED_TMP)]
            }
            Self::Confined(_) => vec![Path::new(SCRATCH)],
            Self::Filtered(filtered) => vec![filtered.directory()],
            Self::Bare { .. } => Vec::new(), // It is the machine's own.
        };
        let mut full = Full::Not;
        for space in spaces.into_iter().filter_map(|space| statvfs(space).ok()) {
            if space.blocks_available() == 0 {
                return Full::Bytes;
            }
            if space.files_available() == 0 {
                full = Full::Files;
            }
        }
        full
    }

    /// Whether the task has made a file as large as a single one may be.
    pub(super) fn has_file_of(&self, bytes: u64) -> bool {
        match self {
            Self::Confined(_) => has_file_of(Path::new(SCRATCH), bytes),
            Self::Filtered(filtered) => has_file_of(filtered.directory(), bytes),
            Self::Bare { .. } => false, // There was no limit.
        }
    }

    /// Clears away what the task has left, so that the next finds nothing of it.
    ///
    /// # Errors
    ///
    /// `Host`: this room is not to be used again.
    pub(super) fn clear(&mut self) -> Result<(), SandboxError> {
        match self {
            Self::Confined(confined) => {
                let unmounted = umount2(SCRATCH, MntFlags::MNT_DETACH);
                host("unmount the scratch space", unmounted)?;
                confined.renew_network()
            }
            Self::Filtered(_) | Self::Bare { .. } => {
                // Such a lane serves one task: the daemon removes the directory with it.
                io_failed("use a lane twice", Err(io::ErrorKind::Unsupported.into()))
            }
        }
    }
}

/// Does something with files as the task's user.
pub(super) fn as_the_task<T>(user: User, work: impl FnOnce() -> T) -> T {
    let User::Own(id) = user else { return work() };
    // They return what was before, whether they succeed or not; root always does.
    let (our_gid, our_uid) = (setfsgid(Gid::from_raw(id)), setfsuid(Uid::from_raw(id)));
    let result = work();
    setfsuid(our_uid);
    setfsgid(our_gid);
    result
}

/// Looks for a file of at least this size; not further than a path can be long.
fn has_file_of(directory: &Path, bytes: u64) -> bool {
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) if metadata.is_file() && metadata.len() >= bytes => return true,
                Ok(_) | Err(_) => {}
            }
        }
    }
    false
}

/// The task's directories.
fn furnish(scratch: &Path) -> Result<(), SandboxError> {
    for (name, mode) in [("job", 0o700), ("tmp", 0o1777), ("shm", 0o1777)] {
        let made = make_directory(&scratch.join(name), mode);
        io_failed("furnish the scratch space", made)?;
    }
    Ok(())
}
