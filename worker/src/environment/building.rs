//! Directories in which something grows that uv makes, gone again with the work that they are for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;
use tracing::warn;

use super::{EnvironmentError, machine, shelf, workshop};

/// Begins the name of a directory in which an environment is built.
pub(super) const BUILDING: &str = "new-";

/// What uv may change during one piece of work.
#[derive(Debug)]
pub(super) enum Packages {
    /// With a cache that other work uses as well.
    Lasting(PathBuf),
    /// Gone with this value.
    Passing(Building),
}

impl Packages {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Lasting(path) => path,
            Self::Passing(building) => &building.path,
        }
    }
}

/// A directory in which an environment grows; gone with this value but for what was moved.
#[derive(Debug)]
pub(super) struct Building {
    path: PathBuf,
    pub(super) name: String,
}

impl Building {
    pub(super) fn new(parent: &Path) -> Result<Self, EnvironmentError> {
        let name = format!("{BUILDING}{:08x}", crate::backoff::random());
        let path = parent.join(&name);
        workshop::make_open(&path).map_err(|error| machine("make a directory", &error))?;
        Ok(Self { path, name })
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            let _ = shelf::remove(&path); // What is left is swept at the next start.
        };
        // Half an environment may be gigabytes of small files, and the worker's heartbeats come from
        // this thread.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Removes what begins so, but for what cannot be: nothing of it is ever looked at again. Blocks.
///
/// # Errors
///
/// When the directory cannot be read.
pub(super) fn sweep(dir: &Path, begin: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(begin)
            && let Err(error) = shelf::remove(&entry.path())
        {
            warn!(path = %entry.path().display(), %error, "a directory could not be removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_tree_is_removed_without_holding_up_the_runtime() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let building = Building::new(dir.path()).unwrap();
            let path = building.path.clone();
            let (go, gone) = sync_channel::<()>(0);
            let busy = tokio::task::spawn_blocking(move || gone.recv());
            drop(building);
            assert!(path.exists(), "it is left to the thread that is busy");
            drop(go);
            assert!(busy.await.unwrap().is_err());
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert!(!path.exists());
        });
    }
}
