//! What is known of the contents and trees of a cache, without touching the disk but to move away what
//! has to go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::BlobRef;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tracing::{info, warn};

use super::{Body, Cache, on_disk, used_s};
use crate::clock::unix_s;
use crate::environment::shelf;

/// How often the use of a tree is noted on the disk. Seconds.
const NOTED_EVERY_S: u64 = 3600;

#[derive(Debug, Default)]
pub(super) struct State {
    contents: BTreeMap<BlobHash, Content>,
    partials: BTreeMap<BlobHash, Partial>,
    /// What is being fetched, with the room that it will take.
    fetched: BTreeMap<BlobHash, u64>,
    trees: BTreeMap<BlobHash, Standing>,
    /// Reserved for copies in trees that are being laid out.
    pub(super) copies_bytes: u64,
    /// How many places for trees there have been.
    pub(super) places: u64,
}

#[derive(Debug)]
struct Content {
    size_bytes: u64,
    /// Trees, and those who are about to make one.
    holders: usize,
    used_s: u64,
}

#[derive(Debug)]
struct Partial {
    size_bytes: u64,
    used_s: u64,
}

/// A tree that is laid out.
#[derive(Debug)]
struct Standing {
    body: Arc<Body>,
    contents: BTreeSet<BlobHash>,
    copied_bytes: u64,
    holders: usize,
    used_s: u64,
    /// When its use was last noted on the disk.
    noted_s: u64,
}

/// What could go, with when it was last used; trees before contents of the same second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spare {
    used_s: u64,
    kind: Kind,
    hash: BlobHash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Partial,
    Tree,
    Content,
}

/// What is to be done on the disk when nobody waits for the state any more.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Moved out of the way; to be removed.
    pub(super) trash: Vec<PathBuf>,
    /// Contents, and when they were last used, in seconds since 1970.
    pub(super) touched: Vec<(PathBuf, u64)>,
}

impl State {
    /// What an earlier worker has left.
    pub(super) fn found(content: &Path, partial: &Path) -> io::Result<Self> {
        let mut state = Self::default();
        for (hash, path, size_bytes) in files(content)? {
            let used_s = used_s(&path);
            state.contents.insert(hash, Content { size_bytes, holders: 0, used_s });
        }
        for (hash, path, _) in files(partial)? {
            state.find_partial(&path, hash);
        }
        Ok(state)
    }

    /// All that it takes up, or will.
    pub(super) fn bytes(&self) -> u64 {
        let contents = self.contents.values().map(|content| on_disk(content.size_bytes));
        let partials = self.partials.values().map(|partial| on_disk(partial.size_bytes));
        let trees = self.trees.values().map(|tree| tree.copied_bytes);
        let all = contents.chain(partials).chain(trees).chain(self.fetched.values().copied());
        all.fold(self.copies_bytes, u64::saturating_add)
    }

    /// Holds a content if it is here; yields whether it is.
    ///
    /// # Errors
    ///
    /// Its length, if that is another.
    pub(super) fn hold(&mut self, blob: &BlobRef) -> Result<bool, u64> {
        let Some(content) = self.contents.get_mut(&blob.hash) else { return Ok(false) };
        if content.size_bytes != blob.size_bytes {
            return Err(content.size_bytes);
        }
        content.holders += 1;
        Ok(true)
    }

    pub(super) fn let_go(&mut self, hash: &BlobHash, used_s: u64) {
        if let Some(content) = self.contents.get_mut(hash) {
            content.holders -= 1;
            content.used_s = content.used_s.max(used_s);
        }
    }

    pub(super) fn is_fetched(&self, hash: &BlobHash) -> bool {
        self.fetched.contains_key(hash)
    }

    pub(super) fn begin(&mut self, hash: BlobHash, bytes: u64) {
        self.fetched.insert(hash, bytes);
    }

    /// Yields whether it was still being fetched, so that only a part of it is here.
    pub(super) fn end(&mut self, hash: &BlobHash) -> bool {
        self.fetched.remove(hash).is_some()
    }

    /// A content is whole.
    pub(super) fn came(&mut self, blob: &BlobRef, used_s: u64) {
        self.fetched.remove(&blob.hash);
        let size_bytes = blob.size_bytes;
        self.contents.insert(blob.hash, Content { size_bytes, holders: 0, used_s });
    }

    pub(super) fn forget_partial(&mut self, hash: &BlobHash) {
        self.partials.remove(hash);
    }

    /// Looks whether a part of a content has been left.
    pub(super) fn find_partial(&mut self, path: &Path, hash: BlobHash) {
        if let Ok(metadata) = fs::metadata(path) {
            let partial = Partial { size_bytes: metadata.len(), used_s: used_s(path) };
            self.partials.insert(hash, partial);
        }
    }

    pub(super) fn take_tree(&mut self, manifest: &BlobHash) -> Option<Arc<Body>> {
        let tree = self.trees.get_mut(manifest)?;
        tree.holders += 1;
        Some(Arc::clone(&tree.body))
    }

    /// Keeps a tree, in use by the caller, unless another one stands by now; that is then the one to
    /// use, and the place of this one comes back.
    pub(super) fn keep_tree(
        &mut self,
        manifest: BlobHash,
        body: Body,
        contents: BTreeSet<BlobHash>,
        copied_bytes: u64,
    ) -> (Arc<Body>, Option<PathBuf>) {
        let now_s = unix_s();
        if let Some(standing) = self.take_tree(&manifest) {
            contents.iter().for_each(|hash| self.let_go(hash, now_s));
            return (standing, Some(body.place));
        }
        let body = Arc::new(body);
        let kept = Arc::clone(&body);
        let tree =
            Standing { body, contents, copied_bytes, holders: 1, used_s: now_s, noted_s: now_s };
        self.trees.insert(manifest, tree);
        (kept, None)
    }

