//! Where a job stands: how many of its tasks are how far, why some wait, failed or left files behind.

use campusgrid_protocol::rest::{self, JobDetail, TaskState};

use crate::web::advice::next_step;
use crate::web::words;

/// What failed.
pub(super) struct FailedView {
    /// How the first failed task ended, in words.
    pub(super) reason: String,
    /// What to do about it; empty if the reason says so.
    pub(super) next_step: &'static str,
    /// The task, unless there is only one or it is not at hand.
    pub(super) task: Option<u32>,
}

/// How many tasks are where.
pub(super) struct Progress {
    pub(super) tasks: u32,
    pub(super) queued: u32,
    pub(super) running: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
    pub(super) ended: u32,
}

/// What a task could not hand over.
pub(super) struct LeftBehind {
    pub(super) task: u32,
    pub(super) why: String,
}

impl FailedView {
    pub(super) fn new(detail: &JobDetail) -> Option<Self> {
        let (tasks, failed) = (detail.job.tasks, detail.job.failed);
        let mut listed = detail.task_list.iter();
        let Some(task) = listed.find(|task| task.state == TaskState::Failed) else {
            // Only the first tasks are at hand, and the failed one is none of them.
            let reason = words::counted(failed.into(), "later task failed", "later tasks failed");
            return (failed > 0).then_some(Self { reason, next_step: "", task: None });
        };
        let outcome = task.attempts.last().and_then(|attempt| attempt.outcome.as_deref());
        let why = Some(task.reason.as_str()).filter(|reason| !reason.is_empty()).or(outcome);
        let why = why.unwrap_or("it failed");
        let others = match failed.saturating_sub(1) {
            0 => String::new(),
            others => format!(" ({others} more failed)"),
        };
        let runs = match task.attempts.len() {
            0 | 1 => String::new(),
            runs => format!(" (it was started {runs} times)"),
        };
        let why_shown = words::one_line(why) + &runs;
        let reason =
            if tasks > 1 { format!("task {}: {why_shown}{others}", task.index) } else { why_shown };
        let next_step = match next_step(why) {
            "" => next_step(outcome.unwrap_or_default()),
            step => step,
        };
        let task = (tasks > 1).then_some(task.index);
        Some(Self { reason, next_step, task })
    }
}

impl FailedView {
    /// Whether it tells this already.
    pub(super) fn says(&self, note: &str) -> bool {
        self.reason.contains(words::one_line(note).as_str())
    }
}

impl Progress {
    /// A number of tasks as people read it, its digits in threes.
    pub(super) fn shown(&self, count: &u32) -> String {
        grouped(*count)
    }

    pub(super) fn new(job: &rest::Job) -> Self {
        Self {
            tasks: job.tasks,
            queued: job.queued,
            running: job.running,
            succeeded: job.succeeded,
            failed: job.failed,
            cancelled: job.cancelled,
            ended: job.succeeded + job.failed + job.cancelled,
        }
    }
}

/// Why it waits. Just after submitting the scheduler's own words may not be out yet.
pub(super) fn waiting(detail: &JobDetail) -> String {
    let waits = detail.job.queued > 0;
    let words = || "it will be placed in a moment".to_owned();
    if waits { detail.waiting.clone().unwrap_or_else(words) } else { String::new() }
}

pub(super) fn left_behind(detail: &JobDetail) -> Vec<LeftBehind> {
    let tasks = detail.task_list.iter().filter(|task| !task.left_behind.is_empty());
    tasks
        .map(|task| LeftBehind { task: task.index, why: words::one_line(&task.left_behind) })
        .collect()
}

/// A number with its digits in threes: there can be a million tasks.
pub(super) fn grouped(count: u32) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_threes() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
