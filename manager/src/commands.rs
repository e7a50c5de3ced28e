//! The commands that do one thing and end: some work on the files, some ask the manager that runs.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use campusgrid_core::time::Timestamp;
use campusgrid_manager::admin::{self, Answer, AskError, Order};
use campusgrid_manager::backup::{
    BackupError, Made, Manifest, Overwrite, Restored, backup, restore,
};
use campusgrid_manager::clock::Clock;
use campusgrid_manager::data_dir::{self, DataDirError};
use campusgrid_manager::inspect::{Closeness, InspectError, Inspection, inspect, prune};
use campusgrid_manager::store;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Longest password that is read. Bytes.
const PASSWORD_LINE_MAX: usize = 4096;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("files are removed only while no manager runs")]
    Prune(#[source] DataDirError),
    #[error("{} holds no database of a manager: name its directory with --data-dir", path.display())]
    NoGrid { path: PathBuf },
    #[error("{reason}")]
    Refused { reason: String },
    #[error("failed to read a password from standard input")]
    ReadPassword(#[source] io::Error),
    #[error("failed to write to standard output")]
    Print(#[source] io::Error),
}

/// How a command that was carried out has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Fine,
    /// Something is broken, and was told.
    Broken,
}

type Ended = Result<Ending, CommandError>;

pub(crate) fn tell(text: &str) {
    // Where nobody can be told there is nothing better to do.
    drop(writeln!(io::stderr().lock(), "campusgrid-manager: {text}"));
}

fn print(text: &str) -> Result<(), CommandError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CommandError::Print)
}

fn now() -> Timestamp {
    Clock::start(Timestamp::default()).now()
}

/// Looks at all of a data directory.
pub(crate) fn fsck(data_dir: &Path, closeness: Closeness, removal: Removal) -> Ended {
    // Held to the end, so that no manager begins meanwhile.
    let _lock = match removal {
        Removal::None => None,
        Removal::Old => Some(data_dir::lock(data_dir).map_err(CommandError::Prune)?),
    };
    let found = inspect(data_dir, closeness, now())?;
    let Inspection { books, files, blobs, unreferred } = &found;
    for finding in books.broken.iter().chain(files) {
        tell(finding);
    }
    for note in &books.notes {
        print(&format!("note: {note}"))?;
    }
    let broken = books.broken.len() + files.len();
    if unreferred.blobs > 0 {
        let mib = unreferred.bytes >> 20;
        print(&format!(
            "note: {} files that no job refers to, {mib} MiB; a manager that runs removes them two days \
             after they were last used, so this is no finding",
            unreferred.blobs
        ))?;
    }
    if broken > 0 {
        let what = if books.broken.is_empty() {
            "the books balance, but files are missing or damaged"
        } else {
            "the books do not balance, or cannot be read"
        };
        tell(&format!("{what}: {broken} findings"));
        return Ok(Ending::Broken); // And nothing is removed: what looks superfluous may not be.
    }
    if removal == Removal::Old {
        print(&format!("{} of them removed", prune(&found)?))?;
    }
    print(&format!("the books balance; {} transfers, {blobs} files", books.transfers))?;
    Ok(Ending::Fine)
}

/// What a look at the files removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    None,
    Old,
}

pub(crate) fn back_up(data_dir: &Path, to: &Path) -> Ended {
    if !data_dir.join(store::FILE).exists() {
        return Err(CommandError::NoGrid { path: data_dir.to_owned() });
    }
    let Made { manifest, kept } = backup(data_dir, to, now())?;
    let Manifest { blobs, blob_bytes, missing, broken, .. } = &manifest;
    for hash in missing {
        tell(&format!("blob {hash} is missing or damaged, and so it is in this backup"));
    }
    for finding in broken {
        tell(finding);
    }
    let mib = blob_bytes >> 20;
    print(&format!(
        "backed up to {}: the database, the certificate authority and {blobs} files ({mib} MiB; \
         {kept} were there already)",
        to.display()
    ))?;
    if missing.is_empty() && broken.is_empty() {
        return Ok(Ending::Fine);
    }
    tell("what was backed up is broken already: keep earlier backups");
    Ok(Ending::Broken)
}

pub(crate) fn put_back(from: &Path, data_dir: &Path, overwrite: Overwrite) -> Ended {
    let Restored { manifest, aside, next_job } = restore(from, data_dir, overwrite, now())?;
    if let Some(aside) = aside {
        print(&format!(
            "what was there before is in {} ({}), all data and the key that workers know this manager by: \
             remove it when all is well",
            aside.display(),
            size(&aside)
        ))?;
    }
    print(&format!("restored {}: checking it once more", data_dir.display()))?;
    let ending = fsck(data_dir, Closeness::Content, Removal::None)?;
    if ending == Ending::Broken && !(manifest.broken.is_empty() && manifest.missing.is_empty()) {
        tell("that was so when the backup was made");
    }
    if ending == Ending::Fine {
        print(&format!(
            "ok: start the manager. What came after the backup is lost; new jobs are numbered \
             from {next_job} on. Logins, tokens to join and invitations are closed. API tokens, passwords and roles are as they were then: revoke and \
             change those that should be. Machines that have joined since are unknown, stop when they \
             come back, and must join anew; machines that were removed since are back: remove them \
             again"
        ))?;
    }
    Ok(ending)
}

/// How much the files of a directory take, in words.
fn size(path: &Path) -> String {
    fn bytes(path: &Path) -> u64 {
        let Ok(entries) = fs::read_dir(path) else { return 0 };
        let sizes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        });
        sizes.sum()
    }
    format!("{} MiB", bytes(path).div_ceil(1 << 20))
}

/// Asks the manager that runs, and prints what it answers.
pub(crate) fn order(data_dir: &Path, order: &Order) -> Ended {
    match admin::ask(data_dir, order)? {
        Answer::Done { value, notes } => {
            if !value.is_empty() {
                print(&value)?;
            }
            for note in notes {
                tell(&note);
            }
            Ok(Ending::Fine)
        }
        Answer::Bad { findings } => {
            for finding in &findings {
                tell(finding);
            }
            tell(&format!("the books do not balance: {} findings", findings.len()));
            Ok(Ending::Broken)
        }
        Answer::Refused { reason } => Err(CommandError::Refused { reason }),
    }
}

/// Reads a line, which a terminal does not show.
pub(crate) fn read_password() -> Result<String, CommandError> {
    let stdin = io::stdin();
    let hidden = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten();
    if let Some(shown) = &hidden {
        let mut settings = shown.clone();
        settings.local_flags.remove(LocalFlags::ECHO);
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, &settings);
        drop(write!(io::stderr(), "new password: "));
    }
    let mut line = Vec::new();
    let read = io::Read::take(stdin.lock(), PASSWORD_LINE_MAX as u64).read_until(b'\n', &mut line);
    if let Some(shown) = &hidden {
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, shown);
        drop(writeln!(io::stderr()));
    }
    read.map_err(CommandError::ReadPassword)?;
    let not_text = |_| CommandError::Refused { reason: "a password is text in UTF-8".to_owned() };
    let line = String::from_utf8(line).map_err(not_text)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
