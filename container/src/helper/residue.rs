//! Removes what a task has written, and looks for what could outlive it in the container.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_sandbox::clock::Stopwatch;
use nix::sys::statvfs::statvfs;

use crate::event::{Full, WRITABLE};

/// Where POSIX message queues are seen.
pub(super) const QUEUES: &str = "/dev/mqueue";
/// The kernel's lists of System V objects: a heading, then a line for each.
const SYSTEM_V: [&str; 3] = ["/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sysvipc/shm"];
/// What takes longer is not worth it: a new container is there within a second.
const REMOVING: Duration = Duration::from_secs(2);
/// Entries listed at a time.
const BATCH: usize = 512;
/// Files looked at for one that is as long as it may be.
const LOOKED_AT_MAX: usize = 20_000;

/// What of the writable places the task has used up; a file of `file_bytes` is as long as it may be.
pub(super) fn full(file_bytes: u64) -> Option<Full> {
    let numbers = WRITABLE.iter().filter_map(|place| statvfs(*place).ok());
    let used_up = numbers
        .filter_map(|place| Full::of(place.blocks_available(), place.files_available()))
        .next();
    used_up
        .or_else(|| WRITABLE.iter().any(|place| has_file(place, file_bytes)).then_some(Full::File))
}

/// Empties places that a task can write to.
///
/// # Errors
///
/// In words, what is still there: the container must not serve another task.
pub(super) fn remove(places: &[&str]) -> Result<(), String> {
    for place in places {
        empty(Path::new(place)).map_err(|error| format!("{place} cannot be emptied: {error}"))?;
    }
    if let Err(error) = empty(Path::new(QUEUES))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(format!("message queues cannot be removed: {error}"));
    }
    for list in SYSTEM_V {
        let lines = fs::read_to_string(list).map(|text| text.lines().count());
        match lines {
            Ok(0..=1) => {}
            Ok(_) => return Err(format!("{list} is not empty")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // A kernel without them.
            Err(error) => return Err(format!("{list} cannot be read: {error}")),
        }
    }
    Ok(())
}

/// Removes all that is in `top`, however deep: what lies two levels down is first moved up, so that
/// no path grows long and no more than one directory is open.
///
/// # Errors
///
/// `TimedOut` if it takes too long, or those of the file system.
fn empty(top: &Path) -> io::Result<()> {
    let watch = Stopwatch::start();
    let mut moved: u64 = 0;
    loop {
        let entries = list(top)?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if watch.passed() > REMOVING {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !fs::symlink_metadata(&entry)?.is_dir() {
                fs::remove_file(&entry)?;
                continue;
            }
            open_up(&entry)?;
            move_up(&entry, top, &mut moved, &watch)?;
            fs::remove_dir(&entry)?;
        }
    }
}

/// Empties a directory in `top`; directories in it become neighbours of its own.
fn move_up(directory: &Path, top: &Path, moved: &mut u64, watch: &Stopwatch) -> io::Result<()> {
    loop {
        let children = list(directory)?;
        if children.is_empty() {
            return Ok(());
        }
        if watch.passed() > REMOVING {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for child in children {
            if fs::symlink_metadata(&child)?.is_dir() {
                open_up(&child)?;
                *moved += 1;
                fs::rename(&child, free_name(top, moved)?)?;
            } else {
                fs::remove_file(&child)?;
            }
        }
    }
}

/// A name beneath `top` that nothing has.
fn free_name(top: &Path, number: &mut u64) -> io::Result<PathBuf> {
    loop {
        let name = top.join(format!("campusgrid-{number}"));
        match fs::symlink_metadata(&name) {
            Ok(_) => *number += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name),
            Err(error) => return Err(error),
        }
    }
}

/// Lets its owner, which this process is, look into and change a directory.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// Some of what is in a directory: memory is the task's, and it may have left none.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.take(BATCH).map(|entry| Ok(entry?.path())).collect()
}

/// Whether a file of at least `bytes` lies somewhere in `top`; what cannot be read is passed over.
fn has_file(top: &str, bytes: u64) -> bool {
    let mut waiting = vec![PathBuf::from(top)];
    let mut looked_at = 0;
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.map_while(Result::ok) {
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                return false;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) if metadata.is_file() && metadata.len() >= bytes => return true,
                Ok(_) | Err(_) => {}
            }
        }
    }
    false
}
