//! Jobs whose results are a function of their input, so that whoever submits them knows what must come.

use std::collections::BTreeMap;

use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::{Submit, WorkKind};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Rounds of the generator that a task turns; some milliseconds of a shell.
const ROUNDS: u32 = 200;

/// Larger than what travels with a result, and more than one chunk. Bytes.
const BLOB_BYTES: usize = 300_000;

/// Longer than what travels with a result. Bytes.
const LOG_BYTES: usize = 100_000;

/// Milliseconds that a long task sleeps at least; longer than the leases of a storm.
const LONG_MS: u32 = 2500;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Computes a number in a shell, prints it and leaves it in a file.
    Shell,
    /// The same in Python.
    Python,
    /// The same after a sleep that is longer than a lease.
    Long,
    /// Leaves and prints more than travels with a result.
    Blob,
    /// Prints its number and ends with code 3.
    Failing,
    /// Would sleep for a minute: its submitter cancels it.
    Endless,
}

/// A job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    pub kind: Kind,
    pub input: u32,
    pub tasks: u32,
}

/// What a task comes to, unless the grid gives it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub fate: Fate,
    /// Of a task that ends by itself.
    pub stdout: Vec<u8>,
    /// Every file that it leaves, by its path.
    pub outputs: BTreeMap<String, Vec<u8>>,
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Succeeds,
    Fails,
    /// Never by itself before its time limit.
    IsCancelled,
}

impl Work {
    /// A job of any kind; more of the quick ones.
    pub fn draw(random: &mut Rng) -> Self {
        let kind = match random.u8(..20) {
            0..6 => Kind::Shell,
            6..8 => Kind::Python,
            8..13 => Kind::Long,
            13..16 => Kind::Blob,
            16..18 => Kind::Failing,
            _ => Kind::Endless,
        };
        let tasks = match kind {
            Kind::Shell if random.bool() => random.u32(2..6),
            Kind::Shell | Kind::Python | Kind::Long => 1,
            Kind::Blob | Kind::Failing | Kind::Endless => 1 + u32::from(random.u8(..4) == 0),
        };
        Self { kind, input: random.u32(1..1_000_000), tasks }
    }

    /// As it is submitted; needs little, so that some run at once on the smallest machine.
    pub fn body(&self, isolation: Option<Isolation>) -> Submit {
        let kind = match self.kind {
            Kind::Python => WorkKind::Python,
            Kind::Shell | Kind::Long | Kind::Blob | Kind::Failing | Kind::Endless => {
                WorkKind::Shell
            }
        };
        Submit {
            name: Some(format!("{:?} of {}", self.kind, self.input)),
            isolation,
            tasks: self.tasks,
            ram_mib: 64,
            disk_mib: 16,
            time_limit_s: 120,
            ..Submit::of(kind, self.source())
        }
    }

    fn source(&self) -> String {
        let Self { kind, input, .. } = self;
        let compute = format!(
            "x=$(({input} + CAMPUSGRID_TASK_INDEX * 7919)); i=0\n\
             while [ $i -lt {ROUNDS} ]; do\n\
             x=$(((x * 1103515245 + 12345) % 2147483648)); i=$((i + 1))\ndone\n"
        );
        match kind {
            Kind::Shell => format!("{compute}echo $x; echo $x > $OUTPUT_DIR/result\n"),
            Kind::Long => {
                let ms = LONG_MS + input % 1500;
                let (s, ms) = (ms / 1000, ms % 1000);
                format!("sleep {s}.{ms:03}\n{compute}echo $x; echo $x > $OUTPUT_DIR/result\n")
            }
            Kind::Blob => format!(
                "{compute}yes $x | head -c {BLOB_BYTES} > $OUTPUT_DIR/blob\n\
                 echo $x > $OUTPUT_DIR/result\nyes $x | head -c {LOG_BYTES}\n"
            ),
            Kind::Failing => format!("{compute}echo $x; exit 3\n"),
            Kind::Endless => format!("{compute}echo $x; sleep 60\n"),
            Kind::Python => format!(
                "import os\n\
                 x = {input} + int(os.environ['CAMPUSGRID_TASK_INDEX']) * 7919\n\
                 for _ in range({ROUNDS}):\n    x = (x * 1103515245 + 12345) % 2147483648\n\
                 print(x)\n\
                 open(os.path.join(os.environ['OUTPUT_DIR'], 'result'), 'w').write(f'{{x}}\\n')\n"
            ),
        }
    }

    /// What task `index` comes to.
    pub fn expected(&self, index: u32) -> Expected {
        let mut x = u64::from(self.input) + u64::from(index) * 7919;
        for _ in 0..ROUNDS {
            x = (x * 1_103_515_245 + 12_345) % 2_147_483_648;
        }
        let line = format!("{x}\n").into_bytes();
        let repeated = |bytes| line.iter().copied().cycle().take(bytes).collect();
        let result = ("result".to_owned(), line.clone());
        let (fate, stdout, outputs) = match self.kind {
            Kind::Shell | Kind::Python | Kind::Long => (Fate::Succeeds, line, vec![result]),
            Kind::Blob => {
                let blob = ("blob".to_owned(), repeated(BLOB_BYTES));
                (Fate::Succeeds, repeated(LOG_BYTES), vec![blob, result])
            }
            Kind::Failing => (Fate::Fails, line, Vec::new()),
            Kind::Endless => (Fate::IsCancelled, Vec::new(), Vec::new()),
        };
        Expected { fate, stdout, outputs: outputs.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use campusgrid_protocol::rest::WorkKind;
    use campusgrid_protocol::rest::submit::Brought;
    use fastrand::Rng;

    use super::{Fate, Kind, Work};

    /// Runs a task as the machine's own shell or Python does, and compares.
    fn check(kind: Kind) {
        let work = Work { kind, input: 77, tasks: 3 };
        let folder = std::env::temp_dir().join(format!("chaos-{kind:?}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let body = work.body(None);
        let (program, flag) = match body.kind {
            WorkKind::Python => ("python3", "-c"),
            WorkKind::Shell | WorkKind::C => ("sh", "-c"),
        };
        let mut command = Command::new(program);
        command.args([flag, &body.source]).env("OUTPUT_DIR", &folder);
        let ran = command.env("CAMPUSGRID_TASK_INDEX", "2").output().unwrap();
        let expected = work.expected(2);
        assert_eq!(ran.stdout, expected.stdout);
        assert_eq!(ran.status.success(), expected.fate == Fate::Succeeds);
        for (path, bytes) in &expected.outputs {
            assert_eq!(&std::fs::read(folder.join(path)).unwrap(), bytes, "{path}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), expected.outputs.len());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn tasks_do_what_is_expected_of_them() {
        check(Kind::Shell);
        check(Kind::Python);
        check(Kind::Long);
        check(Kind::Blob);
        check(Kind::Failing);
    }

    #[test]
    fn every_job_that_is_drawn_can_be_submitted() {
        let mut random = Rng::with_seed(1);
        for _ in 0..200 {
            let work = Work::draw(&mut random);
            assert!(work.body(None).check(Brought::Nothing).is_ok(), "{work:?}");
        }
    }
}
