//! Brings a task's outputs out of its scratch space, trusting nothing that lies there.
//!
//! To be used only when nothing of the task is alive. Everything is opened beneath the scratch
//! space without following links, only regular files with a single name are read, and their number,
//! bytes and depth are bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::text::check_path;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::plan::{Collected, Limits, SandboxError};

/// Words for people; whoever leaves a thousand strange files does not need each of them named.
const NAMED_MAX: usize = 8;
/// Names looked at in all, so that hard links and empty directories cannot hold us up.
const ENTRIES_MAX: usize = 100_000;
const BUFFER_BYTES: usize = 128 * 1024;

/// What was found and what was not taken.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) files: Vec<Collected>,
    pub(crate) left_behind: String,
}

/// Copies the regular files beneath `scratch/job/outputs` to `target`, a directory not there yet.
///
/// # Errors
///
/// `Host` if our own side fails; what is wrong with the task's files is only told.
pub(crate) fn collect(
    scratch: &Path,
    target: &Path,
    limits: &Limits,
) -> Result<Outputs, SandboxError> {
    let host = |source| SandboxError::Host { operation: "collect the task's outputs", source };
    let root: OwnedFd = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_DIRECTORY.bits() | OFlag::O_CLOEXEC.bits())
        .open(scratch)
        .map_err(host)?
        .into();
    let mut collection = Collection {
        root,
        target,
        limits,
        bytes: 0,
        entries: 0,
        files: Vec::new(),
        named: Vec::new(),
        unnamed: 0,
        buffer: vec![0; BUFFER_BYTES],
    };
    collection.walk().map_err(host)?;
    Ok(collection.finish())
}

struct Collection<'a> {
    root: OwnedFd,
    target: &'a Path,
    limits: &'a Limits,
    bytes: u64,
    entries: usize,
    files: Vec<Collected>,
    named: Vec<String>,
    unnamed: usize,
    buffer: Vec<u8>,
}

impl Collection<'_> {
    fn walk(&mut self) -> io::Result<()> {
        let mut waiting = vec![String::new()];
        while let Some(directory) = waiting.pop() {
            let Some(names) = self.list(&directory) else { continue };
            for name in names {
                self.entries += 1;
                if self.entries > ENTRIES_MAX {
                    self.leave("", "there are too many names");
                    return Ok(());
                }
                let Ok(name) = String::from_utf8(name) else {
                    self.leave(&directory, "has a name in it that is not UTF-8");
                    continue;
                };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if check_path(&path).is_err() {
                    self.leave(&path, "the path is too long, too deep or has strange characters");
                    continue;
                }
                if self.visit(&path)? {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    /// The names in a directory, sorted; `None` if it cannot be listed.
    fn list(&mut self, directory: &str) -> Option<Vec<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let listed = self.open(directory, flags).and_then(Dir::from_fd);
        let mut dir = match listed {
            Ok(dir) => dir,
            Err(Errno::ENOENT) if directory.is_empty() => return None,
            Err(errno) => {
                self.leave(directory, errno.desc());
                return None;
            }
        };
        let mut names: Vec<Vec<u8>> = dir
            .iter()
            .map_while(Result::ok)
            .map(|entry| entry.file_name().to_bytes().to_vec())
            .filter(|name| name != b"." && name != b"..")
            .take(ENTRIES_MAX + 1)
            .collect();
        names.sort_unstable();
        Some(names)
    }

    /// Takes a file; returns whether it is a directory to be listed instead.
    fn visit(&mut self, path: &str) -> io::Result<bool> {
        // Not blocking, or a pipe without a writer would hold us for ever.
        let file = match self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(fd) => File::from(fd),
            Err(errno) => {
                let why = if errno == Errno::ELOOP {
                    "a symbolic link"
                } else if errno == Errno::ENXIO {
                    "a socket or a device"
                } else {
                    errno.desc()
                };
                self.leave(path, why);
                return Ok(false);
            }
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Ok(true);
        }
        if !metadata.is_file() {
            self.leave(path, "not a regular file");
        } else if metadata.nlink() != 1 {
            self.leave(path, "has more than one name");
        } else if self.files.len() >= self.limits.outputs as usize {
            self.leave(path, &format!("more than {} files", self.limits.outputs));
        } else if metadata.len() > self.limits.outputs_bytes.saturating_sub(self.bytes) {
            self.leave(path, &format!("more than {} bytes in all", self.limits.outputs_bytes));
        } else {
            self.copy(path, file, metadata.len())?;
        }
        Ok(false)
    }

    fn copy(&mut self, path: &str, file: File, length: u64) -> io::Result<()> {
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
        self.bytes += size_bytes;
        let hash = BlobHash(*hasher.finalize().as_bytes());
        self.files.push(Collected { path: path.to_owned(), file: target, size_bytes, hash });
        Ok(())
    }

    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let beneath =
            if path.is_empty() { "job/outputs".to_owned() } else { format!("job/outputs/{path}") };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(&self.root, beneath.as_str(), how)
    }

    fn leave(&mut self, path: &str, why: &str) {
        if self.named.len() < NAMED_MAX {
            // Names are the task's; escaped and cut, they cannot play tricks on a reader.
            let shown: String = path.escape_debug().take(80).collect();
            self.named.push(format!("{shown} ({why})"));
        } else {
            self.unnamed += 1;
        }
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
