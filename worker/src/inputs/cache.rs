//! Contents on the disk by their hashes, and the trees that are laid out of them: what is here, what is
//! on its way, what is in use, and what goes when there is no room.

mod claim;
mod room;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campusgrid_protocol::id::BlobHash;
use tokio::sync::watch;
use tracing::warn;

pub(super) use self::claim::{Claim, Fetching, Held, Wanted, keep_all};
use self::room::{Chores, State, remove};
use super::InputsError;
use super::tree::{Body, Tree};
use crate::clock::unix_s;
use crate::config::WithoutSandbox;
use crate::disk::{free_bytes, is_full, remove_if_there};

/// Always left to the owner. Bytes.
const RESERVE_BYTES: u64 = 1 << 30;

/// A file takes up at least this.
const BLOCK_BYTES: u64 = 4096;

/// What a length takes up on the disk, about.
fn on_disk(bytes: u64) -> u64 {
    bytes.max(1).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
    /// Told when something has come, or is no longer in use.
    changes: watch::Sender<()>,
}

impl Cache {
    /// Without a sandbox tasks can change what is here, so that none of it is trusted after a restart.
    pub(super) fn open(
        dir: PathBuf,
        max_bytes: u64,
        without_sandbox: WithoutSandbox,
    ) -> io::Result<Self> {
        // Tasks behind filters alone find their files by the path, as users of their own.
        make(&dir, 0o711)?;
        for (name, mode) in
            [("content", 0o700), ("partial", 0o700), ("trees", 0o711), ("trash", 0o700)]
        {
            make(&dir.join(name), mode)?;
        }
        let mark = dir.join("unconfined");
        let swept: &[&str] = match mark.exists() {
            true => &["trees", "trash", "content", "partial"],
            false => &["trees", "trash"],
        };
        for name in swept {
            for entry in fs::read_dir(dir.join(name))? {
                remove(&entry?.path())?;
            }
        }
        match without_sandbox {
            WithoutSandbox::Refuse => remove_if_there(&mark)?,
            WithoutSandbox::RunOwnJobs => fs::write(mark, "")?,
        }
        let state = State::found(&dir.join("content"), &dir.join("partial"))?;
        let changes = watch::Sender::new(());
        let cache = Self { dir, max_bytes, state: Mutex::new(state), changes };
        let mut chores = Chores::default();
        cache.lock().make_room(&cache, 0, cache.max_bytes, &mut chores);
        chores.carry_out();
        Ok(cache)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn content(&self, hash: &BlobHash) -> PathBuf {
        self.dir.join("content").join(hash.to_string())
    }

    fn partial(&self, hash: &BlobHash) -> PathBuf {
        self.dir.join("partial").join(hash.to_string())
    }

    /// Whether an error means that the disk is full.
    pub(super) fn has_run_out(&self, error: &io::Error) -> bool {
        is_full(&self.dir, error)
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_replace(());
    }

    /// A place for a tree that nothing else has had since the worker was started: a sandbox that is
    /// still warm shows what it has been shown for as long as the path is the same.
    pub(super) fn new_place(&self, manifest: &BlobHash) -> PathBuf {
        let mut state = self.lock();
        state.places += 1;
        self.dir.join("trees").join(format!("{manifest}-{}", state.places))
    }

    /// The tree of this manifest, if it is laid out; counts as a use of it.
    pub(super) fn take_tree(self: &Arc<Self>, manifest: &BlobHash) -> Option<Tree> {
        let body = self.lock().take_tree(manifest)?;
        Some(Tree::of(Arc::clone(self), *manifest, body))
    }

    /// Keeps a tree that has just been laid out. What was held for it stays for as long as it does.
    pub(super) fn keep_tree(
        self: &Arc<Self>,
        mut held: Held,
        manifest: BlobHash,
        body: Body,
        copied_bytes: u64,
    ) -> Tree {
        let contents = std::mem::take(&mut held.contents);
        // Whoever used them last used them now, also when the worker is started anew.
        let touched = contents.iter().map(|hash| (self.content(hash), unix_s())).collect();
        Chores { touched, ..Chores::default() }.carry_out();
        let kept = self.lock().keep_tree(manifest, body, contents, copied_bytes);
        let (body, unwanted) = kept;
        if let Some(place) = unwanted
            && let Err(error) = remove(&place)
        {
            warn!("a tree that nobody needs could not be removed: {error}");
        }
        Tree::of(Arc::clone(self), manifest, body)
    }

    /// Notes on the disk that a tree is in use, if that was not done for long: a worker that is started
    /// anew knows nothing else of it. What is returned blocks, and is to be carried out elsewhere.
    pub(super) fn note_use(&self, manifest: &BlobHash) -> Option<impl FnOnce() + Send + use<>> {
        let now_s = unix_s();
        let contents = self.lock().note_use(manifest, now_s)?;
        let touched = contents.iter().map(|hash| (self.content(hash), now_s)).collect();
        let chores = Chores { touched, ..Chores::default() };
        Some(move || chores.carry_out())
    }

    pub(super) fn return_tree(&self, manifest: &BlobHash) {
        self.lock().return_tree(manifest);
        self.changed();
    }

    /// Holds what is here of what is wanted, and claims the rest for the caller as far as nobody else
    /// has. Makes room for it. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// `Refused` if a content has another length than is said, `Disk` if it can never have room.
    pub(super) fn claim(
        self: &Arc<Self>,
        held: &mut Held,
        wanted: &Wanted,
    ) -> Result<Claim, InputsError> {
        if wanted.bytes() > self.max_bytes {
            let message = format!(
                "the job's files take up {} MiB, and this machine keeps {} MiB at most",
                wanted.bytes().div_ceil(1 << 20),
                self.max_bytes >> 20
            );
            return Err(InputsError::Disk { message });
        }
        let mut chores = Chores::default();
        let claimed = self.claim_in(&mut self.lock(), held, wanted, &mut chores);
        chores.carry_out();
        let claim = match claimed? {
            Claim::Mine(claims) => Claim::Mine(self.check_disk(claims)?),
            claim @ (Claim::All | Claim::Others | Claim::NoRoom { .. }) => claim,
        };
        Ok(claim)
    }

    fn claim_in(
        self: &Arc<Self>,
        state: &mut State,
        held: &mut Held,
        wanted: &Wanted,
        chores: &mut Chores,
    ) -> Result<Claim, InputsError> {
        let (mut missing, mut others) = (Vec::new(), false);
        for blob in &wanted.blobs {
            if held.contents.contains(&blob.hash) {
                continue;
            }
            match state.hold(blob) {
                Ok(true) => {
                    held.contents.insert(blob.hash);
                }
                Ok(false) if state.is_fetched(&blob.hash) => others = true,
                Ok(false) => missing.push(*blob),
                Err(bytes) => {
                    let message = format!(
                        "{} is {bytes} bytes long and said to be {}",
                        blob.hash, blob.size_bytes
                    );
                    return Err(InputsError::Refused { message });
                }
            }
        }
        let copies_bytes = wanted.copies_bytes - held.copies_bytes.min(wanted.copies_bytes);
        let needed = missing.iter().map(|blob| on_disk(blob.size_bytes)).sum::<u64>();
        for blob in &missing {
            state.forget_partial(&blob.hash); // It is not to be removed now, but to become whole.
        }
        if needed + copies_bytes > 0
            && !state.make_room(self, needed + copies_bytes, self.max_bytes, chores)
        {
            missing
                .iter()
                .for_each(|blob| state.find_partial(&self.partial(&blob.hash), blob.hash));
            let message =
                format!("{} MiB are taken up by those of other tasks", state.bytes() >> 20);
            return Ok(Claim::NoRoom { message });
        }
        state.copies_bytes += copies_bytes;
        held.copies_bytes += copies_bytes;
        missing.iter().for_each(|blob| state.begin(blob.hash, on_disk(blob.size_bytes)));
        Ok(match (missing.is_empty(), others) {
            (true, false) => Claim::All,
            (true, true) => Claim::Others,
            (false, _) => {
                let claim = |blob| Fetching { cache: Arc::clone(self), blob };
                Claim::Mine(missing.into_iter().map(claim).collect())
            }
        })
    }

    /// Gives the claims up if the disk has no room for them beside what is the owner's.
    fn check_disk(self: &Arc<Self>, claims: Vec<Fetching>) -> Result<Vec<Fetching>, InputsError> {
        let needed: u64 = claims.iter().map(Fetching::missing_bytes).sum();
        let free = || {
            free_bytes(&self.dir).map_err(|error| InputsError::host("ask how full it is", &error))
        };
        if free()? >= needed.saturating_add(RESERVE_BYTES) {
            return Ok(claims);
        }
        let mut chores = Chores::default();
        self.lock().make_room(self, 0, 0, &mut chores);
        chores.carry_out();
        let free = free()?;
        if free >= needed.saturating_add(RESERVE_BYTES) {
            return Ok(claims);
        }
        let message = format!(
            "{} MiB are free, the job's files need {} MiB, and {} MiB are left to the owner",
            free >> 20,
            needed.div_ceil(1 << 20),
            RESERVE_BYTES >> 20
        );
        Err(InputsError::Disk { message })
    }
}

/// Makes a directory of this mode, or gives it that.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// When a file was last used, as it is noted on it.
fn used_s(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.atime().max(0).cast_unsigned())
}
