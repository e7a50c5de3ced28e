//! Finished environments on the disk: found by their key, kept while in use, and the least recently
//! used taken away when they and uv's cache grow beyond their limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid};
use tokio::sync::{RwLock, RwLockReadGuard};
use tracing::{info, warn};

use super::building::sweep;
use crate::clock;

/// Begins the name of what is on its way out.
const OLD: &str = ".old-";

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    dir: Arc<Path>,
    cache: Cache,
    in_use: Arc<InUse>,
    /// Held by whoever takes things away: two would trip over each other's trees.
    making_room: Arc<Mutex<()>>,
}

/// uv's cache, which goes before any environment.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    pub(super) path: PathBuf,
    /// Read by whoever uses it, written by whoever takes it away.
    pub(super) users: Arc<RwLock<()>>,
}

/// How many hold each environment.
#[derive(Debug, Default)]
struct InUse(Mutex<BTreeMap<String, usize>>);

/// An environment that stays where it is for as long as this value.
#[derive(Debug)]
pub struct Environment {
    path: PathBuf,
    key: String,
    in_use: Arc<InUse>,
}

impl Environment {
    /// The host's directory, to be shown read-only at `/env`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let mut in_use = self.in_use.lock();
        if let Some(holders) = in_use.get_mut(&self.key) {
            *holders -= 1;
            if *holders == 0 {
                in_use.remove(&self.key);
            }
        }
    }
}

impl InUse {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One environment as it is weighed.
struct Weighed {
    key: String,
    is_in_use: bool,
    used: SystemTime,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf, cache: Cache) -> Self {
        let (in_use, making_room) = (Arc::default(), Arc::default());
        Self { dir: dir.into(), cache, in_use, making_room }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the cache where it is for as long as what is returned.
    pub(super) async fn use_cache(&self) -> RwLockReadGuard<'_, ()> {
        self.cache.users.read().await
    }

    /// The environment of this key, if it is there; counts as a use of it.
    pub(super) fn take(&self, key: &str) -> Option<Environment> {
        let path = self.dir.join(key);
        // Under the lock, so that it cannot be taken away between being seen and being held.
        let mut in_use = self.in_use.lock();
        if !path.is_dir() {
            return None;
        }
        *in_use.entry(key.to_owned()).or_default() += 1;
        drop(in_use);
        let now = UNIX_EPOCH + Duration::from_secs(clock::unix_s());
        if let Err(error) = File::open(&path).and_then(|dir| dir.set_modified(now)) {
            warn!(%error, "the use of an environment could not be noted");
        }
        Some(self.held(key))
    }

    /// A use that has been counted.
    fn held(&self, key: &str) -> Environment {
        let (path, in_use) = (self.dir.join(key), Arc::clone(&self.in_use));
        Environment { path, key: key.to_owned(), in_use }
    }

    /// Makes what was built read-only and puts it where tasks find it, once all of its files are on
    /// the disk: a name that survives a loss of power must not stand for empty files. Blocks.
    ///
    /// It is in use from the first, so that nobody makes room by removing it.
    ///
    /// # Errors
    ///
    /// Those of the file system; `NotADirectory` if there is a link on the way to `built`, which is
    /// to be without any: whoever builds may have left one to what is not its own.
    pub(super) fn put(&self, built: &Path, key: &str) -> io::Result<Environment> {
        if built.canonicalize()? != built || !built.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        seal(built)?;
        nix::unistd::syncfs(File::open(built)?)?;
        let place = self.dir.join(key);
        // A directory that may not be written cannot be moved to another place either.
        fs::set_permissions(built, Permissions::from_mode(0o755))?;
        *self.in_use.lock().entry(key.to_owned()).or_default() += 1;
        let environment = self.held(key);
        match fs::rename(built, &place) {
            Err(_) if place.is_dir() => remove(built)?, // Somebody was faster.
            Err(error) => return Err(error),
            Ok(()) => fs::set_permissions(&place, Permissions::from_mode(0o555))?,
        }
        Ok(environment)
    }

