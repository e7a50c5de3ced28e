//! What the parts of a test run came to, and the line that the run ends with.

use std::fmt;
use std::time::Duration;

use crate::clock::Stopwatch;

/// What one part came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Why each thing that was left out was left out.
    pub(crate) skipped: Vec<String>,
}

impl Outcome {
    pub(crate) fn one_passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    pub(crate) fn one_failed() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: vec![why.into()], ..Self::default() }
    }

    fn word(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "FAILED",
            Self { passed: 0, .. } => "skipped",
            Self { .. } => "ok",
        }
    }
}

/// The parts of a run, in their order.
#[derive(Debug, Default)]
pub(crate) struct Summary(Vec<(&'static str, Duration, Outcome)>);

impl Summary {
    /// Runs a part, with its name above what it prints.
    pub(crate) fn part(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> anyhow::Result<Outcome>,
    ) {
        println!("\n== {name}");
        let clock = Stopwatch::start();
        let outcome = run().unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Outcome::one_failed()
        });
        self.0.push((name, clock.elapsed(), outcome));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.iter().any(|(_, _, outcome)| outcome.failed > 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, took, outcome) in &self.0 {
            writeln!(f, "{name:<12} {:>7.1} s  {}", took.as_secs_f32(), outcome.word())?;
        }
        for (name, _, outcome) in &self.0 {
            for why in &outcome.skipped {
                writeln!(f, "skipped in {name}: {why}")?;
            }
        }
        let count = |what: fn(&Outcome) -> u64| -> u64 {
            self.0.iter().map(|(_, _, outcome)| what(outcome)).sum()
        };
        let skipped: usize = self.0.iter().map(|(_, _, outcome)| outcome.skipped.len()).sum();
        let (passed, failed) = (count(|it| it.passed), count(|it| it.failed));
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Summary};

    #[test]
    fn the_last_line_adds_all_parts_up() {
        let mut summary = Summary::default();
        summary.part("one", || Ok(Outcome { passed: 3, failed: 0, skipped: vec!["x".into()] }));
        summary.part("two", || anyhow::bail!("broken"));
        summary.part("three", || Ok(Outcome::skipped("no network")));
        let text = summary.to_string();
        assert!(text.ends_with("\n3 passed, 1 failed, 2 skipped"), "{text}");
        assert!(text.contains("skipped in three: no network"), "{text}");
        assert!(summary.has_failed());
    }
}
