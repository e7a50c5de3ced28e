//! What a task finds on this machine by name: interpreters and tools, as labels that jobs can ask for.
//!
//! A tool is offered by its name and with its version, as precise as somebody may care: `R`, `R/4`,
//! `R/4.2`. Pythons are offered as their programs are called: `python3`, `python3.11`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use campusgrid_protocol::text::check_feature;
use futures_util::stream::{self, StreamExt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;
use tracing::debug;

/// All of a system that a task sees.
pub const SYSTEM: &str = "/usr";

/// Each with what makes it tell its version and end.
const TOOLS: [(&str, &str); 11] = [
    ("R", "--version"),
    ("g++", "--version"),
    ("gcc", "--version"),
    ("gfortran", "--version"),
    ("java", "--version"),
    ("julia", "--version"),
    ("make", "--version"),
    ("mpirun", "--version"),
    ("node", "--version"),
    ("nvcc", "--version"),
    ("octave", "--version"),
];

/// Octave needs two seconds on a cold disk.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// An answer's first lines hold the version; more is not read.
const ANSWER_MAX_BYTES: u64 = 4096;
/// Asked at once: starting a worker is not to make its owner's machine stutter.
const AT_ONCE: usize = 4;
/// Of Debian and its kin: nobody's, so that a tool that is asked can do nothing as root.
const NOBODY: u32 = 65534;

/// The labels of what lies in `system/bin`, sorted.
///
/// A tool that does not tell its version within 10 s is offered by its name alone. Only what root
/// or this user has installed is started, as nobody where this user is root.
pub async fn probe(system: &Path) -> Vec<String> {
    let bin = system.join("bin");
    let tools = TOOLS
        .into_iter()
        .filter_map(|(name, argument)| Some((name, argument, program(system, &bin.join(name))?)));
    let asked = stream::iter(tools)
        .map(|(name, argument, path)| async move { labels(name, version(&path, argument).await) });
    let mut all: Vec<String> = asked.buffer_unordered(AT_ONCE).concat().await;
    all.extend(pythons(system, &bin));
    all.retain(|label| check_feature(label).is_ok());
    all.sort_unstable();
    all.dedup();
    all
}

/// A name, and with it the version in two degrees of precision.
pub fn labels(name: &str, version: Option<Version>) -> Vec<String> {
    let mut labels = vec![name.to_owned()];
    if let Some(Version { major, minor }) = version {
        labels.extend([format!("{name}/{major}"), format!("{name}/{major}.{minor}")]);
    }
    labels
}

/// The first two numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// The first version in what a program says of itself.
    pub fn find(said: &str) -> Option<Self> {
        said.split_whitespace().find_map(|word| {
            let word = word.trim_start_matches(['v', '(']);
            let (major, rest) = word.split_once('.')?;
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            Some(Self { major: major.parse().ok()?, minor: rest[..digits].parse().ok()? })
        })
    }
}

/// Python's programs with at most one number behind `python3.`; those with others are its tools.
fn pythons(system: &Path, bin: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(bin) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_python = |name: &String| {
        name.strip_prefix("python3").is_some_and(|rest| {
            let digits = rest.strip_prefix('.').unwrap_or("0");
            rest.is_empty() || (rest.starts_with('.') && digits.parse::<u8>().is_ok())
        })
    };
    names.filter(is_python).filter(|name| program(system, &bin.join(name)).is_some()).collect()
}

/// The program behind a path, if a task can see it and nobody but root or this user can change it.
fn program(system: &Path, path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok().filter(|real| real.starts_with(system))?;
    let metadata = fs::metadata(&real).ok()?;
    let owner = metadata.uid();
    let is_ours = owner == 0 || owner == Uid::effective().as_raw();
    let mode = metadata.mode();
    // By the name it was asked for: some programs do what they are called.
    (metadata.is_file() && is_ours && mode & 0o022 == 0 && mode & 0o001 != 0)
        .then(|| path.to_owned())
}

