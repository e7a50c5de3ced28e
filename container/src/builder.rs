//! The user of the worker's own tools in containers: those that may reach the network, or change
//! directories of the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use campusgrid_sandbox::plan::{Network, Plan};
use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW};
use nix::unistd::Uid;

use crate::error::EngineError;
use crate::slots::SLOTS;

/// Who builds: always the same one, so that it can use what it built before.
///
/// As root that is the user after those of tasks. Any other worker must be able to seal and remove
/// what was built, so its tools are itself; a rootless engine calls its owner 0 inside.
pub(crate) fn uid(first_job_uid: u32, is_rootless: bool) -> u32 {
    let own = Uid::effective();
    match (own.is_root(), is_rootless) {
        (true, _) => first_job_uid + SLOTS,
        (false, true) => 0,
        (false, false) => own.as_raw(),
    }
}

/// Whether a plan is one of the worker's own tools', which no task ever shares a container with.
pub(crate) fn is_builder(plan: &Plan) -> bool {
    plan.network == Network::Host || !plan.read_write.is_empty()
}

/// As root, makes the directories that a plan may change the builder's; nothing that is in them.
///
/// # Errors
///
/// `Host`; a link to a directory is refused, since whoever wrote there before may have left one.
pub(crate) fn hand_over(plan: &Plan, uid: u32) -> Result<(), EngineError> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let hand_one_over = |path: &Path| -> io::Result<()> {
        let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        let directory = File::options().read(true).custom_flags(flags).open(path)?;
        fchown(&directory, Some(uid), Some(uid))
    };
    let handed = plan.read_write.iter().try_for_each(|(path, _)| hand_one_over(path));
    handed.map_err(EngineError::host("hand over what may be changed"))
}
