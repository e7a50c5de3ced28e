//! What this machine has and what it is busy with, through sysinfo; of its GPUs only what they offer.

use std::path::Path;

use campusgrid_protocol::resource::{Capacity, Gpu, Load};
use campusgrid_protocol::text::check_label;
use sysinfo::System;

use crate::config::Caps;
use crate::disk::free_bytes;
use crate::error::WorkerError;
use crate::gpu::Gpus;
use crate::gpu::meter::Meter;

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
    /// Those that can be granted.
    pub gpus: Vec<Gpu>,
}

impl Machine {
    /// Looks at the machine; `data_dir` must exist, for its disk is the one that counts.
    ///
    /// # Errors
    ///
    /// When the system does not tell its memory or what is free on that disk.
    pub fn probe(data_dir: &Path, gpus: &Gpus) -> Result<Self, WorkerError> {
        let mut system = new_system()?;
        system.refresh_memory();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let limit = system.cgroup_limits().map(|limits| limits.total_memory);
        let free = free_bytes(data_dir)
            .map_err(|source| WorkerError::FreeDisk { path: data_dir.to_owned(), source })?;
        let ram = system.total_memory().min(limit.unwrap_or(u64::MAX));
        Ok(Self {
            name: System::host_name()
                .ok()
                .filter(|name| check_label(name).is_ok())
                .unwrap_or_else(|| "worker".to_owned()),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            ram_mib: ram / MIB,
            disk_free_mib: free / MIB,
            gpus: gpus.offered(),
        })
    }

    /// What is offered to the grid.
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
            gpus: self.gpus.clone(),
        }
    }
}

/// Measures what the machine is busy with, between one call and the next.
#[derive(Debug)]
pub struct LoadMeter {
    system: System,
    gpus: Meter,
}

impl LoadMeter {
    /// Begins to measure.
    ///
    /// # Errors
    ///
    /// When the system tells nothing of itself.
    pub fn start(gpus: &Gpus) -> Result<Self, WorkerError> {
        let mut system = new_system()?;
        system.refresh_cpu_usage();
        Ok(Self { system, gpus: Meter::start(gpus) })
    }

    /// What the machine was busy with since the last call.
    pub fn read(&mut self) -> Load {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let busy = self.system.global_cpu_usage().clamp(0.0, 100.0) * 10.0;
        Load {
            cpu_busy_permille: busy as u16,
            ram_used_mib: u32::try_from(self.system.used_memory() / MIB).unwrap_or(u32::MAX),
            gpus: self.gpus.take(),
        }
    }
}

fn new_system() -> Result<System, WorkerError> {
    System::new().map_err(|source| WorkerError::Probe { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CAPS: Caps = Caps { cores: None, ram_mib: None, disk_mib: None };

    fn laptop() -> Machine {
        let gpus = vec![Gpu {
            model: "RTX 4060".to_owned(),
            memory_mib: 8188,
            driver: "550.54".to_owned(),
        }];
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
    fn gpus_are_offered_whole() {
        assert_eq!(laptop().capacity(NO_CAPS).gpus, laptop().gpus);
    }

    #[tokio::test]
    async fn this_machine_can_be_probed() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::probe(dir.path(), &Gpus::find().await.0).unwrap();
        assert!(machine.cores > 0 && machine.ram_mib > 0 && machine.disk_free_mib > 0);
    }
}
