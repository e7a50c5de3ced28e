//! How far clients have come, for whoever waits for that.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts what happens to clients, and wakes whoever waits for that.
#[derive(Debug, Default)]
pub struct Progress {
    events: Mutex<u64>,
    more: Condvar,
}

impl Progress {
    /// Events so far.
    pub fn events(&self) -> u64 {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once there are more than `seen` events, or after `limit`.
    pub fn wait_for_more(&self, seen: u64, limit: Duration) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.more.wait_timeout_while(events, limit, |events| *events <= seen);
    }

    /// One more.
    pub fn add(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more.notify_all();
    }
}
