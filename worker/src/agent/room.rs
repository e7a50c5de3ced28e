//! How much of the machine is taken, and what fits beside it.

use campusgrid_protocol::resource::{Capacity, Needs};

/// A sum of needs, wide enough never to overflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    pub cpu_millis: u64,
    pub ram_mib: u64,
    pub disk_mib: u64,
    pub gpus: u64,
}

impl Room {
    pub(super) fn add(&mut self, needs: &Needs) {
        self.cpu_millis += u64::from(needs.cpu_millis);
        self.ram_mib += u64::from(needs.ram_mib);
        self.disk_mib += u64::from(needs.disk_mib);
        self.gpus += u64::from(needs.gpus);
    }

    /// Whether `needs` fit beside this much in use.
    pub(super) fn takes(mut self, needs: &Needs, capacity: &Capacity) -> bool {
        self.add(needs);
        let big_enough =
            capacity.gpus.iter().filter(|gpu| gpu.memory_mib >= needs.gpu_memory_mib).count();
        self.cpu_millis <= u64::from(capacity.cpu_millis)
            && self.ram_mib <= u64::from(capacity.ram_mib)
            && self.disk_mib <= u64::from(capacity.disk_mib)
            && self.gpus <= capacity.gpus.len() as u64
            && usize::from(needs.gpus) <= big_enough
    }
}
