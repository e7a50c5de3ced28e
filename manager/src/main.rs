//! The `campusgrid-manager` command: serves, or does one of the things around it.

mod arguments;
mod commands;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arguments::{Arguments, Command, RoleName};
use campusgrid_identity::authority::Authority;
use campusgrid_manager::admin::{Admin, Order, Places};
use campusgrid_manager::backup::Overwrite;
use campusgrid_manager::beginning::{self, Beginning};
use campusgrid_manager::blobs::Blobs;
use campusgrid_manager::books::Books;
use campusgrid_manager::clock::Clock;
use campusgrid_manager::config::Config;
use campusgrid_manager::data_dir;
use campusgrid_manager::disk::Reserve;
use campusgrid_manager::engine::handle::EngineHandle;
use campusgrid_manager::engine::run::{Engine, Engineering, Surroundings};
use campusgrid_manager::fleet::{self, Fleet, Limits};
use campusgrid_manager::health::Health;
use campusgrid_manager::inspect::Closeness;
use campusgrid_manager::live::LiveLogs;
use campusgrid_manager::notify::settings::PasswordError;
use campusgrid_manager::notify::{self, Notifier};
use campusgrid_manager::owner::become_owner;
use campusgrid_manager::readers::Readers;
use campusgrid_manager::store::{self, Store};
use campusgrid_manager::sweep::Sweep;
use campusgrid_manager::vitals::Vitals;
use campusgrid_manager::web::{self, BadFile, Transport, Web};
use campusgrid_settings::file;
use clap::Parser;
use commands::{CommandError, Ending, Removal};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long requests may take to end, and connections of workers.
const END_WITHIN: Duration = Duration::from_secs(4);

/// Something is broken, and was told.
const BROKEN: u8 = 2;