    /// Takes away what does not fit into so many bytes: uv's cache rather than environments, and of
    /// those that nobody uses the least recently used first. Blocks.
    ///
    /// Files that several of them share count once. A cache in use stays, and so does what cannot be
    /// removed; that is tried again the next time.
    ///
    /// # Errors
    ///
    /// Those of reading the file system.
    pub(super) fn make_room(&self, max_bytes: u64) -> io::Result<()> {
        let _alone = self.making_room.lock().unwrap_or_else(PoisonError::into_inner);
        sweep(&self.dir, OLD)?; // Where an earlier removal came to nothing.
        let mut seen = BTreeSet::new();
        let mut kept_bytes = 0;
        for environment in self.by_worth()? {
            let path = self.dir.join(&environment.key);
            let mut also_seen = seen.clone();
            let bytes = weigh(&path, &mut also_seen)?;
            let fits = environment.is_in_use || kept_bytes + bytes <= max_bytes;
            if !fits && self.withdraw(&environment.key) {
                info!(environment = %environment.key, freed_mib = bytes >> 20, "removed an environment");
            } else {
                kept_bytes += bytes; // Perhaps taken into use just now.
                seen = also_seen;
            }
        }
        let Cache { path, users } = &self.cache;
        let bytes = match weigh(path, &mut seen) {
            // There is none, or it changes while it is weighed, and so is in use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            weighed => weighed?,
        };
        if kept_bytes + bytes > max_bytes
            && let Ok(_alone) = users.try_write()
        {
            info!(freed_mib = bytes >> 20, "emptied the cache of packages");
            remove(path)?;
        }
        Ok(())
    }

    /// Those in use first, then the most recently used.
    fn by_worth(&self) -> io::Result<Vec<Weighed>> {
        let in_use = self.in_use.lock();
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Some(key) =
                entry.file_name().to_str().filter(|name| is_key(name)).map(str::to_owned)
            else {
                continue;
            };
            let used = entry.metadata()?.modified()?;
            all.push(Weighed { is_in_use: in_use.contains_key(&key), key, used });
        }
        all.sort_unstable_by(|a, b| {
            (b.is_in_use, b.used, &b.key).cmp(&(a.is_in_use, a.used, &a.key))
        });
        Ok(all)
    }

    /// Takes an environment away unless somebody has taken it into use; yields whether it is gone
    /// from its place.
    fn withdraw(&self, key: &str) -> bool {
        // A name of its own each time: what is left of an earlier one must not be in the way.
        let old = self.dir.join(format!("{OLD}{:08x}", crate::backoff::random()));
        let in_use = self.in_use.lock();
        if in_use.contains_key(key) {
            return false;
        }
        let moved = fs::rename(self.dir.join(key), &old);
        drop(in_use);
        let gone = moved.is_ok();
        if let Err(error) = moved.and_then(|()| remove(&old)) {
            warn!(environment = %key, %error, "an environment could not be removed");
        }
        gone
    }
}

/// Whether a name is that of an environment.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Bytes that a tree takes up on the disk, beside what was seen before.
fn weigh(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> io::Result<u64> {
    let mut bytes = 0;
    each(path, &mut |_, metadata| {
        if seen.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Makes a tree readable for tasks, which run as other users, and writable for nobody: it becomes
/// this worker's own, and where that is root, out of reach of the user that builds.
///
/// What programs and directories are may be run; whose identity they take on is forgotten. Links
/// are left as they are, and never followed.
fn seal(path: &Path) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::effective().as_raw()), Some(Gid::effective().as_raw()));
    each(path, &mut |path, metadata| {
        lchown(path, uid, gid)?;
        if metadata.is_symlink() {
            return Ok(());
        }
        let runs = metadata.is_dir() || metadata.mode() & 0o111 != 0;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        file.set_permissions(Permissions::from_mode(if runs { 0o555 } else { 0o444 }))
    })
}

/// Removes a tree, however it is sealed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    // First without changing permissions: what a container that is about to end still writes to may
    // turn into links to elsewhere meanwhile. Only sealed directories of a worker that is not root
    // need more.
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    each(path, &mut |path, metadata| match metadata.is_dir() {
        true => fs::set_permissions(path, Permissions::from_mode(0o700)),
        false => Ok(()),
    })?;
    fs::remove_dir_all(path)
}

