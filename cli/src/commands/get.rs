//! Brings outputs to this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use campusgrid_protocol::pattern::matches;
use campusgrid_protocol::rest::{JobDetail, OutputFile};
use campusgrid_protocol::text::check_pattern;
use serde_json::json;

use super::files::each_output;
use crate::arguments::job::Get;
use crate::client::address::encoded;
use crate::error::CliError;
use crate::screen::visible;
use crate::session::Session;
use crate::transfer::bar;
use crate::transfer::download::{Downloader, Fetched, InTheWay};
use crate::units::bytes;

/// An output, and where it goes below the folder.
struct Wanted {
    task: u32,
    file: OutputFile,
    place: String,
}

/// How files lie below the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Those of each task in a folder of its index.
    ByTask,
    Together,
}

impl Layout {
    fn of(wanted: &Get, detail: &JobDetail) -> Self {
        if detail.job.tasks > 1 && !wanted.flat { Self::ByTask } else { Self::Together }
    }
}

pub(super) fn get(session: &Session, wanted: &Get) -> Result<(), CliError> {
    for pattern in &wanted.patterns {
        check_pattern(pattern).map_err(|error| CliError::Usage(format!("{pattern:?} {error}")))?;
    }
    if wanted.zip {
        return get_zip(session, wanted);
    }
    let job = wanted.job.job;
    let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
    let files = wanted_files(session, wanted, Layout::of(wanted, &detail))?;
    if files.is_empty() {
        session.screen.say(match detail.job.kept_until_ms {
            None if detail.job.ended_at_ms.is_some() => "Its files are no longer kept.",
            None | Some(_) => "It has left no such files.",
        });
        return Ok(());
    }
    let folder = wanted.dir.clone().unwrap_or_else(|| PathBuf::from(format!("job-{job}")));
    let bar = bar(&session.screen, files.iter().map(|wanted| wanted.file.size_bytes).sum());
    let downloader = Downloader {
        client: session.client.patient(),
        folder: folder.clone(),
        in_the_way: in_the_way(wanted),
        bar: &bar,
    };
    let (mut new, mut there) = (0_usize, 0_usize);
    for Wanted { task, file, place } in &files {
        bar.set_message(visible(place));
        let fetched = downloader.fetch(job, *task, file, place)?;
        match fetched {
            Fetched::New => new += 1,
            Fetched::There => there += 1,
        }
        session.screen.object(&json!({
            "task": task, "path": file.path, "file": folder.join(place), "size_bytes": file.size_bytes,
            "blake3": file.blake3, "was_there": fetched == Fetched::There,
        }));
    }
    bar.finish_and_clear();
    let before = if there > 0 { format!(", {there} were there") } else { String::new() };
    session.screen.say(format!("{new} files in {}{before}", folder.display()));
    Ok(())
}

fn in_the_way(wanted: &Get) -> InTheWay {
    if wanted.force { InTheWay::Replace } else { InTheWay::Keep }
}

fn wanted_files(session: &Session, wanted: &Get, layout: Layout) -> Result<Vec<Wanted>, CliError> {
    let is_wanted = |path: &str| {
        wanted.patterns.is_empty() || wanted.patterns.iter().any(|pattern| matches(pattern, path))
    };
    let mut files = Vec::new();
    each_output(&session.client, &wanted.job, |task, file| {
        if is_wanted(&file.path) {
            let place = match layout {
                Layout::ByTask => format!("{task}/{}", file.path),
                Layout::Together => file.path.clone(),
            };
            files.push(Wanted { task, file, place });
        }
    })?;
    let mut places: BTreeMap<&str, &Wanted> = BTreeMap::new();
    for file in &files {
        if let Some(other) = places.insert(&file.place, file)
            && other.file.blake3 != file.file.blake3
        {
            return Err(CliError::Usage(format!(
                "tasks {} and {} have both left {:?}: get them without --flat",
                other.task, file.task, file.place
            )));
        }
    }
    Ok(files)
}

fn get_zip(session: &Session, wanted: &Get) -> Result<(), CliError> {
    let job = wanted.job.job;
    let mut query = Vec::new();
    if let Some(tasks) = &wanted.job.tasks {
        let task: u32 = tasks
            .parse()
            .map_err(|_| CliError::Usage("--zip takes one task, or all of them".to_owned()))?;
        query.push(format!("task={task}"));
    }
    match &wanted.patterns[..] {
        [] => {}
        [pattern] => query.push(format!("pattern={}", encoded(pattern).replace('/', "%2F"))),
        [_, _, ..] => {
            return Err(CliError::Usage("--zip takes one pattern at most".to_owned()));
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let folder = wanted.dir.clone().unwrap_or_default();
    let target = folder.join(format!("job-{job}.zip"));
    let bar = bar(&session.screen, 0);
    let downloader = Downloader {
        client: session.client.patient(),
        folder,
        in_the_way: in_the_way(wanted),
        bar: &bar,
    };
    let length = downloader.fetch_whole(&format!("jobs/{job}/outputs.zip{query}"), &target)?;
    bar.finish_and_clear();
    session.screen.say(format!("{}, {}", target.display(), bytes(length)));
    session.screen.object(&json!({ "file": target, "size_bytes": length }));
    Ok(())
}
