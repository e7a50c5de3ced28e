//! Submits a job: at once, or as a draft that its files are taken to and that is then launched.

use std::process::ExitCode;

use campusgrid_protocol::rest::market::SoldBy;
use campusgrid_protocol::rest::{JobDetail, JobState, Quote, Submitted};
use serde_json::json;
use ureq::http::Method;

use super::{end_of, logs};
use crate::arguments::submit::{Launch, Submit, Upload, Wait, What};
use crate::client::Key;
use crate::error::CliError;
use crate::interrupt::Farewell;
use crate::job::files::{Gathered, LocalFile};
use crate::job::plan::{Plan, Program, archive};
use crate::screen::{Format, note};
use crate::session::Session;
use crate::transfer::bar;
use crate::transfer::upload::{Kind, Stopped, Uploader};
use crate::units::{credits, rate};

/// What follows once a job is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Leave,
    Wait,
    /// What its task prints is printed meanwhile.
    Follow,
}

impl Then {
    fn of(wait: bool, follow: bool) -> Self {
        match (wait, follow) {
            (_, true) => Self::Follow,
            (true, false) => Self::Wait,
            (false, false) => Self::Leave,
        }
    }
}

pub(super) fn submit(session: &Session, wanted: Submit) -> Result<ExitCode, CliError> {
    if wanted.dry_run {
        quote(session, wanted.what)?;
        return Ok(ExitCode::SUCCESS);
    }
    let then = Then::of(wanted.wait, wanted.follow);
    let mut plan = plan(wanted.what)?;
    let by_hand = plan.body.market == Some(SoldBy::Hand);
    plan.body.draft |= wanted.draft;
    let key = wanted.key.as_deref().map_or_else(Key::fresh, |key| Ok(Key::given(key)))?;
    let submitted: Submitted = session.client.send(Method::POST, "jobs", &plan.body, Some(&key))?;
    let job = submitted.job;
    if !plan.body.draft {
        tell(session, &submitted, then);
        if by_hand {
            note(&format!("It takes bids: campusgrid bids {job}, campusgrid accept {job} MACHINE"));
        }
        return finish(session, job, then);
    }
    if wanted.key.is_some() {
        // The same submit may have come to its end before.
        let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
        if detail.job.state != JobState::Draft {
            let held_micros = detail.job.held_micros;
            tell(session, &Submitted { held_micros, ..submitted }, then);
            return finish(session, job, then);
        }
    }
    let files = files_of(plan);
    send(session, job, &files)?;
    if wanted.draft {
        let count = files.len();
        session.screen.say(format!("Draft {job} has {count} files: campusgrid launch {job}"));
        session.screen.object(&submitted);
        return Ok(ExitCode::SUCCESS);
    }
    launch_draft(session, job, then)
}

pub(super) fn quote(session: &Session, what: What) -> Result<(), CliError> {
    let plan = plan(what)?;
    let quote: Quote =
        session.client.send(Method::POST, "quote", &plan.quoted(), Some(&Key::fresh()?))?;
    session.screen.object(&quote);
    session.screen.pairs(&[
        ("one task", format!("at most {} credits", credits(quote.task_micros)).into()),
        ("in all", format!("at most {} credits are held", credits(quote.total_micros)).into()),
        (
            "formula",
            format!(
                "{} credits at factor {}",
                credits(quote.formula_micros),
                rate(quote.rate_permille)
            )
            .into(),
        ),
        ("balance", format!("{} credits", credits(quote.balance_micros)).into()),
        (
            "machines",
            format!(
                "{} could run it, {} of them now, {} ask for more, of {} online",
                quote.workers_fit, quote.workers_free, quote.workers_dearer, quote.workers_online
            )
            .into(),
        ),
    ]);
    let short = quote.total_micros.saturating_sub(quote.balance_micros);
    // Of one whose bids are accepted by hand nothing is held yet.
    if short > 0 && plan.body.market != Some(SoldBy::Hand) {
        let short = credits(short);
        session.screen.say(format!("The balance is {short} credits short: it would be refused."));
    }
    if !quote.labels_missing.is_empty() {
        let missing = quote.labels_missing.join(", ");
        session.screen.say(format!("No machine online offers {missing}."));
    }
    Ok(())
}

pub(super) fn launch(session: &Session, wanted: &Launch) -> Result<ExitCode, CliError> {
    launch_draft(session, wanted.job, Then::of(wanted.wait, wanted.follow))
}

pub(super) fn upload(session: &Session, wanted: &Upload) -> Result<(), CliError> {
    let mut gathered = Gathered::default();
    for text in &wanted.files {
        gathered.add(text)?;
    }
    tell_left_out(&gathered.left_out);
    let mut files: Vec<(LocalFile, Kind)> =
        gathered.into_files().into_iter().map(|file| (file, Kind::File)).collect();
    for text in &wanted.archives {
        files.push((archive(text)?, Kind::Archive));
    }
    send(session, wanted.job, &files)?;
    let count = files.len();
    session.screen.say(format!("Draft {} has {count} files more.", wanted.job));
    session.screen.object(&json!({ "job": wanted.job, "files": count }));
    Ok(())
}

