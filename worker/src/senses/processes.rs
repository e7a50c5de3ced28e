//! Programs that run on this machine other than in tasks, and what they use of its cores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::report::{Report, Said, Source};

/// The kernel's names of processes have at most so many bytes.
const COMM_MAX_BYTES: usize = 15;

/// What the worker's own processes are called, cut as the kernel cuts it. Tasks descend from them, those
/// in containers from the one that the worker puts there.
const OWN: &str = "campusgrid-work";

/// More processes than this are not looked at: somebody plays tricks.
const PROCESSES_MAX: usize = 65_536;

/// Looks at processes, and remembers what each had used.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    cores: u64,
    /// When was looked last, and what the processor time of each process was by then.
    last: Option<(u64, BTreeMap<u32, u64>)>,
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Those that were looked for.
    pub(super) programs: Vec<String>,
    pub(super) load: Report,
}

impl Found {
    /// Where nobody looks.
    pub(super) fn nothing() -> Self {
        let load = Report::new(Source::Processes, Err("no rule asks".to_owned()));
        Self { programs: Vec::new(), load }
    }
}

#[derive(Debug)]
struct Process {
    parent: u32,
    name: String,
    /// Ticks of the processor's.
    used: u64,
}

impl Processes {
    pub(super) fn new(proc: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        Self { proc: proc.to_owned(), cores, last: None }
    }

    /// Looks for programs by the names of their files, and at what all others use. Blocks for some
    /// milliseconds.
    pub(super) fn look(&mut self, boot_ms: u64, wanted: &BTreeSet<String>) -> Found {
        let processes = self.read();
        let others: BTreeMap<u32, &Process> = processes
            .iter()
            .filter(|&(&id, _)| !is_own(id, &processes))
            .map(|(&id, process)| (id, process))
            .collect();
        let programs = wanted.iter().filter(|name| {
            others.iter().any(|(&id, process)| self.is_called(id, &process.name, name))
        });
        let programs = programs.cloned().collect();
        let used: BTreeMap<u32, u64> = others.iter().map(|(&id, other)| (id, other.used)).collect();
        let load = self.load(boot_ms, &used);
        self.last = Some((boot_ms, used));
        let said = load.map(Said::Load).ok_or_else(|| "measuring".to_owned());
        Found { programs, load: Report::new(Source::Processes, said) }
    }

    /// Of all cores, since the last look. Per cent.
    fn load(&self, boot_ms: u64, used: &BTreeMap<u32, u64>) -> Option<u8> {
        let (before_ms, before) = self.last.as_ref()?;
        let passed_ms = boot_ms.saturating_sub(*before_ms);
        let ticks: u64 = used
            .iter()
            .map(|(id, used)| used.saturating_sub(before.get(id).copied().unwrap_or(0)))
            .sum();
        // Linux counts in hundredths of a second towards programs, whatever its own ticks are.
        let percent = (ticks * 10 * 100).checked_div(passed_ms * self.cores)?;
        Some(u8::try_from(percent.min(100)).unwrap_or(100))
    }

    fn read(&self) -> BTreeMap<u32, Process> {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.take(PROCESSES_MAX)
            .filter_map(|id| {
                let stat = fs::read(self.proc.join(format!("{id}/stat"))).ok()?;
                Some((id, parse(&String::from_utf8_lossy(&stat))?))
            })
            .collect()
    }

    /// Whether the program of a process has this name: by the kernel's own, which is cut short, and by
    /// that of the file that it was started from.
    fn is_called(&self, id: u32, comm: &str, name: &str) -> bool {
        let cut = name.get(..COMM_MAX_BYTES).unwrap_or(name);
        if comm == name && name.len() < COMM_MAX_BYTES {
            return true;
        }
        if comm != cut && !is_interpreted(comm) {
            return false;
        }
        let line = fs::read(self.proc.join(format!("{id}/cmdline"))).unwrap_or_default();
        line.split(|&byte| byte == 0).take(2).any(|word| {
            let word = String::from_utf8_lossy(word);
            word.rsplit('/').next() == Some(name)
        })
    }
}

