//! Tries what holds on this machine, and says in words what does not and how to mend it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use campusgrid_protocol::resource::Isolation;
use nix::unistd::Uid;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cgroup::layout::Layout;
use crate::cpus::Cpus;
use crate::keeper::{Keeper, Kind, Recipe};
use crate::plan::{Exit, Limits, Plan, SandboxError, Step, Strength};
use crate::sandbox::{Confinement, Sandbox, SandboxConfig};

/// The first with `--disable-userns`.
const BWRAP_MIN: (u32, u32) = (0, 8);
const BWRAP_PLACES: [&str; 3] = ["/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"];

/// What is missing, why, and the command that mends it.
struct Missing(Vec<String>);

impl Missing {
    fn new(what: impl Into<String>, command: &str) -> Self {
        Self(vec![what.into(), format!("to mend it: {command}")])
    }
}

pub(crate) async fn probe(config: SandboxConfig) -> (Option<Sandbox>, Strength) {
    let found = match clear(&config.scratch) {
        Ok(()) => match config.confinement {
            Confinement::Full => full(&config).await,
            Confinement::None => bare(&config),
        },
        Err(error) => Err(Missing(vec![format!(
            "{} cannot be used for scratch: {error}",
            config.scratch.display()
        )])),
    };
    match found {
        Ok((sandbox, strength)) => (Some(sandbox), strength),
        Err(Missing(notes)) => (None, Strength { isolation: Isolation::None, notes }),
    }
}

fn bare(config: &SandboxConfig) -> Result<(Sandbox, Strength), Missing> {
    let recipe = Recipe {
        helper: config.helper.clone(),
        kind: Kind::Bare { scratch: config.scratch.clone() },
    };
    let keeper = Keeper::start(recipe).map_err(|error| Missing(vec![chain(&error)]))?;
    let notes = vec![
        "tasks are not confined: they read, write and reach what this user can".to_owned(),
        "only time, output and collected files are limited".to_owned(),
    ];
    Ok((Sandbox { keeper, cpus: None }, Strength { isolation: Isolation::None, notes }))
}

async fn full(config: &SandboxConfig) -> Result<(Sandbox, Strength), Missing> {
    let layout = Layout::find().map_err(|error| cgroups_missing(&error));
    let ((bwrap, version), layout) = match (find_bwrap(), layout) {
        (Ok(bwrap), Ok(layout)) => (bwrap, layout),
        (Err(Missing(bwrap)), Err(Missing(cgroups))) => {
            return Err(Missing([bwrap, cgroups].concat()));
        }
        (Err(missing), Ok(_)) | (Ok(_), Err(missing)) => return Err(missing),
    };
    let swept = layout.sweep();
    if swept > 0 {
        tracing::info!(cgroups = swept, "removed what an earlier worker has left");
    }
    let cpus = layout.cpus();
    let first_job_uid = Uid::effective().is_root().then_some(config.first_job_uid);
    let note_limits = format!(
        "memory, processor time and processes are limited through cgroup {}",
        layout.version(),
    );
    let how = if layout.pins_cores() {
        "and cannot use others"
    } else {
        "and could move to others, but gets no more time than its share: there is no cpuset"
    };
    let note_cores = format!("{} cores; a task sees those it is granted, {how}", cpus.len());
    let recipe = Recipe {
        helper: config.helper.clone(),
        kind: Kind::Confined { bwrap: Arc::from(bwrap), layout, first_job_uid },
    };
    let keeper = Keeper::start(recipe).map_err(|error| Missing(vec![chain(&error)]))?;
    let sandbox = Sandbox { keeper, cpus: Some(Cpus::new(&cpus)) };
    try_it(&sandbox, &config.scratch).await.map_err(|error| explain(&error))?;
    let user = match first_job_uid {
        Some(first) => format!("tasks run as users of their own, from uid {first}"),
        None => "tasks run as this user; a service of root's gives each a user of its own".into(),
    };
    let notes = vec![
        format!("namespaces through bubblewrap {version}: no network, read-only system"),
        note_limits,
        note_cores,
        "scratch space and its number of files are hard limits; both count as memory".to_owned(),
        user,
        "system calls are not filtered".to_owned(),
    ];
    Ok((sandbox, Strength { isolation: Isolation::Full, notes }))
}

