//! Uploads that come in pieces, over many requests and, maybe, more than one life of the manager. Each is
//! a file that grows, and beside it a note that says what it is to become and how far it is.
//!
//! What a note says is on disk already; whatever follows that in the file, because the power failed, is
//! cut off.

mod partial;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_protocol::id::{BlobHash, JobId, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::BlobError;
pub use partial::Partial;

/// Uploads whose hashes are kept in memory between two pieces; that of any other is made anew at its end.
const REMEMBERED_MAX: usize = 1024;

/// A note that is longer is none. Bytes.
const NOTE_MAX_BYTES: u64 = 4 << 10;

/// All uploads in pieces. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Uploads {
    root: PathBuf,
    reserve_bytes: u64,
    slots: Arc<Mutex<BTreeMap<Key, Slot>>>,
}

/// Which upload: of whom, into which draft, to be named how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub user: UserId,
    pub job: JobId,
    pub path: String,
}

/// What an upload is to become, and how much of it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub job: JobId,
    pub path: String,
    pub size_bytes: u64,
    pub hash: Option<BlobHash>,
    pub offset_bytes: u64,
}

/// An upload of which pieces come, or have just come.
#[derive(Debug, Default)]
struct Slot {
    /// Told to whoever has its turn when somebody else wants to go on.
    turn: CancellationToken,
    partial: Arc<tokio::sync::Mutex<Option<Partial>>>,
}

/// The only one who may write an upload.
#[derive(Debug)]
pub struct Turn {
    key: Key,
    uploads: Uploads,
    over: CancellationToken,
    partial: OwnedMutexGuard<Option<Partial>>,
}

/// All uploads of a user that are not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    pub uploads: usize,
    /// What they are to come to. Bytes.
    pub bytes: u64,
}

