//! Which processes descend from this one, and signals to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::step::Depth;
use super::view::HOST_PROC;

/// How often processes are looked for that still run after all were stopped, and the pause between.
/// One that starts others meanwhile is found the next time, and only so many can be there at all.
const ROUNDS: u32 = 200;
const ROUND: Duration = Duration::from_millis(1);

/// A process as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    pid: i32,
    /// Stopped, or dead already.
    is_still: bool,
}

/// Signals what descends from this process.
pub(super) fn signal_descendants(signal: Signal, depth: Depth) {
    for Seen { pid, .. } in descendants(depth) {
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}

/// Stops what descends from this process, and looks until nothing of it runs: parents first, so that
/// none sees a child stop.
pub(super) fn freeze(depth: Depth) {
    for round in 0..ROUNDS {
        let running: Vec<i32> =
            descendants(depth).iter().filter(|seen| !seen.is_still).map(|seen| seen.pid).collect();
        if running.is_empty() {
            return;
        }
        for pid in running {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        }
        if round > 0 {
            thread::sleep(ROUND);
        }
    }
}

/// Lets go on what was stopped, children first.
pub(super) fn thaw(depth: Depth) {
    for Seen { pid, .. } in descendants(depth).into_iter().rev() {
        let _gone = kill(Pid::from_raw(pid), Signal::SIGCONT);
    }
}

/// The processes that descend from this one: children, grandchildren and so on.
fn descendants(depth: Depth) -> Vec<Seen> {
    // Where the lane has no view of its own, this is where everybody finds it.
    let proc = if Path::new(HOST_PROC).exists() { HOST_PROC } else { "/proc" };
    let below = match depth {
        Depth::All => 0,
        Depth::BelowInit => 1,
    };
    generations(proc).into_iter().skip(below).flatten().collect()
}

fn generations(proc: &str) -> Vec<Vec<Seen>> {
    let mut children: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some((parent, is_still)) = look(proc, pid) {
            children.entry(parent).or_default().push(Seen { pid, is_still });
        }
    }
    let mut found = Vec::new();
    let mut level = vec![Pid::this().as_raw()];
    loop {
        let next: Vec<Seen> =
            level.iter().filter_map(|pid| children.remove(pid)).flatten().collect();
        if next.is_empty() {
            return found;
        }
        level = next.iter().map(|seen| seen.pid).collect();
        found.push(next);
    }
}

/// A process's parent, and whether it stands still.
fn look(proc: &str, pid: i32) -> Option<(i32, bool)> {
    let stat = fs::read_to_string(format!("{proc}/{pid}/stat")).ok()?;
    parse(&stat)
}

fn parse(stat: &str) -> Option<(i32, bool)> {
    // Fields 3 and 4 of proc_pid_stat(5), counted after the name, which may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_still = matches!(fields.next()?, "T" | "t" | "Z" | "X");
    Some((fields.next()?.parse().ok()?, is_still))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_name_is_not_taken_for_a_state() {
        assert_eq!(parse("7 (a) T 1 (b) R 3 7 7 0"), Some((3, false)));
        assert_eq!(parse("7 (sleep) T 3 7 7 0"), Some((3, true)));
        assert_eq!(parse("7 (sleep"), None);
    }
}
