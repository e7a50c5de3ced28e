//! Reads what the tests in the virtual machine have said.

use crate::test::vm::machine::END_MARK;

/// How a test can end.
const WORDS: [&str; 3] = ["ok", "FAILED", "ignored"];

/// Tests of walls without namespaces, which take a kernel of 6.12 and root.
const MAY_SKIP: &str = "restricted::";

/// What one run of the machine came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) passed: u64,
    /// Names of tests, and other things that must not be.
    pub(super) wrong: Vec<String>,
    /// Why tests were skipped that need a newer kernel or another user.
    pub(super) skipped: Vec<String>,
    /// What the failed tests said.
    pub(super) failures: String,
}

impl Report {
    pub(super) fn read(log: &str) -> Self {
        let mut report = Self::default();
        let mut in_failures = false;
        let mut end = None;
        let mut waiting = None;
        let mut speaker = "";
        for line in log.lines() {
            in_failures = match line {
                "failures:" => true,
                _ => in_failures && !line.starts_with("test result: "),
            };
            if in_failures {
                report.failures.push_str(line);
                report.failures.push('\n');
                continue;
            }
            waiting = begun(line).or(waiting);
            // The word follows on the same line, unless a program under test has spoken between.
            if let Some(name) = waiting
                && let Some(word) = line.split(' ').next_back().filter(|it| WORDS.contains(it))
            {
                match word {
                    "ok" => report.passed += 1,
                    _ => report.wrong.push(format!("{name}: {word}")),
                }
                waiting = None;
            }
            if let Some(name) = section(line) {
                speaker = name;
            }
            if line.starts_with("skipped: ") {
                // The machine is made for the others; were it otherwise, they would show nothing.
                let may = speaker.starts_with(MAY_SKIP);
                if may { &mut report.skipped } else { &mut report.wrong }.push(line.to_owned());
            }
            if line.contains("Out of memory: Killed") {
                report.wrong.push(line.to_owned());
            }
            if let Some((_, status)) = line.split_once(END_MARK) {
                end = Some(status.trim().to_owned());
            }
        }
        let ended = end.unwrap_or_else(|| "none at all".to_owned());
        if ended != "0" && report.wrong.is_empty() {
            report.wrong.push(format!("the scenario's exit status: {ended}"));
        }
        if report.passed == 0 && report.wrong.is_empty() {
            report.wrong.push("no test has run".to_owned());
        }
        // Each test gives the same reason.
        for words in [&mut report.wrong, &mut report.skipped] {
            words.sort();
            words.dedup();
        }
        report
    }
}

/// The name of the test that begins with a line such as `test a::b ... ok`.
fn begun(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("test ")?.split_once(" ... ")?;
    (!name.contains(' ')).then_some(name)
}

/// The test whose words follow, from a line such as `---- a::b stdout ----`.
fn section(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn what_failed_is_named_and_shown() {
        let log = "\
running 3 tests
test limits::one ... the worker says hello
ok
test limits::two ... FAILED

successes:

---- limits::one stdout ----
skipped: there is no cgroup
---- restricted::one stdout ----
skipped: the kernel is too old

failures:

---- limits::two stdout ----
it broke

failures:
    limits::two

test result: FAILED. 1 passed; 1 failed; 0 ignored
VM-END rc=101
";
        let report = Report::read(log);
        assert_eq!(report.passed, 1);
        assert_eq!(report.wrong, ["limits::two: FAILED", "skipped: there is no cgroup"]);
        assert_eq!(report.skipped, ["skipped: the kernel is too old"]);
        assert!(report.failures.contains("it broke"), "{report:?}");
    }

    #[test]
    fn a_run_without_an_end_or_without_tests_is_wrong() {
        let wrong = |log: &str| Report::read(log).wrong;
        assert!(wrong("test a ... ok\nVM-END rc=0\n").is_empty());
        assert_eq!(wrong("test a ... ok\n"), ["the scenario's exit status: none at all"]);
        assert_eq!(wrong("VM-END rc=0\n"), ["no test has run"]);
        assert_eq!(
            wrong("[ 3.0] Out of memory: Killed process 7\ntest a ... ok\nVM-END rc=0\n").len(),
            1
        );
    }
}
