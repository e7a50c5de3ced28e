//! What is looked at beside the walls: the system, what can be offered, tools, the service, the
//! manager.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use campusgrid_identity::fingerprint::Fingerprint;
use campusgrid_identity::machine::{Trust, client_config, wrong_fingerprint};
use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_sandbox::plan::{Check, Holds};

use crate::config::Config;
use crate::connection::{Door, ManagerAddress};
use crate::error::WorkerError;
use crate::gpu::Gpus;
use crate::hello;
use crate::identity;
use crate::install::PROGRAM;
use crate::probe::Machine;

/// Less than this is not worth sharing. MiB.
const RAM_MIN_MIB: u32 = 256;
const DISK_MIN_MIB: u32 = 64;

/// Where Ubuntu says whether programs without a profile may make user namespaces.
const USERNS_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

pub(super) fn check(what: &str, state: Holds, found: String, mend: Option<&str>) -> Check {
    Check { what: what.to_owned(), state, found, mend: mend.map(str::to_owned) }
}

/// The distribution and the kernel, and what they keep from ordinary programs.
pub(super) fn system() -> Vec<Check> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or("Linux", |name| name.trim_matches('"'));
    let kernel = read("/proc/sys/kernel/osrelease");
    let found = format!("{name}, Linux {}, {}", kernel.trim(), std::env::consts::ARCH);
    let mut checks = vec![check("system", Holds::Yes, found, None)];
    if read(USERNS_SWITCH).trim() == "1" {
        // A profile that confines nothing and only allows namespaces names itself like this.
        let profile = read("/proc/self/attr/apparmor/current");
        let profile = profile.trim().trim_end_matches('\0');
        checks.push(if profile.starts_with("campusgrid") {
            let found = "restricts user namespaces; this program's profile allows them".to_owned();
            check("AppArmor", Holds::Yes, found, None)
        } else {
            let found = format!(
                "keeps user namespaces from programs without a profile; this one runs as \"{profile}\""
            );
            let mend = format!("sudo {} install, then start {PROGRAM}", own_path());
            check("AppArmor", Holds::No, found, Some(&mend))
        });
    }
    checks
}

/// How this program is called with its whole path, for commands that `sudo` must find.
fn own_path() -> String {
    std::env::current_exe()
        .map_or_else(|_| "campusgrid-worker".to_owned(), |path| path.display().to_string())
}

/// Cores, memory and disk.
pub(super) fn capacity(config: &Config, gpus: &Gpus) -> Vec<Check> {
    // The directory that the worker will make, or what it will be made in.
    let disk = config.data_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let machine = match Machine::probe(disk, gpus) {
        Ok(machine) => machine,
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::new(error));
            return vec![check("memory and disk", Holds::No, found, None)];
        }
    };
    let offered = machine.capacity(config.caps);
    let enough = |is_enough| if is_enough { Holds::Yes } else { Holds::No };
    let cores = format!("{} of {}", offered.cpu_millis / 1000, machine.cores);
    let ram = format!(
        "{} of {} MiB, and {} MiB for tasks' files, which are held in memory",
        offered.ram_mib, machine.ram_mib, offered.disk_mib
    );
    let free = format!("{} MiB free at {}", machine.disk_free_mib, disk.display());
    let is_roomy = offered.disk_mib >= DISK_MIN_MIB;
    vec![
        check("cores offered", Holds::Yes, cores, None),
        check("memory offered", enough(offered.ram_mib >= RAM_MIN_MIB), ram, None),
        check("disk", enough(is_roomy), free, (!is_roomy).then_some("free some disk space")),
    ]
}

