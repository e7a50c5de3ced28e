//! What is wanted of a cache, what is held in it, and what somebody has undertaken to fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::input::Manifest;
use campusgrid_protocol::task::BlobRef;

use super::{Cache, on_disk};
use crate::clock::unix_s;
use crate::disk::remove_if_there;
use crate::inputs::{InputsError, refused};

/// Contents that are wanted together.
#[derive(Debug)]
pub(in crate::inputs) struct Wanted {
    /// Each once.
    pub(super) blobs: Vec<BlobRef>,
    /// For what cannot be a second name of a content, but must be a copy.
    pub(super) copies_bytes: u64,
}

/// Contents that stay where they are for as long as this value.
#[derive(Debug)]
pub(in crate::inputs) struct Held {
    pub(super) cache: Arc<Cache>,
    pub(super) contents: BTreeSet<BlobHash>,
    pub(super) copies_bytes: u64,
}

/// What becomes of a wish to hold contents.
#[derive(Debug)]
pub(in crate::inputs) enum Claim {
    /// They are held.
    All,
    /// These are to be fetched, then it is to be claimed again.
    Mine(Vec<Fetching>),
    /// Others fetch the rest.
    Others,
    /// What is in use leaves no room, in words.
    NoRoom { message: String },
}

/// A content that is being fetched, by nobody else for as long as this value, with the room for it.
#[derive(Debug)]
pub(in crate::inputs) struct Fetching {
    pub(super) cache: Arc<Cache>,
    pub(super) blob: BlobRef,
}

impl Wanted {
    /// A manifest itself.
    pub(in crate::inputs) fn list(manifest: BlobRef) -> Self {
        Self { blobs: vec![manifest], copies_bytes: 0 }
    }

    /// All that a manifest names.
    ///
    /// # Errors
    ///
    /// `Refused` if it gives one content two lengths.
    pub(in crate::inputs) fn files(manifest: &Manifest) -> Result<Self, InputsError> {
        let mut sizes = BTreeMap::new();
        let mut copies_bytes = 0u64;
        for file in &manifest.files {
            let BlobRef { hash, size_bytes } = file.blob;
            if *sizes.entry(hash).or_insert(size_bytes) != size_bytes {
                return Err(refused(&format!("{:?} has two lengths", file.path)));
            }
            if file.executable {
                copies_bytes = copies_bytes.saturating_add(on_disk(size_bytes));
            }
        }
        let blobs = sizes.into_iter().map(|(hash, size_bytes)| BlobRef { hash, size_bytes });
        Ok(Self { blobs: blobs.collect(), copies_bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        let blobs = self.blobs.iter().map(|blob| on_disk(blob.size_bytes));
        blobs.fold(self.copies_bytes, u64::saturating_add)
    }
}

impl Held {
    /// Nothing yet.
    pub(in crate::inputs) fn of(cache: &Arc<Cache>) -> Self {
        Self { cache: Arc::clone(cache), contents: BTreeSet::new(), copies_bytes: 0 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.copies_bytes -= self.copies_bytes;
        self.contents.iter().for_each(|hash| state.let_go(hash, unix_s()));
        drop(state);
        self.cache.changed();
    }
}

impl Fetching {
    pub(in crate::inputs) fn blob(&self) -> BlobRef {
        self.blob
    }

    /// Where it grows.
    pub(in crate::inputs) fn partial(&self) -> PathBuf {
        self.cache.partial(&self.blob.hash)
    }

    /// What is still to come of it.
    pub(in crate::inputs) fn missing_bytes(&self) -> u64 {
        let here_bytes = fs::metadata(self.partial()).map_or(0, |partial| partial.len());
        self.blob.size_bytes.saturating_sub(here_bytes)
    }

    /// Forgets what has come of it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(in crate::inputs) fn begin_anew(&self) -> io::Result<()> {
        remove_if_there(&self.partial())
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let hash = self.blob.hash;
        let mut state = self.cache.lock();
        if state.end(&hash) {
            state.find_partial(&self.cache.partial(&hash), hash);
        }
        drop(state);
        self.cache.changed();
    }
}

/// Keeps contents that are whole, once they are on the disk: a name that survives a loss of power must
/// not stand for empty files. Blocks.
///
/// # Errors
///
/// Those of the file system, with the claims of what is not kept.
pub(in crate::inputs) fn keep_all(whole: Vec<Fetching>) -> Result<(), (io::Error, Vec<Fetching>)> {
    let Some(first) = whole.first() else { return Ok(()) };
    let synced = File::open(&first.cache.dir).and_then(|dir| Ok(nix::unistd::syncfs(dir)?));
    if let Err(error) = synced {
        return Err((error, whole));
    }
    let mut whole = whole.into_iter();
    while let Some(claim) = whole.next() {
        let (partial, content) = (claim.partial(), claim.cache.content(&claim.blob.hash));
        let kept = fs::set_permissions(&partial, Permissions::from_mode(0o444))
            .and_then(|()| fs::rename(&partial, content));
        if let Err(error) = kept {
            return Err((error, std::iter::once(claim).chain(whole).collect()));
        }
        claim.cache.lock().came(&claim.blob, unix_s());
    }
    Ok(())
}
