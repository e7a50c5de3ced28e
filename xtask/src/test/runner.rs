//! The tests themselves: runs the runners, passes on what they say, and counts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::places::Places;
use crate::program;
use crate::summary::Outcome;

/// Before the reason that a test gives for passing without having tested.
const SKIPPED_MARK: &str = "skipped: ";

pub(super) fn nextest(places: &Places, binary: &Path) -> Result<Outcome> {
    let mut command = program::cargo(&places.root, &["nextest", "run"]);
    command.env("PATH", program::path_with(binary.parent().unwrap_or(Path::new("/")))?);
    command.args(["--workspace", "--locked", "--no-fail-fast", "--color", "never"]);
    // What passing tests print is filtered here for the reasons of those that skipped themselves.
    command.args(["--success-output", "immediate", "--failure-output", "final"]);
    let mut reader = NextestReader::default();
    let log = places.target.join("nextest.log");
    let ended_well = each_line(&mut command, &log, |line| reader.read(line))?;
    println!("(all output: {})", log.display());
    Ok(with_status(reader.outcome(), ended_well))
}

pub(super) fn doctests(places: &Places) -> Result<Outcome> {
    let mut command = program::cargo(&places.root, &["test", "--doc", "--workspace", "--locked"]);
    command.arg("--no-fail-fast");
    let mut outcome = Outcome::default();
    let log = places.target.join("doctests.log");
    let ended_well = each_line(&mut command, &log, |line| {
        if let Some((passed, failed)) = doctest_result(line) {
            outcome.passed += passed;
            outcome.failed += failed;
            passed + failed > 0
        } else {
            true
        }
    })?;
    if outcome == Outcome::default() && ended_well {
        println!("there are none");
        return Ok(Outcome::one_passed());
    }
    Ok(with_status(outcome, ended_well))
}

/// A runner that could not even compile has counted nothing.
fn with_status(outcome: Outcome, ended_well: bool) -> Outcome {
    if !ended_well && outcome.failed == 0 {
        return Outcome { failed: 1, ..outcome };
    }
    outcome
}

/// Runs a command, writes all of its output to `log` and prints the lines that `show` approves.
/// Yields whether it exited with 0.
fn each_line(
    command: &mut Command,
    log: &Path,
    mut show: impl FnMut(&str) -> bool,
) -> Result<bool> {
    let mut log =
        File::create(log).with_context(|| format!("failed to write {}", log.display()))?;
    let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    let second = writer.try_clone().context("failed to share a pipe")?;
    let line = program::shown(command);
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn();
    let mut child = child.with_context(|| format!("failed to start: {line}"))?;
    // The command holds the pipe's writing ends; the pipe closes when nobody does.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("failed to read a runner's output")?;
        let text = String::from_utf8_lossy(&line);
        writeln!(log, "{text}").context("failed to write a runner's log")?;
        if show(&text) {
            println!("{text}");
        }
    }
    Ok(child.wait().context("failed to wait for a runner")?.success())
}

/// Reads nextest's report line by line.
#[derive(Debug, Default)]
struct NextestReader {
    in_passed: bool,
    passed: u64,
    failed: u64,
    left_out: u64,
    reasons: BTreeSet<String>,
}

impl NextestReader {
    /// Whether a person wants to see the line.
    fn read(&mut self, line: &str) -> bool {
        if let Some((_, rest)) = line.split_once("tests run: ").or(line.split_once("test run: ")) {
            self.in_passed = false;
            self.read_summary(rest);
            return true;
        }
        if let Some(word) = status_word(line) {
            self.in_passed = word == "PASS";
            return true;
        }
        if !self.in_passed {
            return true;
        }
        if let Some((_, why)) = line.split_once(SKIPPED_MARK) {
            self.reasons.insert(why.trim().to_owned());
        }
        false
    }

    fn read_summary(&mut self, text: &str) {
        for part in text.split(", ") {
            // "3 passed (1 slow, 1 leaky)" is cut at its inner comma; the rest has no such word.
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed = count,
                Some("failed") => self.failed += count,
                Some("skipped") => self.left_out = count,
                Some("exec" | "timed") => self.failed += count,
                Some(_) | None => {}
            }
        }
    }

    fn outcome(self) -> Outcome {
        let mut skipped: Vec<String> = self.reasons.into_iter().collect();
        if self.left_out > 0 {
            skipped.push(format!("{} tests are marked to be ignored", self.left_out));
        }
        Outcome { passed: self.passed, failed: self.failed, skipped }
    }
}

/// The word before the time of a line such as `        PASS [   0.005s] core a_test`.
fn status_word(line: &str) -> Option<&str> {
    if line.starts_with("────") {
        return Some("rule");
    }
    let trimmed = line.trim_start();
    let word = trimmed.split_whitespace().next()?;
    let is_status = word.len() >= 4 && word.chars().all(|c| c.is_ascii_uppercase());
    (is_status && trimmed.contains(" [") && line.len() > trimmed.len()).then_some(word)
}

/// Passed and failed of `test result: ok. 1 passed; 0 failed; …`.
fn doctest_result(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut counts = rest.split("; ").map(|part| part.split_whitespace().next()?.parse().ok());
    Some((counts.next()??, counts.next()??))
}

#[cfg(test)]
mod tests {
    use super::{NextestReader, doctest_result};

    const REPORT: &str = "\
    Starting 3 tests across 1 binary
        PASS [   0.005s] (1/3) core tests::one
  stdout ───

    running 1 test
    skipped: no traces here
    test one ... ok

        FAIL [   0.005s] (2/3) core tests::two
        PASS [   0.005s] (3/3) core tests::three
  stdout ───

    running 1 test
────────────
     Summary [   0.065s] 3 tests run: 2 passed (1 slow, 1 leaky), 1 failed, 4 skipped
        FAIL [   0.005s] (2/3) core tests::two
    it broke
";

    #[test]
    fn a_report_is_counted_and_only_its_plain_lines_are_shown() {
        let mut reader = NextestReader::default();
        let shown: Vec<&str> = REPORT.lines().filter(|line| reader.read(line)).collect();
        assert!(!shown.iter().any(|line| line.contains("running 1 test")), "{shown:#?}");
        assert_eq!(shown.last(), Some(&"    it broke"));
        let outcome = reader.outcome();
        assert_eq!((outcome.passed, outcome.failed), (2, 1));
        assert_eq!(outcome.skipped, ["no traces here", "4 tests are marked to be ignored"]);
    }

    #[test]
    fn doctests_are_counted() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(doctest_result(line), Some((3, 1)));
        assert_eq!(doctest_result("running 3 tests"), None);
    }
}
