//! `cargo xtask test --vm`: the sandbox's tests in a virtual machine with cgroup v2, as root, as an
//! ordinary user with a delegated group, and as a service of systemd's.
//!
//! Most machines that run these tests have one kind of cgroups, and a test run as root shows
//! nothing about users; here both can be chosen. Needs QEMU, busybox and Debian's packages of
//! kernels; everything else is copied from this machine.
//!
//! Not part of `cargo xtask test`, which may take two minutes for it: with emulated instructions the
//! three scenarios took 95, 120 and 183 s on two busy cores, and fewer tests in the first two alone
//! 166 s on idle ones.

mod cpio;
mod image;
mod kernel;
mod machine;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::clock::Stopwatch;
use crate::interrupt::Daemons;
use crate::places::Places;
use crate::program;
use crate::setup;
use crate::summary::Outcome;
use crate::test::vm::image::Image;
use crate::test::vm::machine::{Bounds, Machine};
use crate::test::vm::report::Report;

/// What is run in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// The tests of the sandbox alone, in all scenarios: some minutes.
    Sandbox,
    /// Hostile programs through a real worker, which has to be root's or have a group of its own:
    /// most of an hour.
    Hostile,
}

/// Who runs the tests, and where their groups are made.
struct Scenario {
    name: &'static str,
    what: &'static str,
}

/// What runs workers where nobody is logged in.
const SERVICE: &str = "packaging/campusgrid-worker.service";
const ROOT: Scenario = Scenario { name: "root", what: "as root, with groups beneath the top" };
const DELEGATED: Scenario =
    Scenario { name: "delegated", what: "as a user with a delegated group" };
const SYSTEMD: Scenario =
    Scenario { name: "systemd", what: "as the worker's service under systemd" };

impl Trial {
    /// The package and its test.
    fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::Sandbox => ("campusgrid-sandbox", "sandbox"),
            Self::Hostile => ("campusgrid-worker", "hostile"),
        }
    }

    fn scenarios(self) -> &'static [Scenario] {
        match self {
            Self::Sandbox => &[ROOT, DELEGATED, SYSTEMD],
            Self::Hostile => &[ROOT, DELEGATED],
        }
    }

    /// The machine's size: its file system lies in its memory. And for how long it may run.
    fn bounds(self) -> Bounds {
        match self {
            Self::Sandbox => Bounds { ram_mib: 2000, limit: Duration::from_secs(900) },
            Self::Hostile => Bounds { ram_mib: 4000, limit: Duration::from_secs(7200) },
        }
    }
}

/// # Errors
///
/// When the tests do not compile, or the machine cannot be made or does not come to its end.
pub(super) fn run(places: &Places, trial: Trial, daemons: &Daemons) -> Result<Outcome> {
    let cache = places.cache.join("vm");
    let kernel =
        setup::install_extra(setup::Extra::VirtualMachine).and_then(|()| kernel::get(&cache));
    let kernel = match kernel {
        Ok(kernel) => kernel,
        Err(error) => return Ok(Outcome::skipped(format!("no virtual machine: {error:#}"))),
    };
    let folder = places.target.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let machine =
        Machine { kernel, archive: folder.join("image.cpio"), folder, bounds: trial.bounds() };
    let clock = Stopwatch::start();
    let made = fill(places, trial, &machine)?;
    let (mib, took) = (made.size_bytes / (1024 * 1024), clock.elapsed().as_secs_f32());
    println!("made an image of {mib} MiB in {took:.1} s");
    let mut outcome = Outcome::default();
    for scenario in trial.scenarios() {
        if scenario.name == SYSTEMD.name && !made.has_systemd {
            outcome.skipped.push("this machine has no systemd to copy".to_owned());
            continue;
        }
        let clock = Stopwatch::start();
        let report = Report::read(&machine.run(scenario.name, daemons)?);
        outcome.passed += report.passed;
        outcome.failed += report.wrong.len() as u64;
        println!(
            "{}: {} passed, {} failed in {:.0} s ({})",
            scenario.what,
            report.passed,
            report.wrong.len(),
            clock.elapsed().as_secs_f32(),
            machine.log(scenario.name).display(),
        );
        print!("{}", report.failures);
        for wrong in report.wrong {
            println!("    {wrong}");
        }
        let why = report.skipped.iter().map(|why| why.trim_start_matches("skipped: "));
        outcome.skipped.extend(why.map(|why| format!("{}: {why}", scenario.what)));
    }
    Ok(outcome)
}

struct Made {
    size_bytes: u64,
    has_systemd: bool,
}

fn fill(places: &Places, trial: Trial, machine: &Machine) -> Result<Made> {
    let mut image = Image::bare()?;
    // One process for all tests of a binary: they take turns by themselves.
    let mut script = "#!/bin/sh\n# All tests, each binary even if one before it failed.\n\
                     end=0\ncd /tmp\n"
        .to_owned();
    let mut shown = Vec::new();
    for built in built(places, trial)? {
        match built {
            Built::Program(path) => {
                image.program_in_place(&path);
                shown.push(path);
            }
            Built::Tests(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let small = machine.folder.join(name.as_ref());
                strip(&path, &small)?;
                image.program(&format!("tests/{name}"), &small);
                script
                    .push_str(&format!("/tests/{name} --test-threads=1 --show-output || end=$?\n"));
            }
        }
    }
    if trial == Trial::Hostile {
        add_hostile(places, &mut image)?;
    }
    script.push_str("exit $end\n");
    image.text("trial", 0o755, script);
    let service = places.root.join(SERVICE);
    let service = fs::read_to_string(&service).with_context(|| format!("failed to read {SERVICE}"));
    let has_systemd = image.systemd(&service?, &shown);
    Ok(Made { size_bytes: image.write(&machine.archive)?, has_systemd })
}

/// The hostile programs under the paths where their test looks for them, and what compiles them.
fn add_hostile(places: &Places, image: &mut Image) -> Result<()> {
    let given = places.root.join("../shared/hostile");
    for folder in [places.root.join("worker/tests/hostile/programs"), given] {
        // Those that do not belong to the tree may be missing.
        if let Ok(folder) = fs::canonicalize(folder) {
            image.folder(&folder, &[])?;
        }
    }
    image.writable(&places.root.join("docs/security.md"))?;
    image.compilers()
}

/// What Cargo has made.
enum Built {
    /// Started by tests under this very path.
    Program(PathBuf),
    Tests(PathBuf),
}

fn built(places: &Places, trial: Trial) -> Result<Vec<Built>> {
    let (package, test) = trial.target();
    let words = ["test", "--package", package, "--no-run", "--test", test];
    let mut cargo = program::cargo(&places.root, &words);
    cargo.args(["--locked", "--quiet", "--message-format=json-render-diagnostics"]);
    // What the compiler has to say goes to the terminal as it is.
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("failed to start cargo")?;
    if !output.status.success() {
        bail!("the tests of {package} do not compile");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let built: Vec<Built> = said.lines().filter_map(artifact).collect();
    if !built.iter().any(|built| matches!(built, Built::Tests(_))) {
        bail!("Cargo named no tests");
    }
    Ok(built)
}

/// The executable in one of Cargo's messages, if there is one.
fn artifact(line: &str) -> Option<Built> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message["executable"].as_str()?);
    let is_test = message["profile"]["test"].as_bool()?;
    Some(if is_test { Built::Tests(path) } else { Built::Program(path) })
}

/// Symbols are nine tenths of it, and would be held in the machine's memory.
fn strip(from: &Path, to: &Path) -> Result<()> {
    program::quiet(Command::new("strip").arg("-o").arg(to).arg(from)).map(|_| ())
}
