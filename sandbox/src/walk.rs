//! Finds what a task leaves to be kept, trusting nothing that lies there.
//!
//! What is taken is of one moment only when nothing of the task runs meanwhile. Everything is opened beneath one directory
//! without following links, only regular files with a single name are taken, and their number, bytes
//! and depth are bounded.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use campusgrid_protocol::text::check_path;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::checkpoint::CHECKPOINT;
use crate::pattern::{Patterns, Standing};
use crate::plan::Plan;

/// The directory in a task's own of which all is kept.
const OUTPUTS: &str = "outputs";

/// What becomes of what is found.
pub trait Taker {
    /// A file of this length, to be read from its beginning. No path comes twice, nor one beneath
    /// another.
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

/// What is kept of a task's directory beside all that is in `outputs` there.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Checked by [`campusgrid_protocol::text::check_pattern`].
    pub patterns: &'a [String],
    /// Names in the task's directory that are not its own work.
    pub except: &'a BTreeSet<String>,
}

/// The names in a task's directory that it has from its plan.
pub fn given(plan: &Plan) -> BTreeSet<String> {
    let paths = plan.files.iter().map(|(path, _)| path);
    let names = paths.map(|path| path.split('/').next().unwrap_or(path).to_owned());
    let links = plan.links.iter().map(|(name, _)| name.clone());
    let checkpoint = plan.checkpoints.as_ref().map(|_| CHECKPOINT.to_owned());
    names.chain(links).chain(checkpoint).collect()
}

/// One walk as far as it has come.
struct Walk<'a, T> {
    root: OwnedFd,
    /// Where paths begin, beneath the root; empty for the root itself.
    base: String,
    bounds: Bounds,
    bytes: u64,
    entries: usize,
    /// Paths of files that were taken, and of the directories that they are in.
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
    taker: &'a mut T,
}

/// A directory that is to be listed.
struct Waiting {
    path: String,
    /// None: all that is in it is wanted.
    standing: Option<Standing>,
}

/// What an entry of a directory turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Visited {
    Directory,
    Other,
}

/// Hands to `taker` what is to be kept of the task's directory, `directory` beneath `root`, and what is
/// not taken of that.
///
/// Files in `outputs` are known by their paths in there, all others by those in the task's directory.
///
/// # Errors
///
/// Those of the taker, and of a file that was opened and does not tell what it is.
pub fn walk<T: Taker>(
    root: OwnedFd,
    directory: &str,
    wanted: Wanted<'_>,
    bounds: Bounds,
    taker: &mut T,
) -> io::Result<()> {
    let (files, directories) = (BTreeSet::new(), BTreeSet::new());
    let base = join(directory, OUTPUTS);
    let mut walk = Walk { root, base, bounds, bytes: 0, entries: 0, files, directories, taker };
    let patterns = Patterns::new(wanted.patterns);
    walk.run(&patterns, None, &BTreeSet::new())?;
    if wanted.patterns.is_empty() {
        return Ok(());
    }
    directory.clone_into(&mut walk.base);
    let mut except = wanted.except.clone();
    except.insert(OUTPUTS.to_owned());
    walk.run(&patterns, Some(patterns.start()), &except)
}

/// Hands to `taker` all that lies beneath `directory` beneath `root`, by its path in there.
///
/// # Errors
///
/// As those of [`walk`].
pub fn walk_all<T: Taker>(
    root: OwnedFd,
    directory: &str,
    bounds: Bounds,
    taker: &mut T,
) -> io::Result<()> {
    let (files, directories) = (BTreeSet::new(), BTreeSet::new());
    let base = directory.to_owned();
    let mut walk = Walk { root, base, bounds, bytes: 0, entries: 0, files, directories, taker };
    walk.run(&Patterns::new(&[]), None, &BTreeSet::new())
}

