//! The `campusgrid-manager` command: serves, or checks the books.

use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use campusgrid_manager::blobs::Blobs;
use campusgrid_manager::clock::Clock;
use campusgrid_manager::config::Config;
use campusgrid_manager::engine::run::Engine;
use campusgrid_manager::fleet::{Fleet, Limits};
use campusgrid_manager::live::LiveLogs;
use campusgrid_manager::readers::Readers;
use campusgrid_manager::store::{Store, fsck};
use campusgrid_manager::web::{self, Web};
use campusgrid_settings::file;
use campusgrid_settings::reader::Flag;
use clap::{Parser, Subcommand};
use nix::sys::stat::{Mode, umask};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long requests may take to end, and connections of workers.
const END_WITHIN: Duration = Duration::from_secs(4);

/// `EX_USAGE` of sysexits(3): the configuration is wrong, and nothing was opened.
const EX_USAGE: u8 = 64;

/// The manager of a CampusGrid: queue, ledger and dashboard.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file [default: config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database and the files of jobs are kept
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address on which workers dial in
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port on which workers dial in
    #[arg(short, long, value_name = "PORT")]
    port: Option<String>,
    /// Address of the dashboard
    #[arg(long, value_name = "ADDRESS")]
    dashboard_host: Option<String>,
    /// Port of the dashboard
    #[arg(long, value_name = "PORT")]
    dashboard_port: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve workers and the dashboard; what happens without a command
    Serve,
    /// Prove that the books balance; works beside a running manager
    Fsck,
}

impl Arguments {
    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--data-dir", "manager.data_dir", &self.data_dir),
            ("--host", "manager.host", &self.host),
            ("--port", "manager.port", &self.port),
            ("--dashboard-host", "dashboard.host", &self.dashboard_host),
            ("--dashboard-port", "dashboard.port", &self.dashboard_port),
        ];
        let flag = |(name, key, value): (&str, &str, &Option<String>)| {
            let value = value.clone()?;
            Some(Flag { name: name.to_owned(), key: key.to_owned(), value })
        };
        flags.into_iter().filter_map(flag).collect()
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where nobody can be told there is nothing better to do.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Passwords' hashes, sources and outputs are nobody else's business on this machine.
    umask(Mode::from_bits_truncate(0o077));
    let config = file::read(arguments.config.as_deref())
        .and_then(|file| Config::read(file, std::env::vars(), arguments.flags()));
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            tell(&problems.to_string());
            return ExitCode::from(EX_USAGE);
        }
    };
    let result = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config),
        Command::Fsck => check_books(&config.data_dir),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(text: &str) {
    // Where nobody can be told there is nothing better to do.
    drop(writeln!(std::io::stderr().lock(), "campusgrid-manager: {text}"));
}

fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("campusgrid.sqlite")
}

fn check_books(data_dir: &Path) -> anyhow::Result<()> {
    let findings = fsck(&database(data_dir))?;
    for finding in &findings.broken {
        tell(finding);
    }
    if !findings.broken.is_empty() {
        bail!("the books do not balance: {} findings", findings.broken.len());
    }
    writeln!(std::io::stdout(), "the books balance; {} transfers", findings.transfers)?;
    Ok(())
}

fn serve(config: Config) -> anyhow::Result<()> {
    let levels = std::env::var("CAMPUSGRID_LOG").unwrap_or_else(|_| "info".to_owned());
    let levels: Targets = levels.parse().context("CAMPUSGRID_LOG names no log level")?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(levels).with(lines).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let Config { data_dir, policy, .. } = &config;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("failed to make {}", data_dir.display()))?;
    let _lock = lock(data_dir)?;
    let store = Store::open(&database(data_dir))?;
    let clock = Clock::start(store.latest()?);
    let readers = Readers::open(&database(data_dir))?;
    let blobs = Blobs::open(data_dir.join("blobs"))?;
    let live = LiveLogs::default();
    let policy = Arc::new(policy.clone());
    let (engine, handle) = Engine::recover(policy, store, clock, live.clone())?;

    let workers = listen("workers", SocketAddr::new(config.host, config.port)).await?;
    let dashboard = SocketAddr::new(config.dashboard_host, config.dashboard_port);
    let dashboard = listen("dashboard", dashboard).await?;

    let shutdown = CancellationToken::new();
    let engineering = engine.start(shutdown.clone());
    let limits =
        Limits { connections_max: config.connections_max, blob_max_bytes: config.blob_max_bytes };
    let fleet = Fleet::new(handle.clone(), live.clone(), blobs.clone(), limits);
    let fleet = tokio::spawn(fleet.run(workers, shutdown.clone()));
    let web = Web {
        engine: handle.clone(),
        readers,
        live,
        blobs,
        clock,
        config: config.web,
        shutdown: shutdown.clone(),
    };
    let web = tokio::spawn(web::serve(dashboard, web::router(web)?, shutdown.clone()));

    stop_asked(&shutdown).await?;
    shutdown.cancel();
    tracing::info!("stopping: no new work; what runs on workers goes on");
    // Requests first, then what they led to, then the last words to workers.
    end_in_time("requests", web).await;
    handle.stop().await;
    let ended = tokio::task::spawn_blocking(|| engineering.join()).await?;
    end_in_time("connections of workers", fleet).await;
    ended.map_err(|_| anyhow::anyhow!("the engine's thread panicked"))??;
    Ok(())
}

/// Waits for what others may draw out, but not for long: all of a stop takes ten seconds at most.
async fn end_in_time<T>(what: &'static str, task: tokio::task::JoinHandle<T>) {
    if tokio::time::timeout(END_WITHIN, task).await.is_err() {
        tracing::warn!("some {what} did not end in time");
    }
}

/// Returns at a signal, or when the engine has ended by itself.
async fn stop_asked(engine_ended: &CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to await Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to await SIGTERM")?;
    tokio::select! {
        biased;
        () = engine_ended.cancelled() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Two managers on one database would each believe to be the only writer.
fn lock(data_dir: &Path) -> anyhow::Result<nix::fcntl::Flock<std::fs::File>> {
    let path = data_dir.join("lock");
    let file = std::fs::File::create(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|_| anyhow::anyhow!("another manager uses {}", data_dir.display()))
}

async fn listen(what: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address} for {what}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening for {what}");
    Ok(listener)
}
