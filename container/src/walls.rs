//! The container around a task, as it is asked of the engine, and whether it came out like that.

mod held;
mod mounts;

use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, ResourcesUlimits,
};
use campusgrid_sandbox::plan::{Network, Plan};

use crate::builder::is_builder;
use crate::image::Image;
use crate::kit::Kit;

const MIB: u64 = 1024 * 1024;
/// The runtime that starts the container counts against its memory, too.
const RAM_MIB_MIN: u64 = 32;
/// The helper.
const OUR_PROCESSES: u64 = 1;
const CPU_PERIOD_US: i64 = 100_000;
/// Of the cores' time where others want it as well: a tenth of what a container has by default.
const CPU_SHARES: i64 = 102;
/// What our own directories take of a writable place.
const OUR_BYTES: u64 = 64 * 1024;
const OUR_FILES: u64 = 16;
/// Limits on each process; not 0 for core files, since only with 1 is a core_pattern that is a pipe
/// not started either.
const ULIMITS: [(&str, i64); 7] = [
    ("core", 1),
    ("nofile", 1024),
    ("memlock", 64 * 1024),
    ("msgqueue", 64 * 1024),
    ("nice", 0),
    ("rtprio", 0),
    ("sigpending", 512),
];
/// Of all that runs as the user of our own tools, on the whole machine.
const BUILDER_USERS_PROCESSES: i64 = 16_384;
/// What engines hide by themselves, and: terminals, which all containers of a machine take from one
/// pool; what tells machines apart, and how busy they are; a file by which an image could get code into the helper.
const MASKED: [&str; 23] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/diskstats",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/locks",
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/schedstat",
    "/proc/scsi",
    "/proc/softirqs",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/dev/pts",
    "/etc/ld.so.preload",
];

/// Everything that makes a container what it is; those with equal walls can stand for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walls {
    pub(crate) image: Image,
    memory_bytes: u64,
    cpu_millis: u32,
    core_percent: u8,
    processes: u64,
    scratch_bytes: u64,
    scratch_files: u64,
    file_bytes: u64,
    read_only: Vec<(PathBuf, PathBuf)>,
    read_write: Vec<(PathBuf, PathBuf)>,
    network: Network,
    is_builders: bool,
    devices: Vec<PathBuf>,
}

/// What differs from one container to the next.
pub(crate) struct Particulars<'a> {
    pub(crate) uid: u32,
    /// Cores to run on, as in "0,2"; `None` where the engine cannot keep to them.
    pub(crate) cores: Option<String>,
    pub(crate) label: (&'a str, &'a str),
    pub(crate) kit: &'a Kit,
    pub(crate) is_podman: bool,
    /// Whether the engine can limit the number of files in scratch space.
    pub(crate) limits_files: bool,
    /// The filter of system calls as the engine takes it: its text, or its path.
    pub(crate) seccomp: &'a str,
}

/// The longest that a file of such a task may be.
pub(crate) fn file_bytes(plan: &Plan) -> u64 {
    let scratch_bytes = u64::from(plan.limits.scratch_mib) * MIB;
    let file_bytes = u64::from(plan.limits.file_mib) * MIB;
    if !plan.read_write.is_empty() {
        return file_bytes; // It may write where scratch space sets no limit.
    }
    // Above what the scratch space can hold: "no space left" is what a program understands.
    if file_bytes < scratch_bytes { file_bytes } else { scratch_bytes + 2 * OUR_BYTES }
}

impl Walls {
    pub(crate) fn new(plan: &Plan, image: Image) -> Self {
        let limits = &plan.limits;
        // Scratch space is memory as well: a task that fills what it was granted of it must still
        // have all of its memory.
        let ram_mib = u64::from(limits.ram_mib) + u64::from(limits.scratch_mib);
        Self {
            image,
            memory_bytes: ram_mib.max(RAM_MIB_MIN) * MIB,
            cpu_millis: limits.cpu_millis,
            core_percent: limits.core_percent,
            processes: u64::from(limits.processes) + OUR_PROCESSES,
            scratch_bytes: u64::from(limits.scratch_mib) * MIB + OUR_BYTES,
            scratch_files: u64::from(limits.scratch_files) + OUR_FILES,
            file_bytes: file_bytes(plan),
            read_only: plan.read_only.clone(),
            read_write: plan.read_write.clone(),
            network: plan.network,
            is_builders: is_builder(plan),
            devices: plan.devices.clone(),
        }
    }