/// Runs a task that does nothing, with all that belongs to one.
async fn try_it(sandbox: &Sandbox, scratch: &Path) -> Result<(), SandboxError> {
    let host = |operation| move |source| SandboxError::Host { operation, source };
    let results = scratch.join("probe");
    fs::create_dir(&results).map_err(host("make a directory to try the sandbox"))?;
    let plan = Plan {
        name: "probe".to_owned(),
        files: Vec::new(),
        steps: vec![Step { argv: vec!["true".to_owned()], wall: Duration::from_secs(20) }],
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        read_only: Vec::new(),
        limits: Limits {
            cpu_millis: 500,
            ram_mib: 64,
            scratch_mib: 1,
            scratch_files: 16,
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
    let ran = sandbox.run(plan, progress, CancellationToken::new()).await;
    let said = fs::read_to_string(results.join("stderr")).unwrap_or_default();
    fs::remove_dir_all(&results).map_err(host("remove the directory of the trial"))?;
    let exit = ran?.exit;
    if exit != Exit::Code(0) {
        return Err(SandboxError::Start { message: format!("it ended with {exit:?}: {said}") });
    }
    Ok(())
}

fn find_bwrap() -> Result<(PathBuf, String), Missing> {
    let place = BWRAP_PLACES.iter().map(PathBuf::from).find(|place| place.exists());
    let mend = "sudo apt install bubblewrap";
    let bwrap = place.ok_or_else(|| Missing::new("bubblewrap is not installed", mend))?;
    let said = Command::new(&bwrap).arg("--version").env_clear().output();
    let said = said.map_err(|error| {
        Missing::new(format!("{} cannot be started: {error}", bwrap.display()), mend)
    })?;
    let version = String::from_utf8_lossy(&said.stdout).trim().replace("bubblewrap ", "");
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= BWRAP_MIN => Ok((bwrap, version)),
        _ => Err(Missing::new(
            format!("bubblewrap {version} is older than 0.8"),
            "use Debian 12, Ubuntu 24.04 or newer, or put a newer bwrap in its place",
        )),
    }
}

fn cgroups_missing(error: &SandboxError) -> Missing {
    let what = chain(error);
    let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !is_v2 {
        return Missing::new(
            format!("{what}; this machine has cgroup v1, which only root may use"),
            "sudo campusgrid-worker …, or start the machine with \
             systemd.unified_cgroup_hierarchy=1",
        );
    }
    if Uid::effective().is_root() {
        return Missing::new(
            format!("{what}; root can make groups everywhere but in most containers"),
            "start the worker outside of the container",
        );
    }
    let start = "systemd-run --user --scope -p Delegate=yes campusgrid-worker …";
    let Some(list) = user_controllers() else {
        return Missing::new(
            format!("{what}; systemd does not care for this user's processes"),
            "sudo campusgrid-worker …, or log in through ssh or the screen, and not through su",
        );
    };
    if ["memory", "pids", "cpu"].iter().all(|name| list.split_whitespace().any(|has| has == *name))
    {
        return Missing::new(what, start);
    }
    let mend = format!(
        "sudo mkdir -p /etc/systemd/system/user@.service.d && printf \
         '[Service]\\nDelegate=cpu cpuset memory pids\\n' | sudo tee \
         /etc/systemd/system/user@.service.d/campusgrid.conf && sudo systemctl daemon-reload; \
         then log in again, and: {start}"
    );
    Missing::new(format!("{what}; systemd hands only {} to users", list.trim()), &mend)
}

/// What systemd hands to this user on cgroup v2; `None` where the user has no systemd.
fn user_controllers() -> Option<String> {
    let uid = Uid::effective();
    let group = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service");
    fs::read_to_string(Path::new(&group).join("cgroup.controllers")).ok()
}

/// Looks for what is known to forbid namespaces; otherwise the error has to speak for itself.
fn explain(error: &SandboxError) -> Missing {
    if let SandboxError::Limit { .. } = error {
        return cgroups_missing(error);
    }
    let is = |file: &str, value: &str| {
        fs::read_to_string(Path::new("/proc/sys").join(file)).is_ok_and(|text| text.trim() == value)
    };
    let reason = chain(error);
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Missing::new(
            format!("AppArmor lets only named programs make user namespaces ({reason})"),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, and the same line in \
             /etc/sysctl.d/60-campusgrid.conf for the next start",
        );
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return Missing::new(
            format!("this kernel is told to refuse user namespaces ({reason})"),
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if is("user/max_user_namespaces", "0") {
        return Missing::new(
            format!("no user namespaces are allowed ({reason})"),
            "sudo sysctl -w user.max_user_namespaces=10000",
        );
    }
    Missing(vec![format!("a trial task did not run: {reason}")])
}

/// An empty scratch directory, whatever an earlier run has left there.
fn clear(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(scratch)
}

/// An error with all its causes.
fn chain(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
