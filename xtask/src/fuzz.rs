//! `cargo xtask fuzz`: runs the fuzzer's targets one after the other and tells how often each was run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::places::Places;
use crate::program;
use crate::setup;

/// Without `--seconds`.
const SECONDS: u64 = 60;
/// An input that takes longer is a finding. Seconds.
const SLOW_S: u32 = 10;
/// A target that takes more is a finding. MiB.
const MEMORY_MIB: u32 = 2048;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    seconds: u64,
    /// None: all there are.
    targets: Vec<String>,
}

impl Options {
    /// # Errors
    ///
    /// For anything but `--seconds N` and names of targets.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self { seconds: SECONDS, targets: Vec::new() };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--seconds" => {
                    let seconds = words.next().context("--seconds needs a number")?;
                    options.seconds =
                        seconds.parse().with_context(|| format!("--seconds {seconds}"))?;
                }
                option if option.starts_with('-') => bail!("unknown option: {option}"),
                target => options.targets.push(target.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Where one target's things lie.
struct Target {
    name: String,
    binary: PathBuf,
    /// In the checkout: kept, and replayed by every test run.
    seeds: PathBuf,
    /// In the cache: what the fuzzer finds worth keeping for its next run.
    found: PathBuf,
    /// In the checkout, but not committed: inputs that broke a promise.
    artifacts: PathBuf,
    dictionary: PathBuf,
}

/// # Errors
///
/// When the targets cannot be built or run; what they find is told by the exit status.
pub(crate) fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let fuzz = places.root.join("fuzz");
    let target_dir = places.cache.join("fuzz");
    build(places, &fuzz, &target_dir)?;
    let names = chosen(&fuzz, &options.targets)?;
    let mut broken = 0;
    for name in names {
        let target = Target::new(&fuzz, &target_dir, name);
        broken += u32::from(!target.run(options.seconds)?);
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(places: &Places, fuzz: &Path, target_dir: &Path) -> Result<()> {
    let cargo_fuzz = setup::cargo_fuzz(places)?;
    // Nothing that is fuzzed has unsafe code, for which a sanitizer would be: without one, the stable
    // compiler will do, and the targets run more than twice as often.
    let words = ["fuzz", "build", "--sanitizer", "none"];
    let mut command = program::cargo(&places.root, &words);
    command.env("PATH", program::path_with(cargo_fuzz.parent().unwrap_or(Path::new("/")))?);
    command.arg("--fuzz-dir").arg(fuzz).arg("--target-dir").arg(target_dir);
    program::run(&mut command)
}

/// The targets that were named, or all.
fn chosen(fuzz: &Path, named: &[String]) -> Result<Vec<String>> {
    let folder = fuzz.join("corpus");
    let entries = fs::read_dir(&folder);
    let entries = entries.with_context(|| format!("failed to read {}", folder.display()))?;
    let mut all = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    all.sort();
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("unknown target: {unknown}; there are {}", all.join(", "));
    }
    Ok(if named.is_empty() { all } else { named.to_vec() })
}

impl Target {
    fn new(fuzz: &Path, target_dir: &Path, name: String) -> Self {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        Self {
            binary: target_dir.join(triple).join("release").join(&name),
            seeds: fuzz.join("corpus").join(&name),
            found: target_dir.join("corpus").join(&name),
            artifacts: fuzz.join("artifacts").join(&name),
            dictionary: fuzz.join("dictionaries").join(format!("{name}.dict")),
            name,
        }
    }

    /// Runs it and prints a line; yields whether it kept its promises.
    fn run(&self, seconds: u64) -> Result<bool> {
        for folder in [&self.found, &self.artifacts] {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let log = self.found.with_extension("log");
        let output =
            File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
        let mut command = Command::new(&self.binary);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-timeout={SLOW_S}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        command.arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        if self.dictionary.exists() {
            command.arg(format!("-dict={}", self.dictionary.display()));
        }
        command.arg(&self.found).arg(&self.seeds);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let status = command.status();
        let status =
            status.with_context(|| format!("failed to start {}", self.binary.display()))?;
        let said = fs::read(&log).with_context(|| format!("failed to read {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let ran = executions(&said).unwrap_or(0);
        if status.success() {
            println!("{:16} {ran:>12} executions in {seconds} s, no findings", self.name);
        } else {
            println!("{:16} {ran:>12} executions, then: {status}", self.name);
            println!("{}", program::last_lines(&said, 20));
            println!("the input is in {}", self.artifacts.display());
            println!("again: {} FILE", self.binary.display());
        }
        Ok(status.success())
    }
}

/// How often a target was run, from the fuzzer's last words.
fn executions(said: &str) -> Option<u64> {
    let line =
        said.lines().rev().find(|line| line.starts_with("stat::number_of_executed_units:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Options, executions};

    #[test]
    fn seconds_and_targets_may_be_named() {
        let parse = |words: &[&str]| Options::parse(words).ok().map(|it| (it.seconds, it.targets));
        assert_eq!(parse(&[]), Some((60, Vec::new())));
        assert_eq!(parse(&["--seconds", "5", "lock"]), Some((5, vec!["lock".to_owned()])));
        assert_eq!(parse(&["--seconds"]), None);
        assert_eq!(parse(&["--second", "5"]), None);
    }

    #[test]
    fn executions_are_read_from_the_last_words() {
        let said = "#12\tDONE\nDone 12 runs in 1 second(s)\nstat::number_of_executed_units: 12\n\
                    stat::average_exec_per_sec:     12\n";
        assert_eq!(executions(said), Some(12));
        assert_eq!(executions("no words"), None);
    }
}