/// Visits all of a tree, links as themselves, directories before what is in them.
fn each(path: &Path, visit: &mut impl FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        visit(&path, &metadata)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    struct Place {
        dir: tempfile::TempDir,
        shelf: Shelf,
        max_bytes: u64,
    }

    impl Place {
        fn new(max_mib: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let cache = Cache { path: dir.path().join("cache"), users: Arc::default() };
            let shelf = Shelf::new(dir.path().join("shelf"), cache);
            fs::create_dir_all(&shelf.dir).unwrap();
            fs::create_dir(&shelf.cache.path).unwrap();
            Self { dir, shelf, max_bytes: max_mib << 20 }
        }

        fn make_room(&self) {
            self.shelf.make_room(self.max_bytes).unwrap();
        }

        /// Puts an environment of 1 MiB on the shelf, last used at this second.
        fn put(&self, letter: &str, used_s: u64) -> String {
            let built = self.dir.path().canonicalize().unwrap().join("built");
            fs::create_dir_all(built.join("lib")).unwrap();
            fs::write(built.join("lib/module.py"), vec![b'#'; MIB]).unwrap();
            let key = letter.repeat(64);
            self.shelf.put(&built, &key).unwrap();
            let place = File::open(self.shelf.dir.join(&key)).unwrap();
            place.set_modified(UNIX_EPOCH + Duration::from_secs(used_s)).unwrap();
            key
        }

        fn left(&self) -> String {
            let entries = fs::read_dir(&self.shelf.dir).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            let cache = if self.shelf.cache.path.exists() { " and cache" } else { "" };
            names.iter().map(|name| &name[..1]).collect::<String>() + cache
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_cache_before_it() {
        let place = Place::new(3);
        for (letter, used_s) in [("a", 30), ("b", 10), ("c", 20)] {
            place.put(letter, used_s);
        }
        fs::write(place.shelf.cache.path.join("wheel"), vec![b'x'; MIB]).unwrap();
        place.make_room();
        assert_eq!(place.left(), "ac", "each takes a little more than 1 MiB");
    }

    #[test]
    fn what_is_in_use_stays_and_counts_as_used() {
        let place = Place::new(1);
        let [a, b] = [place.put("a", 10), place.put("b", 20)];
        let held = [place.shelf.take(&a).unwrap(), place.shelf.take(&a).unwrap()];
        fs::write(place.shelf.cache.path.join("wheel"), vec![b'x'; MIB]).unwrap();
        let users = place.shelf.cache.users.try_read().unwrap();
        place.make_room();
        assert_eq!(place.left(), "a and cache");
        assert!(place.shelf.take(&b).is_none());
        drop((held, users));
        place.put("b", 20);
        place.make_room();
        assert_eq!(place.left(), "", "neither fits");
        let place = Place::new(2);
        let [a, _] = [place.put("a", 10), place.put("b", 20)];
        drop(place.shelf.take(&a));
        place.make_room();
        assert_eq!(place.left(), "a and cache", "a was used just now");
    }

    #[test]
    fn what_was_put_there_just_now_is_in_use() {
        let place = Place::new(0);
        let built = place.dir.path().canonicalize().unwrap().join("built");
        fs::create_dir(&built).unwrap();
        fs::write(built.join("module.py"), vec![b'#'; MIB]).unwrap();
        let environment = place.shelf.put(&built, &"a".repeat(64)).unwrap();
        place.make_room();
        assert_eq!(place.left(), "a");
        drop(environment);
        place.make_room();
        assert_eq!(place.left(), "");
    }

    #[test]
    fn what_an_earlier_removal_has_left_is_not_in_the_way() {
        let place = Place::new(0);
        let key = place.put("a", 10);
        for name in [format!("{OLD}{key}"), format!("{OLD}more")] {
            fs::create_dir_all(place.shelf.dir.join(name).join("lib")).unwrap();
        }
        place.make_room();
        assert_eq!(place.left(), "");
    }

    #[test]
    fn files_that_are_shared_with_the_cache_count_once() {
        let place = Place::new(3);
        let a = place.put("a", 10);
        let file = place.shelf.dir.join(a).join("lib/module.py");
        fs::hard_link(file, place.shelf.cache.path.join("module.py")).unwrap();
        place.put("b", 20);
        place.make_room();
        assert_eq!(place.left(), "ab and cache");
    }

    #[test]
    fn what_was_built_elsewhere_is_not_taken() {
        let place = Place::new(3);
        let top = place.dir.path().canonicalize().unwrap();
        let elsewhere = top.join("elsewhere");
        fs::create_dir_all(elsewhere.join("environment")).unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, top.join("new")).unwrap();
        for built in [top.join("new"), top.join("new/environment")] {
            let refused = place.shelf.put(&built, &"a".repeat(64)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
        }
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o700);
        assert_eq!(place.left(), " and cache");
    }

    #[test]
    fn what_is_on_the_shelf_can_be_read_by_all_and_written_by_none() {
        let place = Place::new(3);
        let built = place.dir.path().join("built");
        fs::create_dir(&built).unwrap();
        fs::write(built.join("odd"), "x").unwrap();
        fs::set_permissions(built.join("odd"), Permissions::from_mode(0o4700)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", built.join("link")).unwrap();
        let module = place.shelf.dir.join(place.put("a", 10)).join("lib/module.py");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&module), mode(module.parent().unwrap())), (0o444, 0o555));
        assert_eq!(mode(&place.shelf.dir.join("a".repeat(64)).join("odd")), 0o555);
    }
}
