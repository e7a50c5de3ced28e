//! What this machine has and what it is busy with, through sysinfo and NVML.

use std::path::Path;

use campusgrid_protocol::resource::{Capacity, Gpu, Load};
use campusgrid_protocol::text::check_label;
use nvml_wrapper::Nvml;
use sysinfo::{Disks, System};
use tracing::debug;

use crate::config::Caps;
use crate::error::WorkerError;

/// Offered unless the owner says otherwise: the rest keeps the machine usable.
const RAM_PERCENT: u64 = 80;
const SCRATCH_PERCENT: u64 = 25;

/// Offered at most: what is free belongs to the owner first.
const FREE_DISK_PERCENT: u64 = 50;

const MIB: u64 = 1 << 20;

/// What there is, before the owner's caps and the sandbox's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub name: String,
    pub cores: u32,
    pub ram_mib: u64,
    pub disk_free_mib: u64,
    pub gpus: Vec<Gpu>,
}

impl Machine {
    /// Looks at the machine; `data_dir` must exist, for its disk is the one that counts.
    ///
    /// # Errors
    ///
    /// When the system does not tell its memory or its disks.
    pub fn probe(data_dir: &Path) -> Result<Self, WorkerError> {
        let mut system = new_system()?;
        system.refresh_memory();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let limit = system.cgroup_limits().map(|limits| limits.total_memory);
        let ram = system.total_memory().min(limit.unwrap_or(u64::MAX));
        Ok(Self {
            name: System::host_name()
                .ok()
                .filter(|name| check_label(name).is_ok())
                .unwrap_or_else(|| "worker".to_owned()),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            ram_mib: ram / MIB,
            disk_free_mib: disk_free(data_dir)? / MIB,
            gpus: gpus(),
        })
    }

    /// What is offered to the grid.
    ///
    /// GPUs are seen but not offered: the sandbox cannot grant them yet.
    pub fn capacity(&self, caps: Caps) -> Capacity {
        let cores = caps.cores.unwrap_or(u32::MAX).min(self.cores);
        let share = caps.ram_mib.map_or(self.ram_mib * RAM_PERCENT / 100, u64::from);
        let share = share.min(self.ram_mib);
        // A task's scratch space is held in memory, so that its size is a hard limit everywhere,
        // and its outputs go to the disk.
        let disk_mib = caps.disk_mib.map_or(share * SCRATCH_PERCENT / 100, u64::from);
        let disk_mib = disk_mib.min(share).min(self.disk_free_mib * FREE_DISK_PERCENT / 100);
        let ram_mib = share - disk_mib;
        Capacity {
            cpu_millis: cores.saturating_mul(1000),
            ram_mib: u32::try_from(ram_mib).unwrap_or(u32::MAX),
            disk_mib: u32::try_from(disk_mib).unwrap_or(u32::MAX),
            gpus: Vec::new(),
        }
    }

    /// A line for the owner about what is there and not offered; none if nothing is.
    pub fn gpu_note(&self) -> Option<String> {
        let models: Vec<&str> = self.gpus.iter().map(|gpu| gpu.model.as_str()).collect();
        (!models.is_empty()).then(|| {
            format!("GPUs: {} found ({}), not offered yet", models.len(), models.join(", "))
        })
    }
}

/// Measures what the machine is busy with, between one call and the next.
#[derive(Debug)]
pub struct LoadMeter {
    system: System,
}

impl LoadMeter {
    /// Begins to measure.
    ///
    /// # Errors
    ///
    /// When the system tells nothing of itself.
    pub fn start() -> Result<Self, WorkerError> {
        let mut system = new_system()?;
        system.refresh_cpu_usage();
        Ok(Self { system })
    }

    /// What the machine was busy with since the last call.
    pub fn read(&mut self) -> Load {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let busy = self.system.global_cpu_usage().clamp(0.0, 100.0) * 10.0;
        Load {
            cpu_busy_permille: busy as u16,
            ram_used_mib: u32::try_from(self.system.used_memory() / MIB).unwrap_or(u32::MAX),
        }
    }
}

fn new_system() -> Result<System, WorkerError> {
    System::new().map_err(|source| WorkerError::Probe { source })
}

/// Free bytes of the file system that holds `path`.
fn disk_free(path: &Path) -> Result<u64, WorkerError> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let disks = Disks::new_with_refreshed_list().map_err(|source| WorkerError::Probe { source })?;
    let free = disks
        .iter()
        .filter(|disk| path.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().as_os_str().len())
        .map_or(0, |disk| disk.available_space());
    Ok(free)
}

/// The machine's NVIDIA GPUs; none without their driver, which is no error.
fn gpus() -> Vec<Gpu> {
    let list = || {
        let nvml = Nvml::init()?;
        (0..nvml.device_count()?)
            .map(|index| {
                let device = nvml.device_by_index(index)?;
                let memory_mib = device.memory_info()?.total / MIB;
                let memory_mib = u32::try_from(memory_mib).unwrap_or(u32::MAX);
                Ok(Gpu { model: device.name()?, memory_mib })
            })
            .collect::<Result<Vec<Gpu>, nvml_wrapper::error::NvmlError>>()
    };
    list().unwrap_or_else(|error| {
        debug!("no NVIDIA GPUs: {error}");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CAPS: Caps = Caps { cores: None, ram_mib: None, disk_mib: None };

    fn laptop() -> Machine {
        let gpus = vec![Gpu { model: "RTX 4060".to_owned(), memory_mib: 8188 }];
        Machine { name: "l".to_owned(), cores: 8, ram_mib: 16_000, disk_free_mib: 1000, gpus }
    }

    #[test]
    fn by_default_the_owner_keeps_some_of_the_memory_and_half_of_the_disk() {
        let capacity = laptop().capacity(NO_CAPS);
        // 80 % of the memory is shared; scratch space is a part of it.
        assert_eq!((capacity.cpu_millis, capacity.ram_mib, capacity.disk_mib), (8000, 12_300, 500));
        let big = Machine { disk_free_mib: 10 << 20, ..laptop() };
        let capacity = big.capacity(NO_CAPS);
        assert_eq!((capacity.ram_mib, capacity.disk_mib), (9600, 3200));
    }

    #[test]
    fn caps_lower_what_is_offered_but_cannot_invent_anything() {
        let caps = Caps { cores: Some(2), ram_mib: Some(64_000), disk_mib: Some(900) };
        let capacity = laptop().capacity(caps);
        assert_eq!((capacity.cpu_millis, capacity.ram_mib, capacity.disk_mib), (2000, 15_500, 500));
    }

    #[test]
    fn gpus_are_named_but_not_offered() {
        assert_eq!(laptop().capacity(NO_CAPS).gpus, []);
        let note = laptop().gpu_note().unwrap();
        assert_eq!(note, "GPUs: 1 found (RTX 4060), not offered yet");
    }

    #[test]
    fn this_machine_can_be_probed() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::probe(dir.path()).unwrap();
        assert!(machine.cores > 0 && machine.ram_mib > 0 && machine.disk_free_mib > 0);
    }
}
