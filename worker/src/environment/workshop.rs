//! Where packages are resolved and unpacked: walls like those of tasks, with the network, uv, one
//! directory that may be changed, and nothing else of this machine.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_container::error::Blame;
use campusgrid_protocol::task::Stream;
use campusgrid_protocol::text::DEFAULT_IMAGE;
use campusgrid_sandbox::plan::{Exit, Limits, Network, Plan, Progress, Report, Step};
use tokio::sync::mpsc;
use tracing::debug;

use super::EnvironmentError;
use crate::run::backend::{BackendError, Backends, Surroundings};

/// The one directory that may be changed, as it is seen inside.
pub(super) const PACKAGES: &str = "/packages";
/// uv's own cache in it.
pub(super) const CACHE: &str = "cache";
/// The uv program, as it is seen inside.
pub(super) const UV: &str = "/uv";

/// Of what a tool says, this much is passed on. Characters.
const MESSAGE_MAX: usize = 2000;
/// Pieces of what it says, on their way to the job page.
const PROGRESS: usize = 64;
/// More than any lock.
const LOG_KEEP_BYTES: u64 = 1 << 20;
const LOG_FLOOD_BYTES: u64 = 64 << 20;
/// More than uv needs for the largest of locks.
const RAM_MIB_MAX: u32 = 4096;
const SCRATCH_MIB: u32 = 256;
const SCRATCH_FILES: u32 = 16_384;
/// Libraries for GPUs come in files of gibibytes.
const FILE_MIB: u32 = 16 << 10;
const PROCESSES: u32 = 512;
const GRACE: Duration = Duration::from_secs(1);

/// What a program ends with that cannot be started, or that has no loader there.
const NOT_STARTED: [i32; 2] = [126, 127];
/// How the loader of the GNU C library says that it is older than a program, or lacks a part.
const NOT_LOADED: [&str; 2] = ["version `GLIBC_", "error while loading shared libraries"];

/// Whom this machine trusts in the network. The sandbox shows that by itself, an image has others.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
];

/// Runs the worker's own tools.
#[derive(Debug, Clone, Copy)]
pub struct Workshop<'a> {
    pub backends: &'a Backends,
    pub surroundings: Surroundings<'a>,
}

/// What one tool may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) cpu_millis: u32,
    pub(super) ram_mib: u32,
}

impl Share {
    /// Enough to say a sentence.
    pub(super) const SMALL: Self = Self { cpu_millis: 1000, ram_mib: 256 };

    /// One of so many equal parts of what the owner offers, none larger than a tool can use.
    pub(super) fn of(cpu_millis: u32, ram_mib: u32, parts: u32) -> Self {
        Self { cpu_millis: cpu_millis / parts, ram_mib: (ram_mib / parts).min(RAM_MIB_MAX) }
    }
}

/// One tool's work.
#[derive(Debug)]
pub(super) struct Chore<'a> {
    /// For people who look at processes and logs.
    pub(super) what: &'static str,
    /// Written into the directory in which the tool starts.
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) argv: Vec<String>,
    pub(super) limit: Duration,
    pub(super) share: Share,
    pub(super) network: Network,
    pub(super) environment: &'a BTreeMap<String, String>,
    /// Files and directories of the host that it may read: host path, path inside.
    pub(super) read_only: Vec<(PathBuf, PathBuf)>,
    /// The directory of the host that is [`PACKAGES`].
    pub(super) packages: Option<&'a Path>,
    /// Made and removed: for what the tool says.
    pub(super) results: &'a Path,
}

/// Why a chore came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// The tool itself ended so.
    Said { code: i32, message: String },
    /// It could not be run, or not to its end.
    Cut { message: String },
    /// Not through the tool: the image is not to be had, or lacks what the tool needs.
    Surroundings(EnvironmentError),
}

impl Workshop<'_> {
    /// Does a chore, and hands the lines that the tool says meanwhile to `heard`; yields what it
    /// printed.
    ///
    /// Dropping the future kills the tool.
    pub(super) async fn run(
        &self,
        chore: Chore<'_>,
        mut heard: impl FnMut(&str) + Send,
    ) -> Result<String, Failed> {
        let (what, share) = (chore.what, chore.share);
        let results = chore.results.to_owned();
        DirBuilder::new()
            .mode(0o700)
            .create(&results)
            .map_err(|error| cut(format!("failed to make a directory: {error}")))?;
        let _removed = Removed(results.clone());
        let (progress, mut happened) = mpsc::channel(PROGRESS);
        let is_uv = chore.argv.first().is_some_and(|program| program == UV);
        let plan = plan(chore, self.surroundings);
        let controls = self.backends.tools();
        let run = self.backends.run(self.surroundings, plan, progress, controls);
        let listen = async {
            let mut line = Vec::new();
            while let Some(happened) = happened.recv().await {
                let Progress::Printed { stream: Stream::Stderr, bytes } = happened else {
                    continue;
                };
                for byte in bytes {
                    if byte != b'\n' {
                        line.push(byte);
                    } else {
                        heard(&String::from_utf8_lossy(&std::mem::take(&mut line)));
                    }
                }
            }
        };
        let (report, ()) = tokio::join!(run, listen);
        let done = done(what, share, report);
        match (done, self.surroundings) {
            (Err(failed), Surroundings::Image(image)) if is_uv => Err(failed.in_image(image)),
            (done, Surroundings::Machine | Surroundings::Image(_)) => done,
        }
    }
}

/// Removes a directory when the chore is over, or cut short.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // What is left is swept at the next start.
    }
}

