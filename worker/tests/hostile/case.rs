//! What is expected of a program, and the words for how it ended.

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::task::{Failure, Outcome};

use crate::canary::SECRET;
use crate::job::{PROCESSES, RAM_MIB, Ran, SCRATCH_MIB};

/// The helper, the sandbox's init and what else of ours is in the group beside a job.
const OUR_PROCESSES: u64 = 6;
/// What the kernel may count beyond a limit before it acts on it, and what of ours is in the group.
const SLACK_MIB: u64 = 32;

/// One program and the ways in which it may end.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Any of these words.
    pub(crate) ends: &'static [&'static str],
    /// What stops it, for the table.
    pub(crate) holds: &'static str,
    pub(crate) wall_s: Option<u32>,
    pub(crate) into_outputs: bool,
    pub(crate) is_alone: bool,
    /// Panics if something about the run is not as it must be.
    pub(crate) check: fn(&Ran),
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        ends: &'static [&'static str],
        holds: &'static str,
    ) -> Self {
        let (wall_s, into_outputs, is_alone) = (None, false, false);
        Self { name, ends, holds, wall_s, into_outputs, is_alone, check: |_| {} }
    }

    /// May run for so long; without this a given program has its manifest's time.
    pub(crate) const fn wall(mut self, seconds: u32) -> Self {
        self.wall_s = Some(seconds);
        self
    }

    /// Takes the directory of outputs for its own.
    pub(crate) const fn into_outputs(mut self) -> Self {
        self.into_outputs = true;
        self
    }

    /// Runs with nothing beside it, since it is measured.
    pub(crate) const fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    pub(crate) const fn check(mut self, check: fn(&Ran)) -> Self {
        self.check = check;
        self
    }

    /// What went wrong, in words; nothing if the program was held.
    pub(crate) fn complaints(&self, ran: &Ran) -> Vec<String> {
        let mut complaints = Vec::new();
        let text = ran.text();
        let breaches = text.lines().filter(|line| line.trim_start().starts_with("BREACH"));
        complaints.extend(breaches.map(str::to_owned));
        let end = word(&ran.ended.outcome);
        if !self.ends.contains(&end.as_str()) {
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            complaints.push(format!("ended with {end:?}, not {:?}: {last:?}", self.ends));
        }
        for (what, bytes) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)]
            .into_iter()
            .chain(ran.outputs.iter().map(|(path, bytes)| (path.as_str(), bytes)))
        {
            if bytes.windows(SECRET.len()).any(|window| window == SECRET) {
                complaints.push(format!("{what} holds a secret of the host"));
            }
        }
        if ran.peaks.processes > u64::from(PROCESSES) + OUR_PROCESSES {
            complaints.push(format!("{} processes at once", ran.peaks.processes));
        }
        let peak_mib = (ran.peaks.memory_bytes >> 20).max(u64::from(ran.ended.usage.ram_peak_mib));
        if peak_mib > u64::from(RAM_MIB + SCRATCH_MIB) + SLACK_MIB {
            complaints.push(format!("{peak_mib} MiB of memory at once"));
        }
        let is_hidden = |c: char| campusgrid_protocol::text::is_hidden(c);
        if ran.ended.left_behind.contains(is_hidden) {
            complaints.push(format!("unescaped names: {:?}", ran.ended.left_behind));
        }
        for path in ran.outputs.keys() {
            // What is hidden in a name that may be is shown by whoever shows it.
            if campusgrid_protocol::text::check_path(path).is_err() {
                complaints.push(format!("an output is named {path:?}"));
            }
        }
        complaints
    }

    /// The row of the table; `level` is that of the worker which ran it.
    pub(crate) fn row(&self, level: Isolation) -> String {
        format!(
            "| `{}` | {} | {} | {} |",
            self.name,
            self.ends.join(" or "),
            words(level),
            self.holds
        )
    }
}

fn words(level: Isolation) -> &'static str {
    match level {
        Isolation::None => "none",
        Isolation::Restricted => "restricted",
        Isolation::Docker => "docker",
        Isolation::Full => "full",
    }
}

/// One word, or a few, for how an attempt ended.
pub(crate) fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "done".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        // Whoever can make it the machine's fault works for nothing and is run again elsewhere.
        Outcome::Returned(fault) => format!("BREACH the worker takes the blame: {fault}"),
        Outcome::Failed(failure) => match failure {
            Failure::ExitCode(code) => format!("exit code {code}"),
            Failure::Signal(signal) => format!("signal {signal}"),
            Failure::OutOfMemory { .. } => "out of memory".to_owned(),
            Failure::TimeLimit { .. } => "time limit".to_owned(),
            Failure::ScratchFull { .. } => "scratch full".to_owned(),
            Failure::TooManyFiles { .. } => "too many files".to_owned(),
            Failure::FileTooLarge { .. } => "file too large".to_owned(),
            Failure::Processes { .. } => "too many processes".to_owned(),
            Failure::OutputFlood { .. } => "output flood".to_owned(),
            Failure::CompileError { .. } => "compile error".to_owned(),
            Failure::Requirements { .. } => "requirements".to_owned(),
            Failure::Image { .. } => "image".to_owned(),
            Failure::Inputs { .. } => "files".to_owned(),
        },
    }
}
