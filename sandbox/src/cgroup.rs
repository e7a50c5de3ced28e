//! The cgroups that hold the limits of tasks, on either version of the interface.
//!
//! Groups are made beneath the one that the worker itself is in, so that a limit somebody set for
//! the worker also binds its tasks; only root's on cgroup v2 are in a place of their own. Each value written is read back: a limit that did not take is
//! an error before the task starts.

mod counters;
pub(crate) mod layout;
mod mounts;
mod v2;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use crate::plan::{Limits, SandboxError};
use layout::Layout;

#[cfg(test)]
pub(crate) use counters::AtLimit;
pub(crate) use counters::Counters;

/// The helper and the init of a step run inside the group beside the task's own.
const OUR_PROCESSES: u32 = 2;
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel takes no less.
const CPU_QUOTA_MIN_US: u64 = 1000;
/// Of the cores' time where others want it as well, a tenth of what a group has by default: enough for
/// the helper to hear at once that the owner wants the machine, and no more.
const CPU_SHARES: &str = "102";
const CPU_WEIGHT: &str = "10";
const MIB: u64 = 1024 * 1024;
/// For what is killed to be gone, which takes milliseconds unless others want all of the cores.
pub(crate) const REMOVAL: Duration = Duration::from_secs(2);

/// One group, or one in each hierarchy, made for one task.
#[derive(Debug)]
pub(crate) struct Cgroup {
    layout: Layout,
    name: String,
    /// Of cgroup v2, where a peak can be reset for whoever holds the file open (Linux 6.12).
    peak: Option<File>,
}

impl Cgroup {
    /// Makes an empty group without limits.
    ///
    /// # Errors
    ///
    /// `Limit`; what had been made is removed again.
    pub(crate) fn make(layout: &Layout, name: String) -> Result<Self, SandboxError> {
        let mut group = Self { layout: layout.clone(), name, peak: None };
        let made = group.directories().iter().try_for_each(fs::create_dir);
        let ready = made.and_then(|()| match layout {
            // A cpuset takes no process before it has memory nodes and cores.
            Layout::V1 { cpuset, .. } => ["mems", "cpus"].iter().try_for_each(|what| {
                let value = fs::read_to_string(cpuset.join(format!("cpuset.effective_{what}")))?;
                fs::write(cpuset.join(&group.name).join(format!("cpuset.{what}")), value.trim())
            }),
            Layout::V2 { .. } => Ok(()),
        });
        ready.map_err(|source| {
            group.remove(REMOVAL);
            SandboxError::Limit { limit: "cgroup", reason: format!("it cannot be made: {source}") }
        })?;
        if let Layout::V2 { base, .. } = layout {
            let peak = base.join(&group.name).join("memory.peak");
            group.peak = File::options().read(true).write(true).open(peak).ok();
        }
        Ok(group)
    }

    /// Moves a process in.
    ///
    /// # Errors
    ///
    /// `Limit`.
    pub(crate) fn join(&self, pid: u32) -> Result<(), SandboxError> {
        let join = |dir: &PathBuf| fs::write(dir.join("cgroup.procs"), pid.to_string());
        self.directories().iter().try_for_each(join).map_err(|source| SandboxError::Limit {
            limit: "cgroup",
            reason: format!("it cannot be joined: {source}"),
        })
    }