fn plan(chore: Chore<'_>, surroundings: Surroundings<'_>) -> Plan {
    let mut read_only = chore.read_only;
    if let (Surroundings::Image(_), Network::Host) = (surroundings, chore.network) {
        let there = CERTIFICATES.iter().map(PathBuf::from).filter(|path| path.is_dir());
        read_only.extend(there.map(|path| (path.clone(), path)));
    }
    Plan {
        name: format!("{}-{:08x}", chore.what, crate::backoff::random()),
        files: chore.files,
        links: Vec::new(),
        steps: vec![Step { argv: chore.argv, wall: chore.limit, warn: None }],
        environment: chore.environment.clone().into_iter().collect(),
        read_only,
        read_write: chore
            .packages
            .map(|host| (host.to_owned(), PathBuf::from(PACKAGES)))
            .into_iter()
            .collect(),
        devices: Vec::new(),
        network: chore.network,
        family: None,
        shared_tmp: false,
        outputs: Vec::new(),
        checkpoints: None,
        limits: Limits {
            cpu_millis: chore.share.cpu_millis,
            core_percent: 100,
            ram_mib: chore.share.ram_mib,
            scratch_mib: SCRATCH_MIB,
            scratch_files: SCRATCH_FILES,
            file_mib: FILE_MIB,
            processes: PROCESSES,
            log_keep_bytes: LOG_KEEP_BYTES,
            log_flood_bytes: LOG_FLOOD_BYTES,
            outputs: 0,
            outputs_bytes: 0,
            grace: GRACE,
        },
        results: chore.results.to_owned(),
    }
}

/// What a report says of a tool.
fn done(what: &str, share: Share, report: Result<Report, BackendError>) -> Result<String, Failed> {
    let report = report.map_err(|error| not_run(what, error))?;
    let read = |file: &Path| fs::read(file).unwrap_or_default();
    debug!(what, exit = ?report.exit, duration_ms = report.usage.run_ms, "a tool has ended");
    match report.exit {
        Exit::Code(0) if report.stdout.cut_bytes == 0 => {
            String::from_utf8(read(&report.stdout.file))
                .map_err(|_| cut(format!("{what} printed what is no text")))
        }
        Exit::Code(0) => Err(cut(format!("{what} printed too much"))),
        Exit::Code(code) => {
            let said = read(&report.stderr.file);
            Err(Failed::Said { code, message: plain(&String::from_utf8_lossy(&said)) })
        }
        Exit::TimeLimit => Err(cut(format!("{what} took too long"))),
        Exit::OutOfMemory => {
            Err(cut(format!("{what} needed more than {} MiB of memory", share.ram_mib)))
        }
        exit @ (Exit::Signal(_)
        | Exit::ScratchFull
        | Exit::TooManyFiles
        | Exit::FileTooLarge
        | Exit::Processes
        | Exit::OutputFlood
        | Exit::Stopped) => Err(cut(format!("{what} was ended: {exit:?}"))),
    }
}

/// Why no plan of this tool's was run.
pub(super) fn not_run(what: &str, error: BackendError) -> Failed {
    let blame = error.blame();
    let cause = format!("{:#}", anyhow::Error::new(error));
    match blame {
        Blame::Submitter => Failed::Surroundings(EnvironmentError::Image { message: cause }),
        Blame::Engine => Failed::Surroundings(EnvironmentError::Engine { message: cause }),
        Blame::Worker => cut(format!("{what} could not be run: {cause}")),
    }
}

/// An image that cannot serve: up to whoever named it, and the default one to this machine's owner.
pub(super) fn unfit(image: &str, why: &str) -> EnvironmentError {
    match image {
        DEFAULT_IMAGE => {
            EnvironmentError::Machine { message: format!("the worker's default image {why}") }
        }
        image => EnvironmentError::Image { message: format!("the image {image} {why}") },
    }
}

/// What a tool said, without its warnings, for people to read.
fn plain(said: &str) -> String {
    let lines = said.lines().filter(|line| !line.starts_with("warning: "));
    let lines: Vec<&str> = lines.collect();
    let plain = lines.join("\n");
    plain.trim().chars().filter(|&c| c == '\n' || !c.is_control()).take(MESSAGE_MAX).collect()
}

fn cut(message: String) -> Failed {
    Failed::Cut { message }
}

impl Failed {
    /// The failure as this machine's own, but for one that is the image's.
    pub(super) fn of_machine(self) -> EnvironmentError {
        match self {
            Self::Said { code, message } if message.is_empty() => {
                EnvironmentError::Machine { message: format!("it ended with {code}") }
            }
            Self::Said { message, .. } | Self::Cut { message } => {
                EnvironmentError::Machine { message }
            }
            Self::Surroundings(error) => error,
        }
    }

    /// A failure of uv's in an image, which may not have what programs of Linux count on.
    fn in_image(self, image: &str) -> Self {
        match self {
            Self::Said { code, message }
                if NOT_STARTED.contains(&code)
                    || NOT_LOADED.iter().any(|said| message.contains(said)) =>
            {
                let why = format!(
                    "does not take packages: uv, which needs a GNU C library that is not too old, \
                     does not start in it ({message})"
                );
                Self::Surroundings(unfit(image, &why))
            }
            failed @ (Self::Said { .. } | Self::Cut { .. } | Self::Surroundings(_)) => failed,
        }
    }
}

/// Makes a directory that any user in the walls may change.
///
/// The directory above it is closed to all others, so nobody else on the machine gets here; inside, the
/// tools run as a user of their own where the worker is root.
pub(super) fn make_open(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_takes_no_more_than_its_part_of_what_is_offered() {
        let share = |cpu_millis, ram_mib| Share { cpu_millis, ram_mib };
        assert_eq!(Share::of(4000, 2048, 2), share(2000, 1024));
        assert_eq!(Share::of(64_000, 262_144, 2), share(32_000, RAM_MIB_MAX));
    }
}
