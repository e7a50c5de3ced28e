//! What the machines that run a task may have of files: the manifest of its job's and that of its
//! checkpoint's, and what those name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::input::{MANIFEST_MAX_BYTES, Manifest, ManifestError};
use campusgrid_protocol::task::BlobRef;
use tokio::sync::Semaphore;

use crate::blobs::Blobs;

/// Files of manifests that are remembered, beyond those that are in use: 40 bytes each.
const FILES_MAX: usize = 500_000;

/// Manifests that are read at once: when a large array starts, a thousand machines want the same one.
const READ_AT_ONCE: usize = 1;

/// The manifests that were read last. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    blobs: Blobs,
    known: Arc<Mutex<Known>>,
    reading: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    /// What each manifest names, and when that was last asked for, as a number that rises.
    named: BTreeMap<BlobHash, (Arc<Named>, u64)>,
    asked: u64,
}

/// The files of one manifest.
#[derive(Debug)]
pub(super) struct Named {
    sizes: BTreeMap<BlobHash, u64>,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputsError {
    #[error("the list of files is not here any more, or damaged")]
    Missing(#[source] io::Error),
    #[error("the list of files is damaged")]
    Damaged(#[source] ManifestError),
    #[error("the list of files is damaged: its hash is {found}")]
    WrongHash { found: BlobHash },
    #[error("the manager is stopping")]
    Stopping,
}

impl Named {
    fn of(manifest: &Manifest) -> Self {
        let sizes = manifest.files.iter().map(|file| (file.blob.hash, file.blob.size_bytes));
        Self { sizes: sizes.collect() }
    }

    pub(super) fn has(&self, blob: BlobRef) -> bool {
        self.sizes.get(&blob.hash) == Some(&blob.size_bytes)
    }
}

impl Inputs {
    pub(super) fn new(blobs: Blobs) -> Self {
        let reading = Arc::new(Semaphore::new(READ_AT_ONCE));
        Self { blobs, known: Arc::default(), reading }
    }

    /// What a manifest names, read at most once by many who ask at the same time.
    ///
    /// # Errors
    ///
    /// All of [`InputsError`].
    pub(super) async fn named(&self, manifest: BlobRef) -> Result<Arc<Named>, InputsError> {
        if let Some(named) = self.lock().find(manifest.hash) {
            return Ok(named);
        }
        let _turn = self.reading.acquire().await.map_err(|_| InputsError::Stopping)?;
        if let Some(named) = self.lock().find(manifest.hash) {
            return Ok(named);
        }
        let blobs = self.blobs.clone();
        let read = tokio::task::spawn_blocking(move || Ok(Named::of(&read(&blobs, manifest)?)));
        let named = Arc::new(read.await.map_err(|_| InputsError::Stopping)??);
        self.lock().remember(manifest.hash, Arc::clone(&named));
        Ok(named)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds the manifests")
    }
}

impl Known {
    fn find(&mut self, manifest: BlobHash) -> Option<Arc<Named>> {
        self.asked += 1;
        let (named, asked) = self.named.get_mut(&manifest)?;
        *asked = self.asked;
        Some(Arc::clone(named))
    }

    /// Forgets in its place those asked for longest ago, but for what somebody uses: that costs
    /// nothing more.
    fn remember(&mut self, manifest: BlobHash, named: Arc<Named>) {
        self.asked += 1;
        self.named.insert(manifest, (named, self.asked));
        let count = |named: &Named| named.sizes.len().max(1);
        let mut all: usize = self.named.values().map(|(named, _)| count(named)).sum();
        while all > FILES_MAX {
            let idle = self.named.iter().filter(|(_, (named, _))| Arc::strong_count(named) == 1);
            let oldest = idle.min_by_key(|(_, (_, asked))| *asked).map(|(hash, _)| *hash);
            let Some((forgotten, _)) = oldest.and_then(|hash| self.named.remove(&hash)) else {
                return;
            };
            all -= count(&forgotten);
        }
    }
}

/// Reads a manifest from the disk.
///
/// # Errors
///
/// All of [`InputsError`] but `Stopping`.
pub(super) fn read(blobs: &Blobs, manifest: BlobRef) -> Result<Manifest, InputsError> {
    let mut bytes = Vec::new();
    let file = File::open(blobs.path(manifest.hash)).map_err(InputsError::Missing)?;
    let most = MANIFEST_MAX_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(InputsError::Missing)?;
    let found = BlobHash(*blake3::hash(&bytes).as_bytes());
    if found != manifest.hash {
        return Err(InputsError::WrongHash { found });
    }
    Manifest::decode(&bytes).map_err(InputsError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use campusgrid_protocol::id::{BlobHash, WorkerId};
    use campusgrid_protocol::input::{InputFile, Manifest};
    use campusgrid_protocol::task::BlobRef;

    use super::{FILES_MAX, Inputs, InputsError, Known, Named};
    use crate::blobs::Blobs;

    fn hash(number: u64) -> BlobHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        BlobHash(hash)
    }

    fn named(files: u64) -> Arc<Named> {
        Arc::new(Named { sizes: (0..files).map(|number| (hash(number), number)).collect() })
    }

    #[test]
    fn what_was_asked_for_longest_ago_is_forgotten_first() {
        let mut known = Known::default();
        let third = FILES_MAX as u64 / 3;
        let in_use = named(third);
        known.remember(hash(1), Arc::clone(&in_use));
        known.remember(hash(2), named(third));
        known.remember(hash(3), named(third));
        assert!(known.find(hash(2)).is_some());
        known.remember(hash(4), named(third));
        assert!(known.find(hash(3)).is_none());
        for other in [1, 2, 4] {
            assert!(known.find(hash(other)).is_some(), "{other}");
        }
        drop(in_use);
    }

    #[tokio::test]
    async fn a_manifest_says_what_may_be_had() {
        let root = std::env::temp_dir().join(format!("cg-inputs-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&root));
        let blobs = Blobs::open(root.clone(), 0).unwrap();
        let blob = BlobRef { hash: hash(7), size_bytes: 7 };
        let file = InputFile { path: "a".to_owned(), blob, executable: false };
        let bytes = Manifest::check(vec![file]).unwrap().encode();
        let content = BlobHash(*blake3::hash(&bytes).as_bytes());
        let manifest = BlobRef { hash: content, size_bytes: bytes.len() as u64 };
        let inputs = Inputs::new(blobs.clone());
        assert!(matches!(inputs.named(manifest).await, Err(InputsError::Missing(_))));
        let mut incoming = blobs.begin(manifest, "m", WorkerId(1)).unwrap();
        incoming.add(&bytes).unwrap();
        incoming.finish().unwrap();
        let named = inputs.named(manifest).await.unwrap();
        assert!(named.has(blob));
        assert!(!named.has(BlobRef { size_bytes: 8, ..blob }) && !named.has(manifest));

        std::fs::write(blobs.path(manifest.hash), "something else").unwrap();
        assert!(inputs.named(manifest).await.is_ok(), "it is remembered");
        let anew = Inputs::new(blobs);
        assert!(matches!(anew.named(manifest).await, Err(InputsError::WrongHash { .. })));
        std::fs::remove_dir_all(root).unwrap();
    }
}