impl Uploads {
    pub(super) fn new(root: PathBuf, reserve_bytes: u64) -> Self {
        Self { root, reserve_bytes, slots: Arc::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Waits to be the only one who writes this upload. Whoever does now is told that their turn is over:
    /// a client that comes back must not wait for a connection that nobody knows to be dead.
    pub async fn take(&self, key: Key) -> Turn {
        let (over, partial) = {
            let mut slots = self.lock();
            if slots.len() >= REMEMBERED_MAX && !slots.contains_key(&key) {
                slots.retain(|_, slot| Arc::strong_count(&slot.partial) > 1);
            }
            let slot = slots.entry(key.clone()).or_default();
            let over = CancellationToken::new();
            std::mem::replace(&mut slot.turn, over.clone()).cancel();
            (over, Arc::clone(&slot.partial))
        };
        Turn { key, uploads: self.clone(), over, partial: partial.lock_owned().await }
    }

    /// How far an upload is, as it is on disk; None if there is none. Reads a small file.
    pub fn find(&self, key: &Key) -> Option<Note> {
        read_note(&self.place(key)).filter(|note| note.path == key.path)
    }

    /// What a user has begun and not ended. Reads small files.
    pub fn pending(&self, user: UserId) -> Pending {
        let mut pending = Pending::default();
        for place in places(&self.folder(user)).unwrap_or_default() {
            let Some(note) = read_note(&place) else { continue };
            pending.uploads += 1;
            pending.bytes = pending.bytes.saturating_add(note.size_bytes);
        }
        pending
    }

    /// The drafts that uploads are for, with their owners.
    ///
    /// # Errors
    ///
    /// `List`.
    pub fn drafts(&self) -> Result<Vec<(UserId, JobId)>, BlobError> {
        let mut drafts = Vec::new();
        for user in self.users()? {
            let places = places(&self.folder(user)).map_err(|source| self.unlisted(source))?;
            drafts.extend(places.iter().filter_map(|place| Some((user, job_of(place)?))));
        }
        drafts.sort_unstable();
        drafts.dedup();
        Ok(drafts)
    }

    /// Removes all uploads into a draft that is none any more; yields how many.
    ///
    /// # Errors
    ///
    /// `List`, `Remove`.
    pub fn remove_of(&self, user: UserId, job: JobId) -> Result<usize, BlobError> {
        let places = places(&self.folder(user)).map_err(|source| self.unlisted(source))?;
        let of_draft: Vec<_> = places.iter().filter(|place| job_of(place) == Some(job)).collect();
        for place in &of_draft {
            remove(place)?;
        }
        // Whoever still writes one writes to a file without a name, and is told so at the end.
        self.lock().retain(|key, _| (key.user, key.job) != (user, job));
        Ok(of_draft.len())
    }

    fn users(&self) -> Result<Vec<UserId>, BlobError> {
        let list = || -> io::Result<Vec<UserId>> {
            let names = fs::read_dir(&self.root)?.map(|entry| Ok(entry?.file_name()));
            let names = names.collect::<io::Result<Vec<_>>>()?;
            let user = |name: &std::ffi::OsString| name.to_str()?.parse().ok().map(UserId);
            Ok(names.iter().filter_map(user).collect())
        };
        list().map_err(|source| self.unlisted(source))
    }

    fn unlisted(&self, source: io::Error) -> BlobError {
        BlobError::List { path: self.root.clone(), source }
    }

    fn folder(&self, user: UserId) -> PathBuf {
        self.root.join(user.0.to_string())
    }

    /// Where an upload lies, but for the ends of its two names. Paths may be too long for a name.
    fn place(&self, key: &Key) -> PathBuf {
        let path = blake3::hash(key.path.as_bytes());
        self.folder(key.user).join(format!("{}-{}", key.job, &path.to_hex()[..32]))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
        self.slots.lock().expect("nothing panics while it looks for an upload")
    }
}

impl Turn {
    /// Returns when somebody else wants to go on.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Goes on with what is there, in memory or on disk; None if nothing is. Blocks.
    ///
    /// # Errors
    ///
    /// `Reread`.
    pub fn open(&mut self) -> Result<Option<&mut Partial>, BlobError> {
        if self.partial.is_none() {
            let place = self.uploads.place(&self.key);
            let found = read_note(&place).filter(|note| note.path == self.key.path);
            let open = |note| Partial::open(place, note, self.uploads.reserve_bytes);
            *self.partial = found.map(open).transpose()?;
        }
        Ok(self.partial.as_mut())
    }

    /// Begins anew, in place of whatever is there. Blocks.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Write`.
    pub fn begin(
        &mut self,
        size_bytes: u64,
        hash: Option<BlobHash>,
    ) -> Result<&mut Partial, BlobError> {
        let Key { user, job, path } = self.key.clone();
        let folder = self.uploads.folder(user);
        fs::create_dir_all(folder).map_err(|source| super::failed(size_bytes, source))?;
        let note = Note { job, path, size_bytes, hash, offset_bytes: 0 };
        let place = self.uploads.place(&self.key);
        let begun = Partial::begin(place, note, self.uploads.reserve_bytes)?;
        Ok(self.partial.insert(begun))
    }

    /// Forgets it, and removes what is there. Blocks.
    ///
    /// # Errors
    ///
    /// `Remove`.
    pub fn discard(&mut self) -> Result<(), BlobError> {
        *self.partial = None;
        remove(&self.uploads.place(&self.key))
    }
}

fn note_path(place: &Path) -> PathBuf {
    place.with_extension("json")
}

fn content_path(place: &Path) -> PathBuf {
    place.with_extension("part")
}

fn read_note(place: &Path) -> Option<Note> {
    let path = note_path(place);
    let is_one = fs::metadata(&path).is_ok_and(|found| found.len() <= NOTE_MAX_BYTES);
    serde_json::from_slice(&fs::read(path).ok().filter(|_| is_one)?).ok()
}

/// The note first: content without one is nothing.
fn remove(place: &Path) -> Result<(), BlobError> {
    for path in [note_path(place), content_path(place)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| BlobError::Remove { source })?,
        }
    }
    Ok(())
}

/// All uploads in a folder; none if that is not there.
fn places(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut places = Vec::new();
    for entry in entries {
        places.push(entry?.path().with_extension(""));
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

fn job_of(place: &Path) -> Option<JobId> {
    let (job, _) = place.file_name()?.to_str()?.split_once('-')?;
    job.parse().ok().map(JobId)
}

#[cfg(test)]
mod tests;