    pub(crate) fn cpu_millis(&self) -> u32 {
        self.cpu_millis
    }

    /// What of its cores' time it has, in thousandths of one's.
    fn time_millis(&self) -> u32 {
        // The kernel takes no quota below 1 ms in 100.
        (self.cpu_millis * u32::from(self.core_percent) / 100).max(10)
    }

    /// Whether one of the worker's own tools is to run in it.
    pub(crate) fn is_builders(&self) -> bool {
        self.is_builders
    }

    /// The container as the engine's API wants it.
    pub(crate) fn request(&self, particulars: &Particulars<'_>) -> ContainerCreateBody {
        let Particulars { uid, label: (name, value), kit, .. } = particulars;
        ContainerCreateBody {
            image: Some(self.image.id.clone()),
            hostname: Some("job".to_owned()),
            user: Some(format!("{uid}:{uid}")),
            working_dir: Some("/".to_owned()),
            entrypoint: Some(kit.command.clone()),
            cmd: Some(Vec::new()),
            // What an image sets, such as LD_PRELOAD, must not get into the helper.
            env: Some(self.image.variables.iter().map(|name| format!("{name}=")).collect()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // So that the helper, and with it the container, ends when this worker does.
            stdin_once: Some(true),
            tty: Some(false),
            labels: Some([((*name).to_owned(), (*value).to_owned())].into()),
            host_config: Some(self.host_config(particulars)),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(&self, particulars: &Particulars<'_>) -> HostConfig {
        let memory = i64::try_from(self.memory_bytes).ok();
        HostConfig {
            memory,
            memory_swap: memory,
            cpu_period: Some(CPU_PERIOD_US),
            cpu_quota: Some(i64::from(self.time_millis()) * CPU_PERIOD_US / 1000),
            cpu_shares: Some(CPU_SHARES),
            cpuset_cpus: particulars.cores.clone(),
            pids_limit: i64::try_from(self.processes).ok(),
            ulimits: Some(self.ulimits()),
            network_mode: Some(match self.network {
                Network::None => "none".to_owned(),
                Network::Host => "host".to_owned(),
            }),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            readonly_rootfs: Some(true),
            tmpfs: Some(self.tmpfs(particulars.limits_files).into_iter().collect()),
            mounts: Some(self.mounts(particulars)),
            devices: Some(self.devices.iter().map(|path| device(path)).collect()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(security(particulars)),
            masked_paths: Some(MASKED.iter().map(|&path| path.to_owned()).collect()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            // So that nothing is left even if this worker never comes back. Podman forgets with the
            // container whether it ran out of memory, which must be known.
            auto_remove: Some(!particulars.is_podman),
            ..HostConfig::default()
        }
    }

    fn ulimits(&self) -> Vec<ResourcesUlimits> {
        let file_bytes = i64::try_from(self.file_bytes).unwrap_or(i64::MAX);
        // What an engine would set by itself may be too much for it.
        let processes = match self.is_builders {
            // Its uid may be the owner's, who has other programs; the container's own limit holds.
            true => BUILDER_USERS_PROCESSES,
            false => i64::try_from(4 * self.processes + 16).unwrap_or(i64::MAX),
        };
        let all = ULIMITS.into_iter().chain([("fsize", file_bytes), ("nproc", processes)]);
        all.map(|(name, limit)| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(limit),
            hard: Some(limit),
        })
        .collect()
    }
}

fn security(particulars: &Particulars<'_>) -> Vec<String> {
    let mut security =
        vec!["no-new-privileges".to_owned(), format!("seccomp={}", particulars.seccomp)];
    if particulars.is_podman {
        security.push(format!("mask={}", MASKED.join(":"))); // It passes over the other list.
    }
    security
}

fn device(path: &Path) -> DeviceMapping {
    let path = path.to_string_lossy().into_owned();
    DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rw".to_owned()),
    }
}
