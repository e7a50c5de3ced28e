//! What the worker orders of the helper in a container, and what that tells.

use serde::{Deserialize, Serialize};

/// Worker and helper must be of one build of this room: raised when anything here changes.
pub(crate) const VERSION: u32 = 1;

/// Where the task finds its directory.
pub(crate) const JOB: &str = "/job";
/// Where the task leaves what is to be kept, if its environment says so.
pub(crate) const OUTPUTS: &str = "/job/outputs";
/// All places that a task can write to; each is a file system of its own.
pub(crate) const WRITABLE: [&str; 3] = [JOB, "/tmp", "/dev/shm"];
/// What is not taken is named up to this number; the rest is counted.
pub(crate) const NAMED_MAX: usize = 8;

/// Everything that the helper must know before the first step of a task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Paths beneath the task's directory and lengths in bytes; the contents follow in this order.
    pub(crate) files: Vec<(String, u64)>,
    pub(crate) steps: Vec<Vec<String>>,
    pub(crate) environment: Vec<(String, String)>,
    /// Whether to make the outputs directory.
    pub(crate) has_outputs: bool,
    /// What is to be removed afterwards.
    pub(crate) afterwards: Afterwards,
    /// A file of this length has reached its limit.
    pub(crate) file_bytes: u64,
    pub(crate) outputs: u32,
    pub(crate) outputs_bytes: u64,
}

/// What becomes of what the task has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Afterwards {
    /// The container goes, and everything with it.
    Nothing,
    /// Another task of the family may come.
    Remove,
    /// The same, and it shall find `/tmp` as it is left.
    RemoveButTmp,
}

/// What the helper tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It is there; once, before anything else.
    Hello {
        version: u32,
        held: Held,
    },
    Began {
        step: usize,
    },
    Ended {
        step: usize,
        ending: Ending,
        run_ms: u64,
    },
    /// Nothing of the task is alive, and all that it printed has been sent.
    Done(Done),
    /// The file whose content follows.
    File {
        path: String,
        size_bytes: u64,
    },
    /// What was not taken, and why.
    Left {
        path: String,
        why: String,
    },
    /// All outputs have been sent; so many more were left without being named.
    Collected {
        unnamed: u32,
    },
    /// All that the task has written is gone, and another one may come; or what of it is left.
    Ready {
        residue: Option<String>,
    },
    /// The helper itself could not do something.
    Failed {
        message: String,
    },
}

/// The limits as the kernel tells them from inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) cgroup: u8,
    /// `None`: there is no limit, or none that can be read.
    pub(crate) memory_bytes: Option<u64>,
    /// Memory and swap together.
    pub(crate) memory_swap_bytes: Option<u64>,
    pub(crate) has_swap: bool,
    pub(crate) cpu_millis: Option<u64>,
    pub(crate) processes: Option<u64>,
    /// Cores that it may run on.
    pub(crate) cores: u32,
    pub(crate) seccomp: bool,
    pub(crate) no_new_privileges: bool,
    /// The sets of capabilities, all of them together, in hexadecimal.
    pub(crate) capabilities: String,
    pub(crate) uid: u32,
    /// Space in bytes and number of files of each writable place.
    pub(crate) writable: Vec<(u64, u64)>,
    pub(crate) is_root_writable: bool,
    /// Directories beside those where it may write that something else is mounted on.
    pub(crate) stray: Vec<String>,
    /// Network interfaces but the loopback.
    pub(crate) interfaces: u32,
}

/// What is known when nothing of the task is alive any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) full: Option<Full>,
    pub(crate) cpu_ms: u64,
    pub(crate) ram_peak_kib: u64,
    pub(crate) oom_kills: u64,
    pub(crate) forks_refused: u64,
}

/// What the task has used up of its scratch space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Full {
    Space,
    Files,
    /// Of one file.
    File,
}

/// How a step ended, as far as the helper can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
}
