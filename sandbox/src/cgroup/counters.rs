//! What the kernel counted for the tasks in a group.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Cgroup;
use super::layout::Layout;

/// What the kernel counted for a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) cpu_us: u64,
    /// Absent where the kernel does not keep it (cgroup v2 before Linux 5.19).
    pub(crate) ram_peak_bytes: Option<u64>,
    /// Processes killed because memory ran out, in the group or on the whole machine.
    pub(crate) oom_kills: u64,
    pub(crate) at_limit: AtLimit,
    /// Times that a fork was refused because the limit was reached.
    pub(crate) forks_refused: u64,
}

/// Whether a group was at its memory limit, so that who was killed there had to blame itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtLimit {
    /// So many times with nothing to give back: cgroup v2 counts them.
    Times(u64),
    /// At its peak or nearly so: on v1 the counter of failures misses those of memory and swap
    /// together.
    Peak(bool),
}

impl Default for AtLimit {
    fn default() -> Self {
        Self::Times(0)
    }
}

impl AtLimit {
    fn since(self, before: Self) -> Self {
        match (self, before) {
            (Self::Times(now), Self::Times(before)) => Self::Times(now.saturating_sub(before)),
            (Self::Peak(_), _) | (_, Self::Peak(_)) => self,
        }
    }
}

impl Counters {
    /// Whether memory ran out, and by the task's own fault.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let was_at_limit = match self.at_limit {
            AtLimit::Times(times) => times > 0,
            AtLimit::Peak(was_there) => was_there,
        };
        self.oom_kills > 0 && was_at_limit
    }

    /// What was counted since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            ram_peak_bytes: self.ram_peak_bytes,
            oom_kills: self.oom_kills.saturating_sub(before.oom_kills),
            at_limit: self.at_limit.since(before.at_limit),
            forks_refused: self.forks_refused.saturating_sub(before.forks_refused),
        }
    }
}

impl Cgroup {
    /// What was counted so far; what cannot be read counts as nothing.
    pub(crate) fn counters(&self) -> Counters {
        match &self.layout {
            Layout::V1 { memory, cpuacct, pids, .. } => {
                let memory = memory.join(&self.name);
                let cpu_ns = number(&cpuacct.join(&self.name).join("cpuacct.usage"));
                let peak = number(&memory.join("memory.max_usage_in_bytes"));
                let limit = number(&memory.join("memory.limit_in_bytes")).unwrap_or(u64::MAX);
                Counters {
                    cpu_us: cpu_ns.unwrap_or(0) / 1000,
                    ram_peak_bytes: peak,
                    oom_kills: field(&memory.join("memory.oom_control"), "oom_kill"),
                    at_limit: AtLimit::Peak(peak.unwrap_or(0) >= limit - limit / 16),
                    forks_refused: field(&pids.join(&self.name).join("pids.events"), "max"),
                }
            }
            Layout::V2 { base, .. } => {
                let group = base.join(&self.name);
                Counters {
                    cpu_us: field(&group.join("cpu.stat"), "usage_usec"),
                    ram_peak_bytes: match &self.peak {
                        Some(file) => held_number(file),
                        None => number(&group.join("memory.peak")),
                    },
                    oom_kills: field(&group.join("memory.events"), "oom_kill"),
                    at_limit: AtLimit::Times(field(&group.join("memory.events"), "oom")),
                    forks_refused: field(&group.join("pids.events"), "max"),
                }
            }
        }
    }

    /// Makes the peak of memory that of the next task, where this kernel can.
    pub(crate) fn reset_peak(&self) {
        // Where it fails, the peak is that of all tasks in this group: too high, never too low.
        let _too_old = match (&self.layout, &self.peak) {
            (Layout::V1 { memory, .. }, _) => {
                fs::write(memory.join(&self.name).join("memory.max_usage_in_bytes"), "0")
            }
            (Layout::V2 { .. }, Some(file)) => file.write_all_at(b"reset\n", 0),
            (Layout::V2 { .. }, None) => Ok(()),
        };
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn held_number(file: &File) -> Option<u64> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// The value of `key` in a file of lines `key value`.
fn field(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}
