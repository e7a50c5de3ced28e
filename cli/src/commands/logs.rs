//! Prints what a task prints: all there is, or as it comes.

use std::io::{BufReader, IsTerminal, Write};
use std::time::Duration;

use campusgrid_protocol::rest::{JobDetail, LogPiece};
use campusgrid_protocol::task::Stream;

use super::jobs::word;
use crate::arguments::job::Logs;
use crate::client::events::{self, Event};
use crate::client::{Ask, Client};
use crate::error::CliError;
use crate::interrupt::Farewell;
use crate::screen::{Format, note, put_bytes, visible_lines};
use crate::session::Session;

/// Between connections that end at once, as while a manager stops.
const BREAK_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn print(session: &Session, wanted: &Logs) -> Result<(), CliError> {
    let job = wanted.job.job;
    let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
    let task = task_of(&detail, wanted.job.tasks.as_deref())?;
    let streams = wanted.stream.map(Stream::from);
    if wanted.follow {
        let way_back = if detail.job.tasks > 1 { format!("{job}:{task}") } else { job.to_string() };
        let _farewell =
            Farewell::on_interrupt(format!("Job {job} goes on: campusgrid logs -f {way_back}"))?;
        return Follower { session, job, task, stream: streams, last_id: None }.follow();
    }
    let both = [Stream::Stdout, Stream::Stderr];
    let attempt = wanted.attempt.map_or_else(String::new, |number| format!("&attempt={number}"));
    for stream in both.into_iter().filter(|one| streams.is_none_or(|wanted| wanted == *one)) {
        let path = format!("jobs/{job}/logs?task={task}&stream={}{attempt}", word(&stream));
        copy(&session.client, session.screen.format, path, stream)?;
    }
    Ok(())
}

/// The only task, or the one that is named.
fn task_of(detail: &JobDetail, named: Option<&str>) -> Result<u32, CliError> {
    let job = detail.job.job;
    if let Some(named) = named {
        return named.parse().map_err(|_| {
            CliError::Usage(format!("one task at a time, such as campusgrid logs {job}:{named}"))
        });
    }
    let first = detail.array.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let first = first.parse().unwrap_or(0);
    if detail.job.tasks > 1 {
        return Err(CliError::Usage(format!(
            "job {job} has {} tasks; name one, such as campusgrid logs {job}:{first}",
            detail.job.tasks
        )));
    }
    Ok(first)
}

/// Follows the only task of a job to its end.
pub(super) fn follow(session: &Session, detail: &JobDetail) -> Result<(), CliError> {
    let task = task_of(detail, None)?;
    Follower { session, job: detail.job.job, task, stream: None, last_id: None }.follow()
}

fn copy(client: &Client, format: Format, path: String, stream: Stream) -> Result<(), CliError> {
    let mut answer = client.ask(&Ask::get(path))?;
    let text = answer.body_mut().with_config().limit(u64::MAX).read_to_vec();
    let text = text.map_err(|error| CliError::BrokenOff {
        what: "a log".to_owned(),
        source: error.into_io(),
    })?;
    match format {
        Format::Json => {
            let text = String::from_utf8_lossy(&text);
            let line = serde_json::json!({ "stream": stream, "text": text });
            put_bytes(format!("{line}\n").as_bytes());
        }
        Format::People => put(stream, &text),
    }
    Ok(())
}

/// Each stream goes where a program of one's own would have printed it; a terminal is not steered by it.
fn put(stream: Stream, bytes: &[u8]) {
    let is_shown = match stream {
        Stream::Stdout => std::io::stdout().is_terminal(),
        Stream::Stderr => std::io::stderr().is_terminal(),
    };
    let shown;
    let bytes = if is_shown {
        shown = visible_lines(&String::from_utf8_lossy(bytes));
        shown.as_bytes()
    } else {
        bytes
    };
    match stream {
        Stream::Stdout => put_bytes(bytes),
        Stream::Stderr => {
            let _ = std::io::stderr().write_all(bytes);
        }
    }
}

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    MayFollow,
    Never,
}

/// A log that is followed over as many connections as it takes.
struct Follower<'a> {
    session: &'a Session,
    job: u64,
    task: u32,
    /// Both if none is named.
    stream: Option<Stream>,
    /// The last event that was seen.
    last_id: Option<String>,
}

impl Follower<'_> {
    fn follow(&mut self) -> Result<(), CliError> {
        while self.one_connection()? == More::MayFollow {
            std::thread::sleep(BREAK_PAUSE);
        }
        Ok(())
    }

    fn one_connection(&mut self) -> Result<More, CliError> {
        let stream = self.stream.map_or_else(String::new, |one| format!("&stream={}", word(&one)));
        let path = format!("jobs/{}/logs?follow=true&task={}{stream}", self.job, self.task);
        let mut ask = Ask::get(path);
        ask.headers.extend(self.last_id.clone().map(|id| ("last-event-id", id)));
        let mut answer = self.session.client.patient().ask(&ask)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).reader();
        let mut reader = BufReader::new(body);
        loop {
            match events::next(&mut reader) {
                Ok(Some(event)) => {
                    if self.take(&event) == More::Never {
                        return Ok(More::Never);
                    }
                }
                // It broke off: the next connection goes on behind what was seen.
                Ok(None) | Err(_) => return Ok(More::MayFollow),
            }
        }
    }

    fn take(&mut self, event: &Event) -> More {
        if let Some(id) = &event.id {
            self.last_id = Some(id.clone());
        }
        match event.name.as_str() {
            "" | "message" => {
                if let Ok(piece) = serde_json::from_str::<LogPiece>(&event.data) {
                    match self.session.screen.format {
                        Format::People => put(piece.stream, piece.text.as_bytes()),
                        Format::Json => self.session.screen.object(&piece),
                    }
                }
            }
            "end" => return More::Never,
            "restart" => note(&format!("[the task starts anew: run {}]", event.data)),
            "step" if event.data != "running" && self.session.screen.is_live => {
                note(&format!("[{}]", event.data));
            }
            _ => {} // A kind of event that a later manager knows.
        }
        More::MayFollow
    }
}
