//! Writes the archive that a kernel unpacks as its first file system ("newc": six-digit magic, then
//! numbers in hexadecimal). Written by hand, since it has device nodes, which only root can make
//! on a disk, and root's files, whoever runs the tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;
/// The name that ends an archive.
const END: &str = "TRAILER!!!";

/// What lies at a path.
#[derive(Debug)]
enum Entry {
    Directory {
        mode: u32,
    },
    /// Of this machine, copied with its time: Python believes its compiled files by the time of
    /// their sources.
    Copy {
        from: PathBuf,
    },
    Text {
        text: Vec<u8>,
        mode: u32,
    },
    Link {
        to: String,
    },
    Device {
        major: u32,
        minor: u32,
    },
}

/// A file system in the making; paths have no slash at their beginning. All belongs to root.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// In the order of their names, so that a directory comes before what is in it.
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Replaces a directory of another mode.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Directory { mode });
    }

    /// Whether the path was new.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> bool {
        self.add(path, Entry::Copy { from: from.to_owned() })
    }

    pub(super) fn text(&mut self, path: &str, mode: u32, text: impl Into<Vec<u8>>) {
        self.add(path, Entry::Text { text: text.into(), mode });
    }

    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.add(path, Entry::Link { to: to.to_owned() });
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, Entry::Device { major, minor });
    }

    fn add(&mut self, path: &str, entry: Entry) -> bool {
        let mut parent = Path::new(path).parent();
        while let Some(folder) = parent.and_then(Path::to_str).filter(|name| !name.is_empty()) {
            let missing = Entry::Directory { mode: 0o755 };
            self.entries.entry(folder.to_owned()).or_insert(missing);
            parent = Path::new(folder).parent();
        }
        self.entries.insert(path.to_owned(), entry).is_none()
    }

    /// Writes it to a file, with everything that it copies. Returns its size in bytes.
    ///
    /// # Errors
    ///
    /// When something to copy cannot be read, or the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<u64> {
        let file = File::create(path).with_context(|| format!("failed to make {}", path.display()));
        let mut out = Out { file: BufWriter::new(file?), written: 0, number: 0 };
        for (name, entry) in &self.entries {
            out.entry(name, entry).with_context(|| format!("failed to archive {name}"))?;
        }
        let end = Head { mode: 0, seconds: 0, size: 0, device: (0, 0) };
        out.head(END, &end).and_then(|()| out.file.flush()).context("failed to end an archive")?;
        Ok(out.written)
    }
}

struct Head {
    mode: u32,
    seconds: u32,
    size: u32,
    device: (u32, u32),
}

struct Out {
    file: BufWriter<File>,
    written: u64,
    /// The inode's: the same number twice would be a hard link.
    number: u32,
}

impl Out {
    fn entry(&mut self, name: &str, entry: &Entry) -> Result<()> {
        let plain = |mode, size| Head { mode, seconds: 0, size, device: (0, 0) };
        match entry {
            Entry::Directory { mode } => self.head(name, &plain(DIRECTORY | mode, 0))?,
            Entry::Device { major, minor } => {
                self.head(name, &Head { device: (*major, *minor), ..plain(DEVICE | 0o666, 0) })?;
            }
            Entry::Link { to } => {
                self.head(name, &plain(LINK | 0o777, u32::try_from(to.len())?))?;
                self.body(to.as_bytes())?;
            }
            Entry::Text { text, mode } => {
                self.head(name, &plain(FILE | mode, u32::try_from(text.len())?))?;
                self.body(text)?;
            }
            Entry::Copy { from } => self.copy(name, from)?,
        }
        Ok(())
    }

    fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let mut file =
            File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
        let facts = file.metadata()?;
        let mode = if facts.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        let size = u32::try_from(facts.len()).context("files of 4 GiB do not fit in it")?;
        let seconds = u32::try_from(facts.mtime()).unwrap_or(0);
        self.head(name, &Head { mode: FILE | mode, seconds, size, device: (0, 0) })?;
        let copied = io::copy(&mut Read::by_ref(&mut file).take(u64::from(size)), &mut self.file)?;
        if copied != u64::from(size) {
            bail!("{} became shorter while it was read", from.display());
        }
        self.written += copied;
        self.pad()?;
        Ok(())
    }

    fn head(&mut self, name: &str, head: &Head) -> io::Result<()> {
        self.number += 1;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let (major, minor) = head.device;
        let links = if head.mode & DIRECTORY == 0 { 1 } else { 2 };
        // Inode, mode, uid, gid, links, time, size, the file system's device, the node's, the
        // name's size, no checksum.
        let numbers = [
            self.number,
            head.mode,
            0,
            0,
            links,
            head.seconds,
            head.size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        let mut text = "070701".to_owned();
        for number in numbers {
            text.push_str(&format!("{number:08X}"));
        }
        text.push_str(name);
        text.push('\0');
        self.body(text.as_bytes())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        self.pad()
    }

    /// Everything begins at a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.written += missing;
        self.file.write_all(&[0; 4][..missing as usize])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Archive;
    use crate::grid::ShortLived;

    #[test]
    fn an_archive_has_folders_first_and_four_byte_steps() {
        let folder = ShortLived::make("cpio").unwrap();
        let mut archive = Archive::default();
        archive.text("etc/passwd", 0o644, "root");
        archive.device("dev/console", 5, 1);
        archive.link("bin", "usr/bin");
        assert!(archive.copy("usr/bin/it", &std::env::current_exe().unwrap()));
        let path = folder.path().join("it.cpio");
        let size = archive.write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!((size, size % 4), (bytes.len() as u64, 0));
        let text = String::from_utf8_lossy(&bytes);
        let places: Vec<Option<usize>> =
            ["bin\0", "dev\0", "dev/console\0", "etc\0", "etc/passwd\0", "TRAILER!!!\0"]
                .iter()
                .map(|name| text.find(name))
                .collect();
        assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
        assert!(text.contains("0000000500000001"), "the console's numbers");
    }
}
