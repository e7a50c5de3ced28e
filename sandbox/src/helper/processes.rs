//! Which processes descend from this one, and signals to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::step::Depth;
use super::view::HOST_PROC;

/// Signals what descends from this process.
pub(super) fn signal_descendants(signal: Signal, depth: Depth) {
    // Where the lane has no view of its own, this is where everybody finds it.
    let proc = if Path::new(HOST_PROC).exists() { HOST_PROC } else { "/proc" };
    let below = match depth {
        Depth::All => 0,
        Depth::BelowInit => 1,
    };
    for pid in generations(proc).iter().skip(below).flatten() {
        let _gone = kill(Pid::from_raw(*pid), signal);
    }
}

/// The numbers of the processes that descend from this one: children, grandchildren and so on.
fn generations(proc: &str) -> Vec<Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = parent(proc, pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut level = vec![Pid::this().as_raw()];
    loop {
        level = level.iter().filter_map(|pid| children.remove(pid)).flatten().collect();
        if level.is_empty() {
            return found;
        }
        found.push(level.clone());
    }
}

fn parent(proc: &str, pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("{proc}/{pid}/stat")).ok()?;
    // Field 4 of proc_pid_stat(5), counted after the name, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
