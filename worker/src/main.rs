//! The `campusgrid-worker` command: reads flags and settings, then hands over to what was asked for.

mod arguments;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use campusgrid_container::helper as container_helper;
use campusgrid_protocol::rules::{ByHand, Wish};
use campusgrid_sandbox::helper as sandbox_helper;
use campusgrid_sandbox::scope::enter_own_scope;
use campusgrid_settings::file;
use campusgrid_worker::clock;
use campusgrid_worker::config::{Config, WithoutSandbox};
use campusgrid_worker::control::{self, Question};
use campusgrid_worker::daemon::{self, Exit, Notice};
use campusgrid_worker::doctor::{self, Format};
use campusgrid_worker::error::WorkerError;
use campusgrid_worker::identity::{self, Forgotten};
use campusgrid_worker::image::{self, Wishes};
use campusgrid_worker::install::{self, Mode, user_unit};
use campusgrid_worker::policy;
use campusgrid_worker::status::{self, Status};
use campusgrid_worker::token;
use campusgrid_worker::until::until_ms;
use clap::Parser;
use jiff::tz::TimeZone;
use nix::sys::stat::{Mode as FileMode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::{Arguments, Command};

/// Of sysexits.h: the configuration is wrong.
const EX_USAGE: u8 = 64;
/// Of sysexits.h: something this program needs is not there.
const EX_UNAVAILABLE: u8 = 69;

/// For what still runs on other threads when all is done.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Of sysexits.h: not permitted. A person must look before this is started again.
const EX_NOPERM: u8 = 77;

type Variables = BTreeMap<String, String>;

fn main() -> ExitCode {
    // Before anything else: a helper is to stay small, single-threaded and without open files.
    match std::env::args_os().nth(1) {
        Some(word) if word == sandbox_helper::HELPER_ARGUMENT => sandbox_helper::helper_main(),
        Some(word) if word == container_helper::HELPER_ARGUMENT => container_helper::helper_main(),
        Some(_) | None => {}
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Only text: what is not cannot be a setting, and nothing here needs it.
    let variables: Variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let flags = arguments.settings.flags();
    let read = file::read(arguments.settings.config.as_deref()).and_then(|file| {
        match &arguments.command {
            None => Config::read(file, variables.clone(), flags),
            Some(_) => Config::read_without_manager(file, variables.clone(), flags),
        }
    });
    let config = match read {
        Ok(config) => config,
        Err(problems) => return complain(&problems.to_string(), EX_USAGE),
    };
    if let Err(problem) = log_to_stderr(variables.get("CAMPUSGRID_LOG").map(String::as_str)) {
        return complain(&problem, EX_USAGE);
    }
    let done = match arguments.command {
        None => work(config, variables),
        Some(Command::Doctor { json }) => {
            let format = if json { Format::Json } else { Format::People };
            examine(&config, variables, format)
        }
        Some(Command::BuildImage { recipe }) => build_image(&config, recipe.into()),
        Some(Command::Forget) => forget(&config),
        Some(Command::Install { dry_run, user_unit }) => {
            put_in_place(&config, &variables, place(user_unit), mode(dry_run))
        }
        Some(Command::Uninstall { dry_run, user_unit }) => {
            take_away(&variables, place(user_unit), mode(dry_run))
        }
        Some(Command::Pause { time }) => say_by_hand(&config, Wish::Pause, time.as_deref()),
        Some(Command::Share { time }) => say_by_hand(&config, Wish::Share, time.as_deref()),
        Some(Command::Resume) => ask(&config, &Question::ByHand { by_hand: None }, headline),
        Some(Command::Status { json }) => {
            let print = if json { status::json } else { in_words };
            ask(&config, &Question::Status, print)
        }
        Some(Command::Stop { task }) => ask(&config, &Question::Stop { attempt: task }, headline),
    };
    done.unwrap_or_else(|error| {
        error!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Runs the worker until it is asked to end.
fn work(config: Config, variables: Variables) -> anyhow::Result<ExitCode> {
    // Environments must be readable for tasks, which run as another user where the worker is root;
    // what is private stands in a directory that only its owner may enter.
    umask(FileMode::from_bits_truncate(0o022));
    token::put_out_of_sight(&config, std::env::args_os().skip(1))?;
    let given = match token::given(&config) {
        Ok(given) => given,
        Err(problem) => {
            return Ok(complain(&format!("{:#}", anyhow::Error::new(problem)), EX_USAGE));
        }
    };
    if let Err(problem) = policy::read(&config.policy) {
        return Ok(complain(&format!("{:#}", anyhow::Error::new(problem)), EX_USAGE));
    }
    seek_own_scope(&config);
    let data_dir = config.data_dir.clone();
    let shutdown = CancellationToken::new();
    let exit = run(async {
        listen_for_the_end(shutdown.clone())?;
        daemon::run(config, given, variables, show, shutdown).await
    })?;
    Ok(match exit {
        Exit::Left => ExitCode::SUCCESS,
        Exit::Stopped(stop) => complain(&stop.words(&data_dir), EX_NOPERM),
        Exit::NoSandbox { notes } => complain(
            &format!(
                "no sandbox works on this machine, so it takes no tasks:\n  {}\n\
                 (campusgrid-worker doctor says more; --unsafe-no-sandbox would run the owner's own \
                 jobs unconfined)",
                notes.join("\n  ")
            ),
            EX_UNAVAILABLE,
        ),
    })
}

/// Says what holds here; fails where other people's tasks could not run.
#[expect(clippy::print_stdout, reason = "the findings are what was asked for")]
fn examine(config: &Config, variables: Variables, format: Format) -> anyhow::Result<ExitCode> {
    seek_own_scope(config);
    let findings = run(doctor::examine(config, variables))?;
    print!("{}", doctor::print(&findings, format));
    Ok(if findings.is_fit() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the image that jobs mean by "default". Takes minutes, each step a line.
#[expect(clippy::print_stdout, reason = "whoever waits for minutes sees what is done")]
fn build_image(config: &Config, wishes: Wishes) -> anyhow::Result<ExitCode> {
    run(image::build(config, wishes, |line| println!("{line}")))?;
    println!("start the worker anew, and it offers the image");
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "whoever installs sees what is done")]
fn put_in_place(
    config: &Config,
    variables: &Variables,
    place: Place,
    mode: Mode,
) -> anyhow::Result<ExitCode> {
    let token = match token::given(config) {
        Ok(token) => token,
        Err(problem) => {
            return Ok(complain(&format!("{:#}", anyhow::Error::new(problem)), EX_USAGE));
        }
    };
    let said = match place {
        Place::System => install::install(config, token, mode)?,
        Place::User => user_unit::install(config, variables, token, mode)?,
    };
    for line in said {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "whoever uninstalls sees what is gone")]
fn take_away(variables: &Variables, place: Place, mode: Mode) -> anyhow::Result<ExitCode> {
    let said = match place {
        Place::System => install::uninstall(mode)?,
        Place::User => user_unit::uninstall(variables, mode)?,
    };
    for line in said {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose service.
#[derive(Debug, Clone, Copy)]
enum Place {
    System,
    User,
}

fn place(user_unit: bool) -> Place {
    if user_unit { Place::User } else { Place::System }
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::Say } else { Mode::Do }
}

fn say_by_hand(config: &Config, wish: Wish, time: Option<&str>) -> anyhow::Result<ExitCode> {
    let now_ms = clock::unix_s().saturating_mul(1000);
    let until_ms = match time.map(|time| until_ms(time, now_ms, &TimeZone::system())) {
        None => None,
        Some(Ok(until_ms)) => Some(until_ms),
        Some(Err(error)) => return Ok(complain(&error.to_string(), EX_USAGE)),
    };
    ask(config, &Question::ByHand { by_hand: Some(ByHand { wish, until_ms }) }, headline)
}

/// Asks the worker that runs here, and prints what it says.
#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
fn ask(
    config: &Config,
    question: &Question,
    print: fn(&Status) -> String,
) -> anyhow::Result<ExitCode> {
    let answer =
        run(async { Ok::<_, anyhow::Error>(control::ask(&config.data_dir, question).await) })?;
    Ok(match answer {
        Ok(status) => {
            print!("{}", print(&status));
            ExitCode::SUCCESS
        }
        Err(error) => complain(&format!("{:#}", anyhow::Error::new(error)), EX_UNAVAILABLE),
    })
}

fn in_words(answer: &Status) -> String {
    status::print(answer, &TimeZone::system())
}

fn headline(answer: &Status) -> String {
    status::headline(answer, &TimeZone::system())
}

/// An ordinary user's worker limits its tasks from a scope of its own.
fn seek_own_scope(config: &Config) {
    match config.without_sandbox {
        WithoutSandbox::Refuse => enter_own_scope(std::env::args_os().skip(1)),
        WithoutSandbox::RunOwnJobs => {}
    }
}

/// Runs on one thread: the sandbox's helpers live as long as the thread that started them.
fn run<T, E>(work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // A driver or a disk that does not answer must not keep the program.
    runtime.shutdown_timeout(END_LIMIT);
    Ok(done?)
}

fn listen_for_the_end(shutdown: CancellationToken) -> Result<(), WorkerError> {
    let listen = |kind| signal(kind).map_err(|source| WorkerError::Signals { source });
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Forgets who this machine was to its manager.
#[expect(clippy::print_stdout, reason = "whoever asks for it sees what is gone")]
fn forget(config: &Config) -> anyhow::Result<ExitCode> {
    let data = config.data_dir.display();
    if !config.data_dir.exists() {
        println!("nothing to forget in {data}");
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = daemon::take_directory(&config.data_dir, config.weaker)?;
    match identity::forget(&config.data_dir)? {
        Forgotten::Nothing => println!("nothing to forget in {data}"),
        Forgotten::Identity { manager: None } => {
            println!("forgotten: this machine had joined nobody")
        }
        Forgotten::Identity { manager: Some(manager) } => {
            println!("forgotten: this machine's key and certificate, and the manager {manager}");
            println!(
                "its owner may remove it in the dashboard; the next start joins as a new machine"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines for the owner; `cargo xtask demo` reads them too. Whether anybody listens does not matter.
fn show(notice: &Notice, owner: Option<&str>) {
    let lines = match notice {
        Notice::Waiting { code, manager } => format!(
            "waiting for approval: enter code {code} on the dashboard's \"Workers\" page as {}\n\
             compare there the manager's fingerprint: {}",
            owner.unwrap_or("its owner"),
            manager.grouped()
        ),
        Notice::WorksFor { owner } => format!("approved: this machine works for {owner}"),
    };
    let _ = writeln!(std::io::stdout(), "{lines}");
}

#[expect(clippy::print_stderr, reason = "said before there is a log, and to be read by people")]
fn complain(problem: &str, code: u8) -> ExitCode {
    eprintln!("campusgrid-worker: {problem}");
    ExitCode::from(code)
}

fn log_to_stderr(filter: Option<&str>) -> Result<(), String> {
    let targets = match filter {
        Some(filter) if !filter.trim().is_empty() => filter
            .parse::<Targets>()
            .map_err(|error| format!("environment CAMPUSGRID_LOG={filter}: {error}"))?,
        Some(_) | None => Targets::new().with_default(LevelFilter::INFO),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}
