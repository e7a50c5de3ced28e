//! The `campusgrid-worker` command: reads flags and settings, then hands over to the daemon.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use campusgrid_protocol::message::Approval;
use campusgrid_sandbox::helper::{HELPER_ARGUMENT, helper_main};
use campusgrid_sandbox::scope::enter_own_scope;
use campusgrid_settings::file;
use campusgrid_settings::reader::Flag;
use campusgrid_worker::config::{Config, WithoutSandbox};
use campusgrid_worker::daemon::{self, Exit};
use campusgrid_worker::error::WorkerError;
use clap::Parser;
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Of sysexits.h: the configuration is wrong.
const EX_USAGE: u8 = 64;
/// Of sysexits.h: something this program needs is not there.
const EX_UNAVAILABLE: u8 = 69;

/// Shares this machine with a CampusGrid: runs other people's tasks in a sandbox.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Host name or address of the manager
    #[arg(short, long, value_name = "HOST")]
    manager: Option<String>,
    /// The manager's port for workers [default: 9999]
    #[arg(short, long, value_name = "PORT")]
    port: Option<String>,
    /// Name of this machine in the dashboard [default: its host name]
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// The user who owns this machine and is paid for its work, once they approve it
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Do not use Docker; the sandbox of this worker does not need it
    #[arg(long)]
    no_docker: bool,
    /// Run the owner's own jobs unconfined; nobody else's are taken
    #[arg(long)]
    unsafe_no_sandbox: bool,
    /// Settings [default: config.toml in the working directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where identity, results and environments are kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl Arguments {
    fn flags(&self) -> Vec<Flag> {
        let text = |name: &str, key: &str, value: &Option<String>| {
            value.as_ref().map(|value| Flag {
                name: name.to_owned(),
                key: key.to_owned(),
                value: value.clone(),
            })
        };
        let switch = |is_set: bool, value: &str| is_set.then(|| value.to_owned());
        [
            text("--manager", "worker.manager_host", &self.manager),
            text("--port", "worker.manager_port", &self.port),
            text("--name", "worker.name", &self.name),
            text("--user", "worker.owner", &self.user),
            text("--data-dir", "worker.data_dir", &self.data_dir),
            text("--no-docker", "worker.use_docker", &switch(self.no_docker, "false")),
            text(
                "--unsafe-no-sandbox",
                "worker.unsafe_no_sandbox",
                &switch(self.unsafe_no_sandbox, "true"),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn main() -> ExitCode {
    // Before anything else: a helper is to stay small, single-threaded and without open files.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == HELPER_ARGUMENT) {
        helper_main();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Only text: what is not cannot be a setting, and nothing here needs it.
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let read = file::read(arguments.config.as_deref())
        .and_then(|file| Config::read(file, variables.clone(), arguments.flags()));
    let config = match read {
        Ok(config) => config,
        Err(problems) => return complain(&problems.to_string(), EX_USAGE),
    };
    if let Err(problem) = log_to_stderr(variables.get("CAMPUSGRID_LOG").map(String::as_str)) {
        return complain(&problem, EX_USAGE);
    }
    // Environments must be readable for tasks, which run as another user where the worker is root;
    // what is private stands in a directory that only its owner may enter.
    umask(Mode::from_bits_truncate(0o022));
    match config.without_sandbox {
        // An ordinary user's worker limits its tasks from a scope of its own.
        WithoutSandbox::Refuse => enter_own_scope(std::env::args_os().skip(1)),
        WithoutSandbox::RunOwnJobs => {}
    }
    match serve(config, variables) {
        Ok(Exit::Left) => ExitCode::SUCCESS,
        Ok(Exit::NoSandbox { notes }) => complain(
            &format!(
                "no sandbox works on this machine, so it takes no tasks:\n  {}\n\
                 (--unsafe-no-sandbox would run the owner's own jobs unconfined)",
                notes.join("\n  ")
            ),
            EX_UNAVAILABLE,
        ),
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread: the sandbox's helpers live as long as the thread that started them.
fn serve(config: Config, variables: BTreeMap<String, String>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let listen = |kind| signal(kind).map_err(|source| WorkerError::Signals { source });
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let asked = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            asked.cancel();
        });
        daemon::run(config, variables, show_approval, shutdown).await
    })?;
    Ok(exit)
}

/// Lines for the owner; `cargo xtask demo` reads them too.
#[expect(clippy::print_stdout, reason = "the code is this program's answer to its owner")]
fn show_approval(approval: &Approval, owner: Option<&str>) {
    match approval {
        Approval::Waiting { code } => {
            let owner = owner.unwrap_or("its owner");
            println!(
                "waiting for approval: enter code {code} on the dashboard's \"Workers\" page as {owner}"
            );
        }
        Approval::Owned { by } => println!("approved: this machine works for {by}"),
    }
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
