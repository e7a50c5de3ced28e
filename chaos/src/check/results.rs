//! What tasks came to: their attempts, their fates, what they left.

use std::collections::BTreeSet;

use campusgrid_protocol::rest::{Task, TaskState};

use super::{Finding, JobTruth, Rule};
use crate::history::{Cancel, FileName, KnownJob, STDOUT};
use crate::work::{Expected, Fate};

pub(super) fn check(known: &KnownJob, truth: &JobTruth, findings: &mut Vec<Finding>) {
    let id = truth.job.job;
    for task in &truth.tasks {
        let expected = known.work.expected(task.index);
        let mut find = |rule, words: String| {
            let kind = known.work.kind;
            let words = format!("task {id}.{} ({kind:?}): {words}", task.index);
            findings.push(Finding { rule, words });
        };
        check_attempts(task, &mut find);
        check_fate(task, known, &expected, &mut find);
        if task.state == TaskState::Succeeded {
            check_files(task, truth, &expected, &mut find);
        }
    }
    check_counts(truth, findings);
    for (file, before) in &known.files {
        let now = truth.files.get(file);
        if now != Some(before) {
            let FileName { task, path } = file;
            let words = format!("task {id}.{task}: {path} was {before} and is {now:?}");
            findings.push(Finding { rule: Rule::SameResult, words });
        }
    }
}

/// What the job says of its tasks is what they say themselves. Those that never started are not listed.
fn check_counts(truth: &JobTruth, findings: &mut Vec<Finding>) {
    let (id, job) = (truth.job.job, &truth.job);
    let count = |state| truth.tasks.iter().filter(|task| task.state == state).count();
    let listed = [TaskState::Succeeded, TaskState::Failed].map(count);
    let told =
        [job.succeeded, job.failed].map(|tasks| usize::try_from(tasks).unwrap_or(usize::MAX));
    if listed != told {
        let words = format!("job {id} counts {told:?} succeeded and failed, and lists {listed:?}");
        findings.push(Finding { rule: Rule::EndsOnce, words });
    }
    let attempts = truth.tasks.iter().flat_map(|task| &task.attempts);
    let charged: i64 = attempts.map(|attempt| attempt.charged_micros).sum();
    if charged != job.charged_micros {
        let words = format!("job {id} costs {}, its attempts {charged}", job.charged_micros);
        findings.push(Finding { rule: Rule::Money, words });
    }
}

/// The grid has lost it too often and takes nothing for it. A task that fails by itself always costs
/// something.
pub(super) fn is_given_up(task: &Task) -> bool {
    let last = task.attempts.last();
    task.state == TaskState::Failed && last.is_some_and(|last| last.charged_micros == 0)
}

/// Tries are more than a storm can use up, so what is left is a task that three different workers were
/// lost with.
fn is_rightly_given_up(task: &Task) -> bool {
    let workers: BTreeSet<u64> = task.attempts.iter().map(|attempt| attempt.worker).collect();
    is_given_up(task) && workers.len() >= 3
}

fn check_attempts(task: &Task, find: &mut impl FnMut(Rule, String)) {
    let numbers: Vec<u32> = task.attempts.iter().map(|attempt| attempt.number).collect();
    let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    if !numbers.iter().copied().eq(1..=count) {
        find(Rule::Attempts, format!("its attempts have the numbers {numbers:?}"));
    }
    for (place, attempt) in task.attempts.iter().enumerate() {
        let number = attempt.number;
        if attempt.ended_at_ms.is_none() || attempt.outcome.is_none() {
            find(Rule::Attempts, format!("attempt {number} has not ended"));
        }
        if attempt.charged_micros != 0 && place + 1 < task.attempts.len() {
            let charged = attempt.charged_micros;
            find(
                Rule::Attempts,
                format!("attempt {number} is charged {charged}, and not the last"),
            );
        }
    }
}

fn check_fate(
    task: &Task,
    known: &KnownJob,
    expected: &Expected,
    find: &mut impl FnMut(Rule, String),
) {
    let may_be_cancelled = known.cancel != Cancel::No;
    let is_right = match task.state {
        TaskState::Succeeded => expected.fate == Fate::Succeeds,
        TaskState::Failed => expected.fate == Fate::Fails || is_rightly_given_up(task),
        TaskState::Cancelled => may_be_cancelled,
        TaskState::Queued | TaskState::Pausing | TaskState::Preparing | TaskState::Running => {
            find(Rule::Ends, format!("is {:?}", task.state));
            true
        }
    };
    if !is_right {
        let outcome = task.attempts.last().and_then(|last| last.outcome.clone());
        find(Rule::Fate, format!("is {:?}: {outcome:?}", task.state));
    }
}

fn check_files(
    task: &Task,
    truth: &JobTruth,
    expected: &Expected,
    find: &mut impl FnMut(Rule, String),
) {
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let named = |path: &str| FileName { task: task.index, path: path.to_owned() };
    let outputs = expected.outputs.iter().map(|(path, bytes)| (path.as_str(), bytes));
    for (path, bytes) in outputs.chain([(STDOUT, &expected.stdout)]) {
        let (found, right) = (truth.files.get(&named(path)), hash(bytes));
        if found != Some(&right) {
            find(Rule::RightResult, format!("{path} is {found:?}, not {right}"));
        }
    }
    for output in &task.outputs {
        let right = expected.outputs.get(&output.path);
        if right.is_none_or(|bytes| hash(bytes) != output.blake3) {
            find(Rule::RightResult, format!("{} is listed as {}", output.path, output.blake3));
        }
    }
}
