//! Where on this machine the groups of tasks can be made, and which of them nobody needs any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::plan::SandboxError;

use super::{kill_all, parse_cpus};

/// What our groups' names begin with; then the owner's process, its start, and two numbers.
const PREFIX: &str = "campusgrid-";
/// Where the worker itself moves on cgroup v2, because a group with controllers has no processes.
const SUPERVISOR: &str = "supervisor";

/// The groups that tasks' groups are made in.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    V1 { memory: PathBuf, cpu: PathBuf, cpuacct: PathBuf, cpuset: PathBuf, pids: PathBuf },
    V2 { base: PathBuf },
}

impl Layout {
    /// Finds the groups that the worker is in and checks that groups can be made there.
    ///
    /// On cgroup v2 moves the worker into a group of its own and hands the controllers down.
    ///
    /// # Errors
    ///
    /// `Limit`, with what is missing.
    pub(crate) fn find() -> Result<Self, SandboxError> {
        let mounts = read("/proc/self/mountinfo")?;
        let groups = read("/proc/self/cgroup")?;
        let v1 = |controller| {
            find_v1(&mounts, &groups, controller).ok_or_else(|| SandboxError::Limit {
                limit: controller,
                reason: format!("no cgroup hierarchy has the {controller} controller"),
            })
        };
        if let Some(base) = find_v2(&mounts, &groups)
            && has_controller(&base, "memory")
        {
            return delegate(base);
        }
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
            Self::V2 { base } => BTreeSet::from([base.clone()]),
        }
    }

    /// The cores that tasks may be given.
    pub(crate) fn cpus(&self) -> BTreeSet<u32> {
        let file = match self {
            Self::V1 { cpuset, .. } => cpuset.join("cpuset.effective_cpus"),
            Self::V2 { base } => base.join("cpuset.cpus.effective"),
        };
        parse_cpus(&fs::read_to_string(file).unwrap_or_default())
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
                    kill_all(&entry.path());
                    swept += usize::from(fs::remove_dir(entry.path()).is_ok());
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

/// Moves the worker out of the way and enables the controllers beneath `base`.
fn delegate(own: PathBuf) -> Result<Layout, SandboxError> {
    let refuse = |reason| SandboxError::Limit { limit: "cgroup v2", reason };
    let base = if own.ends_with(SUPERVISOR) {
        own.parent().expect("it ends with a name").to_path_buf()
    } else {
        own
    };
    // The root of the tree is the one group that may have both processes and controllers.
    if base.join("cgroup.type").exists() {
        let supervisor = base.join(SUPERVISOR);
        if !supervisor.is_dir() {
            fs::create_dir(&supervisor)
                .map_err(|error| refuse(format!("making {}: {error}", supervisor.display())))?;
        }
        fs::write(supervisor.join("cgroup.procs"), "0")
            .map_err(|error| refuse(format!("moving to {}: {error}", supervisor.display())))?;
    }
    for controller in ["memory", "pids", "cpu", "cpuset"] {
        let control = base.join("cgroup.subtree_control");
        fs::write(&control, format!("+{controller}")).map_err(|error| {
            refuse(format!("the {controller} controller cannot be handed down: {error}"))
        })?;
    }
    Ok(Layout::V2 { base })
}

fn has_controller(group: &Path, controller: &str) -> bool {
    fs::read_to_string(group.join("cgroup.controllers"))
        .is_ok_and(|list| list.split_whitespace().any(|name| name == controller))
}

fn find_v1(mounts: &str, groups: &str, controller: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    let has_it = |mount: &Mount| mount.options.split(',').any(|name| name == controller);
    place(mounts, "cgroup", own, has_it)
}

fn find_v2(mounts: &str, groups: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    place(mounts, "cgroup2", own, |_| true)
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// The directory that shows group `own`, through a mount that may show only a part of the tree.
fn place(mounts: &str, kind: &str, own: &str, wanted: impl Fn(&Mount) -> bool) -> Option<PathBuf> {
    mounts.lines().filter_map(parse_mount).find_map(|mount| {
        if mount.kind != kind || !wanted(&mount) {
            return None;
        }
        let beneath = Path::new(own).strip_prefix(mount.root).ok()?;
        let place = Path::new(mount.point).join(beneath);
        place.join("cgroup.procs").exists().then_some(place)
    })
}

/// One line of `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount { root, point, kind, options })
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

    #[test]
    fn mounts_that_show_a_part_of_the_tree_are_understood() {
        let line = "33 25 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let mount = parse_mount(line).unwrap();
        assert_eq!((mount.root, mount.point), ("/docker/x", "/sys/fs/cgroup/memory"));
        assert_eq!((mount.kind, mount.options), ("cgroup", "rw,memory"));
    }
}
