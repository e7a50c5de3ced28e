//! What a run is told after its start: to stop, to stand still, and which lock its packages are installed from.

use std::sync::Arc;

use campusgrid_protocol::task::{Outcome, WorkerFault};
use tokio::sync::watch;

use crate::agent::effect::StopOrder;

/// The daemon's end.
#[derive(Debug)]
pub(crate) struct RunHandle {
    /// The newest order counts.
    pub(crate) stop: watch::Sender<Option<StopOrder>>,
    pub(crate) lock: watch::Sender<Option<Arc<str>>>,
    /// Whether it stands still.
    pub(crate) still: watch::Receiver<bool>,
}

/// The run's end.
#[derive(Debug, Clone)]
pub(crate) struct RunWords {
    pub(super) stop: watch::Receiver<Option<StopOrder>>,
    /// Whether everything on this machine is to stand still.
    pub(super) frozen: watch::Receiver<bool>,
    lock: watch::Receiver<Option<Arc<str>>>,
    pub(super) still: watch::Sender<bool>,
}

impl RunHandle {
    /// Both ends for a run whose job has this lock already, or none yet.
    pub(crate) fn new(lock: Option<Arc<str>>, frozen: watch::Receiver<bool>) -> (Self, RunWords) {
        let (stop, stopped) = watch::channel(None);
        let (lock, locked) = watch::channel(lock);
        let (still, stands_still) = watch::channel(false);
        let words = RunWords { stop: stopped, frozen, lock: locked, still };
        (Self { stop, lock, still: stands_still }, words)
    }
}

impl RunWords {
    /// Returns when there is an order to stop, or no daemon any more to give one.
    pub(super) async fn until_stopped(mut self) {
        let _ = self.stop.wait_for(Option::is_some).await;
    }

    /// What a stop was ordered to be reported as; for a forgotten attempt it does not matter.
    pub(super) fn stopped(&self) -> Option<Outcome> {
        match &*self.stop.borrow() {
            Some(StopOrder::Report(outcome)) => Some(outcome.clone()),
            Some(StopOrder::HandBack { .. }) => Some(Outcome::Returned(WorkerFault::Leaving)),
            Some(StopOrder::Forget) => Some(Outcome::Cancelled),
            None => None,
        }
    }

    /// Nothing of the task runs, as the daemon wanted.
    pub(super) fn stands_still(&self) {
        self.still.send_replace(true);
    }

    /// Whether nothing of the attempt is to be kept.
    pub(super) fn is_forgotten(&self) -> bool {
        matches!(*self.stop.borrow(), Some(StopOrder::Forget))
    }

    /// The job's lock, if it is known.
    pub(super) fn lock(&self) -> Option<Arc<str>> {
        self.lock.borrow().clone()
    }

    /// The job's lock, once the manager has told it; never if the daemon is gone.
    pub(super) async fn until_locked(mut self) -> Arc<str> {
        let told = self.lock.wait_for(Option::is_some).await;
        match told.ok().and_then(|lock| lock.clone()) {
            Some(lock) => lock,
            None => std::future::pending().await,
        }
    }
}
