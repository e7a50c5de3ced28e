//! One job as it is submitted, and what came of each of its tasks.

use std::collections::BTreeMap;

use campusgrid_protocol::resource::{Isolation, Needs};
use campusgrid_protocol::task::{BlobRef, Ended, Program as Source, TaskSpec, Work};

use crate::manager::Live;
use crate::program::Program;
use crate::sampler::Peaks;

/// As the programs want it: what each gets beside one core.
pub(crate) const RAM_MIB: u32 = 256;
pub(crate) const SCRATCH_MIB: u32 = 64;
pub(crate) const PROCESSES: u32 = 64;

/// One job in the making.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) program: Program,
    pub(crate) cpu_millis: u32,
    pub(crate) tasks: u32,
    pub(crate) shared_tmp: bool,
    pub(crate) arguments: Vec<String>,
    pub(crate) inputs: Option<BlobRef>,
    pub(crate) lines: Option<String>,
    pub(crate) outputs: Vec<String>,
}

/// What came of one task.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) outputs: BTreeMap<String, Vec<u8>>,
    pub(crate) live: Live,
    /// Of all that ran with it.
    pub(crate) peaks: Peaks,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|log| String::from_utf8_lossy(log));
        format!("{stdout}{stderr}")
    }
}

impl Job {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            cpu_millis: 1000,
            tasks: 1,
            shared_tmp: false,
            arguments: Vec::new(),
            inputs: None,
            lines: None,
            outputs: Vec::new(),
        }
    }

    pub(crate) fn shell(command: &str) -> Self {
        let work = Work::Shell { program: Source::Source(command.to_owned()) };
        Self::new(Program { work, wall_s: 20 })
    }

    pub(crate) fn spec(&self) -> TaskSpec {
        TaskSpec {
            work: self.program.work.clone(),
            needs: Needs {
                cpu_millis: self.cpu_millis,
                ram_mib: RAM_MIB,
                disk_mib: SCRATCH_MIB,
                gpus: 0,
                gpu_memory_mib: 0,
            },
            time_limit_s: self.program.wall_s,
            isolation: Isolation::Restricted,
            labels: Vec::new(),
            image: None,
            shared_tmp: self.shared_tmp,
            tasks: self.tasks,
            arguments: self.arguments.clone(),
            inputs: self.inputs,
            lines: self.lines.clone(),
            outputs: self.outputs.clone(),
            warn_s: 0,
            checkpoint_s: 1,
        }
    }
}
