//! How much of the machine is taken, and what fits beside it.

use std::collections::BTreeSet;

use campusgrid_protocol::resource::{Capacity, Needs};

/// What one attempt takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) needs: Needs,
    pub(super) gpus: Vec<u16>,
}

/// A sum of grants, wide enough never to overflow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    pub cpu_millis: u64,
    pub ram_mib: u64,
    pub disk_mib: u64,
    /// Places in the capacity's GPUs.
    pub gpus: BTreeSet<u16>,
}

impl Room {
    pub(super) fn add(&mut self, grant: &Grant) {
        self.cpu_millis += u64::from(grant.needs.cpu_millis);
        self.ram_mib += u64::from(grant.needs.ram_mib);
        self.disk_mib += u64::from(grant.needs.disk_mib);
        self.gpus.extend(&grant.gpus);
    }

    /// Whether a grant fits beside this much in use. Its GPUs must be other ones than those in use.
    pub(super) fn takes(&self, grant: &Grant, capacity: &Capacity) -> bool {
        let is_free = |gpu: &u16| {
            let there = capacity.gpus.get(usize::from(*gpu));
            !self.gpus.contains(gpu)
                && there.is_some_and(|there| there.memory_mib >= grant.needs.gpu_memory_mib)
        };
        let mut sum = self.clone();
        sum.add(grant);
        sum.cpu_millis <= u64::from(capacity.cpu_millis)
            && sum.ram_mib <= u64::from(capacity.ram_mib)
            && sum.disk_mib <= u64::from(capacity.disk_mib)
            && grant.gpus.iter().all(is_free)
    }
}
