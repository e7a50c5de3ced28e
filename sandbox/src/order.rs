//! What the daemon and the helper of one lane say to each other over their socket.
//!
//! The daemon sends messages of one byte, two of them with more behind it: a setup (length, JSON),
//! when the helper is in its cgroup, and then one order after the other (length, JSON, contents of
//! files; the byte brings the task's output pipes along). The helper answers with one JSON event a
//! line. The end of the daemon's side means: kill everything, exit.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::{Network, Plan, Restored};

/// A setup follows.
pub(crate) const SETUP: u8 = b'S';
/// An order follows.
pub(crate) const ORDER: u8 = b'O';
/// Ends the processes of the task politely; starts no further step.
pub(crate) const TERMINATE: u8 = b'T';
/// Ends the processes of the task at once; starts no further step.
pub(crate) const KILL: u8 = b'K';
/// Tells the processes of the task that its time is soon over; ends nothing by itself.
pub(crate) const WARN: u8 = b'W';
/// Stops the processes of the task where they are; answered by [`Event::Frozen`].
pub(crate) const FREEZE: u8 = b'F';
/// Lets them go on.
pub(crate) const THAW: u8 = b'G';
/// What the task has left was collected: clears it away and makes ready for the next order.
pub(crate) const RELEASE: u8 = b'R';

/// An order is paths, arguments and environment; the kernel's own bound on those is 6 MiB.
pub(crate) const ORDER_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// Where the task finds its directory.
pub(crate) const JOB: &str = "/job";
/// Where the task leaves what is to be kept, if its environment says so.
pub(crate) const OUTPUTS: &str = "/job/outputs";
/// What a lane has mounted for itself; of a task's view it is taken away.
pub(crate) const LANE: &str = "/.lane";
/// Where the helper mounts the scratch space of each task.
pub(crate) const SCRATCH: &str = "/.lane/scratch";

/// What stands between the tasks of a lane and the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Walls {
    Namespaces {
        /// What tasks run as; `None` where we are not root anyway.
        job_uid: Option<u32>,
        network: Network,
    },
    /// Filters only: what there is of the machine, this user must not touch.
    Filters { job_uid: u32, network: Network, directory: PathBuf },
    /// Nothing; this directory stands for the scratch space.
    Nothing { directory: PathBuf },
}

/// Everything that the helper must know before the first step of a task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Paths beneath the task's directory and lengths in bytes; the contents follow in this order.
    pub(crate) files: Vec<(String, u64)>,
    /// Names in the task's directory, and where they lead.
    pub(crate) links: Vec<(String, PathBuf)>,
    /// The same as of files beneath the directory of checkpoints; their contents follow those. None
    /// for a task without such a directory.
    pub(crate) restored: Option<Vec<(String, u64)>>,
    pub(crate) steps: Vec<Vec<String>>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) shown: Shown,
    /// Whether `/tmp` is that of the lane.
    pub(crate) shared_tmp: bool,
    pub(crate) scratch_bytes: u64,
    pub(crate) scratch_files: u64,
    pub(crate) file_bytes: u64,
    pub(crate) processes: u32,
    /// The cores that the task begins with, where no cgroup says so.
    pub(crate) cores: Option<BTreeSet<u32>>,
    /// Whether to make the outputs directory.
    pub(crate) has_outputs: bool,
}

/// What of the machine a task sees beyond what all see: host path, path inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) read_only: Vec<(PathBuf, PathBuf)>,
    pub(crate) read_write: Vec<(PathBuf, PathBuf)>,
    pub(crate) devices: Vec<PathBuf>,
}

/// What the helper tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    Began {
        step: usize,
    },
    Ended {
        step: usize,
        ending: Ending,
        run_ms: u64,
    },
    /// Nothing of the task runs any more, until it is let.
    Frozen,
    /// Nothing of the task is alive, and its streams are closed.
    Done(Done),
    /// The room could not be made, or a step could not be started.
    Failed {
        message: String,
    },
}

/// What the helper knows of a task that has ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) full: Full,
    /// Whether a file of the task has reached the limit of a single one.
    pub(crate) has_largest_file: bool,
    pub(crate) cpu_ms: u64,
    pub(crate) ram_peak_kib: u64,
}

/// What is used up of the scratch space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Full {
    Not,
    Bytes,
    Files,
}

/// How a step ended, as far as the helper can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
    /// By our own hand.
    Killed,
    /// The process above the step was killed, and not by us.
    Lost,
}

impl Order {
    /// The order and the contents of its files, as they follow [`ORDER`]; those of restored files are
    /// to be sent behind it.
    ///
    /// `cores` are those that the task begins with, where no cgroup says so.
    pub(crate) fn encode(plan: &Plan, cores: Option<BTreeSet<u32>>) -> Vec<u8> {
        let mib = |mib: u32| u64::from(mib) * 1024 * 1024;
        let has_outputs =
            |(name, value): &(String, String)| name == "OUTPUT_DIR" && value == OUTPUTS;
        let files = plan.files.iter().map(|(path, content)| (path.clone(), content.len() as u64));
        let order = Self {
            files: files.collect(),
            links: plan.links.clone(),
            restored: plan.checkpoints.as_ref().map(|checkpoints| {
                let restored = |file: &Restored| (file.path.clone(), file.size_bytes);
                checkpoints.restore.iter().map(restored).collect()
            }),
            steps: plan.steps.iter().map(|step| step.argv.clone()).collect(),
            environment: plan.environment.clone(),
            shown: Shown {
                read_only: plan.read_only.clone(),
                read_write: plan.read_write.clone(),
                devices: plan.devices.clone(),
            },
            shared_tmp: plan.shared_tmp,
            scratch_bytes: mib(plan.limits.scratch_mib),
            scratch_files: u64::from(plan.limits.scratch_files),
            file_bytes: mib(plan.limits.file_mib),
            processes: plan.limits.processes,
            cores,
            has_outputs: plan.environment.iter().any(has_outputs),
        };
        let mut bytes = frame(&order);
        for (_, content) in &plan.files {
            bytes.extend(content);
        }
        bytes
    }
}

/// A length and JSON.
pub(crate) fn frame(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("a checked plan has only UTF-8 in it");
    let length = u32::try_from(json.len()).expect("a checked plan is below the order's bound");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(json);
    bytes
}
