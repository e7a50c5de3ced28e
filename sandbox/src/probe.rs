//! Tries what holds on this machine, and says in words what does not and how to mend it.

mod checks;
mod mend;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use campusgrid_protocol::resource::Isolation;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Uid;
use tokio::sync::mpsc;

use crate::cgroup::layout::Layout;
use crate::control::Controls;
use crate::cpus::Cpus;
use crate::keeper::{Keeper, Kind, Recipe};
use crate::plan::{Check, Exit, Holds, Limits, Network, Plan, SandboxError, Step, Strength};
use crate::sandbox::{Confinement, Sandbox, SandboxConfig};

/// A sandbox and what holds in it, or what is missing.
type Found = Result<(Sandbox, Strength), Vec<Check>>;

pub(crate) async fn probe(config: SandboxConfig) -> (Option<Sandbox>, Strength) {
    raise_descriptors();
    let found = match (clear(&config.scratch), config.confinement) {
        (Err(error), _) => Err(vec![mend::hopeless(
            "scratch space",
            format!("{} cannot be used: {error}", config.scratch.display()),
        )]),
        (Ok(()), Confinement::Full) => match full(&config).await {
            Err(missing) if config.allow_restricted => {
                restricted(&config).await.map_err(|more| [missing, more].concat())
            }
            found => found,
        },
        (Ok(()), Confinement::Restricted) => restricted(&config).await,
        (Ok(()), Confinement::None) => bare(&config),
    };
    match found {
        Ok((sandbox, strength)) => (Some(sandbox), strength),
        Err(checks) => {
            let notes = checks.iter().filter(|check| check.state == Holds::No).flat_map(words);
            (None, Strength { isolation: Isolation::None, notes: notes.collect(), checks })
        }
    }
}

/// Raises how many descriptors we may have to all that is allowed.
///
/// Tasks of our own uid may have far less. What one process has sent to another and nobody has
/// received is counted by uid, but against the limit of whoever sends next: so no task can keep us
/// from sending helpers theirs.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of descriptors could not be raised");
    }
}

/// What is missing and what mends it, as sentences.
fn words(check: &Check) -> Vec<String> {
    let mend = check.mend.iter().map(|command| format!("to mend it: {command}"));
    [check.found.clone()].into_iter().chain(mend).collect()
}

fn bare(config: &SandboxConfig) -> Found {
    let kind = Kind::Bare { scratch: config.scratch.clone() };
    let keeper = start(config, kind)?;
    let notes = vec![
        "tasks are not confined: they read, write and reach what this user can".to_owned(),
        "only time, output and collected files are limited".to_owned(),
    ];
    let strength = Strength { isolation: Isolation::None, notes, checks: checks::none() };
    Ok((Sandbox { keeper, cpus: None, isolation: Isolation::None }, strength))
}

fn start(config: &SandboxConfig, kind: Kind) -> Result<Keeper, Vec<Check>> {
    let started = Keeper::start(Recipe { helper: config.helper.clone(), kind });
    started.map_err(|error| vec![mend::hopeless("sandbox", mend::chain(&error))])
}

async fn full(config: &SandboxConfig) -> Found {
    let layout = find_layout()?;
    let cpus = Some(Cpus::new(&layout.cpus()));
    let first_job_uid = Uid::effective().is_root().then_some(config.first_job_uid);
    first_job_uid.map_or(Ok(()), mend::check_users)?;
    let keeper = start(config, Kind::Confined { layout: layout.clone(), first_job_uid })?;
    let sandbox = Sandbox { keeper, cpus, isolation: Isolation::Full };
    if let Err(error) = try_it(&sandbox, &config.scratch).await {
        return Err(vec![mend::trial(&error), checks::landlock()]);
    }
    let mut checks = checks::tried(first_job_uid);
    checks.extend(checks::limits(&layout));
    checks.push(checks::landlock());
    Ok((sandbox, strength(Isolation::Full, checks)))
}

/// Walls without namespaces, which hold nobody whose user owns something here.
async fn restricted(config: &SandboxConfig) -> Found {
    let missing = mend::for_restricted(&config.scratch);
    if !missing.is_empty() {
        return Err(missing);
    }
    mend::check_users(config.first_job_uid)?;
    let layout = find_layout()?;
    let cpus = Some(Cpus::new(&layout.cpus()));
    let scratch = config.scratch.clone();
    let first_job_uid = config.first_job_uid;
    let kind = Kind::Filtered { layout: layout.clone(), first_job_uid, scratch };
    let sandbox = Sandbox { keeper: start(config, kind)?, cpus, isolation: Isolation::Restricted };
    if let Err(error) = try_it(&sandbox, &config.scratch).await {
        return Err(vec![mend::hopeless("restricted", mend::chain(&error))]);
    }
    let mut checks = checks::restricted(first_job_uid);
    checks.extend(checks::limits(&layout));
    checks.push(checks::landlock());
    Ok((sandbox, strength(Isolation::Restricted, checks)))
}

fn strength(isolation: Isolation, checks: Vec<Check>) -> Strength {
    let notes = checks.iter().map(|check| format!("{}: {}", check.what, check.found)).collect();
    Strength { isolation, notes, checks }
}

/// Where groups with limits can be made; what earlier workers have left there is removed.
fn find_layout() -> Result<Layout, Vec<Check>> {
    let layout = Layout::find().map_err(|error| vec![mend::cgroups(&error), checks::landlock()])?;
    let swept = layout.sweep();
    if swept > 0 {
        tracing::info!(cgroups = swept, "removed what an earlier worker has left");
    }
    Ok(layout)
}

/// Runs a task that does nothing, with all that belongs to one.
async fn try_it(sandbox: &Sandbox, scratch: &Path) -> Result<(), SandboxError> {
    let host = |operation| move |source| SandboxError::Host { operation, source };
    let results = scratch.join("probe");
    fs::create_dir(&results).map_err(host("make a directory to try the sandbox"))?;
    let plan = Plan {
        name: "probe".to_owned(),
        files: Vec::new(),
        links: Vec::new(),
        steps: vec![Step {
            argv: vec!["true".to_owned()],
            wall: Duration::from_secs(20),
            warn: None,
        }],
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        read_only: Vec::new(),
        read_write: Vec::new(),
        devices: Vec::new(),
        network: Network::None,
        family: None,
        shared_tmp: false,
        outputs: Vec::new(),
        checkpoints: None,
        limits: Limits {
            cpu_millis: 500,
            core_percent: 100,
            ram_mib: 64,
            scratch_mib: 1,
            scratch_files: 16,
            file_mib: 1,
            processes: 4,
            log_keep_bytes: 4096,
            log_flood_bytes: 65536,
            outputs: 0,
            outputs_bytes: 0,
            grace: Duration::from_millis(100),
        },
        results: results.clone(),
    };
    let (progress, _nobody) = mpsc::channel(1);
    let ran = sandbox.run(plan, progress, Controls::none()).await;
    let said = fs::read_to_string(results.join("stderr")).unwrap_or_default();
    fs::remove_dir_all(&results).map_err(host("remove the directory of the trial"))?;
    let exit = ran?.exit;
    if exit != Exit::Code(0) {
        return Err(SandboxError::Start { message: format!("it ended with {exit:?}: {said}") });
    }
    Ok(())
}

/// An empty scratch directory, whatever an earlier run has left there.
fn clear(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_have_all_descriptors_that_we_may_have() {
        let (_, all) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 100, all).unwrap();
        raise_descriptors();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (all, all));
    }
}
