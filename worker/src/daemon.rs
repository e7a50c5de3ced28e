//! The worker as it lives: carries inputs to the agent and the agent's effects out into the world.

mod live;
mod uploads;
mod works;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::message::LABELS_MAX;
use campusgrid_protocol::resource::{Capacity, Isolation};
use campusgrid_protocol::task::LABEL_4;
use campusgrid_sandbox::control::Controls;
use campusgrid_sandbox::plan::{Check, Holds};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::live::{Daemon, Incoming};
use crate::agent::{Agent, AgentConfig};
use crate::clock::boot_ms;
use crate::config::{Config, Weaker};
use crate::connection::{Link, ManagerAddress};
use crate::disk::make_private;
use crate::enrol::Stranger;
use crate::environment::{Environments, EnvironmentsConfig};
use crate::error::WorkerError;
use crate::features::{self, Version};
use crate::gpu::Gpus;
use crate::identity::Identity;
use crate::inputs::Inputs;
use crate::pacing::Pacing;
use crate::probe::{LoadMeter, Machine};
use crate::run::Runner;
use crate::run::backend::Backends;
use crate::senses::{self, SensesConfig};
use crate::speed;
use crate::spool::Spool;
use crate::stop::Stop;
use crate::walls::{Walls, instance};

/// Inputs of runs on their way to the agent, which takes them as fast as they come.
const INPUTS: usize = 1024;

/// Where systemd lets a service be reached, if it runs as one.
const RUNTIME_DIR: &str = "RUNTIME_DIRECTORY";

/// Messages of the manager on their way to the agent.
const EVENTS: usize = 256;

/// How a worker came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and left in order.
    Left,
    /// No sandbox works on this machine: what is missing and how to mend it, a line each.
    NoSandbox { notes: Vec<String> },
    /// A person must look before it is started again.
    Stopped(Stop),
}

/// What the owner is to know of how this machine stands with its manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The code is to be approved, if the dashboard shows the same fingerprint.
    Waiting {
        code: String,
        manager: Fingerprint,
    },
    WorksFor {
        owner: String,
    },
}

/// Tells the owner, on whatever the worker has for that; with the user who is said to be the owner.
pub type Show = fn(&Notice, owner: Option<&str>);

