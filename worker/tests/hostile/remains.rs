//! Looks on the host for what a job may have left: processes, cgroups, mounts, IPC objects, files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The uids that jobs run as where the worker is root.
const JOB_UIDS: std::ops::Range<u32> = 60_000..60_256;
/// Where a file of a job's might land on the host, if it found a way out.
const PLACES: [&str; 5] = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/root"];
/// Deeper than any path that a program here tries.
const DEPTH: usize = 4;

/// One process as /proc shows it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) cgroups: String,
    words: String,
    uid: u32,
    parent: u32,
    program: Option<PathBuf>,
}

/// What was there before the first job, and whose jobs they are.
pub(crate) struct Remains {
    pub(crate) worker: u32,
    program: PathBuf,
    spared: Vec<u32>,
    mounts: BTreeSet<String>,
    queues: BTreeSet<String>,
}

impl Remains {
    /// `spared` are processes of jobs' uids that the test itself has started.
    pub(crate) fn watch(worker: u32, spared: Vec<u32>) -> Self {
        let program = fs::canonicalize(env!("CARGO_BIN_EXE_campusgrid-worker")).unwrap();
        Self { worker, program, spared, mounts: mounts(worker), queues: queues() }
    }

    /// Takes the processes of the job that runs now for no remains.
    pub(crate) fn spare_what_runs(&mut self) {
        let running: Vec<u32> = self.strangers().iter().map(|process| process.pid).collect();
        self.spared.extend(running);
    }

    /// Takes none but these processes for no remains.
    pub(crate) fn spare(&mut self, pids: Vec<u32>) {
        self.spared = pids;
    }

    /// What jobs have left, in words; while the worker lives, what it keeps ready is its own.
    pub(crate) fn found(&self) -> Vec<String> {
        let strangers = self.strangers();
        let mut found: Vec<String> =
            strangers.iter().map(|process| format!("process {}", process.words)).collect();
        found.extend(mounts(self.worker).difference(&self.mounts).map(|m| format!("mount {m}")));
        found.extend(segments());
        found.extend(queues().difference(&self.queues).map(|name| format!("queue {name}")));
        for place in PLACES {
            files(Path::new(place), DEPTH, &mut found);
        }
        found
    }

    /// Whether this is the worker's binary, be it that somebody has built it anew meanwhile.
    fn is_ours(&self, program: &Path) -> bool {
        let name = program.to_string_lossy();
        self.program == Path::new(name.trim_end_matches(" (deleted)"))
    }

    /// Processes that are a job's: in a group of our worker's without being it, or of a job's uid
    /// outside all groups, and without a parent of another worker's.
    fn strangers(&self) -> Vec<Process> {
        let ours = format!("campusgrid-{}-", self.worker);
        let is_stranger = |process: &Process| {
            if self.spared.contains(&process.pid) {
                return false;
            }
            if process.cgroups.contains(&ours) {
                return !process.program.as_deref().is_some_and(|program| self.is_ours(program));
            }
            let is_confined = ["campusgrid-", "docker", "libpod"]
                .iter()
                .any(|word| process.cgroups.contains(word));
            let is_lost = process.parent == 1 || process.parent == self.worker;
            JOB_UIDS.contains(&process.uid) && !is_confined && is_lost
        };
        processes().into_iter().filter(is_stranger).collect()
    }
}

/// All processes of the machine that can still be looked at.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let uid = fs::metadata(&directory).ok()?.uid();
        let status = fs::read_to_string(directory.join("status")).ok()?;
        let number = |name: &str| -> Option<u32> {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()?.parse().ok()
        };
        let real = number("Uid:")?;
        let head: String = status.lines().take(3).collect::<Vec<_>>().join(" ");
        Some(Process {
            pid,
            cgroups: fs::read_to_string(directory.join("cgroup")).ok()?,
            words: format!("{pid} of uid {real} ({head})"),
            uid: if JOB_UIDS.contains(&real) { real } else { uid },
            parent: number("PPid:")?,
            program: fs::read_link(directory.join("exe")).ok(),
        })
    })
    .collect()
}

/// The groups that a worker has made, in all hierarchies.
pub(crate) fn cgroups(worker: u32) -> Vec<PathBuf> {
    let ours = format!("campusgrid-{worker}-");
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// Groups with nothing in them, though their worker lives.
pub(crate) fn empty_cgroups(worker: u32) -> Vec<String> {
    let is_empty = |path: &PathBuf| {
        // A group that has groups of its own in it is not one that tasks run in.
        fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
            && cgroups_in(path) == 0
    };
    let empty = cgroups(worker).into_iter().filter(is_empty);
    empty.map(|path| format!("empty cgroup {}", path.display())).collect()
}

fn cgroups_in(path: &Path) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

/// Mounts that the host and the worker see and that could be a job's.
fn mounts(worker: u32) -> BTreeSet<String> {
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_worker = fs::read_to_string(format!("/proc/{worker}/mountinfo")).unwrap_or_default();
    let lines = host.lines().chain(of_worker.lines());
    let could_be = |line: &&str| line.contains("campusgrid") || line.contains(",uid=6");
    lines.filter(could_be).map(str::to_owned).collect()
}

/// Objects of System V that belong to jobs.
fn segments() -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["shm", "sem", "msg"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let mut lines = table.lines();
        let column = lines.next().and_then(|head| head.split_whitespace().position(|n| n == "uid"));
        for line in lines {
            let uid = column.and_then(|column| line.split_whitespace().nth(column)?.parse().ok());
            if uid.is_some_and(|uid: u32| JOB_UIDS.contains(&uid)) {
                found.push(format!("{kind} object {line}"));
            }
        }
    }
    found
}

/// Names of the host's own message queues.
fn queues() -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let (none, flags) = (None::<&str>, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    if mount(Some("mqueue"), directory.path(), Some("mqueue"), flags, none).is_err() {
        return BTreeSet::new(); // Whoever may not mount is no root, and has no queues to lose.
    }
    let entries = fs::read_dir(directory.path()).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    umount2(directory.path(), MntFlags::MNT_DETACH).unwrap();
    names
}

/// Files that belong to a job's uid.
fn files(directory: &Path, depth: usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if JOB_UIDS.contains(&metadata.uid()) {
            found.push(format!("file {}", entry.path().display()));
        }
        if metadata.is_dir() && depth > 1 {
            files(&entry.path(), depth - 1, found);
        }
    }
}
