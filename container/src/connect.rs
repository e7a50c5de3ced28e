//! Finds an engine, tries what holds there, and says in words what does not and how to mend it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, Docker};
use campusgrid_sandbox::cpus::Cpus;
use campusgrid_sandbox::plan::{Check, Holds};
use campusgrid_sandbox::users::whose;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, Uid};
use tokio::time::timeout;

use crate::builder;
use crate::engine::{Engine, EngineConfig, Shared};
use crate::error::EngineError;
use crate::kit::Kit;
use crate::pool::Pool;
use crate::roster::Roster;
use crate::seccomp;
use crate::slots::{SLOTS, Slots};
use crate::trial::try_it;

/// For one answer of the engine's; making containers on a busy machine takes longest. Seconds.
const ANSWER_S: u64 = 60;
/// For a first word.
const GREETING: Duration = Duration::from_secs(10);
const INSTALL: &str =
    "sudo apt install docker.io && sudo usermod -aG docker $USER, then log in again";

/// What an engine is, as it matters here.
struct Nature {
    docker: Docker,
    info: SystemInfo,
    is_podman: bool,
    is_rootless: bool,
}

pub(crate) async fn connect(config: EngineConfig) -> (Option<Engine>, Vec<Check>) {
    let mut checks = Vec::new();
    let Some(nature) = greet(&config, &mut checks).await else { return (None, checks) };
    if !look_at_limits(&nature, &mut checks) {
        return (None, checks);
    }
    // A rootless engine's are its owner's own, whatever their numbers inside.
    let taken = (!nature.is_rootless).then(|| whose(config.first_job_uid, SLOTS + 1)).flatten();
    if let Some(found) = taken {
        checks.push(missing("container users", &found, Some("sudo usermod --uid … NAME")));
        return (None, checks);
    }
    let mut shared = match prepare(config, &nature) {
        Ok(shared) => shared,
        Err(error) => {
            checks.push(missing("container's first process", &chain(&error), None));
            return (None, checks);
        }
    };
    let tried = try_it(&mut shared, &mut checks).await;
    (tried.then(|| Engine { shared: Arc::new(shared) }), checks)
}

/// Finds the first engine that answers.
async fn greet(config: &EngineConfig, checks: &mut Vec<Check>) -> Option<Nature> {
    let sockets =
        match (&config.socket, env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty())) {
            (Some(socket), _) => vec![socket.clone()],
            (None, Some(host)) => match host.strip_prefix("unix://") {
                Some(path) => vec![path.into()],
                None => {
                    let found = format!("DOCKER_HOST is {host}, which is not on this machine");
                    checks.push(missing("container engine", &found, Some("unset DOCKER_HOST")));
                    return None;
                }
            },
            (None, None) => usual_sockets(),
        };
    let mut tried = Vec::new();
    for socket in sockets {
        match timeout(GREETING, ask(&socket)).await {
            Ok(Ok((nature, found))) => {
                checks.push(there("container engine", &format!("{found} at {}", socket.display())));
                return Some(nature);
            }
            Ok(Err(why)) => tried.push(format!("{}: {why}", socket.display())),
            Err(_) => tried.push(format!("{}: no answer", socket.display())),
        }
    }
    checks.push(missing("container engine", &tried.join("; "), Some(INSTALL)));
    None
}

fn usual_sockets() -> Vec<PathBuf> {
    let mut sockets: Vec<PathBuf> = vec!["/var/run/docker.sock".into()];
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    sockets.extend(runtime.iter().map(|directory| directory.join("docker.sock")));
    sockets.push("/run/podman/podman.sock".into());
    sockets.extend(runtime.iter().map(|directory| directory.join("podman/podman.sock")));
    sockets
}

