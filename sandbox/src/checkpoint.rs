//! What a task has written to go on from: how it is told from what was saved before, and how it is
//! brought out of its scratch space while it stands still.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::collect::{Outputs, copy_out, open_scratch};
use crate::plan::{Collected, Plan};
use crate::walk::{Bounds, Taker, walk_all};

/// The directory in a task's own that a task's next attempt finds again.
pub const CHECKPOINT: &str = ".checkpoint";
/// Where the task finds that.
pub const CHECKPOINT_DIR: &str = "/job/.checkpoint";

/// Names looked at in all.
const ENTRIES_MAX: usize = 20_000;

/// What can be seen of files without reading them; equal for what has not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Print(Vec<(String, u64, u64, [i64; 4])>);

impl Print {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks at what lies beneath `directory`, whether or not anything runs that changes it.
    ///
    /// # Errors
    ///
    /// Those of files that were opened and do not tell what they are.
    pub fn of(root: File, directory: &str, bounds: Bounds) -> io::Result<Self> {
        let mut print = Self::default();
        walk_all(root.into(), directory, bounds, &mut print)?;
        Ok(print)
    }
}

impl Taker for Print {
    fn take(&mut self, path: &str, file: File, size_bytes: u64) -> io::Result<()> {
        let seen = file.metadata()?;
        let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
        self.0.push((path.to_owned(), size_bytes, seen.ino(), times));
        Ok(())
    }

    fn leave(&mut self, _path: &str, _why: &str) -> io::Result<()> {
        Ok(())
    }
}

/// How much of a checkpoint is looked at and taken: as much as of outputs.
pub fn bounds(files: u32, bytes: u64) -> Bounds {
    Bounds { files, bytes, entries: ENTRIES_MAX }
}

/// A task's checkpoint on the daemon's side.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    scratch: PathBuf,
    bounds: Bounds,
}

impl Place {
    pub(crate) fn of(plan: &Plan, scratch: PathBuf) -> Self {
        Self { scratch, bounds: bounds(plan.limits.outputs, plan.limits.outputs_bytes) }
    }

    fn directory() -> String {
        format!("job/{CHECKPOINT}")
    }

    /// What is there now. Blocks.
    pub(crate) fn look(&self) -> io::Result<Print> {
        Print::of(open_scratch(&self.scratch)?, &Self::directory(), self.bounds)
    }

    /// Copies all files to `target`, a directory not there yet; nothing of the task must run. Blocks.
    ///
    /// # Errors
    ///
    /// Those of our own side; nothing is then left of it.
    pub(crate) fn copy(&self, target: &Path) -> io::Result<Vec<Collected>> {
        let copied = copy_out(&self.scratch, &Self::directory(), target, self.bounds);
        if copied.is_err() {
            let _nothing = fs::remove_dir_all(target);
        }
        copied.map(|Outputs { files, left_behind: _ }| files)
    }
}
