//! What of the machine a task is shown beyond what all see: mounted before it, taken back after.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};

use crate::order::Shown;
use crate::plan::SandboxError;

use super::privileges::{User, hand_over};
use super::view::{DEVICE, READ_ONLY, READ_WRITE, make_place};
use super::{host, io_failed, kernel};

/// What is shown at the moment, and what it takes to show something else.
pub(super) struct Shelf {
    user: User,
    /// The mount namespace with all that the machine has, and the one of this lane.
    machine: OwnedFd,
    lane: OwnedFd,
    shown: Shown,
    /// Directories and files made to show something there, parents first.
    places: Vec<PathBuf>,
}

/// Something of the machine on its way to the task's view.
struct Copy {
    mounts: OwnedFd,
    target: PathBuf,
    is_directory: bool,
}

impl Shelf {
    pub(super) fn new(user: User, machine: OwnedFd, lane: OwnedFd) -> Self {
        Self { user, machine, lane, shown: Shown::default(), places: Vec::new() }
    }

    /// Attaches what the task is shown of the machine, if it is not what the last one was.
    pub(super) fn show(&mut self, shown: &Shown) -> Result<(), SandboxError> {
        if *shown == self.shown {
            return Ok(());
        }
        self.unshow()?;
        host("look at the machine's mounts", setns(&self.machine, CloneFlags::CLONE_NEWNS))?;
        let copies = self.copy(shown);
        host("return to the lane's mounts", setns(&self.lane, CloneFlags::CLONE_NEWNS))?;
        for copy in copies? {
            self.make_place(copy.is_directory, &copy.target)?;
            let attached = kernel::attach_mounts(&copy.mounts, &copy.target);
            host("show the task what it may see", attached)?;
        }
        self.shown = shown.clone();
        Ok(())
    }

    fn copy(&self, shown: &Shown) -> Result<Vec<Copy>, SandboxError> {
        let devices = shown.devices.iter().map(|device| (device, device, DEVICE));
        let read_only = shown.read_only.iter().map(|(source, target)| (source, target, READ_ONLY));
        let writable = shown.read_write.iter().map(|(source, target)| (source, target, READ_WRITE));
        let mut copies = Vec::new();
        for (source, target, attributes) in read_only.chain(writable).chain(devices) {
            let metadata = io_failed("find what the task may see", fs::metadata(source))?;
            let mounts = if attributes == READ_WRITE {
                let opened = hand_over(source, self.user);
                let opened = io_failed("hand over what the task may change", opened)?;
                kernel::copy_mounts(
                    &Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()),
                )
            } else {
                kernel::copy_mounts(source)
            };
            let mounts = host("copy what the task may see", mounts)?;
            let restricted = kernel::restrict_mounts(&mounts, attributes);
            host("restrict what the task may see", restricted)?;
            let is_directory = metadata.is_dir();
            copies.push(Copy { mounts, target: target.clone(), is_directory });
        }
        Ok(copies)
    }

    /// Makes a place in the tasks' root, with all directories above it.
    fn make_place(&mut self, is_directory: bool, target: &Path) -> Result<(), SandboxError> {
        let failed = "make a place for what the task may see";
        let mut missing: Vec<&Path> =
            target.ancestors().take_while(|place| !place.exists()).collect();
        missing.reverse();
        for place in missing {
            let made = make_place(is_directory || place != target, place);
            io_failed(failed, made)?;
            self.places.push(place.to_path_buf());
        }
        Ok(())
    }

    fn unshow(&mut self) -> Result<(), SandboxError> {
        let Shown { read_only, read_write, devices } = std::mem::take(&mut self.shown);
        let targets = read_only.into_iter().chain(read_write).map(|(_, target)| target);
        let targets: Vec<PathBuf> = targets.chain(devices).collect();
        for target in targets.iter().rev() {
            host("take back what a task was shown", umount2(target, MntFlags::MNT_DETACH))?;
        }
        for place in std::mem::take(&mut self.places).iter().rev() {
            let gone = if place.is_dir() { fs::remove_dir(place) } else { fs::remove_file(place) };
            io_failed("remove a place for what a task was shown", gone)?;
        }
        Ok(())
    }
}

/// This process's mount namespace, for when it will be in another.
pub(super) fn hold_mounts(proc: &str) -> Result<OwnedFd, SandboxError> {
    let namespace = File::open(format!("{proc}/self/ns/mnt"));
    io_failed("hold a mount namespace", namespace).map(OwnedFd::from)
}
