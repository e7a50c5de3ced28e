//! Changes jobs: cancel, hold, priority, retry, discard.

use std::process::ExitCode;

use campusgrid_protocol::rest::Submitted;
use campusgrid_protocol::rest::arrays::{self, Cancelled, ChangeJob};
use serde_json::json;
use ureq::http::Method;

use super::end_of;
use crate::arguments::job::{Cancel, ManyJobs, Priority};
use crate::arguments::submit::Retry;
use crate::client::Key;
use crate::error::CliError;
use crate::interrupt::Farewell;
use crate::session::Session;
use crate::units::credits;

pub(super) fn cancel(session: &Session, wanted: &Cancel) -> Result<(), CliError> {
    if wanted.all {
        let done: Cancelled = session.client.send(Method::POST, "jobs/cancel", &json!({}), None)?;
        session.screen.say(format!("{} jobs are being cancelled.", done.jobs));
        session.screen.object(&done);
        return Ok(());
    }
    for job in &wanted.jobs {
        let body = arrays::Cancel { tasks: job.tasks.clone() };
        session.client.tell(Method::POST, format!("jobs/{}/cancel", job.job), &body)?;
        let tasks =
            job.tasks.as_ref().map_or_else(String::new, |tasks| format!(", tasks {tasks},"));
        session.screen.say(format!("Job {}{tasks} is being cancelled.", job.job));
        session.screen.object(&json!({ "job": job.job, "tasks": job.tasks, "cancelled": true }));
    }
    Ok(())
}

/// Whether jobs may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Held,
    Free,
}

pub(super) fn hold(session: &Session, wanted: &ManyJobs, start: Start) -> Result<(), CliError> {
    let is_held = start == Start::Held;
    for job in &wanted.jobs {
        let body = ChangeJob { hold: Some(is_held), priority: None };
        session.client.tell(Method::PATCH, format!("jobs/{job}"), &body)?;
        let words = if is_held { "is held: what runs goes on" } else { "may start" };
        session.screen.say(format!("Job {job} {words}."));
        session.screen.object(&json!({ "job": job, "on_hold": is_held }));
    }
    Ok(())
}

pub(super) fn priority(session: &Session, wanted: &Priority) -> Result<(), CliError> {
    let body = ChangeJob { hold: None, priority: Some(wanted.priority) };
    session.client.tell(Method::PATCH, format!("jobs/{}", wanted.job), &body)?;
    session.screen.say(format!("Job {} has priority {}.", wanted.job, wanted.priority));
    session.screen.object(&json!({ "job": wanted.job, "priority": wanted.priority }));
    Ok(())
}

pub(super) fn retry(session: &Session, wanted: &Retry) -> Result<ExitCode, CliError> {
    let body = arrays::Retry { cancelled: wanted.cancelled };
    let path = format!("jobs/{}/retry", wanted.job);
    let made: Submitted = session.client.send(Method::POST, path, &body, Some(&Key::fresh()?))?;
    let (job, held) = (made.job, credits(made.held_micros));
    session.screen.say(format!("Job {job} runs them again, at most {held} credits."));
    if wanted.wait {
        let _farewell =
            Farewell::on_interrupt(format!("Job {job} goes on: campusgrid wait {job}"))?;
        return end_of(session, job);
    }
    session.screen.object(&made);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn discard(session: &Session, wanted: &ManyJobs) -> Result<(), CliError> {
    for job in &wanted.jobs {
        session.client.delete(format!("jobs/{job}"))?;
        session.screen.say(format!("The files and logs of job {job} are gone."));
        session.screen.object(&json!({ "job": job, "discarded": true }));
    }
    Ok(())
}