impl<T: Taker> Walk<'_, T> {
    fn run(
        &mut self,
        patterns: &Patterns,
        standing: Option<Standing>,
        except: &BTreeSet<String>,
    ) -> io::Result<()> {
        let mut waiting = vec![Waiting { path: String::new(), standing }];
        while let Some(Waiting { path: directory, standing }) = waiting.pop() {
            for name in self.list(&directory)? {
                self.entries += 1;
                if self.entries > self.bounds.entries {
                    return self.taker.leave("", "there are too many names");
                }
                let Ok(name) = String::from_utf8(name) else {
                    self.taker.leave(&directory, "has a name in it that is not UTF-8")?;
                    continue;
                };
                if directory.is_empty() && except.contains(&name) {
                    continue;
                }
                let standing = standing.as_ref().map(|standing| patterns.after(standing, &name));
                let is_met = standing.as_ref().is_none_or(|standing| patterns.is_met(standing));
                let goes_on = standing.as_ref().is_none_or(|standing| patterns.goes_on(standing));
                let path = join(&directory, &name);
                if !is_met && !goes_on {
                    continue;
                }
                if check_path(&path).is_err() {
                    let why = "the path is too long, too deep or has strange characters";
                    self.taker.leave(&path, why)?;
                    continue;
                }
                match (self.visit(&path, is_met)?, goes_on) {
                    (Visited::Directory, true) => waiting.push(Waiting { path, standing }),
                    (Visited::Directory, false) => {
                        let why = "a directory; a pattern that ends with /** takes all in it";
                        self.taker.leave(&path, why)?;
                    }
                    (Visited::Other, _) => {}
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

    /// Takes a file that is met; of anything else that is not a directory nothing is said.
    fn visit(&mut self, path: &str, is_met: bool) -> io::Result<Visited> {
        // Not blocking, or a pipe without a writer would hold us for ever.
        let file = match self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(fd) => File::from(fd),
            Err(_) if !is_met => return Ok(Visited::Other),
            Err(errno) => {
                let why = if errno == Errno::ELOOP {
                    "a symbolic link"
                } else if errno == Errno::ENXIO {
                    "a socket or a device"
                } else {
                    errno.desc()
                };
                self.taker.leave(path, why)?;
                return Ok(Visited::Other);
            }
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Ok(Visited::Directory);
        }
        if !is_met {
            return Ok(Visited::Other);
        }
        let Bounds { files, bytes, .. } = self.bounds;
        let is_full = u32::try_from(self.files.len()).is_ok_and(|taken| taken >= files);
        if !metadata.is_file() {
            self.taker.leave(path, "not a regular file")?;
        } else if metadata.nlink() != 1 {
            self.taker.leave(path, "has more than one name")?;
        } else if is_full {
            self.taker.leave(path, &format!("more than {files} files"))?;
        } else if metadata.len() > bytes.saturating_sub(self.bytes) {
            self.taker.leave(path, &format!("more than {bytes} bytes in all"))?;
        } else if !self.note(path) {
            self.taker.leave(path, "outputs/ has something of that name")?;
        } else {
            self.bytes += metadata.len();
            self.taker.take(path, file, metadata.len())?;
        }
        Ok(Visited::Other)
    }

    /// Notes a path as taken; yields whether nothing of that name was before.
    fn note(&mut self, path: &str) -> bool {
        let above = || path.match_indices('/').map(|(end, _)| &path[..end]);
        let is_taken = self.files.contains(path)
            || self.directories.contains(path)
            || above().any(|directory| self.files.contains(directory));
        if !is_taken {
            self.directories.extend(above().map(str::to_owned));
            self.files.insert(path.to_owned());
        }
        !is_taken
    }

    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let beneath = join(&self.base, path);
        let beneath = if beneath.is_empty() { "." } else { beneath.as_str() };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(&self.root, beneath, how)
    }
}

/// Either may be empty.
fn join(directory: &str, name: &str) -> String {
    let between = if directory.is_empty() || name.is_empty() { "" } else { "/" };
    format!("{directory}{between}{name}")
}
