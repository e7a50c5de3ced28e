//! Stops a task's processes from outside: at once, where its helper shares the task's small part of a
//! core and may have to wait for its turn.

use std::fs;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;
use crate::lane::{Berth, Lane};

/// Who is started, or woken, while the others are stopped is found in the next round.
const ROUNDS: u32 = 4;

/// One lane's processes.
#[derive(Debug)]
pub(crate) struct Stopper {
    cgroup: Option<Arc<Cgroup>>,
    helper: i32,
    /// Whether the helper's children are ours as well: the first processes of the steps' namespaces.
    has_init: bool,
}

impl Stopper {
    pub(crate) fn of(lane: &Lane) -> Self {
        let has_init = match &lane.berth {
            Berth::Confined { .. } => true,
            Berth::Filtered { .. } | Berth::Bare { .. } => false,
        };
        Self { cgroup: lane.cgroup(), helper: lane.pid().cast_signed(), has_init }
    }

    /// Stops all that is there now; a process with a signal on its way runs no further, whenever it
    /// gets a core. What is being started meanwhile is the helper's to find, and so is
    /// everything of a task without a group.
    pub(crate) fn stop(&self) {
        let Some(cgroup) = &self.cgroup else { return };
        for pid in (0..ROUNDS).flat_map(|_| cgroup.processes()) {
            let is_ours = pid == self.helper || (self.has_init && parent(pid) == Some(self.helper));
            if !is_ours {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            }
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 4 of proc_pid_stat(5), counted after the name, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
