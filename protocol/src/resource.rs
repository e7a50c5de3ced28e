//! What a task needs and what a machine has.

use serde::{Deserialize, Serialize};

/// What one task needs of a worker while it runs. Also the limits it runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Needs {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    pub ram_mib: u32,
    /// Scratch space: the task's directory, its outputs and `/tmp` together.
    pub disk_mib: u32,
    pub gpus: u16,
    /// Memory of each GPU, at least.
    pub gpu_memory_mib: u32,
}

impl Needs {
    /// Whole cores that a program should start threads for: the grant rounded up, at least 1.
    pub fn threads(&self) -> u32 {
        self.cpu_millis.div_ceil(1000).max(1)
    }
}

/// A GPU as NVML describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Gpu {
    pub model: String,
    pub memory_mib: u32,
    /// Version of the driver.
    pub driver: String,
}

/// What a worker offers in all, whether in use or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    pub ram_mib: u32,
    pub disk_mib: u32,
    /// A GPU's number, by which it is granted, is its place here.
    pub gpus: Vec<Gpu>,
}

/// How fast a machine is, as its worker has measured when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Speed {
    /// One core alone, in thousandths of the reference: 100,000,000 rounds of the worker's mix per second.
    pub core_permille: u32,
    /// All cores together, in the same unit.
    pub all_permille: u32,
}

/// How well a worker confines what it runs, from weakest to strongest (DESIGN §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Nothing: only the owner's own jobs may run here.
    None,
    /// Filters of the kernel and limits, but no namespaces.
    Restricted,
    /// A container of Docker or Podman.
    Docker,
    /// Namespaces, cgroup limits, filters, read-only system.
    Full,
}

/// What a machine is busy with right now, for people to look at. The scheduler uses only whether a
/// GPU that it has not granted is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Busy share of all cores, in thousandths.
    pub cpu_busy_permille: u16,
    pub ram_used_mib: u32,
    /// In the order of the capacity's GPUs; empty where nothing is known.
    pub gpus: Vec<GpuLoad>,
}

/// What a GPU is busy with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GpuLoad {
    pub busy_permille: u16,
    pub memory_used_mib: u32,
    /// Degrees Celsius.
    pub temperature_c: u16,
    /// Processes that compute on it, tasks among them.
    pub processes: u16,
}
