//! What the kernel says, inside the container, of its limits and of what was used.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::sched_getaffinity;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, Pid, Uid, access};

use super::residue::QUEUES;
use crate::event::{Held, WRITABLE};

const ROOT: &str = "/sys/fs/cgroup";
/// The controllers of v1 that are mounted together have directories of both names.
const UNIFIED: &str = "/sys/fs/cgroup/cgroup.controllers";

/// What has been counted since the container's start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) cpu_us: u64,
    pub(super) oom_kills: u64,
    pub(super) forks_refused: u64,
    /// 0 where it is not told, and when it has not grown since.
    pub(super) ram_peak_bytes: u64,
}

impl Counters {
    pub(super) fn read() -> Self {
        if is_unified() {
            Self {
                cpu_us: field("cpu.stat", "usage_usec").unwrap_or(0),
                oom_kills: field("memory.events", "oom_kill").unwrap_or(0),
                forks_refused: field("pids.events", "max").unwrap_or(0),
                ram_peak_bytes: number("memory.peak").unwrap_or(0),
            }
        } else {
            Self {
                cpu_us: number("cpuacct/cpuacct.usage").unwrap_or(0) / 1000,
                oom_kills: field("memory/memory.oom_control", "oom_kill").unwrap_or(0),
                forks_refused: field("pids/pids.events", "max").unwrap_or(0),
                ram_peak_bytes: number("memory/memory.max_usage_in_bytes").unwrap_or(0),
            }
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        let has_grown = self.ram_peak_bytes > before.ram_peak_bytes;
        Self {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            oom_kills: self.oom_kills.saturating_sub(before.oom_kills),
            forks_refused: self.forks_refused.saturating_sub(before.forks_refused),
            ram_peak_bytes: if has_grown { self.ram_peak_bytes } else { 0 },
        }
    }
}

/// What is in use now; 0 where it is not told.
pub(super) fn ram_bytes() -> u64 {
    let file = if is_unified() { "memory.current" } else { "memory/memory.usage_in_bytes" };
    number(file).unwrap_or(0)
}

/// Reads back everything that should hold this process.
///
/// # Errors
///
/// Those of reading what every Linux has.
pub(super) fn held() -> io::Result<Held> {
    let (cgroup, memory_bytes, memory_swap_bytes, cpu_millis, processes) = if is_unified() {
        let memory = number("memory.max");
        let swap = number("memory.swap.max");
        let both = memory.zip(swap).map(|(memory, swap)| memory.saturating_add(swap));
        (2, memory, both, share("cpu.max"), number("pids.max"))
    } else {
        let quota = number("cpu/cpu.cfs_quota_us").zip(number("cpu/cpu.cfs_period_us"));
        let memory = number("memory/memory.limit_in_bytes");
        let both = number("memory/memory.memsw.limit_in_bytes");
        let millis = quota.map(|(quota, period)| quota * 1000 / period.max(1));
        (1, memory, both, millis, number("pids/pids.max"))
    };
    let status = fs::read_to_string("/proc/self/status")?;
    let line = |name: &str| {
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next().unwrap_or("")
    };
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(line);
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let swap = meminfo.lines().find_map(|line| line.strip_prefix("SwapTotal:")).unwrap_or("");
    let affinity = sched_getaffinity(Pid::from_raw(0))?;
    let cores = (0..nix::sched::CpuSet::count()).filter(|&core| affinity.is_set(core) == Ok(true));
    let place = |place: &&str| {
        let found = statvfs(*place)?;
        Ok((found.blocks() * found.fragment_size(), found.files()))
    };
    let devices = fs::read_to_string("/proc/net/dev")?;
    let interfaces = devices.lines().filter_map(|line| line.split_once(':'));
    let interfaces = interfaces.filter(|(name, _)| name.trim() != "lo").count();
    Ok(Held {
        cgroup,
        memory_bytes,
        memory_swap_bytes,
        has_swap: swap.split_whitespace().next() != Some("0"),
        cpu_millis,
        processes,
        cores: u32::try_from(cores.count()).unwrap_or(u32::MAX),
        seccomp: line("Seccomp") == "2",
        no_new_privileges: line("NoNewPrivs") == "1",
        capabilities: capabilities.iter().max().copied().unwrap_or("").to_owned(),
        uid: Uid::current().as_raw(),
        writable: WRITABLE.iter().map(place).collect::<Result<_, Errno>>()?,
        is_root_writable: !statvfs("/")?.flags().contains(FsFlags::ST_RDONLY),
        stray: stray()?,
        interfaces: u32::try_from(interfaces).unwrap_or(u32::MAX),
    })
}

/// Mounts where this process may write and should not; message queues are looked after by us.
fn stray() -> io::Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let known = |place: &str| WRITABLE.contains(&place) || place == QUEUES;
    let may_write =
        |place: &&str| access(*place, AccessFlags::W_OK).is_ok() && Path::new(place).is_dir();
    Ok(places.filter(|place| !known(place)).filter(may_write).map(str::to_owned).collect())
}

fn is_unified() -> bool {
    Path::new(UNIFIED).exists()
}

/// The number in a file; `None` for a word such as "max", a negative one, or no file.
fn number(file: &str) -> Option<u64> {
    fs::read_to_string(Path::new(ROOT).join(file)).ok()?.trim().parse().ok()
}

/// The number after a word in a file of such pairs.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)?
        .1
        .parse()
        .ok()
}

/// Quota and period as thousandths of a core.
fn share(file: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(quota * 1000 / period.max(1))
}
