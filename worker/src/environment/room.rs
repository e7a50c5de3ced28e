//! What uv may take of this machine: a turn, which shares out the owner's cores and memory, and the
//! disk, where room is made before, during and after.

use std::path::Path;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::warn;

use super::EnvironmentError;
use super::answers::Answers;
use super::disk::{self, DiskError};
use super::shelf::Shelf;
use super::uv::Bench;

/// Packages are resolved or installed for so many jobs at a time: one that downloads for half an hour
/// must not hold up all others.
pub(super) const AT_ONCE: u32 = 2;

#[derive(Debug)]
pub(super) struct Room {
    shelf: Shelf,
    answers: Answers,
    max_bytes: u64,
    turns: Semaphore,
}

/// Makes room when work is over that has written to the disk: done, failed, or cut short.
pub(super) struct After<'a>(&'a Room);

impl Room {
    pub(super) fn new(shelf: Shelf, answers: Answers, max_bytes: u64) -> Self {
        Self { shelf, answers, max_bytes, turns: Semaphore::new(AT_ONCE as usize) }
    }

    /// Does some work of uv's when it is its turn, unless that leaves too little of the disk.
    ///
    /// # Errors
    ///
    /// Those of the work, and `Machine` if the disk is full.
    pub(super) async fn in_turn<T>(
        &self,
        bench: Bench<'_>,
        work: impl Future<Output = Result<T, EnvironmentError>>,
    ) -> Result<T, EnvironmentError> {
        if self.turns.available_permits() == 0 {
            bench.steps.send_replace("waiting until other packages are installed".to_owned());
        }
        let _turn = self.turns.acquire().await.expect("nobody closes it");
        let packages = bench.packages.to_owned();
        let is_full = tokio::task::spawn_blocking(move || disk::is_full(&packages));
        if is_full.await.unwrap_or(false) {
            self.made().await; // Before the cache is in use, which may have to go as well.
        }
        let _using = self.shelf.use_cache().await;
        tokio::select! {
            biased;
            done = work => done,
            error = self.until_too_full(bench.packages) => {
                Err(EnvironmentError::Machine { message: error.to_string() })
            }
        }
    }

    /// Returns when too much is written, or when nothing helps any more against a full disk.
    async fn until_too_full(&self, packages: &Path) -> DiskError {
        match disk::until_too_full(packages, self.max_bytes).await {
            DiskError::Full => {
                self.made().await;
                disk::until_too_full(packages, self.max_bytes).await
            }
            error @ DiskError::TooMuch { .. } => error,
        }
    }

    /// Keeps what is on the disk below its limit, and takes away all that nobody uses when the disk
    /// is full: what can be had again must not be in the owner's way.
    ///
    /// Goes on by itself; what is returned need not be waited for.
    pub(super) fn make(&self) -> JoinHandle<()> {
        let (shelf, answers) = (self.shelf.clone(), self.answers.clone());
        let max_bytes = self.max_bytes;
        tokio::task::spawn_blocking(move || {
            let max_bytes = if disk::is_full(shelf.dir()) { 0 } else { max_bytes };
            if let Err(error) = shelf.make_room(max_bytes) {
                warn!("no room could be made among the environments: {error}");
            }
            if let Err(error) = answers.forget_old() {
                warn!("old answers of the package index could not be removed: {error}");
            }
        })
    }

    async fn made(&self) {
        if let Err(error) = self.make().await {
            warn!("room was not made to the end: {error}");
        }
    }

    /// To be held while work goes on that writes to the disk.
    pub(super) fn after(&self) -> After<'_> {
        After(self)
    }
}

impl After<'_> {
    /// The work is over; waits until there is room.
    pub(super) async fn made(self) {
        self.0.made().await;
        std::mem::forget(self); // It would be done once more.
    }
}

impl Drop for After<'_> {
    fn drop(&mut self) {
        drop(self.0.make());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::time::Duration;

    use campusgrid_protocol::python::PythonVersion;

    use super::*;
    use crate::environment::interpreter::Interpreter;
    use crate::environment::shelf::Cache;
    use crate::environment::workshop::Workshop;
    use crate::flights::Steps;
    use crate::run::backend::{Backends, Surroundings};

    #[tokio::test]
    async fn a_few_build_at_a_time_and_the_others_are_told_why_they_wait() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { path: dir.path().join("cache"), users: Arc::default() };
        let answers = Answers::open(dir.path().join("answers"), Duration::ZERO).unwrap();
        let room = Room::new(Shelf::new(dir.path().to_owned(), cache), answers, u64::MAX);
        let backends = Backends::new(None, None);
        let interpreter = Interpreter {
            path: "python3".to_owned(),
            version: PythonVersion(3, 11, 0),
            fingerprint: String::new(),
            image: None,
        };
        let steps = Steps::default();
        let bench = Bench {
            workshop: Workshop { backends: &backends, surroundings: Surroundings::Machine },
            uv: Path::new("uv"),
            interpreter: &interpreter,
            packages: dir.path(),
            results: dir.path(),
            steps: &steps,
        };
        let (go, at_work, most) = (Semaphore::new(0), Cell::new(0), Cell::new(0));
        let work = || {
            room.in_turn(bench, async {
                at_work.set(at_work.get() + 1);
                most.set(most.get().max(at_work.get()));
                go.acquire().await.unwrap().forget();
                at_work.set(at_work.get() - 1);
                Ok(())
            })
        };
        let mut told = steps.subscribe();
        let release = async {
            let waits = told.wait_for(|step| step.starts_with("waiting until other")).await;
            drop(waits.unwrap());
            while at_work.get() < AT_ONCE {
                tokio::task::yield_now().await;
            }
            go.add_permits(AT_ONCE as usize + 1);
        };
        let (first, second, third, ()) = tokio::join!(work(), work(), work(), release);
        assert_eq!([first, second, third], [Ok(()), Ok(()), Ok(())]);
        assert_eq!((most.get(), at_work.get()), (AT_ONCE, 0));
    }
}
