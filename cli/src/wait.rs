//! Waits for a job's end, shows how it comes along, and tells what to exit with.

use campusgrid_protocol::rest::{AttemptEnd, JobDetail, JobState, Page, Task};

use crate::client::Client;
use crate::error::{CliError, exit};
use crate::screen::Screen;
use crate::transfer::task_bar;

/// How long one request waits, where nobody looks on. Milliseconds.
const QUIET_WAIT_MS: u64 = 60_000;
/// The same, where somebody does.
const LIVE_WAIT_MS: u64 = 1_000;

/// Waits until a job has ended.
///
/// # Errors
///
/// As `Client::get`; `Usage` for a draft, which would wait for ever.
pub fn for_end(client: &Client, screen: &Screen, job: u64) -> Result<JobDetail, CliError> {
    let client = client.patient();
    let mut detail: JobDetail = client.get(format!("jobs/{job}"))?;
    if detail.job.state == JobState::Draft {
        return Err(CliError::Usage(format!("job {job} is a draft: campusgrid launch {job}")));
    }
    let bar = task_bar(screen, detail.job.tasks);
    while !has_ended(detail.job.state) {
        bar.set_position(u64::from(ended(&detail)));
        bar.set_message(stands(&detail));
        let wait_ms = if screen.is_live { LIVE_WAIT_MS } else { QUIET_WAIT_MS };
        detail = client.get(format!("jobs/{job}?wait_ms={wait_ms}"))?;
    }
    bar.finish_and_clear();
    Ok(detail)
}

pub fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Draft | JobState::Queued | JobState::Running => false,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => true,
    }
}

fn ended(detail: &JobDetail) -> u32 {
    detail.job.succeeded + detail.job.failed + detail.job.cancelled
}

/// Where a job stands, in words for the end of a line.
pub fn stands(detail: &JobDetail) -> String {
    let job = &detail.job;
    let mut words = Vec::new();
    let counts = [(job.running, "running"), (job.failed, "failed"), (job.queued, "waiting")];
    words.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| {
        if job.tasks == 1 { (*what).to_owned() } else { format!("{count} {what}") }
    }));
    if job.running == 0
        && let Some(why) = &detail.waiting
    {
        words.push(crate::screen::visible(why));
    }
    words.join(", ")
}

/// What to exit with for a job that has ended: 0 if all of it succeeded, else the exit code of the first
/// task that failed, by its index.
///
/// # Errors
///
/// As `Client::get`.
pub fn exit_code(client: &Client, detail: &JobDetail) -> Result<u8, CliError> {
    match detail.job.state {
        JobState::Succeeded => Ok(0),
        JobState::Cancelled => Ok(exit::CANCELLED),
        JobState::Draft | JobState::Queued | JobState::Running => Ok(exit::REFUSED),
        JobState::Failed => {
            let path = format!("jobs/{}/tasks?state=failed&limit=1", detail.job.job);
            let page: Page<Task> = client.patient().get(path)?;
            Ok(page
                .items
                .first()
                .map_or(exit::REFUSED, |task| of_failed(task, detail.time_limit_s)))
        }
    }
}

/// That of a task which has failed.
fn of_failed(task: &Task, time_limit_s: u32) -> u8 {
    let Some(last) = task.attempts.last() else { return exit::REFUSED };
    if last.end == Some(AttemptEnd::Returned) {
        return exit::GRID_FAILED;
    }
    match last.exit_code {
        // A shell reads the lowest eight bits; what they make a success of is none.
        Some(code) => {
            u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(exit::REFUSED)
        }
        None if last.run_ms >= u64::from(time_limit_s) * 1000 => exit::TIME_LIMIT,
        None => exit::NO_EXIT_CODE,
    }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rest::Task;
    use serde_json::json;

    use super::of_failed;
    use crate::error::exit;

    fn task(end: &str, exit_code: Option<i32>, run_ms: u64) -> Task {
        serde_json::from_value(json!({
            "index": 1, "state": "failed", "outputs": [], "left_behind": "", "saved_ms": 0,
            "checking": 0, "reason": "",
            "attempts": [{
                "number": 1, "worker": 1, "worker_name": "w", "gpus": [], "leased_at_ms": 0,
                "started_at_ms": 0, "ended_at_ms": 1, "end": end, "outcome": "x",
                "exit_code": exit_code, "run_ms": run_ms, "cpu_ms": 0, "ram_peak_mib": 0,
                "price_micros": 0, "charged_micros": 0,
            }],
        }))
        .unwrap()
    }

    #[test]
    fn a_failed_task_tells_what_to_exit_with() {
        for (end, exit_code, run_ms, expected) in [
            ("failed", Some(3), 10, 3),
            ("failed", Some(137), 10, 137),
            ("failed", Some(256), 10, exit::REFUSED),
            ("failed", None, 60_001, exit::TIME_LIMIT),
            ("failed", None, 10, exit::NO_EXIT_CODE),
            ("returned", None, 10, exit::GRID_FAILED),
        ] {
            assert_eq!(of_failed(&task(end, exit_code, run_ms), 60), expected);
        }
    }
}
