//! Sends what a task leaves in its outputs directory, when nothing of it is alive.
//!
//! Everything is opened beneath that directory without following links, only regular files with a
//! single name are read, and their number, bytes and depth are bounded. The worker checks all of
//! this again.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use campusgrid_protocol::text::check_path;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::link::Link;
use crate::event::{Event, JOB, NAMED_MAX, Order};
use crate::wire::{Kind, PIECE_BYTES};

/// Names looked at in all, so that hard links and empty directories cannot hold us up, nor take the
/// memory that the task has left.
const ENTRIES_MAX: usize = 20_000;

struct Sending<'a> {
    link: &'a mut Link,
    order: &'a Order,
    root: OwnedFd,
    files: u32,
    bytes: u64,
    entries: usize,
    left: usize,
}

/// Sends the outputs and what is to be said of them.
///
/// # Errors
///
/// Those of the link, and of files that cannot be read though they can be opened.
pub(super) fn send(link: &mut Link, order: &Order) -> io::Result<()> {
    let root = File::open(JOB)?.into();
    let mut sending = Sending { link, order, root, files: 0, bytes: 0, entries: 0, left: 0 };
    sending.walk()?;
    let unnamed = sending.left.saturating_sub(NAMED_MAX);
    link.tell(&Event::Collected { unnamed: u32::try_from(unnamed).unwrap_or(u32::MAX) })
}

impl Sending<'_> {
    fn walk(&mut self) -> io::Result<()> {
        let mut waiting = vec![String::new()];
        while let Some(directory) = waiting.pop() {
            for name in self.list(&directory)? {
                self.entries += 1;
                if self.entries > ENTRIES_MAX {
                    return self.leave("", "there are too many names");
                }
                let Ok(name) = String::from_utf8(name) else {
                    self.leave(&directory, "has a name in it that is not UTF-8")?;
                    continue;
                };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if check_path(&path).is_err() {
                    let why = "the path is too long, too deep or has strange characters";
                    self.leave(&path, why)?;
                } else if self.visit(&path)? {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    /// The names in a directory, sorted; none if it cannot be listed.
    fn list(&mut self, directory: &str) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut dir = match self.open(directory, flags).and_then(Dir::from_fd) {
            Ok(dir) => dir,
            Err(Errno::ENOENT) if directory.is_empty() => return Ok(Vec::new()),
            Err(errno) => {
                self.leave(directory, errno.desc())?;
                return Ok(Vec::new());
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
        Ok(names)
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
                self.leave(path, why)?;
                return Ok(false);
            }
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Ok(true);
        }
        if !metadata.is_file() {
            self.leave(path, "not a regular file")?;
        } else if metadata.nlink() != 1 {
            self.leave(path, "has more than one name")?;
        } else if self.files >= self.order.outputs {
            self.leave(path, &format!("more than {} files", self.order.outputs))?;
        } else if metadata.len() > self.order.outputs_bytes.saturating_sub(self.bytes) {
            self.leave(path, &format!("more than {} bytes in all", self.order.outputs_bytes))?;
        } else {
            self.send(path, file, metadata.len())?;
        }
        Ok(false)
    }

    fn send(&mut self, path: &str, file: File, size_bytes: u64) -> io::Result<()> {
        self.files += 1;
        self.bytes += size_bytes;
        self.link.tell(&Event::File { path: path.to_owned(), size_bytes })?;
        let mut source = file.take(size_bytes);
        let mut buffer = [0; PIECE_BYTES];
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.link.send(Kind::Data, &buffer[..read])?;
        }
    }

    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let beneath =
            if path.is_empty() { "outputs".to_owned() } else { format!("outputs/{path}") };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(&self.root, beneath.as_str(), how)
    }

    fn leave(&mut self, path: &str, why: &str) -> io::Result<()> {
        self.left += 1;
        if self.left > NAMED_MAX {
            return Ok(());
        }
        let path = path.chars().take(200).collect();
        self.link.tell(&Event::Left { path, why: why.to_owned() })
    }
}
