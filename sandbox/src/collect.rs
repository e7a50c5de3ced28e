//! Brings a task's outputs out of its scratch space, as [`crate::walk`] finds them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use campusgrid_protocol::id::BlobHash;
use nix::fcntl::OFlag;

use crate::plan::{Collected, Plan, SandboxError};
use crate::walk::{Bounds, Taker, Wanted, given, walk, walk_all};

/// Words for people; whoever leaves a thousand strange files does not need each of them named.
const NAMED_MAX: usize = 8;
/// Names looked at in all.
const ENTRIES_MAX: usize = 100_000;
const BUFFER_BYTES: usize = 128 * 1024;

/// What was found and what was not taken.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) files: Vec<Collected>,
    pub(crate) left_behind: String,
}

/// Copies the regular files beneath `scratch/job` that are to be kept to `target`, a directory not there
/// yet.
///
/// # Errors
///
/// `Host` if our own side fails; what is wrong with the task's files is only told.
pub(crate) fn collect(scratch: &Path, target: &Path, plan: &Plan) -> Result<Outputs, SandboxError> {
    let host = |source| SandboxError::Host { operation: "collect the task's outputs", source };
    let root = open_scratch(scratch).map_err(host)?;
    let limits = &plan.limits;
    let bounds =
        Bounds { files: limits.outputs, bytes: limits.outputs_bytes, entries: ENTRIES_MAX };
    let mut collection = Collection::new(target);
    let wanted = Wanted { patterns: &plan.outputs, except: &given(plan) };
    walk(root.into(), "job", wanted, bounds, &mut collection).map_err(host)?;
    Ok(collection.finish())
}

/// Copies all regular files of a directory beneath `scratch` to `target`, a directory not there yet.
///
/// # Errors
///
/// Those of our own side.
pub(crate) fn copy_out(
    scratch: &Path,
    directory: &str,
    target: &Path,
    bounds: Bounds,
) -> io::Result<Outputs> {
    let mut collection = Collection::new(target);
    walk_all(open_scratch(scratch)?.into(), directory, bounds, &mut collection)?;
    Ok(collection.finish())
}

/// # Errors
///
/// Those of opening it.
pub(crate) fn open_scratch(scratch: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY.bits() | OFlag::O_CLOEXEC.bits();
    OpenOptions::new().read(true).custom_flags(flags).open(scratch)
}

struct Collection<'a> {
    target: &'a Path,
    files: Vec<Collected>,
    named: Vec<String>,
    unnamed: usize,
    buffer: Vec<u8>,
}

impl Taker for Collection<'_> {
    fn take(&mut self, path: &str, file: File, length: u64) -> io::Result<()> {
        let target = self.target.join(path);
        fs::create_dir_all(target.parent().unwrap_or(self.target))?;
        let mut copy = File::create_new(&target)?;
        let mut hasher = blake3::Hasher::new();
        let mut size_bytes = 0;
        let mut source = file.take(length);
        loop {
            let read = source.read(&mut self.buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&self.buffer[..read]);
            copy.write_all(&self.buffer[..read])?;
            size_bytes += read as u64;
        }
        let hash = BlobHash(*hasher.finalize().as_bytes());
        self.files.push(Collected { path: path.to_owned(), file: target, size_bytes, hash });
        Ok(())
    }

    fn leave(&mut self, path: &str, why: &str) -> io::Result<()> {
        if self.named.len() < NAMED_MAX {
            // Names are the task's; escaped and cut, they cannot play tricks on a reader.
            let shown: String = path.escape_debug().take(80).collect();
            self.named.push(format!("{shown} ({why})"));
        } else {
            self.unnamed += 1;
        }
        Ok(())
    }
}

impl<'a> Collection<'a> {
    fn new(target: &'a Path) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { target, files: Vec::new(), named: Vec::new(), unnamed: 0, buffer }
    }

    fn finish(mut self) -> Outputs {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut left_behind = self.named.join(", ");
        if self.unnamed > 0 {
            left_behind.push_str(&format!(" and {} more", self.unnamed));
        }
        Outputs { files: self.files, left_behind }
    }
}
