//! What many worlds came to, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use campusgrid_sim::oracle::{Finding, Report};

/// What goes wrong from outside, as reports name it.
const FAULTS: [&str; 22] = [
    "books broken",
    "certificate lapsed",
    "clock set",
    "join overtaken",
    "link cut",
    "link half open",
    "link stalled",
    "manager died after commit",
    "manager died before commit",
    "manager died between batches",
    "manager stood still",
    "manager's disk full",
    "manager's disk slow",
    "power lost while writing",
    "start lost",
    "worker broken",
    "worker crashed",
    "worker left",
    "worker lost power",
    "worker suspended",
    "worker taken down by a task",
    "worker's disk slow",
];

#[derive(Debug, Default)]
pub(crate) struct Summary {
    seeds: u64,
    counts: BTreeMap<&'static str, u64>,
    /// The lowest seed that failed, and how.
    failed: Option<(u64, Finding)>,
}

impl Summary {
    /// Takes in what a world came to; whether it passed.
    pub(crate) fn take(&mut self, seed: u64, result: Result<Report, Finding>) -> bool {
        self.seeds += 1;
        match result {
            Ok(report) => {
                for (what, count) in report {
                    *self.counts.entry(what).or_default() += count;
                }
                true
            }
            Err(finding) => {
                if self.failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                    self.failed = Some((seed, finding));
                }
                false
            }
        }
    }

    pub(crate) fn words(&self, took: Duration, cores: usize) -> String {
        let mut words = String::new();
        self.write(&mut words, took, cores).expect("a text takes all");
        words
    }

    fn write(&self, words: &mut String, took: Duration, cores: usize) -> std::fmt::Result {
        let count = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        let simulated_s = count("simulated ms") as f64 / 1000.0;
        let speed = simulated_s / (took.as_secs_f64() * cores as f64);
        let ended = ["task succeeded", "task failed", "task cancelled"].map(count);
        writeln!(words, "{:>12}  seeds", self.seeds)?;
        writeln!(words, "{:>12.1}  simulated hours", simulated_s / 3600.0)?;
        writeln!(words, "{speed:>12.0}  times faster than real time, on each of {cores} cores")?;
        writeln!(words, "{:>12}  tasks ended", ended.iter().sum::<u64>())?;
        writeln!(words, "{:>12}  attempts leased", count("attempt leased"))?;
        writeln!(words, "{:>12}  attempts run", count("run"))?;
        let faults: u64 = FAULTS.into_iter().map(count).sum();
        writeln!(words, "{faults:>12}  faults:")?;
        for fault in FAULTS {
            writeln!(words, "{:>12}    {fault}", count(fault))?;
        }
        writeln!(words, "and what else happened:")?;
        let is_told = |what: &&str| {
            FAULTS.contains(what) || ["simulated ms", "attempt leased", "run"].contains(what)
        };
        for (what, count) in self.counts.iter().filter(|(what, _)| !is_told(what)) {
            writeln!(words, "{count:>12}    {what}")?;
        }
        if let Some((seed, finding)) = &self.failed {
            writeln!(words, "seed {seed} failed: {finding}\nagain: {}", again(*seed))?;
        }
        Ok(())
    }
}

/// The command that plays one seed again.
pub(crate) fn again(seed: u64) -> String {
    format!("cargo xtask sim --seeds 1 --from {seed}")
}