/// Whether a process may be called by its interpreter, and its program stand behind that.
fn is_interpreted(comm: &str) -> bool {
    ["python", "perl", "ruby", "node", "bash", "sh", "java"]
        .iter()
        .any(|name| comm.starts_with(name))
}

/// A line of `/proc/…/stat`; names may hold anything, so they end with the last bracket.
fn parse(stat: &str) -> Option<Process> {
    let (start, rest) = stat.rsplit_once(')')?;
    let name = start.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Process { parent: u32::try_from(number(1)?).ok()?, name, used: number(11)? + number(12)? })
}

/// Whether a process belongs to the worker or to a task.
fn is_own(id: u32, processes: &BTreeMap<u32, Process>) -> bool {
    let mut next = id;
    // Processes come and go while they are read, so that even a circle could be seen.
    for _ in 0..64 {
        let Some(process) = processes.get(&next) else { return false };
        if process.name == OWN {
            return true;
        }
        next = process.parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(proc: &Path, (id, parent): (u32, u32), comm: &str, ticks: u64, line: &str) {
        let folder = proc.join(id.to_string());
        fs::create_dir_all(&folder).unwrap();
        let zeros = "0 ".repeat(9);
        let stat = format!("{id} ({comm}) S {parent} {zeros}{ticks} 0 0 0\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("cmdline"), line.replace(' ', "\0")).unwrap();
    }

    #[test]
    fn tasks_are_nobody_elses_programs() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        put(proc, (1, 0), "systemd", 10, "/sbin/init");
        put(proc, (7, 1), "zoom) (x", 20, "/opt/zoom/zoom");
        put(proc, (20, 1), "campusgrid-work", 30, "/usr/bin/campusgrid-worker");
        put(proc, (21, 20), "bwrap", 0, "bwrap");
        put(proc, (22, 21), "game", 500, "./game");
        let mut processes = Processes::new(proc);
        processes.cores = 2;
        let wanted = ["game", "zoom", "zoom) (x"].map(str::to_owned).into();
        let found = processes.look(1000, &wanted);
        assert_eq!(found.programs, ["zoom) (x"]);
        assert_eq!(found.load.said, Err("measuring".to_owned()));
        // A second later somebody has used half of one of two cores, and a task all of them.
        put(proc, (7, 1), "zoom) (x", 70, "/opt/zoom/zoom");
        put(proc, (22, 21), "game", 700, "./game");
        assert_eq!(processes.look(2000, &wanted).load.said, Ok(Said::Load(25)));
        fs::remove_dir_all(proc.join("7")).unwrap();
        let found = processes.look(3000, &wanted);
        assert_eq!((found.programs, found.load.said), (Vec::new(), Ok(Said::Load(0))));
    }

    #[test]
    fn long_names_and_scripts_are_found_by_their_files() {
        let proc = tempfile::tempdir().unwrap();
        put(proc.path(), (8, 1), "a-very-long-nam", 0, "/usr/bin/a-very-long-name --x");
        put(proc.path(), (9, 1), "python3.11", 0, "/usr/bin/python3 /home/ada/train.py");
        let mut processes = Processes::new(proc.path());
        let wanted = ["a-very-long-name", "a-very-long-nam", "train.py", "train"];
        let found = processes.look(0, &wanted.map(str::to_owned).into());
        assert_eq!(found.programs, ["a-very-long-name", "train.py"]);
    }

    #[test]
    fn this_machine_has_processes() {
        let mut processes = Processes::new(Path::new("/proc"));
        assert!(!processes.read().is_empty());
        processes.look(0, &BTreeSet::new());
        assert!(processes.look(1000, &BTreeSet::new()).load.said.is_ok());
    }
}
