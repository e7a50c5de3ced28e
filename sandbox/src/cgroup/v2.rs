//! Makes a place on cgroup v2 whose groups have the controllers that limits need.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::plan::SandboxError;

use super::layout::Layout;

/// Where a worker without privileges moves on cgroup v2, because a group that hands controllers
/// down has no processes of its own.
const SUPERVISOR: &str = "supervisor";
/// Root's place for the groups of tasks on cgroup v2, shared by all its workers, never removed.
const TOP: &str = "campusgrid";
const REQUIRED: [&str; 3] = ["memory", "pids", "cpu"];

/// Root's place on cgroup v2. Systemd does not take controllers away that are handed down there.
pub(super) fn beneath_top(top: &Path) -> Result<Layout, SandboxError> {
    let has_cpuset = check_controllers(top)?;
    hand_down(top, has_cpuset)?;
    let base = top.join(TOP);
    make(&base)?;
    // All tasks together step back behind what the machine's owner does.
    let _not_essential = fs::write(base.join("cpu.weight"), super::CPU_WEIGHT);
    hand_down(&base, has_cpuset)?;
    Ok(Layout::V2 { base, has_cpuset })
}

/// Uses a group that was handed over: moves everything out of its way and enables controllers.
pub(super) fn delegated(own: PathBuf) -> Result<Layout, SandboxError> {
    let base = match own.parent() {
        Some(parent) if own.ends_with(SUPERVISOR) => parent.to_path_buf(),
        Some(_) | None => own,
    };
    let has_cpuset = check_controllers(&base)?;
    let supervisor = base.join(SUPERVISOR);
    make(&supervisor)?;
    move_all(&base, &supervisor)?;
    hand_down(&base, has_cpuset)?;
    Ok(Layout::V2 { base, has_cpuset })
}

/// Refuses a group without what is required. Returns whether it has cpusets, too.
fn check_controllers(group: &Path) -> Result<bool, SandboxError> {
    let here = controllers(group);
    match REQUIRED.iter().find(|name| !here.contains(**name)) {
        None => Ok(here.contains("cpuset")),
        Some(missing) => Err(SandboxError::Limit {
            limit: missing,
            reason: format!("{} has no {missing} controller", group.display()),
        }),
    }
}

/// Moves the processes of one group to another, those that appear meanwhile included.
fn move_all(from: &Path, to: &Path) -> Result<(), SandboxError> {
    const ROUNDS: usize = 10;
    let refuse = |reason| SandboxError::Limit { limit: "cgroup v2", reason };
    for _ in 0..ROUNDS {
        let processes = fs::read_to_string(from.join("cgroup.procs"))
            .map_err(|error| refuse(format!("reading {}: {error}", from.display())))?;
        if processes.is_empty() {
            return Ok(());
        }
        for pid in processes.lines() {
            match fs::write(to.join("cgroup.procs"), pid) {
                Err(error) if error.raw_os_error() != Some(Errno::ESRCH as i32) => {
                    return Err(refuse(format!("moving to {}: {error}", to.display())));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    Err(refuse(format!("{} does not become empty", from.display())))
}

fn hand_down(group: &Path, has_cpuset: bool) -> Result<(), SandboxError> {
    for controller in REQUIRED.into_iter().chain(has_cpuset.then_some("cpuset")) {
        let control = group.join("cgroup.subtree_control");
        fs::write(&control, format!("+{controller}")).map_err(|error| SandboxError::Limit {
            limit: controller,
            reason: format!("{} cannot hand the controller down: {error}", group.display()),
        })?;
    }
    Ok(())
}

fn make(group: &Path) -> Result<(), SandboxError> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(SandboxError::Limit {
            limit: "cgroup v2",
            reason: format!("making {}: {error}", group.display()),
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The controllers that a group may use; none where it is not there.
pub(super) fn controllers(group: &Path) -> BTreeSet<String> {
    let list = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}
