//! Ctrl-C while this program waits: it says how to come back, and leaves what it waits for as it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::error::{CliError, exit};
use crate::screen::note;

/// What is said at Ctrl-C; it may change while the program goes on.
#[derive(Debug, Clone)]
pub struct Farewell(Arc<Mutex<String>>);

impl Farewell {
    /// From now on Ctrl-C ends this program with these words.
    ///
    /// # Errors
    ///
    /// `Signals`.
    pub fn on_interrupt(words: impl Into<String>) -> Result<Self, CliError> {
        let farewell = Self(Arc::new(Mutex::new(words.into())));
        let mut signals = Signals::new([SIGINT]).map_err(CliError::Signals)?;
        let said = Arc::clone(&farewell.0);
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                note(&format!("\n{}", said.lock().unwrap_or_else(PoisonError::into_inner)));
                std::process::exit(exit::INTERRUPTED.into());
            }
        });
        Ok(farewell)
    }

    pub fn change(&self, words: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words.into();
    }
}
