//! What holds on this machine, one by one: rows for whoever wants to know or to mend it.

use std::fs;
use std::path::Path;

use crate::cgroup::layout::Layout;
use crate::helper::kernel::landlock_abi;
use crate::helper::landlock::{ABI_MIN, ABI_SCOPES};
use crate::plan::{Check, Holds};

fn row(what: &str, state: Holds, found: impl Into<String>) -> Check {
    Check { what: what.to_owned(), state, found: found.into(), mend: None }
}

/// The limits, which have all been tried by the time that this is asked.
pub(super) fn limits(layout: &Layout) -> Vec<Check> {
    let version = layout.version();
    let held = |what, how: &str| row(what, Holds::Yes, format!("{how}, by cgroup {version}"));
    let mut rows = vec![
        held("memory limit", "of all processes of a task together, its files included"),
        held("processor limit", "so much time and no more"),
        held("process limit", "threads count as well"),
    ];
    rows.push(if layout.pins_cores() {
        row("cores", Holds::Yes, "a task sees those it is granted and cannot use others")
    } else {
        let found = "a task begins on those it is granted and could move to others, but gets no \
                     more time than its share: there is no cpuset";
        let mend = "Delegate=cpu cpuset memory pids in the unit of the worker or of its user";
        Check { mend: Some(mend.to_owned()), ..row("cores", Holds::Optional, found) }
    });
    rows.push(swap(layout));
    rows
}

fn swap(layout: &Layout) -> Check {
    let has_swap = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    if !has_swap {
        row("swap", Holds::Yes, "the machine has none")
    } else if layout.limits_swap() {
        row("swap", Holds::Yes, "not for tasks")
    } else {
        row("swap", Holds::Optional, "it is not counted here, so tasks are only discouraged")
    }
}

/// Landlock, which is a second wall where there are namespaces.
pub(super) fn landlock() -> Check {
    let abi = landlock_abi();
    let what = "Landlock";
    if abi >= ABI_SCOPES {
        row(what, Holds::Yes, format!("version {abi}"))
    } else if abi >= ABI_MIN {
        let found = format!(
            "version {abi}; from {ABI_SCOPES} on it keeps abstract sockets and signals in as well"
        );
        row(what, Holds::Yes, found)
    } else {
        let is_there = Path::new("/sys/kernel/security/lsm").exists();
        let found = match (abi, is_there) {
            (0, true) => "switched off, or this kernel lacks it".to_owned(),
            (0, false) => "this kernel lacks it".to_owned(),
            (abi, _) => format!("version {abi} is too old to be of use"),
        };
        let mend = "a kernel from 5.19 on, with landlock in its lsm= list";
        Check { mend: Some(mend.to_owned()), ..row(what, Holds::Optional, found) }
    }
}

/// What a trial task has shown to hold.
pub(super) fn tried(first_job_uid: Option<u32>) -> Vec<Check> {
    let mut rows = vec![
        row("namespaces", Holds::Yes, "processes, mounts, network, IPC, host name, cgroup"),
        row("network", Holds::Yes, "none but a loopback of the task's own"),
        row("system calls", Holds::Yes, "only those that programs need"),
        row("scratch space", Holds::Yes, "bytes and files are hard limits; both count as memory"),
    ];
    rows.push(match first_job_uid {
        Some(first) => {
            row("user of its own", Holds::Yes, format!("each task has one, from uid {first}"))
        }
        None => {
            let found = "tasks run as this user, in a user namespace";
            let mend = "sudo campusgrid-worker install, which gives the worker a user of its own";
            Check { mend: Some(mend.to_owned()), ..row("user of its own", Holds::Optional, found) }
        }
    });
    rows
}

/// What a trial task without namespaces has shown to hold.
pub(super) fn restricted(first_job_uid: u32) -> Vec<Check> {
    vec![
        row("namespaces", Holds::Optional, "none: the owner allows filters of the kernel alone"),
        row("network", Holds::Yes, "no sockets at all"),
        row("system calls", Holds::Yes, "only those that programs need, and none that share"),
        row("user of its own", Holds::Yes, format!("each task has one, from uid {first_job_uid}")),
        row("scratch space", Holds::Yes, "bytes and files are hard limits; both count as memory"),
    ]
}

/// What is true of tasks without walls.
pub(super) fn none() -> Vec<Check> {
    vec![row("sandbox", Holds::Optional, "switched off: only this owner's own jobs come here")]
}
