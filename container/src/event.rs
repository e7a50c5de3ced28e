//! What the worker orders of the helper in a container, and what that tells.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Worker and helper must be of one build of this room: raised when anything here changes.
pub const VERSION: u32 = 3;

/// Where the task finds its directory.
pub const JOB: &str = "/job";
/// Where the task leaves what is to be kept, if its environment says so.
pub const OUTPUTS: &str = "/job/outputs";
/// All places that a task can write to; each is a file system of its own.
pub const WRITABLE: [&str; 3] = [JOB, "/tmp", "/dev/shm"];
/// What is not taken is named up to this number; the rest is counted.
pub const NAMED_MAX: usize = 8;

/// Everything that the helper must know before the first step of a task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Paths beneath the task's directory and lengths in bytes; the contents follow in this order.
    pub files: Vec<(String, u64)>,
    /// Names in the task's directory, and where they lead.
    pub links: Vec<(String, PathBuf)>,
    /// The same as of files beneath the directory of checkpoints; their contents follow those. None
    /// for a task without such a directory.
    pub restored: Option<Vec<(String, u64)>>,
    pub steps: Vec<Vec<String>>,
    pub environment: Vec<(String, String)>,
    /// Whether to make the outputs directory.
    pub has_outputs: bool,
    /// What is to be removed afterwards.
    pub afterwards: Afterwards,
    /// A file of this length has reached its limit.
    pub file_bytes: u64,
    pub outputs: u32,
    pub outputs_bytes: u64,
    /// What is kept beside all that is in the outputs directory.
    pub patterns: Vec<String>,
    /// Names in the task's directory that no pattern means.
    pub given: BTreeSet<String>,
}

/// What becomes of what the task has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Afterwards {
    /// The container goes, and everything with it.
    Nothing,
    /// Another task of the family may come.
    Remove,
    /// The same, and it shall find `/tmp` as it is left.
    RemoveButTmp,
}

/// What the helper tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
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
    /// The task stands still, as it was told.
    Frozen,
    /// The task stands still, or is dead; the files that it goes on from follow.
    Saving,
    /// They have been sent, and the task goes on.
    Saved,
    /// What the task goes on from is as it was saved last.
    Unchanged,
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
pub struct Held {
    pub cgroup: u8,
    /// `None`: there is no limit, or none that can be read.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together.
    pub memory_swap_bytes: Option<u64>,
    pub has_swap: bool,
    pub cpu_millis: Option<u64>,
    pub processes: Option<u64>,
    /// Cores that it may run on.
    pub cores: u32,
    pub seccomp: bool,
    pub no_new_privileges: bool,
    /// The sets of capabilities, all of them together, in hexadecimal.
    pub capabilities: String,
    pub uid: u32,
    /// Space in bytes and number of files of each writable place.
    pub writable: Vec<(u64, u64)>,
    pub is_root_writable: bool,
    /// Directories beside those where it may write that something else is mounted on.
    pub stray: Vec<String>,
    /// Network interfaces but the loopback.
    pub interfaces: u32,
}

/// What is known when nothing of the task is alive any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    pub full: Option<Full>,
    pub cpu_ms: u64,
    pub ram_peak_kib: u64,
    pub oom_kills: u64,
    pub forks_refused: u64,
}

/// What the task has used up of its scratch space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Full {
    Space,
    Files,
    /// Of one file.
    File,
}

/// How a step ended, as far as the helper can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}