    /// Sets the limits and reads each back.
    ///
    /// # Errors
    ///
    /// `Limit` for the first that does not hold.
    pub(crate) fn limit(&self, limits: &Limits) -> Result<(), SandboxError> {
        // Scratch space is memory as well: a task that fills what it was granted of it must still
        // have all of its memory.
        let ram_mib = u64::from(limits.ram_mib) + u64::from(limits.scratch_mib);
        let ram = (ram_mib * MIB).to_string();
        let millis = u64::from(limits.cpu_millis) * u64::from(limits.core_percent) / 100;
        let quota_us = (millis * CPU_PERIOD_US / 1000).max(CPU_QUOTA_MIN_US);
        let processes = (u64::from(limits.processes) + u64::from(OUR_PROCESSES)).to_string();
        match &self.layout {
            Layout::V1 { memory, cpu, pids, .. } => {
                let memory = memory.join(&self.name);
                set("memory", &memory.join("memory.limit_in_bytes"), &ram)?;
                let with_swap = memory.join("memory.memsw.limit_in_bytes");
                if with_swap.exists() {
                    set("memory and swap", &with_swap, &ram)?;
                } else {
                    // Swap is not accounted here; this at least keeps the task out of it.
                    set("swap", &memory.join("memory.swappiness"), "0")?;
                }
                // What waits in sockets is counted apart, and otherwise without a limit.
                let buffers = memory.join("memory.kmem.tcp.limit_in_bytes");
                if buffers.exists() {
                    set("network buffers", &buffers, &(64 * MIB).to_string())?;
                }
                let cpu = cpu.join(&self.name);
                let period = CPU_PERIOD_US.to_string();
                set("cpu period", &cpu.join("cpu.cfs_period_us"), &period)?;
                set("cpu", &cpu.join("cpu.cfs_quota_us"), &quota_us.to_string())?;
                // A courtesy, not a wall.
                let _not_essential = fs::write(cpu.join("cpu.shares"), CPU_SHARES);
                set("processes", &pids.join(&self.name).join("pids.max"), &processes)
            }
            Layout::V2 { base, .. } => {
                let group = base.join(&self.name);
                set("memory", &group.join("memory.max"), &ram)?;
                let swap = group.join("memory.swap.max");
                if swap.exists() || machine_has_swap() {
                    set("swap", &swap, "0")?;
                }
                let quota = format!("{quota_us} {CPU_PERIOD_US}");
                set("cpu", &group.join("cpu.max"), &quota)?;
                let _not_essential = fs::write(group.join("cpu.weight"), CPU_WEIGHT);
                set("processes", &group.join("pids.max"), &processes)
            }
        }
    }

    /// Keeps what is in the group to these cores, where it can be.
    ///
    /// # Errors
    ///
    /// `Limit`.
    pub(crate) fn pin(&self, cpus: &BTreeSet<u32>) -> Result<(), SandboxError> {
        let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
        let group = match &self.layout {
            Layout::V1 { cpuset, .. } => cpuset.join(&self.name),
            Layout::V2 { base, has_cpuset: true } => base.join(&self.name),
            Layout::V2 { has_cpuset: false, .. } => return Ok(()),
        };
        set_cores(&group.join("cpuset.cpus"), &cpus.join(","))
    }

    /// See [`Layout::pins_cores`].
    pub(crate) fn pins_cores(&self) -> bool {
        self.layout.pins_cores()
    }

    /// What is in the group; each hierarchy has the same.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.directories().first().map(|group| processes(group)).unwrap_or_default()
    }

    /// Kills what is still inside and removes the group. Blocks, for as long as `patience` and a little
    /// more; returns whether it is gone.
    pub(crate) fn remove(&self, patience: Duration) -> bool {
        remove_groups(self.directories(), patience)
    }

    fn directories(&self) -> BTreeSet<PathBuf> {
        self.layout.bases().iter().map(|base| base.join(&self.name)).collect()
    }
}

