//! The hostile programs: where each lies, what language it is in, how long it may run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use campusgrid_protocol::task::{Packages, Program as Source, Work};
use serde::Deserialize;

/// Programs of ours, and one that is not hostile.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/programs");
/// Programs that were given to us; this folder is not part of the repository.
const GIVEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/hostile");
/// Seconds that a program of ours may run unless its case says otherwise.
const WALL_S: u32 = 20;

/// A program as it is submitted.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) work: Work,
    pub(crate) wall_s: u32,
}

/// One row of the given folder's manifest.
#[derive(Deserialize)]
struct Given {
    name: String,
    program: PathBuf,
    wall_s: u32,
}

/// Every program there is, by name.
pub(crate) struct Library {
    programs: BTreeMap<String, (PathBuf, u32)>,
    pub(crate) has_given: bool,
}

impl Library {
    pub(crate) fn open() -> Self {
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir(OURS).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            programs.insert(name, (path, WALL_S));
        }
        let manifest = fs::read(Path::new(GIVEN).join("manifest.json"));
        let has_given = manifest.is_ok();
        let given: Vec<Given> =
            manifest.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
        for Given { name, program, wall_s } in given {
            programs.insert(name, (Path::new(GIVEN).join(program), wall_s));
        }
        Self { programs, has_given }
    }

    /// The names of all programs but those that only serve others.
    pub(crate) fn names(&self) -> Vec<&str> {
        let serves = |name: &str| matches!(name, "prelude" | "victim");
        self.programs.keys().map(String::as_str).filter(|name| !serves(name)).collect()
    }

    /// The program of this name; none if it is in the given folder and that is absent.
    ///
    /// With `into_outputs` its directory, as its variable `JOB` says, is the one that is collected.
    pub(crate) fn program(&self, name: &str, into_outputs: bool) -> Option<Program> {
        let (path, wall_s) = self.programs.get(name)?;
        let text = fs::read_to_string(path).unwrap();
        let work = match path.extension().and_then(|extension| extension.to_str()) {
            Some("py") => {
                let mut source = String::new();
                if into_outputs {
                    source.push_str("import os; os.environ['JOB'] = os.environ['OUTPUT_DIR']\n");
                }
                if path.starts_with(OURS) {
                    let prelude = Path::new(OURS).join("prelude.py");
                    source.push_str(&fs::read_to_string(prelude).unwrap());
                }
                Work::Python { program: Source::Source(source + &text), packages: Packages::None }
            }
            Some("c") => {
                Work::C { program: Source::Source(text), flags: vec!["-pthread".to_owned()] }
            }
            Some("sh") if into_outputs => {
                let command = format!("export JOB=$OUTPUT_DIR\n{text}");
                Work::Shell { program: Source::Source(command) }
            }
            Some("sh") => Work::Shell { program: Source::Source(text) },
            _ => panic!("{} is in no language that jobs are in", path.display()),
        };
        Some(Program { work, wall_s: *wall_s })
    }
}
