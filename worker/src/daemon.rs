//! The worker as it lives: carries inputs to the agent and the agent's effects out into the world.

mod live;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use campusgrid_protocol::message::Approval;
use campusgrid_protocol::resource::{Capacity, Isolation};
use campusgrid_sandbox::sandbox::{Confinement, Sandbox, SandboxConfig};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::live::Daemon;
use crate::agent::{Agent, AgentConfig};
use crate::config::{Config, WithoutSandbox};
use crate::connection::ManagerAddress;
use crate::environment::{Environments, EnvironmentsConfig};
use crate::error::WorkerError;
use crate::identity;
use crate::probe::{LoadMeter, Machine};
use crate::run::Runner;
use crate::spool::Spool;

/// Inputs of runs and uploads on their way to the agent, which takes them as fast as they come.
const INPUTS: usize = 1024;

/// As root, tasks run as this user and the 255 after it.
const FIRST_JOB_UID: u32 = 60_000;

/// How a worker came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and left in order.
    Left,
    /// No sandbox works on this machine: what is missing and how to mend it, a line each.
    NoSandbox { notes: Vec<String> },
}

/// Tells the owner, on whatever the worker has for that, whether this machine is theirs.
pub type ShowApproval = fn(&Approval, owner: Option<&str>);

/// Runs a worker until `shutdown`. Belongs on a runtime with a single thread.
///
/// # Errors
///
/// When its directories, its identity or its spool cannot be used; a manager that is absent is no
/// error.
pub async fn run(
    config: Config,
    variables: BTreeMap<String, String>,
    show: ShowApproval,
    shutdown: CancellationToken,
) -> Result<Exit, WorkerError> {
    let _lock = take_directory(&config.data_dir)?;
    let key = identity::load_or_make(&config.data_dir)?;
    let machine = Machine::probe(&config.data_dir)?;
    let (sandbox, strength) = Sandbox::probe(SandboxConfig {
        confinement: match config.without_sandbox {
            WithoutSandbox::Refuse => Confinement::Full,
            WithoutSandbox::RunOwnJobs => Confinement::None,
        },
        helper: PathBuf::from("/proc/self/exe"),
        scratch: config.data_dir.join("scratch"),
        first_job_uid: FIRST_JOB_UID,
    })
    .await;
    let mut notes = strength.notes;
    let Some(sandbox) = sandbox else { return Ok(Exit::NoSandbox { notes }) };
    notes.extend(machine.gpu_note());
    let capacity = machine.capacity(config.caps);
    tell_what_is_offered(&capacity, strength.isolation, &notes);

    let (spool, recovered) = Spool::open(&config.data_dir)?;
    let runs_dir = fresh_directory(config.data_dir.join("runs"))?;
    let environments = Environments::open(EnvironmentsConfig {
        data_dir: config.data_dir.clone(),
        uv: config.uv.clone(),
        fresh: config.environment_fresh,
        variables,
    })
    .map_err(|source| WorkerError::MakeDirectory { path: config.data_dir.clone(), source })?;
    let agent = Agent::new(AgentConfig {
        key,
        name: config.name.clone().unwrap_or_else(|| machine.name.clone()),
        owner: config.owner.clone(),
        capacity,
        isolation: strength.isolation,
        isolation_notes: notes,
    });
    let runner = Runner { sandbox, environments, spool, runs_dir, limits: config.task };
    let manager = ManagerAddress { host: config.manager_host, port: config.manager_port };
    let (inputs, input) = mpsc::channel(INPUTS);
    let daemon = Daemon {
        agent,
        key,
        manager,
        runner: Arc::new(runner),
        inputs,
        outbox: None,
        runs: BTreeMap::new(),
        ended: BTreeMap::new(),
        load: LoadMeter::start()?,
        approval: None,
        owner: config.owner,
        show,
    };
    daemon.live(recovered, input, shutdown).await;
    Ok(Exit::Left)
}

/// Makes the data directory if need be and takes it for this worker alone, until dropped.
fn take_directory(path: &Path) -> Result<Flock<File>, WorkerError> {
    let failed = |source| WorkerError::MakeDirectory { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let lock = File::create(path.join("lock")).map_err(failed)?;
    Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| WorkerError::DirectoryInUse { path: path.to_owned() })
}

/// An empty directory in place of whatever an earlier worker has left there.
fn fresh_directory(path: PathBuf) -> Result<PathBuf, WorkerError> {
    let make = || {
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)
    };
    match make() {
        Ok(()) => Ok(path),
        Err(source) => Err(WorkerError::MakeDirectory { path, source }),
    }
}

fn tell_what_is_offered(capacity: &Capacity, isolation: Isolation, notes: &[String]) {
    info!(
        cores = capacity.cpu_millis / 1000,
        ram_mib = capacity.ram_mib,
        disk_mib = capacity.disk_mib,
        isolation = ?isolation,
        "this machine is offered"
    );
    for note in notes {
        info!("sandbox: {note}");
    }
}