    /// The contents of a tree, if their use is to be noted.
    pub(super) fn note_use(&mut self, manifest: &BlobHash, now_s: u64) -> Option<Vec<BlobHash>> {
        let tree = self.trees.get_mut(manifest)?;
        (now_s >= tree.noted_s.saturating_add(NOTED_EVERY_S)).then(|| {
            tree.noted_s = now_s;
            tree.contents.iter().copied().collect()
        })
    }

    pub(super) fn return_tree(&mut self, manifest: &BlobHash) {
        if let Some(tree) = self.trees.get_mut(manifest) {
            tree.holders -= 1;
            tree.used_s = unix_s();
        }
    }

    /// Makes way for so many bytes beneath a limit, the least recently used first; what is in use or on
    /// its way stays. Yields whether there is room now.
    pub(super) fn make_room(
        &mut self,
        cache: &Cache,
        needed: u64,
        max_bytes: u64,
        chores: &mut Chores,
    ) -> bool {
        let mut bytes = self.bytes();
        let mut freed = 0u64;
        loop {
            let mut spare = self.spare();
            spare.sort_unstable();
            let had = spare.len();
            for spare in spare {
                if bytes.saturating_add(needed) <= max_bytes {
                    break;
                }
                let gone = self.remove(cache, spare, chores);
                bytes = bytes.saturating_sub(gone);
                freed += gone;
                if spare.kind == Kind::Tree {
                    break; // Its contents may be older than what would be next.
                }
            }
            if had == 0 || bytes.saturating_add(needed) <= max_bytes {
                break;
            }
        }
        if freed > 0 {
            info!(freed_mib = freed >> 20, "removed files of jobs that were not used for longest");
        }
        bytes.saturating_add(needed) <= max_bytes
    }

    fn spare(&self) -> Vec<Spare> {
        let contents = self.contents.iter().filter(|(_, content)| content.holders == 0);
        let contents = contents.map(|(&hash, content)| (content.used_s, Kind::Content, hash));
        let trees = self.trees.iter().filter(|(_, tree)| tree.holders == 0);
        let trees = trees.map(|(&hash, tree)| (tree.used_s, Kind::Tree, hash));
        let partials = self.partials.iter();
        let partials = partials.map(|(&hash, partial)| (partial.used_s, Kind::Partial, hash));
        let all = contents.chain(trees).chain(partials);
        all.map(|(used_s, kind, hash)| Spare { used_s, kind, hash }).collect()
    }

    /// Takes something out of the way; yields how much room that makes.
    fn remove(&mut self, cache: &Cache, spare: Spare, chores: &mut Chores) -> u64 {
        let Spare { kind, hash, .. } = spare;
        let (place, freed) = match kind {
            Kind::Partial => {
                let Some(partial) = self.partials.remove(&hash) else { return 0 };
                (cache.partial(&hash), on_disk(partial.size_bytes))
            }
            Kind::Content => {
                let Some(content) = self.contents.remove(&hash) else { return 0 };
                (cache.content(&hash), on_disk(content.size_bytes))
            }
            Kind::Tree => {
                let Some(tree) = self.trees.remove(&hash) else { return 0 };
                for content in &tree.contents {
                    self.let_go(content, tree.used_s);
                    chores.touched.push((cache.content(content), tree.used_s));
                }
                // A directory that may not be written cannot be moved to another place either.
                let _moved = fs::set_permissions(&tree.body.place, Permissions::from_mode(0o755));
                (tree.body.place.clone(), tree.copied_bytes)
            }
        };
        self.places += 1;
        let trash = cache.dir.join("trash").join(self.places.to_string());
        match fs::rename(&place, &trash) {
            Ok(()) => chores.trash.push(trash),
            Err(error) => warn!("{} could not be moved away: {error}", place.display()),
        }
        freed
    }
}

impl Chores {
    /// Blocks on the disk. What fails is tried again at the next start, or does not matter.
    pub(super) fn carry_out(self) {
        for (path, used_s) in self.touched {
            let used = TimeSpec::new(used_s.cast_signed(), 0);
            let no_follow = UtimensatFlags::NoFollowSymlink;
            // Gone meanwhile, it needs no time.
            let _gone = utimensat(AT_FDCWD, &path, &used, &TimeSpec::UTIME_OMIT, no_follow);
        }
        for path in self.trash {
            if let Err(error) = remove(&path) {
                warn!("files of a job could not be removed: {error}");
            }
        }
    }
}

/// Removes a tree or a file; of a link, only itself.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => shelf::remove(path),
        false => fs::remove_file(path),
    }
}

/// Plain files that are named by a hash, with their lengths; whatever else lies there is removed.
fn files(dir: &Path) -> io::Result<Vec<(BlobHash, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let hash = name.and_then(|name| blake3::Hash::from_hex(name).ok());
        match hash.filter(|_| metadata.is_file()) {
            Some(hash) => found.push((BlobHash(*hash.as_bytes()), path, metadata.len())),
            None => remove(&path)?,
        }
    }
    Ok(found)
}