/// Runs a worker until `shutdown`. Belongs on a runtime with a single thread.
///
/// # Errors
///
/// When its directories, its identity or its spool cannot be used; a manager that is absent is no
/// error.
pub async fn run(
    config: Config,
    token: Option<JoinToken>,
    variables: BTreeMap<String, String>,
    show: Show,
    shutdown: CancellationToken,
) -> Result<Exit, WorkerError> {
    let _lock = take_directory(&config.data_dir, config.weaker)?;
    let mut identity = Identity::open(&config.data_dir, token)?;
    if let Some(wrong) = identity.take_foreign_token().await {
        return Ok(Exit::Stopped(Stop::OtherToken { wrong }));
    }
    let (owner, orders, keeper) =
        senses::open(SensesConfig::of(&config, variables.get(RUNTIME_DIR).map(String::as_str)))
            .await
            .map_err(|source| WorkerError::Sense { source })?;
    let (gpus, gpu_checks) = Gpus::find().await;
    let walls = Walls::probe(&config, &config.data_dir, instance(&config.data_dir));
    let (walls, tools) = tokio::join!(walls, features::probe(features::SYSTEM.as_ref()));
    let (gpus, withheld) = gpus.behind_walls(walls.isolation);
    let machine = Machine::probe(&config.data_dir, &gpus)?;
    let capacity = machine.capacity(config.caps);
    let mut offer = Offer::new(capacity, &walls, config.labels, tools, gpus.cuda());
    if walls.sandbox.is_none() && offer.isolation < Isolation::Docker {
        return Ok(Exit::NoSandbox { notes: offer.notes });
    }
    offer.notes.extend(gpu_checks.iter().chain(&withheld).map(note));
    offer.tell();

    let (spool, recovered) = Spool::open(&config.data_dir)?;
    let runs_dir = fresh_directory(config.data_dir.join("runs"))?;
    let environments = Environments::open(EnvironmentsConfig {
        data_dir: config.data_dir.clone(),
        uv: config.uv.clone(),
        fresh: config.environment_fresh,
        max_mib: config.environments_max_mib,
        cpu_millis: offer.capacity.cpu_millis,
        ram_mib: offer.capacity.ram_mib,
        variables,
    })
    .map_err(|source| WorkerError::MakeDirectory { path: config.data_dir.clone(), source })?;
    let mut verdicts = owner.verdict();
    let verdict = verdicts.borrow_and_update().clone();
    let pacing = Pacing::default();
    pacing.limit(verdict.shares.limits.network_kib_s);
    let (door, way) = watch::channel(None);
    let (max_mib, without) = (config.inputs_mib, config.without_sandbox);
    let inputs = Inputs::open(&config.data_dir, max_mib, without, way, pacing)
        .map_err(|source| WorkerError::MakeDirectory { path: config.data_dir.clone(), source })?;
    let cores = machine.cores;
    let speed = tokio::task::spawn_blocking(move || speed::measure(cores));
    let speed = speed.await.map_err(|source| WorkerError::BlockingWork { source })?;
    let name = config.name.clone().unwrap_or(machine.name);
    let agent = Agent::new(AgentConfig {
        name: name.clone(),
        capacity: offer.capacity,
        isolation: offer.isolation,
        isolation_notes: offer.notes,
        labels: offer.labels,
        speed,
        verdict,
    });
    let load = LoadMeter::start(&gpus)?;
    let (tools, heard) = Controls::channel();
    let runner = Runner {
        backends: Backends::new(walls.sandbox, walls.engine.clone()).with_tools(heard),
        gpus,
        environments,
        inputs,
        spool,
        runs_dir,
        limits: config.task,
    };
    let (inputs, input) = mpsc::channel(INPUTS);
    let (events, event) = mpsc::channel(EVENTS);
    let link = Link {
        manager: ManagerAddress { host: config.manager_host, port: config.manager_port },
        identity,
        stranger: Stranger { name, owner: config.owner.clone() },
        events,
    };
    let daemon = Daemon {
        agent,
        runner: Arc::new(runner),
        inputs,
        outbox: None,
        door,
        runs: BTreeMap::new(),
        frozen: watch::Sender::new(false),
        tools,
        untold: None,
        uploads: JoinSet::new(),
        load,
        told: owner,
        notice: None,
        owner: config.owner,
        show,
        hang_up: CancellationToken::new(),
        stop: None,
    };
    let end = config.share_for.map(|time| boot_ms().saturating_add(time.as_millis() as u64));
    let sensing = CancellationToken::new();
    let keeping = tokio::spawn(keeper.run(sensing.clone()));
    let incoming = Incoming { input, event, verdicts, orders, end_ms: end };
    let stop = daemon.live(recovered, incoming, link, shutdown).await;
    sensing.cancel();
    let _ended = keeping.await;
    if let Some(engine) = walls.engine {
        engine.close().await;
    }
    Ok(stop.map_or(Exit::Left, Exit::Stopped))
}

/// What this machine says of itself to the manager.
struct Offer {
    capacity: Capacity,
    isolation: Isolation,
    notes: Vec<String>,
    /// What jobs can require by name.
    labels: Vec<String>,
}

impl Offer {
    fn new(
        capacity: Capacity,
        walls: &Walls,
        own: Vec<String>,
        tools: Vec<String>,
        cuda: Option<&str>,
    ) -> Self {
        let mut notes = walls.notes.clone();
        let mut labels = vec![LABEL_4.to_owned()];
        labels.extend(own);
        // In a container a task sees the image's tools and not the machine's.
        if walls.sandbox.is_some() {
            labels.extend(tools);
        }
        if let Some(cuda) = cuda {
            labels.extend(features::labels("cuda", Version::find(cuda)));
        }
        // An engine can have any number of images, and all that is more than allowed is cut.
        labels.extend(walls.labels.iter().cloned());
        let too_many = labels.len().saturating_sub(LABELS_MAX);
        if too_many > 0 {
            notes.push(format!(
                "labels: {LABELS_MAX} are the most, so {too_many} images are not offered; shorten \
                 worker.docker_images, or end what it names with a star and allow worker.docker_pull"
            ));
        }
        let mut seen = BTreeSet::new();
        labels.retain(|label| seen.insert(label.clone()));
        labels.truncate(LABELS_MAX);
        Self { capacity, isolation: walls.isolation, notes, labels }
    }

