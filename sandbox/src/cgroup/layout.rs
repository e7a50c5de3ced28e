//! Where on this machine the groups of tasks can be made, and which of them nobody needs any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::unistd::Uid;

use crate::plan::SandboxError;

use super::mounts::{V2, find_v1, find_v2};
use super::{REMOVAL, parse_cpus, remove_groups, v2};

/// What our groups' names begin with; then the owner's process, its start, and two numbers.
const PREFIX: &str = "campusgrid-";
/// The groups that tasks' groups are made in.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    V1 {
        memory: PathBuf,
        cpu: PathBuf,
        cpuacct: PathBuf,
        cpuset: PathBuf,
        pids: PathBuf,
    },
    /// Systemd does not delegate cpusets to users unless it is told to.
    V2 {
        base: PathBuf,
        has_cpuset: bool,
    },
}

impl Layout {
    /// Finds a place where groups with limits can be made, and makes it ready.
    ///
    /// On cgroup v1 that is the groups that the worker is in. On v2 root's place is directly
    /// beneath the top, wherever the worker is: it leaves all other groups and the worker itself
    /// alone. Anybody else's is the worker's own group, which must have been delegated: all
    /// that is in it moves to a group beneath it.
    ///
    /// # Errors
    ///
    /// `Limit`, with what is missing; nothing has been moved if it is a controller.
    pub(crate) fn find() -> Result<Self, SandboxError> {
        let mounts = read("/proc/self/mountinfo")?;
        let groups = read("/proc/self/cgroup")?;
        if let Some(V2 { top, own }) = find_v2(&mounts, &groups)
            && v2::controllers(&top).contains("memory")
        {
            // Within a container what looks like the top has limits, and processes, like any other.
            let is_real_top = !top.join("cgroup.type").exists();
            return if Uid::effective().is_root() && is_real_top {
                v2::beneath_top(&top)
            } else {
                v2::delegated(own)
            };
        }
        let v1 = |controller| {
            find_v1(&mounts, &groups, controller).ok_or_else(|| SandboxError::Limit {
                limit: controller,
                reason: format!("no cgroup hierarchy has the {controller} controller"),
            })
        };
        Ok(Self::V1 {
            memory: v1("memory")?,
            cpu: v1("cpu")?,
            cpuacct: v1("cpuacct")?,
            cpuset: v1("cpuset")?,
            pids: v1("pids")?,
        })
    }

    /// The directories to make a task's group in; hierarchies may share one.
    pub(crate) fn bases(&self) -> BTreeSet<PathBuf> {
        match self {
            Self::V1 { memory, cpu, cpuacct, cpuset, pids } => {
                [memory, cpu, cpuacct, cpuset, pids].into_iter().cloned().collect()
            }
            Self::V2 { base, .. } => BTreeSet::from([base.clone()]),
        }
    }

    /// The cores that tasks may be given.
    pub(crate) fn cpus(&self) -> BTreeSet<u32> {
        let file = match self {
            Self::V1 { cpuset, .. } => cpuset.join("cpuset.effective_cpus"),
            Self::V2 { base, has_cpuset: true } => base.join("cpuset.cpus.effective"),
            Self::V2 { has_cpuset: false, .. } => return own_cpus(),
        };
        parse_cpus(&fs::read_to_string(file).unwrap_or_default())
    }

    /// Whether the cores that a task is granted are all that it can use.
    ///
    /// Otherwise they are those it begins with; in any case it gets no more time than its share.
    pub(crate) fn pins_cores(&self) -> bool {
        match self {
            Self::V1 { .. } => true,
            Self::V2 { has_cpuset, .. } => *has_cpuset,
        }
    }

    /// Whether tasks get no swap, where the machine has any.
    pub(crate) fn limits_swap(&self) -> bool {
        match self {
            Self::V1 { memory, .. } => memory.join("memory.memsw.limit_in_bytes").exists(),
            Self::V2 { .. } => true,
        }
    }

    /// A name for group `number` of the process's sandbox number `instance`.
    pub(crate) fn name(instance: u32, number: u32) -> String {
        let pid = std::process::id();
        format!("{PREFIX}{pid}-{}-{instance}-{number}", started(pid).unwrap_or(0))
    }

    /// Kills and removes what workers that are no more have left. Returns how many groups.
    pub(crate) fn sweep(&self) -> usize {
        let mut swept = 0;
        for base in self.bases() {
            let Ok(entries) = fs::read_dir(&base) else { continue };
            for entry in entries.flatten() {
                if is_orphan(&entry.file_name().to_string_lossy()) {
                    swept += usize::from(remove_groups(BTreeSet::from([entry.path()]), REMOVAL));
                }
            }
        }
        swept
    }

    pub(crate) fn version(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "v1",
            Self::V2 { .. } => "v2",
        }
    }
}

fn read(file: &'static str) -> Result<String, SandboxError> {
    fs::read_to_string(file)
        .map_err(|source| SandboxError::Host { operation: "read which cgroups we are in", source })
}

/// The cores that the worker itself may use.
fn own_cpus() -> BTreeSet<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    parse_cpus(list.unwrap_or_default())
}

/// Whether the process that made a group of this name is no more.
fn is_orphan(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|rest| {
        let mut parts = rest.split('-').map(str::parse::<u64>);
        Some((u32::try_from(parts.next()?.ok()?).ok()?, parts.next()?.ok()?))
    });
    owner.is_some_and(|(pid, start)| started(pid) != Some(start))
}

/// When a process started, in ticks since boot: with its number this names it for good.
/// `None` if it is no more, or dead and only not yet reaped.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields 3 and 22 of proc_pid_stat(5), counted after the name, which may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let start = fields.nth(18)?.parse().ok()?;
    (!is_dead).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_an_orphan_when_its_maker_is_gone() {
        assert!(!is_orphan(&Layout::name(0, 3)));
        assert!(is_orphan(&format!("campusgrid-{}-1-0-3", std::process::id())));
        assert!(!is_orphan("system.slice"));
        assert!(!is_orphan("campusgrid-worker"));
    }
}