/// What jobs can ask for by name, and what is missing for the common kinds.
pub(super) fn tools(labels: &[String]) -> Vec<Check> {
    let has = |name: &str| labels.iter().any(|label| label == name);
    let names: Vec<&str> =
        labels.iter().map(String::as_str).filter(|label| !label.contains('/')).collect();
    let found = if names.is_empty() { "none in /usr/bin".to_owned() } else { names.join(" ") };
    let mut checks = vec![check("tools", Holds::Yes, found, None)];
    if !has("python3") {
        let found = "not in /usr/bin: no Python jobs".to_owned();
        let mend = "sudo apt-get install python3 python3-venv";
        checks.push(check("Python", Holds::No, found, Some(mend)));
    }
    if !has("gcc") || !Path::new("/usr/include/stdio.h").exists() {
        let found = "no compiler with headers: C jobs fail".to_owned();
        let mend = "sudo apt-get install gcc libc6-dev";
        checks.push(check("C", Holds::Optional, found, Some(mend)));
    }
    checks
}

/// The program that installs Python packages, or what it can be installed with.
pub(super) fn uv(config: &Config, variables: &BTreeMap<String, String>) -> Check {
    let path = variables.get("PATH").map(String::as_str).unwrap_or_default();
    let places = match &config.uv {
        Some(path) => vec![path.clone()],
        None => std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join("uv"))
            .chain([config.data_dir.join("tools/bin/uv")])
            .collect(),
    };
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return check("uv", Holds::Yes, found.display().to_string(), None);
    }
    if config.uv.is_some() {
        let found = "not where worker.uv says".to_owned();
        return check("uv", Holds::No, found, Some("correct worker.uv in config.toml"));
    }
    if has_venv() {
        let found = "not here; the worker installs it when a job first needs it".to_owned();
        return check("uv", Holds::Yes, found, None);
    }
    let found = "not here, and without python3-venv it cannot be: no Python packages".to_owned();
    check("uv", Holds::Optional, found, Some("sudo apt-get install python3-venv"))
}

/// Whether some Python of the system can make environments with pip in them.
fn has_venv() -> bool {
    let Ok(entries) = fs::read_dir("/usr/lib") else { return false };
    let mut libraries = entries.flatten().map(|entry| entry.path());
    libraries.any(|library| {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("python3.") && library.join("ensurepip").is_dir()
    })
}

/// Whether the worker is a service here.
pub(super) fn service() -> Option<Check> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let is_installed = ["/etc", "/usr/lib", "/lib"]
        .iter()
        .any(|place| Path::new(place).join("systemd/system/campusgrid-worker.service").exists());
    Some(if is_installed {
        check(
            "service",
            Holds::Yes,
            "installed; systemctl status campusgrid-worker".to_owned(),
            None,
        )
    } else {
        let mend = format!("sudo {} install -m HOST -u USER", own_path());
        let found =
            "not installed; the worker then runs while somebody keeps it running".to_owned();
        check("service", Holds::Optional, found, Some(&mend))
    })
}

/// Whether the manager answers, is the one that this machine has joined, and speaks our version.
pub(super) async fn manager(address: &ManagerAddress, data_dir: &Path) -> Check {
    let known = identity::joined_manager(data_dir);
    match look(address, known).await {
        Ok(seen) => {
            let is_known = if known.is_some() { ", as this machine knows it" } else { "" };
            let found = format!("{address} answers{is_known}; its fingerprint: {}", seen.grouped());
            check("manager", Holds::Yes, found, None)
        }
        Err(error) if wrong_fingerprint(&error).is_some() => {
            let found = format!("{:#}", anyhow::Error::new(error));
            let mend =
                "ask its operator for its fingerprint; if it is new: campusgrid-worker forget";
            check("manager", Holds::No, found, Some(mend))
        }
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::new(error));
            let mend =
                "check the address, that the manager runs, and that no firewall closes its port";
            check("manager", Holds::No, found, Some(mend))
        }
    }
}

async fn look(
    address: &ManagerAddress,
    known: Option<Fingerprint>,
) -> Result<Fingerprint, WorkerError> {
    let trust = known.map_or(Trust::FirstUse, Trust::Pinned);
    let tls = client_config(trust, None).map_err(|source| WorkerError::Tls { source })?;
    let door = Door { manager: address.clone(), tls };
    // Nothing is asked for on it, so that no certificate is needed.
    let (_, seen) = hello::dial(&door, ConnectionKind::Enrolment).await?;
    Ok(seen)
}