    fn tell(&self) {
        info!(
            cores = self.capacity.cpu_millis / 1000,
            ram_mib = self.capacity.ram_mib,
            disk_mib = self.capacity.disk_mib,
            gpus = self.capacity.gpus.len(),
            isolation = ?self.isolation,
            labels = self.labels.join(" "),
            "this machine is offered"
        );
        for note in &self.notes {
            info!("{note}");
        }
    }
}

/// A check as a line for the owner.
fn note(check: &Check) -> String {
    match (&check.state, &check.mend) {
        (Holds::No, Some(mend)) => {
            format!("{}: {}; to mend it: {mend}", check.what, check.found)
        }
        (Holds::Yes | Holds::Optional | Holds::No, _) => format!("{}: {}", check.what, check.found),
    }
}

/// Makes the data directory if need be and takes it for this worker alone, until dropped.
///
/// # Errors
///
/// `MakeDirectory`, `DirectoryInUse`.
pub fn take_directory(path: &Path, weaker: Weaker) -> Result<Flock<File>, WorkerError> {
    let failed = |source| WorkerError::MakeDirectory { path: path.to_owned(), source };
    let mode = weaker.directory_mode();
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    let lock = File::create(path.join("lock")).map_err(failed)?;
    Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| WorkerError::DirectoryInUse { path: path.to_owned() })
}

/// An empty directory for this user alone in place of whatever an earlier worker has left there.
fn fresh_directory(path: PathBuf) -> Result<PathBuf, WorkerError> {
    let make = || {
        if path.symlink_metadata().is_ok() {
            fs::remove_dir_all(&path)?;
        }
        make_private(&path)
    };
    match make() {
        Ok(()) => Ok(path),
        Err(source) => Err(WorkerError::MakeDirectory { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn offer(labels: Vec<String>) -> Offer {
        let capacity = Capacity { cpu_millis: 1, ram_mib: 2, disk_mib: 3, gpus: Vec::new() };
        let (isolation, notes) = (Isolation::Docker, vec!["held".to_owned()]);
        let (sandbox, engine, checks) = (None, None, Vec::new());
        let walls = Walls { sandbox, engine, isolation, notes, checks, labels };
        let own = vec!["type/laptop".to_owned()];
        Offer::new(capacity, &walls, own, vec!["R".to_owned()], Some("12.4"))
    }

    #[test]
    fn a_machine_of_containers_offers_no_tools_of_its_own() {
        let offer = offer(vec!["docker".to_owned()]);
        let own = [LABEL_4, "type/laptop", "cuda", "cuda/12", "cuda/12.4", "docker"];
        assert_eq!(offer.labels, own);
        assert_eq!(offer.notes, ["held"]);
    }

    #[test]
    fn many_images_displace_nothing_else_and_the_owner_is_told() {
        let offer = offer((0..LABELS_MAX).map(|number| format!("image:{number}")).collect());
        let own = [LABEL_4, "type/laptop", "cuda", "cuda/12", "cuda/12.4", "image:0"];
        assert_eq!(offer.labels[..6], own);
        assert_eq!(offer.labels.len(), LABELS_MAX);
        assert!(
            offer.notes[1].starts_with("labels: 200 are the most, so 5 images are not offered")
        );
    }

    #[test]
    fn results_are_for_the_worker_alone_where_tasks_may_enter() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("worker");
        for before in ["", "spool", "runs", "identity"] {
            DirBuilder::new().mode(0o755).create(data_dir.join(before)).unwrap();
        }
        let _lock = take_directory(&data_dir, Weaker::Allow).unwrap();
        let (spool, _) = Spool::open(&data_dir).unwrap();
        Identity::open(&data_dir, None).unwrap();
        let runs = fresh_directory(data_dir.join("runs")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [runs, data_dir.join("spool"), data_dir.join("identity")].map(|path| mode(&path)),
            [0o700; 3]
        );
        drop(spool);
    }

    #[test]
    fn a_check_says_what_mends_it() {
        let mend = Some("sudo it".to_owned());
        let (what, found) = ("GPU".to_owned(), "none".to_owned());
        let check = Check { what, state: Holds::No, found, mend };
        assert_eq!(note(&check), "GPU: none; to mend it: sudo it");
        assert_eq!(note(&Check { state: Holds::Optional, ..check }), "GPU: none");
    }
}
