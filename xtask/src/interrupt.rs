//! Ctrl-C and SIGTERM: what this process started ends before it does.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::daemon::Daemon;

/// Exit status after SIGINT, by the shells' custom.
const INTERRUPTED: i32 = 130;

/// The daemons of this process, in the order in which they started.
///
/// However this process ends, they end: in order when it is done or interrupted, and by the
/// kernel's parent-death signal when it is killed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Daemons {
    started: Arc<Mutex<Vec<Daemon>>>,
    /// Whether an interruption is how this command is meant to end.
    serves: Arc<AtomicBool>,
}

impl Daemons {
    /// # Errors
    ///
    /// When the signals cannot be caught.
    pub(crate) fn watched() -> Result<Self> {
        let daemons = Self::default();
        // Caught and not blocked: what is blocked stays so in every program started from here.
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to catch signals")?;
        let watched = daemons.clone();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                eprintln!("\nstopping what this command started");
                watched.stop();
                let is_meant = watched.serves.load(Ordering::Relaxed);
                process::exit(if is_meant { 0 } else { INTERRUPTED });
            }
        });
        Ok(daemons)
    }

    /// From now on an interruption is the good end of this command.
    pub(crate) fn serve(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, daemon: Daemon) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(daemon);
    }

    /// Stops all, the newest first: a worker says goodbye to a manager that is still there.
    pub(crate) fn stop(&self) {
        let mut daemons = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut daemon) = daemons.pop() {
            daemon.stop();
        }
    }
}