async fn ask(socket: &Path) -> Result<(Nature, String), String> {
    if !socket.exists() {
        return Err("not there".to_owned());
    }
    let path = socket.to_str().ok_or("its path is not UTF-8")?;
    let text = |error: bollard::errors::Error| error.to_string();
    let docker = Docker::connect_with_unix(path, ANSWER_S, API_DEFAULT_VERSION).map_err(text)?;
    let docker = docker.negotiate_version().await.map_err(text)?;
    docker.ping().await.map_err(text)?;
    let version = docker.version().await.map_err(text)?;
    let info = docker.info().await.map_err(text)?;
    let is_podman = version.components.iter().flatten().any(|part| part.name.contains("Podman"));
    let is_rootless =
        info.security_options.iter().flatten().any(|one| one.contains("name=rootless"));
    let found = format!(
        "{} {}{}, cgroup v{}, API {}",
        if is_podman { "Podman" } else { "Docker" },
        version.version.unwrap_or_default(),
        if is_rootless { ", rootless" } else { "" },
        info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        version.api_version.unwrap_or_default(),
    );
    Ok((Nature { docker, info, is_podman, is_rootless }, found))
}

/// What the engine itself says of the limits that it can set.
fn look_at_limits(nature: &Nature, checks: &mut Vec<Check>) -> bool {
    let info = &nature.info;
    let limits = [
        ("memory", info.memory_limit),
        ("processor time", info.cpu_cfs_quota),
        ("processes", info.pids_limit),
    ];
    let missing_limits: Vec<&str> =
        limits.iter().filter(|(_, has)| *has == Some(false)).map(|(name, _)| *name).collect();
    if missing_limits.is_empty() {
        return true;
    }
    let mend = if nature.is_rootless {
        "start the machine with systemd.unified_cgroup_hierarchy=1, or use an engine of root's"
    } else {
        "start the machine with cgroup_enable=memory swapaccount=1"
    };
    let found = format!("the engine cannot limit {}", missing_limits.join(", "));
    checks.push(missing("container limits", &found, Some(mend)));
    false
}

/// Packs what every container is shown.
fn prepare(config: EngineConfig, nature: &Nature) -> Result<Shared, EngineError> {
    let failed = |operation| EngineError::host(operation);
    fs::create_dir_all(&config.state).map_err(failed("make the containers' directory"))?;
    let state = config.state.canonicalize().map_err(failed("find the containers' directory"))?;
    let profile = seccomp::profile();
    let seccomp = if nature.is_podman {
        let path = state.join("seccomp.json");
        fs::write(&path, profile).map_err(failed("write the filter of system calls"))?;
        path.to_string_lossy().into_owned()
    } else {
        profile
    };
    Ok(Shared {
        docker: nature.docker.clone(),
        kit: Kit::pack(&config.helper, state.join("kit"))?,
        seccomp,
        roster: Roster::new(config.instance),
        first_job_uid: config.first_job_uid,
        builder_uid: builder::uid(config.first_job_uid, nature.is_rootless),
        is_podman: nature.is_podman,
        pins_cores: nature.info.cpu_set != Some(false),
        limits_files: true,
        patience: config.patience,
        images: config.images,
        slots: Slots::default(),
        cpus: Cpus::new(&cores()?),
        pool: Pool::default(),
    })
}

/// The cores that this process may use.
fn cores() -> Result<BTreeSet<u32>, EngineError> {
    let affinity = sched_getaffinity(Pid::from_raw(0))
        .map_err(|errno| EngineError::host("ask for this machine's cores")(errno.into()))?;
    let numbers = (0..CpuSet::count()).filter(|&core| affinity.is_set(core) == Ok(true));
    Ok(numbers.filter_map(|core| u32::try_from(core).ok()).collect())
}

pub(crate) fn there(what: &str, found: &str) -> Check {
    Check { what: what.to_owned(), state: Holds::Yes, found: found.to_owned(), mend: None }
}

pub(crate) fn missing(what: &str, found: &str, mend: Option<&str>) -> Check {
    let mut mend = mend.map(str::to_owned);
    if found.contains("Permission denied") && !Uid::effective().is_root() {
        mend = Some("sudo usermod -aG docker $USER, then log in again".to_owned());
    }
    Check { what: what.to_owned(), state: Holds::No, found: found.to_owned(), mend }
}

/// An error with all its causes.
pub(crate) fn chain(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
