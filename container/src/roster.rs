//! The containers of this worker's: which are in use, and which only lie about in the engine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use tokio::time::timeout;

use crate::error::EngineError;

/// The label that marks containers as ours; its value is the worker's own name.
pub(crate) const LABEL: &str = "campusgrid.instance";

const REMOVING: Duration = Duration::from_secs(20);

/// Knows what a sweep must spare.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    pub(crate) instance: String,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    in_use: BTreeSet<String>,
    /// One at least could not be removed when its time had come.
    has_lost: bool,
}

/// A container that must be removed in the end; dropping it has it removed soon.
#[derive(Debug)]
pub(crate) struct Container {
    docker: Docker,
    pub(crate) id: String,
    roster: Roster,
    is_removed: bool,
}

impl Roster {
    pub(crate) fn new(instance: String) -> Self {
        Self { instance, book: Arc::default() }
    }

    pub(crate) fn enter(&self, docker: Docker, id: String) -> Container {
        self.lock().in_use.insert(id.clone());
        Container { docker, id, roster: self.clone(), is_removed: false }
    }

    /// Whether something is left that a sweep would find.
    pub(crate) fn has_lost(&self) -> bool {
        self.lock().has_lost
    }

    /// Removes all containers of this worker's that are not in use.
    ///
    /// # Errors
    ///
    /// `Gone` or `Refused`.
    pub(crate) async fn sweep(&self, docker: &Docker) -> Result<usize, EngineError> {
        let failed = |operation| move |error| EngineError::from_answer(operation, error);
        let ours = vec![format!("{LABEL}={}", self.instance)];
        let options = ListContainersOptions {
            all: true,
            filters: Some([("label".to_owned(), ours)].into()),
            ..ListContainersOptions::default()
        };
        let found = docker.list_containers(Some(options)).await;
        let mut removed = 0;
        for id in found.map_err(failed("list its containers"))?.into_iter().filter_map(|one| one.id)
        {
            if self.lock().in_use.contains(&id) {
                continue;
            }
            remove(docker, &id).await.map_err(failed("remove a container"))?;
            removed += 1;
        }
        self.lock().has_lost = false;
        Ok(removed)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner) // Whole in any panic.
    }
}

impl Container {
    /// Removes it, whatever runs in it. Waits for a while; a later sweep finds it if that fails.
    pub(crate) async fn remove(mut self) {
        self.is_removed = true;
        finish(&self.docker, &self.id, &self.roster).await;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.is_removed {
            return;
        }
        // Without a runtime the streams are closed all the same, and the container ends itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (docker, id, roster) =
            (self.docker.clone(), std::mem::take(&mut self.id), self.roster.clone());
        drop(runtime.spawn(async move { finish(&docker, &id, &roster).await }));
    }
}

async fn finish(docker: &Docker, id: &str, roster: &Roster) {
    let removed = timeout(REMOVING, remove(docker, id)).await;
    let mut book = roster.lock();
    book.in_use.remove(id);
    if !removed.is_ok_and(|removed| removed.is_ok()) {
        book.has_lost = true;
        tracing::warn!(container = id, "a container could not be removed now");
    }
}

/// Removes a container; one that is not there, or about to go, is as good as removed.
async fn remove(docker: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match docker.remove_container(id, Some(options)).await {
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        other => other,
    }
}
