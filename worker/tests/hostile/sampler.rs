//! Looks at a worker's cgroups from outside while jobs run: processes, memory, processor time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::remains;

/// Below this a share of processor time says more about the clock than about the job.
const SHARE_TIME: Duration = Duration::from_millis(500);

/// The most that any one group was seen with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peaks {
    pub(crate) processes: u64,
    pub(crate) memory_bytes: u64,
    /// Of one core, in thousandths, over at least [`SHARE_TIME`]; 0 if nothing ran so long.
    pub(crate) cpu_permille: u64,
}

pub(crate) struct Sampler {
    worker: u32,
    /// Directories that groups are made in.
    bases: Vec<PathBuf>,
    first: BTreeMap<PathBuf, (Instant, u64)>,
    peaks: Peaks,
}

impl Sampler {
    pub(crate) fn of(worker: u32) -> Self {
        let groups = remains::cgroups(worker);
        let mut bases: Vec<PathBuf> =
            groups.iter().filter_map(|group| group.parent().map(Path::to_owned)).collect();
        bases.sort();
        bases.dedup();
        let mut sampler = Self { worker, bases, first: BTreeMap::new(), peaks: Peaks::default() };
        sampler.look();
        sampler
    }

    pub(crate) fn look(&mut self) {
        let ours = format!("campusgrid-{}-", self.worker);
        for base in self.bases.clone() {
            for entry in fs::read_dir(base).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&ours) {
                    self.look_at(&entry.path());
                }
            }
        }
    }

    fn look_at(&mut self, group: &Path) {
        let number = |name: &str| -> Option<u64> {
            fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
        };
        if let Some(processes) = number("pids.current") {
            self.peaks.processes = self.peaks.processes.max(processes);
        }
        // Without what the kernel can drop at once, a group's page cache.
        if let Some(bytes) = number("memory.usage_in_bytes").or_else(|| number("memory.current")) {
            self.peaks.memory_bytes = self.peaks.memory_bytes.max(bytes);
        }
        let used_us = number("cpuacct.usage").map(|ns| ns / 1000).or_else(|| {
            let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
            stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()
        });
        let Some(used_us) = used_us else { return };
        let now = Instant::now();
        let (since, before_us) = *self.first.entry(group.to_owned()).or_insert((now, used_us));
        if now - since >= SHARE_TIME {
            let passed_us = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
            let share = used_us.saturating_sub(before_us) * 1000 / passed_us;
            self.peaks.cpu_permille = self.peaks.cpu_permille.max(share);
        }
    }

    pub(crate) fn peaks(&self) -> Peaks {
        self.peaks
    }
}
