//! How the daemon itself is: its disk and its books, for pages, metrics and the local administration to
//! show. Told by the engine and by the check of the books; nothing is decided here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_core::time::Timestamp;

use crate::disk::Space;

/// The daemon's health. Cheap to clone; all clones tell the same.
#[derive(Debug, Clone)]
pub struct Health {
    data_dir: Arc<Path>,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    disk: Disk,
    books: Option<BooksChecked>,
    checks: u64,
}

/// How the daemon is at one moment.
#[derive(Debug, Clone)]
pub struct HealthView {
    /// What is free where the data is; None where the system does not say.
    pub space: Option<Space>,
    pub disk: Disk,
    /// The newest check of the books; None before the first has ended.
    pub books: Option<BooksChecked>,
    /// Checks of the books since the start.
    pub checks: u64,
}

/// What the engine does about its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Less than this free, and nothing is taken in. Bytes.
    pub reserve_bytes: u64,
    /// Whether nothing is taken in for want of room.
    pub full: bool,
    /// Since when a batch waits for room to be written; nothing is told meanwhile.
    pub stuck_since: Option<Timestamp>,
}

/// What a check of the books found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksChecked {
    pub at: Timestamp,
    pub took_ms: u64,
    pub transfers: u64,
    /// What is broken, in words; while it is, nothing is settled. Empty if the books balance.
    pub broken: Vec<String>,
    /// What a person should look at though the books balance: files that are missing, for one.
    pub notes: Vec<String>,
}

impl Health {
    /// Of a daemon that has just begun on this directory.
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir: data_dir.into(), told: Arc::default() }
    }

    /// How it is now.
    pub fn view(&self) -> HealthView {
        let space = Space::of(&self.data_dir).ok();
        let Told { disk, books, checks } = &*self.lock();
        HealthView { space, disk: *disk, books: books.clone(), checks: *checks }
    }

    /// Whether a batch waits for room on the disk. Asks nothing of the system.
    pub fn is_stuck(&self) -> bool {
        self.lock().disk.stuck_since.is_some()
    }

    pub(crate) fn tell_disk(&self, disk: Disk) {
        self.lock().disk = disk;
    }

    pub(crate) fn tell_books(&self, checked: BooksChecked) {
        let mut told = self.lock();
        told.books = Some(checked);
        told.checks += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nothing panics while it holds the daemon's health")
    }
}
