//! Finds what a task leaves to be kept, trusting nothing that lies there.
//!
//! To be used only when nothing of the task is alive. Everything is opened beneath one directory
//! without following links, only regular files with a single name are taken, and their number, bytes
//! and depth are bounded.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use campusgrid_protocol::text::check_path;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// What becomes of what is found.
pub trait Taker {
    /// A file of this length, to be read from its beginning.
    ///
    /// # Errors
    ///
    /// Those of our own side; they end the walk.
    fn take(&mut self, path: &str, file: File, size_bytes: u64) -> io::Result<()>;

    /// What is not taken, and why, in words. The path is the task's own text.
    ///
    /// # Errors
    ///
    /// Those of our own side; they end the walk.
    fn leave(&mut self, path: &str, why: &str) -> io::Result<()>;
}

/// How much is taken and looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub files: u32,
    pub bytes: u64,
    /// Names looked at in all, so that hard links and empty directories cannot hold us up.
    pub entries: usize,
}

/// One walk as far as it has come.
struct Walk<'a, T> {
    root: OwnedFd,
    outputs: &'a str,
    bounds: Bounds,
    files: u32,
    bytes: u64,
    entries: usize,
    taker: &'a mut T,
}

/// Hands to `taker` what lies in the directory `outputs` beneath `root`, and what is not taken.
///
/// # Errors
///
/// Those of the taker, and of a file that was opened and does not tell what it is.
pub fn walk<T: Taker>(
    root: OwnedFd,
    outputs: &str,
    bounds: Bounds,
    taker: &mut T,
) -> io::Result<()> {
    Walk { root, outputs, bounds, files: 0, bytes: 0, entries: 0, taker }.run()
}

impl<T: Taker> Walk<'_, T> {
    fn run(&mut self) -> io::Result<()> {
        let mut waiting = vec![String::new()];
        while let Some(directory) = waiting.pop() {
            for name in self.list(&directory)? {
                self.entries += 1;
                if self.entries > self.bounds.entries {
                    return self.taker.leave("", "there are too many names");
                }
                let Ok(name) = String::from_utf8(name) else {
                    self.taker.leave(&directory, "has a name in it that is not UTF-8")?;
                    continue;
                };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if check_path(&path).is_err() {
                    let why = "the path is too long, too deep or has strange characters";
                    self.taker.leave(&path, why)?;
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
                self.taker.leave(directory, errno.desc())?;
                return Ok(Vec::new());
            }
        };
        let mut names: Vec<Vec<u8>> = dir
            .iter()
            .map_while(Result::ok)
            .map(|entry| entry.file_name().to_bytes().to_vec())
            .filter(|name| name != b"." && name != b"..")
            .take(self.bounds.entries + 1)
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
                self.taker.leave(path, why)?;
                return Ok(false);
            }
        };
        let metadata = file.metadata()?;
        let Bounds { files, bytes, .. } = self.bounds;
        if metadata.is_dir() {
            return Ok(true);
        }
        if !metadata.is_file() {
            self.taker.leave(path, "not a regular file")?;
        } else if metadata.nlink() != 1 {
            self.taker.leave(path, "has more than one name")?;
        } else if self.files >= files {
            self.taker.leave(path, &format!("more than {files} files"))?;
        } else if metadata.len() > bytes.saturating_sub(self.bytes) {
            self.taker.leave(path, &format!("more than {bytes} bytes in all"))?;
        } else {
            self.files += 1;
            self.bytes += metadata.len();
            self.taker.take(path, file, metadata.len())?;
        }
        Ok(false)
    }

    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let outputs = self.outputs;
        let beneath =
            if path.is_empty() { outputs.to_owned() } else { format!("{outputs}/{path}") };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(&self.root, beneath.as_str(), how)
    }
}
