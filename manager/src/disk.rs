//! Room on the disk: how much there is, and a ballast to be given up when there is none.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// The most that the ballast is: room for some hundred batches, which are then small, since nothing new
/// is taken in. Bytes.
const BALLAST_MAX_BYTES: u64 = 32 << 20;

/// With less than this free a start would fail for want of room: the database needs its index. Bytes.
const START_BYTES: u64 = 4 << 20;

/// Files that must be free beside the bytes: a file system can run out of either.
const FREE_INODES_MIN: u64 = 64;

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// For us, who are not the superuser to it.
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// None where the file system makes them as they are needed.
    pub free_inodes: Option<u64>,
}

impl Space {
    /// Of the file system that a path is on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = statvfs(path)?;
        let block = found.fragment_size();
        Ok(Self {
            free_bytes: found.blocks_available().saturating_mul(block),
            total_bytes: found.blocks().saturating_mul(block),
            free_inodes: (found.files() > 0).then(|| found.files_available()),
        })
    }

    /// Whether there is room for so many bytes, and for the files that they are in.
    pub fn has(&self, bytes: u64) -> bool {
        self.free_bytes >= bytes && self.free_inodes.is_none_or(|free| free >= FREE_INODES_MIN)
    }
}

/// Where the daemon's data is, and what of its disk is to stay free.
#[derive(Debug, Clone)]
pub struct Reserve {
    pub data_dir: PathBuf,
    /// Nothing is taken in while less is free, the ballast counted as free. Bytes.
    pub bytes: u64,
}

impl Reserve {
    /// How much the ballast takes: a part of the reserve. Bytes.
    pub fn ballast_bytes(&self) -> u64 {
        BALLAST_MAX_BYTES.min(self.bytes / 2)
    }

    /// What blobs leave free beside the ballast, so that they and jobs are turned away together. Bytes.
    pub fn beside_ballast_bytes(&self) -> u64 {
        self.bytes - self.ballast_bytes()
    }

    /// The ballast, as it lies there or not.
    pub fn ballast(&self) -> Ballast {
        Ballast::at(self.data_dir.join("ballast"), self.ballast_bytes())
    }

    /// Gives up the ballast of an earlier run if there is no room to open the database without it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn make_way(&self) -> io::Result<()> {
        if Space::of(&self.data_dir)?.has(START_BYTES) { Ok(()) } else { self.ballast().give_up() }
    }
}

/// Whether an error says that the disk, or our share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A file of nothing, which is given up so that what must be written can be.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Ballast {
    /// At this place, of this size. Nothing is taken yet.
    pub fn at(path: PathBuf, bytes: u64) -> Self {
        let is_held = bytes > 0 && fs::metadata(&path).is_ok_and(|found| found.len() == bytes);
        Self { path, bytes, is_held }
    }

    /// What it takes of the disk now. Bytes.
    pub fn held_bytes(&self) -> u64 {
        if self.is_held { self.bytes } else { 0 }
    }

    /// Makes room. Does nothing if it was done before.
    ///
    /// # Errors
    ///
    /// What the system says; there is then no more room than before.
    pub fn give_up(&mut self) -> io::Result<()> {
        self.is_held = false;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Takes the room, whose blocks are then ours whatever others write.
    ///
    /// # Errors
    ///
    /// What the system says, mostly that there is no room; nothing is then taken.
    pub fn take(&mut self) -> io::Result<()> {
        if self.is_held || self.bytes == 0 {
            return Ok(());
        }
        let taken = allocate(&self.path, self.bytes);
        match &taken {
            Ok(()) => self.is_held = true,
            // Half of it is of no use to anybody.
            Err(_) => drop(fs::remove_file(&self.path)),
        }
        taken
    }
}

/// Makes a file whose blocks are its own. It is not synced: one that is lost with the power is made anew,
/// and nobody waits for a disk because of it.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let length = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        match posix_fallocate(&file, 0, length) {
            Err(Errno::EINTR) => {}
            allocated => return Ok(allocated?),
        }
    }
}

/// Takes so many bytes in a directory and gives them back: where quotas part a disk, only that shows
/// whether we may have them.
///
/// # Errors
///
/// What the system says; [`is_full`] tells whether it was for want of room.
pub fn try_room(directory: &Path, bytes: u64) -> io::Result<()> {
    let probe = directory.join(".room");
    let taken = allocate(&probe, bytes);
    drop(fs::remove_file(probe)); // It may never have been there.
    taken
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::{Ballast, Space, is_full, try_room};

    #[test]
    fn the_ballast_takes_blocks_and_gives_them_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        let mut ballast = Ballast::at(path.clone(), 1 << 20);
        assert_eq!(ballast.held_bytes(), 0);
        ballast.take().unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20, "sparse");
        assert_eq!(Ballast::at(path.clone(), 1 << 20).held_bytes(), 1 << 20);
        // One of another size is of another version of this program, and is made anew.
        assert_eq!(Ballast::at(path.clone(), 2 << 20).held_bytes(), 0);
        ballast.give_up().unwrap();
        ballast.give_up().unwrap();
        assert!(!path.exists() && ballast.held_bytes() == 0);
    }

    #[test]
    fn a_ballast_that_does_not_fit_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        // More than any file can have: to fill this disk would harm whatever else runs here.
        let mut ballast = Ballast::at(path.clone(), u64::MAX);
        assert!(ballast.take().is_err());
        assert!(!path.exists() && ballast.held_bytes() == 0);
    }

    #[test]
    fn room_that_is_tried_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        try_room(directory.path(), 1 << 20).unwrap();
        let error = try_room(directory.path(), u64::MAX).unwrap_err();
        assert!(!is_full(&error), "{error}: no file can have that");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        for errno in [nix::errno::Errno::ENOSPC, nix::errno::Errno::EDQUOT] {
            assert!(is_full(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn room_is_bytes_and_files() {
        let space = Space { free_bytes: 100, total_bytes: 200, free_inodes: Some(1000) };
        assert!(space.has(100));
        assert!(!space.has(101));
        assert!(!Space { free_inodes: Some(3), ..space }.has(1));
        assert!(Space { free_inodes: None, ..space }.has(1));
    }
}