/// `EX_USAGE` of sysexits(3): the configuration is wrong, and nothing was opened.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = match Arguments::try_parse() {
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
            commands::tell(&problems.to_string());
            return ExitCode::from(EX_USAGE);
        }
    };
    let command = match arguments.command() {
        Ok(command) => command,
        Err(problem) => {
            commands::tell(problem);
            return ExitCode::from(EX_USAGE);
        }
    };
    match carry_out_as_owner(command, config) {
        Ok(Ending::Fine) => ExitCode::SUCCESS,
        Ok(Ending::Broken) => ExitCode::from(BROKEN),
        Err(error) => {
            commands::tell(&format!("{error:#}"));
            let is_setting = error.downcast_ref::<BadFile>().is_some()
                || error.downcast_ref::<PasswordError>().is_some();
            if is_setting { ExitCode::from(EX_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Before anything in the data directory is opened: it may be another's, with links to what is root's.
fn carry_out_as_owner(command: Command, config: Config) -> anyhow::Result<Ending> {
    let Some(owner) = become_owner(&config.data_dir)? else { return carry_out(command, config) };
    let whose = format!("user {owner}, who owns {}", config.data_dir.display());
    if matches!(command, Command::Serve { .. }) {
        commands::tell(&format!("serving as {whose}, and not as root"));
    }
    carry_out(command, config).with_context(|| {
        format!("as {whose} and must have leave for whatever this reads and writes")
    })
}

fn carry_out(command: Command, config: Config) -> anyhow::Result<Ending> {
    let data_dir = config.data_dir.clone();
    let order = |order| commands::order(&data_dir, &order);
    let ended: Result<Ending, CommandError> = match command {
        Command::Serve { new } => {
            config.web.tls.check_files()?;
            config.notify.check_files()?;
            return serve(config, new.beginning()).map(|()| Ending::Fine);
        }
        Command::Fsck { content, prune } => {
            let closeness = if content { Closeness::Content } else { Closeness::Files };
            let removal = if prune { Removal::Old } else { Removal::None };
            commands::fsck(&data_dir, closeness, removal)
        }
        Command::Backup { to } => commands::back_up(&data_dir, &to),
        Command::Restore { from, force } => {
            let overwrite = if force { Overwrite::Force } else { Overwrite::Never };
            commands::put_back(&from, &data_dir, overwrite)
        }
        Command::Token { user, uses, hours } => order(Order::Token { user, uses, hours }),
        Command::Invite { uses, hours } => order(Order::Invite { uses, hours }),
        Command::Role { user, role } => {
            let role = match role {
                RoleName::Member => "member",
                RoleName::Operator => "operator",
            };
            order(Order::Role { user: user.name(), role: role.to_owned() })
        }
        Command::Password { user } => commands::read_password()
            .and_then(|password| order(Order::Password { user: user.name(), password })),
        Command::Books => order(Order::Books {}),
    };
    Ok(ended?)
}

fn serve(config: Config, beginning: Beginning) -> anyhow::Result<()> {
    let levels = std::env::var("CAMPUSGRID_LOG").unwrap_or_else(|_| "info".to_owned());
    let levels: Targets = levels.parse().context("CAMPUSGRID_LOG names no log level")?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(levels).with(lines).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(run(config, beginning))
}

/// What is on disk, opened.
struct Opened {
    engine: Engine,
    handle: EngineHandle,
    readers: Readers,
    blobs: Blobs,
    live: LiveLogs,
    clock: Clock,
    health: Health,
    vitals: Vitals,
    authority: Arc<Authority>,
}

fn open(config: &Config, beginning: Beginning) -> anyhow::Result<Opened> {
    let data_dir = config.data_dir.clone();
    let database = data_dir.join(store::FILE);
    beginning.check_parts(&data_dir)?;
    let reserve = Reserve { data_dir: data_dir.clone(), bytes: config.disk_reserve_bytes };
    reserve.make_way().context("failed to make room on the disk")?;
    let blobs = Blobs::open(data_dir.join(beginning::BLOBS), reserve.beside_ballast_bytes())?;
    let store = Store::open(&database)?;
    let clock = Clock::start(store.latest()?);
    beginning.check_authority(&data_dir, &store)?;
    let tls = data_dir.join(beginning::AUTHORITY);
    let authority = Authority::load_or_make(&tls, clock.system_time())?;
    let readers = Readers::open(&database, config.web.files.keep_ms())?;
    let (live, vitals) = (LiveLogs::default(), Vitals::default());
    let health = Health::new(data_dir);
    let surroundings = Surroundings {
        clock,
        live: live.clone(),
        reserve,
        health: health.clone(),
        vitals: vitals.clone(),
    };
    let (engine, handle) = Engine::recover(Arc::new(config.policy.clone()), store, surroundings)?;
    let authority = Arc::new(authority);
    Ok(Opened { engine, handle, readers, blobs, live, clock, health, vitals, authority })
}

async fn run(config: Config, beginning: Beginning) -> anyhow::Result<()> {
    let stop = StopSignals::await_them()?; // From here on a stop is one in good order.
    raise_open_files(config.connections_max);
    // Who is told that a directory is in use need not be told of its ports; who is told of a port should
    // not be left with a directory that was made in vain.
    let is_there = config.data_dir.exists();
    let lock = is_there.then(|| data_dir::open(&config.data_dir)).transpose()?;
    let workers = bind("workers", SocketAddr::new(config.host, config.port)).await?;
    let dashboard = SocketAddr::new(config.dashboard_host, config.dashboard_port);
    let dashboard = bind("the dashboard", dashboard).await?;
    let _lock = lock.map_or_else(|| data_dir::open(&config.data_dir), Ok)?;
    let opened = open(&config, beginning)?;
    let fingerprint = opened.authority.fingerprint();
    tracing::info!(fingerprint = %fingerprint.grouped(), "workers know this manager by this");

    let Opened { engine, handle, readers, blobs, live, clock, health, vitals, authority } = opened;
    let shutdown = CancellationToken::new();
    let books = Books {
        data_dir: config.data_dir.clone(),
        every: Duration::from_secs(60 * u64::from(config.books_check_minutes)),
        engine: handle.clone(),
        health: health.clone(),
        clock,
    };
    let address = dashboard.local_addr()?;
    let worker_port = workers.local_addr()?.port();
    let places = Places::new(&config, worker_port, address);
    let admin = Admin {
        data_dir: config.data_dir.clone(),
        places,
        engine: handle.clone(),
        readers: readers.clone(),
        books: books.start(shutdown.clone()),
        passwords: config.web.passwords,
        fingerprint,
        clock,
    };
    let socket = admin.listen()?;
    let transport = Transport::open(&config.web, address, &authority, clock)?;
    let around = fleet::Surroundings {
        live: live.clone(),
        blobs: blobs.clone(),
        readers: readers.clone(),
        authority,
        clock,
    };
    let fleet = Fleet::new(handle.clone(), limits(&config), around)?;
    let around = notify::Surroundings {
        engine: handle.clone(),
        readers: readers.clone(),
        clock,
        home: config.web.public_url.clone(),
    };
    let notifier = Notifier::new(&config.notify, around)?;
    let links = notifier.links();
    tracing::info!(address = %workers.local_addr()?, "listening for workers");
    tracing::info!(%address, "listening for dashboard");

    let sweep = Sweep {
        engine: handle.clone(),
        readers: readers.clone(),
        blobs: blobs.clone(),
        clock,
        keep_ms: config.web.files.keep_ms(),
    };
    let web = Web {
        engine: handle.clone(),
        readers,
        live,
        blobs,
        clock,
        config: config.web,
        health,
        vitals,
        links,
        fingerprint,
        worker_port,
        shutdown: shutdown.clone(),
    };
    let router = web::router(web)?;
    let engineering = engine.start(shutdown.clone());
    let tasks = Tasks {
        sweep: tokio::spawn(sweep.run(shutdown.clone())),
        admin: tokio::spawn(admin.serve(socket, shutdown.clone())),
        fleet: tokio::spawn(fleet.run(workers, shutdown.clone())),
        notifier: tokio::spawn(notifier.run(shutdown.clone())),
        web: tokio::spawn(web::serve(dashboard, router, transport, shutdown.clone())),
    };
    stop.asked(&shutdown).await;
    shutdown.cancel();
    end(tasks, handle, engineering).await
}

/// Shells and systemd give 1024 open files, and a connection is one.
fn raise_open_files(connections_max: usize) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    match raised {
        Ok(open_files) if open_files >= connections_max as u64 => {}
        Ok(open_files) => tracing::warn!(
            open_files,
            connections_max,
            "fewer files may be open than connections may come"
        ),
        Err(error) => tracing::warn!(%error, "failed to raise the number of open files"),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.connections_max,
        blob_max_bytes: config.blob_max_bytes,
        certificate_life: config.certificate_life,
    }
}

struct Tasks {
    sweep: JoinHandle<()>,
    admin: JoinHandle<()>,
    fleet: JoinHandle<()>,
    notifier: JoinHandle<()>,
    web: JoinHandle<()>,
}

/// Requests first, then what they led to, then the last words to workers.
async fn end(tasks: Tasks, handle: EngineHandle, engineering: Engineering) -> anyhow::Result<()> {
    tracing::info!("stopping: no new work; what runs on workers goes on");
    end_in_time("requests", tasks.web).await;
    end_in_time("orders", tasks.admin).await;
    end_in_time("sweeps", tasks.sweep).await;
    end_in_time("notices", tasks.notifier).await;
    handle.stop().await;
    let ended = tokio::task::spawn_blocking(|| engineering.join()).await?;
    end_in_time("connections of workers", tasks.fleet).await;
    ended.map_err(|_| anyhow::anyhow!("the engine's thread panicked"))??;
    Ok(())
}

/// Waits for what others may draw out, but not for long: all of a stop takes ten seconds at most.
async fn end_in_time<T>(what: &'static str, task: JoinHandle<T>) {
    if tokio::time::timeout(END_WITHIN, task).await.is_err() {
        tracing::warn!("some {what} did not end in time");
    }
}

/// By which the system asks a daemon to stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn await_them() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("failed to await Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("failed to await SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// Returns at a signal, or when the engine has ended by itself.
    async fn asked(mut self, engine_ended: &CancellationToken) {
        tokio::select! {
            biased;
            () = engine_ended.cancelled() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Who comes before all is open waits in the system's queue.
async fn bind(what: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("failed to listen on {address} for {what}"))
}