pub(super) fn wait_for(session: &Session, wanted: &Wait) -> Result<ExitCode, CliError> {
    finish(session, wanted.job, Then::of(true, wanted.follow))
}

fn plan(what: What) -> Result<Plan, CliError> {
    let program = match (what.script, what.cmd, &what.flags.entry) {
        (Some(script), None, None) => Program::Script(script),
        (None, Some(command), None) => Program::Command(command),
        (None, None, Some(_)) => Program::Entry,
        (None, None, None) => {
            return Err(CliError::Usage(
                "nothing to run: name a script, --cmd COMMAND, or --entry with --file".to_owned(),
            ));
        }
        (_, _, _) => {
            return Err(CliError::Usage(
                "a script, --cmd and --entry exclude each other".to_owned(),
            ));
        }
    };
    let plan = Plan::make(&program, what.flags, what.arguments)?;
    tell_left_out(&plan.left_out);
    Ok(plan)
}

fn tell_left_out(left_out: &[String]) {
    for what in left_out {
        note(&format!("left out: {what}"));
    }
}

fn files_of(plan: Plan) -> Vec<(LocalFile, Kind)> {
    let files = plan.files.into_iter().map(|file| (file, Kind::File));
    files.chain(plan.archives.into_iter().map(|file| (file, Kind::Archive))).collect()
}

/// Takes files to a draft; where that stops, says how to go on.
fn send(session: &Session, job: u64, files: &[(LocalFile, Kind)]) -> Result<(), CliError> {
    if files.is_empty() {
        return Ok(());
    }
    let hint = hint(job, files);
    let _farewell = Farewell::on_interrupt(format!(
        "Draft {job} keeps what has come. Go on with\n  {hint}\nor drop it with campusgrid discard {job}"
    ))?;
    let bar = bar(&session.screen, files.iter().map(|(file, _)| file.size_bytes).sum());
    bar.set_message("uploading");
    let uploader = Uploader::new(&session.client, job, files, &bar)?;
    let sent = uploader.send_all(files);
    bar.finish_and_clear();
    sent.map_err(|Stopped { left, error }| CliError::UploadStopped {
        left: left.len(),
        hint: self::hint(job, &left),
        source: Box::new(error),
    })
}

/// The commands that send these files and launch the draft.
fn hint(job: u64, files: &[(LocalFile, Kind)]) -> String {
    /// More than this many nobody reads.
    const NAMED_MAX: usize = 8;
    let mut words = Vec::new();
    for (file, kind) in files.iter().take(NAMED_MAX) {
        let local = quoted(&format!("{}:{}", file.local.display(), file.path));
        words.push(match kind {
            Kind::File => local,
            Kind::Archive => {
                let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("--archive {}", quoted(&format!("{}:{folder}", file.local.display())))
            }
        });
    }
    if files.len() > NAMED_MAX {
        words.push(format!("… ({} more)", files.len() - NAMED_MAX));
    }
    format!("campusgrid upload {job} {} && campusgrid launch {job}", words.join(" "))
}

/// As a shell reads it as one word.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn launch_draft(session: &Session, job: u64, then: Then) -> Result<ExitCode, CliError> {
    let launched = session.client.launch(job, None, &Key::fresh()?)?;
    tell(session, &launched, then);
    finish(session, job, then)
}

fn tell(session: &Session, submitted: &Submitted, then: Then) {
    let (job, held) = (submitted.job, credits(submitted.held_micros));
    match then {
        Then::Leave => {
            session.screen.say(format!("Job {job}, at most {held} credits: campusgrid show {job}"));
            session.screen.object(submitted);
        }
        // What follows on standard output is the task's, or the job's last state.
        Then::Wait | Then::Follow => note(&format!("Job {job}, at most {held} credits")),
    }
}

/// Waits or follows, if that is wanted.
fn finish(session: &Session, job: u64, then: Then) -> Result<ExitCode, CliError> {
    let follow = then == Then::Follow;
    if then == Then::Leave {
        return Ok(ExitCode::SUCCESS);
    }
    let way_back = if follow { "--follow " } else { "" };
    let _farewell = Farewell::on_interrupt(format!(
        "Job {job} goes on. Come back with campusgrid wait {way_back}{job}, or end it with campusgrid \
         cancel {job}"
    ))?;
    if follow {
        let detail: JobDetail = session.client.get(format!("jobs/{job}"))?;
        if detail.job.tasks > 1 {
            return Err(CliError::Usage(format!(
                "job {job} has {} tasks, and only one can be followed: campusgrid logs -f {job}:INDEX, or \
                 campusgrid wait {job}",
                detail.job.tasks
            )));
        }
        match session.screen.format {
            Format::People => logs::follow(session, &detail)?,
            Format::Json => {} // Only its end is an object.
        }
    }
    end_of(session, job)
}
