//! The disk of a laptop: what is written survives the worker, what is synced survives the machine.

use std::collections::BTreeMap;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::task::{Ended, Output};

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// As programs see it.
    seen: BTreeMap<AttemptId, Ended>,
    /// As it is after a loss of power.
    synced: BTreeMap<AttemptId, Ended>,
}

impl Disk {
    pub(crate) fn write(&mut self, ended: Ended) {
        self.seen.insert(ended.attempt, ended);
    }

    /// Makes an end durable, and with its directory all deletions before it.
    pub(crate) fn sync(&mut self, attempt: AttemptId) {
        self.synced.retain(|other, _| self.seen.contains_key(other));
        if let Some(ended) = self.seen.get(&attempt) {
            self.synced.insert(attempt, ended.clone());
        }
    }

    /// Deletes without a sync: after a loss of power it may be back.
    pub(crate) fn remove(&mut self, attempt: AttemptId) {
        self.seen.remove(&attempt);
    }

    /// The files of an end, to be uploaded.
    pub(crate) fn outputs(&self, attempt: AttemptId) -> Vec<Output> {
        self.seen.get(&attempt).map(|ended| ended.outputs.clone()).unwrap_or_default()
    }

    pub(crate) fn is_synced(&self, attempt: AttemptId) -> bool {
        self.synced.contains_key(&attempt)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(crate) fn lose_power(&mut self) {
        self.seen = self.synced.clone();
    }

    /// What a worker that starts finds. A system that runs writes everything back in time.
    pub(crate) fn recover(&mut self) -> Vec<Ended> {
        self.synced = self.seen.clone();
        self.seen.values().cloned().collect()
    }
}
