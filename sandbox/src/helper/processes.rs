//! Which processes descend from this one, and signals to them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process below ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descendant {
    pub(super) pid: Pid,
    /// 1 for a child.
    pub(super) depth: u32,
}

/// All that descend from this process now, parents before children.
pub(super) fn descendants() -> Vec<Descendant> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut level = vec![Pid::this().as_raw()];
    for depth in 1.. {
        level = level.iter().filter_map(|pid| children.remove(pid)).flatten().collect();
        if level.is_empty() {
            break;
        }
        let at_depth = |&pid: &i32| Descendant { pid: Pid::from_raw(pid), depth };
        found.extend(level.iter().map(at_depth));
    }
    found
}

/// Signals all descendants at least `depth` generations down.
pub(super) fn signal_descendants(signal: Signal, depth: u32) {
    for process in descendants().iter().filter(|process| process.depth >= depth) {
        let _gone = kill(process.pid, signal);
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 4 of proc_pid_stat(5), counted after the name, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
