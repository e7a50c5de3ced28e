//! What the daemon and the helper of one task say to each other over their socket.
//!
//! The daemon sends one order (length, JSON, contents of files), later single bytes; the helper
//! answers with one JSON event a line. The end of the daemon's side means: kill everything, exit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// Ends the processes of the task politely, the helper's own excepted; starts no further step.
pub(crate) const TERMINATE: u8 = b'T';
/// Ends the processes of the task at once; starts no further step.
pub(crate) const KILL: u8 = b'K';

/// An order is paths, arguments and environment; the kernel's own bound on those is 6 MiB.
pub(crate) const ORDER_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// Where the task finds its directory.
pub(crate) const JOB: &str = "/job";
/// Where the task leaves what is to be kept, if its environment says so.
pub(crate) const OUTPUTS: &str = "/job/outputs";
/// Where the helper mounts the scratch space, in a mount namespace that only its task shares.
///
/// Every machine has this directory, no task sees it, and nobody keeps in it what a plan may want
/// to show to its task.
pub(crate) const SCRATCH: &str = "/sys";

/// Everything that the helper must know before the first step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) walls: Walls,
    /// Paths beneath the task's directory and lengths in bytes; the contents follow in this order.
    pub(crate) files: Vec<(String, u64)>,
    pub(crate) steps: Vec<Vec<String>>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) read_only: Vec<(PathBuf, PathBuf)>,
    /// Whether to make the outputs directory.
    pub(crate) has_outputs: bool,
}

/// What stands between the task and the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Walls {
    Namespaces {
        bwrap: PathBuf,
        /// Given up for, before anything of the task runs; `None` where we are not root anyway.
        job_uid: Option<u32>,
        scratch_bytes: u64,
        scratch_files: u64,
        /// The cores that the task begins with, where no cgroup says so.
        cores: Option<BTreeSet<u32>>,
    },
    /// Nothing; this directory stands for the scratch space.
    Nothing { directory: PathBuf },
}

impl Walls {
    /// The scratch space as the helper sees it.
    pub(crate) fn scratch(&self) -> &Path {
        match self {
            Self::Namespaces { .. } => Path::new(SCRATCH),
            Self::Nothing { directory } => directory,
        }
    }
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
    /// Nothing of the task is alive, and its streams are closed.
    Done {
        scratch_full: bool,
        cpu_ms: u64,
        ram_peak_kib: u64,
    },
    /// The room could not be made, or a step could not be started.
    Failed {
        message: String,
    },
}

/// How a step ended, as far as the helper can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
    /// By our own hand.
    Killed,
    /// Bubblewrap told nothing: the step never began, or it has broken bubblewrap's init.
    Untold,
}

impl Order {
    /// The order and the contents of its files, as they are sent.
    pub(crate) fn encode(plan: &Plan, walls: Walls) -> Vec<u8> {
        let order = Self {
            walls,
            files: plan
                .files
                .iter()
                .map(|(path, content)| (path.clone(), content.len() as u64))
                .collect(),
            steps: plan.steps.iter().map(|step| step.argv.clone()).collect(),
            environment: plan.environment.clone(),
            read_only: plan.read_only.clone(),
            has_outputs: plan
                .environment
                .iter()
                .any(|(name, value)| name == "OUTPUT_DIR" && value == OUTPUTS),
        };
        let json = serde_json::to_vec(&order).expect("a checked plan has only UTF-8 in it");
        let length = u32::try_from(json.len()).expect("a checked plan is below the order's bound");
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(json);
        for (_, content) in &plan.files {
            bytes.extend(content);
        }
        bytes
    }
}
