//! A place to try things in, where a worker has its data, without being that worker.

use std::fs::{self, DirBuilder, DirEntry, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use tracing::warn;

use crate::backoff::random;
use crate::config::Weaker;

/// What such places are called, before a process and a number.
const NAME: &str = ".campusgrid-trial-";

/// A directory that nobody else has, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) path: PathBuf,
    /// What containers can be called that must not be mistaken for a worker's.
    pub(crate) instance: String,
    /// Tells others that somebody is here.
    _lock: Flock<File>,
}

impl Trial {
    /// Makes one on the file system of `data_dir`, whether that is there already or not, or, where
    /// this user may not, among the temporary files. Sweeps away what killed ones have left there.
    ///
    /// # Errors
    ///
    /// When there is no room in either.
    pub(crate) fn make(data_dir: &Path, weaker: Weaker) -> io::Result<Self> {
        let nearest = data_dir.ancestors().find(|path| path.is_dir());
        match nearest.map(|place| Self::make_in(place, weaker)) {
            Some(Ok(trial)) => Ok(trial),
            Some(Err(_)) | None => Self::make_in(&std::env::temp_dir(), weaker),
        }
    }

    fn make_in(place: &Path, weaker: Weaker) -> io::Result<Self> {
        sweep(place);
        let number = format!("{}-{:08x}", std::process::id(), random());
        let path = place.join(format!("{NAME}{number}"));
        // Fails where something of this name is, so that nobody can have made it for us.
        DirBuilder::new().mode(weaker.directory_mode()).create(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, instance: format!("trial-{number}"), _lock: lock })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes those in `place` that were this user's and that nobody has any more.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    let is_ours = |entry: &DirEntry| {
        entry.file_name().to_string_lossy().starts_with(NAME)
            && entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == Uid::effective().as_raw())
    };
    for entry in entries.flatten().filter(is_ours) {
        if let Ok(_lock) = lock(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Takes a directory as long as its process lives, unless another has it.
fn lock(path: &Path) -> io::Result<Flock<File>> {
    let taken = Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock);
    taken.map_err(|(_, error)| error.into())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        warn!("{} stays: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_on_the_workers_file_system_and_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("not/yet/there");
        let trial = Trial::make(&data_dir, Weaker::Refuse).unwrap();
        assert_eq!(trial.path.parent(), Some(home.path()));
        fs::write(trial.path.join("file"), "").unwrap();
        let (path, other) = (trial.path.clone(), Trial::make(&data_dir, Weaker::Refuse).unwrap());
        assert!(path.exists() && other.path != path);
        drop((trial, other));
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_none() {
        let trial = Trial::make(Path::new("/proc/self"), Weaker::Refuse).unwrap();
        assert_eq!(trial.path.parent(), Some(&*std::env::temp_dir()));
    }

    #[test]
    fn what_killed_ones_have_left_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let left = home.path().join(format!("{NAME}1-00000000"));
        let others = home.path().join("scratch");
        for path in [&left, &others] {
            fs::create_dir_all(path.join("engine")).unwrap();
        }
        let _trial = Trial::make(home.path(), Weaker::Refuse).unwrap();
        assert!(!left.exists() && others.exists());
    }
}