/// Lets nothing new come to be in a group, gives what is to die the time on a core that dying takes, and
/// kills all at once where the kernel can (from 5.14 on).
fn close(dir: &Path) {
    let last = [
        ("pids.max", "0"),
        ("cpu.shares", "1024"),
        ("cpu.weight", "100"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.max", "max"),
        ("cgroup.kill", "1"),
    ];
    for (file, value) in last {
        let written = File::options().write(true).open(dir.join(file));
        let _not_here = written.and_then(|mut file| file.write_all(value.as_bytes()));
    }
}

/// Kills what is in these groups and removes them. Blocks, for as long as `patience` and a little more;
/// returns whether all are gone.
fn remove_groups(mut left: BTreeSet<PathBuf>, patience: Duration) -> bool {
    // In all before any: nothing that is being killed in one may go on multiplying.
    left.iter().for_each(|dir| close(dir));
    let watch = Stopwatch::start();
    let mut pause = Duration::from_millis(1);
    loop {
        let mut why = None;
        left.retain(|dir| {
            kill_all(dir);
            match fs::remove_dir(dir) {
                Ok(()) => false,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => {
                    why = Some(error);
                    true
                }
            }
        });
        let (Some(dir), Some(why)) = (left.first(), why) else { return true };
        if watch.passed() >= patience {
            let inside = processes(dir);
            tracing::warn!(cgroup = %dir.display(), ?inside, "a cgroup is not gone yet: {why}");
            return false;
        }
        // A process that was killed leaves its group only when it has had a core once more, which may
        // take long where others want them all.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Sends SIGKILL to every process of one group.
fn kill_all(group: &Path) {
    for pid in processes(group) {
        // A failure means that it is gone already.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The processes of one group.
fn processes(group: &Path) -> Vec<i32> {
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // Zero, which stands for one that cannot be seen from here, would be our own process group.
    processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

fn set(limit: &'static str, file: &Path, value: &str) -> Result<(), SandboxError> {
    let refuse = |reason| SandboxError::Limit { limit, reason };
    fs::write(file, value)
        .map_err(|error| refuse(format!("{value} to {}: {error}", file.display())))?;
    let found = fs::read_to_string(file)
        .map_err(|error| refuse(format!("reading {}: {error}", file.display())))?;
    if found.trim() != value {
        return Err(refuse(format!("{} is {}, not {value}", file.display(), found.trim())));
    }
    Ok(())
}

/// As `set`, for a list of cores, which the kernel writes in a form of its own.
fn set_cores(file: &Path, cpus: &str) -> Result<(), SandboxError> {
    let refuse = |reason| SandboxError::Limit { limit: "cores", reason };
    fs::write(file, cpus)
        .map_err(|error| refuse(format!("{cpus} to {}: {error}", file.display())))?;
    let found = fs::read_to_string(file)
        .map_err(|error| refuse(format!("reading {}: {error}", file.display())))?;
    if parse_cpus(&found) != parse_cpus(cpus) {
        return Err(refuse(format!("{} is {}, not {cpus}", file.display(), found.trim())));
    }
    Ok(())
}

/// Reads the kernel's form of a set of cores, such as `0-3,7`; what is not a number is left out.
pub(crate) fn parse_cpus(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn machine_has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain files stand for the kernel's: this shows names and forms, not that they hold.
    #[test]
    fn on_v2_each_limit_goes_to_its_file_in_the_form_that_is_read_back() {
        let base = std::env::temp_dir().join(format!("campusgrid-v2-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let group =
            Cgroup::make(&Layout::V2 { base: base.clone(), has_cpuset: true }, "task".into())
                .unwrap();
        let limits = Limits {
            core_percent: 100,
            cpu_millis: 1500,
            ram_mib: 64,
            scratch_mib: 1,
            scratch_files: 1,
            file_mib: 1,
            processes: 10,
            log_keep_bytes: 0,
            log_flood_bytes: 0,
            outputs: 0,
            outputs_bytes: 0,
            grace: Duration::ZERO,
        };
        group.limit(&limits).unwrap();
        group.pin(&BTreeSet::from([1, 3])).unwrap();
        let dir = base.join("task");
        let read = |file| fs::read_to_string(dir.join(file)).unwrap();
        // 64 MiB and 1 MiB of scratch space.
        assert_eq!(read("memory.max"), "68157440");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("cpuset.cpus"), "1,3");
        assert_eq!(read("pids.max"), "12");
        for (file, text) in [
            ("cpu.stat", "usage_usec 1234\nuser_usec 1\n"),
            ("memory.events", "low 0\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ("memory.peak", "4096\n"),
            ("pids.events", "max 5\n"),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
        let wanted = Counters {
            cpu_us: 1234,
            ram_peak_bytes: Some(4096),
            oom_kills: 2,
            at_limit: AtLimit::Times(1),
            forks_refused: 5,
        };
        assert_eq!(group.counters(), wanted);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn sets_of_cores_are_read_in_the_kernels_form() {
        assert_eq!(parse_cpus("0-2,7\n"), BTreeSet::from([0, 1, 2, 7]));
        assert_eq!(parse_cpus("\n"), BTreeSet::new());
    }
}
