//! Rules that hold for every Rust file alike.

use crate::tidy::Finding;
use crate::tidy::paths;
use crate::tidy::source::{Source, is_word};

/// Names under which anything and nothing belongs.
const NO_NAMES: [&str; 6] = ["utils", "util", "helpers", "common", "misc", "part2"];
/// Past this, a file usually holds two nouns.
const CODE_LINES_MAX: usize = 400;
/// Marks of work that was put off.
const PUT_OFF: [&str; 3] = ["TODO", "FIXME", "XXX"];
const UNBOUNDED: [&str; 5] = [
    "unbounded_channel",
    "UnboundedSender",
    "UnboundedReceiver",
    "std::sync::mpsc::channel",
    "std::sync::mpsc::Sender",
];

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    let mut find = |line: usize, rule: &'static str, message: String| {
        findings.push(Finding { path: source.path.clone(), line: line + 1, rule, message });
    };
    let first = source.lines.first().map_or("", |line| line.comment.as_str());
    if !first.starts_with("//! ") {
        find(0, "file-doc", "the first line must be a //! sentence: what it holds".to_owned());
    }
    if let Some(name) = bad_name(&source.path) {
        find(0, "file-name", format!("{name} says nothing of what it holds"));
    }
    let count = code_lines(source);
    if count > CODE_LINES_MAX {
        find(0, "file-size", format!("{count} lines of code, at most {CODE_LINES_MAX}"));
    }
    for (number, line) in source.lines.iter().enumerate() {
        if PUT_OFF.iter().any(|mark| is_put_off_without_issue(&line.comment, mark)) {
            find(number, "todo", "needs a name and an issue: TODO(name, #12)".to_owned());
        }
        let squeezed: String = line.code.chars().filter(|c| !c.is_whitespace()).collect();
        if squeezed.contains("#[allow(") || squeezed.contains("#![allow(") {
            find(number, "allow", "use #[expect(…, reason = \"…\")]".to_owned());
        }
        if line.is_test && (squeezed.contains("#[ignore") || squeezed.contains("#[should_panic")) {
            find(number, "test-ignore", "a test runs, and asserts what it expects".to_owned());
        }
    }
    for named in paths::all(&source.code()) {
        if UNBOUNDED.iter().any(|path| named.holds(path)) {
            let message = format!("{} has no bound", named.segments.join("::"));
            find(named.line, "unbounded", message);
        }
        let sleeps = named.holds("thread::sleep") || named.holds("time::sleep");
        if sleeps && source.lines.get(named.line).is_some_and(|line| line.is_test) {
            let message = "wait for what is expected, or pause the clock".to_owned();
            find(named.line, "test-sleep", message);
        }
    }
}

/// The part of a path that is no name.
fn bad_name(path: &str) -> Option<&str> {
    path.split('/').find(|part| NO_NAMES.contains(&part.trim_end_matches(".rs")))
}

fn code_lines(source: &Source) -> usize {
    source.lines.iter().filter(|line| !line.is_test && !line.code.trim().is_empty()).count()
}

fn is_put_off_without_issue(comment: &str, mark: &str) -> bool {
    let Some((before, rest)) = comment.split_once(mark) else { return false };
    if before.ends_with(is_word) || rest.starts_with(is_word) {
        return false;
    }
    let who = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(who, _)| who);
    let is_told = who.is_some_and(|who| {
        let mut parts = who.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let issue = parts.next().and_then(|part| part.strip_prefix('#')).unwrap_or_default();
        !name.is_empty() && !issue.is_empty() && issue.bytes().all(|byte| byte.is_ascii_digit())
    });
    !is_told
}
