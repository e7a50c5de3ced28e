//! What must not be left on the machine once all is over: results in spools, processes, cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Where groups are mounted, whichever version.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A worker's groups lie no deeper, wherever it was started.
const DEPTH_MAX: u32 = 8;

/// From now on, whoever is orphaned among this process's descendants becomes its child, so that
/// [`children`] can tell what was left running.
///
/// # Errors
///
/// What the kernel says.
pub fn adopt_orphans() -> Result<(), nix::Error> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// A worker keeps some of its disk free for results by a file of this name.
const RESERVE: &str = "reserve";

/// What waits in a worker's spool.
///
/// # Errors
///
/// When it cannot be read; a spool that was never made is empty.
pub fn spooled(worker_dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(worker_dir.join("spool")) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .filter(|name| name.as_ref().map_or(true, |name| name != RESERVE))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Number and command line of each process that is this one's child and not dead; forgets those that are.
///
/// Only to be called when nobody waits for a child any more.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn children() -> io::Result<Vec<(u32, String)>> {
    while waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)).is_ok_and(|ended| ended.pid().is_some())
    {
    }
    let own = std::process::id();
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has just ended is no matter.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if parent(&stat) == Some(own) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            children.push((pid, line.chars().take(200).collect()));
        }
    }
    Ok(children)
}

/// The parent in a line of proc_pid_stat(5); none of one that is dead.
fn parent(stat: &str) -> Option<u32> {
    // Counted after the name, which may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    (!is_dead).then_some(parent)
}

/// The groups that were made by one of these processes and are still there.
pub fn groups_of(pids: &BTreeSet<u32>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look_for_groups(Path::new(CGROUPS), pids, DEPTH_MAX, &mut found);
    found
}

fn look_for_groups(dir: &Path, pids: &BTreeSet<u32>, depth: u32, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if maker(&entry.file_name().to_string_lossy()).is_some_and(|pid| pids.contains(&pid)) {
            found.push(entry.path());
        } else if depth > 0 {
            look_for_groups(&entry.path(), pids, depth - 1, found);
        }
    }
}

/// The process that made a group of this name: `campusgrid-PID-START-…`.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix("campusgrid-")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{maker, parent};

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (sh) Z 7 12 12 0"), None);
        assert_eq!(parent("nonsense"), None);
    }

    #[test]
    fn a_groups_maker_is_in_its_name() {
        assert_eq!(maker("campusgrid-77-123-0-4"), Some(77));
        assert_eq!(maker("campusgrid-worker"), None);
        assert_eq!(maker("system.slice"), None);
    }
}