/// What a program says its version is; none if it says nothing of the kind in time.
async fn version(path: &Path, argument: &str) -> Option<Version> {
    let mut command = Command::new(path);
    command.arg(argument).current_dir("/").env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    if Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            debug!(program = %path.display(), %error, "cannot be started");
            return None;
        }
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut said = Vec::new();
    let read = async {
        let mut answer = child.stdout.take()?.take(ANSWER_MAX_BYTES);
        answer.read_to_end(&mut said).await.ok()?;
        drop(answer); // Whoever goes on talking is told that nobody listens.
        child.wait().await.ok().filter(|status| status.success())
    };
    let ended = timeout(ANSWER_LIMIT, read).await.ok().flatten();
    if let (None, Some(group)) = (ended, group) {
        // Also what it has started: wrappers are common.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    }
    Version::find(&String::from_utf8_lossy(&said))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn check(said: &str, expected: &str) {
        let found =
            Version::find(said).map(|version| format!("{}.{}", version.major, version.minor));
        assert_eq!(found.unwrap_or_default(), expected, "{said}");
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        check("R version 4.2.2 Patched (2022-11-10 r83330) -- \"Innocent and Trusting\"", "4.2");
        check("gcc (Debian 12.2.0-14) 12.2.0\nCopyright (C) 2022 Free Software", "12.2");
        check("v18.19.0\n", "18.19");
        check("julia version 1.9.3", "1.9");
        check("GNU Octave, version 7.3.0", "7.3");
        check("mpirun (Open MPI) 4.1.4", "4.1");
        check("openjdk 17.0.8 2023-07-18", "17.0");
        check("Built on Tue_Feb__7\nCuda compilation tools, release 12.1, V12.1.105", "12.1");
        check("GNU Make 4.3", "4.3");
        check("", "");
        check("1.", "");
        check("99999999999.1 a.b .5", "");
    }

    #[test]
    fn labels_are_as_precise_as_somebody_may_care() {
        let version = Some(Version { major: 4, minor: 2 });
        assert_eq!(labels("R", version), ["R", "R/4", "R/4.2"]);
        assert_eq!(labels("R", None), ["R"]);
    }

    /// A system of scripts: each file of `bin` with its text and mode.
    fn system(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let system = tempfile::tempdir().unwrap();
        fs::set_permissions(system.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(system.path().join("bin")).unwrap();
        for (name, text, mode) in files {
            let path = system.path().join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        system
    }

    #[tokio::test]
    async fn what_a_system_has_is_offered() {
        let system = system(&[
            ("R", "echo R version 4.2.2", 0o755),
            ("node", "echo nothing of use", 0o755),
            ("julia", "echo julia version 1.9.3; exit 1", 0o755),
            ("make", "echo GNU Make 4.3", 0o644),
            ("gcc", "echo gcc 12.2.0", 0o777),
            ("python3.11", "", 0o755),
            ("python3.11-config", "", 0o755),
            ("python3x", "", 0o755),
            ("python2.7", "", 0o755),
        ]);
        let bin = system.path().join("bin");
        symlink("python3.11", bin.join("python3")).unwrap();
        symlink("/etc/passwd", bin.join("octave")).unwrap();
        assert_eq!(
            probe(system.path()).await,
            ["R", "R/4", "R/4.2", "julia", "julia/1", "julia/1.9", "node", "python3", "python3.11"]
        );
    }

    #[tokio::test]
    async fn a_tool_that_talks_without_end_is_left() {
        let system = system(&[("R", "echo R version 4.2.2; exec yes", 0o755)]);
        assert_eq!(probe(system.path()).await, ["R", "R/4", "R/4.2"]);
    }

    #[tokio::test]
    async fn this_machines_system_can_be_probed() {
        let labels = probe(Path::new(SYSTEM)).await;
        assert!(labels.is_sorted(), "{labels:?}");
    }
}
